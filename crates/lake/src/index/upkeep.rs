//! What the index keeps so that the lake can be looked after: manifests, damage, how far a scrub is,
//! and what was counted of each batch.

use super::Index;
use crate::damage::{Damage, Fate, ObjectKind, What};
use crate::database::{DatabaseError, hold};
use crate::frame::BatchName;
use crate::objects::ObjectName;
use crate::quarantine::Standing;
use crate::stats::TableStats;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeSet;

pub(super) const SCHEMA: &str = "
    CREATE INDEX pack_batch ON pack (batch);
    CREATE TABLE facts (
        batch INTEGER PRIMARY KEY, catalogue INTEGER NOT NULL, patients INTEGER NOT NULL,
        loaded TEXT NOT NULL, seen TEXT NOT NULL, stats TEXT NOT NULL
    );
    CREATE TABLE manifest (
        batch INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, sealed BLOB NOT NULL
    );
    CREATE TABLE damage (
        object BLOB PRIMARY KEY, batch INTEGER NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL,
        fate TEXT NOT NULL, reason TEXT, found TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE quarantine (
        name BLOB PRIMARY KEY, of_table TEXT NOT NULL, noted TEXT NOT NULL, standing TEXT NOT NULL,
        rows INTEGER NOT NULL, wrong_rows INTEGER NOT NULL, orphans INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE scrub (
        id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL, ended TEXT
    );
";

/// The index's copy of a manifest.
pub(crate) struct ManifestRow {
    pub(crate) name: ObjectName,
    pub(crate) sealed: Vec<u8>,
}

/// A complete batch with its manifest, if it has one.
pub(crate) struct BatchRow {
    pub(crate) id: i64,
    pub(crate) name: BatchName,
    pub(crate) manifest: Option<ManifestRow>,
}

/// A pack of a complete batch.
pub(crate) struct PackRow {
    pub(crate) id: i64,
    pub(crate) batch: i64,
    pub(crate) name: ObjectName,
    pub(crate) bytes: u64,
}

/// A batch that broke its contract.
pub(crate) struct QuarantineRow {
    pub(crate) name: BatchName,
    pub(crate) table: String,
    pub(crate) noted: Timestamp,
    pub(crate) standing: Standing,
    /// Rows, wrong rows, orphans.
    pub(crate) counts: [u64; 3],
    pub(crate) sealed: Vec<u8>,
}

/// The batch that is current of a table.
pub(crate) struct Live {
    pub(crate) id: i64,
    pub(crate) name: BatchName,
    pub(crate) catalogue: u32,
    pub(crate) stats: TableStats,
}

/// Every batch that was ever in quarantine, the newest first.
pub(crate) fn quarantine(connection: &Connection) -> rusqlite::Result<Vec<QuarantineRow>> {
    let mut select = connection.prepare(
        "SELECT name, of_table, noted, standing, rows, wrong_rows, orphans, sealed
         FROM quarantine ORDER BY noted DESC, name",
    )?;
    let rows = select.query_map([], |row| {
        Ok(QuarantineRow {
            name: row.get(0)?,
            table: row.get(1)?,
            noted: word(row, 2)?,
            standing: word(row, 3)?,
            counts: [row.get(4)?, row.get(5)?, row.get(6)?],
            sealed: row.get(7)?,
        })
    })?;
    rows.collect()
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
) -> rusqlite::Result<Option<ManifestRow>> {
    let sql = "SELECT name, sealed FROM manifest WHERE batch = ?1";
    let row = |row: &Row<'_>| Ok(ManifestRow { name: row.get(0)?, sealed: row.get(1)? });
    connection.prepare_cached(sql)?.query_row([batch], row).optional()
}

/// The complete batches after the one with id `after`, a few at a time.
pub(crate) fn batches(connection: &Connection, after: i64) -> rusqlite::Result<Vec<BatchRow>> {
    let mut select = connection.prepare_cached(
        "SELECT batch.id, batch.name, manifest.name, sealed
         FROM batch LEFT JOIN manifest ON manifest.batch = batch.id
         WHERE complete AND batch.id > ?1 ORDER BY batch.id LIMIT 64",
    )?;
    let rows = select.query_map([after], |row| {
        let name: Option<ObjectName> = row.get(2)?;
        let sealed: Option<Vec<u8>> = row.get(3)?;
        let manifest = name.zip(sealed).map(|(name, sealed)| ManifestRow { name, sealed });
        Ok(BatchRow { id: row.get(0)?, name: row.get(1)?, manifest })
    })?;
    rows.collect()
}

/// The packs of complete batches after the one with id `after`, a few at a time.
pub(crate) fn packs(connection: &Connection, after: i64) -> rusqlite::Result<Vec<PackRow>> {
    let mut select = connection.prepare_cached(
        "SELECT pack.id, batch, pack.name, bytes FROM pack JOIN batch ON batch.id = pack.batch
         WHERE complete AND pack.id > ?1 ORDER BY pack.id LIMIT 64",
    )?;
    select.query_map([after], pack)?.collect()
}

/// How many bytes the packs of complete batches after the one with id `after` have.
pub(crate) fn pack_bytes(connection: &Connection, after: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT COALESCE(SUM(bytes), 0) FROM pack JOIN batch ON batch.id = pack.batch
               WHERE complete AND pack.id > ?1";
    connection.query_row(sql, [after], |row| row.get(0))
}

/// Everything that was ever found damaged, the newest first.
pub(crate) fn damages(connection: &Connection) -> rusqlite::Result<Vec<Damage>> {
    let mut select = connection.prepare(
        "SELECT object, kind, what, fate, reason, found, of_table,
                EXISTS (SELECT 1 FROM live WHERE live.batch = damage.batch)
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
            current: row.get(7)?,
        })
    })?;
    rows.collect()
}

/// A complete batch with what was counted of it.
pub(crate) struct FactRow {
    pub(crate) id: i64,
    pub(crate) name: BatchName,
    pub(crate) table: String,
    pub(crate) source_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) current: bool,
    pub(crate) facts: Facts,
}

/// What was counted of a batch.
pub(crate) struct Facts {
    /// The version of the catalogue that it was cut by.
    pub(crate) catalogue: u32,
    pub(crate) patients: u64,
    /// When it was brought in.
    pub(crate) loaded: Timestamp,
    /// When its source was last found to be the same.
    pub(crate) seen: Timestamp,
    pub(crate) stats: TableStats,
}

/// Every complete batch, the oldest first.
pub(crate) fn facts(connection: &Connection) -> rusqlite::Result<Vec<FactRow>> {
    let mut select = connection.prepare(
        "SELECT batch.id, batch.name, of_table, file_bytes,
                (SELECT COALESCE(SUM(bytes), 0) FROM pack WHERE pack.batch = batch.id),
                EXISTS (SELECT 1 FROM live WHERE live.batch = batch.id),
                catalogue, patients, loaded, seen, stats
         FROM batch JOIN facts ON facts.batch = batch.id WHERE complete ORDER BY batch.id",
    )?;
    let rows = select.query_map([], |row| {
        let facts = Facts {
            catalogue: row.get(6)?,
            patients: row.get(7)?,
            loaded: word(row, 8)?,
            seen: word(row, 9)?,
            stats: counts(row, 10)?,
        };
        Ok(FactRow {
            id: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            source_bytes: row.get(3)?,
            stored_bytes: row.get(4)?,
            current: row.get(5)?,
            facts,
        })
    })?;
    rows.collect()
}

/// The versions of catalogues that were ever current, the oldest first.
pub(crate) fn catalogues(connection: &Connection) -> rusqlite::Result<Vec<u32>> {
    let mut select = connection.prepare("SELECT version FROM catalogue ORDER BY version")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// When the last whole scrub ended.
pub(crate) fn last_scrub(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let time = |row: &Row<'_>| match row.get_ref(0)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => word(row, 0).map(Some),
    };
    Ok(connection.query_row("SELECT ended FROM scrub", [], time).optional()?.flatten())
}

fn counts(row: &Row<'_>, column: usize) -> rusqlite::Result<TableStats> {
    let text: String = row.get(column)?;
    let wrong =
        |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    serde_json::from_str(&text).map_err(wrong)
}

/// What a column says in one of our own words.
fn word<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error);
    text.parse().map_err(|error: T::Err| wrong(Box::new(error)))
}

fn pack(row: &Row<'_>) -> rusqlite::Result<PackRow> {
    Ok(PackRow { id: row.get(0)?, batch: row.get(1)?, name: row.get(2)?, bytes: row.get(3)? })
}

impl Index {
    /// The manifest of a batch.
    pub(crate) fn manifest(&self, batch: i64) -> Result<Option<ManifestRow>, DatabaseError> {
        Ok(manifest(&hold(&self.0), batch)?)
    }

    /// Keeps the manifest of a batch in place of the one that was there.
    pub(crate) fn put_manifest(
        &self,
        batch: i64,
        manifest: &ManifestRow,
    ) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let sql = "INSERT OR REPLACE INTO manifest (batch, name, sealed) VALUES (?1, ?2, ?3)";
            connection.execute(sql, params![batch, manifest.name, manifest.sealed])?;
            Ok(())
        })
    }

    /// The name of every manifest.
    pub(crate) fn manifests(&self) -> Result<BTreeSet<ObjectName>, DatabaseError> {
        let connection = hold(&self.0);
        let mut select = connection.prepare("SELECT name FROM manifest")?;
        let names = select.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// The name of a batch.
    pub(crate) fn batch_name(&self, batch: i64) -> Result<Option<BatchName>, DatabaseError> {
        let sql = "SELECT name FROM batch WHERE id = ?1";
        Ok(hold(&self.0).query_row(sql, [batch], |row| row.get(0)).optional()?)
    }

    /// The packs of a batch in the order in which they were written.
    pub(crate) fn packs_of(&self, batch: i64) -> Result<Vec<PackRow>, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "SELECT id, batch, name, bytes FROM pack WHERE batch = ?1 ORDER BY id";
        let mut select = connection.prepare_cached(sql)?;
        Ok(select.query_map([batch], pack)?.collect::<Result<_, _>>()?)
    }

    /// The batch of a pack.
    pub(crate) fn batch_of(&self, pack: &ObjectName) -> Result<Option<i64>, DatabaseError> {
        let sql = "SELECT batch FROM pack WHERE name = ?1";
        Ok(hold(&self.0).query_row(sql, [pack], |row| row.get(0)).optional()?)
    }

    /// Calls a pack by the name of what it holds now.
    pub(crate) fn rename_pack(
        &self,
        old: &ObjectName,
        new: &ObjectName,
    ) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let sql = "UPDATE pack SET name = ?2 WHERE name = ?1";
            connection.execute(sql, params![old, new])?;
            Ok(())
        })
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
        // What is noted already costs no write: many reads may find the same.
        let sql = "INSERT INTO damage (object, batch, kind, what, fate, found)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (object) DO UPDATE
                   SET batch = ?2, what = ?4, fate = ?5, reason = NULL, found = ?6
                   WHERE fate = 'repaired' OR what <> ?4";
        let (kind, what, now) = (kind.to_string(), what.to_string(), now.to_string());
        hold(&self.0).execute(sql, params![object, batch, kind, what, fate, now])?;
        Ok(())
    }

    /// Notes what became of a damaged object.
    pub(crate) fn settle(
        &self,
        object: &ObjectName,
        fate: Fate,
        reason: Option<&str>,
    ) -> Result<(), DatabaseError> {
        let sql = "UPDATE damage SET fate = ?2, reason = ?3 WHERE object = ?1";
        hold(&self.0).execute(sql, params![object, fate.to_string(), reason])?;
        Ok(())
    }

    /// The objects that are damaged still, batch by batch; of one batch, if it is given.
    pub(crate) fn damaged(&self, batch: Option<i64>) -> Result<Vec<Found>, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "SELECT object, batch, kind FROM damage
                   WHERE fate <> ?1 AND (?2 IS NULL OR batch = ?2) ORDER BY batch, object";
        let mut select = connection.prepare_cached(sql)?;
        let found = select.query_map(params![Fate::Repaired.to_string(), batch], |row| {
            Ok(Found { object: row.get(0)?, batch: row.get(1)?, kind: word(row, 2)? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Keeps what was counted of a batch.
    pub(crate) fn put_facts(&self, batch: i64, facts: &Facts) -> Result<(), DatabaseError> {
        let stats = serde_json::to_string(&facts.stats).expect("counts and names are plain JSON");
        let (loaded, seen) = (facts.loaded.to_string(), facts.seen.to_string());
        let sql = "INSERT OR REPLACE INTO facts (batch, catalogue, patients, loaded, seen, stats)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Facts { catalogue, patients, .. } = facts;
        hold(&self.0).execute(sql, params![batch, catalogue, patients, loaded, seen, stats])?;
        Ok(())
    }

    /// The batch that is current of a table.
    pub(crate) fn live(&self, table: &str) -> Result<Option<Live>, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "SELECT batch.id, batch.name, catalogue, stats FROM live
                   JOIN batch ON batch.id = live.batch JOIN facts ON facts.batch = live.batch
                   WHERE live.of_table = ?1";
        let live = |row: &Row<'_>| {
            let (id, name, catalogue) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Live { id, name, catalogue, stats: counts(row, 3)? })
        };
        Ok(connection.prepare_cached(sql)?.query_row([table], live).optional()?)
    }

    /// Notes a batch in quarantine, unless it is known there. Yields how it stands.
    pub(crate) fn hold_back(&self, row: &QuarantineRow) -> Result<Standing, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "INSERT OR IGNORE INTO quarantine
                       (name, of_table, noted, standing, rows, wrong_rows, orphans, sealed)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let ([rows, wrong, orphans], standing) = (row.counts, row.standing.to_string());
        let noted = row.noted.to_string();
        let QuarantineRow { name, table, sealed, .. } = row;
        connection
            .execute(sql, params![name, table, noted, standing, rows, wrong, orphans, sealed])?;
        let select = "SELECT standing FROM quarantine WHERE name = ?1";
        Ok(connection.query_row(select, [name], |row| word(row, 0))?)
    }

    /// Notes what somebody decided about a batch in quarantine.
    pub(crate) fn decide(&self, name: &BatchName, standing: Standing) -> Result<(), DatabaseError> {
        let sql = "UPDATE quarantine SET standing = ?2 WHERE name = ?1";
        hold(&self.0).execute(sql, params![name, standing.to_string()])?;
        Ok(())
    }

    /// Nobody has to decide any more about batches of a table that others came in after.
    pub(crate) fn replace_held(&self, table: &str) -> Result<(), DatabaseError> {
        let sql = "UPDATE quarantine SET standing = ?3 WHERE of_table = ?1 AND standing = ?2";
        let [held, replaced] = [Standing::Held, Standing::Replaced].map(|one| one.to_string());
        hold(&self.0).execute(sql, params![table, held, replaced])?;
        Ok(())
    }

    /// Notes that the source of what is current was found to be the same.
    pub(crate) fn mark_seen(&self, now: Timestamp) -> Result<(), DatabaseError> {
        let sql = "UPDATE facts SET seen = ?1 WHERE batch IN (SELECT batch FROM live)";
        hold(&self.0).execute(sql, [now.to_string()])?;
        Ok(())
    }

    /// The batches to repair. What is lost of one that is current no more comes back only when its
    /// old source is ingested again.
    pub(crate) fn to_mend(&self) -> Result<BTreeSet<i64>, DatabaseError> {
        let connection = hold(&self.0);
        let sql = "SELECT batch FROM damage WHERE fate = ?1
                   OR (fate = ?2 AND batch IN (SELECT batch FROM live))";
        let mut select = connection.prepare_cached(sql)?;
        let fates = [Fate::Open, Fate::Lost].map(|fate| fate.to_string());
        let batches = select.query_map(fates, |row| row.get(0))?;
        Ok(batches.collect::<Result<_, _>>()?)
    }

    /// Whether a batch is current.
    pub(crate) fn is_live(&self, batch: i64) -> Result<bool, DatabaseError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM live WHERE batch = ?1)";
        Ok(hold(&self.0).query_row(sql, [batch], |row| row.get(0))?)
    }

    /// After which pack the next scrub goes on.
    pub(crate) fn scrub_position(&self) -> Result<i64, DatabaseError> {
        let sql = "SELECT position FROM scrub";
        Ok(hold(&self.0).query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Notes how far a scrub is; `ended` when it came to the end.
    pub(crate) fn put_scrub(
        &self,
        position: i64,
        ended: Option<Timestamp>,
    ) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO scrub (id, position, ended) VALUES (1, ?1, ?2) ON CONFLICT (id)
                   DO UPDATE SET position = ?1, ended = COALESCE(?2, ended)";
        hold(&self.0).execute(sql, params![position, ended.map(|time| time.to_string())])?;
        Ok(())
    }
}
