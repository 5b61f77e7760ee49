//! Looks at every object of the lake, and repairs what is damaged.
//!
//! A scrub reads every pack, document and manifest and compares it with its name, which is a keyed
//! hash of it. What is missing, cut or altered is noted in the index and then repaired: a manifest
//! from its second copy, frames and documents from what is left of them and from the source that the
//! manifest names. What is put back is what was written, byte by byte, or else it is lost: its place
//! stays noted, records say that they are incomplete, and the source is ingested anew.
//!
//! Invariants: reads and ingests go on meanwhile; a scrub begins where the last one was stopped, and
//! has looked at everything when it ends, wherever that was; a repair holds the lock of an ingest. The
//! databases are checked, too, but not repaired.

mod mend;
#[cfg(test)]
mod tests;

use crate::crypt;
use crate::damage::{Damage, Fate, ObjectKind, What};
use crate::database::{self, Connection, DatabaseError, Half};
use crate::index;
use crate::index::upkeep::{self, Found, ObjectRow};
use crate::ingest::IngestError;
use crate::keys;
use crate::lake::{Interrupted, Lake};
use crate::manifest::KeepError;
use crate::objects::{OBJECT_DOMAIN, ObjectError, ObjectName};
use jiff::Timestamp;
use serde::Serialize;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A scrub notes how far it is after so many bytes.
const NOTE_BYTES: u64 = 64 << 20;

/// How a scrub goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScrubOptions {
    /// Only look, and repair nothing.
    pub look_only: bool,
    /// Call lost what waits for a source that cannot be read.
    pub give_up: bool,
    /// Read no more bytes a second than this.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// A step of a scrub, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScrubStep {
    /// So many bytes of objects will be read.
    Begun {
        /// The bytes.
        bytes: u64,
    },
    /// So many bytes of an object were read.
    Read {
        /// The bytes.
        bytes: u64,
    },
    /// Everything was looked at; what is damaged is being repaired.
    Mending {
        /// How many objects are damaged.
        objects: u64,
    },
}

/// What a scrub found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ScrubReport {
    /// How many objects were looked at now.
    pub objects: u64,
    /// How many bytes they should have.
    pub bytes: u64,
    /// What is wrong with the databases, in words.
    pub databases: Vec<String>,
    /// Everything that this scrub or a read found damaged and that was not repaired before.
    pub damaged: Vec<Damage>,
    /// How many objects belong to no batch; the next ingest removes them.
    pub strays: u64,
    /// Whether the repair has to wait because an ingest is under way.
    pub busy: bool,
    /// How many sources were ingested anew because something of them was lost.
    pub ingested: u64,
    /// Why a source could not be ingested anew.
    pub not_ingested: Vec<String>,
}

impl ScrubReport {
    /// Whether the lake is whole now.
    pub fn is_whole(&self) -> bool {
        let repaired = |damage: &Damage| damage.fate == Fate::Repaired;
        self.databases.is_empty() && self.damaged.iter().all(repaired)
    }
}

/// A scrub that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// It was told to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The store cannot be listed or written.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
    /// A repair failed.
    #[error("could not repair the lake")]
    Repair(#[source] Box<IngestError>),
}

impl From<IngestError> for ScrubError {
    fn from(error: IngestError) -> Self {
        Self::Repair(Box::new(error))
    }
}

impl From<KeepError> for ScrubError {
    fn from(error: KeepError) -> Self {
        IngestError::from(error).into()
    }
}

impl Lake {
    /// Looks at every object and repairs what is damaged.
    pub fn scrub(
        &self,
        options: ScrubOptions,
        progress: &mut dyn FnMut(&ScrubStep),
    ) -> Result<ScrubReport, ScrubError> {
        let databases = self.check_databases()?;
        let mut report = ScrubReport { databases, ..ScrubReport::default() };
        self.look_for_manifests()?;
        self.look_at_objects(options, &mut report, progress)?;
        report.strays = self.strays()?;
        let damaged = self.index.damaged(&[Fate::Open, Fate::Lost])?;
        progress(&ScrubStep::Mending { objects: damaged.len() as u64 });
        if !options.look_only {
            self.mend_all(options.give_up, &mut report)?;
        }
        self.tell(&damaged, &mut report)?;
        Ok(report)
    }

    /// Repairs what is known to be damaged, without looking for more.
    pub fn mend(&self) -> Result<ScrubReport, ScrubError> {
        let mut report = ScrubReport::default();
        let damaged = self.index.damaged(&[Fate::Open])?;
        self.mend_all(false, &mut report)?;
        self.tell(&damaged, &mut report)?;
        Ok(report)
    }

    fn tell(&self, damaged: &[Found], report: &mut ScrubReport) -> Result<(), DatabaseError> {
        let names: Vec<_> = damaged.iter().map(|found| hex::encode(found.object)).collect();
        report.damaged = self.damages()?;
        report.damaged.retain(|damage| names.contains(&damage.object));
        Ok(())
    }

    /// Everything that was ever found damaged, the newest first.
    pub fn damages(&self) -> Result<Vec<Damage>, DatabaseError> {
        self.lookup.read(upkeep::damages)
    }

    /// When a scrub last came to its end.
    pub fn last_scrub(&self) -> Result<Option<Timestamp>, DatabaseError> {
        self.lookup.read(upkeep::last_scrub)
    }

    /// Notes what a read found wrong with a pack or document, for the next repair.
    pub(crate) fn note_damage(&self, object: &ObjectName, what: What) -> Result<(), DatabaseError> {
        let Some((batch, kind)) = self.index.batch_of(object)? else { return Ok(()) };
        self.index.note_damage(&Found { object: *object, batch, kind }, what, Timestamp::now())?;
        self.call_mender();
        Ok(())
    }

    /// A batch without a manifest goes by its own name.
    fn look_for_manifests(&self) -> Result<(), ScrubError> {
        for (batch, name) in self.page(upkeep::without_manifest)? {
            self.found((ObjectKind::Manifest, &name, batch), What::Missing)?;
        }
        Ok(())
    }

    fn look_at_objects(
        &self,
        options: ScrubOptions,
        report: &mut ScrubReport,
        progress: &mut dyn FnMut(&ScrubStep),
    ) -> Result<(), ScrubError> {
        let begun = self.index.scrub_position()?;
        let bytes = self.page(|connection| upkeep::object_bytes(connection, &[]))?;
        progress(&ScrubStep::Begun { bytes });
        let pace = Pace::new(options.bytes_per_second);
        let mut round = Round { pace, since_noted: 0, report, progress };
        self.look_between((begun.clone(), None), &mut round)?;
        // Another scrub may have looked at what lies before; it may also be long ago.
        self.look_between((Vec::new(), Some(&begun)), &mut round)?;
        // The next one begins at the beginning again.
        Ok(self.index.put_scrub(&[], Some(Timestamp::now()))?)
    }

    /// Looks at the objects whose names come after `after`, up to the one named `last`, if it is given.
    fn look_between(
        &self,
        (mut after, last): (Vec<u8>, Option<&[u8]>),
        round: &mut Round<'_>,
    ) -> Result<(), ScrubError> {
        loop {
            let mut objects = self.page(|connection| upkeep::objects(connection, &after))?;
            objects.retain(|object| last.is_none_or(|last| object.name.as_slice() <= last));
            if objects.is_empty() {
                return Ok(());
            }
            for object in objects {
                if let Err(interrupted) = self.go_on() {
                    self.index.put_scrub(&after, None)?;
                    return Err(interrupted.into());
                }
                if let Some(what) = self.look_at(&object, &mut round.pace)? {
                    self.found((object.kind, &object.name, object.batch), what)?;
                }
                after = object.name.to_vec();
                if round.has_read(object.bytes) {
                    self.index.put_scrub(&after, None)?;
                }
            }
        }
    }

    /// What is wrong with an object, if anything; of a manifest, with either of its copies.
    fn look_at(&self, object: &ObjectRow, pace: &mut Pace) -> Result<Option<What>, ScrubError> {
        let what = self.look_at_bytes((&object.name, object.bytes), pace)?;
        if what.is_some() || object.kind != ObjectKind::Manifest {
            return Ok(what);
        }
        let copy = self.page(|connection| upkeep::manifest(connection, object.batch))?;
        let same = |copy: upkeep::ManifestRow| self.object_name(&copy.sealed) == object.name;
        Ok(if copy.is_some_and(same) { None } else { Some(What::Altered) })
    }

    fn look_at_bytes(
        &self,
        (name, bytes): (&ObjectName, u64),
        pace: &mut Pace,
    ) -> Result<Option<What>, ObjectError> {
        let mut context = self.keys.naming().context(OBJECT_DOMAIN);
        let read = self.objects.each(name, bytes, |piece| {
            context.update(piece);
            pace.keep(piece.len());
        });
        match read {
            Ok(()) => Ok((crypt::tag(context.sign()) != *name).then_some(What::Altered)),
            Err(error) => match What::of(&error) {
                Some(what) => Ok(Some(what)),
                None => Err(error),
            },
        }
    }

    fn found(
        &self,
        (kind, object, batch): (ObjectKind, &ObjectName, i64),
        what: What,
    ) -> Result<(), ScrubError> {
        let found = Found { object: *object, batch, kind };
        tracing::warn!(object = hex::encode(object), "An object of the lake is damaged: {what}");
        Ok(self.index.note_damage(&found, what, Timestamp::now())?)
    }

    /// How many objects belong to no batch. While an ingest is under way some do not yet.
    fn strays(&self) -> Result<u64, ScrubError> {
        let Ok(_lock) = self.lock_ingest() else { return Ok(0) };
        Ok(self.objects.strays(&self.index.objects()?)?.len() as u64)
    }

    fn page<T>(
        &self,
        work: impl FnOnce(&Connection) -> database::Result<T>,
    ) -> database::Result<T> {
        self.lookup.read(work)
    }

    /// What is wrong with the databases and between them.
    fn check_databases(&self) -> Result<Vec<String>, DatabaseError> {
        let mut wrong = Vec::new();
        let halves = [(Half::Index, index::SCHEMA.as_str()), (Half::Keys, keys::SCHEMA)];
        for (half, tables) in halves {
            if let Some(name) = self.page(|connection| connection.unsound(half, tables))? {
                wrong.push(format!("{name} is damaged; restore it from a backup"));
            }
        }
        for (sql, what) in CONSISTENT {
            let count: u64 = self.page(|index| index.query_row(sql, [], |row| row.get(0)))?;
            if count > 0 {
                wrong.push(format!("{count} {what}"));
            }
        }
        Ok(wrong)
    }
}

/// What must be zero, and what it means when it is not.
const CONSISTENT: [(&str, &str); 3] = [
    (
        "SELECT COUNT(*) FROM (
             SELECT start, length, bytes,
                    LAG(start + length, 1, 32) OVER (PARTITION BY pack ORDER BY start) AS before
             FROM extent LEFT JOIN pack ON pack.id = extent.pack) AS laid
         WHERE bytes IS NULL OR start < before OR start + length > bytes",
        "rows of the index point beside their packs; restore the index from a backup",
    ),
    (
        "SELECT COUNT(*) FROM extent WHERE NOT EXISTS (SELECT 1 FROM satellite
             WHERE satellite.patient = extent.patient AND satellite.batch = extent.batch)",
        "rows of the index have no satellites; restore the index from a backup",
    ),
    (
        "SELECT COUNT(DISTINCT patient) FROM extent
         WHERE NOT EXISTS (SELECT 1 FROM patient WHERE patient.patient = extent.patient)",
        "patients have rows and no data key; restore the key store from a backup, or erase them",
    ),
];

/// A look at every object, as far as it has come.
struct Round<'a> {
    pace: Pace,
    /// Bytes that were read since its place was noted.
    since_noted: u64,
    report: &'a mut ScrubReport,
    progress: &'a mut dyn FnMut(&ScrubStep),
}

impl Round<'_> {
    /// Counts an object that was looked at; whether the place is to be noted.
    fn has_read(&mut self, bytes: u64) -> bool {
        self.report.objects += 1;
        self.report.bytes += bytes;
        self.since_noted += bytes;
        (self.progress)(&ScrubStep::Read { bytes });
        let is_due = self.since_noted >= NOTE_BYTES;
        if is_due {
            self.since_noted = 0;
        }
        is_due
    }
}

/// Keeps to so many bytes a second.
struct Pace {
    rate: Option<NonZeroU64>,
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn new(rate: Option<NonZeroU64>) -> Self {
        Self { rate, began: Instant::now(), bytes: 0 }
    }

    fn keep(&mut self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        self.bytes += bytes as u64;
        let due = Duration::from_millis(self.bytes.saturating_mul(1000) / rate);
        if let Some(early) = due.checked_sub(self.began.elapsed()) {
            std::thread::sleep(early);
        }
    }
}
