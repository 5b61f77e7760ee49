//! What a proof stands on: a header under a quorum certificate of validators that lead back to the
//! genesis.

use crate::{Certificate, CertificateError, Genesis, Header, state::validators_hash};
use aegle_model::{Canonical, NetworkId, PublicKey};
use borsh::{BorshDeserialize, BorshSerialize};
use std::borrow::Cow;

/// How many headers may lie between the proven one and the certified one.
const LINKS_MAX: usize = 256;

/// One change of validators: the last header of an epoch under the votes of its own validators, and
/// those that it hands over to.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Handover {
    /// The last header of an epoch.
    pub header: Header,
    /// The votes for it, in the same epoch.
    pub certificate: Certificate,
    /// The keys that vote from the next epoch on, sorted.
    pub validators: Vec<PublicKey>,
}

/// A header, the headers after it up to one that a quorum finalised, and the votes for that one.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Anchor {
    /// Every change of validators from the genesis up to the header's epoch, oldest first.
    pub handovers: Vec<Handover>,
    /// The header that is proven.
    pub header: Header,
    /// Its descendants up to the certified one; empty when it is certified itself.
    pub links: Vec<Header>,
    /// The votes for the last of them.
    pub certificate: Certificate,
}

/// Why a header is not proven to be final.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// From another network or format version.
    #[error("the proof is from network `{0}`, not from the genesis at hand")]
    Network(NetworkId),
    /// The headers do not follow each other.
    #[error("the headers of the proof are not a chain")]
    Chain,
    /// A change of validators that does not follow from the one before, counted from 0.
    #[error("change {0} of the validators does not follow from the genesis and those before it")]
    Handover(usize),
    /// The votes are of validators that had handed over.
    #[error("the votes are of validators that are not those of the header's epoch")]
    Stale,
    /// The votes do not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl AnchorError {
    /// The cheat's stable name (`docs/formats.md`, "What a cheat is called").
    pub fn cheat(&self) -> &'static str {
        match self {
            Self::Network(_) => "foreign-network",
            Self::Chain => "broken-chain",
            Self::Handover(_) => "broken-handover",
            Self::Stale => "stale-validators",
            Self::Certificate(error) => error.cheat(),
        }
    }
}

/// An anchor that holds: many receipts can stand on it without another check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAnchor(Anchor);

impl VerifiedAnchor {
    /// The anchor.
    pub fn anchor(&self) -> &Anchor {
        &self.0
    }
}

/// The validators of an epoch, as far as they are proven.
struct Validators<'a> {
    /// The first epoch in which they vote.
    since: u64,
    keys: Cow<'a, [PublicKey]>,
}

impl Canonical for Anchor {
    const NAME: &'static str = "anchor";
}

impl Anchor {
    /// Like [`Self::verify`], and keeps the result.
    pub fn verified(self, genesis: &Genesis) -> Result<VerifiedAnchor, AnchorError> {
        self.verify(genesis)?;
        Ok(VerifiedAnchor(self))
    }

    /// Checks that the header is final in the network that `genesis` began.
    pub fn verify(&self, genesis: &Genesis) -> Result<(), AnchorError> {
        let network = genesis.network();
        if self.header.network != network {
            return Err(AnchorError::Network(self.header.network));
        }
        let last = self.last(genesis)?;
        let validators = self.validators(genesis)?;
        // All but the last header of an epoch name the validators of their own.
        let names_its_own = !genesis.epochs.ends(last.height);
        if last.epoch < validators.since
            || names_its_own && last.validators != validators_hash(&validators.keys)
        {
            return Err(AnchorError::Stale);
        }
        self.certificate.verify(network, &last.digest(), &validators.keys)?;
        if self.certificate.epoch == last.epoch { Ok(()) } else { Err(AnchorError::Stale) }
    }

    /// The header that the votes are for.
    pub fn certified(&self) -> &Header {
        self.links.last().unwrap_or(&self.header)
    }

    /// The keys that vote in an epoch up to that of the header. Means something when the anchor holds.
    pub fn validators_in(&self, genesis: &Genesis, epoch: u64) -> Vec<PublicKey> {
        let begun = self.handovers.iter().take_while(|handover| handover.header.epoch < epoch);
        begun.last().map_or_else(|| genesis.validators(), |handover| handover.validators.clone())
    }

    /// The certified header. Votes of one epoch prove headers of that epoch only.
    fn last(&self, genesis: &Genesis) -> Result<&Header, AnchorError> {
        let mut last = &self.header;
        for next in &self.links {
            let follows =
                next.parent == last.digest() && last.height.checked_add(1) == Some(next.height);
            if !follows || next.epoch != last.epoch || self.links.len() > LINKS_MAX {
                return Err(AnchorError::Chain);
            }
            last = next;
        }
        let in_epoch = genesis.epochs.of(last.height) == last.epoch;
        if in_epoch { Ok(last) } else { Err(AnchorError::Chain) }
    }

    /// The validators after all handovers.
    fn validators<'a>(&'a self, genesis: &Genesis) -> Result<Validators<'a>, AnchorError> {
        let mut validators = Validators { since: 0, keys: Cow::Owned(genesis.validators()) };
        for (number, handover) in self.handovers.iter().enumerate() {
            if !handover.follows(genesis, &validators) {
                return Err(AnchorError::Handover(number));
            }
            let since = handover.header.epoch.saturating_add(1);
            validators = Validators { since, keys: Cow::Borrowed(&handover.validators) };
        }
        Ok(validators)
    }
}

impl Handover {
    /// Whether `before` handed over like this.
    fn follows(&self, genesis: &Genesis, before: &Validators<'_>) -> bool {
        let (header, network) = (&self.header, genesis.network());
        header.network == network
            && header.epoch >= before.since
            && header.height == genesis.epochs.last(header.epoch)
            && self.certificate.epoch == header.epoch
            && header.validators == validators_hash(&self.validators)
            && self.certificate.verify(network, &header.digest(), &before.keys).is_ok()
    }
}
