//! Batches that broke their contract: why, and what somebody decided about them.
//!
//! A batch in quarantine was not read into the lake; what is kept of it is its name, counts, and
//! the reasons with their lines, sealed, and never a value. Released, it comes in without the rows
//! that are wrong; dropped, it stays out and nobody is told again.

use crate::catalogue::Table;
use crate::damage::words;
use crate::database::{self, Connection, DatabaseError};
use crate::finding::Finding;
use crate::frame::BatchName;
use crate::index::quality::{self, QuarantineRow};
use crate::ingest::{IngestError, IngestReport};
use crate::lake::Lake;
use crate::note::Place;
use crate::stats::TableStats;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

words! {
    /// How a batch in quarantine stands.
    Standing {
        /// Nobody has decided yet.
        Held = "held",
        /// It may come in without the rows that are wrong.
        Released = "released",
        /// It stays out.
        Dropped = "dropped",
        /// Another content of its table came in since.
        Replaced = "replaced",
    }
}

/// A batch that broke its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Names it: the first digits of a keyed hash.
    pub batch: String,
    /// Its table.
    pub table: String,
    /// When it was first seen.
    pub noted: Timestamp,
    /// How it stands.
    pub standing: Standing,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them cannot be read.
    pub wrong_rows: u64,
    /// How many of them belong to nobody.
    pub orphans: u64,
    /// The source's folder; empty when the note of it is damaged.
    pub folder: PathBuf,
    /// Why: file, lines, column.
    pub reasons: Vec<String>,
    /// Whether it can come in without the rows that are wrong.
    pub releasable: bool,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, table, standing, rows, wrong_rows, orphans, .. } = self;
        write!(
            f,
            "{batch}  table `{table}`, {standing}: {rows} rows, {wrong_rows} of them wrong, \
             {orphans} of nobody"
        )
    }
}

/// Something that cannot be done with a batch in quarantine.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// No batch, or several, have a name that begins so.
    #[error(
        "{0} batches in quarantine have a name that begins so; see `aegle lake quarantine list`"
    )]
    NotOne(usize),
    /// It is not only rows that are wrong.
    #[error("the file as a whole breaks its contract; mend the source, or drop the batch")]
    Whole,
    /// The source could not be ingested.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

/// What is kept sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    folder: PathBuf,
    reasons: Vec<String>,
    pub(crate) releasable: bool,
}

impl Note {
    pub(crate) fn new(folder: &Path, table: &Table, reasons: &[&Finding]) -> Self {
        let releasable = reasons.iter().all(|found| found.hole.can_be_left_out());
        let mut reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        let contract = &table.contract;
        if contract.wrong_rows > 0 {
            reasons.push(format!("the contract allows {} wrong rows", contract.wrong_rows));
        }
        if let Some(percent) = contract.orphans_percent {
            reasons.push(format!("the contract allows {percent} % of rows that belong to nobody"));
        }
        Self { folder: folder.to_owned(), reasons, releasable }
    }
}

impl Lake {
    /// Notes a batch in quarantine, unless it is known there. Yields how it stands.
    pub(crate) fn hold_back(
        &self,
        (name, table): (&BatchName, &Table),
        note: &Note,
        stats: &TableStats,
    ) -> Result<Standing, DatabaseError> {
        let plain = serde_json::to_vec(note).expect("a note is plain text");
        let row = QuarantineRow {
            name: *name,
            table: table.name.to_string(),
            noted: Timestamp::now(),
            standing: Standing::Held,
            counts: [stats.rows, stats.wrong_rows, stats.orphans],
            sealed: self.notes.seal(Place::Quarantine(name), plain),
        };
        self.index.hold_back(&row)
    }

    /// Every batch that was ever in quarantine, the newest first.
    pub fn quarantine(&self) -> Result<Vec<Quarantined>, DatabaseError> {
        self.lookup.read(|connection| self.quarantine_in(connection))
    }

    pub(crate) fn quarantine_in(
        &self,
        connection: &Connection,
    ) -> database::Result<Vec<Quarantined>> {
        let rows = quality::quarantine(connection)?;
        Ok(rows.into_iter().map(|row| self.quarantined(row)).collect())
    }

    /// Lets the batch whose name begins so come in without the rows that are wrong, and ingests
    /// its source.
    pub fn release(
        &self,
        batch: &str,
        progress: &mut dyn FnMut(&crate::Progress),
    ) -> Result<IngestReport, QuarantineError> {
        let (name, found) = self.in_quarantine(batch)?;
        if !found.releasable {
            return Err(QuarantineError::Whole);
        }
        self.index.decide(&name, Standing::Released)?;
        Ok(self.ingest_with(&found.folder, progress)?)
    }

    /// Leaves the batch whose name begins so out for good.
    pub fn drop_quarantined(&self, batch: &str) -> Result<Quarantined, QuarantineError> {
        let (name, found) = self.in_quarantine(batch)?;
        self.index.decide(&name, Standing::Dropped)?;
        Ok(Quarantined { standing: Standing::Dropped, ..found })
    }

    fn in_quarantine(&self, batch: &str) -> Result<(BatchName, Quarantined), QuarantineError> {
        let rows = self.lookup.read(quality::quarantine)?;
        let begins = |row: &QuarantineRow| hex::encode(row.name).starts_with(batch);
        let mut found: Vec<_> = rows.into_iter().filter(begins).collect();
        match (found.pop(), found.len()) {
            (Some(row), 0) => Ok((row.name, self.quarantined(row))),
            (row, more) => Err(QuarantineError::NotOne(more + usize::from(row.is_some()))),
        }
    }

    fn quarantined(&self, row: QuarantineRow) -> Quarantined {
        let plain = self.notes.open(Place::Quarantine(&row.name), &row.sealed).ok();
        let note = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
        let note: Note = note.unwrap_or_else(|| Note {
            folder: PathBuf::new(),
            reasons: vec!["the note of it is damaged; ingest its source again".to_owned()],
            releasable: false,
        });
        let [rows, wrong_rows, orphans] = row.counts;
        Quarantined {
            batch: hex::encode(&row.name[..8]),
            table: row.table,
            noted: row.noted,
            standing: row.standing,
            rows,
            wrong_rows,
            orphans,
            folder: note.folder,
            reasons: note.reasons,
            releasable: note.releasable,
        }
    }
}

#[cfg(test)]
mod tests;
