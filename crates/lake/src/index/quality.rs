//! What the index keeps about the quality of data: what was counted of each batch, when a source was
//! last looked at, and what is in quarantine.

use super::Index;
use super::upkeep::word;
use crate::database::{self, Connection, DatabaseError, OptionalExtension, Row, hold, params};
use crate::frame::BatchName;
use crate::quarantine::Standing;
use crate::stats::TableStats;
use crate::time;
use aegle_model::Timestamp as Instant;
use jiff::Timestamp;

pub(super) const SCHEMA: &str = "
    CREATE TABLE facts (
        batch INTEGER PRIMARY KEY, patients INTEGER NOT NULL, rows INTEGER NOT NULL,
        stats TEXT NOT NULL
    );
    CREATE TABLE seen (of_table TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE quarantine (
        name BLOB PRIMARY KEY, of_table TEXT NOT NULL, noted TEXT NOT NULL, standing TEXT NOT NULL,
        rows INTEGER NOT NULL, wrong_rows INTEGER NOT NULL, orphans INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) WITHOUT ROWID;
";

/// What was counted of a batch.
pub(crate) struct Facts {
    /// How many patients the whole table had rows of.
    pub(crate) patients: u64,
    /// How many rows the batch brought.
    pub(crate) rows: u64,
    /// Of the whole table.
    pub(crate) stats: TableStats,
}

/// A complete batch with what was counted of it.
pub(crate) struct FactRow {
    pub(crate) id: i64,
    pub(crate) name: BatchName,
    pub(crate) table: String,
    pub(crate) load: u64,
    pub(crate) loaded: Timestamp,
    pub(crate) catalogue: u32,
    pub(crate) source_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) facts: Facts,
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

/// Every batch that was ever in quarantine, the newest first.
pub(crate) fn quarantine(connection: &Connection) -> database::Result<Vec<QuarantineRow>> {
    let mut select = connection.prepare_cached(
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

/// Every complete batch, the oldest first.
pub(crate) fn facts(connection: &Connection) -> database::Result<Vec<FactRow>> {
    let mut select = connection.prepare_cached(
        "SELECT batch.id, batch.name, of_table, load, at, catalogue, file_bytes,
                CAST((SELECT COALESCE(SUM(bytes), 0) FROM pack WHERE pack.batch = batch.id)
                    + COALESCE(written.bytes, 0) AS BIGINT),
                patients, facts.rows, stats
         FROM batch JOIN facts ON facts.batch = batch.id JOIN load ON load.id = batch.load
         LEFT JOIN (SELECT batch, SUM(bytes) AS bytes FROM document GROUP BY batch) AS written
             ON written.batch = batch.id
         WHERE batch.complete = 1 ORDER BY batch.id",
    )?;
    let rows = select.query_map([], |row| {
        let facts = Facts { patients: row.get(8)?, rows: row.get(9)?, stats: counts(row, 10)? };
        Ok(FactRow {
            id: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            load: row.get(3)?,
            loaded: time::civil(Instant(row.get(4)?)).unwrap_or_default(),
            catalogue: row.get(5)?,
            source_bytes: row.get(6)?,
            stored_bytes: row.get(7)?,
            facts,
        })
    })?;
    rows.collect()
}

/// The versions of catalogues that were ever current, the oldest first.
pub(crate) fn catalogues(connection: &Connection) -> database::Result<Vec<u32>> {
    let mut select = connection.prepare_cached("SELECT version FROM catalogue ORDER BY version")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// When the source of a table was last looked at and taken as it was.
pub(crate) fn seen(connection: &Connection, table: &str) -> database::Result<Option<Timestamp>> {
    let sql = "SELECT at FROM seen WHERE of_table = ?1";
    connection.query_row(sql, [table], |row| word(row, 0)).optional()
}

/// What waits for somebody: objects that are damaged or lost, extents that are lost, batches held.
pub(crate) fn waiting(connection: &Connection) -> database::Result<[u64; 3]> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get(0));
    Ok([
        count("SELECT COUNT(*) FROM damage WHERE fate <> 'repaired'")?,
        count("SELECT COUNT(*) FROM lost")?,
        count("SELECT COUNT(*) FROM quarantine WHERE standing = 'held'")?,
    ])
}

fn counts(row: &Row<'_>, column: usize) -> database::Result<TableStats> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| DatabaseError::Other(error.into()))
}

impl Index {
    /// Keeps what was counted of a batch.
    pub(crate) fn put_facts(&self, batch: i64, facts: &Facts) -> Result<(), DatabaseError> {
        let Facts { patients, rows, stats } = facts;
        let stats = serde_json::to_string(stats).expect("counts and names are plain JSON");
        let sql = "INSERT INTO facts (batch, patients, rows, stats) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (batch) DO UPDATE SET patients = ?2, rows = ?3, stats = ?4";
        self.change(|connection| {
            connection.execute(sql, params![batch, patients, rows, stats])?;
            Ok(())
        })
    }

    /// What was counted when a table last came in.
    pub(crate) fn last_stats(&self, table: &str) -> Result<Option<TableStats>, DatabaseError> {
        let sql = "SELECT stats FROM facts JOIN batch ON batch.id = facts.batch
                   WHERE complete = 1 AND of_table = ?1 ORDER BY batch.id DESC LIMIT 1";
        hold(&self.0).query_row(sql, [table], |row| counts(row, 0)).optional()
    }

    /// Notes that the source of a table was looked at, and that nobody has to decide any more about
    /// other contents of it.
    pub(crate) fn mark_seen(&self, table: &str, now: Timestamp) -> Result<(), DatabaseError> {
        self.change(|connection| {
            let seen = "INSERT INTO seen (of_table, at) VALUES (?1, ?2)
                        ON CONFLICT (of_table) DO UPDATE SET at = ?2";
            connection.execute(seen, params![table, now.to_string()])?;
            let [held, replaced] = [Standing::Held, Standing::Replaced].map(|one| one.to_string());
            let replace =
                "UPDATE quarantine SET standing = ?3 WHERE of_table = ?1 AND standing = ?2";
            connection.execute(replace, params![table, held, replaced])?;
            Ok(())
        })
    }

    /// Notes a batch in quarantine, unless it is known there. Yields how it stands.
    pub(crate) fn hold_back(&self, row: &QuarantineRow) -> Result<Standing, DatabaseError> {
        // What was replaced and comes again waits again.
        let sql = "INSERT INTO quarantine
                       (name, of_table, noted, standing, rows, wrong_rows, orphans, sealed)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name)
                   DO UPDATE SET standing = ?4 WHERE quarantine.standing = ?9";
        let ([rows, wrong, orphans], standing) = (row.counts, row.standing.to_string());
        let (noted, replaced) = (row.noted.to_string(), Standing::Replaced.to_string());
        let QuarantineRow { name, table, sealed, .. } = row;
        let values = params![name, table, noted, standing, rows, wrong, orphans, sealed, replaced];
        self.change(|connection| {
            connection.execute(sql, values)?;
            let select = "SELECT standing FROM quarantine WHERE name = ?1";
            connection.query_row(select, [name], |row| word(row, 0))
        })
    }

    /// How a content stands in quarantine; none when it never was there.
    pub(crate) fn standing(&self, name: &BatchName) -> Result<Option<Standing>, DatabaseError> {
        let sql = "SELECT standing FROM quarantine WHERE name = ?1";
        hold(&self.0).query_row(sql, [name], |row| word(row, 0)).optional()
    }

    /// Notes what somebody decided about a batch in quarantine.
    pub(crate) fn decide(&self, name: &BatchName, standing: Standing) -> Result<(), DatabaseError> {
        let sql = "UPDATE quarantine SET standing = ?2 WHERE name = ?1";
        self.change(|connection| {
            connection.execute(sql, params![name, standing.to_string()])?;
            Ok(())
        })
    }
}
