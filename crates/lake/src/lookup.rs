//! The reading side of the index and the key store: a few connections with prepared statements.
//!
//! Everything that one read asks for comes from one snapshot, whatever an ingest does meanwhile.

use crate::database::{self, DatabaseError, hold};
use crate::frame::BatchName;
use crate::keys::{PatientKey, PersonKey};
use crate::objects::ObjectName;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

/// How many connections there are at most. Who finds none free waits: a look-up is short.
const OPEN_MAX: usize = 8;

/// The name under which a reading connection knows the key store.
pub(crate) const KEYS: &str = "keys";

pub(crate) struct Lookup {
    index: PathBuf,
    keys: PathBuf,
    pool: Mutex<Pool>,
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

/// A turn to use a connection; given back whatever happens. A connection that failed is closed.
struct Turn<'a> {
    lookup: &'a Lookup,
    connection: Option<Connection>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut pool = hold(&self.lookup.pool);
        match self.connection.take() {
            Some(connection) => pool.idle.push(connection),
            None => pool.open -= 1,
        }
        self.lookup.freed.notify_one();
    }
}

/// The rows of one patient in one current batch.
pub(crate) struct Found {
    pub(crate) table: String,
    pub(crate) batch: BatchName,
    pub(crate) pack: ObjectName,
    pub(crate) pack_bytes: u64,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) rows: u32,
}

impl Lookup {
    pub(crate) fn new(index: PathBuf, keys: PathBuf) -> Self {
        Self { index, keys, pool: Mutex::default(), freed: Condvar::new() }
    }

    /// Runs `work` on one snapshot.
    pub(crate) fn read<T, E: From<DatabaseError> + From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut turn = Turn { lookup: self, connection: self.idle() };
        let connection = match turn.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        connection.prepare_cached("BEGIN")?.execute([])?;
        let result = work(&connection);
        connection.prepare_cached("COMMIT")?.execute([])?;
        turn.connection = Some(connection);
        result
    }

    /// Waits for a turn; yields a connection if one is open already.
    fn idle(&self) -> Option<Connection> {
        let mut pool = hold(&self.pool);
        while pool.idle.is_empty() && pool.open >= OPEN_MAX {
            pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        let connection = pool.idle.pop();
        pool.open += usize::from(connection.is_none());
        connection
    }

    fn connect(&self) -> Result<Connection, DatabaseError> {
        let connection = database::open_to_read(&self.index)?;
        let keys =
            self.keys.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(self.keys.clone()))?;
        connection.execute(&format!("ATTACH ?1 AS {KEYS}"), [keys])?;
        Ok(connection)
    }
}

/// Where the current rows of a patient lie, in the order of table names.
pub(crate) fn find(
    connection: &Connection,
    patient: &PatientKey,
) -> Result<Vec<Found>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT live.of_table, batch.name, pack.name, pack.bytes, start, length, rows
         FROM live CROSS JOIN extent ON extent.patient = ?1 AND extent.batch = live.batch
         JOIN pack ON pack.id = extent.pack JOIN batch ON batch.id = live.batch
         ORDER BY live.of_table",
    )?;
    let found = select.query_map(params![patient], |row| {
        Ok(Found {
            table: row.get(0)?,
            batch: row.get(1)?,
            pack: row.get(2)?,
            pack_bytes: row.get(3)?,
            start: row.get(4)?,
            length: row.get(5)?,
            rows: row.get(6)?,
        })
    })?;
    found.collect()
}

/// The link of a person: the patient, and the proof that this lake wrote it.
pub(crate) fn link(
    connection: &Connection,
    person: &PersonKey,
) -> Result<Option<(PatientKey, [u8; 32])>, rusqlite::Error> {
    let sql = "SELECT patient, proof FROM keys.link WHERE person = ?1";
    let mut select = connection.prepare_cached(sql)?;
    select.query_row([person], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}
