//! Quorum certificates: that more than two thirds of the validators finalised a header.
//!
//! The signed bytes are those of the consensus engine's finalise vote (Simplex), written out here
//! so that a proof can be checked without the engine: `varint(len(namespace)) ‖ namespace ‖
//! varint(epoch) ‖ varint(view) ‖ varint(parent view) ‖ header digest`, where the namespace is
//! `aegle ‖ network id ‖ _FINALIZE` and a varint is LEB128.

use aegle_model::{Bits, Canonical, Hash, NetworkId, PublicKey, Signature};
use borsh::{BorshDeserialize, BorshSerialize};

/// Votes of a quorum for one header.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// The epoch of the vote.
    pub epoch: u64,
    /// The view in which the header was proposed.
    pub view: u64,
    /// The view of its parent.
    pub parent_view: u64,
    /// Positions of the signers among the sorted validators.
    pub signers: Bits,
    /// Their signatures, in that order.
    pub signatures: Vec<Signature>,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Too few votes.
    #[error("the certificate has {have} votes; {need} are needed")]
    TooFew {
        /// Votes there are.
        have: usize,
        /// Votes there must be.
        need: usize,
    },
    /// A signer who is no validator.
    #[error("the certificate names signers that are not validators")]
    Foreign,
    /// Another number of signatures than signers.
    #[error("the certificate has {signatures} signatures for {signers} signers")]
    Unpaired {
        /// Signers it names.
        signers: usize,
        /// Signatures it holds.
        signatures: usize,
    },
    /// A vote that does not hold.
    #[error("a vote of the certificate does not hold for this header")]
    Signature,
}

impl CertificateError {
    /// The cheat's stable name (`docs/formats.md`, "What a cheat is called").
    pub fn cheat(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "too-few-votes",
            Self::Foreign => "foreign-signer",
            Self::Unpaired { .. } => "unpaired-votes",
            Self::Signature => "bad-signature",
        }
    }
}

impl Canonical for Certificate {
    const NAME: &'static str = "certificate";
}

impl Certificate {
    /// How many of `validators` must vote: all but the largest minority below a third.
    pub fn quorum(validators: usize) -> usize {
        validators - validators.saturating_sub(1) / 3
    }

    /// The engine's namespace of a network.
    pub fn namespace(network: NetworkId) -> Vec<u8> {
        [b"aegle".as_slice(), network.as_bytes()].concat()
    }

    /// Checks that a quorum of `validators` (sorted) voted for the header with this digest.
    pub fn verify(
        &self,
        network: NetworkId,
        digest: &Hash,
        validators: &[PublicKey],
    ) -> Result<(), CertificateError> {
        if self.signers.end() > validators.len() {
            return Err(CertificateError::Foreign);
        }
        let (signers, signatures) = (self.signers.len(), self.signatures.len());
        let (have, need) = (signers.min(signatures), Self::quorum(validators.len()));
        if have < need {
            return Err(CertificateError::TooFew { have, need });
        }
        if signers != signatures {
            return Err(CertificateError::Unpaired { signers, signatures });
        }
        let vote = self.vote(network, digest);
        let held = self
            .signers
            .iter()
            .zip(&self.signatures)
            .all(|(signer, signature)| validators[signer].verify_raw(&vote, signature).is_ok());
        if held { Ok(()) } else { Err(CertificateError::Signature) }
    }

    /// The bytes that a validator signs to finalise.
    pub fn vote(&self, network: NetworkId, digest: &Hash) -> Vec<u8> {
        let namespace = [Self::namespace(network), b"_FINALIZE".to_vec()].concat();
        let mut bytes = Vec::with_capacity(96);
        varint(&mut bytes, namespace.len() as u64);
        bytes.extend_from_slice(&namespace);
        for number in [self.epoch, self.view, self.parent_view] {
            varint(&mut bytes, number);
        }
        bytes.extend_from_slice(digest.as_bytes());
        bytes
    }
}

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}
