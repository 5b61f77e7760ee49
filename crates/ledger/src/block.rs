//! Headers and blocks. The digest is that of the header, so that a proof need not carry a block.

use crate::{Outcome, Transaction, merkle_root};
use aegle_model::{Canonical, Hash, Malformed, NetworkId, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};

/// The most bytes a block's entries can have.
pub const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Commits to everything that happened up to and in a block.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// The format and protocol version.
    pub version: u16,
    /// The network.
    pub network: NetworkId,
    /// The epoch: blocks with one set of validators; see [`crate::Epochs`].
    pub epoch: u64,
    /// Counts up by one.
    pub height: u64,
    /// The digest of the header before.
    pub parent: Hash,
    /// Later than the parent's.
    pub time: Timestamp,
    /// RFC 6962 root over the block's (transaction, outcome) pairs.
    pub transactions: Hash,
    /// Root over every patient's chain: entry count and newest hash.
    pub heads: Hash,
    /// Chain over every write to the state.
    pub state: Hash,
    /// Hash of the validators of the next block.
    pub validators: Hash,
    /// Hash of what the consensus engine keeps in the block.
    pub engine: Hash,
}

impl Header {
    /// The version of a network's first blocks.
    pub const VERSION_FIRST: u16 = 1;
    /// The newest version that this code can execute.
    pub const VERSION: u16 = 1;

    /// What names the block and what validators sign.
    pub fn digest(&self) -> Hash {
        Hash::of("aegle.header", &[&self.to_bytes()])
    }
}

impl Canonical for Header {
    const NAME: &'static str = "block header";
}

/// A header with what it commits to.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// Commits to the rest.
    pub header: Header,
    /// Each transaction with what became of it.
    pub entries: Vec<(Transaction, Outcome)>,
    /// What the consensus engine needs inside a block.
    pub engine: Vec<u8>,
}

/// Why bytes are no block.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Not the canonical bytes.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The body is not the one that the header commits to.
    #[error("the {0} of the block are not those of its header")]
    Commitment(&'static str),
}

impl Canonical for Block {
    const NAME: &'static str = "block";
}

impl Block {
    /// Decodes a block and checks that its body is the one its header commits to.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let block = Self::from_bytes(bytes)?;
        block.check_body()?;
        Ok(block)
    }

    /// Checks that the body is the one that the header commits to.
    pub fn check_body(&self) -> Result<(), BlockError> {
        if merkle_root(&self.leaves()) != self.header.transactions {
            return Err(BlockError::Commitment("transactions"));
        }
        if Self::engine_hash(&self.engine) != self.header.engine {
            return Err(BlockError::Commitment("engine bytes"));
        }
        Ok(())
    }

    /// The hash by which a header commits to the engine's bytes.
    pub fn engine_hash(engine: &[u8]) -> Hash {
        Hash::of("aegle.engine", &[engine])
    }

    /// The leaves of the block's Merkle tree.
    pub fn leaves(&self) -> Vec<Vec<u8>> {
        self.entries.iter().map(leaf).collect()
    }
}

/// One leaf: a transaction and its outcome.
pub(crate) fn leaf(entry: &(Transaction, Outcome)) -> Vec<u8> {
    borsh::to_vec(entry).expect("writing to memory cannot fail")
}
