//! The reading side of the index and the key store: a few connections with prepared statements.
//!
//! Everything that one read asks for comes from one snapshot, whatever an ingest does meanwhile.

use crate::database::{
    self, Connection, DatabaseError, Databases, OptionalExtension, hold, params,
};
use crate::frame::BatchName;
use crate::index::{self, vault};
use crate::keys::{PatientKey, PersonKey};
use crate::objects::ObjectName;
use aegle_vault::{Load, Validity};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// How many connections there are at most. Who finds none free waits: a look-up is short.
const OPEN_MAX: usize = 8;

pub(crate) struct Lookup {
    databases: Databases,
    pool: Mutex<Pool>,
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

/// A turn to use a connection; given back whatever happens. One whose work panicked is closed.
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

/// The rows of one patient in one batch, of which at least one held at the asked load.
pub(crate) struct Found {
    pub(crate) table: String,
    pub(crate) batch: BatchName,
    /// The load that brought them.
    pub(crate) load: Load,
    /// The version of the catalogue by which they are cut.
    pub(crate) catalogue: u32,
    /// What the cut depends on.
    pub(crate) meaning: [u8; 32],
    pub(crate) pack: ObjectName,
    pub(crate) pack_bytes: u64,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) rows: u32,
    /// Whether the lake does not have the frames any more.
    pub(crate) lost: bool,
    /// The rows that ended by now, by place.
    pub(crate) ends: BTreeMap<u32, Load>,
}

impl Found {
    /// When the row at a place held.
    pub(crate) fn validity(&self, place: u32) -> Validity {
        Validity { begun: self.load, ended: self.ends.get(&place).copied() }
    }

    /// How many of the rows hold at a load that is not before theirs.
    pub(crate) fn held(&self, at: Load) -> u32 {
        let ended = self.ends.values().filter(|ended| **ended <= at).count();
        self.rows.saturating_sub(u32::try_from(ended).unwrap_or(u32::MAX))
    }
}

impl Lookup {
    pub(crate) fn new(databases: Databases) -> Self {
        Self { databases, pool: Mutex::default(), freed: Condvar::new() }
    }

    /// Runs `work` on one snapshot.
    pub(crate) fn read<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut turn = Turn { lookup: self, connection: self.idle() };
        let connection = match turn.connection.take() {
            Some(connection) => connection,
            None => self.databases.open_to_read()?,
        };
        let result = connection.snapshot(work);
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
}

/// Where the rows of a patient lie that hold at a load, by table and then in the order of loads;
/// now, when no load is given.
pub(crate) fn find(
    connection: &Connection,
    patient: &PatientKey,
    at: Option<Load>,
) -> database::Result<Vec<Found>> {
    let Some(state) = index::state(connection)? else { return Ok(Vec::new()) };
    let at = at.unwrap_or(state.load).min(state.load);
    let mut ends = vault::ends_of(connection, patient, state.load)?;
    let mut select = connection.prepare_cached(
        "SELECT of_table, batch.id, batch.name, load, catalogue, meaning,
                pack.name, pack.bytes, start, length, rows, lost.batch IS NOT NULL
         FROM extent CROSS JOIN batch CROSS JOIN pack
         LEFT JOIN lost ON lost.patient = extent.patient AND lost.batch = extent.batch
         WHERE extent.patient = ?1 AND batch.id = extent.batch AND batch.load <= ?2
         AND pack.id = extent.pack ORDER BY extent.batch",
    )?;
    let found = select.query_map(params![patient, at.0], |row| {
        Ok(Found {
            table: row.get(0)?,
            ends: ends.remove(&row.get(1)?).unwrap_or_default(),
            batch: row.get(2)?,
            load: Load(row.get(3)?),
            catalogue: row.get(4)?,
            meaning: row.get(5)?,
            pack: row.get(6)?,
            pack_bytes: row.get(7)?,
            start: row.get(8)?,
            length: row.get(9)?,
            rows: row.get(10)?,
            lost: row.get(11)?,
        })
    })?;
    let mut found: Vec<Found> = found.collect::<Result<_, _>>()?;
    found.retain(|found| found.held(at) > 0);
    found.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(found)
}

/// The link of a person: the patient, and the proof that this lake wrote it.
pub(crate) fn link(
    connection: &Connection,
    person: &PersonKey,
) -> database::Result<Option<(PatientKey, [u8; 32])>> {
    let sql = "SELECT patient, proof FROM link WHERE person = ?1";
    let mut select = connection.prepare_cached(sql)?;
    select.query_row([person], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}
