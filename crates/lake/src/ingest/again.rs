//! Brings the rows of a batch again from where its manifest says, to repair what was lost of it.
//!
//! Frames are made from the rows, the data key and the place alone, so the packs come out as they
//! were and are recognised by their names. Nothing is taken on trust: a source that changed makes
//! another batch name, a pack that differs another pack name.

use super::IngestError;
use super::batch::{self, Again};
use super::plan::Plan;
use crate::catalogue::Catalogue;
use crate::frame::BatchName;
use crate::lake::Lake;
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::objects::ObjectName;
use std::collections::BTreeMap;
use std::path::Path;

/// A pack that is wanted, by its place in the order of its batch's packs.
pub(crate) struct Wanted {
    pub(crate) name: ObjectName,
    pub(crate) bytes: u64,
}

/// Why rows cannot be brought again as they were.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Gone {
    /// The source has other content now.
    #[error("the source has changed since")]
    Changed,
    /// The batch was cut by a catalogue that nobody has any more.
    #[error("the catalogue version {0} of the batch is not known any more")]
    Catalogue(u32),
    /// The source is of a type that cannot bring rows again.
    #[error("a source of type `{0}` cannot be read again by this program")]
    Source(String),
    /// The source cannot be read.
    #[error("{0}")]
    Unreadable(#[source] IngestError),
    /// The lake itself cannot be used.
    #[error(transparent)]
    Lake(IngestError),
}

impl Lake {
    /// Makes the packs of a batch again and puts back those that are wanted. What was put back
    /// under its own name is taken out of `wanted`. Where a patient was erased since, a pack cannot
    /// be what it was: the others' frames are kept under a new name, for `renamed`.
    pub(crate) fn bring_again(
        &self,
        (manifest, batch): (&Manifest, &BatchName),
        wanted: &mut BTreeMap<usize, Wanted>,
        renamed: &mut dyn FnMut(&ObjectName, &ObjectName) -> Result<(), IngestError>,
    ) -> Result<(), Gone> {
        if manifest.fetch.source != "csv" {
            return Err(Gone::Source(manifest.fetch.source.clone()));
        }
        let folder = Path::new(&manifest.fetch.place);
        let text = self.index.catalogue_text(manifest.catalogue);
        let text = text.map_err(|error| Gone::Lake(error.into()))?;
        let catalogue = text.and_then(|text| Catalogue::parse(&text).ok());
        let catalogue = catalogue.ok_or(Gone::Catalogue(manifest.catalogue))?;
        let plan = Plan::new(self.keys.naming(), Layout::new(catalogue), folder);
        let plan = plan.map_err(Gone::Unreadable)?;
        let position = plan.batches.iter().position(|planned| planned.name == *batch);
        let position = position.ok_or(Gone::Changed)?;
        let (mut ordinal, mut others) = (0, Vec::new());
        let mut take = |again: Again| {
            let place = ordinal;
            ordinal += 1;
            let Some(lost) = wanted.get(&place) else { return Ok(()) };
            let name = self.pack_name(&again.pack);
            if name == lost.name {
                self.objects.put(&name, again.pack)?;
                wanted.remove(&place);
            } else if again.erased && again.pack.len() as u64 == lost.bytes {
                self.objects.put(&name, again.pack)?;
                others.push((place, name));
            }
            Ok(())
        };
        batch::again(self, folder, &plan, position, &mut take).map_err(|error| match error {
            IngestError::Source(_) | IngestError::Unreadable { .. } => Gone::Changed,
            error => Gone::Lake(error),
        })?;
        if others.is_empty() {
            return Ok(());
        }
        // No name says what is in these packs, so the source must be what it was to the end.
        plan.verify(self.keys.naming(), folder, |_| false).map_err(|_| Gone::Changed)?;
        for (place, name) in others {
            let lost = wanted.remove(&place).expect("only wanted packs are kept");
            renamed(&lost.name, &name).map_err(Gone::Lake)?;
        }
        Ok(())
    }
}
