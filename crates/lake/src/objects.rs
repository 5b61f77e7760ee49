//! The raw zone's objects: written once, named by a keyed hash of their content.

use crate::database::hold;
use crate::lake::{OpenError, create_private};
use crate::place::Place;
use crate::remote;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt, PutMode};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Under which every object is named.
pub(crate) const OBJECT_DOMAIN: &str = "aegle lake pack v1";

/// The name of an object.
pub(crate) type ObjectName = [u8; 32];

/// What is wrong with an object. Names are keyed hashes and tell nothing about anybody.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object is not in the store.
    #[error("object {0} of the lake is missing; `aegle lake scrub` repairs it")]
    Missing(String),
    /// The object is shorter than it was written.
    #[error("object {0} of the lake is cut short; `aegle lake scrub` repairs it")]
    Cut(String),
    /// The object is not what was written.
    #[error("object {0} of the lake was altered; `aegle lake scrub` repairs it")]
    Altered(String),
    /// The disk holds no more.
    #[error(
        "could not write an object of the lake: the disk is full; free some space and run it again"
    )]
    Full(#[source] object_store::Error),
    /// The store failed otherwise.
    #[error("could not use object {name} of the lake")]
    Store {
        /// The object's name.
        name: String,
        /// What the store says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The folder of the objects in the store.
const FOLDER: &str = "packs";

/// How many bytes of an object are read at once when all of it is.
const PIECE: u64 = 1 << 20;

/// How many objects stay open between reads.
const OPEN_MAX: usize = 128;

/// Objects in a store.
///
/// The store is asynchronous, the lake is not: calls block.
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Where the objects lie when the store is a folder: it does not sync by itself.
    local: Option<PathBuf>,
    /// Whether the store puts what is absent only, when it is asked to.
    creates: bool,
    open: Mutex<BTreeMap<ObjectName, Arc<File>>>,
    /// The folders, by the first byte of what lies in them, that this process knows to be on disk.
    kept: Mutex<BTreeSet<u8>>,
}

impl Objects {
    /// Objects in a folder, which is made when it is not there.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, object_store::Error> {
        Ok(Self::new(Arc::new(LocalFileSystem::new_with_prefix(folder)?), Some(folder.to_owned())))
    }

    /// The objects of the lake at a place.
    pub(crate) fn at(place: &Place) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: place.folder.clone(), source };
        create_private(&place.folder).map_err(failed)?;
        if let Some(bucket) = &place.objects {
            let creates = bucket.put_if_absent;
            return Ok(Self { creates, ..Self::new(bucket.open()?, None) });
        }
        let raw = place.folder.join("raw");
        create_private(&raw).map_err(failed)?;
        Ok(Self::in_folder(&raw)?)
    }

    pub(crate) fn new(store: Arc<dyn ObjectStore>, local: Option<PathBuf>) -> Self {
        Self { store, local, creates: true, open: Mutex::default(), kept: Mutex::default() }
    }

    /// A folder is used by the calling thread; a server is waited for.
    fn wait<F: Future>(&self, work: F) -> F::Output {
        if self.local.is_some() { block_on(work) } else { remote::wait(work) }
    }

    /// Stores an object. It is on disk when this returns. What is there is written over, at a server only
    /// when it was damaged.
    pub(crate) fn put(&self, name: &ObjectName, content: Vec<u8>) -> Result<(), ObjectError> {
        let (place, content) = (location(name), Bytes::from(content));
        let Some(folder) = &self.local else { return self.put_remote(name, content) };
        let path = folder.join(place.as_ref());
        let is_kept =
            path.parent().is_some_and(Path::is_dir) && hold(&self.kept).contains(&name[0]);
        self.wait(self.store.put(&place, content.into())).map_err(|error| failed(name, error))?;
        self.forget(name);
        // The file and its folder, and the one above if that may not know of the folder.
        let synced = path.ancestors().take(if is_kept { 2 } else { 3 }).try_for_each(sync);
        synced.map_err(|source| ObjectError::Store {
            name: hex::encode(name),
            source: source.into(),
        })?;
        hold(&self.kept).insert(name[0]);
        Ok(())
    }

    fn put_remote(&self, name: &ObjectName, content: Bytes) -> Result<(), ObjectError> {
        let place = location(name);
        if self.creates {
            let create =
                self.store.put_opts(&place, content.clone().into(), PutMode::Create.into());
            match self.wait(create) {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(failed(name, error)),
            }
        }
        match self.wait(async { self.store.get(&place).await?.bytes().await }) {
            Ok(there) if there == content => return Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(name, error)),
        }
        let put = self.wait(self.store.put(&place, content.into()));
        put.map(|_| ()).map_err(|error| failed(name, error))
    }

    /// Reads `length` bytes from `start` of an object that was written with `size` bytes.
    pub(crate) fn read(
        &self,
        name: &ObjectName,
        (start, length): (u64, usize),
        size: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        if self.local.is_none() {
            return self.read_remote(name, start..start + length as u64, size);
        }
        let file = self.opened(name, size)?;
        let mut bytes = vec![0; length];
        read_at(&file, &mut bytes, start).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => ObjectError::Cut(hex::encode(name)),
            _ => ObjectError::Store { name: hex::encode(name), source: source.into() },
        })?;
        Ok(bytes)
    }

    fn read_remote(
        &self,
        name: &ObjectName,
        range: Range<u64>,
        size: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let length = range.end - range.start;
        let options = GetOptions::new().with_range(Some(range));
        let read = self.wait(async {
            let found = self.store.get_opts(&location(name), options).await?;
            Ok((found.meta.size, found.bytes().await?))
        });
        match read {
            Ok((found, _)) if found != size => Err(other_size(name, found, size)),
            Ok((_, bytes)) if bytes.len() as u64 == length => Ok(bytes.to_vec()),
            Ok(_) => Err(ObjectError::Cut(hex::encode(name))),
            // A range that begins after the end of an object that was cut.
            Err(error) => match self.wait(self.store.head(&location(name))) {
                Ok(found) if found.size != size => Err(other_size(name, found.size, size)),
                _ => Err(failed(name, error)),
            },
        }
    }

    /// Reads the whole of an object that was written with `size` bytes, from where it lies now.
    pub(crate) fn each(
        &self,
        name: &ObjectName,
        size: u64,
        mut piece: impl FnMut(&[u8]),
    ) -> Result<(), ObjectError> {
        // A file that stays open is still there for this process when its name is gone.
        self.forget(name);
        let mut start = 0;
        while start < size {
            let length = usize::try_from(PIECE.min(size - start)).expect("a piece is small");
            piece(&self.read(name, (start, length), size)?);
            start += length as u64;
        }
        self.forget(name);
        Ok(())
    }

    /// What is left of an object that should have `size` bytes; none when nothing can be read.
    pub(crate) fn left(&self, name: &ObjectName, size: u64) -> Option<Vec<u8>> {
        self.forget(name);
        let bytes = self.wait(self.store.get_range(&location(name), 0..size)).ok()?;
        Some(bytes.to_vec())
    }

    /// Opens the object again the next time: what was found of it is no longer so.
    pub(crate) fn forget(&self, name: &ObjectName) {
        hold(&self.open).remove(name);
    }

    fn opened(&self, name: &ObjectName, size: u64) -> Result<Arc<File>, ObjectError> {
        if let Some(opened) = hold(&self.open).get(name) {
            return Ok(Arc::clone(opened));
        }
        let found =
            self.wait(self.store.get(&location(name))).map_err(|error| failed(name, error))?;
        if found.meta.size != size {
            return Err(other_size(name, found.meta.size, size));
        }
        let GetResultPayload::File(file, _) = found.payload else {
            let source = "the store of a folder yields files".into();
            return Err(ObjectError::Store { name: hex::encode(name), source });
        };
        let file = Arc::new(file);
        let mut open = hold(&self.open);
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(*name, Arc::clone(&file));
        Ok(file)
    }

    /// Deletes every object that is not in `known`, and what a killed writer left behind.
    pub(crate) fn sweep(&self, known: &BTreeSet<ObjectName>) -> Result<(), ObjectError> {
        let whole = |error| failed_at(FOLDER.to_owned(), error);
        for stray in self.strays(known)? {
            self.wait(self.store.delete(&stray)).map_err(whole)?;
        }
        let Some(local) = &self.local else { return Ok(()) };
        remove_unfinished(&local.join(FOLDER))
            .map_err(|source| ObjectError::Store { name: FOLDER.to_owned(), source: source.into() })
    }

    /// Every object that is not in `known`.
    pub(crate) fn strays(
        &self,
        known: &BTreeSet<ObjectName>,
    ) -> Result<Vec<Location>, ObjectError> {
        let known: BTreeSet<Location> = known.iter().map(location).collect();
        let folder = Location::from(FOLDER);
        let listed = self.store.list(Some(&folder)).map_ok(|meta| meta.location);
        let found: Result<Vec<Location>, _> = self.wait(listed.try_collect());
        let mut found = found.map_err(|error| failed_at(FOLDER.to_owned(), error))?;
        found.retain(|location| !known.contains(location));
        Ok(found)
    }
}

fn other_size(name: &ObjectName, found: u64, size: u64) -> ObjectError {
    let what = if found < size { ObjectError::Cut } else { ObjectError::Altered };
    what(hex::encode(name))
}

fn location(name: &ObjectName) -> Location {
    let name = hex::encode(name);
    Location::from_iter([FOLDER, &name[..2], &name])
}

fn failed(name: &ObjectName, error: object_store::Error) -> ObjectError {
    failed_at(hex::encode(name), error)
}

fn failed_at(name: String, error: object_store::Error) -> ObjectError {
    match error {
        object_store::Error::NotFound { .. } => ObjectError::Missing(name),
        error if is_disk_full(&error) => ObjectError::Full(error),
        error => ObjectError::Store { name, source: error.into() },
    }
}

fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| full.contains(&error.kind()))
}

/// The local store writes to `<name>#<n>` first and renames; a killed writer leaves that behind,
/// and the store does not list it.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    let Some(entries) = found(std::fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_unfinished(&entry.path())?;
        } else if entry.file_name().to_string_lossy().contains('#') {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(not(unix))]
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> (tempfile::TempDir, Objects) {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(folder.path()).unwrap();
        (folder, objects)
    }

    fn path(folder: &tempfile::TempDir, name: &ObjectName) -> PathBuf {
        folder.path().join(location(name).as_ref())
    }

    #[test]
    fn an_object_is_read_as_it_was_written() {
        let (_folder, objects) = objects();
        objects.put(&[1; 32], b"0123456789".to_vec()).unwrap();
        assert_eq!(objects.read(&[1; 32], (3, 4), 10).unwrap(), b"3456");
        assert_eq!(objects.read(&[1; 32], (0, 10), 10).unwrap(), b"0123456789");
    }

    #[test]
    fn a_missing_or_cut_object_is_named() {
        let (folder, objects) = objects();
        let name = hex::encode([1; 32]);
        let error = |objects: &Objects| objects.read(&[1; 32], (3, 4), 10).unwrap_err();
        assert!(matches!(error(&objects), ObjectError::Missing(missing) if missing == name));
        objects.put(&[1; 32], b"01234".to_vec()).unwrap();
        assert!(matches!(error(&objects), ObjectError::Cut(cut) if cut == name));
        objects.put(&[1; 32], b"0123456789".to_vec()).unwrap();
        objects.read(&[1; 32], (3, 4), 10).unwrap();
        File::options().write(true).open(path(&folder, &[1; 32])).unwrap().set_len(5).unwrap();
        assert!(matches!(error(&objects), ObjectError::Cut(cut) if cut == name));
    }

    #[test]
    fn a_sweep_keeps_what_is_known_and_nothing_else() {
        let (folder, objects) = objects();
        objects.sweep(&BTreeSet::new()).unwrap();
        objects.put(&[1; 32], b"known".to_vec()).unwrap();
        objects.put(&[2; 32], b"stray".to_vec()).unwrap();
        let unfinished = format!("{}#1", path(&folder, &[1; 32]).display());
        std::fs::write(&unfinished, b"kno").unwrap();
        objects.sweep(&BTreeSet::from([[1; 32]])).unwrap();
        assert!(path(&folder, &[1; 32]).exists());
        assert!(!path(&folder, &[2; 32]).exists());
        assert!(!Path::new(&unfinished).exists());
    }
}
