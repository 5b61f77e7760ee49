//! The database: its tables, and the one connection to it.

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the database could not do. No message carries a value of a row.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be made or opened.
    #[error("could not open the users' database `{}`; check that its folder is writable", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The disk holds no more.
    #[error("could not write the users' database: the disk is full; free some space")]
    Full(#[source] rusqlite::Error),
    /// The file is not what it should be.
    #[error("the users' database is damaged; restore it from a backup")]
    Damaged(#[source] rusqlite::Error),
    /// The format is of another version of this program.
    #[error("the users' database has format {found}; this program reads format {expected}")]
    Format {
        /// The version in the file.
        found: i64,
        /// The version this program knows.
        expected: i64,
    },
    /// Anything else.
    #[error("could not use the users' database")]
    Other(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error),
            _ => Self::Other(error),
        }
    }
}

/// How long a statement waits for another process.
const PATIENCE: Duration = Duration::from_secs(5);

/// The format that `user_version` states.
const FORMAT: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE departments (id TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
    CREATE TABLE users (
        id BLOB PRIMARY KEY,
        login TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('patient', 'professional', 'administrator', 'auditor')),
        patient BLOB UNIQUE CHECK (patient IS NULL OR role = 'patient'),
        staff TEXT UNIQUE CHECK ((staff IS NOT NULL) = (role = 'professional')),
        passphrase TEXT NOT NULL,
        disabled INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE memberships (
        user BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        department TEXT NOT NULL REFERENCES departments (id),
        PRIMARY KEY (user, department)
    ) STRICT, WITHOUT ROWID;
    -- One row per login that was tried, whether there is such a user or not.
    CREATE TABLE attempts (
        login BLOB PRIMARY KEY,
        known INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        last_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX attempts_oldest ON attempts (known, last_ms);
    -- Public keys; the one without an end signs.
    CREATE TABLE keys (public BLOB PRIMARY KEY, until_ms INTEGER) STRICT;
    CREATE TABLE revoked (token BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL) STRICT;
";

/// The one connection, used by one operation at a time.
pub(crate) struct Store(Mutex<Connection>);

impl Store {
    /// Opens the database, making it first when it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON;",
        )?;
        migrate(&mut connection)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Runs `work` as one transaction: all of it happens or nothing. A panic in an earlier
    /// operation left nothing behind, so a poisoned lock is taken all the same.
    pub(crate) fn transact<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::from)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(done)
    }

    /// Runs `work`, which only reads, on one state of the database.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        Ok(work(&transaction)?)
    }
}

/// Makes the file readable by its owner only. `SQLite` gives its other files the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Makes the tables of a new database; refuses one of another format.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()?;
        return Ok(());
    }
    if found == FORMAT { Ok(()) } else { Err(StoreError::Format { found, expected: FORMAT }) }
}
