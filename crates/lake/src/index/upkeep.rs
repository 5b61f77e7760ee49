//! What the index keeps so that the lake can be looked after: manifests, damage, what is lost, and how
//! far a scrub is. What was counted and what is in quarantine: [`quality`](super::quality).

use super::Index;
use crate::damage::{Damage, Fate, ObjectKind, What};
use crate::database::{self, Connection, DatabaseError, OptionalExtension, Row, hold, params};
use crate::frame::BatchName;
use crate::index::vault;
use crate::keys::PatientKey;
use crate::objects::ObjectName;
use aegle_vault::{Load, RowId};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const SCHEMA: &str = "
    CREATE INDEX pack_batch ON pack (batch);
    CREATE TABLE manifest (
        batch INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, bytes INTEGER NOT NULL,
        sealed BLOB NOT NULL
    );
    CREATE TABLE lost (patient BLOB, batch INTEGER, PRIMARY KEY (patient, batch)) WITHOUT ROWID;
    CREATE TABLE damage (
        object BLOB PRIMARY KEY, batch INTEGER NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL,
        fate TEXT NOT NULL, reason TEXT, found TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE scrub (
        id INTEGER PRIMARY KEY CHECK (id = 1), position BLOB NOT NULL, ended TEXT
    );
";

/// The index's copy of a manifest.
#[derive(Clone)]
pub(crate) struct ManifestRow {
    pub(crate) name: ObjectName,
    pub(crate) bytes: u64,
    pub(crate) sealed: Vec<u8>,
}

/// A batch, as a repair needs it.
pub(crate) struct BatchRow {
    pub(crate) id: i64,
    pub(crate) name: BatchName,
    pub(crate) table: String,
    pub(crate) load: Load,
    pub(crate) catalogue: u32,
    pub(crate) meaning: [u8; 32],
}

/// An object of a complete batch; of several that share it, the last.
pub(crate) struct ObjectRow {
    pub(crate) kind: ObjectKind,
    pub(crate) name: ObjectName,
    pub(crate) batch: i64,
    pub(crate) bytes: u64,
}

/// Where one patient's rows lie in a pack, and which they are.
pub(crate) struct Laid {
    pub(crate) patient: PatientKey,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) rows: Vec<RowId>,
}

/// An object that is, or was, not as it was written.
pub(crate) struct Found {
    pub(crate) object: ObjectName,
    pub(crate) batch: i64,
    pub(crate) kind: ObjectKind,
}

/// The manifest of a batch.
pub(crate) fn manifest(
    connection: &Connection,
    batch: i64,
) -> database::Result<Option<ManifestRow>> {
    let sql = "SELECT name, bytes, sealed FROM manifest WHERE batch = ?1";
    let row = |row: &Row<'_>| {
        Ok(ManifestRow { name: row.get(0)?, bytes: row.get(1)?, sealed: row.get(2)? })
    };
    connection.prepare_cached(sql)?.query_row([batch], row).optional()
}

const BATCH: &str = "SELECT id, name, of_table, load, catalogue, meaning FROM batch";

fn batch(row: &Row<'_>) -> database::Result<BatchRow> {
    Ok(BatchRow {
        id: row.get(0)?,
        name: row.get(1)?,
        table: row.get(2)?,
        load: Load(row.get(3)?),
        catalogue: row.get(4)?,
        meaning: row.get(5)?,
    })
}

/// The last complete batch of a table.
pub(crate) fn last_batch(
    connection: &Connection,
    table: &str,
) -> database::Result<Option<BatchRow>> {
    let sql = format!("{BATCH} WHERE complete = 1 AND of_table = ?1 ORDER BY id DESC LIMIT 1");
    connection.prepare_cached(&sql)?.query_row([table], batch).optional()
}

/// Complete batches that have no manifest.
pub(crate) fn without_manifest(connection: &Connection) -> database::Result<Vec<(i64, BatchName)>> {
    let sql = "SELECT id, name FROM batch WHERE complete = 1
               AND NOT EXISTS (SELECT 1 FROM manifest WHERE manifest.batch = batch.id)";
    let mut select = connection.prepare_cached(sql)?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The objects of complete batches whose names come after `after`, a few at a time.
pub(crate) fn objects(connection: &Connection, after: &[u8]) -> database::Result<Vec<ObjectRow>> {
    let mut select = connection.prepare_cached(
        "SELECT 'pack' AS kind, pack.name AS name, pack.batch AS batch, pack.bytes AS bytes
             FROM pack JOIN batch ON batch.id = pack.batch
             WHERE batch.complete = 1 AND pack.name > ?1
         UNION ALL SELECT 'manifest', manifest.name, manifest.batch, manifest.bytes
             FROM manifest JOIN batch ON batch.id = manifest.batch
             WHERE batch.complete = 1 AND manifest.name > ?1
         UNION ALL SELECT 'document', document.name, MAX(document.batch), MAX(document.bytes)
             FROM document JOIN batch ON batch.id = document.batch
             WHERE batch.complete = 1 AND document.name > ?1 GROUP BY document.name
         ORDER BY name LIMIT 64",
    )?;
    let row = |row: &Row<'_>| {
        Ok(ObjectRow {
            kind: word(row, 0)?,
            name: row.get(1)?,
            batch: row.get(2)?,
            bytes: row.get(3)?,
        })
    };
    select.query_map([after], row)?.collect()
}

/// How many bytes the objects of complete batches have whose names come after `after`.
pub(crate) fn object_bytes(connection: &Connection, after: &[u8]) -> database::Result<u64> {
    let sql = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM (
            SELECT pack.name AS name, bytes FROM pack
                JOIN batch ON batch.id = pack.batch AND complete = 1
            UNION SELECT manifest.name, bytes FROM manifest
                JOIN batch ON batch.id = manifest.batch AND complete = 1
            UNION SELECT document.name, bytes FROM document
                JOIN batch ON batch.id = document.batch AND complete = 1
        ) AS object WHERE name > ?1";
    connection.query_row(sql, [after], |row| row.get(0))
}

/// Everything that was ever found damaged, the newest first.
pub(crate) fn damages(connection: &Connection) -> database::Result<Vec<Damage>> {
    let mut select = connection.prepare_cached(
        "SELECT object, kind, what, fate, reason, found, of_table, load
         FROM damage JOIN batch ON batch.id = damage.batch ORDER BY found DESC, object",
    )?;
    let rows = select.query_map([], |row| {
        let object: ObjectName = row.get(0)?;
        Ok(Damage {
            object: hex::encode(object),
            kind: word(row, 1)?,
            what: word(row, 2)?,
            fate: word(row, 3)?,
            reason: row.get(4)?,
            found: word(row, 5)?,
            table: row.get(6)?,
            load: row.get(7)?,
        })
    })?;
    rows.collect()
}

/// Whether a document could not be brought again.
pub(crate) fn is_lost(connection: &Connection, object: &ObjectName) -> database::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM damage WHERE object = ?1 AND fate = ?2)";
    connection.query_row(sql, params![object, Fate::Lost.to_string()], |row| row.get(0))
}

/// The batches whose rows are lost, by patient, of the patients after one and up to another.
pub(super) fn lost_between(
    connection: &Connection,
    (after, until): (&[u8], &PatientKey),
) -> database::Result<BTreeSet<(PatientKey, i64)>> {
    let mut select = connection
        .prepare_cached("SELECT patient, batch FROM lost WHERE patient > ?1 AND patient <= ?2")?;
    let lost = select.query_map(params![after, until], |row| Ok((row.get(0)?, row.get(1)?)))?;
    lost.collect()
}

/// When the last whole scrub ended.
pub(crate) fn last_scrub(connection: &Connection) -> database::Result<Option<Timestamp>> {
    let sql = "SELECT ended FROM scrub WHERE ended IS NOT NULL";
    connection.query_row(sql, [], |row| word(row, 0)).optional()
}

/// What a column says in one of our own words.
pub(super) fn word<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> database::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| DatabaseError::Other(error.into()))
}

fn settle(
    connection: &Connection,
    object: &ObjectName,
    (fate, reason): (Fate, Option<&str>),
) -> database::Result<()> {
    let sql = "UPDATE damage SET fate = ?2, reason = ?3 WHERE object = ?1";
    connection.execute(sql, params![object, fate.to_string(), reason])?;
    Ok(())
}

/// Lets the next ingest take a table in as if it had changed.
fn look_again(connection: &Connection, table: &str) -> database::Result<()> {
    let none = [0_u8; 32];
    let live = "UPDATE live SET content = ?2 WHERE of_table = ?1";
    connection.execute(live, params![table, none])?;
    connection.execute("UPDATE state SET source = ?1", [none])?;
    Ok(())
}

impl Index {
    /// Keeps the manifest of a batch in place of the one that was there.
    pub(crate) fn put_manifest(
        &self,
        batch: i64,
        manifest: &ManifestRow,
    ) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO manifest (batch, name, bytes, sealed) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (batch) DO UPDATE SET name = ?2, bytes = ?3, sealed = ?4";
        let ManifestRow { name, bytes, sealed } = manifest;
        self.change(|connection| {
            connection.execute(sql, params![batch, name, bytes, sealed])?;
            Ok(())
        })
    }

    /// What a repair needs to know of a batch.
    pub(crate) fn batch_row(&self, id: i64) -> Result<Option<BatchRow>, DatabaseError> {
        let sql = format!("{BATCH} WHERE id = ?1");
        hold(&self.0).prepare_cached(&sql)?.query_row([id], batch).optional()
    }

    /// How many bytes a pack was written with; none when the batch has no such pack.
    pub(crate) fn pack_bytes(
        &self,
        batch: i64,
        pack: &ObjectName,
    ) -> Result<Option<u64>, DatabaseError> {
        let sql = "SELECT bytes FROM pack WHERE name = ?1 AND batch = ?2";
        let bytes =
            hold(&self.0).query_row(sql, params![pack, batch], |row| row.get(0)).optional()?;
        Ok(bytes)
    }

    /// What lies in a pack, in the order in which it lies there, but for what is lost. Looks through all
    /// extents: an index by pack would cost every ingest more than the rare repair is worth.
    pub(crate) fn laid(&self, pack: &ObjectName) -> Result<Vec<Laid>, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "SELECT extent.patient, start, length, satellite.rows FROM pack
                   JOIN extent ON extent.pack = pack.id
                   JOIN satellite ON satellite.patient = extent.patient
                       AND satellite.batch = extent.batch
                   WHERE pack.name = ?1 AND NOT EXISTS (SELECT 1 FROM lost
                       WHERE lost.patient = extent.patient AND lost.batch = extent.batch)
                   ORDER BY start";
        let mut select = connection.prepare_cached(sql)?;
        let laid = select.query_map([pack], |row| {
            let rows: Vec<u8> = row.get(3)?;
            Ok(Laid {
                patient: row.get(0)?,
                start: row.get(1)?,
                length: row.get(2)?,
                rows: vault::decode(&rows),
            })
        })?;
        laid.collect()
    }

    /// Whose a document is, and with how many bytes it was written; none when nothing speaks of it.
    pub(crate) fn document(
        &self,
        document: &ObjectName,
    ) -> Result<Option<(PatientKey, u64)>, DatabaseError> {
        let sql = "SELECT patient, bytes FROM document WHERE name = ?1 LIMIT 1";
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        hold(&self.0).query_row(sql, [document], row).optional()
    }

    /// Calls a pack by the name of what it holds now.
    pub(crate) fn rename_pack(
        &self,
        (old, new): (&ObjectName, &ObjectName),
        (batch, lost): (&BatchRow, &[PatientKey]),
    ) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let rename = "UPDATE pack SET name = ?2 WHERE name = ?1";
            connection.execute(rename, params![old, new])?;
            let insert = "INSERT INTO lost (patient, batch) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            for patient in lost {
                connection.prepare_cached(insert)?.execute(params![patient, batch.id])?;
            }
            if lost.is_empty() { Ok(()) } else { look_again(connection, &batch.table) }
        })
    }

    /// Notes that a document of a batch is lost, and why.
    pub(crate) fn lose_document(
        &self,
        document: &ObjectName,
        batch: &BatchRow,
        why: &str,
    ) -> Result<(), DatabaseError> {
        self.change(|connection| {
            settle(connection, document, (Fate::Lost, Some(why)))?;
            look_again(connection, &batch.table)
        })
    }

    /// The documents that are lost, by patient.
    pub(crate) fn lost_documents(
        &self,
    ) -> Result<BTreeMap<PatientKey, BTreeSet<ObjectName>>, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "SELECT patient, name FROM damage JOIN document ON name = object WHERE fate = ?1";
        let mut select = connection.prepare_cached(sql)?;
        let rows = select
            .query_map([Fate::Lost.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<Vec<(PatientKey, ObjectName)>, _>>()?;
        let mut lost = BTreeMap::<_, BTreeSet<_>>::new();
        for (patient, document) in rows {
            lost.entry(patient).or_default().insert(document);
        }
        Ok(lost)
    }

    /// The batch of a pack or document.
    pub(crate) fn batch_of(
        &self,
        object: &ObjectName,
    ) -> Result<Option<(i64, ObjectKind)>, DatabaseError> {
        let sql = "SELECT batch, 'pack' FROM pack WHERE name = ?1
                   UNION ALL SELECT MAX(batch), 'document' FROM document WHERE name = ?1
                       GROUP BY name";
        let batch = |row: &Row<'_>| Ok((row.get(0)?, word(row, 1)?));
        hold(&self.0).query_row(sql, [object], batch).optional()
    }

    /// Notes that an object is not as it was written.
    pub(crate) fn note_damage(
        &self,
        found: &Found,
        what: What,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let Found { object, batch, kind } = found;
        let fate = Fate::Open.to_string();
        // What is noted already costs no write: many reads may find the same. What is lost stays so.
        let sql = "INSERT INTO damage (object, batch, kind, what, fate, found)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (object) DO UPDATE
                   SET batch = ?2, what = ?4, fate = ?5, reason = NULL, found = ?6
                   WHERE damage.fate = 'repaired'
                   OR (damage.fate = ?5 AND damage.what <> ?4)";
        let (kind, what, now) = (kind.to_string(), what.to_string(), now.to_string());
        self.change(|connection| {
            connection.execute(sql, params![object, batch, kind, what, fate, now])?;
            Ok(())
        })
    }

    /// Notes what became of a damaged object.
    pub(crate) fn settle(
        &self,
        object: &ObjectName,
        fate: Fate,
        reason: Option<&str>,
    ) -> Result<(), DatabaseError> {
        self.change(|connection| settle(connection, object, (fate, reason)))
    }

    /// The objects that are damaged still and of this fate, batch by batch.
    pub(crate) fn damaged(&self, fates: &[Fate]) -> Result<Vec<Found>, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "SELECT object, batch, kind FROM damage WHERE fate = ?1 ORDER BY batch, object";
        let mut select = connection.prepare_cached(sql)?;
        let mut all = Vec::new();
        for fate in fates {
            let found = select.query_map([fate.to_string()], |row| {
                Ok(Found { object: row.get(0)?, batch: row.get(1)?, kind: word(row, 2)? })
            })?;
            all.extend(found.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(all)
    }

    /// After which object the next scrub goes on.
    pub(crate) fn scrub_position(&self) -> Result<Vec<u8>, DatabaseError> {
        let sql = "SELECT position FROM scrub";
        let position = hold(&self.0).query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(position.unwrap_or_default())
    }

    /// Notes how far a scrub is; `ended` when it came to the end.
    pub(crate) fn put_scrub(
        &self,
        position: &[u8],
        ended: Option<Timestamp>,
    ) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO scrub (id, position, ended) VALUES (1, ?1, ?2) ON CONFLICT (id)
                   DO UPDATE SET position = ?1, ended = COALESCE(?2, scrub.ended)";
        self.change(|connection| {
            connection.execute(sql, params![position, ended.map(|time| time.to_string())])?;
            Ok(())
        })
    }
}
