//! How the lake uses a database. No other file knows an engine.
//!
//! SQL is written once, in the part that `SQLite` and `PostgreSQL` have in common: `?1` for a
//! parameter, integers for booleans, `ON CONFLICT DO NOTHING`, `RETURNING`, joins with `CROSS JOIN`
//! and `WHERE`. Values go through `rusqlite`'s own traits, so that nothing is copied on the way from
//! a `SQLite` page to a domain type. Invariant: whatever is written is written in [`change`], which
//! excludes every other writer of the same database and is durable when it returns.
//!
//! [`change`]: Connection::change

mod sqlite;
mod statement;

pub(crate) use rusqlite::params;
pub(crate) use rusqlite::types::{ToSql, Value};
pub(crate) use sqlite::Pages;
pub(crate) use statement::{OptionalExtension, Parameters, Row, Statement};

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a database could not do.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The disk holds no more.
    #[error(
        "could not write a database of the lake: the disk is full; free some space and run it again"
    )]
    Full(#[source] Cause),
    /// Another process keeps the database locked.
    #[error("a database of the lake is locked by another process; try again when it is done")]
    Locked(#[source] Cause),
    /// The file is not what it should be.
    #[error("a database of the lake is damaged; restore it from a backup")]
    Damaged(#[source] Cause),
    /// The format is of another version of this program.
    #[error("a database of the lake has format {found}; this program reads format {expected}")]
    Format {
        /// The version in the file.
        found: i64,
        /// The version this program knows.
        expected: i64,
    },
    /// A row that has to be there is not.
    #[error("a database of the lake lacks a row; restore it from a backup")]
    NoRow,
    /// Anything else.
    #[error("could not use a database of the lake")]
    Other(#[source] Cause),
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// The format that a database states.
const FORMAT: i64 = 3;

/// A connection to one database, or to a reader's view of several.
pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
}

impl Connection {
    /// Opens a file to write it, making it first when it is not there. Keeps so much of it in memory.
    pub(crate) fn open(path: &Path, schema: &str, pages: Pages) -> Result<Self> {
        sqlite::open(path, schema, pages).map(Self::Sqlite)
    }

    /// Opens existing files to read them together; no table has the name of another.
    pub(crate) fn open_to_read(first: &Path, second: &Path) -> Result<Self> {
        sqlite::open_to_read(first, second).map(Self::Sqlite)
    }

    /// Opens a [`copy`] to look into it.
    pub(crate) fn open_copy(path: &Path) -> Result<Self> {
        sqlite::open_copy(path).map(Self::Sqlite)
    }

    /// A statement that is parsed once for each connection.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        match self {
            Self::Sqlite(connection) => Ok(Statement::Sqlite(connection.prepare_cached(sql)?)),
        }
    }

    /// Runs a statement; how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, parameters: impl Parameters) -> Result<usize> {
        self.prepare_cached(sql)?.execute(parameters)
    }

    /// The one row that a statement yields.
    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        parameters: impl Parameters,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare_cached(sql)?.query_row(parameters, read)
    }

    /// Runs `work` as one durable change, alone; nothing is changed when it fails.
    pub(crate) fn change<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match self {
            Self::Sqlite(connection) => {
                let transaction = sqlite::begin(connection)?;
                let result = work(self)?;
                transaction.commit().map_err(DatabaseError::from)?;
                Ok(result)
            }
        }
    }

    /// Runs `work` on one snapshot, whatever others change meanwhile.
    pub(crate) fn snapshot<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.execute("BEGIN", [])?;
        let result = work(self);
        self.execute("COMMIT", [])?;
        result
    }

    /// Sees to it that the file holds nothing that was deleted from it. Waits for those who read.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => sqlite::checkpoint(connection),
        }
    }

    /// Whether one of the databases is as it was written.
    pub(crate) fn is_sound(&self, schema: &str) -> Result<bool> {
        match self {
            Self::Sqlite(connection) => sqlite::is_sound(connection, schema),
        }
    }
}

/// Copies the database in a file, as it is now, to another.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    sqlite::copy(from, to)
}

/// Makes a copy a database of its own.
pub(crate) fn use_copy(path: &Path) -> Result<()> {
    sqlite::use_copy(path)
}

#[cfg(test)]
impl Connection {
    /// Pretends that the disk has room for this many more pages.
    pub(crate) fn leave_room(&self, pages: u32) {
        let Self::Sqlite(connection) = self;
        let used: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", used + pages).unwrap();
    }
}

/// The value behind a lock. A panic elsewhere leaves no half-made value here: every change of a
/// database is a transaction.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
