//! The ledger's block as the engine sees it: its bytes, its digest and the engine's own part.
//!
//! Invariants: the digest is the header's digest, and the header commits to everything else, so
//! two blocks are equal when their digests are. The bytes are the ledger's canonical bytes behind a
//! length; nothing of the engine's types reaches them but the opaque `engine` part.

use crate::state::Target;
use aegle_ledger as ledger;
use aegle_model::{Canonical as _, Hash};
use commonware_codec::{
    Buf, Copying, Decode as _, Encode as _, EncodeSize, Error, RangeCfg, Read, Write,
    varint::MAX_U32_VARINT_SIZE,
};
use commonware_consensus::{
    BoundedBlock, CertifiableBlock, Heightable,
    simplex::types,
    types::{Epoch, Height, Round, View},
};
use commonware_cryptography::{Digest as _, Digestible, Signer as _, ed25519, sha256};
use commonware_runtime::BufMut;

/// The most bytes that an encoded block may have; larger ones do not decode.
pub(crate) const BYTES_MAX: usize = ledger::BLOCK_BYTES_MAX + 16 * 1024;

/// Where in the engine's rounds a block was proposed, and on what.
pub(crate) type Context = types::Context<sha256::Digest, ed25519::PublicKey>;

/// The engine's part of a block: the proposal's place in consensus and the state database after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) context: Context,
    pub(crate) target: Target,
}

impl Seal {
    /// The seal of the block before all others, which nobody proposed.
    pub(crate) fn genesis() -> Self {
        Self {
            context: Context {
                round: Round::new(Epoch::zero(), View::zero()),
                leader: ed25519::PrivateKey::from_seed(0).public_key(),
                parent: (View::zero(), sha256::Digest::EMPTY),
            },
            target: crate::state::initial_target(),
        }
    }

    /// The opaque bytes that the ledger's block carries.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        (self.context.clone(), self.target.clone()).encode().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (context, target) = <(Context, Target)>::decode_cfg(Copying(bytes), &((), ()))?;
        Ok(Self { context, target })
    }
}

/// A block, its bytes and its digest.
#[derive(Clone)]
pub(crate) struct Block {
    content: ledger::Block,
    bytes: Vec<u8>,
    digest: sha256::Digest,
    seal: Seal,
}

impl Block {
    /// The block of height 0.
    pub(crate) fn genesis(genesis: &ledger::Genesis) -> Self {
        let header = ledger::genesis_header(genesis);
        Self::new(
            ledger::Block { header, entries: Vec::new(), engine: Vec::new() },
            Seal::genesis(),
        )
    }

    /// A block whose `engine` bytes are those of `seal` (or empty, at height 0).
    pub(crate) fn new(block: ledger::Block, seal: Seal) -> Self {
        let bytes = block.to_bytes();
        let digest = digest(&block.header.digest());
        Self { content: block, bytes, digest, seal }
    }

    pub(crate) fn header(&self) -> &ledger::Header {
        &self.content.header
    }

    pub(crate) fn block(&self) -> &ledger::Block {
        &self.content
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.seal
    }
}

/// The engine's type for a hash of ours.
pub(crate) fn digest(hash: &Hash) -> sha256::Digest {
    sha256::Digest::from(*hash.as_bytes())
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("height", &self.header().height)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Block {}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        self.bytes.write(buf);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        self.bytes.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let bytes = Vec::<u8>::read_cfg(buf, &(RangeCfg::new(..=BYTES_MAX), ()))?;
        let invalid = |what| Error::Invalid("Block", what);
        let block =
            ledger::Block::decode(&bytes).map_err(|_| invalid("not a block of the ledger"))?;
        let seal = match block.header.height {
            0 if block.engine.is_empty() => Seal::genesis(),
            _ => Seal::from_bytes(&block.engine)?,
        };
        let digest = digest(&block.header.digest());
        Ok(Self { content: block, bytes, digest, seal })
    }
}

impl Digestible for Block {
    type Digest = sha256::Digest;

    fn digest(&self) -> sha256::Digest {
        self.digest
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        Height::new(self.header().height)
    }
}

impl commonware_consensus::Block for Block {
    fn parent(&self) -> sha256::Digest {
        digest(&self.header().parent)
    }
}

impl CertifiableBlock for Block {
    type Context = Context;

    fn context(&self) -> Context {
        self.seal.context.clone()
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        MAX_U32_VARINT_SIZE + BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use commonware_codec::DecodeExt as _;

    /// A block after the genesis with an arbitrary seal.
    fn block() -> Block {
        let genesis = fixture::genesis(&fixture::keys(1));
        let seal = Seal {
            context: Context {
                parent: (View::zero(), sha256::Digest::EMPTY),
                ..Seal::genesis().context
            },
            target: crate::state::initial_target(),
        };
        let engine = seal.to_bytes();
        let mut header = ledger::genesis_header(&genesis);
        (header.height, header.engine) = (1, ledger::Block::engine_hash(&engine));
        Block::new(ledger::Block { header, entries: Vec::new(), engine }, seal)
    }

    #[test]
    fn a_block_survives_its_encoding() {
        for block in [block(), Block::genesis(&fixture::genesis(&fixture::keys(1)))] {
            let decoded = Block::decode(block.encode()).unwrap();
            assert_eq!(decoded, block);
            assert_eq!(decoded.seal(), block.seal());
            assert_eq!(decoded.encode(), block.encode());
        }
    }

    #[test]
    fn a_block_with_another_engine_part_is_none() {
        let mut altered = block().content.clone();
        altered.engine[0] ^= 1;
        assert!(Block::decode(altered.to_bytes().encode()).is_err());
    }

    #[test]
    fn a_block_without_an_engine_part_is_none_but_the_first() {
        let mut bare = block().content.clone();
        bare.engine.clear();
        bare.header.engine = ledger::Block::engine_hash(&[]);
        assert!(Block::decode(bare.to_bytes().encode()).is_err());
    }

    #[test]
    fn bytes_beyond_the_limit_are_no_block() {
        let bytes = vec![0_u8; BYTES_MAX + 1].encode();
        assert!(matches!(Block::decode(bytes), Err(Error::InvalidLength(_))));
    }
}
