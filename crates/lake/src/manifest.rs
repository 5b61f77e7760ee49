//! The manifest of a batch: what it was read from, what it held, and how to bring it again.
//!
//! A manifest is an object of the raw zone like a pack, named by a keyed hash of its bytes, and the
//! index keeps a second copy of it; `docs/formats.md` has its fields. It is sealed, for it names
//! paths. The same batch from the same place makes the same bytes; from another place it gets
//! another manifest, and the older one goes when the next ingest sweeps.

use crate::catalogue::{Catalogue, Table};
use crate::frame::BatchName;
use crate::index::upkeep::ManifestRow;
use crate::lake::Lake;
use crate::note::Place;
use crate::objects::ObjectName;
use crate::{DatabaseError, IngestError};
use serde::{Deserialize, Serialize};

/// The format that a manifest states.
const FORMAT: u32 = 1;

/// How to bring a table's rows again. What a source type needs for it stands here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fetch {
    /// The type of the source: `csv`.
    pub(crate) source: String,
    /// Where it is: a folder.
    pub(crate) place: String,
    /// What is asked of it: a file of the folder.
    pub(crate) query: String,
    /// How far it was read; none when each batch is the whole of its table.
    pub(crate) watermark: Option<String>,
}

/// What is known of a batch besides its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// The table.
    pub(crate) table: String,
    /// How to bring its rows again.
    pub(crate) fetch: Fetch,
    /// How many bytes the source had.
    pub(crate) bytes: u64,
    /// The keyed hash of these bytes, in hexadecimal.
    pub(crate) content: String,
    /// The version of the catalogue that the batch was cut by.
    pub(crate) catalogue: u32,
    /// Its columns in the catalogue's order.
    pub(crate) columns: Vec<Column>,
}

/// A column of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    name: String,
    r#type: String,
    key: bool,
}

impl Manifest {
    pub(crate) fn new(
        catalogue: &Catalogue,
        table: &Table,
        fetch: Fetch,
        (content, bytes): (&[u8; 32], u64),
    ) -> Self {
        let columns = table.columns.iter().map(|column| Column {
            name: column.name.to_string(),
            r#type: column.kind.name().to_owned(),
            key: column.key,
        });
        Self {
            format: FORMAT,
            table: table.name.to_string(),
            fetch,
            bytes,
            content: hex::encode(content),
            catalogue: catalogue.version(),
            columns: columns.collect(),
        }
    }
}

impl Lake {
    /// Keeps the manifest of a batch, unless it is there: first the object, then the index's copy.
    pub(crate) fn keep_manifest(
        &self,
        (id, batch): (i64, &BatchName),
        manifest: &Manifest,
    ) -> Result<(), IngestError> {
        let plain = serde_json::to_vec(manifest).expect("a manifest is plain text and numbers");
        let sealed = self.notes.seal(Place::Manifest(batch), plain);
        let name = self.manifest_name(&sealed);
        let known = self.index.manifest(id)?;
        if known.is_some_and(|known| known.name == name && known.sealed == sealed) {
            return Ok(());
        }
        self.manifests.put(&name, sealed.clone())?;
        self.index.put_manifest(id, &ManifestRow { name, sealed })?;
        Ok(())
    }

    /// The manifest of a batch from whichever of its two copies is whole.
    pub(crate) fn manifest(
        &self,
        id: i64,
        batch: &BatchName,
    ) -> Result<Option<Manifest>, DatabaseError> {
        let Some(row) = self.index.manifest(id)? else { return Ok(None) };
        Ok(self.whole_manifest(batch, &row).and_then(|sealed| self.opened_manifest(batch, &sealed)))
    }

    /// The bytes of a manifest from whichever of its two copies is whole.
    pub(crate) fn whole_manifest(&self, batch: &BatchName, row: &ManifestRow) -> Option<Vec<u8>> {
        let whole = |sealed: &Vec<u8>| self.manifest_name(sealed) == row.name;
        let stored = || self.manifests.small(&row.name).ok();
        let found = Some(row.sealed.clone()).filter(whole).or_else(|| stored().filter(whole));
        found.filter(|sealed| self.opened_manifest(batch, sealed).is_some())
    }

    pub(crate) fn opened_manifest(&self, batch: &BatchName, sealed: &[u8]) -> Option<Manifest> {
        let plain = self.notes.open(Place::Manifest(batch), sealed).ok()?;
        serde_json::from_slice(&plain).ok().filter(|manifest: &Manifest| manifest.format == FORMAT)
    }

    pub(crate) fn manifest_name(&self, sealed: &[u8]) -> ObjectName {
        self.keys.naming().mac("aegle lake manifest v1", &[sealed])
    }
}
