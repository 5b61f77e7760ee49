//! Makes a lake's folder from its backup. Everything is checked on the way.

use super::{MAGIC, PLACE, SNAPSHOT, is_object, place};
use crate::crypt::Cipher;
use crate::database::{self, Connection, DatabaseError, Databases};
use crate::index::{self, Named};
use crate::kek::{KekError, Keks, KeyEpoch};
use crate::keys::{self, KeyError, Keys};
use crate::lake::{create_private, remove_folder};
use crate::objects::{ObjectError, Objects};
use crate::stream::{self, StreamError};
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A lake that was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The height of the ledger that the backup was made at.
    pub height: u64,
    /// How many objects it holds.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A step of a restoration, for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreStep {
    /// Index and keys open; so many objects are to be checked and stored.
    Begun {
        /// How many.
        objects: u64,
    },
    /// An object was looked at, and stored if anybody had it.
    Object,
}

/// A lake that was not restored; its place is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("the folder `{}` is not empty; a lake is restored to an empty place only", .0.display())]
    NotEmpty(PathBuf),
    /// A file of the backup is not there.
    #[error("`{}` of the backup is missing; take another backup", .0.display())]
    Missing(PathBuf),
    /// A file of the backup is not what was written.
    #[error("`{}` of the backup was cut or altered; take another backup", .0.display())]
    Damaged(PathBuf),
    /// The backup was sealed under another key.
    #[error(
        "the backup is sealed under key epoch {0}, whose key is not here: restore the backup of the \
         keys that was made with it; if keys were rotated since, for an erasure perhaps, nobody can \
         read it any more"
    )]
    Epoch(KeyEpoch),
    /// A file cannot be used.
    #[error("could not use `{}`", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
    /// An object cannot be stored.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The object store cannot be used.
    #[error("could not make the lake's object store")]
    Store(#[from] object_store::Error),
    /// The keys cannot be used.
    #[error(transparent)]
    Key(KeyError),
    /// The databases cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<KeyError> for RestoreError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Kek(KekError::Gone(epoch)) => Self::Epoch(epoch),
            other => Self::Key(other),
        }
    }
}

/// Makes the folder `root` from the backup in `dir`; it appears whole or not at all.
pub fn restore(
    dir: &Path,
    root: &Path,
    keks: Arc<dyn Keks>,
    progress: &mut dyn FnMut(&RestoreStep),
) -> Result<Restored, RestoreError> {
    if fs::read_dir(root).is_ok_and(|mut found| found.next().is_some()) {
        return Err(RestoreError::NotEmpty(root.to_owned()));
    }
    let beside = root.with_extension("partial");
    remove(&beside)?;
    create_private(&beside.join("raw")).map_err(failed(&beside))?;
    let restored = fill(dir, &beside, keks, progress);
    if restored.is_err() {
        remove(&beside)?;
        return restored;
    }
    if let Err(error) = fs::remove_dir(root)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(failed(root)(error));
    }
    fs::rename(&beside, root).map_err(failed(root))?;
    sync(root.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    restored
}

fn fill(
    dir: &Path,
    root: &Path,
    keks: Arc<dyn Keks>,
    progress: &mut dyn FnMut(&RestoreStep),
) -> Result<Restored, RestoreError> {
    let height = open_snapshot(dir, root, &*keks)?;
    for name in ["index.db", "keys.db"] {
        database::use_copy(&root.join(name))?;
    }
    let store = Objects::in_folder(&root.join("raw"))?;
    let wrapped = Keys::open(&Databases::Files(root.to_owned()), keks)?;
    let index = Connection::open_copy(&root.join("index.db"))?;
    // These copies of the objects nobody has looked at yet.
    index.execute("DELETE FROM scrub", [])?;
    let named = index::named(&index, false)?;
    drop(index);
    let mut restored = Restored { height, objects: named.len() as u64, bytes: 0 };
    progress(&RestoreStep::Begun { objects: restored.objects });
    for Named { name, bytes, lost } in named {
        progress(&RestoreStep::Object);
        let path = place(dir, &name);
        if !is_object(&path, wrapped.naming(), &name, bytes).map_err(failed(&path))? {
            if lost {
                continue; // Nobody had it when the backup was made, and records say so.
            }
            let wrong = if path.exists() { RestoreError::Damaged } else { RestoreError::Missing };
            return Err(wrong(path));
        }
        store.put(&name, fs::read(&path).map_err(failed(&path))?)?;
        restored.bytes += bytes;
    }
    sync(root)?;
    Ok(restored)
}

/// Puts index and keys into `root`; the height that the snapshot was made at.
fn open_snapshot(dir: &Path, root: &Path, keks: &dyn Keks) -> Result<u64, RestoreError> {
    let path = dir.join(SNAPSHOT);
    let damaged = || RestoreError::Damaged(path.clone());
    let mut file = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(RestoreError::Missing(path));
        }
        Err(error) => return Err(failed(&path)(error)),
    };
    let mut head = vec![0; MAGIC.len() + 8 + 2];
    file.read_exact(&mut head).map_err(|_| damaged())?;
    let (height, length) = numbers(&head).ok_or_else(damaged)?;
    let mut wrapped = vec![0; usize::from(length)];
    file.read_exact(&mut wrapped).map_err(|_| damaged())?;
    head.extend_from_slice(&wrapped);
    let (epoch, sealed) = keys::split(&wrapped).map_err(|_| damaged())?;
    let key = match keks.unwrap(epoch, PLACE, sealed) {
        Ok(key) => key,
        Err(KekError::Altered) => return Err(damaged()),
        Err(error) => return Err(KeyError::from(error).into()),
    };
    let mut parts = Parts::new(root).map_err(failed(root))?;
    match stream::open(&Cipher::new(&key), &head, file, &mut parts) {
        Ok(()) => {}
        Err(StreamError::Altered(_)) => return Err(damaged()),
        Err(StreamError::Io(error)) => return Err(failed(root)(error)),
    }
    if parts.end().map_err(failed(root))? { Ok(height) } else { Err(damaged()) }
}

/// Height, and length of the wrapped key.
fn numbers(head: &[u8]) -> Option<(u64, u16)> {
    let rest = head.strip_prefix(&MAGIC)?;
    let (height, length) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*height), u16::from_le_bytes(length.try_into().ok()?)))
}

/// Takes a snapshot apart: the length of the index, the index, the keys.
struct Parts {
    length: Vec<u8>,
    index: File,
    keys: File,
    written: u64,
}

impl Parts {
    fn new(root: &Path) -> io::Result<Self> {
        let make = |name| File::create_new(root.join(name));
        Ok(Self {
            length: Vec::new(),
            index: make("index.db")?,
            keys: make("keys.db")?,
            written: 0,
        })
    }

    /// How many bytes of the index are to come; none before its length is known.
    fn left(&self) -> Option<u64> {
        let length = u64::from_le_bytes(self.length.as_slice().try_into().ok()?);
        Some(length.saturating_sub(self.written))
    }

    /// Whether there was a whole index. Both are on disk then.
    fn end(self) -> io::Result<bool> {
        self.index.sync_all()?;
        self.keys.sync_all()?;
        Ok(self.left() == Some(0))
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left() {
            None => {
                let taken = bytes.len().min(8 - self.length.len());
                self.length.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
            Some(0) => self.keys.write(bytes),
            Some(left) => {
                let taken = usize::try_from(left).unwrap_or(bytes.len()).min(bytes.len());
                let written = self.index.write(&bytes[..taken])?;
                self.written += written as u64;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn remove(folder: &Path) -> Result<(), RestoreError> {
    remove_folder(folder).map_err(failed(folder))
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> RestoreError {
    move |source| RestoreError::Io { path: path.to_owned(), source }
}
