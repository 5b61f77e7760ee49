//! The beginning of a network: who takes part and under which policy.

use crate::Epochs;
use crate::transaction::Attestation;
use aegle_access::Policy;
use aegle_model::{Canonical, CentreId, Hash, Name, NetworkId, PublicKey, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};

/// A centre as the ledger knows it. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Centre {
    /// The first 16 bytes of the hash of the first node key.
    pub id: CentreId,
    /// What people call it, such as `ZMC`.
    pub code: Name,
    /// Signs votes, transactions and attestations.
    pub key: PublicKey,
    /// SHA-256 of its self-signed certificate (DER) for calls between nodes.
    pub tls: Hash,
    /// To whom secrets are sealed: an uncompressed P-256 point for HPKE.
    pub seal: [u8; 65],
}

impl Centre {
    /// The id that a centre with this first key has.
    pub fn id_of(key: &PublicKey) -> CentreId {
        let hash = Hash::of("aegle.centre", &[key.as_bytes()]);
        CentreId::from_array(hash.as_bytes()[..16].try_into().expect("32 bytes hold 16"))
    }

    /// Whether this centre made `attestation` (its signature is checked elsewhere).
    pub fn made(&self, attestation: &Attestation) -> bool {
        attestation.centre == self.id && attestation.key == self.key
    }
}

/// The first word of a network. Every node starts from the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Genesis {
    /// The network's name.
    pub name: Name,
    /// The time of block 0.
    pub time: Timestamp,
    /// What the network agreed on beyond rules.
    pub policy: Policy,
    /// How long an epoch is; membership changes when one ends.
    pub epochs: Epochs,
    /// The centres, sorted by key; all of them validate.
    pub centres: Vec<Centre>,
}

/// Why a genesis cannot start a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Epochs of a single block: none but block 0 would be in the first.
    #[error("an epoch has at least two blocks")]
    Epochs,
    /// No centre at all.
    #[error("a network has at least one centre")]
    Empty,
    /// Keys out of order or twice.
    #[error("centres are sorted by key and stand once; `{0}` does not")]
    Disorder(Name),
    /// Two centres with one code.
    #[error("two centres are called `{0}`")]
    Twice(Name),
    /// A key that is none, or anybody's.
    #[error("the node key of `{0}` is not an Ed25519 key that only one can have")]
    Key(Name),
    /// An id that is not its key's.
    #[error("the id of `{0}` is not derived from its key")]
    Id(Name),
}

impl Canonical for Genesis {
    const NAME: &'static str = "genesis";
}

impl Genesis {
    /// Checks what every node relies on.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.centres.is_empty() {
            return Err(GenesisError::Empty);
        }
        if Epochs::new(self.epochs.0.get()).is_none() {
            return Err(GenesisError::Epochs);
        }
        for pair in self.centres.windows(2) {
            if pair[0].key >= pair[1].key {
                return Err(GenesisError::Disorder(pair[1].code.clone()));
            }
        }
        for (position, centre) in self.centres.iter().enumerate() {
            if self.centres[..position].iter().any(|other| other.code == centre.code) {
                return Err(GenesisError::Twice(centre.code.clone()));
            }
            if !centre.key.is_sound() {
                return Err(GenesisError::Key(centre.code.clone()));
            }
            if Centre::id_of(&centre.key) != centre.id {
                return Err(GenesisError::Id(centre.code.clone()));
            }
        }
        Ok(())
    }

    /// What names this genesis.
    pub fn hash(&self) -> Hash {
        Hash::of("aegle.genesis", &[&self.to_bytes()])
    }

    /// The network that this genesis begins.
    pub fn network(&self) -> NetworkId {
        NetworkId::from_array(self.hash().as_bytes()[..16].try_into().expect("32 bytes hold 16"))
    }

    /// The keys that vote, sorted.
    pub fn validators(&self) -> Vec<PublicKey> {
        self.centres.iter().map(|centre| centre.key).collect()
    }

    /// The centre with this id.
    pub fn centre(&self, id: CentreId) -> Option<&Centre> {
        self.centres.iter().find(|centre| centre.id == id)
    }
}
