//! One centre's lake: a folder with its zones, its index and its keys.
//!
//! ```text
//! index.db            the structured zone: hubs, satellites, and where a patient's rows lie
//! keys.db             wrapped keys and links
//! raw/packs/          encrypted frames, documents and manifests, written once
//! curated/ consumer/  short-lived, encrypted, empty between requests
//! ```
//!
//! Beside the folder, unless they are elsewhere, lie the keys that `keys.db` is wrapped under:
//! `<folder>.keks`. No copy of the lake may hold them.

use crate::catalogue::{Catalogue, CatalogueError};
use crate::consumer::Consumer;
use crate::database::{Connection, DatabaseError, Databases};
use crate::index::{self, Index};
use crate::kek::Keks;
use crate::kek_file::FileKeks;
use crate::keys::{Kek, KeyError, Keys, read_while_rotated};
use crate::layout::Layout;
use crate::lookup::Lookup;
use crate::note::NoteKey;
use crate::objects::{OBJECT_DOMAIN, ObjectName, Objects};
use crate::place::{BucketError, Place};
use crate::zones::{ZoneError, Zones};
use aegle_model::{PatientId, RecordKey, RequestId, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
    /// The bucket cannot be used.
    #[error(transparent)]
    Bucket(#[from] BucketError),
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

/// Long work that was told to stop. It is taken up again when it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted; run it again to go on")]
pub struct Interrupted;

/// One centre's data. Every call blocks: from a tokio runtime, use `spawn_blocking`.
pub struct Lake {
    pub(crate) root: PathBuf,
    pub(crate) databases: Databases,
    pub(crate) keys: Keys,
    pub(crate) index: Index,
    pub(crate) lookup: Lookup,
    pub(crate) objects: Objects,
    pub(crate) notes: NoteKey,
    pub(crate) zones: Arc<Zones>,
    pub(crate) consumer: Consumer,
    layout: RwLock<Option<Arc<Layout>>>,
    stop: AtomicBool,
    mend: AtomicBool,
    /// The last erasure that this folder's analysts' tables are known to be made without.
    pub(crate) followed: AtomicI64,
    interrupted: Vec<RequestId>,
}

impl Lake {
    /// Opens the lake in a folder, making it when there is none, with its key-encryption keys in
    /// the [file beside it](Self::keks_beside). What a crash left in the curated and consumer zones
    /// is removed; rotations and erasures that were begun are finished.
    pub fn open(root: &Path, kek: &Kek) -> Result<Self, OpenError> {
        Self::open_with_keks(root, Arc::new(Self::keks_beside(root, kek)))
    }

    /// Opens the lake in a folder with key-encryption keys that are elsewhere.
    pub fn open_with_keks(root: &Path, keks: Arc<dyn Keks>) -> Result<Self, OpenError> {
        Self::open_at(&Place::folder(root), keks)
    }

    /// Opens the lake at a place, which may be shared by several processes on several machines.
    pub fn open_at(place: &Place, keks: Arc<dyn Keks>) -> Result<Self, OpenError> {
        let objects = Objects::at(place)?;
        Self::open_with(place, keks, objects)
    }

    /// The sealed file with the key-encryption keys of the lake in a folder.
    pub fn keks_beside(root: &Path, kek: &Kek) -> FileKeks {
        FileKeks::new(root.with_extension("keks"), kek)
    }

    pub(crate) fn open_with(
        place: &Place,
        keks: Arc<dyn Keks>,
        objects: Objects,
    ) -> Result<Self, OpenError> {
        let root = &place.folder;
        let failed = |source| OpenError::Io { folder: root.clone(), source };
        let databases = place.databases();
        let wrapped = Keys::open(&databases, keks)?;
        let index = Index::open(&databases)?;
        let (zones, interrupted) = Zones::open(root).map_err(failed)?;
        let lake = Self {
            root: root.clone(),
            notes: NoteKey::new(wrapped.naming()),
            keys: wrapped,
            index,
            lookup: Lookup::new(databases.clone()),
            databases,
            objects,
            zones,
            consumer: Consumer::default(),
            layout: RwLock::new(None),
            stop: AtomicBool::new(false),
            mend: AtomicBool::new(false),
            followed: AtomicI64::new(-1),
            interrupted,
        };
        lake.remove_backup_left().map_err(|error| failed(io::Error::other(error)))?;
        lake.take_up()?;
        lake.follow_erasures()?;
        Ok(lake)
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

    /// The name of an object with these bytes.
    pub(crate) fn object_name(&self, bytes: &[u8]) -> ObjectName {
        self.keys.naming().mac(OBJECT_DOMAIN, &[bytes])
    }

    /// The requests that a crash interrupted and nobody was told of, found when the lake was opened.
    pub fn interrupted(&self) -> &[RequestId] {
        &self.interrupted
    }

    /// Names a request in the consumer zone until it is [forgotten](Self::forget): after a crash in
    /// between it is among the [interrupted](Self::interrupted).
    pub fn remember(&self, request: RequestId) -> Result<(), ZoneError> {
        self.zones.remember(request)
    }

    /// Forgets a request: what became of it was told on.
    pub fn forget(&self, request: RequestId) -> Result<(), ZoneError> {
        self.zones.forget(request)
    }

    /// The catalogue of the data that is current now; none before the first ingest.
    pub fn catalogue(&self) -> Result<Option<Arc<Catalogue>>, LayoutError> {
        match self.current_layout() {
            Ok(layout) => Ok(Some(Arc::clone(&layout.catalogue))),
            Err(LayoutError::Empty) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// When each load was, oldest first: the times as of which a record differs.
    pub fn loads(&self) -> Result<Vec<Timestamp>, DatabaseError> {
        self.lookup.read(|connection| Ok(index::loads(connection)?.into_values().collect()))
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
        let read = || self.lookup.read(|keys| self.keys.record_key(keys, patient));
        read_while_rotated(read, |error| Some(error))
    }

    pub(crate) fn current_layout(&self) -> Result<Arc<Layout>, LayoutError> {
        self.lookup.read(|connection| self.layout(connection))
    }

    /// The layout that is current in the snapshot of `connection`. Parsed once per version, for a
    /// version never changes its content.
    pub(crate) fn layout(&self, connection: &Connection) -> Result<Arc<Layout>, LayoutError> {
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

/// Removes a folder if it is there.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(unix)]
pub(crate) fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
pub(crate) fn create_private(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}
