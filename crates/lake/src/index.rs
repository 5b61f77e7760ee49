//! The structured zone: where each patient's rows lie, and which batches are current.
//!
//! A load is one ingest of a whole source; a batch holds the rows that it brought to one table. Its
//! packs and extents are written while the load is incomplete and invisible; one transaction
//! completes it. Rows that a later load does not bring any more are noted as ended; they stay, with
//! their objects in the raw zone, and can be read as of a time before. Index keys are keyed hashes;
//! table and column names are public vocabulary. How hubs and satellites lie here: [`vault`].

pub(crate) mod quality;
pub(crate) mod upkeep;
pub(crate) mod vault;

use crate::catalogue::Catalogue;
use crate::damage::What;
use crate::database::{
    self, Connection, DatabaseError, Databases, Half, Lock, LockError, OptionalExtension, Row,
    hold, params,
};
use crate::frame::BatchName;
use crate::keys::PatientKey;
use crate::objects::{ObjectError, ObjectName};
use aegle_model::Timestamp;
use aegle_vault::{Load, RowId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use vault::{End, Hubs};

/// The tables.
const LOADS: &str = "
    CREATE TABLE catalogue (version INTEGER PRIMARY KEY, hash BLOB NOT NULL, text TEXT NOT NULL);
    CREATE TABLE load (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE batch (
        id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, of_table TEXT NOT NULL,
        load INTEGER NOT NULL REFERENCES load, catalogue INTEGER NOT NULL, meaning BLOB NOT NULL,
        file_bytes INTEGER NOT NULL, of_erased INTEGER NOT NULL DEFAULT 0,
        whole INTEGER NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE pack (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batch,
        name BLOB NOT NULL UNIQUE, bytes INTEGER NOT NULL
    );
    CREATE TABLE document (
        name BLOB, batch INTEGER, patient BLOB NOT NULL, bytes INTEGER NOT NULL,
        PRIMARY KEY (name, batch)
    ) WITHOUT ROWID;
    CREATE TABLE extent (
        patient BLOB, batch INTEGER, pack INTEGER NOT NULL,
        start INTEGER NOT NULL, length INTEGER NOT NULL, rows INTEGER NOT NULL,
        PRIMARY KEY (patient, batch)
    ) WITHOUT ROWID;
    CREATE TABLE satellite (
        patient BLOB, batch INTEGER, rows BLOB NOT NULL, PRIMARY KEY (patient, batch)
    ) WITHOUT ROWID;
    CREATE TABLE ended (
        patient BLOB, batch INTEGER, load INTEGER, rows BLOB NOT NULL,
        PRIMARY KEY (patient, batch, load)
    ) WITHOUT ROWID;
    CREATE TABLE hub_time (key BLOB PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE hub_person (key BLOB PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE hub_object (key BLOB PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE hub_location (key BLOB PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE hub_event (
        patient BLOB, key BLOB, batch INTEGER NOT NULL, PRIMARY KEY (patient, key)
    ) WITHOUT ROWID;
    CREATE TABLE live (of_table TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1), load INTEGER NOT NULL,
        source BLOB NOT NULL, catalogue INTEGER NOT NULL,
        patients INTEGER NOT NULL, rows INTEGER NOT NULL, rows_without_patient INTEGER NOT NULL
    );
";

/// The tables of the index.
pub(crate) static SCHEMA: LazyLock<String> =
    LazyLock::new(|| [LOADS, upkeep::SCHEMA, quality::SCHEMA].concat());

/// What the lake holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// The last complete load.
    pub(crate) load: Load,
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

/// Where one patient's rows of one batch lie in a pack, and which rows they are.
pub(crate) struct Extent {
    pub(crate) patient: PatientKey,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) rows: Vec<RowId>,
}

/// What is known of a batch before its rows are.
pub(crate) struct NewBatch<'a> {
    pub(crate) name: &'a BatchName,
    pub(crate) table: &'a str,
    pub(crate) load: Load,
    /// The version of the catalogue by which its rows are cut.
    pub(crate) catalogue: u32,
    /// What the cut depends on.
    pub(crate) meaning: &'a [u8; 32],
    pub(crate) file_bytes: u64,
}

/// What a load makes current.
pub(crate) struct Completed<'a> {
    pub(crate) load: Load,
    pub(crate) now: Timestamp,
    pub(crate) source: &'a [u8; 32],
    /// Every table with the name of its content.
    pub(crate) tables: &'a [(&'a str, &'a BatchName)],
    pub(crate) rows: u64,
    pub(crate) without_patient: u64,
}

/// An object that somebody copies.
pub(crate) struct Named {
    pub(crate) name: ObjectName,
    pub(crate) bytes: u64,
    /// Whether the lake may do without it: it could not be brought again.
    pub(crate) lost: bool,
}

impl Named {
    /// Whether a copy may lack it because of what is wrong with it.
    pub(crate) fn may_lack(&self, wrong: &ObjectError) -> bool {
        self.lost && What::of(wrong).is_some()
    }
}

/// The objects of complete batches, and of those that were only begun, in the order of their names.
pub(crate) fn named(connection: &Connection, also_begun: bool) -> database::Result<Vec<Named>> {
    let mut select = connection.prepare_cached(
        "SELECT name, bytes, EXISTS
             (SELECT 1 FROM damage WHERE damage.object = one.name AND fate = 'lost')
         FROM (SELECT pack.name AS name, bytes FROM pack
                   JOIN batch ON batch.id = pack.batch AND complete >= ?1
               UNION SELECT document.name, bytes FROM document
                   JOIN batch ON batch.id = document.batch AND complete >= ?1
               UNION SELECT manifest.name, bytes FROM manifest
                   JOIN batch ON batch.id = manifest.batch AND complete >= ?1) AS one
         ORDER BY name",
    )?;
    let named =
        |row: &Row<'_>| Ok(Named { name: row.get(0)?, bytes: row.get(1)?, lost: row.get(2)? });
    select.query_map([i64::from(!also_begun)], named)?.collect()
}

/// The current state, seen by any connection to the index.
pub(crate) fn state(connection: &Connection) -> database::Result<Option<State>> {
    let sql = "SELECT load, source, catalogue, patients, rows, rows_without_patient FROM state";
    let state = |row: &Row<'_>| {
        Ok(State {
            load: Load(row.get(0)?),
            source: row.get(1)?,
            catalogue: row.get(2)?,
            patients: row.get(3)?,
            rows: row.get(4)?,
            rows_without_patient: row.get(5)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([], state).optional()
}

/// The last complete load up to a time; 0 when there was none yet.
pub(crate) fn load_at(connection: &Connection, as_of: Option<Timestamp>) -> database::Result<Load> {
    let sql = "SELECT id FROM load WHERE complete = 1 AND at <= ?1 ORDER BY id DESC LIMIT 1";
    let mut select = connection.prepare_cached(sql)?;
    let time = as_of.map_or(i64::MAX, |Timestamp(ms)| i64::try_from(ms).unwrap_or(i64::MAX));
    Ok(Load(select.query_row([time], |row| row.get(0)).optional()?.unwrap_or_default()))
}

/// How many objects there are, and how many bytes they take.
pub(crate) fn stored(connection: &Connection) -> database::Result<(u64, u64)> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT)
               FROM (SELECT name, bytes FROM pack UNION SELECT name, bytes FROM document
                     UNION SELECT name, bytes FROM manifest) AS object";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// When each load was.
pub(crate) fn loads(connection: &Connection) -> database::Result<BTreeMap<Load, Timestamp>> {
    let mut select = connection.prepare_cached("SELECT id, at FROM load WHERE complete = 1")?;
    let loads = select.query_map([], |row| Ok((Load(row.get(0)?), Timestamp(row.get(1)?))))?;
    loads.collect()
}

/// The text of a catalogue that was ingested.
pub(crate) fn catalogue_text(
    connection: &Connection,
    version: u32,
) -> database::Result<Option<String>> {
    let mut select = connection.prepare_cached("SELECT text FROM catalogue WHERE version = ?1")?;
    select.query_row([version], |row| row.get(0)).optional()
}

/// The writing side of the index.
pub(crate) struct Index(Mutex<Connection>);

impl Index {
    pub(crate) fn open(databases: &Databases) -> Result<Self, DatabaseError> {
        Ok(Self(Mutex::new(databases.open(Half::Index, &SCHEMA)?)))
    }

    /// The lock that one ingest, or one erasure, holds; nothing when another does.
    pub(crate) fn try_lock(&self, file: &Path) -> Result<Option<Lock<'_>>, LockError> {
        Lock::try_take(&self.0, file)
    }

    /// How many bytes the index takes.
    pub(crate) fn bytes(&self) -> Result<u64, DatabaseError> {
        hold(&self.0).bytes()
    }

    pub(crate) fn state(&self) -> Result<Option<State>, DatabaseError> {
        state(&hold(&self.0))
    }

    pub(crate) fn catalogue_text(&self, version: u32) -> Result<Option<String>, DatabaseError> {
        catalogue_text(&hold(&self.0), version)
    }

    /// The content that is current, by table.
    pub(crate) fn live(&self) -> Result<BTreeMap<String, BatchName>, DatabaseError> {
        let connection = hold(&self.0);
        let mut select = connection.prepare_cached("SELECT of_table, content FROM live")?;
        let live = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        live.collect::<Result<_, _>>()
    }

    /// The number of the load after the last complete one.
    pub(crate) fn next_load(&self) -> Result<Load, DatabaseError> {
        let last = load_at(&hold(&self.0), None)?;
        Ok(Load(last.0 + 1))
    }

    /// Begins a load that nobody sees yet, or goes on with it.
    pub(crate) fn begin_load(&self, load: Load) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO load (id) VALUES (?1) ON CONFLICT DO NOTHING";
        self.change(|connection| connection.execute(sql, [load.0]).map(|_| ()))
    }

    /// Whether a batch is there.
    pub(crate) fn has_batch(&self, name: &BatchName) -> Result<bool, DatabaseError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM batch WHERE name = ?1)";
        hold(&self.0).query_row(sql, [name], |row| row.get(0))
    }

    /// Begins a batch that nobody sees yet.
    pub(crate) fn begin_batch(&self, batch: &NewBatch<'_>) -> Result<i64, DatabaseError> {
        let sql = "INSERT INTO batch (name, of_table, load, catalogue, meaning, file_bytes)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id";
        let NewBatch { name, table, load, catalogue, meaning, file_bytes } = batch;
        let values = params![name, table, load.0, catalogue, meaning, file_bytes];
        self.change(|connection| connection.query_row(sql, values, |row| row.get(0)))
    }

    /// Notes a stored pack and what lies in it.
    pub(crate) fn add_pack(
        &self,
        batch: i64,
        (name, bytes): (&ObjectName, u64),
        extents: &[Extent],
    ) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let pack = "INSERT INTO pack (batch, name, bytes) VALUES (?1, ?2, ?3) RETURNING id";
            let pack: i64 =
                connection.query_row(pack, params![batch, name, bytes], |row| row.get(0))?;
            let insert = "INSERT INTO extent (patient, batch, pack, start, length, rows)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            connection.insert(insert, |inserts| {
                extents.iter().try_for_each(|extent| {
                    let Extent { patient, start, length, rows } = extent;
                    inserts.add(params![patient, batch, pack, start, length, rows.len()])
                })
            })?;
            vault::add_satellites(connection, batch, extents)
        })
    }

    /// Whether a document is stored already.
    pub(crate) fn has_document(&self, name: &ObjectName) -> Result<bool, DatabaseError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM document WHERE name = ?1)";
        hold(&self.0).query_row(sql, [name], |row| row.get(0))
    }

    /// Notes a stored document of a patient that a batch speaks of.
    pub(crate) fn add_document(
        &self,
        (batch, patient): (i64, &PatientKey),
        name: &ObjectName,
        bytes: u64,
    ) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO document (name, batch, patient, bytes)
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        let values = params![name, batch, patient, bytes];
        self.change(|connection| connection.execute(sql, values).map(|_| ()))
    }

    /// Notes that all of a batch is written, so that an ingest that is killed later keeps it, and how
    /// many rows of its source belong to patients who were erased, and are not in it.
    pub(crate) fn finish_batch(&self, batch: i64, of_erased: u64) -> Result<(), DatabaseError> {
        let sql = "UPDATE batch SET whole = 1, of_erased = ?2 WHERE id = ?1";
        let values = params![batch, of_erased];
        self.change(|connection| connection.execute(sql, values).map(|_| ()))
    }

    /// Notes which rows a load does not bring any more.
    pub(crate) fn add_ends(&self, load: Load, ends: &[End]) -> Result<(), DatabaseError> {
        self.change(|connection| vault::add_ends(connection, load, ends))
    }

    /// Notes the hubs' rows that a batch speaks of.
    pub(crate) fn add_hubs(&self, batch: i64, hubs: &Hubs) -> Result<(), DatabaseError> {
        self.change(|connection| vault::add_hubs(connection, batch, hubs))
    }

    /// Completes a load and makes it current, with its catalogue.
    pub(crate) fn commit(
        &self,
        (catalogue, text): (&Catalogue, &str),
        done: &Completed<'_>,
    ) -> Result<State, DatabaseError> {
        self.change(|connection| {
            connection.execute("DELETE FROM live", [])?;
            for (table, content) in done.tables {
                let live = "INSERT INTO live (of_table, content) VALUES (?1, ?2)";
                connection.execute(live, params![table, content])?;
            }
            let complete = "UPDATE batch SET complete = 1 WHERE load = ?1";
            connection.execute(complete, [done.load.0])?;
            // Loads are ordered in time, whatever the clock says.
            let last = "SELECT COALESCE(MAX(at), 0) FROM load";
            let last: u64 = connection.query_row(last, [], |row| row.get(0))?;
            let complete = "UPDATE load SET complete = 1, at = ?2 WHERE id = ?1";
            connection.execute(complete, params![done.load.0, done.now.0.max(last + 1)])?;
            let keep = "INSERT INTO catalogue (version, hash, text) VALUES (?1, ?2, ?3)
                        ON CONFLICT DO NOTHING";
            let version = catalogue.version();
            connection.execute(keep, params![version, catalogue.hash().as_bytes(), text])?;
            let patients = vault::patients(connection)?;
            connection.execute(
                "INSERT INTO state
                 (id, load, source, catalogue, patients, rows, rows_without_patient)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET load = ?1, source = ?2, catalogue = ?3,
                     patients = ?4, rows = ?5, rows_without_patient = ?6",
                params![
                    done.load.0,
                    done.source,
                    version,
                    patients,
                    done.rows,
                    done.without_patient
                ],
            )?;
            Ok(state(connection)?.expect("the state was just written"))
        })
    }

    /// How many rows of what is current belong to patients who were erased.
    pub(crate) fn rows_of_erased(&self) -> Result<u64, DatabaseError> {
        let sql = "SELECT CAST(COALESCE(SUM(of_erased), 0) AS BIGINT) FROM batch WHERE id IN
                       (SELECT MAX(id) FROM batch WHERE complete = 1 GROUP BY of_table)
                   AND of_table IN (SELECT of_table FROM live)";
        hold(&self.0).query_row(sql, [], |row| row.get(0))
    }

    /// Removes every trace of a patient from all batches, and from what the file held before. What an
    /// ingest left that was killed goes with it.
    pub(crate) fn forget_patient(&self, patient: &PatientKey) -> Result<(), DatabaseError> {
        self.forget_incomplete(&[])?;
        self.change(|connection| vault::forget_patient(connection, patient))?;
        hold(&self.0).checkpoint()
    }

    /// Forgets what belongs to loads that were never completed. Batches that are written whole stay
    /// when every one of them is in `keep`; what others speak of is noted under those before them.
    pub(crate) fn forget_incomplete(&self, keep: &[BatchName]) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let count = "SELECT COUNT(*) FROM load WHERE complete = 0";
            if connection.query_row(count, [], |row| row.get::<u64>(0))? == 0 {
                return Ok(());
            }
            let mut incomplete = connection
                .prepare_cached("SELECT id, name, whole FROM batch WHERE complete = 0")?;
            let found = incomplete.query_map([], |row| {
                Ok((row.get::<i64>(0)?, row.get::<BatchName>(1)?, row.get::<bool>(2)?))
            })?;
            let found: Vec<_> = found.collect::<Result<_, _>>()?;
            let stay = found.iter().all(|(_, name, whole)| !whole || keep.contains(name));
            for (batch, _, _) in found.into_iter().filter(|(_, _, whole)| !(*whole && stay)) {
                connection.execute("DELETE FROM extent WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM pack WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM document WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM manifest WHERE batch = ?1", [batch])?;
                connection.execute("DELETE FROM facts WHERE batch = ?1", [batch])?;
                vault::forget(connection, batch)?;
                connection.execute("DELETE FROM batch WHERE id = ?1", [batch])?;
            }
            vault::forget_ends(connection)?;
            connection.execute(
                "DELETE FROM load WHERE complete = 0 AND id NOT IN (SELECT load FROM batch)",
                [],
            )?;
            Ok(())
        })
    }

    /// Every object that the index knows.
    pub(crate) fn objects(&self) -> Result<BTreeSet<ObjectName>, DatabaseError> {
        let connection = hold(&self.0);
        let mut select = connection.prepare_cached(
            "SELECT name FROM pack UNION SELECT name FROM document
             UNION SELECT name FROM manifest",
        )?;
        let names = select.query_map([], |row| row.get(0))?;
        names.collect::<Result<_, _>>()
    }

    /// Runs `work` on the writing connection.
    pub(crate) fn look<T>(
        &self,
        work: impl FnOnce(&Connection) -> database::Result<T>,
    ) -> Result<T, DatabaseError> {
        work(&hold(&self.0))
    }

    fn change<T>(
        &self,
        work: impl FnOnce(&Connection) -> database::Result<T>,
    ) -> Result<T, DatabaseError> {
        hold(&self.0).change(work)
    }
}

#[cfg(test)]
impl Index {
    /// Pretends that the disk has room for this many more pages of the index.
    pub(crate) fn leave_room(&self, pages: u32) {
        hold(&self.0).leave_room(pages);
    }
}
