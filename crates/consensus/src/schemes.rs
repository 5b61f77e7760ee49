//! The validators of each epoch, for whoever checks certificates.

use crate::engine::Scheme;
use commonware_consensus::types::Epoch;
use commonware_cryptography::certificate::{Provider, Scoped};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// Certificates of how many epochs can be checked: those of the last ones.
const EPOCHS: usize = 4;

/// The schemes of the last epochs. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Schemes(Arc<Mutex<BTreeMap<u64, Arc<Scheme>>>>);

impl Schemes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Scheme>>> {
        self.0.lock().expect("no thread panics while it holds the schemes")
    }

    pub(crate) fn add(&self, epoch: u64, scheme: Scheme) {
        let mut schemes = self.lock();
        schemes.insert(epoch, Arc::new(scheme));
        while schemes.len() > EPOCHS {
            schemes.pop_first();
        }
    }
}

impl Provider for Schemes {
    type Scope = Epoch;
    type Scheme = Scheme;

    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        self.lock().get(&epoch.get()).cloned().map(Scoped::scheme)
    }
}
