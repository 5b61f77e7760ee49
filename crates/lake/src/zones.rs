//! The curated and the consumer zone: encrypted, short-lived places for one request each.
//!
//! The curated zone holds the permitted rows under a key that lives only in memory; the consumer
//! zone holds the finished part, sealed to the requester. Both are emptied when the request is
//! done, also when it fails; what a crash leaves is noise, is removed when the lake is opened
//! again, and tells which requests were interrupted. Nothing here is synced: it need not survive.

use crate::crypt::{self, Altered, Cipher, NonceBytes};
use aegle_model::RequestId;
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

const CURATED: &str = "curated";
const CONSUMER: &str = "consumer";

/// The nonce of a key that seals exactly one text.
const ONCE: NonceBytes = [0; 12];

/// The temporary zones of an open lake.
pub(crate) struct Zones {
    root: PathBuf,
    next: AtomicU64,
    /// Held shared by every process that uses the zones.
    _in_use: File,
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
    /// The curated rows were altered on disk.
    #[error("the curated rows of a request were altered before they were delivered; ask again")]
    Altered,
}

impl Zones {
    /// Opens the zones. Unless another process uses them, empties them first and returns the
    /// requests that had been interrupted.
    pub(crate) fn open(root: &Path) -> io::Result<(Self, Vec<RequestId>)> {
        for zone in [CURATED, CONSUMER] {
            fs::create_dir_all(root.join(zone))?;
        }
        let in_use = File::create(root.join("zones.lock"))?;
        let interrupted = match in_use.try_lock() {
            Ok(()) => {
                let interrupted = empty(root)?;
                in_use.unlock()?;
                interrupted
            }
            Err(TryLockError::WouldBlock) => BTreeSet::new(),
            Err(TryLockError::Error(error)) => return Err(error),
        };
        in_use.lock_shared()?;
        let zones = Self { root: root.to_owned(), next: AtomicU64::new(0), _in_use: in_use };
        Ok((zones, interrupted.into_iter().collect()))
    }

    /// The places of one request. Two reads of the same request never meet.
    pub(crate) fn stay(&self, request: RequestId) -> Stay {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{request}.{}.{turn}", process::id());
        let place = |zone| self.root.join(zone).join(&name);
        Stay { curated: place(CURATED), consumer: place(CONSUMER) }
    }
}

/// Empties both zones and tells whose files were in them.
fn empty(root: &Path) -> io::Result<BTreeSet<RequestId>> {
    let mut interrupted = BTreeSet::new();
    for zone in [CURATED, CONSUMER] {
        for entry in fs::read_dir(root.join(zone))? {
            let entry = entry?;
            let name = entry.file_name();
            let request: Option<RequestId> =
                name.to_str().and_then(|name| name.split('.').next()?.parse().ok());
            interrupted.extend(request);
            fs::remove_file(entry.path())?;
        }
    }
    Ok(interrupted)
}

/// The stay of one request in the zones; leaves nothing behind.
pub(crate) struct Stay {
    curated: PathBuf,
    consumer: PathBuf,
}

/// Rows in the curated zone, with the only key to them.
pub(crate) struct Curated(Cipher);

impl Stay {
    /// Puts permitted rows into the curated zone.
    pub(crate) fn curate(&self, mut rows: Zeroizing<Vec<u8>>) -> Result<Curated, ZoneError> {
        let cipher = Cipher::new(&crypt::random_secret());
        cipher.seal(ONCE, &[], &mut rows);
        write_new(&self.curated, &rows).map_err(failed(CURATED))?;
        Ok(Curated(cipher))
    }

    /// Takes the rows out of the curated zone.
    pub(crate) fn curated(&self, key: &Curated) -> Result<Zeroizing<Vec<u8>>, ZoneError> {
        let mut rows = Zeroizing::new(fs::read(&self.curated).map_err(failed(CURATED))?);
        let length = key.0.open(ONCE, &[], &mut rows).map_err(|Altered| ZoneError::Altered)?.len();
        rows.truncate(length);
        Ok(rows)
    }

    /// Puts the sealed part into the consumer zone.
    pub(crate) fn finish(&self, sealed: &[u8]) -> Result<(), ZoneError> {
        write_new(&self.consumer, sealed).map_err(failed(CONSUMER))
    }

    /// Empties both places.
    pub(crate) fn clean(self) -> Result<(), ZoneError> {
        remove(&self.curated).map_err(failed(CURATED))?;
        remove(&self.consumer).map_err(failed(CONSUMER))
    }
}

impl Drop for Stay {
    /// For the way out of an error; when this fails too, the next opening of the lake cleans up.
    fn drop(&mut self) {
        for place in [&self.curated, &self.consumer] {
            if let Err(error) = remove(place) {
                tracing::warn!(%error, "Could not empty a temporary zone of the lake");
            }
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut File::create_new(path)?, bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn failed(zone: &'static str) -> impl Fn(io::Error) -> ZoneError {
    move |source| ZoneError::Io { zone, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(root: &Path) -> usize {
        [CURATED, CONSUMER].map(|zone| fs::read_dir(root.join(zone)).unwrap().count()).iter().sum()
    }

    #[test]
    fn a_stay_leaves_nothing_behind_also_when_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let (zones, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, []);
        let request = RequestId::from_array([7; 16]);
        let (one, two) = (zones.stay(request), zones.stay(request));
        let key = one.curate(Zeroizing::new(b"rows".to_vec())).unwrap();
        two.curate(Zeroizing::new(b"other".to_vec())).unwrap();
        one.finish(b"sealed").unwrap();
        assert_eq!(**one.curated(&key).unwrap(), *b"rows");
        assert_eq!(files(root.path()), 3);
        one.clean().unwrap();
        drop(two);
        assert_eq!(files(root.path()), 0);
    }

    #[test]
    fn what_a_crash_leaves_is_removed_and_named() {
        let root = tempfile::tempdir().unwrap();
        let (zones, _) = Zones::open(root.path()).unwrap();
        let requests = [1, 2].map(|byte| RequestId::from_array([byte; 16]));
        for request in requests {
            let stay = zones.stay(request);
            stay.curate(Zeroizing::new(b"secret".to_vec())).unwrap();
            stay.finish(b"sealed").unwrap();
            std::mem::forget(stay);
        }
        let (second, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, [], "the first still uses them");
        assert_eq!(files(root.path()), 4);
        drop((zones, second));
        let (_third, interrupted) = Zones::open(root.path()).unwrap();
        assert_eq!(interrupted, requests);
        assert_eq!(files(root.path()), 0);
    }

    #[test]
    fn curated_rows_are_encrypted_and_guarded() {
        let root = tempfile::tempdir().unwrap();
        let (zones, _) = Zones::open(root.path()).unwrap();
        let stay = zones.stay(RequestId::from_array([1; 16]));
        let key = stay.curate(Zeroizing::new(b"aspirin".to_vec())).unwrap();
        let mut stored = fs::read(&stay.curated).unwrap();
        assert!(!stored.windows(7).any(|window| window == b"aspirin"));
        stored[0] ^= 1;
        fs::write(&stay.curated, stored).unwrap();
        assert!(matches!(stay.curated(&key), Err(ZoneError::Altered)));
    }
}
