//! The manifest of a batch: what it was read from, what the source held, and how to bring it again.
//!
//! A manifest is an object of the raw zone, named like any other by a keyed hash of its bytes, and the
//! index keeps a second copy of it; `docs/formats.md` has its fields. It is sealed, for it names
//! paths. The same batch from the same place makes the same bytes; when the source is found in
//! another place, the last batch of each table gets another manifest, and the older one goes when the
//! next ingest sweeps. It holds no secret of a source: passwords stand in files of their own.

use crate::catalogue::{Catalogue, Table};
use crate::database::{self, Connection, DatabaseError};
use crate::frame::BatchName;
use crate::index::upkeep::{self, ManifestRow};
use crate::lake::Lake;
use crate::note::Place;
use crate::objects::ObjectError;
use crate::source::CSV;
use aegle_vault::Load;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The format that a manifest states.
const FORMAT: u32 = 1;

/// How to bring a table's rows again: the source folder with the sources of the catalogue's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fetch {
    /// The source folder.
    pub(crate) folder: PathBuf,
    /// The type of the source, such as `csv`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// How the catalogue calls it; none for a CSV file beside the catalogue.
    pub(crate) source: Option<String>,
    /// What the catalogue says of it.
    pub(crate) settings: BTreeMap<String, String>,
    /// What is selected: a file, a table, a resource type.
    pub(crate) select: String,
    /// What narrows it.
    pub(crate) filter: BTreeMap<String, String>,
    /// The column that tells of changes.
    pub(crate) watermark: Option<String>,
}

impl Fetch {
    fn new(folder: &Path, catalogue: &Catalogue, table: &Table) -> Self {
        let origin = &table.origin;
        let declared = origin.source.as_ref();
        let declared =
            declared.and_then(|name| catalogue.sources().iter().find(|it| it.name == *name));
        Self {
            folder: folder.to_owned(),
            kind: declared.map_or(CSV, |declared| declared.kind).name.to_owned(),
            source: declared.map(|declared| declared.name.to_string()),
            settings: declared.map(|declared| declared.settings.values.clone()).unwrap_or_default(),
            select: declared.map_or_else(|| table.file.clone(), |_| origin.select.clone()),
            filter: origin.filter.clone(),
            watermark: origin.watermark.clone(),
        }
    }
}

/// What is known of a batch besides its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// The table.
    pub(crate) table: String,
    /// The load that brought it.
    pub(crate) load: u64,
    /// The version of the catalogue that it was cut by.
    pub(crate) catalogue: u32,
    /// How to bring its rows again.
    pub(crate) fetch: Fetch,
    /// How many bytes the whole table had at its source.
    pub(crate) bytes: u64,
    /// The keyed hash of the whole table at its source, in hexadecimal.
    pub(crate) content: String,
    /// Its columns in the catalogue's order.
    pub(crate) columns: Vec<Column>,
}

/// A column of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    key: bool,
}

impl Manifest {
    pub(crate) fn new(
        (folder, catalogue, table): (&Path, &Catalogue, &Table),
        load: Load,
        (content, bytes): (&[u8; 32], u64),
    ) -> Self {
        let columns = table.columns.iter().map(|column| Column {
            name: column.name.to_string(),
            kind: column.kind.name().to_owned(),
            key: column.key,
        });
        Self {
            format: FORMAT,
            table: table.name.to_string(),
            load: load.0,
            catalogue: catalogue.version(),
            fetch: Fetch::new(folder, catalogue, table),
            bytes,
            content: hex::encode(content),
            columns: columns.collect(),
        }
    }
}

/// A manifest that could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

impl Lake {
    /// Keeps the manifest of a batch, unless it is there: first the object, then the index's copy.
    /// How many bytes were written.
    pub(crate) fn keep_manifest(
        &self,
        (id, batch): (i64, &BatchName),
        manifest: &Manifest,
    ) -> Result<u64, KeepError> {
        let plain = serde_json::to_vec(manifest).expect("a manifest is plain text and numbers");
        let sealed = self.notes.seal(Place::Manifest(batch), plain);
        let known = self.index.look(|index| upkeep::manifest(index, id))?;
        if known.is_some_and(|known| known.sealed == sealed) {
            return Ok(0);
        }
        self.put_manifest(id, sealed)
    }

    /// Puts the sealed bytes of a manifest in both places.
    pub(crate) fn put_manifest(&self, id: i64, sealed: Vec<u8>) -> Result<u64, KeepError> {
        let (name, bytes) = (self.object_name(&sealed), sealed.len() as u64);
        self.objects.put(&name, sealed.clone())?;
        self.index.put_manifest(id, &ManifestRow { name, bytes, sealed })?;
        Ok(bytes)
    }

    /// The manifest of a batch from whichever of its two copies is whole.
    pub(crate) fn manifest(
        &self,
        connection: &Connection,
        (id, batch): (i64, &BatchName),
    ) -> database::Result<Option<Manifest>> {
        let Some(row) = upkeep::manifest(connection, id)? else { return Ok(None) };
        Ok(self.whole_manifest(batch, &row).and_then(|sealed| self.opened(batch, &sealed)))
    }

    /// The bytes of a manifest from whichever of its two copies is whole.
    pub(crate) fn whole_manifest(&self, batch: &BatchName, row: &ManifestRow) -> Option<Vec<u8>> {
        let whole = |sealed: &Vec<u8>| {
            self.object_name(sealed) == row.name && self.opened(batch, sealed).is_some()
        };
        let kept = Some(row.sealed.clone()).filter(whole);
        kept.or_else(|| self.objects.left(&row.name, row.bytes).filter(whole))
    }

    fn opened(&self, batch: &BatchName, sealed: &[u8]) -> Option<Manifest> {
        let plain = self.notes.open(Place::Manifest(batch), sealed).ok()?;
        serde_json::from_slice(&plain).ok().filter(|manifest: &Manifest| manifest.format == FORMAT)
    }
}
