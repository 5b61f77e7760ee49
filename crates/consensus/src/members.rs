//! Who is a member, as far as this node has executed the ledger.

use aegle_ledger::{Centre, Genesis};
use aegle_model::{CentreId, PublicKey};

/// The members of an epoch. All of it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The epoch.
    pub epoch: u64,
    /// Every member.
    pub centres: Vec<Centre>,
    /// The keys that vote, sorted; a member that was just admitted has none among them.
    pub validators: Vec<PublicKey>,
}

impl Members {
    /// Those who began.
    pub(crate) fn founders(genesis: &Genesis) -> Self {
        let (centres, validators) = (genesis.centres.clone(), genesis.validators());
        Self { epoch: 0, centres, validators }
    }

    /// The member with this id.
    pub fn centre(&self, id: CentreId) -> Option<&Centre> {
        self.centres.iter().find(|centre| centre.id == id)
    }

    /// The member with this key.
    pub fn with_key(&self, key: &PublicKey) -> Option<&Centre> {
        self.centres.iter().find(|centre| centre.key == *key)
    }

    /// Those who vote, in the order in which certificates count them.
    pub fn voters(&self) -> impl Iterator<Item = &Centre> {
        self.validators.iter().filter_map(|key| self.with_key(key))
    }
}
