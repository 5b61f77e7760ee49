//! Brings a source into the lake: checked, cut by patient and cell, encrypted, then current at once.
//!
//! Invariants: nothing of a source is visible before all of it is; an ingest that is killed leaves
//! nothing that is visible, and the next one removes what it left and makes the same objects again;
//! the same source twice changes nothing; one ingest at a time; a table that breaks its contract keeps
//! what it had, or nothing of the source comes in.

pub(crate) mod again;
mod batch;
mod judge;
mod plan;
mod rows;
#[cfg(test)]
mod tests;

use crate::catalogue::{self, Catalogue};
use crate::check::{CheckReport, check_data};
use crate::database::DatabaseError;
use crate::finding::Findings;
use crate::index::State;
use crate::index::upkeep::Facts;
use crate::keys::KeyError;
use crate::lake::{Interrupted, Lake};
use crate::layout::Layout;
use crate::objects::ObjectError;
use aegle_model::{Hash, Name};
use jiff::Timestamp;
use judge::Verdict;
use plan::Plan;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// What an ingest did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestReport {
    /// How many patients the lake holds rows of.
    pub patients: u64,
    /// How many rows of the source belong to a patient.
    pub rows: u64,
    /// How many rows of the source belong to nobody and were left out.
    pub rows_without_patient: u64,
    /// How many frames were written now.
    pub frames: u64,
    /// How many bytes of packs were written now.
    pub bytes: u64,
    /// Names the source's content; a keyed hash.
    pub batch: Hash,
    /// Whether the source was the one that is already there.
    pub unchanged: bool,
}

/// A step of an ingest, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The source has no holes; this many rows will be read.
    Checked {
        /// Rows of all tables.
        rows: u64,
    },
    /// A table is being written; nobody sees it yet.
    Table(Name),
    /// Encrypted rows are on disk.
    Stored {
        /// Bytes of the object.
        bytes: u64,
        /// Rows in it; one that belongs to several patients counts for each.
        rows: u64,
    },
    /// The index knows where they lie.
    Indexed,
    /// Everything is current.
    Committed,
}

/// An ingest that brought in only some tables of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartlyDone {
    /// The tables that keep what they had.
    pub kept: Vec<Name>,
    /// What was found in the source.
    pub checked: CheckReport,
    /// What was done.
    pub report: IngestReport,
}

impl fmt::Display for PartlyDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept: Vec<_> = self.kept.iter().map(|table| format!("`{table}`")).collect();
        let kept = kept.join(", ");
        write!(
            f,
            "these tables keep what they had, the others are current: {kept}\n{}",
            self.checked
        )
    }
}

/// An ingest that did not happen, or not wholly. What was current before still is.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Another ingest is under way.
    #[error("another ingest into this lake is under way; wait for it to end and run this again")]
    Busy,
    /// The source has holes.
    #[error("the source cannot be ingested; mend these holes and run it again\n{0}")]
    Source(CheckReport),
    /// Some tables broke their contract. They keep what they had; the others are current.
    #[error("{0}\nmend the source and run it again, or see `aegle lake quarantine list`")]
    Quarantined(Box<PartlyDone>),
    /// A file of the source cannot be read.
    #[error("could not read `{file}` of the source")]
    Unreadable {
        /// The file's name.
        file: String,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
    /// The source was written to while it was read.
    #[error("`{0}` was changed while it was read; run the ingest again when the source is at rest")]
    SourceChanged(String),
    /// The source is another centre's.
    #[error("the lake holds data of centre `{lake}`, the source is of `{source_centre}`")]
    OtherCentre {
        /// The centre of the lake.
        lake: Name,
        /// The centre of the source.
        source_centre: Name,
    },
    /// The catalogue was changed without counting up.
    #[error("catalogue version {0} is already known with another content; count the version up")]
    VersionReused(u32),
    /// The catalogue is older than the lake's.
    #[error("the lake holds catalogue version {lake}; the source has the older version {given}")]
    VersionOld {
        /// The version in the lake.
        lake: u32,
        /// The version in the source.
        given: u32,
    },
    /// The lock file cannot be used.
    #[error("could not lock the lake for the ingest")]
    Lock(#[source] io::Error),
    /// It was told to stop; nothing of it is left.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// An object could not be stored.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

impl Lake {
    /// Ingests the source in `folder`; see [`ingest_with`](Self::ingest_with).
    pub fn ingest(&self, folder: &Path) -> Result<IngestReport, IngestError> {
        self.ingest_with(folder, &mut |_| {})
    }

    /// Ingests the source in `folder`, telling `progress` about every step. Each file is the whole
    /// of its table: what a changed file no longer holds is no longer read.
    pub fn ingest_with(
        &self,
        folder: &Path,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestReport, IngestError> {
        let _lock = self.lock_ingest()?;
        let text = catalogue::read(folder).map_err(|hole| {
            let mut findings = Findings::default();
            findings.add(catalogue::FILE, None, hole);
            IngestError::Source(CheckReport {
                findings: findings.into_sorted(),
                tables: Vec::new(),
            })
        })?;
        let catalogue = Catalogue::parse(&text).map_err(|error| {
            IngestError::Source(CheckReport { findings: error.0, tables: Vec::new() })
        })?;
        self.admit(&catalogue)?;
        let plan = Plan::new(self.keys.naming(), Layout::new(catalogue), folder)?;
        if let Some(state) = self.index.state()?.filter(|state| state.source == plan.source) {
            self.renew_manifests(folder, &plan)?;
            self.index.mark_seen(Timestamp::now())?;
            return Ok(report(&state, &Written::default(), true));
        }
        let checked = check_data(&plan.layout.catalogue, folder, Findings::default());
        let verdict = self.judge(folder, &plan, &checked)?;
        progress(&Progress::Checked { rows: checked.rows() });
        self.clear()?;
        let done = self.write(folder, &plan, (&text, &checked, &verdict), progress);
        if done.is_err()
            && let Err(error) = self.clear()
        {
            tracing::warn!(%error, "Could not remove what a failed ingest left; the next one will");
        }
        let report = done?;
        if !verdict.news {
            return Ok(report);
        }
        let tables = plan.layout.catalogue.tables();
        let kept = verdict.kept.keys().map(|position| tables[*position].name.clone()).collect();
        Err(IngestError::Quarantined(Box::new(PartlyDone { kept, checked, report })))
    }

    /// The lock that one ingest holds; a killed process loses it.
    pub(crate) fn lock_ingest(&self) -> Result<File, IngestError> {
        let file = File::create(self.root.join("ingest.lock")).map_err(IngestError::Lock)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(IngestError::Busy),
            Err(TryLockError::Error(error)) => Err(IngestError::Lock(error)),
        }
    }

    /// Whether this catalogue may follow the current one.
    fn admit(&self, catalogue: &Catalogue) -> Result<(), IngestError> {
        let Some(state) = self.index.state()? else { return Ok(()) };
        let known = self.index.catalogue_text(state.catalogue)?;
        let Some(known) = known.and_then(|text| Catalogue::parse(&text).ok()) else {
            return Ok(());
        };
        if known.centre() != catalogue.centre() {
            let (lake, source_centre) = (known.centre().clone(), catalogue.centre().clone());
            return Err(IngestError::OtherCentre { lake, source_centre });
        }
        let (lake, given) = (known.version(), catalogue.version());
        if given < lake {
            return Err(IngestError::VersionOld { lake, given });
        }
        if given == lake && known.hash() != catalogue.hash() {
            return Err(IngestError::VersionReused(given));
        }
        Ok(())
    }

    /// Removes what an ingest that did not end left behind.
    fn clear(&self) -> Result<(), IngestError> {
        self.index.forget_incomplete()?;
        self.objects.sweep(&self.index.objects()?)?;
        Ok(self.manifests.sweep(&self.index.manifests()?)?)
    }

    /// Notes where the source of unchanged batches lies now: it may have moved.
    fn renew_manifests(&self, folder: &Path, plan: &Plan) -> Result<(), IngestError> {
        for (position, planned) in plan.batches.iter().enumerate() {
            if let Some(batch) = self.index.batch(&planned.name)? {
                self.keep_manifest((batch, &planned.name), &plan.manifest(folder, position))?;
                self.mend_known(batch, plan, (folder, position))?;
            }
        }
        Ok(())
    }

    /// Repairs a batch that is about to be used again; its source is at hand.
    fn mend_known(
        &self,
        batch: i64,
        plan: &Plan,
        (folder, position): (&Path, usize),
    ) -> Result<(), IngestError> {
        if self.index.damaged(Some(batch))?.is_empty() {
            return Ok(());
        }
        let (name, now) = (&plan.batches[position].name, plan.manifest(folder, position));
        // The catalogue of this ingest is not in the index yet; that of the batch is.
        let mut then = self.manifest(batch, name)?.unwrap_or_else(|| now.clone());
        then.fetch = now.fetch;
        self.keep_manifest((batch, name), &then)?;
        self.mend_batch(batch)?;
        match self.index.damaged(Some(batch))?.first() {
            Some(lost) => Err(ObjectError::Missing(hex::encode(lost.object)).into()),
            None => Ok(()),
        }
    }

    fn write(
        &self,
        folder: &Path,
        plan: &Plan,
        (text, checked, verdict): (&str, &CheckReport, &Verdict),
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestReport, IngestError> {
        let mut written = Written::default();
        let mut batches = Vec::new();
        for (position, planned) in plan.batches.iter().enumerate() {
            let table = &plan.layout.catalogue.tables()[position];
            if let Some(kept) = verdict.kept.get(&position) {
                batches.push((table.name.as_str(), kept.batch));
                continue;
            }
            let batch = if let Some(batch) = self.index.batch(&planned.name)? {
                self.mend_known(batch, plan, (folder, position))?;
                batch
            } else {
                progress(&Progress::Table(table.name.clone()));
                let before = written.extents;
                let report = (&mut written, &mut *progress);
                let batch = batch::write(self, folder, plan, position, report)?;
                let now = Timestamp::now();
                let facts = Facts {
                    catalogue: plan.layout.catalogue.version(),
                    patients: written.extents - before,
                    loaded: now,
                    seen: now,
                    stats: checked.tables[position].stats.clone(),
                };
                self.index.put_facts(batch, &facts)?;
                batch
            };
            batches.push((table.name.as_str(), batch));
        }
        let stays_out = |position| verdict.kept.contains_key(&position);
        plan.verify(self.keys.naming(), folder, stays_out)?;
        let counted = checked.tables.iter().enumerate();
        let counted = counted.map(|(position, table)| {
            verdict.kept.get(&position).map_or(&table.stats, |kept| &kept.stats)
        });
        let rows = counted
            .fold((0, 0), |(rows, orphans), stats| (rows + stats.loaded, orphans + stats.orphans));
        let catalogue = &plan.layout.catalogue;
        let other = |position| verdict.kept.get(&position).map(|kept| &kept.name);
        let source = plan.source_with(self.keys.naming(), other);
        let state = self.index.commit((catalogue, text), &source, &batches, rows)?;
        for (position, table) in catalogue.tables().iter().enumerate() {
            if !stays_out(position) {
                self.index.replace_held(table.name.as_str())?;
            }
        }
        self.renew_manifests(folder, plan)?;
        self.index.mark_seen(Timestamp::now())?;
        progress(&Progress::Committed);
        Ok(report(&state, &written, false))
    }
}

/// What was written so far.
#[derive(Debug, Default)]
struct Written {
    frames: u64,
    extents: u64,
    bytes: u64,
}

fn report(state: &State, written: &Written, unchanged: bool) -> IngestReport {
    IngestReport {
        patients: state.patients,
        rows: state.rows,
        rows_without_patient: state.rows_without_patient,
        frames: written.frames,
        bytes: written.bytes,
        batch: Hash::from_array(state.source),
        unchanged,
    }
}
