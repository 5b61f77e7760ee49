//! Writes one batch: a table's new rows, patient by patient, into packs and the index.
//!
//! What a patient's rows were before is taken from the index: rows that are still there are left
//! where they lie, rows that are gone are noted as ended, only the others are sealed and stored. A
//! table that the catalogue does not have any more ends with all its rows.

use super::documents::{Arrived, Keep, Posted, detach};
use super::plan::Plan;
use super::rows::{PatientRows, Rows, Share};
use super::{IngestError, Progress, Written};
use crate::check::TableCount;
use crate::crypt::{MacKey, Secret};
use crate::damage::Fate;
use crate::document::DocumentKey;
use crate::frame::{BatchName, FrameKey, Place};
use crate::index::quality::Facts;
use crate::index::vault::{self, End, Stored};
use crate::index::{Extent, NewBatch};
use crate::keys::PatientKey;
use crate::lake::Lake;
use crate::layout::Cut;
use crate::objects::ObjectName;
use crate::source::Sources;
use aegle_vault::{History, Load, RowId};
use std::collections::{BTreeMap, BTreeSet};

/// A share of a table that is held in memory at once, in bytes, and what a row takes of that besides
/// its fields.
const SHARE_BYTES: u64 = 192 << 20;
const ROW_BYTES: u64 = 128;

/// A pack is stored when it has grown to this many bytes.
const PACK_BYTES: usize = 8 << 20;

/// About how many patients are compared with what they had, and their keys made, in one step.
const PATIENTS_AT_ONCE: u64 = 1024;

/// What is written while a batch is.
type Report<'a, 'b> = (&'a mut Written, &'a mut (dyn FnMut(&Progress) + 'b));

/// Names the batch that `load` brings to the table at `position`.
pub(super) fn name(lake: &Lake, plan: &Plan, (position, load): (usize, Load)) -> BatchName {
    // Which rows are new depends on what was there before, and so on the number of the load.
    let (load, catalogue) = (load.0.to_le_bytes(), plan.layout.catalogue.version().to_le_bytes());
    let parts = [plan.contents[position].name.as_slice(), &load, &catalogue];
    lake.keys.naming().mac("aegle lake batch v2", &parts)
}

/// Writes the batch that `load` brings to the table at `position`, which was counted. Nobody sees it
/// yet.
pub(super) fn write(
    lake: &Lake,
    sources: &mut Sources,
    plan: &Plan,
    (position, count, load): (usize, &TableCount, Load),
    report: Report<'_, '_>,
) -> Result<(), IngestError> {
    let content = &plan.contents[position];
    let table = plan.layout.catalogue.tables()[position].name.as_str();
    let name = name(lake, plan, (position, load));
    let id = lake.index.begin_batch(&NewBatch {
        name: &name,
        table,
        load,
        catalogue: plan.layout.catalogue.version(),
        meaning: &plan.layout.meanings[position],
        file_bytes: content.file_bytes,
    })?;
    let before = Before { lake, table, load, ends: Vec::new() };
    let (written, progress) = report;
    let (erased, (patients, rows)) = std::thread::scope(|scope| {
        let mut writer = Writer {
            lake,
            plan,
            position,
            id,
            name,
            before,
            documents: Posted::new(scope, &lake.objects),
            lost: lake.index.lost_documents()?,
            pack: Vec::new(),
            extents: Vec::new(),
            erased: 0,
            counted: (0, 0),
            report: (&mut *written, &mut *progress),
        };
        let bytes = count.bytes + count.rows * ROW_BYTES;
        let shares = bytes.div_ceil(SHARE_BYTES).max(1);
        for index in 0..shares {
            let share = Share { index, of: shares };
            let rows = Rows::load(&lake.keys, &plan.layout, sources, position, share)?;
            writer.add(&rows, share)?;
        }
        writer.store()?;
        Ok::<_, IngestError>((writer.erased, writer.counted))
    })?;
    lake.index.put_facts(id, &Facts { patients, rows, stats: count.stats.clone() })?;
    let manifest = plan.manifest((position, load));
    written.bytes += lake.keep_manifest((id, &name), &manifest)?;
    Ok(lake.index.finish_batch(id, erased)?)
}

/// Ends every row of a table that is not in the catalogue any more.
pub(super) fn end(lake: &Lake, table: &str, load: Load) -> Result<(), IngestError> {
    let mut before = Before { lake, table, load, ends: Vec::new() };
    for range in Share::WHOLE.cut(ranges(lake, 0)?) {
        for (patient, stored) in before.held(range)? {
            before.change(&patient, &stored, &[]);
        }
        before.store()?;
    }
    Ok(())
}

/// Into how many ranges patients are cut, so that each has about as many as are looked up at once.
fn ranges(lake: &Lake, arriving: usize) -> Result<u64, IngestError> {
    let known = lake.index.state()?.map_or(0, |state| state.patients);
    Ok(known.max(arriving as u64) / PATIENTS_AT_ONCE + 1)
}

/// What a table was before the load, and what of it ends.
struct Before<'a> {
    lake: &'a Lake,
    table: &'a str,
    load: Load,
    ends: Vec<End>,
}

impl Before<'_> {
    /// The rows of a range of patients that held until now.
    fn held(&self, range: Share) -> Result<BTreeMap<PatientKey, Vec<Stored>>, IngestError> {
        let (before, last) = (range.before(), range.last());
        let range = (before.as_ref(), &last);
        Ok(self.lake.index.look(|connection| vault::held(connection, self.table, range))?)
    }

    /// Notes what ends and yields which of the arriving rows begin.
    fn change(
        &mut self,
        patient: &PatientKey,
        stored: &[Stored],
        arriving: &[RowId],
    ) -> Vec<usize> {
        // What the lake has lost ends now, and comes in again if the source still holds it.
        let (lost, stored): (Vec<_>, Vec<_>) = stored.iter().partition(|stored| stored.lost);
        let mut history = History::new(stored.iter().map(|stored| stored.held).collect());
        let change = history.load(self.load, arriving).expect("loads are numbered in order");
        let mut ends: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for stored in change.ended.iter().map(|place| stored[*place]).chain(lost) {
            ends.entry(stored.batch).or_default().push(stored.place);
        }
        let end = |(batch, rows)| End { patient: *patient, batch, rows };
        self.ends.extend(ends.into_iter().map(end));
        change.begun
    }

    /// Tells the index what ended.
    fn store(&mut self) -> Result<(), IngestError> {
        if !self.ends.is_empty() {
            self.lake.index.add_ends(self.load, &self.ends)?;
            self.ends.clear();
        }
        Ok(())
    }
}

/// Appends the frames of some of a patient's rows, and gives their documents to `keep`.
pub(super) fn seal(
    (naming, key): (&MacKey, &Secret),
    place: &Place<'_>,
    cuts: &[Cut],
    (rows, chosen): (&PatientRows<'_>, &[usize]),
    (keep, out): (&mut Keep<'_>, &mut Vec<u8>),
) -> Result<(), IngestError> {
    let (frames, documents) = (FrameKey::new(key), DocumentKey::new(place.patient, key));
    for ((frame, cell), cut) in rows.cut(chosen, cuts.len()).into_iter().zip(0..).zip(cuts) {
        let frame = if cut.has_bytes { detach(naming, &documents, frame, keep)? } else { frame };
        frames.seal(place, (cell, &cut.name), frame, out);
    }
    Ok(())
}

/// Gives every document of a patient's rows to `keep`.
pub(super) fn documents(
    (naming, key): (&MacKey, &Secret),
    cuts: &[Cut],
    rows: &PatientRows<'_>,
    keep: &mut Keep<'_>,
) -> Result<(), IngestError> {
    let patient = rows.patient();
    let key = DocumentKey::new(&patient, key);
    for row in 0..rows.ids().len() {
        for (values, cut) in rows.cut(&[row], cuts.len()).into_iter().zip(cuts) {
            if cut.has_bytes {
                detach(naming, &key, values, keep)?;
            }
        }
    }
    Ok(())
}

struct Writer<'a, 'b, 'c, 'scope> {
    lake: &'a Lake,
    plan: &'a Plan,
    position: usize,
    id: i64,
    name: BatchName,
    before: Before<'a>,
    documents: Posted<'scope, 'a>,
    /// What the lake has lost, and takes from rows that stayed, too.
    lost: BTreeMap<PatientKey, BTreeSet<ObjectName>>,
    pack: Vec<u8>,
    extents: Vec<Extent>,
    /// Rows of patients who were erased; they are left out.
    erased: u64,
    /// How many patients the table has, and how many rows are new.
    counted: (u64, u64),
    report: Report<'b, 'c>,
}

impl Writer<'_, '_, '_, '_> {
    fn add(&mut self, rows: &Rows, share: Share) -> Result<(), IngestError> {
        if !rows.hubs().is_empty() {
            self.lake.index.add_hubs(self.id, rows.hubs())?;
        }
        let patients: Vec<_> = rows.patients().collect();
        let mut patients = patients.as_slice();
        for range in share.cut(ranges(self.lake, patients.len())?) {
            let here = patients.partition_point(|rows| rows.patient() <= range.last());
            let (here, later) = patients.split_at(here);
            patients = later;
            self.range(range, here)?;
        }
        Ok(())
    }

    fn range(&mut self, range: Share, patients: &[PatientRows<'_>]) -> Result<(), IngestError> {
        let mut held = self.before.held(range)?;
        self.counted.0 += patients.len() as u64;
        let mut begun = Vec::new();
        for rows in patients {
            let (patient, ids) = (rows.patient(), rows.ids());
            self.bring_lost(rows)?;
            let stored = held.remove(&patient).unwrap_or_default();
            let places = self.before.change(&patient, &stored, &ids);
            if !places.is_empty() {
                begun.push((*rows, places.iter().map(|place| ids[*place]).collect(), places));
            }
        }
        for (patient, stored) in held {
            self.before.change(&patient, &stored, &[]);
        }
        self.before.store()?;
        if begun.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = begun.iter().map(|(rows, ..)| rows.patient()).collect();
        let keys = self.lake.keys.data_keys(&names)?;
        for ((rows, ids, places), key) in begun.into_iter().zip(&keys) {
            let Some(key) = key else {
                self.erased += places.len() as u64;
                self.counted.0 -= 1;
                continue;
            };
            self.counted.1 += places.len() as u64;
            self.patient(&rows, (ids, &places), key)?;
            if self.pack.len() >= PACK_BYTES {
                self.store()?;
            }
        }
        Ok(())
    }

    /// Stores the documents again that the lake has lost and the source holds, byte by byte.
    fn bring_lost(&mut self, rows: &PatientRows<'_>) -> Result<(), IngestError> {
        let (lake, patient) = (self.lake, rows.patient());
        let Some(lost) = self.lost.get_mut(&patient).filter(|lost| !lost.is_empty()) else {
            return Ok(());
        };
        let Some(key) = lake.keys.known_data_keys(&[patient])?.remove(0) else { return Ok(()) };
        let written = &mut self.report.0.bytes;
        let mut keep = |name: &ObjectName, sealed: Vec<u8>| {
            if lost.remove(name) {
                *written += sealed.len() as u64;
                lake.objects.put(name, sealed)?;
                lake.index.settle(name, Fate::Repaired, None)?;
            }
            Ok(())
        };
        let cuts = &self.plan.layout.cuts[self.position];
        documents((lake.keys.naming(), &key), cuts, rows, &mut keep)
    }

    fn patient(
        &mut self,
        rows: &PatientRows<'_>,
        (ids, places): (Vec<RowId>, &[usize]),
        key: &Secret,
    ) -> Result<(), IngestError> {
        let patient = rows.patient();
        let count = u32::try_from(ids.len()).expect("a share of a file has less than 2^32 rows");
        let place = Place { patient: &patient, batch: &self.name, rows: count };
        let cuts = &self.plan.layout.cuts[self.position];
        if self.pack.is_empty() {
            // Packs are named by their content; no two batches ever share one.
            self.pack.extend_from_slice(&self.name);
        }
        let (start, lake) = (self.pack.len(), self.lake);
        let (id, documents, mut arrived) = (self.id, &mut self.documents, Vec::new());
        let mut keep = |name: &ObjectName, sealed: Vec<u8>| {
            if lake.index.has_document(name)? {
                let bytes = sealed.len() as u64;
                return Ok(lake.index.add_document((id, &patient), name, bytes)?);
            }
            arrived.extend(documents.send(name, (&patient, sealed))?);
            Ok(())
        };
        let naming = lake.keys.naming();
        seal((naming, key), &place, cuts, (rows, places), (&mut keep, &mut self.pack))?;
        self.note(arrived)?;
        self.report.0.frames += cuts.len() as u64;
        let (start, length) = (start as u64, (self.pack.len() - start) as u64);
        self.extents.push(Extent { patient, start, length, rows: ids });
        Ok(())
    }

    /// Tells the index of documents that are on disk.
    fn note(&mut self, arrived: Vec<Arrived>) -> Result<(), IngestError> {
        for (name, patient, bytes) in arrived {
            self.report.0.bytes += bytes;
            (self.report.1)(&Progress::Stored { bytes, rows: 0 });
            self.lake.index.add_document((self.id, &patient), &name, bytes)?;
        }
        Ok(())
    }

    /// Stores the pack and the documents that its rows speak of, then tells the index.
    fn store(&mut self) -> Result<(), IngestError> {
        self.lake.go_on()?;
        let arrived = self.documents.settle()?;
        self.note(arrived)?;
        if self.extents.is_empty() {
            return Ok(());
        }
        let pack = std::mem::take(&mut self.pack);
        let bytes = pack.len() as u64;
        let name = self.lake.object_name(&pack);
        self.lake.objects.put(&name, pack)?;
        self.report.0.bytes += bytes;
        let rows = self.extents.iter().map(|extent| extent.rows.len() as u64).sum();
        (self.report.1)(&Progress::Stored { bytes, rows });
        self.lake.index.add_pack(self.id, (&name, bytes), &self.extents)?;
        self.extents.clear();
        (self.report.1)(&Progress::Indexed);
        Ok(())
    }
}
