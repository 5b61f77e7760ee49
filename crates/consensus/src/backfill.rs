//! The blocks from before a state transfer, fetched downwards behind the running node.
//!
//! Each block names its parent, so the chain from a proven block down to the genesis proves itself;
//! the votes that come with the blocks are checked, too. What holds is handed to the archives, which
//! take it in between their own writes: they have one owner, the engine.

use crate::{
    ahead::{Ahead, Limits},
    archive::{Bodies, Certificates},
    block::Block,
    certificate,
    engine::{Blocks, Runtime, Scheme},
    service::Handovers,
    sync,
    transfer::{Peers, Question},
};
use aegle_ledger::{Anchor, Block as Content, CertifiedBlock, Genesis, Header};
use aegle_model::Hash;
use commonware_codec::{DecodeExt as _, Encode as _, EncodeSize as _};
use commonware_consensus::{marshal::store, simplex::types::Finalization, types::Height};
use commonware_cryptography::{Digestible as _, sha256::Digest};
use commonware_runtime::Handle;
use commonware_storage::archive::{self, Archive as _, Identifier};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tracing::info;

/// How many blocks wait for the archives, and how many these take at once.
const QUEUED: usize = 256;
const AT_ONCE: usize = 64;
/// How much that is not passed on yet stays in memory.
const AHEAD: Limits = Limits { votes: 16_384, bytes: 8 * 1024 * 1024 };
/// How long until the block that a transfer started from is looked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// The votes for a block, with its height and digest.
type Votes = (Height, Digest, Finalization<Scheme, Digest>);

/// A block with the votes for it, where they are at hand.
type Fetched = (Block, Option<Finalization<Scheme, Digest>>);

/// An archive that takes what comes from before its first block in between, and has what was put last at
/// hand until it is passed on.
pub(crate) struct Filling<A, T> {
    archive: A,
    earlier: mpsc::Receiver<T>,
    ahead: Arc<Ahead<Finalization<Scheme, Digest>, Arc<Block>>>,
}

impl<E: Runtime> FillingVotes<E> {
    async fn fill(mut self) -> Result<Self, archive::Error> {
        for _ in 0..AT_ONCE {
            let Ok((height, digest, votes)) = self.earlier.try_recv() else { break };
            self.archive = store::Certificates::put(self.archive, height, digest, &votes).await?;
        }
        Ok(self)
    }
}

impl<E: Runtime> store::Certificates for FillingVotes<E> {
    type BlockDigest = Digest;
    type Commitment = Digest;
    type Scheme = Scheme;
    type Error = archive::Error;

    async fn put(
        mut self,
        height: Height,
        digest: Digest,
        votes: &Finalization<Scheme, Digest>,
    ) -> Result<Self, Self::Error> {
        self.ahead.put_votes(height.get(), votes.clone());
        self.archive = store::Certificates::put(self.archive, height, digest, votes).await?;
        Ok(self)
    }

    async fn sync(self) -> Result<Self, Self::Error> {
        let mut filled = self.fill().await?;
        filled.archive = store::Certificates::sync(filled.archive).await?;
        Ok(filled)
    }

    async fn start_sync(self) -> Result<(Self, Handle<()>), Self::Error> {
        let mut filled = self.fill().await?;
        let (archive, done) = store::Certificates::start_sync(filled.archive).await?;
        filled.archive = archive;
        Ok((filled, done))
    }

    async fn get(
        &self,
        id: Identifier<'_, Digest>,
    ) -> Result<Option<Finalization<Scheme, Digest>>, Self::Error> {
        if let Identifier::Index(height) = id
            && let Some(votes) = self.ahead.take_votes(height)
        {
            return Ok(Some(votes));
        }
        store::Certificates::get(&self.archive, id).await
    }

    async fn has(&self, height: Height) -> Result<bool, Self::Error> {
        store::Certificates::has(&self.archive, height).await
    }

    async fn prune(mut self, min: Height) -> Result<Self, Self::Error> {
        self.archive = store::Certificates::prune(self.archive, min).await?;
        Ok(self)
    }

    fn last_index(&self) -> Option<Height> {
        store::Certificates::last_index(&self.archive)
    }

    fn ranges_from(&self, from: Height) -> impl Iterator<Item = (Height, Height)> {
        store::Certificates::ranges_from(&self.archive, from)
    }
}

impl<E: Runtime> FillingBodies<E> {
    async fn fill(mut self) -> Result<Self, archive::Error> {
        for _ in 0..AT_ONCE {
            let Ok(block) = self.earlier.try_recv() else { break };
            self.archive = store::Blocks::put(self.archive, block.digest(), &block).await?;
        }
        Ok(self)
    }
}

impl<E: Runtime> store::Blocks for FillingBodies<E> {
    type Block = Arc<Block>;
    type Error = archive::Error;

    async fn put(mut self, digest: Digest, block: &Arc<Block>) -> Result<Self, Self::Error> {
        self.ahead.put_block(block.header().height, block.clone(), block.encode_size());
        self.archive = store::Blocks::put(self.archive, digest, block).await?;
        Ok(self)
    }

    async fn sync(self) -> Result<Self, Self::Error> {
        let mut filled = self.fill().await?;
        filled.archive = store::Blocks::sync(filled.archive).await?;
        Ok(filled)
    }

    async fn start_sync(self) -> Result<(Self, Handle<()>), Self::Error> {
        let mut filled = self.fill().await?;
        let (archive, done) = store::Blocks::start_sync(filled.archive).await?;
        filled.archive = archive;
        Ok((filled, done))
    }

    async fn get(&self, id: Identifier<'_, Digest>) -> Result<Option<Arc<Block>>, Self::Error> {
        if let Identifier::Index(height) = id
            && let Some(block) = self.ahead.take_block(height)
        {
            return Ok(Some(block));
        }
        store::Blocks::get(&self.archive, id).await
    }

    async fn prune(mut self, min: Height) -> Result<Self, Self::Error> {
        self.archive = store::Blocks::prune(self.archive, min).await?;
        Ok(self)
    }

    fn missing_items(&self, start: Height, max: usize) -> Vec<Height> {
        store::Blocks::missing_items(&self.archive, start, max)
    }

    fn next_gap(&self, value: Height) -> (Option<Height>, Option<Height>) {
        store::Blocks::next_gap(&self.archive, value)
    }

    fn last_index(&self) -> Option<Height> {
        store::Blocks::last_index(&self.archive)
    }
}

/// The archive of votes, which takes earlier ones.
pub(crate) type FillingVotes<E> = Filling<Certificates<E>, Votes>;
/// The archive of blocks, which takes earlier ones.
pub(crate) type FillingBodies<E> = Filling<Bodies<E>, Arc<Block>>;

/// Where what comes from before goes.
pub(crate) struct Filler {
    /// The stretches of heights that are here, lowest first.
    here: Vec<Heights>,
    /// The last block that the engine has passed on, or begins with; what is missing above it fetches itself.
    pub(crate) passed: Option<u64>,
    votes: mpsc::Sender<Votes>,
    bodies: mpsc::Sender<Arc<Block>>,
}

/// Opens both archives to what comes from before.
pub(crate) fn open<E: Runtime>(
    votes: Certificates<E>,
    bodies: Bodies<E>,
) -> (FillingVotes<E>, FillingBodies<E>, Filler) {
    let here = bodies.ranges().collect();
    let (votes_in, earlier_votes) = mpsc::channel(QUEUED);
    let (bodies_in, earlier_bodies) = mpsc::channel(QUEUED);
    let ahead = Arc::new(Ahead::new(AHEAD));
    let votes = Filling { archive: votes, earlier: earlier_votes, ahead: ahead.clone() };
    let bodies = Filling { archive: bodies, earlier: earlier_bodies, ahead };
    (votes, bodies, Filler { here, passed: None, votes: votes_in, bodies: bodies_in })
}

/// Heights from the first to the last of them.
pub(crate) type Heights = (u64, u64);

impl Filler {
    /// What is missing below the last block that was passed on, or below the one that a state transfer
    /// begins with. A transfer that was interrupted and begun anew leaves more than one gap.
    pub(crate) fn gaps(&self, begun: Option<&Anchor>) -> Vec<Heights> {
        let beginning = begun.map(|anchor| anchor.certified().height);
        let first = self.here.iter().map(|(first, _)| *first).find(|first| *first > 0);
        let top = beginning.or(self.passed).or(first);
        top.map_or_else(Vec::new, |top| gaps(&self.here, top))
    }
}

/// How many heights these are.
pub(crate) fn count(gaps: &[Heights]) -> u64 {
    gaps.iter().map(|(low, high)| high + 1 - low).sum()
}

/// What a back-fill works with.
pub(crate) struct Backfill {
    pub(crate) genesis: Genesis,
    pub(crate) peers: Peers,
    pub(crate) blocks: Blocks,
    pub(crate) handovers: Handovers,
    /// How many blocks are missing from the beginning.
    pub(crate) missing: watch::Sender<u64>,
}

impl Backfill {
    /// Fetches what is missing, under what a state transfer begins with.
    pub(crate) async fn run<E: Runtime>(
        self,
        context: E,
        (filler, gaps): (Filler, Vec<Heights>),
        begun: Option<Anchor>,
    ) {
        let mut missing = count(&gaps);
        if missing == 0 {
            return;
        }
        let anchor = match begun {
            Some(anchor) => anchor,
            None => sync::any_tip(&self.peers, &self.genesis).await,
        };
        self.handovers.keep(&anchor.handovers);
        let anchor = Arc::new(anchor);
        info!(missing, "Fetches the blocks from before the state that was transferred");
        for (low, high) in gaps {
            let mut child = self.header(&context, high + 1).await;
            while child.height > low {
                let stretch = self.stretch(&anchor, (child.height, child.parent)).await;
                for (block, votes) in stretch {
                    if block.header().height < low {
                        break;
                    }
                    child = block.header().clone();
                    missing -= 1;
                    // The archives are gone when the engine stops; then there is nothing left to do.
                    if let Some(votes) = votes {
                        let votes = (Height::new(child.height), block.digest(), votes);
                        let Ok(()) = filler.votes.send(votes).await else { return };
                    }
                    let Ok(()) = filler.bodies.send(Arc::new(block)).await else { return };
                }
                self.missing.send_replace(missing);
            }
        }
        info!("All blocks since the beginning are here");
    }

    /// The header of a block that is here or comes.
    async fn header<E: Runtime>(&self, context: &E, height: u64) -> Header {
        loop {
            match self.blocks.get_block(Height::new(height)).await {
                Some(block) => return block.inner().header().clone(),
                None => context.sleep(PAUSE).await,
            }
        }
    }

    /// Blocks below `height`, newest first, of which the first has the digest `parent`.
    async fn stretch(&self, anchor: &Arc<Anchor>, (height, parent): (u64, Hash)) -> Vec<Fetched> {
        let (genesis, anchor) = (self.genesis.clone(), anchor.clone());
        let open = move |answer: &[u8]| checked(answer, (&genesis, &anchor), (height, parent));
        self.peers.ask(Question::Before(height), None, open).await
    }
}

/// The stretches of heights from 1 on that are missing below `top`, highest first.
pub(crate) fn gaps(here: &[Heights], top: u64) -> Vec<Heights> {
    let (mut gaps, mut next) = (Vec::new(), 1);
    for (first, last) in here.iter().copied().chain([(top, top)]) {
        if next < first.min(top) {
            gaps.push((next, first.min(top) - 1));
        }
        next = next.max(last + 1);
    }
    gaps.reverse();
    gaps
}

/// The blocks of an answer; none when one of them does not belong there or votes do not hold.
fn checked(
    answer: &[u8],
    (genesis, anchor): (&Genesis, &Anchor),
    (mut height, mut parent): (u64, Hash),
) -> Option<Vec<Fetched>> {
    let blocks: Vec<CertifiedBlock> = borsh::from_slice(answer).ok()?;
    let mut checked = Vec::with_capacity(blocks.len());
    for CertifiedBlock { block, certificate } in blocks {
        let (header, digest) = (block.header.clone(), block.header.digest());
        height = height.checked_sub(1).filter(|height| *height > 0)?;
        if digest != parent || header.height != height {
            return None;
        }
        let votes = match certificate {
            Some(certificate) => {
                let validators = anchor.validators_in(genesis, header.epoch);
                certificate.verify(genesis.network(), &digest, &validators).ok()?;
                Some(certificate::revert(&certificate, &digest, validators.len())?)
            }
            None => None,
        };
        checked.push((decode(&block)?, votes));
        parent = header.parent;
    }
    (!checked.is_empty()).then_some(checked)
}

/// The engine's block; none when its body is not that of its header.
fn decode(block: &Content) -> Option<Block> {
    Block::decode(aegle_model::Canonical::to_bytes(block).encode()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block::Seal, fixture};
    use aegle_ledger::{Certificate, genesis_header};
    use aegle_model::{Bits, SigningKey};

    /// Blocks 1 to `count` of an empty chain, each with votes of three of four, oldest first.
    fn chain(genesis: &Genesis, keys: &[SigningKey], count: u64) -> Vec<CertifiedBlock> {
        let mut parent = genesis_header(genesis);
        let next = |_| {
            let engine = Seal::genesis().to_bytes();
            let header = Header {
                height: parent.height + 1,
                parent: parent.digest(),
                engine: Content::engine_hash(&engine),
                ..parent.clone()
            };
            parent = header.clone();
            let certificate = Some(votes(genesis, keys, &header));
            CertifiedBlock { block: Content { header, entries: Vec::new(), engine }, certificate }
        };
        (0..count).map(next).collect()
    }

    /// Votes of the first three for a header.
    fn votes(genesis: &Genesis, keys: &[SigningKey], header: &Header) -> Certificate {
        let mut certificate = Certificate {
            epoch: 0,
            view: header.height,
            parent_view: header.height - 1,
            signers: Bits::from_iter([0, 1, 2]),
            signatures: Vec::new(),
        };
        let vote = certificate.vote(genesis.network(), &header.digest());
        certificate.signatures = keys[..3].iter().map(|key| key.sign_raw(&vote)).collect();
        certificate
    }

    /// How many blocks are taken of an answer to who has block 5, after `alter`.
    fn taken(alter: impl FnOnce(&mut Vec<CertifiedBlock>)) -> Option<usize> {
        let keys = fixture::keys(4);
        let genesis = fixture::genesis(&keys);
        let mut blocks = chain(&genesis, &keys, 5);
        let tip = blocks.pop().unwrap();
        let anchor = Anchor {
            handovers: Vec::new(),
            header: tip.block.header.clone(),
            links: Vec::new(),
            certificate: tip.certificate.unwrap(),
        };
        anchor.verify(&genesis).unwrap();
        blocks.reverse();
        alter(&mut blocks);
        let answer = borsh::to_vec(&blocks).unwrap();
        let child = (tip.block.header.height, tip.block.header.parent);
        checked(&answer, (&genesis, &anchor), child).map(|checked| checked.len())
    }

    #[test]
    fn every_gap_below_the_top_is_missing() {
        assert_eq!(gaps(&[], 1), []);
        assert_eq!(gaps(&[], 5), [(1, 4)]);
        assert_eq!(gaps(&[(0, 9)], 9), []);
        assert_eq!(gaps(&[(0, 0)], 5), [(1, 4)]);
        assert_eq!(gaps(&[(5, 9)], 5), [(1, 4)]);
        // Two transfers began and were interrupted before the one that begins with block 20.
        assert_eq!(gaps(&[(0, 3), (7, 8), (12, 12)], 20), [(13, 19), (9, 11), (4, 6)]);
        // What is missing above the top is fetched by the engine.
        assert_eq!(gaps(&[(0, 3), (6, 8), (12, 15)], 7), [(4, 5)]);
        assert_eq!(gaps(&[(0, 3), (12, 15)], 3), []);
    }

    #[test]
    fn a_chain_down_to_the_genesis_proves_itself() {
        assert_eq!(taken(|_| {}), Some(4));
        assert_eq!(taken(|blocks| blocks.truncate(2)), Some(2));
        assert_eq!(taken(|blocks| blocks[1].certificate = None), Some(4), "later votes cover it");
    }

    #[test]
    fn what_does_not_belong_there_is_not_taken() {
        assert_eq!(taken(Vec::clear), None);
        assert_eq!(taken(|blocks| drop(blocks.remove(0))), None, "one is left out");
        assert_eq!(taken(|blocks| blocks.swap(1, 2)), None, "another order");
        assert_eq!(taken(|blocks| blocks[2].block.header.time.0 += 1), None, "another header");
        assert_eq!(taken(|blocks| blocks[2].block.engine[0] ^= 1), None, "another body");
        let foreign = |blocks: &mut Vec<CertifiedBlock>| {
            blocks[1].certificate = blocks[2].certificate.clone();
        };
        assert_eq!(taken(foreign), None, "votes for another block");
        let few = |blocks: &mut Vec<CertifiedBlock>| {
            let votes = blocks[0].certificate.as_mut().unwrap();
            votes.signers = Bits::from_iter([0, 1]);
            votes.signatures.pop();
        };
        assert_eq!(taken(few), None, "too few votes");
        let beyond = |blocks: &mut Vec<CertifiedBlock>| {
            let last = blocks.last().unwrap().clone();
            blocks.push(last);
        };
        assert_eq!(taken(beyond), None, "below the first block there is none");
    }
}
