//! Statements, their parameters, and the rows that they yield; as `rusqlite` has them.

use super::{DatabaseError, Result, ToSql};
use rusqlite::types::FromSql;

/// The values of a statement's parameters: `[]`, an array of one type, or `params![…]`.
pub(crate) trait Parameters {
    fn give<T>(self, to: impl FnOnce(&[&dyn ToSql]) -> T) -> T;
}

impl Parameters for &[&dyn ToSql] {
    fn give<T>(self, to: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
        to(self)
    }
}

impl Parameters for [&dyn ToSql; 0] {
    fn give<T>(self, to: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
        to(&self)
    }
}

macro_rules! arrays {
    ($($length:literal)*) => {$(
        impl<V: ToSql> Parameters for [V; $length] {
            fn give<T>(self, to: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
                to(&self.each_ref().map(|value| value as &dyn ToSql))
            }
        }
    )*};
}

arrays!(1 2 3 4);

/// A prepared statement.
pub(crate) enum Statement<'c> {
    Sqlite(rusqlite::CachedStatement<'c>),
}

impl Statement<'_> {
    /// Runs it; how many rows it changed.
    pub(crate) fn execute(&mut self, parameters: impl Parameters) -> Result<usize> {
        match self {
            Self::Sqlite(statement) => Ok(parameters.give(|values| statement.execute(values))?),
        }
    }

    /// The rows that it yields.
    pub(crate) fn query(&mut self, parameters: impl Parameters) -> Result<Rows<'_>> {
        match self {
            Self::Sqlite(statement) => {
                Ok(Rows::Sqlite(parameters.give(|values| statement.query(values))?))
            }
        }
    }

    /// The one row that it yields.
    pub(crate) fn query_row<T>(
        &mut self,
        parameters: impl Parameters,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        read(&self.query(parameters)?.next()?.ok_or(DatabaseError::NoRow)?)
    }

    /// What is read from each row that it yields.
    pub(crate) fn query_map<T, F: FnMut(&Row<'_>) -> Result<T>>(
        &mut self,
        parameters: impl Parameters,
        read: F,
    ) -> Result<Mapped<'_, F>> {
        Ok(Mapped { rows: self.query(parameters)?, read })
    }

    /// Whether it yields a row.
    pub(crate) fn exists(&mut self, parameters: impl Parameters) -> Result<bool> {
        Ok(self.query(parameters)?.next()?.is_some())
    }
}

/// Rows, one after the other.
pub(crate) enum Rows<'s> {
    Sqlite(rusqlite::Rows<'s>),
}

impl Rows<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self {
            Self::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
        }
    }
}

/// One row.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
}

impl Row<'_> {
    /// The value of a column.
    pub(crate) fn get<T: FromSql>(&self, column: usize) -> Result<T> {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
        }
    }
}

/// What is read from rows.
pub(crate) struct Mapped<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F: FnMut(&Row<'_>) -> Result<T>> Iterator for Mapped<'_, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.rows.next() {
            Ok(row) => row.map(|row| (self.read)(&row)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Takes a row that is not there for nothing.
pub(crate) trait OptionalExtension<T> {
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Err(DatabaseError::NoRow) => Ok(None),
            other => other.map(Some),
        }
    }
}
