//! The curated and the consumer zone: encrypted, short-lived places for one request each.
//!
//! The curated zone holds the permitted rows under a key that lives only in memory; the consumer
//! zone holds the finished part, sealed to the requester. Both are emptied when the request is
//! done, also when it fails; what a crash leaves is noise, is removed when the lake is opened
//! again, by whichever process, and tells which requests were interrupted. Nothing here is synced:
//! it need not survive.
//!
//! A process locks its places for as long as it lives. A place whose lock is free is a dead one's.
//! A request whose outcome must be told on can stay named here, without its bytes, until it was.
//!
//! A place is a file that is used again: empty (zero bytes) between stays, else the request's id
//! followed by what it holds. Making and removing a file for each stay costs some file systems
//! more the more were removed lately (ext4 gives no inode away again for five seconds).

use crate::crypt::{self, Altered, Cipher, NonceBytes};
use crate::database::hold;
use aegle_model::RequestId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

const CURATED: &str = "curated";
const CONSUMER: &str = "consumer";

/// Holds the ids of interrupted requests that were not told on yet.
const INTERRUPTED: &str = "interrupted";

/// The nonce of a key that seals exactly one text.
const ONCE: NonceBytes = [0; 12];

/// What stands before the bytes of a place: whose they are.
const OWNER_BYTES: usize = 16;

/// The temporary zones of an open lake.
pub(crate) struct Zones {
    root: PathBuf,
    /// Empty places; as many as there were requests at the same time.
    free: Mutex<Vec<Places>>,
    /// Places that hold nothing but the name of a request that was not told on yet.
    named: Mutex<BTreeMap<RequestId, Places>>,
}

/// A zone that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// The file system failed.
    #[error("could not use the {zone} zone of the lake")]
    Io {
        /// Which zone.
        zone: &'static str,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
    /// What lay in a temporary zone was altered on disk.
    #[error("what was made for a request was altered before it was delivered; ask again")]
    Altered,
}

impl Zones {
    /// Opens the zones, removes what dead processes left there, and returns the requests that had
    /// been interrupted and were not [told on](Self::forget) yet.
    pub(crate) fn open(root: &Path) -> io::Result<(Arc<Self>, Vec<RequestId>)> {
        for zone in [CURATED, CONSUMER] {
            fs::create_dir_all(root.join(zone))?;
        }
        let _alone = alone(root)?;
        let left = left_behind(root)?;
        // Noted before their bytes are removed, and until they are told on: also by a process that
        // opens the lake to look at it only.
        let mut interrupted = interrupted(root)?;
        interrupted.extend(left.iter().filter_map(|(_, place)| owner(place)));
        note(root, &interrupted)?;
        left.iter().try_for_each(|(path, _)| fs::remove_file(path))?;
        let zones = Self { root: root.to_owned(), free: Mutex::default(), named: Mutex::default() };
        Ok((Arc::new(zones), interrupted.into_iter().collect()))
    }

    /// The places of one request. Two reads of the same request never meet.
    pub(crate) fn stay(self: &Arc<Self>, request: RequestId) -> Result<Stay, ZoneError> {
        let places = self.places()?;
        Ok(Stay { zones: Arc::clone(self), request, places: Some(places) })
    }

    /// Names a request until it is [forgotten](Self::forget), so that a crash in between is found.
    pub(crate) fn remember(&self, request: RequestId) -> Result<(), ZoneError> {
        let places = self.places()?;
        places.name(request)?;
        let before = hold(&self.named).insert(request, places);
        before.map_or(Ok(()), |places| self.free(places))
    }

    /// Forgets a request: what became of it was told on.
    pub(crate) fn forget(&self, request: RequestId) -> Result<(), ZoneError> {
        if let Some(places) = hold(&self.named).remove(&request) {
            return self.free(places);
        }
        let forget = || {
            let _alone = alone(&self.root)?;
            let mut left = interrupted(&self.root)?;
            if left.remove(&request) { note(&self.root, &left) } else { Ok(()) }
        };
        forget().map_err(failed(CONSUMER))
    }

    fn places(&self) -> Result<Places, ZoneError> {
        let free = hold(&self.free).pop();
        free.map_or_else(|| self.make(), Ok)
    }

    /// Places that cannot be emptied are not used again; the next opening of the lake removes them.
    fn free(&self, places: Places) -> Result<(), ZoneError> {
        places.empty()?;
        hold(&self.free).push(places);
        Ok(())
    }

    fn make(&self) -> Result<Places, ZoneError> {
        let name = hex::encode(crypt::random::<16>());
        // Who opens the lake meanwhile would take a file without a lock for a dead one's.
        let _alone = alone(&self.root).map_err(failed(CONSUMER))?;
        let make = |zone| {
            let path = self.root.join(zone).join(&name);
            let made = OpenOptions::new().read(true).write(true).create_new(true).open(path);
            let locked = made.and_then(|place| place.lock().map(|()| place));
            locked.map_err(failed(zone))
        };
        Ok(Places { curated: make(CURATED)?, consumer: make(CONSUMER)? })
    }
}

/// Keeps every other process from making, removing and noting; for a moment only.
fn alone(root: &Path) -> io::Result<File> {
    let lock = File::create(root.join("zones.lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The places of processes that are no more, now locked by this one.
fn left_behind(root: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    let mut left = Vec::new();
    for zone in [CURATED, CONSUMER] {
        for entry in fs::read_dir(root.join(zone))? {
            let path = entry?.path();
            let place = OpenOptions::new().read(true).write(true).open(&path)?;
            match place.try_lock() {
                Ok(()) => left.push((path, place)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
    Ok(left)
}

/// Whose bytes are in a place. One that holds less than a name holds nobody's.
fn owner(place: &File) -> Option<RequestId> {
    let mut owner = [0; OWNER_BYTES];
    place.read_exact_at(&mut owner, 0).ok()?;
    Some(RequestId::from_array(owner))
}

/// The requests that are noted as interrupted.
fn interrupted(root: &Path) -> io::Result<BTreeSet<RequestId>> {
    let noted = match fs::read(root.join(INTERRUPTED)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        noted => noted?,
    };
    Ok(noted.as_chunks().0.iter().map(|id| RequestId::from_array(*id)).collect())
}

fn note(root: &Path, requests: &BTreeSet<RequestId>) -> io::Result<()> {
    let path = root.join(INTERRUPTED);
    if requests.is_empty() && !path.exists() {
        return Ok(());
    }
    let new = path.with_extension("new");
    let noted: Vec<u8> = requests.iter().flat_map(|request| *request.as_bytes()).collect();
    fs::write(&new, noted)?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, path)
}

/// One file in each zone.
struct Places {
    curated: File,
    consumer: File,
}

impl Places {
    /// Leaves nothing but the name of a request.
    fn name(&self, request: RequestId) -> Result<(), ZoneError> {
        self.empty()?;
        self.consumer.write_all_at(request.as_bytes(), 0).map_err(failed(CONSUMER))
    }

    fn empty(&self) -> Result<(), ZoneError> {
        self.curated.set_len(0).map_err(failed(CURATED))?;
        self.consumer.set_len(0).map_err(failed(CONSUMER))
    }
}

/// The stay of one request in the zones; leaves nothing behind.
pub(crate) struct Stay {
    zones: Arc<Zones>,
    request: RequestId,
    /// None when they were given back.
    places: Option<Places>,
}

/// Rows in the curated zone, with the only key to them.
pub(crate) struct Curated {
    key: Cipher,
    bytes: usize,
}

impl Stay {
    fn places(&self) -> &Places {
        self.places.as_ref().expect("places are given back at the end only")
    }

    /// Puts permitted rows into the curated zone.
    pub(crate) fn curate(&self, mut rows: Zeroizing<Vec<u8>>) -> Result<Curated, ZoneError> {
        let key = Cipher::new(&crypt::random_secret());
        key.seal(ONCE, &[], &mut rows);
        self.write(&self.places().curated, &rows).map_err(failed(CURATED))?;
        Ok(Curated { key, bytes: rows.len() })
    }

    /// Takes the rows out of the curated zone.
    pub(crate) fn curated(&self, curated: &Curated) -> Result<Zeroizing<Vec<u8>>, ZoneError> {
        let mut rows = Zeroizing::new(vec![0; curated.bytes]);
        let place = &self.places().curated;
        place.read_exact_at(&mut rows, OWNER_BYTES as u64).map_err(failed(CURATED))?;
        let opened = curated.key.open(ONCE, &[], &mut rows);
        let length = opened.map_err(|Altered| ZoneError::Altered)?.len();
        rows.truncate(length);
        Ok(rows)
    }

    /// Puts the sealed part into the consumer zone.
    pub(crate) fn finish(&self, sealed: &[u8]) -> Result<(), ZoneError> {
        self.write(&self.places().consumer, sealed).map_err(failed(CONSUMER))
    }

    /// The sealed part of so many bytes, as it lies in the consumer zone.
    pub(crate) fn finished(&self, bytes: usize) -> Result<Vec<u8>, ZoneError> {
        let mut sealed = vec![0; bytes];
        let place = &self.places().consumer;
        place.read_exact_at(&mut sealed, OWNER_BYTES as u64).map_err(failed(CONSUMER))?;
        Ok(sealed)
    }

    /// Keeps the request named when it is over, until it is [forgotten](Zones::forget).
    pub(crate) fn remember(&self) -> Result<(), ZoneError> {
        self.zones.remember(self.request)
    }

    fn write(&self, place: &File, bytes: &[u8]) -> io::Result<()> {
        place.write_all_at(&[self.request.as_bytes().as_slice(), bytes].concat(), 0)
    }

    /// Empties both places.
    pub(crate) fn clean(mut self) -> Result<(), ZoneError> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<(), ZoneError> {
        self.places.take().map_or(Ok(()), |places| self.zones.free(places))
    }
}

impl Drop for Stay {
    /// For the way out of an error.
    fn drop(&mut self) {
        if let Err(error) = self.give_back() {
            tracing::warn!(%error, "Could not empty a temporary zone of the lake");
        }
    }
}

#[cfg(test)]
impl Stay {
    /// Leaves everything where it is, as a process does that dies.
    pub(crate) fn die(mut self) {
        self.places = None;
    }
}

fn failed(zone: &'static str) -> impl Fn(io::Error) -> ZoneError {
    move |source| ZoneError::Io { zone, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many places hold something.
    fn filled(root: &Path) -> usize {
        let files = [CURATED, CONSUMER].map(|zone| fs::read_dir(root.join(zone)).unwrap());
        files.into_iter().flatten().filter(|file| length(file.as_ref().unwrap()) > 0).count()
    }

    fn length(file: &fs::DirEntry) -> u64 {
        file.metadata().unwrap().len()
    }

    #[test]
    fn a_stay_leaves_nothing_behind_also_when_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let (zones, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, []);
        let request = RequestId::from_array([7; 16]);
        let (one, two) = (zones.stay(request).unwrap(), zones.stay(request).unwrap());
        let key = one.curate(Zeroizing::new(b"rows".to_vec())).unwrap();
        two.curate(Zeroizing::new(b"other".to_vec())).unwrap();
        one.finish(b"sealed").unwrap();
        assert_eq!(**one.curated(&key).unwrap(), *b"rows");
        assert_eq!(filled(root.path()), 3);
        one.clean().unwrap();
        drop(two);
        assert_eq!(filled(root.path()), 0);
    }

    #[test]
    fn places_are_used_again_and_a_shorter_stay_sees_nothing_of_a_longer_one() {
        let root = tempfile::tempdir().unwrap();
        let (zones, _) = Zones::open(root.path()).unwrap();
        for rows in [b"a long row".as_slice(), b"short"] {
            let stay = zones.stay(RequestId::from_array([1; 16])).unwrap();
            let key = stay.curate(Zeroizing::new(rows.to_vec())).unwrap();
            assert_eq!(**stay.curated(&key).unwrap(), *rows);
            let stored = fs::read_dir(root.path().join(CURATED)).unwrap().next().unwrap().unwrap();
            assert_eq!(length(&stored), (OWNER_BYTES + rows.len() + crypt::TAG) as u64);
        }
        assert_eq!(fs::read_dir(root.path().join(CURATED)).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_leaves_is_removed_and_named() {
        let root = tempfile::tempdir().unwrap();
        let (zones, _) = Zones::open(root.path()).unwrap();
        let requests = [1, 2].map(|byte| RequestId::from_array([byte; 16]));
        for request in requests {
            let stay = zones.stay(request).unwrap();
            stay.curate(Zeroizing::new(b"secret".to_vec())).unwrap();
            stay.finish(b"sealed").unwrap();
            stay.die();
        }
        let living = zones.stay(RequestId::from_array([3; 16])).unwrap();
        let key = living.curate(Zeroizing::new(b"rows".to_vec())).unwrap();
        let (second, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, requests, "whoever else has the lake open");
        assert_eq!(filled(root.path()), 1);
        assert_eq!(**living.curated(&key).unwrap(), *b"rows", "what lives is left alone");
        living.clean().unwrap();
        drop((zones, second));
        let (third, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, requests);
        assert_eq!(filled(root.path()), 0);
        third.forget(requests[0]).unwrap();
        drop(third);
        let (_fourth, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, requests[1..], "until it is told on");
    }

    #[test]
    fn a_request_stays_named_without_its_bytes_until_it_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let (zones, _) = Zones::open(root.path()).unwrap();
        let requests = [1, 2].map(|byte| RequestId::from_array([byte; 16]));
        for request in requests {
            zones.remember(request).unwrap();
            zones.remember(request).unwrap();
            let stay = zones.stay(request).unwrap();
            stay.finish(b"sealed").unwrap();
            stay.clean().unwrap();
        }
        assert_eq!(filled(root.path()), 2);
        zones.forget(requests[0]).unwrap();
        drop(zones);
        let (_second, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, requests[1..]);
        assert_eq!(filled(root.path()), 0);
    }

    #[test]
    fn curated_rows_are_encrypted_and_guarded() {
        let root = tempfile::tempdir().unwrap();
        let (zones, _) = Zones::open(root.path()).unwrap();
        let stay = zones.stay(RequestId::from_array([1; 16])).unwrap();
        let key = stay.curate(Zeroizing::new(b"aspirin".to_vec())).unwrap();
        let path = fs::read_dir(root.path().join(CURATED)).unwrap().next().unwrap().unwrap().path();
        let mut stored = fs::read(&path).unwrap();
        assert!(!stored.windows(7).any(|window| window == b"aspirin"));
        stored[OWNER_BYTES] ^= 1;
        fs::write(path, stored).unwrap();
        assert!(matches!(stay.curated(&key), Err(ZoneError::Altered)));
    }
}
