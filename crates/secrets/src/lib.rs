//! A node's secrets at rest: files that are locked, and what unlocks them.
//!
//! Absent on purpose: what the secrets are, and who may write them.

pub mod locked;
pub mod unlock;

use anyhow::{Context, Result};
use locked::{Key, Kind, Locked};
use std::path::Path;
use zeroize::Zeroizing;

/// The plain bytes of a file that may be locked, and what opened it; nothing when it is not locked.
pub fn open(
    path: &Path,
    key: impl FnOnce(Kind) -> Result<Key>,
) -> Result<(Zeroizing<Vec<u8>>, Option<Key>)> {
    let read = std::fs::read(path);
    let bytes =
        Zeroizing::new(read.with_context(|| format!("could not read `{}`", path.display()))?);
    if !Locked::is(&bytes) {
        return Ok((bytes, None));
    }
    let unlock = || {
        let locked = Locked::parse(&bytes)?;
        let key = key(locked.kind())?;
        let plain = locked.open(&key)?;
        Ok((plain, Some(key)))
    };
    let unlocked: Result<_> = unlock();
    unlocked.with_context(|| format!("could not unlock the secrets `{}`", path.display()))
}
