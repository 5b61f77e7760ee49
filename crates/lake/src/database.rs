//! How the lake opens its `SQLite` files: `index.db` and `keys.db`.

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a database could not do.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The disk holds no more.
    #[error(
        "could not write a database of the lake: the disk is full; free some space and run it again"
    )]
    Full(#[source] rusqlite::Error),
    /// Another process keeps the database locked.
    #[error("a database of the lake is locked by another process; try again when it is done")]
    Locked(#[source] rusqlite::Error),
    /// The file is not what it should be.
    #[error("a database of the lake is damaged; restore it from a backup")]
    Damaged(#[source] rusqlite::Error),
    /// The format is of another version of this program.
    #[error("a database of the lake has format {found}; this program reads format {expected}")]
    Format {
        /// The version in the file.
        found: i64,
        /// The version this program knows.
        expected: i64,
    },
    /// Anything else.
    #[error("could not use a database of the lake")]
    Other(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error),
            _ => Self::Other(error),
        }
    }
}

/// How long a statement waits for another process.
const PATIENCE: Duration = Duration::from_secs(5);

/// The format that `user_version` states.
const FORMAT: i64 = 3;

/// Opens a database to write it, making it first when it is not there.
pub(crate) fn open(path: &Path, schema: &str) -> Result<Connection, DatabaseError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    let mut found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        connection.execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;")?;
        found = create(&mut connection, schema)?;
    }
    if found != FORMAT {
        return Err(DatabaseError::Format { found, expected: FORMAT });
    }
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
    Ok(connection)
}

/// Makes the tables, unless another process just did.
fn create(connection: &mut Connection, schema: &str) -> Result<i64, DatabaseError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found != 0 {
        return Ok(found);
    }
    transaction.execute_batch(schema)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(FORMAT)
}

/// Writes the log back into the database and empties it: with it goes what was deleted since. Waits
/// for those who read.
pub(crate) fn checkpoint(connection: &Connection) -> Result<(), DatabaseError> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, None).into());
    }
    Ok(())
}

/// Whether the pages of a database, which the connection calls `schema`, hold together.
pub(crate) fn is_sound(connection: &Connection, schema: &str) -> Result<bool, rusqlite::Error> {
    let sql = format!("PRAGMA {schema}.quick_check(1)");
    connection.query_row(&sql, [], |row| row.get::<_, String>(0)).map(|said| said == "ok")
}

/// Opens an existing database to read it.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, DatabaseError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA mmap_size = 268435456;")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// The value behind a lock. A panic elsewhere leaves no half-made value here: every change of a
/// database is a transaction.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
