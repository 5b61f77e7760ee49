//! `SQLite` files.

use super::{DatabaseError, FORMAT, Half, Result};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for another process.
const PATIENCE: Duration = Duration::from_secs(5);

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.into()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(error.into()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.into())
            }
            _ => Self::Other(error.into()),
        }
    }
}

const fn file(half: Half) -> &'static str {
    match half {
        Half::Index => "index.db",
        Half::Keys => "keys.db",
    }
}

pub(super) fn open(folder: &Path, half: Half, tables: &str) -> Result<Connection> {
    let mut connection = Connection::open(folder.join(file(half)))?;
    connection.busy_timeout(PATIENCE)?;
    let mut found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;")?;
        found = create(&mut connection, tables)?;
    }
    if found != FORMAT {
        return Err(DatabaseError::Format { found, expected: FORMAT });
    }
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
    if half == Half::Index {
        // 256 MiB: rows come in the order of patients, and the tables are large.
        connection.pragma_update(None, "cache_size", -262_144)?;
    }
    Ok(connection)
}

/// Makes the tables, unless another process just did.
fn create(connection: &mut Connection, tables: &str) -> Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found != 0 {
        return Ok(found);
    }
    transaction.execute_batch(tables)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(FORMAT)
}

pub(super) fn open_to_read(folder: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(file(Half::Index)), flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA mmap_size = 2147418112;")?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute("ATTACH ?1 AS keys", [text(&folder.join(file(Half::Keys)))?])?;
    Ok(connection)
}

pub(super) fn open_copy(path: &Path) -> Result<Connection> {
    Ok(Connection::open(path)?)
}

/// Makes a copy a database that is written to: it has the journal that databases begin with.
pub(super) fn use_copy(path: &Path) -> Result<()> {
    Ok(Connection::open(path)?.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?)
}

/// Begins a change; nobody else is at one.
pub(super) fn begin(connection: &Connection) -> Result<Transaction<'_>> {
    Ok(Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?)
}

/// Writes the log back into the database and empties it: with it goes what was deleted since.
pub(super) fn checkpoint(connection: &Connection) -> Result<()> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(Error::SqliteFailure(busy, None).into());
    }
    Ok(())
}

pub(super) fn copy(from: &Path, half: Half, to: &Path) -> Result<()> {
    let connection = Connection::open(from.join(file(half)))?;
    connection.execute("VACUUM INTO ?1", [text(&to.join(file(half)))?])?;
    Ok(())
}

/// The name of the file of a half whose pages do not hold together.
pub(super) fn unsound(connection: &Connection, half: Half) -> Result<Option<&'static str>> {
    let (schema, file) = match half {
        Half::Index => ("main", "`index.db`"),
        Half::Keys => ("keys", "`keys.db`"),
    };
    let check = format!("PRAGMA {schema}.quick_check(1)");
    let said: String = connection.query_row(&check, [], |row| row.get(0))?;
    Ok((said != "ok").then_some(file))
}

/// Ends with the journal that leaves nothing beside the file.
pub(super) fn become_a_file(connection: Connection) -> Result<()> {
    connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or_else(|| Error::InvalidPath(PathBuf::from(path)))?)
}
