//! The structured zone: where each patient's rows lie, and which batches are current.
//!
//! A batch is one table's file at one content. Its packs and extents are written while it is
//! incomplete and invisible; one transaction makes the batches of a whole source current at once.
//! Batches that are current no more stay, with their objects in the raw zone. Index keys are keyed
//! hashes; table and column names are public vocabulary.

use crate::catalogue::Catalogue;
use crate::database::{self, DatabaseError, hold};
use crate::frame::BatchName;
use crate::keys::PatientKey;
use crate::objects::ObjectName;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

pub(crate) mod upkeep;

const SCHEMA: &str = "
    CREATE TABLE catalogue (version INTEGER PRIMARY KEY, hash BLOB NOT NULL, text TEXT NOT NULL);
    CREATE TABLE batch (
        id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, of_table TEXT NOT NULL,
        file_bytes INTEGER NOT NULL, complete INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE pack (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batch,
        name BLOB NOT NULL UNIQUE, bytes INTEGER NOT NULL
    );
    CREATE TABLE extent (
        patient BLOB, batch INTEGER, pack INTEGER NOT NULL,
        start INTEGER NOT NULL, length INTEGER NOT NULL, rows INTEGER NOT NULL,
        PRIMARY KEY (patient, batch)
    ) WITHOUT ROWID;
    CREATE TABLE live (of_table TEXT PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1), source BLOB NOT NULL, catalogue INTEGER NOT NULL,
        patients INTEGER NOT NULL, rows INTEGER NOT NULL, rows_without_patient INTEGER NOT NULL
    );
";

/// What the lake holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// A keyed hash of the whole source.
    pub(crate) source: [u8; 32],
    /// The version of its catalogue.
    pub(crate) catalogue: u32,
    /// How many patients have rows.
    pub(crate) patients: u64,
    /// How many rows belong to a patient.
    pub(crate) rows: u64,
    /// How many rows of the source were left out.
    pub(crate) rows_without_patient: u64,
}

/// Where one patient's rows of one batch lie in a pack.
pub(crate) struct Extent {
    pub(crate) patient: PatientKey,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) rows: u32,
}

/// The current state, seen by any connection to the index.
pub(crate) fn state(connection: &Connection) -> Result<Option<State>, rusqlite::Error> {
    let sql = "SELECT source, catalogue, patients, rows, rows_without_patient FROM state";
    let state = |row: &rusqlite::Row<'_>| {
        Ok(State {
            source: row.get(0)?,
            catalogue: row.get(1)?,
            patients: row.get(2)?,
            rows: row.get(3)?,
            rows_without_patient: row.get(4)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([], state).optional()
}

/// The text of a catalogue that was ingested.
pub(crate) fn catalogue_text(
    connection: &Connection,
    version: u32,
) -> Result<Option<String>, rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT text FROM catalogue WHERE version = ?1")?;
    select.query_row([version], |row| row.get(0)).optional()
}

/// The writing side of the index.
pub(crate) struct Index(Mutex<Connection>);

impl Index {
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let connection = database::open(path, &[SCHEMA, upkeep::SCHEMA].concat())?;
        connection.pragma_update(None, "cache_size", -262_144)?;
        Ok(Self(Mutex::new(connection)))
    }

    pub(crate) fn state(&self) -> Result<Option<State>, DatabaseError> {
        Ok(state(&hold(&self.0))?)
    }

    pub(crate) fn catalogue_text(&self, version: u32) -> Result<Option<String>, DatabaseError> {
        Ok(catalogue_text(&hold(&self.0), version)?)
    }

    /// The complete batch with this name.
    pub(crate) fn batch(&self, name: &BatchName) -> Result<Option<i64>, DatabaseError> {
        let sql = "SELECT id FROM batch WHERE name = ?1 AND complete";
        Ok(hold(&self.0).query_row(sql, [name], |row| row.get(0)).optional()?)
    }

    /// Begins a batch that nobody sees yet.
    pub(crate) fn begin_batch(
        &self,
        name: &BatchName,
        table: &str,
        file_bytes: u64,
    ) -> Result<i64, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "INSERT INTO batch (name, of_table, file_bytes) VALUES (?1, ?2, ?3)";
        connection.execute(sql, params![name, table, file_bytes])?;
        Ok(connection.last_insert_rowid())
    }

    /// Notes a stored pack and what lies in it.
    pub(crate) fn add_pack(
        &self,
        batch: i64,
        (name, bytes): (&ObjectName, u64),
        extents: &[Extent],
    ) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let pack = "INSERT INTO pack (batch, name, bytes) VALUES (?1, ?2, ?3)";
            connection.execute(pack, params![batch, name, bytes])?;
            let pack = connection.last_insert_rowid();
            let mut insert = connection.prepare_cached(
                "INSERT INTO extent (patient, batch, pack, start, length, rows)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for extent in extents {
                let (start, length) = (extent.start, extent.length);
                insert.execute(params![extent.patient, batch, pack, start, length, extent.rows])?;
            }
            Ok(())
        })
    }

    /// Completes the given batches and makes exactly them current, with their catalogue.
    pub(crate) fn commit(
        &self,
        (catalogue, text): (&Catalogue, &str),
        source: &[u8; 32],
        batches: &[(&str, i64)],
        (rows, without_patient): (u64, u64),
    ) -> Result<State, DatabaseError> {
        self.change(|connection| {
            connection.execute("DELETE FROM live", [])?;
            for (table, batch) in batches {
                connection.execute("UPDATE batch SET complete = 1 WHERE id = ?1", [batch])?;
                let live = "INSERT INTO live (of_table, batch) VALUES (?1, ?2)";
                connection.execute(live, params![table, batch])?;
            }
            let keep = "INSERT OR IGNORE INTO catalogue (version, hash, text) VALUES (?1, ?2, ?3)";
            let version = catalogue.version();
            connection.execute(keep, params![version, catalogue.hash().as_bytes(), text])?;
            connection.execute(
                "INSERT OR REPLACE INTO state (id, source, catalogue, patients, rows, rows_without_patient)
                 SELECT 1, ?1, ?2, COUNT(DISTINCT patient), ?3, ?4 FROM extent
                 WHERE batch IN (SELECT batch FROM live)",
                params![source, version, rows, without_patient],
            )?;
            Ok(state(connection)?.expect("the state was just written"))
        })
    }

    /// Forgets batches that were never completed.
    pub(crate) fn forget_incomplete(&self) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let mut incomplete = connection.prepare("SELECT id FROM batch WHERE NOT complete")?;
            let batches: Vec<i64> =
                incomplete.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for batch in batches {
                connection.execute("DELETE FROM extent WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM pack WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM manifest WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM facts WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM batch WHERE id = ?1", [batch])?;
            }
            Ok(())
        })
    }

    /// Every object that the index knows.
    pub(crate) fn objects(&self) -> Result<BTreeSet<ObjectName>, DatabaseError> {
        let connection = hold(&self.0);
        let mut select = connection.prepare("SELECT name FROM pack")?;
        let names = select.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    fn change<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, DatabaseError> {
        let mut connection = hold(&self.0);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

#[cfg(test)]
impl Index {
    /// Pretends that the disk has room for this many more pages of the index.
    pub(crate) fn leave_room(&self, pages: u32) {
        let connection = hold(&self.0);
        let used: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", used + pages).unwrap();
    }
}
