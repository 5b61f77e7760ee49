//! Writes one batch: a table's rows, patient by patient, into packs and the index; or makes the
//! packs of a batch again, which come out the same byte by byte and in the same order.

use super::plan::Plan;
use super::rows::{PatientRows, Rows, Share};
use super::{IngestError, Progress, Written};
use crate::crypt::Secret;
use crate::frame::{FrameKey, Place, sealed_length};
use crate::index::Extent;
use crate::keys::PatientKey;
use crate::lake::Lake;
use std::path::Path;

/// A share of a table's file that is held in memory at once, in bytes.
const SHARE_BYTES: u64 = 128 << 20;

/// A pack is stored when it has grown to this many bytes.
const PACK_BYTES: usize = 8 << 20;

/// How many patients' keys are made in one durable step.
const KEYS_AT_ONCE: usize = 1024;

/// What is written while a batch is.
type Report<'a, 'b> = (&'a mut Written, &'a mut (dyn FnMut(&Progress) + 'b));

/// A pack that was made again.
pub(super) struct Again {
    pub(super) pack: Vec<u8>,
    /// Whether zeros stand where a patient's frames did, because the data key is gone.
    pub(super) erased: bool,
}

/// Where packs go.
enum Into<'a, 'b> {
    /// Into the store and the index, as parts of this batch.
    Batch(i64, Report<'a, 'b>),
    /// To whoever repairs a batch.
    Again(&'a mut (dyn FnMut(Again) -> Result<(), IngestError> + 'b)),
}

/// Writes the batch of the table at `position` and returns its id. Nobody sees it yet.
pub(super) fn write(
    lake: &Lake,
    folder: &Path,
    plan: &Plan,
    position: usize,
    report: Report<'_, '_>,
) -> Result<i64, IngestError> {
    let planned = &plan.batches[position];
    let table = &plan.layout.catalogue.tables()[position];
    let id = lake.index.begin_batch(&planned.name, table.name.as_str(), planned.file_bytes)?;
    Writer::new(lake, plan, position, Into::Batch(id, report)).write(folder)?;
    lake.keep_manifest((id, &planned.name), &plan.manifest(folder, position))?;
    Ok(id)
}

/// Makes the packs of the table at `position` again, without storing them. No key is made.
pub(super) fn again(
    lake: &Lake,
    folder: &Path,
    plan: &Plan,
    position: usize,
    take: &mut dyn FnMut(Again) -> Result<(), IngestError>,
) -> Result<(), IngestError> {
    Writer::new(lake, plan, position, Into::Again(take)).write(folder)
}

struct Writer<'a, 'b, 'c> {
    lake: &'a Lake,
    plan: &'a Plan,
    position: usize,
    pack: Vec<u8>,
    extents: Vec<Extent>,
    erased: bool,
    into: Into<'b, 'c>,
}

impl<'a, 'b, 'c> Writer<'a, 'b, 'c> {
    fn new(lake: &'a Lake, plan: &'a Plan, position: usize, into: Into<'b, 'c>) -> Self {
        let (pack, extents) = (Vec::new(), Vec::new());
        Self { lake, plan, position, pack, extents, erased: false, into }
    }

    fn write(mut self, folder: &Path) -> Result<(), IngestError> {
        let shares = self.plan.batches[self.position].file_bytes.div_ceil(SHARE_BYTES).max(1);
        for index in 0..shares {
            let share = Share { index, of: shares };
            let rows =
                Rows::load(&self.lake.keys, &self.plan.layout, folder, self.position, share)?;
            self.add(&rows)?;
        }
        self.store()
    }

    /// The data keys of these patients: new ones for who has none yet, unless a batch is made again.
    fn keys(&self, patients: &[PatientKey]) -> Result<Vec<Option<Secret>>, IngestError> {
        Ok(match self.into {
            Into::Batch(..) => self.lake.keys.data_keys(patients)?.into_iter().map(Some).collect(),
            Into::Again(_) => self.lake.keys.known_data_keys(patients)?,
        })
    }

    fn add(&mut self, rows: &Rows) -> Result<(), IngestError> {
        let mut patients = rows.patients().peekable();
        while patients.peek().is_some() {
            let some: Vec<_> = patients.by_ref().take(KEYS_AT_ONCE).collect();
            let names: Vec<_> = some.iter().map(PatientRows::patient).collect();
            let keys = self.keys(&names)?;
            for (patient, key) in some.iter().zip(&keys) {
                self.patient(patient, key.as_ref());
                if self.pack.len() >= PACK_BYTES {
                    self.store()?;
                }
            }
        }
        Ok(())
    }

    fn patient(&mut self, rows: &PatientRows<'_>, key: Option<&Secret>) {
        let (patient, count) = (rows.patient(), rows.count());
        let (key, batch) =
            (key.map(|key| FrameKey::new(key)), &self.plan.batches[self.position].name);
        let place = Place { patient: &patient, batch, rows: count };
        let cuts = &self.plan.layout.cuts[self.position];
        if self.pack.is_empty() {
            // Packs are named by their content; no two batches ever share one.
            self.pack.extend_from_slice(batch);
        }
        let start = self.pack.len();
        for ((frame, cell), cut) in rows.cut(cuts.len()).into_iter().zip(0..).zip(cuts) {
            match &key {
                Some(key) => key.seal(&place, (cell, &cut.name), frame, &mut self.pack),
                None => self.pack.resize(self.pack.len() + sealed_length(frame.len()), 0),
            }
            if let Into::Batch(_, report) = &mut self.into {
                report.0.frames += 1;
            }
        }
        self.erased |= key.is_none();
        let (start, length) = (start as u64, (self.pack.len() - start) as u64);
        self.extents.push(Extent { patient, start, length, rows: count });
    }

    /// Stores the pack, then tells the index.
    fn store(&mut self) -> Result<(), IngestError> {
        self.lake.go_on()?;
        if self.extents.is_empty() {
            return Ok(());
        }
        let pack = std::mem::take(&mut self.pack);
        let (id, report) = match &mut self.into {
            Into::Batch(id, report) => (*id, report),
            Into::Again(take) => {
                self.extents.clear();
                return take(Again { pack, erased: std::mem::take(&mut self.erased) });
            }
        };
        let bytes = pack.len() as u64;
        let name = self.lake.pack_name(&pack);
        self.lake.objects.put(&name, pack)?;
        report.0.bytes += bytes;
        report.0.extents += self.extents.len() as u64;
        let rows = self.extents.iter().map(|extent| u64::from(extent.rows)).sum();
        (report.1)(&Progress::Stored { bytes, rows });
        self.lake.index.add_pack(id, (&name, bytes), &self.extents)?;
        self.extents.clear();
        (report.1)(&Progress::Indexed);
        Ok(())
    }
}
