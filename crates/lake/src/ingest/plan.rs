//! Names what a source holds: table by table, by meaning and content.

use super::IngestError;
use super::judge::Kept;
use crate::catalogue::{Patient, Table};
use crate::crypt::MacKey;
use crate::frame::BatchName;
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::source::{Content, Sources, Unreadable};
use aegle_vault::Load;
use std::path::{Path, PathBuf};

/// The tables of a source.
pub(super) struct Plan {
    /// Where it lies.
    pub(super) folder: PathBuf,
    pub(super) layout: Layout,
    /// In the order of the catalogue's tables.
    pub(super) contents: Vec<Planned>,
}

/// One table's file at its present content.
#[derive(PartialEq)]
pub(super) struct Planned {
    pub(super) name: BatchName,
    /// Names what the source holds, whatever it means.
    pub(super) content: [u8; 32],
    pub(super) file_bytes: u64,
}

impl Plan {
    pub(super) fn new(
        naming: &MacKey,
        (folder, layout): (&Path, Layout),
        sources: &mut Sources,
    ) -> Result<Self, IngestError> {
        let contents = plan(naming, &layout, sources)?;
        // A relative path means something else tomorrow.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Ok(Self { folder, layout, contents })
    }

    /// Names the whole source, when some of its tables stay as they are.
    pub(super) fn source(&self, naming: &MacKey, kept: &Kept) -> [u8; 32] {
        let catalogue = self.layout.catalogue.hash();
        let mut parts = vec![catalogue.as_bytes().as_slice()];
        for (position, content) in self.contents.iter().enumerate() {
            parts.push(kept.get(&position).unwrap_or(&content.name));
        }
        naming.mac("aegle lake source v1", &parts)
    }

    /// The manifest of the batch that a load brings to the table at `position`.
    pub(super) fn manifest(&self, (position, load): (usize, Load)) -> Manifest {
        let (catalogue, content) = (&self.layout.catalogue, &self.contents[position]);
        let whence = (self.folder.as_path(), &**catalogue, &catalogue.tables()[position]);
        Manifest::new(whence, load, (&content.content, content.file_bytes))
    }

    /// Checks that no file changed since the plan was made, but for those of tables that stay.
    pub(super) fn verify(
        &self,
        naming: &MacKey,
        sources: &mut Sources,
        kept: &Kept,
    ) -> Result<(), IngestError> {
        let now = plan(naming, &self.layout, sources)?;
        let tables = self.layout.catalogue.tables().iter().enumerate();
        let mut pairs = tables.zip(self.contents.iter().zip(&now));
        match pairs.find(|((place, _), (then, now))| then != now && !kept.contains_key(place)) {
            Some(((_, table), _)) => Err(IngestError::SourceChanged(table.file.clone())),
            None => Ok(()),
        }
    }
}

fn plan(
    naming: &MacKey,
    layout: &Layout,
    sources: &mut Sources,
) -> Result<Vec<Planned>, IngestError> {
    let catalogue = &layout.catalogue;
    let read = |table: &Table| {
        let unreadable = |Unreadable { file, source }| IngestError::Unreadable { file, source };
        sources.content(table, naming).map_err(unreadable)
    };
    let files: Vec<_> = catalogue.tables().iter().map(read).collect::<Result<_, IngestError>>()?;
    let name = |(position, (table, content)): (usize, (&Table, &Content))| {
        // Who owns a row of a table that is looked up depends on the other table's rows, too.
        let other = match &table.patient {
            Patient::Column(_) => None,
            Patient::Through { table, .. } => {
                let named = |other: &Table| other.name == *table;
                catalogue.tables().iter().position(named)
            }
        };
        let through = other.map(|other| (&catalogue.tables()[other].patient, files[other].hash));
        let through = borsh::to_vec(&through).expect("writing to memory cannot fail");
        let origin = table.origin.meaning().unwrap_or_default();
        let parts = [layout.meanings[position].as_slice(), &content.hash, &through, &origin];
        let name = naming.mac("aegle lake content v1", &parts);
        Planned { name, content: content.hash, file_bytes: content.bytes }
    };
    Ok(catalogue.tables().iter().zip(&files).enumerate().map(name).collect())
}
