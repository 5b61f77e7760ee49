//! What a centre remembers beside ledger, lake and users: enrolments under way, link offers, parts it has handed out,
//! transactions that must reach the ledger.

use aegle_ledger::TxId;
use aegle_model::{CentreId, PatientId, RequestId, Timestamp};
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("could not use the centre's store")]
pub struct StoreError(#[from] rusqlite::Error);

/// `SQLite` in one file.
pub struct Store(Mutex<Connection>);

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS offer (
        patient BLOB, centre BLOB, message BLOB NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (patient, centre)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX IF NOT EXISTS offer_centre ON offer (centre);
    CREATE TABLE IF NOT EXISTS enrolment (
        login TEXT PRIMARY KEY, patient BLOB NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE IF NOT EXISTS handed_out (
        request BLOB PRIMARY KEY, at INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX IF NOT EXISTS handed_out_at ON handed_out (at);
    CREATE TABLE IF NOT EXISTS outbox (
        id BLOB PRIMARY KEY, body BLOB NOT NULL
    ) WITHOUT ROWID, STRICT;
";

/// The most open offers through one centre; more are refused.
const OFFERS_MAX: u32 = 10_000;

impl Store {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the part of `request` leaves now; false when it has left before.
    pub(crate) fn hand_out(&self, request: RequestId, now: Timestamp) -> Result<bool, StoreError> {
        let connection = self.connection();
        let mut insert =
            connection.prepare_cached("INSERT OR IGNORE INTO handed_out VALUES (?1, ?2)")?;
        let at = i64::try_from(now.0).unwrap_or(i64::MAX);
        Ok(insert.execute(params![request.as_bytes(), at])? == 1)
    }

    /// Forgets requests whose receipts no longer permit anything.
    pub(crate) fn forget_handed_out(&self, before: Timestamp) -> Result<(), StoreError> {
        let at = i64::try_from(before.0).unwrap_or(i64::MAX);
        self.connection().execute("DELETE FROM handed_out WHERE at < ?1", [at])?;
        Ok(())
    }

    /// The pseudonym of the enrolment that was begun with this login; `fresh` when none was.
    pub(crate) fn begin_enrolment(
        &self,
        login: &str,
        fresh: PatientId,
    ) -> Result<PatientId, StoreError> {
        let connection = self.connection();
        let insert = "INSERT OR IGNORE INTO enrolment VALUES (?1, ?2)";
        connection.execute(insert, params![login, fresh.as_bytes()])?;
        let select = "SELECT patient FROM enrolment WHERE login = ?1";
        let patient: [u8; 16] = connection.query_row(select, [login], |row| row.get(0))?;
        Ok(PatientId::from_array(patient))
    }

    /// The enrolment is done.
    pub(crate) fn end_enrolment(&self, login: &str) -> Result<(), StoreError> {
        self.connection().execute("DELETE FROM enrolment WHERE login = ?1", [login])?;
        Ok(())
    }

    /// Keeps an offer; a newer one of the same patient through the same centre replaces it. False
    /// when too many came through that centre.
    pub(crate) fn put_offer(
        &self,
        (patient, from): (PatientId, CentreId),
        message: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let connection = self.connection();
        let sql = "SELECT count(*) FROM offer WHERE centre = ?1";
        let count: u32 = connection.query_row(sql, [from.as_bytes()], |row| row.get(0))?;
        if count >= OFFERS_MAX {
            return Ok(false);
        }
        let at = i64::try_from(now.0).unwrap_or(i64::MAX);
        let sql = "INSERT OR REPLACE INTO offer VALUES (?1, ?2, ?3, ?4)";
        connection.execute(sql, params![patient.as_bytes(), from.as_bytes(), message, at])?;
        Ok(true)
    }

    /// All open offers, oldest first.
    pub(crate) fn offers(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT message FROM offer ORDER BY at")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// An offer was accepted: all of this patient are settled.
    pub(crate) fn drop_offers(&self, patient: PatientId) -> Result<(), StoreError> {
        self.connection().execute("DELETE FROM offer WHERE patient = ?1", [patient.as_bytes()])?;
        Ok(())
    }

    /// Keeps a signed transaction until it is final.
    pub(crate) fn put_outbox(&self, id: &TxId, bytes: &[u8]) -> Result<(), StoreError> {
        let connection = self.connection();
        let mut insert =
            connection.prepare_cached("INSERT OR IGNORE INTO outbox VALUES (?1, ?2)")?;
        insert.execute(params![id.as_bytes(), bytes])?;
        Ok(())
    }

    /// A transaction is final, or can never be.
    pub(crate) fn drop_outbox(&self, id: &TxId) -> Result<(), StoreError> {
        let connection = self.connection();
        let mut delete = connection.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
        delete.execute([id.as_bytes()])?;
        Ok(())
    }

    /// What waits in the outbox.
    pub(crate) fn outbox(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT body FROM outbox LIMIT 10000")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
