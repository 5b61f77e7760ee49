//! Key-encryption keys that never leave their place, as in a token or a key service.

use crate::crypt::{self, Altered, Cipher};
use crate::database::hold;
use crate::kek::{KekError, Keks, KeyEpoch};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Fails when it has wrapped as often as it may.
pub(crate) struct Token {
    keys: Mutex<BTreeMap<KeyEpoch, Cipher>>,
    wraps: AtomicU64,
}

impl Token {
    pub(crate) fn new() -> Self {
        Self { keys: Mutex::default(), wraps: AtomicU64::new(u64::MAX) }
    }

    /// From now on it wraps so often.
    pub(crate) fn allow(&self, wraps: u64) {
        self.wraps.store(wraps, Ordering::SeqCst);
    }

    fn with<T>(
        &self,
        epoch: KeyEpoch,
        work: impl FnOnce(&Cipher) -> Result<T, KekError>,
    ) -> Result<T, KekError> {
        work(hold(&self.keys).get(&epoch).ok_or(KekError::Gone(epoch))?)
    }
}

impl Keks for Token {
    fn epochs(&self) -> Result<Vec<KeyEpoch>, KekError> {
        Ok(hold(&self.keys).keys().copied().collect())
    }

    fn create(&self, epoch: KeyEpoch) -> Result<(), KekError> {
        let make = || Cipher::new(&crypt::random_secret());
        hold(&self.keys).entry(epoch).or_insert_with(make);
        Ok(())
    }

    fn keep_only(&self, epoch: KeyEpoch) -> Result<(), KekError> {
        hold(&self.keys).retain(|other, _| *other >= epoch);
        Ok(())
    }

    fn wrap(&self, epoch: KeyEpoch, place: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, KekError> {
        let less = |left: u64| left.checked_sub(1);
        let allowed = self.wraps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        allowed.map_err(|_| KekError::Other("the token was pulled out".into()))?;
        self.with(epoch, |key_of_epoch| Ok(key_of_epoch.wrap(place, key)))
    }

    fn unwrap(
        &self,
        epoch: KeyEpoch,
        place: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, KekError> {
        self.with(epoch, |key| key.unwrap(place, wrapped).map_err(|Altered| KekError::Altered))
    }
}
