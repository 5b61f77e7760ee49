//! Key-encryption keys in one small sealed file.
//!
//! The file is `magic 16 ‖ salt 32 ‖ AES-256-GCM(keys) ‖ tag 16`, each key `epoch u32 ‖ key 32`,
//! little endian. It is sealed under a key that follows from the centre's secret and the salt,
//! which is fresh for every writing, so the one nonce never meets a second text. The head is
//! authenticated.
//!
//! A destroyed key must be nowhere. So there is one file, replaced as a whole; the one before is
//! overwritten where it lay before its name is given up, also when a crash came in between, and so is
//! one that never took its place. File systems that write elsewhere (copy on write, flash) may keep the
//! old bytes for a while, and they open with the centre's secret: such a disk needs encryption of its
//! own.

use crate::crypt::{self, Altered, Cipher, MacKey, NonceBytes, Secret};
use crate::kek::{KekError, Keks, KeyEpoch};
use crate::keys::Kek;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

const MAGIC: [u8; 16] = *b"aegle kekfile 1\n";
const SALT: usize = 32;
const HEAD: usize = MAGIC.len() + SALT;
/// An epoch and its key.
const ENTRY: usize = 4 + 32;

/// The nonce of a key that seals exactly one text.
const ONCE: NonceBytes = [0; 12];

/// Key-encryption keys in a file that is sealed under the centre's secret.
///
/// Several processes may use one file. Each reads it again when it meets an epoch that it does not know
/// and, while there are more keys than one, when the file is not the one that was read: any but the
/// newest may be destroyed by somebody else.
pub struct FileKeks {
    path: PathBuf,
    sealing: MacKey,
    known: RwLock<Known>,
}

/// The keys that were in the file when it was read last, ready for use.
#[derive(Default)]
struct Known {
    ciphers: BTreeMap<KeyEpoch, Arc<Cipher>>,
    /// Of the file before it was read.
    stamp: Option<Stamp>,
}

/// Tells a file from those that were in its place before: its inode, and when that changed.
type Stamp = ((u64, u64), (i64, i64));

/// The keys in the clear, while they are handled.
type Plain = BTreeMap<KeyEpoch, Secret>;

impl FileKeks {
    /// The keys in this file, which need not be there yet.
    pub fn new(path: PathBuf, secret: &Kek) -> Self {
        Self { path, sealing: MacKey::new(secret.as_bytes()), known: RwLock::default() }
    }

    /// All keys in the clear, to be sealed and kept elsewhere.
    pub fn export(&self) -> Result<Zeroizing<Vec<u8>>, KekError> {
        Ok(encode(&self.read()?.unwrap_or_default()))
    }

    /// Makes the file from what was [exported](Self::export); refuses when there is one.
    pub fn import(&self, exported: &[u8]) -> Result<(), KekError> {
        let plain = decode(exported).filter(|plain| !plain.is_empty()).ok_or(KekError::Altered)?;
        let _alone = self.lock()?;
        if self.read()?.is_some() {
            return Err(KekError::Exists(self.path.clone()));
        }
        self.replace(&plain)
    }

    /// Destroys the file, overwritten where it lies, for another one holds the same keys and what is
    /// destroyed there would stay here. Whether they are two files: one alone is kept. Who is killed
    /// meanwhile does it again.
    pub fn give_way_to(&self, heir: &Self) -> Result<bool, KekError> {
        let _alone = self.lock()?;
        let Some(plain) = self.read()? else { return Ok(true) };
        if self.is_same_file(heir).map_err(|source| self.failed(source))? {
            return Ok(false);
        }
        if heir.read()?.as_ref() != Some(&plain) {
            return Err(KekError::Differs(self.path.clone()));
        }
        self.destroy().map_err(|source| self.failed(source))?;
        self.refresh().map(|_| true)
    }

    fn is_same_file(&self, other: &Self) -> io::Result<bool> {
        Ok(inode_at(&self.path)? == inode_at(&other.path)?)
    }

    fn destroy(&self) -> io::Result<()> {
        let old = self.beside("old");
        fs::rename(&self.path, &old)?;
        sync_folder(&self.path)?;
        forget(&self.path, &old)
    }

    /// Changes the keys while nobody else does.
    fn change(&self, change: impl FnOnce(&mut Plain) -> bool) -> Result<(), KekError> {
        let _alone = self.lock()?;
        let mut plain = self.read()?.unwrap_or_default();
        if change(&mut plain) {
            self.replace(&plain)?;
        }
        self.refresh().map(|_| ())
    }

    fn lock(&self) -> Result<File, KekError> {
        let lock = || {
            let file = File::create(self.beside("lock"))?;
            file.lock()?;
            // What a crash left: of a replacement that was ending, and of one that only began.
            for left in ["old", "new"] {
                forget(&self.path, &self.beside(left))?;
            }
            Ok(file)
        };
        lock().map_err(|source| self.failed(source))
    }

    fn read(&self) -> Result<Option<Plain>, KekError> {
        loop {
            let mut file = match File::open(&self.path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(self.failed(error)),
            };
            if let Some(plain) = self.read_from(&mut file)? {
                return Ok(Some(plain));
            }
        }
    }

    /// The keys in the file that was opened; none when another took its place, for then it may have
    /// been overwritten before all of it was read.
    fn read_from(&self, file: &mut File) -> Result<Option<Plain>, KekError> {
        let mut read = || {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((bytes, Some(inode(&file.metadata()?)) == inode_at(&self.path)?))
        };
        let (bytes, is_in_place) = read().map_err(|source| self.failed(source))?;
        match self.open(&bytes) {
            None if is_in_place => Err(KekError::Sealed(self.path.clone())),
            plain => Ok(plain),
        }
    }

    fn open(&self, bytes: &[u8]) -> Option<Plain> {
        let (head, body) = bytes.split_at_checked(HEAD)?;
        let salt = head.strip_prefix(&MAGIC)?;
        let mut body = Zeroizing::new(body.to_vec());
        decode(self.cipher(salt).open(ONCE, head, &mut body).ok()?)
    }

    fn cipher(&self, salt: &[u8]) -> Cipher {
        Cipher::new(&Zeroizing::new(self.sealing.mac("aegle lake kek file v1", &[salt])))
    }

    /// Puts these keys in the place of those that were there, whose bytes are overwritten.
    fn replace(&self, plain: &Plain) -> Result<(), KekError> {
        let salt = crypt::random::<SALT>();
        let head = [MAGIC.as_slice(), &salt].concat();
        // Sealed where it was written: there is room for the tag, so no plain key is moved.
        let mut body = encode(plain);
        self.cipher(&salt).seal(ONCE, &head, &mut body);
        let written = || {
            let (new, old) = (self.beside("new"), self.beside("old"));
            write(&new, &[head.as_slice(), &body].concat())?;
            if self.path.exists() {
                fs::hard_link(&self.path, &old)?;
            }
            fs::rename(&new, &self.path)?;
            sync_folder(&self.path)?;
            forget(&self.path, &old)
        };
        written().map_err(|source| self.failed(source))
    }

    /// The keys that are in the file now, ready for use, and kept for later. One thread reads at a
    /// time, so that none keeps what it read before another.
    fn refresh(&self) -> Result<BTreeMap<KeyEpoch, Arc<Cipher>>, KekError> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // First: who replaces the file meanwhile makes the next use read it again.
        let stamp = self.stamp().map_err(|source| self.failed(source))?;
        let plain = self.read()?.unwrap_or_default();
        let ciphers = plain.iter().map(|(epoch, key)| (*epoch, Arc::new(Cipher::new(key))));
        *known = Known { ciphers: ciphers.collect(), stamp };
        Ok(known.ciphers.clone())
    }

    /// The key of an epoch, ready for use; read from the file again unless it is at hand.
    fn key(&self, epoch: KeyEpoch) -> Result<Arc<Cipher>, KekError> {
        if let Some(cipher) = self.at_hand(epoch) {
            return Ok(cipher);
        }
        self.refresh()?.remove(&epoch).ok_or(KekError::Gone(epoch))
    }

    /// The key of an epoch, if nobody can have destroyed it: it is the only one, and what is destroyed is
    /// older than what stays, or the file is still the one that was read.
    fn at_hand(&self, epoch: KeyEpoch) -> Option<Arc<Cipher>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let cipher = known.ciphers.get(&epoch)?;
        let stays = known.ciphers.len() == 1 || self.stamp().is_ok_and(|now| now == known.stamp);
        stays.then(|| Arc::clone(cipher))
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        let found = found_at(&self.path)?;
        Ok(found.map(|found| (inode(&found), (found.ctime(), found.ctime_nsec()))))
    }

    fn beside(&self, what: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{what}"));
        name.into()
    }

    fn failed(&self, source: io::Error) -> KekError {
        KekError::Io { path: self.path.clone(), source }
    }
}

impl Keks for FileKeks {
    fn epochs(&self) -> Result<Vec<KeyEpoch>, KekError> {
        Ok(self.refresh()?.into_keys().collect())
    }

    fn create(&self, epoch: KeyEpoch) -> Result<(), KekError> {
        self.change(|plain| {
            let new = !plain.contains_key(&epoch);
            plain.entry(epoch).or_insert_with(crypt::random_secret);
            new
        })
    }

    fn keep_only(&self, epoch: KeyEpoch) -> Result<(), KekError> {
        if !self.epochs()?.contains(&epoch) {
            return Err(KekError::Gone(epoch));
        }
        self.change(|plain| {
            let before = plain.len();
            plain.retain(|other, _| *other >= epoch);
            plain.len() < before
        })
    }

    fn wrap(&self, epoch: KeyEpoch, place: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, KekError> {
        Ok(self.key(epoch)?.wrap(place, key))
    }

    fn unwrap(&self, epoch: KeyEpoch, place: &[u8], wrapped: &[u8]) -> Result<Secret, KekError> {
        self.key(epoch)?.unwrap(place, wrapped).map_err(|Altered| KekError::Altered)
    }
}

fn encode(plain: &Plain) -> Zeroizing<Vec<u8>> {
    // Room for all, so that nothing is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(plain.len() * ENTRY + crypt::TAG));
    for (epoch, key) in plain {
        bytes.extend_from_slice(&epoch.to_le_bytes());
        bytes.extend_from_slice(&**key);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Plain> {
    let (entries, []) = bytes.as_chunks::<ENTRY>() else { return None };
    let entry = |entry: &[u8; ENTRY]| {
        let (epoch, key) = entry.split_first_chunk()?;
        Some((KeyEpoch::from_le_bytes(*epoch), Zeroizing::new(key.try_into().ok()?)))
    };
    entries.iter().map(entry).collect()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Overwrites what is not the present file, then gives up its name. After a crash the name may still
/// be another one of the present file, which must not be touched.
fn forget(path: &Path, other: &Path) -> io::Result<()> {
    let Some(left) = inode_at(other)? else { return Ok(()) };
    if inode_at(path)? != Some(left) {
        let mut file = OpenOptions::new().write(true).open(other)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
    }
    fs::remove_file(other)?;
    sync_folder(path)
}

/// Tells files apart, whatever they are called.
fn inode(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn inode_at(path: &Path) -> io::Result<Option<(u64, u64)>> {
    Ok(found_at(path)?.as_ref().map(inode))
}

/// What the file system says of a file; none when it is not there.
fn found_at(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keks(folder: &tempfile::TempDir, secret: u8) -> FileKeks {
        FileKeks::new(folder.path().join("keks"), &Kek::from_array([secret; 32]))
    }

    #[test]
    fn a_key_opens_what_it_wrapped_until_it_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keks(&folder, 1);
        assert!(keys.epochs().unwrap().is_empty());
        keys.create(1).unwrap();
        let wrapped = keys.wrap(1, b"here", &[7; 32]).unwrap();
        // Another process knows it, too, and making it again changes nothing.
        let other = keks(&folder, 1);
        other.create(1).unwrap();
        assert_eq!(*other.unwrap(1, b"here", &wrapped).unwrap(), [7; 32]);
        assert!(matches!(other.unwrap(1, b"there", &wrapped), Err(KekError::Altered)));
        other.create(2).unwrap();
        assert!(matches!(other.unwrap(2, b"here", &wrapped), Err(KekError::Altered)));
        assert_eq!(keys.epochs().unwrap(), [1, 2]);
        other.keep_only(2).unwrap();
        assert!(matches!(other.unwrap(1, b"here", &wrapped), Err(KekError::Gone(1))));
        assert!(matches!(other.keep_only(1), Err(KekError::Gone(1))));
        // The first one, which knew both, forgets the old key with the first use of the new one.
        let anew = other.wrap(2, b"here", &[7; 32]).unwrap();
        assert_eq!(*keys.unwrap(2, b"here", &anew).unwrap(), [7; 32]);
        assert!(matches!(keys.unwrap(1, b"here", &wrapped), Err(KekError::Gone(1))));
        assert!(keys.known.read().unwrap().ciphers.keys().eq(&[2]));
        let fresh = keks(&folder, 1);
        assert_eq!(*fresh.unwrap(2, b"here", &anew).unwrap(), [7; 32]);
        assert!(matches!(fresh.unwrap(1, b"here", &wrapped), Err(KekError::Gone(1))));
    }

    #[test]
    fn keys_are_sealed_where_they_were_written_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        for count in 1..5 {
            let plain: Plain = (0..count).map(|epoch| (epoch, crypt::random_secret())).collect();
            let mut body = encode(&plain);
            let (place, room) = (body.as_ptr(), body.capacity());
            keks(&folder, 1).cipher(&[7; SALT]).seal(ONCE, b"head", &mut body);
            assert_eq!((body.as_ptr(), body.capacity()), (place, room));
        }
    }

    #[test]
    fn the_file_opens_with_its_secret_only_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        keks(&folder, 1).create(1).unwrap();
        assert!(matches!(keks(&folder, 2).epochs(), Err(KekError::Sealed(_))));
        let path = folder.path().join("keks");
        let whole = fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            let mut altered = whole.clone();
            altered[byte] ^= 1;
            fs::write(&path, altered).unwrap();
            assert!(matches!(keks(&folder, 1).epochs(), Err(KekError::Sealed(_))), "byte {byte}");
            fs::write(&path, &whole[..byte]).unwrap();
            assert!(matches!(keks(&folder, 1).epochs(), Err(KekError::Sealed(_))), "cut at {byte}");
        }
    }

    #[test]
    fn the_file_before_is_overwritten_where_it_lay() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, path) = (keks(&folder, 1), folder.path().join("keks"));
        keys.create(1).unwrap();
        // Another name for the same bytes shows what became of them.
        let witness = folder.path().join("witness");
        fs::hard_link(&path, &witness).unwrap();
        keys.create(2).unwrap();
        assert!(fs::read(&witness).unwrap().iter().all(|byte| *byte == 0));
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["keks", "keks.lock", "witness"]);
    }

    #[test]
    fn a_crash_at_any_step_of_a_replacement_leaves_the_keys_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, place) = (keks(&folder, 1), |name: &str| folder.path().join(name));
        keys.create(1).unwrap();
        let first = fs::read(place("keks")).unwrap();
        // Written beside only; the link to the present file made; the new one in its place.
        fs::write(place("keks.new"), &first).unwrap();
        fs::hard_link(place("keks.new"), place("beside")).unwrap();
        keys.create(2).unwrap();
        assert!(fs::read(place("beside")).unwrap().iter().all(|byte| *byte == 0));
        fs::hard_link(place("keks"), place("keks.old")).unwrap();
        keys.create(3).unwrap();
        assert_eq!(keks(&folder, 1).epochs().unwrap(), [1, 2, 3]);
        fs::write(place("keks.old"), &first).unwrap();
        fs::hard_link(place("keks.old"), place("witness")).unwrap();
        keys.keep_only(3).unwrap();
        assert!(fs::read(place("witness")).unwrap().iter().all(|byte| *byte == 0));
        assert_eq!(keks(&folder, 1).epochs().unwrap(), [3]);
        assert!(!place("keks.old").exists() && !place("keks.new").exists());
    }

    #[test]
    fn a_file_that_gives_way_to_another_is_overwritten_where_it_lay() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let file = |name| FileKeks::new(place(name), &Kek::from_array([1; 32]));
        let is_nowhere = || {
            let zeros = fs::read(place("witness")).unwrap().iter().all(|byte| *byte == 0);
            zeros && !place("keks").exists() && !place("keks.old").exists()
        };
        let (old, new) = (file("keks"), file("new"));
        old.create(1).unwrap();
        assert!(matches!(old.give_way_to(&new), Err(KekError::Differs(_))), "it holds none");
        new.create(1).unwrap();
        assert!(matches!(old.give_way_to(&new), Err(KekError::Differs(_))), "it holds others");
        fs::remove_file(place("new")).unwrap();
        file("new").import(&old.export().unwrap()).unwrap();
        let wrapped = old.wrap(1, b"here", &[7; 32]).unwrap();
        fs::hard_link(place("keks"), place("witness")).unwrap();
        assert!(old.give_way_to(&new).unwrap() && is_nowhere());
        assert!(matches!(old.unwrap(1, b"here", &wrapped), Err(KekError::Gone(1))));
        assert_eq!(*file("new").unwrap(1, b"here", &wrapped).unwrap(), [7; 32]);
        assert!(old.give_way_to(&new).unwrap(), "it is done already");
        // A crash came before it was overwritten.
        fs::remove_file(place("witness")).unwrap();
        old.import(&new.export().unwrap()).unwrap();
        fs::hard_link(place("keks"), place("witness")).unwrap();
        fs::rename(place("keks"), place("keks.old")).unwrap();
        assert!(old.give_way_to(&new).unwrap() && is_nowhere());
    }

    #[test]
    fn a_file_never_gives_way_to_itself_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keks(&folder, 1);
        keys.create(1).unwrap();
        let (link, again) = (folder.path().join("link"), folder.path().join("again"));
        std::os::unix::fs::symlink("keks", &link).unwrap();
        fs::hard_link(folder.path().join("keks"), &again).unwrap();
        for path in [folder.path().join("keks"), link, again] {
            let same = FileKeks::new(path, &Kek::from_array([1; 32]));
            assert!(!keys.give_way_to(&same).unwrap() && !same.give_way_to(&keys).unwrap());
        }
        assert_eq!(keys.epochs().unwrap(), [1]);
    }

    #[test]
    fn a_file_that_is_overwritten_while_it_is_read_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keks(&folder, 1);
        keys.create(1).unwrap();
        let mut opened = File::open(folder.path().join("keks")).unwrap();
        keys.create(2).unwrap();
        assert!(keys.read_from(&mut opened).unwrap().is_none());
        assert_eq!(keys.epochs().unwrap(), [1, 2]);
    }

    #[test]
    fn exported_keys_make_the_file_once() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = keks(&here, 1);
        keys.create(4).unwrap();
        let wrapped = keys.wrap(4, b"here", &[7; 32]).unwrap();
        let exported = keys.export().unwrap();
        // The other node may have other secrets.
        let other = keks(&there, 2);
        assert!(matches!(other.import(&exported[1..]), Err(KekError::Altered)));
        assert!(matches!(other.import(&[]), Err(KekError::Altered)));
        other.import(&exported).unwrap();
        assert_eq!(*other.unwrap(4, b"here", &wrapped).unwrap(), [7; 32]);
        assert!(matches!(other.import(&exported), Err(KekError::Exists(_))));
    }
}
