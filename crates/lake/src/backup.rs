//! Backups of a lake: a folder with every object once, and one sealed snapshot of index and keys.
//!
//! ```text
//! objects/ab/ab…   the objects of all batches that are complete, as they are in the lake: encrypted
//! snapshot         index.db and keys.db of one moment, sealed under the key-encryption key
//! ```
//!
//! The snapshot is taken while ingests and reads go on: first the index, then the keys, so that
//! there is a key for whatever the index names. Objects of complete batches are never changed or
//! removed, so they can be copied afterwards. A later run copies what is new and replaces the
//! snapshot; both are read back before it counts. The snapshot is sealed under the key of an epoch, so
//! a rotation, and with it every erasure, makes all older snapshots noise. Absent on purpose: the
//! key-encryption keys.

mod restore;

use crate::crypt::{self, Cipher, MacKey};
use crate::database::{self, Connection, DatabaseError, Half};
use crate::index::{self, Named};
use crate::kek::KeyEpoch;
use crate::keys::{self, KeyError};
use crate::lake::{Lake, remove_folder};
use crate::objects::{OBJECT_DOMAIN, ObjectError, ObjectName};
use crate::stream::{self, StreamError};
pub use restore::{RestoreError, RestoreStep, Restored, restore};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 16] = *b"aegle lake bak1\n";
const SNAPSHOT: &str = "snapshot";
const OBJECTS: &str = "objects";
/// What the snapshot's key is bound to.
const PLACE: &[u8] = b"backup";
/// How much of an object is held in memory.
const AT_ONCE: usize = 4 << 20;

/// What a backup holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// The height of the ledger that the caller gave.
    pub height: u64,
    /// The key epoch without whose key nothing of it can be read.
    pub epoch: KeyEpoch,
    /// How many objects it holds.
    pub objects: u64,
    /// How many of them were copied now.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A step of a backup, for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupStep {
    /// Index and keys of one moment are aside; they name so many objects.
    Taken {
        /// How many objects.
        objects: u64,
    },
    /// An object is in the backup and is what it should be.
    Object {
        /// Bytes that were copied; zero when it was there.
        copied: u64,
    },
    /// The snapshot is in the backup and opens.
    Sealed,
}

/// A backup that was not made. What the folder held before is still there.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Somebody else writes to the folder.
    #[error("another backup into `{}` is running; wait for its end", .0.display())]
    Busy(PathBuf),
    /// Somebody else backs up the same lake.
    #[error("another backup of the lake in `{}` is running; wait for its end", .0.display())]
    LakeBusy(PathBuf),
    /// A file of the backup cannot be used.
    #[error("could not use `{}`", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
    /// The keys were rotated meanwhile.
    #[error(
        "the keys of the lake were rotated meanwhile, so this backup would be noise; run it again"
    )]
    Rotated,
    /// What was written does not read back.
    #[error("`{}` does not read back as it was written; check the disk and run it again", .0.display())]
    Unreadable(PathBuf),
    /// An object of the lake is missing, cut or altered.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The keys cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The databases cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Index and keys of one moment.
struct Taken {
    /// Removed in the end.
    folder: PathBuf,
    /// Held until then: another backup of the lake would use the same folder.
    _alone: File,
    epoch: KeyEpoch,
    key: crypt::Secret,
    /// What stands in front of the sealed bytes and is bound to them.
    head: Vec<u8>,
    objects: Vec<Named>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // What is left is removed when the lake is opened next, by an erasure, or by the next backup.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Lake {
    /// Adds to the backup in a folder what is new. `height` is a height of the ledger that was
    /// reached before: whatever the ledger had told the lake by then is in the backup.
    pub fn back_up(
        &self,
        dir: &Path,
        height: u64,
        progress: &mut dyn FnMut(&BackupStep),
    ) -> Result<BackupReport, BackupError> {
        fs::create_dir_all(dir.join(OBJECTS)).map_err(failed(dir))?;
        let _alone = lock(&dir.join("lock"))?.ok_or_else(|| BackupError::Busy(dir.to_owned()))?;
        let taken = self.take(height)?;
        let objects = taken.objects.len() as u64;
        progress(&BackupStep::Taken { objects });
        let mut report = BackupReport { height, epoch: taken.epoch, objects, copied: 0, bytes: 0 };
        for object in &taken.objects {
            let copied = self.copy(dir, object).or_else(|error| match error {
                BackupError::Object(error) if object.may_lack(&error) => Ok(0),
                error => Err(error),
            })?;
            report.copied += u64::from(copied > 0);
            report.bytes += copied;
            progress(&BackupStep::Object { copied });
        }
        put_snapshot(dir, &taken)?;
        if self.keys.change(keys::current)? != taken.epoch {
            return Err(BackupError::Rotated);
        }
        progress(&BackupStep::Sealed);
        Ok(report)
    }

    /// Removes what a backup that was killed has left, which are rows of the index that an erasure
    /// has to reach. Nothing while a backup is running: it removes them itself.
    pub(crate) fn remove_backup_left(&self) -> Result<(), BackupError> {
        if !self.backup_left().exists() {
            return Ok(());
        }
        match self.lock_backup()? {
            Some(_alone) => remove(&self.backup_left()),
            None => Ok(()),
        }
    }

    fn backup_left(&self) -> PathBuf {
        self.root.join("backup.partial")
    }

    fn lock_backup(&self) -> Result<Option<File>, BackupError> {
        lock(&self.root.join("backup.lock"))
    }

    /// Copies index and keys aside.
    fn take(&self, height: u64) -> Result<Taken, BackupError> {
        let alone = self.lock_backup()?.ok_or_else(|| BackupError::LakeBusy(self.root.clone()))?;
        let _no_rotation = self.lock_keys()?;
        let folder = self.backup_left();
        remove(&folder)?;
        fs::create_dir(&folder).map_err(failed(&folder))?;
        self.databases.copy(Half::Index, &index::SCHEMA, &folder)?;
        self.databases.copy(Half::Keys, keys::SCHEMA, &folder)?;
        let epoch = self.keys.change(keys::current)?;
        let key = crypt::random_secret();
        let wrapped = self.keys.wrap(epoch, PLACE, &key)?;
        let length = u16::try_from(wrapped.len()).map_err(|_| KeyError::Altered)?;
        let head = [&MAGIC[..], &height.to_le_bytes(), &length.to_le_bytes(), &wrapped].concat();
        let objects = index::named(&Connection::open_copy(&folder.join("index.db"))?, false)?;
        Ok(Taken { folder, _alone: alone, epoch, key, head, objects })
    }

    /// Copies an object unless it is there; how many bytes that took.
    fn copy(&self, dir: &Path, object: &Named) -> Result<u64, BackupError> {
        let Named { name, bytes, .. } = object;
        let bytes = *bytes;
        let path = place(dir, name);
        let naming = self.keys.naming();
        if is_object(&path, naming, name, bytes).map_err(failed(&path))? {
            return Ok(0);
        }
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let beside = path.with_extension("partial");
        let mut file = File::create(&beside).map_err(failed(&beside))?;
        let mut start = 0;
        while start < bytes {
            let length = usize::try_from(bytes - start).unwrap_or(AT_ONCE).min(AT_ONCE);
            let piece = self.objects.read(name, (start, length), bytes)?;
            file.write_all(&piece).map_err(failed(&beside))?;
            start += length as u64;
        }
        file.sync_all().map_err(failed(&beside))?;
        if !is_object(&beside, naming, name, bytes).map_err(failed(&beside))? {
            return Err(ObjectError::Altered(hex::encode(name)).into());
        }
        put_in_place(&beside, &path)?;
        Ok(bytes)
    }
}

/// Seals the snapshot, reads it back, and puts it in the place of the one before.
fn put_snapshot(dir: &Path, taken: &Taken) -> Result<(), BackupError> {
    let (path, beside) = (dir.join(SNAPSHOT), dir.join(format!("{SNAPSHOT}.partial")));
    let cipher = Cipher::new(&taken.key);
    let mut file = File::create(&beside).map_err(failed(&beside))?;
    let plain = || plain(&taken.folder).map_err(failed(&taken.folder));
    let sealed = file
        .write_all(&taken.head)
        .and_then(|()| {
            stream::seal(&cipher, &taken.head, plain().map_err(io::Error::other)?, &mut file)
        })
        .and_then(|()| file.sync_all());
    sealed.map_err(failed(&beside))?;
    let mut written = File::open(&beside).map_err(failed(&beside))?;
    let mut head = vec![0; taken.head.len()];
    written.read_exact(&mut head).map_err(failed(&beside))?;
    let mut same = Same(plain()?);
    match stream::open(&cipher, &head, written, &mut same) {
        Ok(()) if head == taken.head && same.ended().map_err(failed(&beside))? => {}
        Err(StreamError::Io(error)) => return Err(failed(&beside)(error)),
        _ => return Err(BackupError::Unreadable(beside)),
    }
    put_in_place(&beside, &path)
}

/// What the snapshot holds: the length of the index, the index, the keys.
fn plain(folder: &Path) -> io::Result<impl Read + use<>> {
    let index = File::open(folder.join("index.db"))?;
    let length = index.metadata()?.len().to_le_bytes();
    Ok(io::Cursor::new(length).chain(index).chain(File::open(folder.join("keys.db"))?))
}

/// Takes only the bytes that it reads elsewhere.
struct Same<R>(R);

impl<R: Read> Same<R> {
    fn ended(&mut self) -> io::Result<bool> {
        Ok(self.0.read(&mut [0])? == 0)
    }
}

impl<R: Read> Write for Same<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut expected = vec![0; bytes.len()];
        self.0.read_exact(&mut expected)?;
        if expected == bytes {
            Ok(bytes.len())
        } else {
            Err(io::Error::other("other bytes than were written"))
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn place(dir: &Path, name: &ObjectName) -> PathBuf {
    let name = hex::encode(name);
    dir.join(OBJECTS).join(&name[..2]).join(name)
}

/// Whether a file is there and is the object of this name, byte by byte.
fn is_object(path: &Path, naming: &MacKey, name: &ObjectName, bytes: u64) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != bytes {
        return Ok(false);
    }
    let (mut context, mut piece) = (naming.context(OBJECT_DOMAIN), vec![0; AT_ONCE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(crypt::tag(context.sign()) == *name),
            length => context.update(&piece[..length]),
        }
    }
}

fn put_in_place(beside: &Path, path: &Path) -> Result<(), BackupError> {
    fs::rename(beside, path).map_err(failed(path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// Takes a lock; nothing when somebody else has it.
fn lock(path: &Path) -> Result<Option<File>, BackupError> {
    database::try_lock(path).map_err(failed(path))
}

fn remove(folder: &Path) -> Result<(), BackupError> {
    remove_folder(folder).map_err(failed(folder))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
