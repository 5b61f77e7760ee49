//! One centre's lake: a folder with its zones, its index and its keys.
//!
//! ```text
//! index.db            the structured zone: where a patient's rows lie, and which are current
//! keys.db             wrapped keys and links; back it up apart from the rest
//! raw/packs/          encrypted frames, written once
//! raw/manifests/      what each batch was read from, and how to bring it again
//! curated/ consumer/  short-lived, encrypted, empty between requests
//! ```

use crate::catalogue::{Catalogue, CatalogueError};
use crate::database::DatabaseError;
use crate::index::{self, Index};
use crate::keys::{Kek, KeyError, Keys};
use crate::layout::Layout;
use crate::lookup::{KEYS, Lookup};
use crate::note::NoteKey;
use crate::objects::{ObjectName, Objects};
use crate::zones::Zones;
use aegle_model::{PatientId, RecordKey, RequestId};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Under which packs are named.
pub(crate) const PACK_DOMAIN: &str = "aegle lake pack v1";

/// A lake that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder of the lake cannot be used.
    #[error("could not open the lake in `{}`; check that the folder can be written", .folder.display())]
    Io {
        /// The lake's folder.
        folder: PathBuf,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
    /// The object store cannot be used.
    #[error("could not open the lake's object store")]
    Store(#[from] object_store::Error),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

/// What is known of the current catalogue.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Nothing was ingested yet.
    #[error("the lake is empty; ingest a source first")]
    Empty,
    /// The stored catalogue cannot be read.
    #[error("the stored catalogue cannot be read; restore the lake's index from a backup")]
    Damaged(#[from] CatalogueError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

impl From<rusqlite::Error> for LayoutError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error.into())
    }
}

/// Long work that was told to stop. It is taken up again when it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted; run it again to go on")]
pub struct Interrupted;

/// One centre's data. Every call blocks: from a tokio runtime, use `spawn_blocking`.
pub struct Lake {
    pub(crate) root: PathBuf,
    pub(crate) keys: Keys,
    pub(crate) index: Index,
    pub(crate) lookup: Lookup,
    pub(crate) objects: Objects,
    pub(crate) manifests: Objects,
    pub(crate) notes: NoteKey,
    pub(crate) zones: Zones,
    layout: RwLock<Option<Arc<Layout>>>,
    stop: AtomicBool,
    mend: AtomicBool,
    interrupted: Vec<RequestId>,
}

impl Lake {
    /// Opens the lake in a folder, making it when there is none. What a crash left in the curated
    /// and consumer zones is removed.
    pub fn open(root: &Path, kek: &Kek) -> Result<Self, OpenError> {
        let raw = root.join("raw");
        let failed = |source| OpenError::Io { folder: root.to_owned(), source };
        create_private(root).and_then(|()| create_private(&raw)).map_err(failed)?;
        let objects = Objects::in_folder(&raw)?;
        Self::open_with(root, kek, objects)
    }

    pub(crate) fn open_with(root: &Path, kek: &Kek, objects: Objects) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: root.to_owned(), source };
        let (index_path, keys_path) = (root.join("index.db"), root.join("keys.db"));
        let keys = Keys::open(&keys_path, kek)?;
        let index = Index::open(&index_path)?;
        let (zones, interrupted) = Zones::open(root).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
            index,
            lookup: Lookup::new(index_path, keys_path),
            notes: NoteKey::new(keys.naming()),
            manifests: objects.beside("manifests"),
            objects,
            keys,
            zones,
            layout: RwLock::new(None),
            stop: AtomicBool::new(false),
            mend: AtomicBool::new(false),
            interrupted,
        })
    }

    /// Ends ingests and scrubs at their next step, also those that begin later.
    pub fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether long work may go on.
    pub(crate) fn go_on(&self) -> Result<(), Interrupted> {
        if self.stop.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }

    /// Whether a read has found damage since this was last asked.
    pub fn wants_mending(&self) -> bool {
        self.mend.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn call_mender(&self) {
        self.mend.store(true, Ordering::Relaxed);
    }

    /// The requests that a crash interrupted, found when the lake was opened.
    pub fn interrupted(&self) -> &[RequestId] {
        &self.interrupted
    }

    /// The catalogue of the data that is current now; none before the first ingest.
    pub fn catalogue(&self) -> Result<Option<Arc<Catalogue>>, LayoutError> {
        match self.current_layout() {
            Ok(layout) => Ok(Some(Arc::clone(&layout.catalogue))),
            Err(LayoutError::Empty) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the record key of a patient, in place of the one that was there.
    pub fn put_record_key(&self, patient: PatientId, key: &RecordKey) -> Result<(), KeyError> {
        self.keys.put_record_key(patient, key)
    }

    /// The record key of a patient; made now if there is none. Two who ask at once get the same.
    pub fn record_key_or_new(&self, patient: PatientId) -> Result<RecordKey, KeyError> {
        self.keys.record_key_or_new(patient)
    }

    /// The record key of a patient, if this centre holds it.
    pub fn record_key(&self, patient: PatientId) -> Result<Option<RecordKey>, KeyError> {
        self.lookup.read(|connection| self.keys.record_key(connection, KEYS, patient))
    }

    /// The name of a pack with these bytes.
    pub(crate) fn pack_name(&self, pack: &[u8]) -> ObjectName {
        self.keys.naming().mac(PACK_DOMAIN, &[pack])
    }

    pub(crate) fn current_layout(&self) -> Result<Arc<Layout>, LayoutError> {
        self.lookup.read(|connection| self.layout(connection))
    }

    /// The layout that is current in the snapshot of `connection`. Parsed once per version, for a
    /// version never changes its content.
    pub(crate) fn layout(
        &self,
        connection: &rusqlite::Connection,
    ) -> Result<Arc<Layout>, LayoutError> {
        let version = index::state(connection)?.ok_or(LayoutError::Empty)?.catalogue;
        let known = self.layout.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.catalogue.version() == version) {
            return Ok(known);
        }
        let text = index::catalogue_text(connection, version)?.ok_or(LayoutError::Empty)?;
        let layout = Arc::new(Layout::new(Catalogue::parse(&text)?));
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&layout));
        Ok(layout)
    }
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}
