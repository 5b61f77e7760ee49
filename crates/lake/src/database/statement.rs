//! Statements, their parameters, and the rows that they yield; as `rusqlite` has them.

use super::postgres::{self, Postgres};
use super::{Connection, DatabaseError, Result, ToSql};
use rusqlite::types::FromSql;
use sqlx::postgres::{PgArguments, PgRow};

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
    Postgres(&'c Postgres, String),
}

impl Statement<'_> {
    /// Runs it; how many rows it changed.
    pub(crate) fn execute(&mut self, parameters: impl Parameters) -> Result<usize> {
        match self {
            Self::Sqlite(statement) => Ok(parameters.give(|values| statement.execute(values))?),
            Self::Postgres(server, sql) => parameters.give(|values| server.execute(sql, values)),
        }
    }

    /// The rows that it yields.
    pub(crate) fn query(&mut self, parameters: impl Parameters) -> Result<Rows<'_>> {
        match self {
            Self::Sqlite(statement) => {
                Ok(Rows::Sqlite(parameters.give(|values| statement.query(values))?))
            }
            Self::Postgres(server, sql) => {
                let rows = parameters.give(|values| server.rows(sql, values))?;
                Ok(Rows::Postgres(rows.into_iter(), None))
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
    /// Those that are left, and the one that is looked at.
    Postgres(std::vec::IntoIter<PgRow>, Option<PgRow>),
}

impl Rows<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self {
            Self::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
            Self::Postgres(left, row) => {
                *row = left.next();
                Ok(row.as_ref().map(Row::Postgres))
            }
        }
    }
}

/// One row.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

impl Row<'_> {
    /// The value of a column.
    pub(crate) fn get<T: FromSql>(&self, column: usize) -> Result<T> {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(row) => {
                let value = T::column_result(postgres::value(row, column)?);
                value.map_err(|error| DatabaseError::Other(error.into()))
            }
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

/// How many rows are inserted by one statement.
const AT_ONCE: usize = 256;

/// Rows on their way into a table: a server is given many at once.
pub(crate) enum Inserts<'c> {
    Sqlite(rusqlite::CachedStatement<'c>),
    Postgres { server: &'c Postgres, sql: String, rows: usize, values: PgArguments },
}

impl<'c> Inserts<'c> {
    pub(super) fn new(connection: &'c Connection, sql: &str) -> Result<Self> {
        Ok(match connection {
            Connection::Sqlite(connection) => Self::Sqlite(connection.prepare_cached(sql)?),
            Connection::Postgres(server) => {
                let values = PgArguments::default();
                Self::Postgres { server, sql: sql.to_owned(), rows: 0, values }
            }
        })
    }

    pub(crate) fn add(&mut self, parameters: impl Parameters) -> Result<()> {
        match self {
            Self::Sqlite(statement) => {
                parameters.give(|values| statement.execute(values))?;
            }
            Self::Postgres { server, sql, rows, values } => {
                parameters.give(|given| postgres::add(values, given))?;
                *rows += 1;
                if *rows == AT_ONCE {
                    server.insert(sql, std::mem::take(rows), &std::mem::take(values))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn end(self) -> Result<()> {
        match self {
            Self::Postgres { server, sql, rows, values } if rows > 0 => {
                server.insert(&sql, rows, &values)
            }
            _ => Ok(()),
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
