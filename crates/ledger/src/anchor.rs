//! What a proof stands on: a header under a quorum certificate.

use crate::{Certificate, CertificateError, Genesis, Header};
use borsh::{BorshDeserialize, BorshSerialize};

/// How many headers may lie between the proven one and the certified one.
const LINKS_MAX: usize = 256;

/// A header, the headers after it up to one that a quorum finalised, and the votes for that one.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Anchor {
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
    Network(aegle_model::NetworkId),
    /// The headers do not follow each other.
    #[error("the headers of the proof are not a chain")]
    Chain,
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
        let mut last = &self.header;
        for next in &self.links {
            let follows =
                next.parent == last.digest() && last.height.checked_add(1) == Some(next.height);
            if !follows || self.links.len() > LINKS_MAX {
                return Err(AnchorError::Chain);
            }
            last = next;
        }
        Ok(self.certificate.verify(network, &last.digest(), &genesis.validators())?)
    }
}
