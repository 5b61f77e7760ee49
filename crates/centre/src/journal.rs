//! The journal of emergencies: what this centre's staff read of its own data while the ledger could
//! not be reached.
//!
//! Entries are transactions, signed and chained by hash, on disk before anything leaves. The ledger
//! takes them in this order only, so that an entry that is cut out or altered shows there; here it
//! shows when the journal is opened. What is sealed in an entry opens under the patient's record key.

use crate::Outbox;
use aegle_ledger::{Body, Late, Transaction};
use aegle_model::{Canonical, CentreId, Hash};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its file failed.
    #[error("could not use the journal of emergencies")]
    Database(#[from] rusqlite::Error),
    /// It is not what was written.
    #[error(
        "the journal of emergencies was cut or altered at entry {number}; nothing is read on its \
         word until an auditor has looked at it and its file was replaced"
    )]
    Broken {
        /// The first entry that does not follow.
        number: u64,
    },
}

/// `SQLite` in one file. Numbers are never given twice, also after rows were deleted.
pub struct Journal(Mutex<Connection>);

/// An entry, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) transaction: Transaction,
    pub(crate) told: bool,
    /// What left; none when the node stopped in between.
    pub(crate) lineage: Option<Vec<u8>>,
}

impl Entry {
    pub(crate) fn late(&self) -> &Late {
        let Body::Late(late) = self.transaction.body() else {
            unreachable!("an entry is read as one")
        };
        late
    }
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL,
        told INTEGER NOT NULL DEFAULT 0, lineage BLOB
    ) STRICT;
";

impl Journal {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All entries of `centre`, oldest first, if they are what was written.
    pub(crate) fn entries(&self, centre: CentreId) -> Result<Vec<Entry>, JournalError> {
        let connection = self.connection();
        let mut select =
            connection.prepare_cached("SELECT body, told, lineage FROM entry ORDER BY id")?;
        let rows = select.query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, bool>(1)?, row.get(2)?))
        })?;
        let mut entries: Vec<Entry> = Vec::new();
        for row in rows {
            let (body, told, lineage) = row?;
            let entry = Transaction::from_bytes(&body).ok();
            let entry = entry.map(|transaction| Entry { transaction, told, lineage });
            let follows = entry.filter(|entry| follows(centre, entries.last(), entry));
            let number = entries.len() as u64;
            entries.push(follows.ok_or(JournalError::Broken { number })?);
        }
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'entry'";
        let written: Option<u64> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
        let number = entries.len() as u64;
        if written.unwrap_or(0) == number {
            Ok(entries)
        } else {
            Err(JournalError::Broken { number })
        }
    }

    /// How many entries the ledger does not have, and when the first of them was written.
    pub(crate) fn untold(&self) -> Result<Outbox, JournalError> {
        let connection = self.connection();
        let sql = "SELECT count(*) FROM entry WHERE told = 0";
        let count = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        let sql = "SELECT body FROM entry WHERE told = 0 ORDER BY id LIMIT 1";
        let mut select = connection.prepare_cached(sql)?;
        let first: Option<Vec<u8>> = select.query_row([], |row| row.get(0)).optional()?;
        let first = first.and_then(|bytes| Transaction::from_bytes(&bytes).ok());
        let since = first.and_then(|first| match first.body() {
            Body::Late(late) => Some(late.at),
            _ => None,
        });
        Ok(Outbox { count, since })
    }

    /// Appends an entry; it is on disk when this returns.
    pub(crate) fn append(&self, entry: &Transaction) -> Result<(), JournalError> {
        let insert = "INSERT INTO entry (body) VALUES (?1)";
        self.connection().execute(insert, [entry.to_bytes()])?;
        Ok(())
    }

    /// Notes what left on the word of the entry with this number.
    pub(crate) fn left(&self, number: u64, lineage: &[u8]) -> Result<(), JournalError> {
        let update = "UPDATE entry SET lineage = ?2 WHERE id = ?1 + 1";
        self.connection().execute(update, params![number, lineage])?;
        Ok(())
    }

    /// An entry expired and was signed again.
    pub(crate) fn replace(&self, number: u64, entry: &Transaction) -> Result<(), JournalError> {
        let update = "UPDATE entry SET body = ?2 WHERE id = ?1 + 1";
        self.connection().execute(update, params![number, entry.to_bytes()])?;
        Ok(())
    }

    /// The ledger has the entry with this number.
    pub(crate) fn told(&self, number: u64) -> Result<(), JournalError> {
        self.connection().execute("UPDATE entry SET told = 1 WHERE id = ?1 + 1", [number])?;
        Ok(())
    }
}

/// Whether `entry` is signed by its author, `centre`, and comes right after `last`.
fn follows(centre: CentreId, last: Option<&Entry>, entry: &Entry) -> bool {
    let Body::Late(late) = entry.transaction.body() else { return false };
    let expected =
        last.map_or((0, Hash::ZERO), |last| (last.late().number + 1, last.late().link()));
    (late.number, late.previous) == expected
        && entry.transaction.author() == centre
        && entry.transaction.check(entry.transaction.network()).is_ok()
}
