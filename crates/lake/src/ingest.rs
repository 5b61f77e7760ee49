//! Brings a source into the lake: checked, cut by patient and cell, encrypted, then current at once.
//!
//! Invariants: nothing of a source is visible before all of it is; an ingest that is killed, stopped
//! or cut off from its source leaves nothing that is visible, and the next one goes on after the last
//! whole table and makes the same objects again, or removes what it cannot use;
//! the same source twice changes nothing; one ingest at a time; a table that breaks its contract keeps
//! what it had.

pub(crate) mod again;
mod batch;
mod documents;
mod judge;
mod plan;
mod rows;
#[cfg(test)]
mod tests;

use crate::catalogue::{self, Catalogue};
use crate::check::{CheckReport, check_data};
use crate::database::{DatabaseError, Lock, LockError};
use crate::finding::Findings;
use crate::frame::BatchName;
use crate::index::{Completed, State, upkeep};
use crate::keys::KeyError;
use crate::lake::{Interrupted, Lake};
use crate::layout::Layout;
use crate::manifest::KeepError;
use crate::objects::ObjectError;
use crate::source::Sources;
use crate::time;
use aegle_model::{Hash, Name};
use judge::{Kept, Verdict};
use plan::Plan;
use std::fmt;
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
    /// How many rows of the source belong to patients who were erased here and were left out; a row
    /// of two patients counts for each.
    pub rows_of_erased: u64,
    /// How many frames were written now.
    pub frames: u64,
    /// How many bytes of objects were written now.
    pub bytes: u64,
    /// Names the source's content; a keyed hash.
    pub batch: Hash,
    /// Whether the source was the one that is already there.
    pub unchanged: bool,
}

/// A step of an ingest, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So many more rows were read and checked.
    Read {
        /// Rows since the last step.
        rows: u64,
    },
    /// The source has no holes; this many rows will be read.
    Checked {
        /// Rows of all tables.
        rows: u64,
    },
    /// A table is being written; nobody sees it yet.
    Table(Name),
    /// Encrypted rows, or a document, are on disk.
    Stored {
        /// Bytes of the object.
        bytes: u64,
        /// How many rows it holds.
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
    #[error(
        "another ingest into this lake, or an erasure, is under way; wait for it to end and run this \
         again"
    )]
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
    /// It was told to stop; nothing of it is visible, and the next one goes on.
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

impl IngestError {
    /// Whether the same may succeed when it is run again: it says nothing against what was read, and
    /// no room is needed.
    fn may_pass(&self) -> bool {
        match self {
            Self::Interrupted(_)
            | Self::Unreadable { .. }
            | Self::Object(ObjectError::Store { .. })
            | Self::Index(DatabaseError::Unreachable(_)) => true,
            Self::Source(report) => report.findings.iter().all(|found| found.hole.may_pass()),
            _ => false,
        }
    }
}

impl From<KeepError> for IngestError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Object(error) => Self::Object(error),
            KeepError::Index(error) => Self::Index(error),
        }
    }
}

impl Lake {
    /// Ingests the source in `folder`; see [`ingest_with`](Self::ingest_with).
    pub fn ingest(&self, folder: &Path) -> Result<IngestReport, IngestError> {
        self.ingest_with(folder, &mut |_| {})
    }

    /// Ingests the source in `folder`, telling `progress` about every step. Each file is the whole
    /// of its table: what a changed file no longer holds is read as of a time before only. Rows that
    /// are still there are not stored again.
    pub fn ingest_with(
        &self,
        folder: &Path,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestReport, IngestError> {
        let _lock = self.lock_ingest()?;
        self.finish_erasures()?;
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
        let mut sources = Sources::open(folder, &catalogue);
        let plan = Plan::new(self.keys.naming(), (folder, Layout::new(catalogue)), &mut sources)?;
        let dropped = self.dropped(&plan)?;
        if let Some(state) = self.current(&plan, &dropped)? {
            return self.unchanged(&plan, (&state, &dropped));
        }
        let checked =
            check_data(&plan.layout.catalogue, &mut sources, Findings::default(), progress);
        let Verdict { kept, news } = self.judge(&plan, &checked)?;
        progress(&Progress::Checked { rows: checked.rows() });
        let report = match self.current(&plan, &kept)? {
            Some(state) => self.unchanged(&plan, (&state, &kept))?,
            None => self.load(&mut sources, (&plan, &kept), (&text, &checked), progress)?,
        };
        if !news {
            return Ok(report);
        }
        let tables = plan.layout.catalogue.tables();
        let kept = kept.keys().map(|position| tables[*position].name.clone()).collect();
        Err(IngestError::Quarantined(Box::new(PartlyDone { kept, checked, report })))
    }

    /// The current state, when it is what the plan would make it.
    fn current(&self, plan: &Plan, kept: &Kept) -> Result<Option<State>, DatabaseError> {
        let source = plan.source(self.keys.naming(), kept);
        Ok(self.index.state()?.filter(|state| state.source == source))
    }

    /// Notes that the source was looked at and is the one that is there.
    fn unchanged(
        &self,
        plan: &Plan,
        (state, kept): (&State, &Kept),
    ) -> Result<IngestReport, IngestError> {
        self.renew_manifests(plan, kept)?;
        self.mark_seen(plan, kept)?;
        Ok(self.outcome(state, &Written::default(), true)?)
    }

    fn mark_seen(&self, plan: &Plan, kept: &Kept) -> Result<(), DatabaseError> {
        for (position, table) in plan.layout.catalogue.tables().iter().enumerate() {
            if !kept.contains_key(&position) {
                self.index.mark_seen(table.name.as_str(), jiff::Timestamp::now())?;
            }
        }
        Ok(())
    }

    /// Makes what may come in current, as one load.
    fn load(
        &self,
        sources: &mut Sources,
        (plan, kept): (&Plan, &Kept),
        checked: (&str, &CheckReport),
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestReport, IngestError> {
        let load = self.index.next_load()?;
        let tables = (0..plan.contents.len()).filter(|position| !kept.contains_key(position));
        let planned: Vec<_> = tables.map(|table| batch::name(self, plan, (table, load))).collect();
        self.clear(&planned)?;
        let done = self.write(sources, (plan, kept), checked, progress);
        if let Err(failed) = &done {
            // Whole tables stay, as after a kill, if they would have become current.
            let stay = failed.may_pass() && plan.verify(self.keys.naming(), sources, kept).is_ok();
            if let Err(error) = self.clear(if stay { &planned } else { &[] }) {
                tracing::warn!(%error, "Could not remove what a failed ingest left; the next one will");
            }
        }
        done
    }

    /// The lock that one ingest, or one erasure, holds; a killed process loses it.
    pub(crate) fn lock_ingest(&self) -> Result<Lock<'_>, IngestError> {
        match self.index.try_lock(&self.root.join("ingest.lock")) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(IngestError::Busy),
            Err(LockError::File(error)) => Err(IngestError::Lock(error)),
            Err(LockError::Database(error)) => Err(error.into()),
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

    /// Removes what an ingest that did not end left behind, but for whole batches in `keep`.
    fn clear(&self, keep: &[BatchName]) -> Result<(), IngestError> {
        self.index.forget_incomplete(keep)?;
        Ok(self.objects.sweep(&self.index.objects()?)?)
    }

    /// Notes where the source lies now: it may have moved since the last batch of each table.
    fn renew_manifests(&self, plan: &Plan, kept: &Kept) -> Result<(), IngestError> {
        for (position, table) in plan.layout.catalogue.tables().iter().enumerate() {
            if kept.contains_key(&position) {
                continue;
            }
            let last = |index: &_| upkeep::last_batch(index, table.name.as_str());
            let Some(last) = self.index.look(last)? else { continue };
            let mut manifest = plan.manifest((position, last.load));
            manifest.catalogue = last.catalogue;
            self.keep_manifest((last.id, &last.name), &manifest)?;
        }
        Ok(())
    }

    fn write(
        &self,
        sources: &mut Sources,
        (plan, kept): (&Plan, &Kept),
        (text, checked): (&str, &CheckReport),
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestReport, IngestError> {
        let mut written = Written::default();
        let mut live = self.index.live()?;
        let load = self.index.next_load()?;
        self.index.begin_load(load)?;
        let mut tables = Vec::new();
        for (position, content) in plan.contents.iter().enumerate() {
            let table = &plan.layout.catalogue.tables()[position];
            let current = live.remove(table.name.as_str());
            if let Some(content) = kept.get(&position) {
                tables.push((table.name.as_str(), content));
                continue;
            }
            if current != Some(content.name) {
                let name = batch::name(self, plan, (position, load));
                if !self.index.has_batch(&name)? {
                    progress(&Progress::Table(table.name.clone()));
                    let rows = (position, &checked.tables[position], load);
                    batch::write(self, sources, plan, rows, (&mut written, &mut *progress))?;
                }
            }
            tables.push((table.name.as_str(), &content.name));
        }
        for table in live.keys() {
            batch::end(self, table, load)?;
        }
        plan.verify(self.keys.naming(), sources, kept)?;
        let (rows, without_patient) = self.counted(plan, (kept, checked))?;
        let done = Completed {
            load,
            now: time::now(),
            source: &plan.source(self.keys.naming(), kept),
            tables: &tables,
            rows,
            without_patient,
        };
        let state = self.index.commit((&plan.layout.catalogue, text), &done)?;
        self.mark_seen(plan, kept)?;
        progress(&Progress::Committed);
        Ok(self.outcome(&state, &written, false)?)
    }

    /// How many rows are current of all tables, and how many were left out as nobody's.
    fn counted(
        &self,
        plan: &Plan,
        (kept, checked): (&Kept, &CheckReport),
    ) -> Result<(u64, u64), DatabaseError> {
        let mut counted = (0, 0);
        let tables = plan.layout.catalogue.tables().iter().zip(&checked.tables);
        for (position, (table, count)) in tables.enumerate() {
            let stats = if kept.contains_key(&position) {
                self.index.last_stats(table.name.as_str())?.unwrap_or_default()
            } else {
                count.stats.clone()
            };
            counted = (counted.0 + stats.loaded, counted.1 + stats.orphans);
        }
        Ok(counted)
    }

    fn outcome(
        &self,
        state: &State,
        written: &Written,
        unchanged: bool,
    ) -> Result<IngestReport, DatabaseError> {
        Ok(IngestReport {
            patients: state.patients,
            rows: state.rows,
            rows_without_patient: state.rows_without_patient,
            rows_of_erased: self.index.rows_of_erased()?,
            frames: written.frames,
            bytes: written.bytes,
            batch: Hash::from_array(state.source),
            unchanged,
        })
    }
}

/// What was written so far.
#[derive(Debug, Default)]
struct Written {
    frames: u64,
    bytes: u64,
}
