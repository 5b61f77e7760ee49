//! Segments: stretches of blocks with their certificates, as a backup keeps them.
//!
//! Canonical bytes: 16 bytes that say what it is, a [`Summary`], the blocks, SHA-256 over all of that.
//! The hash finds what a disk or a copy did to a segment; what a person did, [`crate::ChainCheck`] finds.

use crate::{Block, BlockError, Certificate, Header};
use aegle_model::{Canonical, Hash, Malformed, NetworkId};
use borsh::{BorshDeserialize, BorshSerialize};

const MAGIC: &[u8; 16] = b"aegle segment 1\n";
const HASH_BYTES: usize = 32;

/// A block, and the votes for it where they are at hand: those for a later block cover it, too.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CertifiedBlock {
    /// The block.
    pub block: Block,
    /// Votes for this very block.
    pub certificate: Option<Certificate>,
}

impl CertifiedBlock {
    fn header(&self) -> &Header {
        &self.block.header
    }
}

/// What a segment holds, without its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Summary {
    /// The network.
    pub network: NetworkId,
    /// The height of its first block.
    pub first: u64,
    /// The height of its last block.
    pub last: u64,
    /// The digest of the header before its first.
    pub parent: Hash,
    /// The digest of its last header.
    pub tip: Hash,
}

impl Summary {
    /// None of no blocks.
    fn of(blocks: &[CertifiedBlock]) -> Option<Self> {
        let (first, last) = (blocks.first()?.header(), blocks.last()?.header());
        Some(Self {
            network: first.network,
            first: first.height,
            last: last.height,
            parent: first.parent,
            tip: last.digest(),
        })
    }
}

/// Why bytes are no segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Something else.
    #[error("these are not the bytes of a segment")]
    NotOne,
    /// Cut short or changed after it was written.
    #[error("the segment is cut short or damaged: its bytes are not those that were written")]
    Damaged,
    /// Not the canonical bytes.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The summary speaks of other blocks.
    #[error("the summary of the segment is not that of its blocks")]
    Summary,
    /// A block whose body is not the one its header commits to.
    #[error("could not use block {height} of the segment")]
    Block {
        /// The height that its header says.
        height: u64,
        /// Why.
        #[source]
        source: BlockError,
    },
}

impl SegmentError {
    /// The cheat's stable name (`docs/formats.md`, "What a cheat is called").
    pub fn cheat(&self) -> &'static str {
        match self {
            Self::NotOne | Self::Malformed(_) | Self::Summary => "malformed",
            Self::Damaged => "damaged-segment",
            Self::Block { .. } => "altered-block",
        }
    }
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Content {
    summary: Summary,
    blocks: Vec<CertifiedBlock>,
}

impl Canonical for Content {
    const NAME: &'static str = "segment";
}

/// The bytes of a segment of these blocks; none of no blocks.
pub fn write_segment(blocks: Vec<CertifiedBlock>) -> Option<Vec<u8>> {
    let content = Content { summary: Summary::of(&blocks)?, blocks };
    let mut bytes = [MAGIC.as_slice(), &content.to_bytes()].concat();
    bytes.extend_from_slice(Hash::sha256(&[&bytes]).as_bytes());
    Some(bytes)
}

/// What a segment holds, when its hash is right. Its blocks are not looked at.
pub fn segment_summary(bytes: &[u8]) -> Result<Summary, SegmentError> {
    let mut content = whole(bytes)?;
    Summary::deserialize(&mut content).map_err(|_| SegmentError::NotOne)
}

/// The blocks of a segment. Each body is the one that its header commits to; nothing else is checked.
pub fn read_segment(bytes: &[u8]) -> Result<Vec<CertifiedBlock>, SegmentError> {
    let content = Content::from_bytes(whole(bytes)?)?;
    if Summary::of(&content.blocks) != Some(content.summary) {
        return Err(SegmentError::Summary);
    }
    for CertifiedBlock { block, .. } in &content.blocks {
        let height = block.header.height;
        block.check_body().map_err(|source| SegmentError::Block { height, source })?;
    }
    Ok(content.blocks)
}

/// What stands between the magic and the hash, when both are right.
fn whole(bytes: &[u8]) -> Result<&[u8], SegmentError> {
    if !bytes.starts_with(MAGIC) {
        // The beginning of a segment that was cut there is damage, not another kind of file.
        return Err(if MAGIC.starts_with(bytes) {
            SegmentError::Damaged
        } else {
            SegmentError::NotOne
        });
    }
    let split = bytes.len().checked_sub(HASH_BYTES).filter(|split| *split >= MAGIC.len());
    let (content, hash) = bytes.split_at(split.ok_or(SegmentError::Damaged)?);
    if Hash::sha256(&[content]).as_bytes() != hash {
        return Err(SegmentError::Damaged);
    }
    Ok(&content[MAGIC.len()..])
}
