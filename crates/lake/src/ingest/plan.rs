//! Names what a source holds: one batch per table, by meaning and content.

use super::IngestError;
use crate::catalogue::{Catalogue, FILE, Patient, Table};
use crate::crypt::MacKey;
use crate::frame::BatchName;
use crate::layout::Layout;
use crate::manifest::{Fetch, Manifest};
use crate::source::fingerprint;
use aegle_model::Hash;
use std::path::Path;

/// The batches of a source.
pub(super) struct Plan {
    pub(super) layout: Layout,
    /// In the order of the catalogue's tables.
    pub(super) batches: Vec<Planned>,
    /// Names the whole source.
    pub(super) source: [u8; 32],
}

/// One table's file at its present content.
#[derive(PartialEq)]
pub(super) struct Planned {
    pub(super) name: BatchName,
    pub(super) content: [u8; 32],
    pub(super) file_bytes: u64,
}

impl Plan {
    pub(super) fn new(naming: &MacKey, layout: Layout, folder: &Path) -> Result<Self, IngestError> {
        let batches = plan(naming, &layout.catalogue, folder)?;
        let mut plan = Self { layout, batches, source: [0; 32] };
        plan.source = plan.source_with(naming, |_| None);
        Ok(plan)
    }

    /// Names the source when other batches stand for some of its tables.
    pub(super) fn source_with<'a>(
        &'a self,
        naming: &MacKey,
        other: impl Fn(usize) -> Option<&'a BatchName>,
    ) -> [u8; 32] {
        let name = |(position, batch): (usize, &'a Planned)| other(position).unwrap_or(&batch.name);
        let names = self.batches.iter().enumerate().map(name);
        let names: Vec<&[u8]> = names.map(BatchName::as_slice).collect();
        let catalogue = self.layout.catalogue.hash();
        let parts = [&[catalogue.as_bytes().as_slice()], names.as_slice()].concat();
        naming.mac("aegle lake source v1", &parts)
    }

    /// The manifest of the batch at `position`.
    pub(super) fn manifest(&self, folder: &Path, position: usize) -> Manifest {
        let (catalogue, batch) = (&self.layout.catalogue, &self.batches[position]);
        let table = &catalogue.tables()[position];
        // A relative path means something else tomorrow.
        let place = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let fetch = Fetch {
            source: "csv".to_owned(),
            place: place.to_string_lossy().into_owned(),
            query: table.file.clone(),
            watermark: None,
        };
        Manifest::new(catalogue, table, fetch, (&batch.content, batch.file_bytes))
    }

    /// Checks that no file changed since the plan was made, but for those of tables that stay out.
    pub(super) fn verify(
        &self,
        naming: &MacKey,
        folder: &Path,
        stays_out: impl Fn(usize) -> bool,
    ) -> Result<(), IngestError> {
        let now = plan(naming, &self.layout.catalogue, folder)?;
        let tables = self.layout.catalogue.tables().iter().enumerate();
        let mut pairs = tables.zip(self.batches.iter().zip(&now));
        match pairs.find(|((place, _), (then, now))| then != now && !stays_out(*place)) {
            Some(((_, table), _)) => Err(IngestError::SourceChanged(table.file.clone())),
            None => Ok(()),
        }
    }
}

fn plan(
    naming: &MacKey,
    catalogue: &Catalogue,
    folder: &Path,
) -> Result<Vec<Planned>, IngestError> {
    let read = |table: &Table| {
        let (content, bytes) = fingerprint(&folder.join(&table.file), naming)
            .map_err(|source| IngestError::Unreadable { file: table.file.clone(), source })?;
        Ok((content, bytes))
    };
    let files: Vec<_> = catalogue.tables().iter().map(read).collect::<Result<_, IngestError>>()?;
    let name = |(table, (content, file_bytes)): (&Table, &([u8; 32], u64))| {
        // Who owns a row of a table that is looked up depends on the other table's rows, too.
        let other = match &table.patient {
            Patient::Column(_) => None,
            Patient::Through { table, .. } => {
                let named = |other: &Table| other.name == *table;
                catalogue.tables().iter().position(named)
            }
        };
        let through = other.map(|other| (&catalogue.tables()[other].patient, files[other].0));
        let meaning = meaning(catalogue, table);
        let through = borsh::to_vec(&through).expect("writing to memory cannot fail");
        let parts = [meaning.as_bytes().as_slice(), content, &through];
        let name = naming.mac("aegle lake batch v1", &parts);
        Planned { name, content: *content, file_bytes: *file_bytes }
    };
    Ok(catalogue.tables().iter().zip(&files).map(name).collect())
}

/// The hash of what the frames of a table depend on; labels and units are not among it.
pub(super) fn meaning(catalogue: &Catalogue, table: &Table) -> Hash {
    let columns = table.columns.iter().map(|column| (&column.name, column.kind, &column.tags));
    let columns: Vec<_> = columns.collect();
    let meaning = borsh::to_vec(&(FILE, catalogue.centre(), &table.name, &table.patient, columns));
    Hash::of("aegle lake table v1", &[&meaning.expect("writing to memory cannot fail")])
}
