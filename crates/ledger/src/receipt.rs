//! Receipts: that a transaction was decided and committed, and with which outcome.

use crate::anchor::{Anchor, AnchorError, VerifiedAnchor};
use crate::{Block, Body, Disclose, Genesis, InclusionProof, Outcome, Transaction, block};
use aegle_access::Decision;
use aegle_model::{Canonical, Hash};
use borsh::{BorshDeserialize, BorshSerialize};

/// One transaction with its outcome, its place in a block and the votes for that block.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// The header of the block and why it is final.
    pub anchor: Anchor,
    /// The transaction.
    pub transaction: Transaction,
    /// What became of it.
    pub outcome: Outcome,
    /// Where both stand in the block.
    pub proof: InclusionProof,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The block is not proven final.
    #[error("could not verify the receipt's block")]
    Anchor(#[from] AnchorError),
    /// It stands on another anchor than the one at hand.
    #[error("the receipt stands on another block or other votes than those at hand")]
    OtherAnchor,
    /// The transaction and outcome are not in the block.
    #[error("the transaction and its outcome are not in the receipt's block")]
    NotInBlock,
}

impl ReceiptError {
    /// The cheat's stable name (`docs/formats.md`, "What a cheat is called").
    pub fn cheat(&self) -> &'static str {
        match self {
            Self::Anchor(error) => error.cheat(),
            Self::OtherAnchor => "other-anchor",
            Self::NotInBlock => "not-in-block",
        }
    }
}

impl Canonical for Receipt {
    const NAME: &'static str = "receipt";
}

impl Receipt {
    /// The receipt of a block's entry; none when there is no such entry.
    pub fn new(block: &Block, index: usize, anchor: Anchor) -> Option<Self> {
        let (transaction, outcome) = block.entries.get(index)?.clone();
        let proof = InclusionProof::new(&block.leaves(), index);
        Some(Self { anchor, transaction, outcome, proof })
    }

    /// Checks the receipt against the network that `genesis` began.
    pub fn verify(self, genesis: &Genesis) -> Result<VerifiedReceipt, ReceiptError> {
        let anchor = self.anchor.clone().verified(genesis)?;
        self.verify_on(&anchor)
    }

    /// Checks the receipt against an anchor that holds; its own must be the same.
    pub fn verify_on(self, anchor: &VerifiedAnchor) -> Result<VerifiedReceipt, ReceiptError> {
        if self.anchor != *anchor.anchor() {
            return Err(ReceiptError::OtherAnchor);
        }
        let leaf = block::leaf(&(self.transaction.clone(), self.outcome.clone()));
        if self.proof.root(&leaf) != Some(self.anchor.header.transactions) {
            return Err(ReceiptError::NotInBlock);
        }
        Ok(VerifiedReceipt(self))
    }
}

/// A receipt that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt(Receipt);

impl VerifiedReceipt {
    /// The receipt.
    pub fn receipt(&self) -> &Receipt {
        &self.0
    }

    /// What names the receipt's disclosure everywhere: the same whichever votes prove it.
    pub fn hash(&self) -> Hash {
        let leaf = block::leaf(&(self.0.transaction.clone(), self.0.outcome.clone()));
        let block = self.0.anchor.header.digest();
        Hash::of("aegle.receipt", &[block.as_bytes(), &leaf])
    }

    /// The disclosure and its decision, if the receipt is about one that was decided.
    pub fn decided(&self) -> Option<(&Disclose, &Decision)> {
        match (self.0.transaction.body(), &self.0.outcome) {
            (Body::Disclose(disclose), Outcome::Decided(decision)) => Some((disclose, decision)),
            _ => None,
        }
    }
}
