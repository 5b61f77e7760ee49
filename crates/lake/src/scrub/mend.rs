//! Puts back what is damaged, as it was written.
//!
//! Of a pack, the extents that still open are kept; the others are made again from the source. Where
//! nothing lies any more, for a patient was erased or rows are lost, the old name of the pack stands:
//! such a pack holds what others have, under a new name. Everything else has to come out under the
//! name that was recorded.

use super::{Pace, ScrubError, ScrubReport};
use crate::catalogue::Catalogue;
use crate::crypt::Secret;
use crate::damage::{Fate, ObjectKind};
use crate::frame::{FrameKey, Place, is_whole};
use crate::index::upkeep::{self, BatchRow, Found, Laid};
use crate::ingest::IngestError;
use crate::ingest::again::{Brought, Cutting};
use crate::keys::PatientKey;
use crate::lake::Lake;
use crate::layout::Layout;
use crate::objects::ObjectName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// How many packs are made again by one look at the source.
const PACKS_AT_ONCE: usize = 16;

/// A pack of which something is missing.
struct Torn {
    name: ObjectName,
    /// Filled where something lies that is whole.
    bytes: Vec<u8>,
    missing: Vec<Laid>,
    /// Whether there are places where nothing lies any more.
    has_gaps: bool,
}

/// What is missing of one batch.
struct Wanted {
    batch: BatchRow,
    layout: Layout,
    position: usize,
    torn: Vec<Torn>,
    documents: BTreeMap<ObjectName, PatientKey>,
}

impl Lake {
    /// Repairs everything that is known to be damaged; where something is lost, the source is
    /// ingested anew.
    pub(super) fn mend_all(
        &self,
        give_up: bool,
        report: &mut ScrubReport,
    ) -> Result<(), ScrubError> {
        let mut damaged: BTreeMap<i64, Vec<Found>> = BTreeMap::new();
        for found in self.index.damaged(&[Fate::Open])? {
            damaged.entry(found.batch).or_default().push(found);
        }
        if damaged.is_empty() {
            return Ok(());
        }
        let lock = match self.lock_ingest() {
            Err(IngestError::Busy) => {
                report.busy = true;
                return Ok(());
            }
            lock => lock?,
        };
        let mut anew = BTreeSet::new();
        for (batch, damaged) in damaged {
            self.go_on()?;
            if let Some(batch) = self.index.batch_row(batch)? {
                anew.extend(self.mend_batch(batch, &damaged, give_up)?);
            }
        }
        drop(lock);
        for folder in anew {
            match self.ingest(&folder) {
                Ok(done) => report.ingested += u64::from(!done.unchanged),
                Err(error) => report.not_ingested.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Repairs one batch, under the lock of an ingest. Yields the source to ingest anew.
    fn mend_batch(
        &self,
        batch: BatchRow,
        damaged: &[Found],
        give_up: bool,
    ) -> Result<Option<PathBuf>, ScrubError> {
        let of = |kind| damaged.iter().filter(move |found| found.kind == kind);
        for found in of(ObjectKind::Manifest) {
            self.mend_manifest(&batch, found)?;
        }
        let packs: Vec<_> = of(ObjectKind::Pack).collect();
        let documents: Vec<_> = of(ObjectKind::Document).collect();
        let Some((layout, position)) = self.cut_of(&batch)? else {
            for found in packs.into_iter().chain(documents) {
                let reason = "the catalogue of its batch is not known any more";
                self.index.settle(&found.object, Fate::Open, Some(reason))?;
            }
            return Ok(None);
        };
        let (torn, documents) = (Vec::new(), self.documents_of(&documents)?);
        let mut wanted = Wanted { batch, layout, position, torn, documents };
        let mut anew = None;
        let chunks: Vec<_> = packs.chunks(PACKS_AT_ONCE).collect();
        // Documents come with the first packs, or alone.
        for packs in chunks.into_iter().chain(packs.is_empty().then_some(&[][..])) {
            self.go_on()?;
            for found in packs {
                wanted.torn.extend(self.torn(&wanted, found)?);
            }
            anew = self.mend_rows(&mut wanted, give_up)?.or(anew);
        }
        Ok(anew)
    }

    /// Both copies of a manifest become what the whole one is.
    fn mend_manifest(&self, batch: &BatchRow, found: &Found) -> Result<(), ScrubError> {
        let row = self.index.look(|index| upkeep::manifest(index, batch.id))?;
        let whole = row.and_then(|row| self.whole_manifest(&batch.name, &row));
        let (fate, reason) = match whole {
            Some(sealed) => {
                self.put_manifest(batch.id, sealed)?;
                (Fate::Repaired, None)
            }
            None => (Fate::Open, Some("both copies are gone; ingest its source again")),
        };
        Ok(self.index.settle(&found.object, fate, reason)?)
    }

    /// The catalogue by which a batch is cut, and its table in it.
    fn cut_of(&self, batch: &BatchRow) -> Result<Option<(Layout, usize)>, ScrubError> {
        let text = self.index.catalogue_text(batch.catalogue)?;
        let catalogue = text.and_then(|text| Catalogue::parse(&text).ok());
        let layout = catalogue.map(Layout::new);
        let position = layout.as_ref().and_then(|layout| {
            let mut tables = layout.catalogue.tables().iter().zip(&layout.meanings);
            tables.position(|(table, meaning)| {
                table.name.as_str() == batch.table && *meaning == batch.meaning
            })
        });
        Ok(layout.zip(position))
    }

    /// The documents that are missing still, with their patients.
    fn documents_of(
        &self,
        damaged: &[&Found],
    ) -> Result<BTreeMap<ObjectName, PatientKey>, ScrubError> {
        let mut documents = BTreeMap::new();
        for found in damaged {
            let known = self.index.document(&found.object)?;
            let Some((patient, bytes)) = known else {
                self.settle_gone(&found.object)?;
                continue;
            };
            // What only one read found is whole again by itself.
            if self.look_at_bytes((&found.object, bytes), &mut Pace::new(None))?.is_none() {
                self.index.settle(&found.object, Fate::Repaired, None)?;
            } else {
                documents.insert(found.object, patient);
            }
        }
        Ok(documents)
    }

    fn settle_gone(&self, object: &ObjectName) -> Result<(), ScrubError> {
        let reason = Some("nothing refers to it any more");
        Ok(self.index.settle(object, Fate::Repaired, reason)?)
    }

    /// What is left of a pack; none when it is whole, or when no batch has it any more.
    fn torn(&self, wanted: &Wanted, found: &Found) -> Result<Option<Torn>, ScrubError> {
        let Some(size) = self.index.pack_bytes(wanted.batch.id, &found.object)? else {
            self.settle_gone(&found.object)?;
            return Ok(None);
        };
        if self.look_at_bytes((&found.object, size), &mut Pace::new(None))?.is_none() {
            self.index.settle(&found.object, Fate::Repaired, None)?;
            return Ok(None);
        }
        let laid = self.index.laid(&found.object)?;
        let left = self.objects.left(&found.object, size).unwrap_or_default();
        let patients: Vec<_> = laid.iter().map(|laid| laid.patient).collect();
        let keys = self.keys.known_data_keys(&patients).map_err(IngestError::from)?;
        let (header, size) = (wanted.batch.name, usize::try_from(size).unwrap_or(usize::MAX));
        let mut bytes: Vec<u8> = found.object.iter().copied().cycle().take(size).collect();
        let mut filled = header.len();
        if bytes.len() < filled {
            let reason = Some("the index is wrong about it; restore the index from a backup");
            self.index.settle(&found.object, Fate::Open, reason)?;
            return Ok(None);
        }
        bytes[..filled].copy_from_slice(&header);
        let mut missing = Vec::new();
        for (laid, key) in laid.into_iter().zip(&keys) {
            let Some(here) = laid.range().filter(|range| range.end <= size) else { continue };
            filled += here.len();
            let whole = left.get(here.clone()).filter(|extent| {
                key.as_ref().is_some_and(|key| wanted.is_whole(&laid, key, extent))
            });
            match whole {
                Some(extent) => bytes[here].copy_from_slice(extent),
                None => missing.push(laid),
            }
        }
        Ok(Some(Torn { name: found.object, bytes, missing, has_gaps: filled != size }))
    }

    /// Brings what is wanted from wherever the source may be, and settles all of it.
    fn mend_rows(&self, wanted: &mut Wanted, give_up: bool) -> Result<Option<PathBuf>, ScrubError> {
        let folders =
            if wanted.is_whole_already() { Vec::new() } else { self.folders(&wanted.batch)? };
        let mut away = folders.is_empty().then(|| "its manifest is lost, too".to_owned());
        for (place, folder) in folders.iter().enumerate() {
            let cutting = Cutting { layout: &wanted.layout, position: wanted.position };
            match self.bring(cutting, folder, &wanted.patients()) {
                Ok(brought) => {
                    let missing = (&wanted.batch, &mut wanted.torn, &mut wanted.documents);
                    fill(self, &brought, missing)?;
                }
                // Where the source was last seen decides; where it was then may be gone for good.
                Err(why) if place == 0 => away = Some(why.to_string()),
                Err(_) => {}
            }
            if wanted.is_whole_already() {
                break;
            }
        }
        let away = away.filter(|_| !give_up);
        let mut anew = false;
        for torn in std::mem::take(&mut wanted.torn) {
            anew |= self.put_back(&wanted.batch, torn, away.as_deref())?;
        }
        for document in std::mem::take(&mut wanted.documents).into_keys() {
            if let Some(why) = away.as_deref() {
                self.index.settle(&document, Fate::Open, Some(why))?;
            } else {
                self.index.lose_document(&document, &wanted.batch, GONE)?;
                anew = true;
            }
        }
        Ok(folders.into_iter().next().filter(|_| anew))
    }

    /// Where the source of a batch may be: where it was last seen, and where it was then.
    fn folders(&self, batch: &BatchRow) -> Result<Vec<PathBuf>, ScrubError> {
        let manifests = self.index.look(|index| {
            let last = upkeep::last_batch(index, &batch.table)?;
            let last = last.map(|last| self.manifest(index, (last.id, &last.name))).transpose()?;
            Ok([last.flatten(), self.manifest(index, (batch.id, &batch.name))?])
        })?;
        let mut folders: Vec<_> =
            manifests.into_iter().flatten().map(|manifest| manifest.fetch.folder).collect();
        folders.dedup();
        Ok(folders)
    }

    /// Puts a pack back and settles it; whether something of it is lost.
    fn put_back(
        &self,
        batch: &BatchRow,
        torn: Torn,
        away: Option<&str>,
    ) -> Result<bool, ScrubError> {
        if let (false, Some(why)) = (torn.missing.is_empty(), away) {
            self.index.settle(&torn.name, Fate::Open, Some(why))?;
            return Ok(false);
        }
        let lost: Vec<_> = torn.missing.iter().map(|laid| laid.patient).collect();
        let name = self.object_name(&torn.bytes);
        if name != torn.name && lost.is_empty() && !torn.has_gaps {
            let reason = Some("what came out is not what was recorded");
            self.index.settle(&torn.name, Fate::Open, reason)?;
            return Ok(false);
        }
        self.objects.put(&name, torn.bytes)?;
        if name != torn.name {
            self.index.rename_pack((&torn.name, &name), (batch, &lost))?;
        }
        let (fate, reason) =
            if lost.is_empty() { (Fate::Repaired, None) } else { (Fate::Lost, Some(GONE)) };
        self.index.settle(&torn.name, fate, reason)?;
        Ok(!lost.is_empty())
    }
}

/// Why something is lost.
const GONE: &str = "the source does not hold it any more";

/// Takes what was brought, and puts back the documents among it.
fn fill(
    lake: &Lake,
    brought: &Brought<'_>,
    (batch, torn, documents): (&BatchRow, &mut Vec<Torn>, &mut BTreeMap<ObjectName, PatientKey>),
) -> Result<(), ScrubError> {
    let missing = torn.iter().flat_map(|torn| &torn.missing).map(|laid| laid.patient);
    let patients: BTreeSet<_> = missing.chain(documents.values().copied()).collect();
    let patients: Vec<_> = patients.into_iter().collect();
    let keys = lake.keys.known_data_keys(&patients).map_err(IngestError::from)?;
    let keys = patients.into_iter().zip(keys);
    let keys: BTreeMap<_, _> = keys.filter_map(|(patient, key)| Some((patient, key?))).collect();
    for (patient, key) in &keys {
        if !documents.values().any(|owner| owner == patient) {
            continue;
        }
        brought.documents(patient, key, &mut |name, sealed| {
            if documents.contains_key(name) {
                lake.objects.put(name, sealed)?;
                lake.index.settle(name, Fate::Repaired, None)?;
                documents.remove(name);
            }
            Ok(())
        })?;
    }
    for torn in torn {
        for laid in std::mem::take(&mut torn.missing) {
            let place = laid.place(batch);
            let key = keys.get(&laid.patient);
            let extent =
                key.map(|key| brought.extent(&place, &laid.rows, (key, &mut |_: &_, _| Ok(()))));
            match (extent.transpose()?.flatten(), laid.range()) {
                (Some(extent), Some(here)) if extent.len() == here.len() => {
                    torn.bytes[here].copy_from_slice(&extent);
                }
                _ => torn.missing.push(laid),
            }
        }
    }
    Ok(())
}

impl Laid {
    fn range(&self) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(self.start).ok()?;
        Some(start..start.checked_add(usize::try_from(self.length).ok()?)?)
    }

    fn place<'a>(&'a self, batch: &'a BatchRow) -> Place<'a> {
        let rows = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        Place { patient: &self.patient, batch: &batch.name, rows }
    }
}

impl Wanted {
    /// Whether an extent is what was written.
    fn is_whole(&self, laid: &Laid, key: &Secret, extent: &[u8]) -> bool {
        let names = self.layout.cuts[self.position].iter().map(|cut| &cut.name);
        is_whole(&FrameKey::new(key), &laid.place(&self.batch), names, &mut extent.to_vec())
    }

    /// Whether nothing is missing.
    fn is_whole_already(&self) -> bool {
        self.documents.is_empty() && self.torn.iter().all(|torn| torn.missing.is_empty())
    }

    /// Whose rows are missing.
    fn patients(&self) -> BTreeSet<PatientKey> {
        let missing = self.torn.iter().flat_map(|torn| &torn.missing).map(|laid| laid.patient);
        missing.chain(self.documents.values().copied()).collect()
    }
}
