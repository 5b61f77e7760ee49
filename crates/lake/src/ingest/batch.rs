//! Writes one batch: a table's rows, patient by patient, into packs and the index.

use super::plan::Plan;
use super::rows::{PatientRows, Rows, Share};
use super::{IngestError, Progress, Written};
use crate::crypt::Secret;
use crate::frame::{FrameKey, Place};
use crate::index::Extent;
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
    let mut writer = Writer {
        lake,
        plan,
        position,
        id,
        pack: Vec::new(),
        extents: Vec::new(),
        erased: 0,
        report,
    };
    let shares = planned.file_bytes.div_ceil(SHARE_BYTES).max(1);
    for index in 0..shares {
        let share = Share { index, of: shares };
        let rows = Rows::load(&lake.keys, &plan.layout, folder, position, share)?;
        writer.add(&rows)?;
    }
    writer.store()?;
    lake.index.note_erased(id, writer.erased)?;
    Ok(id)
}

struct Writer<'a, 'b, 'c> {
    lake: &'a Lake,
    plan: &'a Plan,
    position: usize,
    id: i64,
    pack: Vec<u8>,
    extents: Vec<Extent>,
    /// Rows of patients who were erased; they are left out.
    erased: u64,
    report: Report<'b, 'c>,
}

impl Writer<'_, '_, '_> {
    fn add(&mut self, rows: &Rows) -> Result<(), IngestError> {
        let mut patients = rows.patients().peekable();
        while patients.peek().is_some() {
            let some: Vec<_> = patients.by_ref().take(KEYS_AT_ONCE).collect();
            let names: Vec<_> = some.iter().map(PatientRows::patient).collect();
            let keys = self.lake.keys.data_keys(&names)?;
            for (patient, key) in some.iter().zip(&keys) {
                let Some(key) = key else {
                    self.erased += u64::from(patient.count());
                    continue;
                };
                self.patient(patient, key);
                if self.pack.len() >= PACK_BYTES {
                    self.store()?;
                }
            }
        }
        Ok(())
    }

    fn patient(&mut self, rows: &PatientRows<'_>, key: &Secret) {
        let (patient, count) = (rows.patient(), rows.count());
        let (key, batch) = (FrameKey::new(key), &self.plan.batches[self.position].name);
        let place = Place { patient: &patient, batch, rows: count };
        let cuts = &self.plan.layout.cuts[self.position];
        if self.pack.is_empty() {
            // Packs are named by their content; no two batches ever share one.
            self.pack.extend_from_slice(batch);
        }
        let start = self.pack.len();
        for ((frame, cell), cut) in rows.cut(cuts.len()).into_iter().zip(0..).zip(cuts) {
            key.seal(&place, (cell, &cut.name), frame, &mut self.pack);
            self.report.0.frames += 1;
        }
        let (start, length) = (start as u64, (self.pack.len() - start) as u64);
        self.extents.push(Extent { patient, start, length, rows: count });
    }

    /// Stores the pack, then tells the index.
    fn store(&mut self) -> Result<(), IngestError> {
        if self.extents.is_empty() {
            return Ok(());
        }
        let pack = std::mem::take(&mut self.pack);
        let bytes = pack.len() as u64;
        let name = self.lake.keys.naming().mac("aegle lake pack v1", &[&pack]);
        self.lake.objects.put(&name, pack)?;
        self.report.0.bytes += bytes;
        (self.report.1)(&Progress::Stored { bytes });
        self.lake.index.add_pack(self.id, (&name, bytes), &self.extents)?;
        self.extents.clear();
        (self.report.1)(&Progress::Indexed);
        Ok(())
    }
}
