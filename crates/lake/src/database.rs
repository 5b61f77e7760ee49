//! How the lake uses a database. No other file knows an engine.
//!
//! SQL is written once, in the part that `SQLite` and `PostgreSQL` have in common: `?1` for a
//! parameter, integers for booleans, `ON CONFLICT DO NOTHING`, `RETURNING`, joins with `CROSS JOIN`
//! and `WHERE`. Values go through `rusqlite`'s own traits, so that nothing is copied on the way from
//! a `SQLite` page to a domain type. Invariant: whatever is written is written in [`change`], which
//! excludes every other writer of the same database and is durable when it returns.
//!
//! [`change`]: Connection::change

mod dialect;
mod lock;
mod postgres;
mod sqlite;
mod statement;
mod transfer;

pub(crate) use lock::{Lock, LockError, try_lock};
use postgres::Postgres;
pub use postgres::PostgresAt;
pub(crate) use rusqlite::params;
pub(crate) use rusqlite::types::{ToSql, Value};
pub(crate) use statement::{Inserts, OptionalExtension, Parameters, Row, Statement};
#[cfg(test)]
pub(crate) use transfer::dump;
use transfer::table_names;
pub(crate) use transfer::{Transferred, content, transfer};

use std::path::{Path, PathBuf};
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
    /// The server does not answer.
    #[error(
        "the PostgreSQL server of the lake does not answer; see that it runs and can be reached, \
         and run it again"
    )]
    Unreachable(#[source] Cause),
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

/// One of the two databases of a lake. Each has its own writers; no table has the name of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// The index: `index.db`, or the schema `lake`.
    Index = 1,
    /// Wrapped keys and links: `keys.db`, or the schema `keys`.
    Keys = 2,
}

/// Where the databases of a lake are.
#[derive(Clone, Debug)]
pub(crate) enum Databases {
    /// Files in a folder.
    Files(PathBuf),
    Postgres(PostgresAt),
}

impl Databases {
    /// Opens one to write it, making its tables first when they are not there.
    pub(crate) fn open(&self, half: Half, tables: &str) -> Result<Connection> {
        match self {
            Self::Files(folder) => sqlite::open(folder, half, tables).map(Connection::Sqlite),
            Self::Postgres(at) => {
                let server = Postgres::open(at, Some(half));
                server.set_up(half, tables)?;
                Ok(Connection::Postgres(Box::new(server)))
            }
        }
    }

    /// Opens both to read them together. They have to be there.
    pub(crate) fn open_to_read(&self) -> Result<Connection> {
        match self {
            Self::Files(folder) => sqlite::open_to_read(folder).map(Connection::Sqlite),
            Self::Postgres(at) => Ok(Connection::Postgres(Box::new(Postgres::open(at, None)))),
        }
    }

    /// Copies one, as it is now, to a file in a folder.
    pub(crate) fn copy(&self, half: Half, tables: &str, folder: &Path) -> Result<()> {
        match self {
            Self::Files(from) => sqlite::copy(from, half, folder),
            Self::Postgres(_) => {
                let to = sqlite::open(folder, half, tables).map(Connection::Sqlite)?;
                transfer(&self.open(half, tables)?, &to, half, tables)?;
                to.become_a_file()
            }
        }
    }
}

/// A connection to one database, or to a reader's view of both.
pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Postgres>),
}

impl Connection {
    /// Opens a [copy](Databases::copy) to look into it.
    pub(crate) fn open_copy(path: &Path) -> Result<Self> {
        sqlite::open_copy(path).map(Self::Sqlite)
    }

    /// A statement that is parsed once for each connection.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        match self {
            Self::Sqlite(connection) => Ok(Statement::Sqlite(connection.prepare_cached(sql)?)),
            Self::Postgres(server) => Ok(Statement::Postgres(server, sql.to_owned())),
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

    /// Inserts rows: `add` gives their values to a statement with one `VALUES (?1, …)`.
    pub(crate) fn insert<E: From<DatabaseError>>(
        &self,
        sql: &str,
        add: impl FnOnce(&mut Inserts<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut inserts = Inserts::new(self, sql)?;
        add(&mut inserts)?;
        Ok(inserts.end()?)
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
            Self::Postgres(server) => {
                let begun = server.begin()?;
                let result = work(self)?;
                begun.commit()?;
                Ok(result)
            }
        }
    }

    /// Runs `work` on one snapshot, whatever others change meanwhile.
    pub(crate) fn snapshot<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if let Self::Postgres(server) = self {
            let _begun = server.begin_to_read()?;
            return work(self);
        }
        self.execute("BEGIN", [])?;
        let result = work(self);
        self.execute("COMMIT", [])?;
        result
    }

    /// Sees to it that the file holds nothing that was deleted from it. Waits for those who read.
    /// A `PostgreSQL` server keeps it for as long as it likes; see `docs/adr/0016`.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => sqlite::checkpoint(connection),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// How a half is called that does not read as it was written; none when it does.
    pub(crate) fn unsound(&self, half: Half, tables: &str) -> Result<Option<&'static str>> {
        match self {
            Self::Sqlite(connection) => sqlite::unsound(connection, half),
            Self::Postgres(server) => server.unsound(half, &table_names(tables)?),
        }
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let sql = match self {
            Self::Sqlite(_) => {
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            }
            Self::Postgres(_) => {
                "SELECT CAST(SUM(pg_total_relation_size(oid)) AS BIGINT) FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            }
        };
        self.query_row(sql, [], |row| row.get(0))
    }

    /// Leaves nothing beside the file that it is in, so that this can be copied.
    fn become_a_file(self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => sqlite::become_a_file(connection),
            Self::Postgres(_) => Ok(()),
        }
    }
}

/// Makes a copy a database of its own.
pub(crate) fn use_copy(path: &Path) -> Result<()> {
    sqlite::use_copy(path)
}

#[cfg(test)]
impl Connection {
    /// Pretends that the disk has room for this many more pages.
    pub(crate) fn leave_room(&self, pages: u32) {
        let Self::Sqlite(connection) = self else { panic!("a server's disk has room") };
        let used: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", used + pages).unwrap();
    }
}

/// The value behind a lock. A panic elsewhere leaves no half-made value here: every change of a
/// database is a transaction.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
