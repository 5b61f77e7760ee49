//! Answers questions about the finalised chain inside the engine's runtime, where its storage lives.

use crate::{
    block::Block,
    certificate,
    chain::Chain,
    engine::{Blocks, Runtime, State},
    pool::Pool,
    state::{self, Databases},
    votes::{Ends, Wanted},
};
use aegle_ledger as ledger;
use aegle_ledger::{
    Anchor, Certificate, CertifiedBlock, Genesis, GovernanceRecord, Handover, Header, Position,
    Record, TxId, ValidatorsRecord,
};
use commonware_consensus::types::Height;
use futures::{StreamExt as _, stream};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::{mpsc, oneshot};

/// How many questions are worked on at the same time.
const CONCURRENT: usize = 64;
/// How many questions wait before callers do.
const QUEUED: usize = 1024;
/// How far above a block its certificate may be; receipts with more links do not verify.
const LINKS_MAX: usize = 256;
/// How many anchors are kept at hand.
const ANCHORS: usize = 16;

/// The way to the service.
pub(crate) type Requests = mpsc::Sender<Request>;

/// Finalised state with the header whose roots cover it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The header of the last block whose writes the values show.
    pub header: Header,
    /// One value for each key asked for, in the same order; `None` where there is none.
    pub values: Vec<Option<Vec<u8>>>,
}

/// A question and where the answer goes.
pub(crate) enum Request {
    Read(Vec<ledger::Key>, oneshot::Sender<Snapshot>),
    Position(TxId, oneshot::Sender<Option<Position>>),
    Block(u64, oneshot::Sender<Option<Arc<Block>>>),
    Anchor(u64, oneshot::Sender<Option<Anchor>>),
    Certified(u64, oneshot::Sender<Option<CertifiedBlock>>),
}

/// Asks and waits for the answer; none when the engine has stopped.
pub(crate) async fn ask<T>(
    requests: &Requests,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).await.ok()?;
    answer.await.ok()
}

/// The changes of validators that are at hand, by the epoch that began with them. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Handovers(Arc<Mutex<BTreeMap<u64, Handover>>>);

impl Handovers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Handover>> {
        self.0.lock().expect("no thread panics while it holds the handovers")
    }

    /// Keeps proven ones, whose blocks may not be here.
    pub(crate) fn keep(&self, handovers: &[Handover]) {
        let begun = |handover: &Handover| handover.header.epoch + 1;
        self.lock().extend(handovers.iter().map(|handover| (begun(handover), handover.clone())));
    }
}

/// Everything that answers need.
pub(crate) struct Service<E: Runtime> {
    genesis: Genesis,
    genesis_state: BTreeMap<ledger::Key, Vec<u8>>,
    state: State<E>,
    blocks: Blocks,
    pool: Arc<Pool>,
    chain: Arc<Chain>,
    anchors: Anchors,
    handovers: Handovers,
    ends: Ends,
}

/// The last anchors by height: many callers ask for receipts of one block.
#[derive(Default)]
struct Anchors(Mutex<BTreeMap<u64, Anchor>>);

impl Anchors {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Anchor>> {
        self.0.lock().expect("no thread panics while it holds the anchors")
    }

    fn get(&self, height: u64) -> Option<Anchor> {
        self.lock().get(&height).cloned()
    }

    fn keep(&self, anchor: Anchor) {
        let mut kept = self.lock();
        kept.insert(anchor.header.height, anchor);
        if kept.len() > ANCHORS {
            kept.pop_first();
        }
    }
}

impl<E: Runtime> Service<E> {
    pub(crate) fn new(
        genesis: Genesis,
        state: State<E>,
        blocks: Blocks,
        (pool, chain): (Arc<Pool>, Arc<Chain>),
        (handovers, ends): (Handovers, Ends),
    ) -> Self {
        let genesis_state = ledger::genesis_state(&genesis);
        let anchors = Anchors::default();
        Self { genesis, genesis_state, state, blocks, pool, chain, anchors, handovers, ends }
    }

    pub(crate) fn start(self, context: E) -> Requests {
        let (sender, receiver) = mpsc::channel(QUEUED);
        context.spawn(move |_| self.run(receiver));
        sender
    }

    async fn run(self, mut receiver: mpsc::Receiver<Request>) {
        let databases = self.state.subscribe_databases().await;
        self.resume(&databases).await;
        let (service, databases) = (&self, &databases);
        stream::poll_fn(move |context| receiver.poll_recv(context))
            .for_each_concurrent(CONCURRENT, |request| service.answer(databases, request))
            .await;
    }

    /// Takes up the chain where the last run left it.
    async fn resume(&self, databases: &Databases<E>) {
        let header = self.covering(state::height(&databases.read().await).await).await;
        self.pool.finalise(header.height, std::iter::empty());
        self.chain.resume(&header);
    }

    async fn answer(&self, databases: &Databases<E>, request: Request) {
        // Whoever asked may be gone: then nobody needs the answer.
        let _ = match request {
            Request::Read(keys, reply) => {
                reply.send(self.read(databases, &keys).await).err().map(drop)
            }
            Request::Position(id, reply) => {
                reply.send(self.position(databases, &id).await).err().map(drop)
            }
            Request::Block(height, reply) => reply.send(self.block(height).await).err().map(drop),
            Request::Anchor(height, reply) => {
                reply.send(self.anchor(databases, height).await).err().map(drop)
            }
            Request::Certified(height, reply) => {
                reply.send(self.certified(height).await).err().map(drop)
            }
        };
    }

    async fn read(&self, databases: &Databases<E>, keys: &[ledger::Key]) -> Snapshot {
        let database = databases.read().await;
        let height = state::height(&database).await;
        let values = match height {
            0 => keys.iter().map(|key| self.genesis_state.get(key).cloned()).collect(),
            _ => state::values(keys.iter(), async |keys| database.get_many(keys).await).await,
        };
        drop(database);
        Snapshot { header: self.covering(height).await, values }
    }

    async fn position(&self, databases: &Databases<E>, id: &TxId) -> Option<Position> {
        let database = databases.read().await;
        let key = state::key(&ledger::keys::transaction(id));
        let value = database.get(&key).await.expect("the state database cannot be read");
        value.and_then(|value| Position::read(&value.0))
    }

    async fn block(&self, height: u64) -> Option<Arc<Block>> {
        match self.chain.block(height) {
            Some(block) => Some(block),
            None => Some(self.blocks.get_block(Height::new(height)).await?.inner_shared()),
        }
    }

    /// The block whose writes the state shows last.
    async fn covering(&self, height: u64) -> Header {
        if height == 0 {
            return ledger::genesis_header(&self.genesis);
        }
        let block = self.block(height).await;
        block.expect("blocks are kept from before their state shows").header().clone()
    }

    /// The header at `height` with the nearest certificate that covers it. Votes of one epoch prove headers
    /// of that epoch only.
    async fn anchor(&self, databases: &Databases<E>, height: u64) -> Option<Anchor> {
        if let Some(anchor) = self.anchors.get(height) {
            return Some(anchor);
        }
        let header = self.block(height).await?.header().clone();
        let handovers = self.handovers(databases, header.epoch).await?;
        let mut links: Vec<Header> = Vec::new();
        while links.len() <= LINKS_MAX {
            let last = links.last().unwrap_or(&header);
            if let Some(certificate) = self.certificate(last).await {
                let anchor = Anchor { handovers, header, links, certificate };
                self.anchors.keep(anchor.clone());
                return Some(anchor);
            }
            if self.genesis.epochs.ends(last.height) {
                self.want(databases, last).await;
                return None;
            }
            let next = height + 1 + links.len() as u64;
            links.push(self.block(next).await?.header().clone());
        }
        None
    }

    /// The block at `height`, with the votes for it if they are here.
    async fn certified(&self, height: u64) -> Option<CertifiedBlock> {
        let block = self.block(height).await?.block().clone();
        let certificate = self.certificate(&block.header).await;
        Some(CertifiedBlock { block, certificate })
    }

    /// Every change of validators up to `epoch`; none when one is not at hand yet.
    async fn handovers(&self, databases: &Databases<E>, epoch: u64) -> Option<Vec<Handover>> {
        let key = ledger::keys::governance();
        let governance: GovernanceRecord = self.record(databases, key).await?;
        let mut handovers = Vec::new();
        for begun in governance.handovers.into_iter().filter(|begun| *begun <= epoch) {
            let known = self.handovers.lock().get(&begun).cloned();
            let handover = match known {
                Some(handover) => handover,
                None => self.handover(databases, begun).await?,
            };
            handovers.push(handover);
        }
        Some(handovers)
    }

    async fn handover(&self, databases: &Databases<E>, begun: u64) -> Option<Handover> {
        let last = self.genesis.epochs.last(begun.checked_sub(1)?);
        let header = self.block(last).await?.header().clone();
        let Some(certificate) = self.certificate(&header).await else {
            self.want(databases, &header).await;
            return None;
        };
        let key = ledger::keys::validators(begun);
        let ValidatorsRecord(validators) = self.record(databases, key).await?;
        let handover = Handover { header, certificate, validators };
        self.handovers.keep(std::slice::from_ref(&handover));
        Some(handover)
    }

    async fn record<T: Record>(&self, databases: &Databases<E>, key: ledger::Key) -> Option<T> {
        let snapshot = self.read(databases, &[key]).await;
        T::read(snapshot.values.first()?.as_deref()?)
    }

    async fn certificate(&self, header: &Header) -> Option<Certificate> {
        let own = self.blocks.get_finalization(Height::new(header.height)).await;
        let own = own.filter(|own| certificate::is_for(own, &header.digest()));
        own.map(|own| certificate::convert(&own)).or_else(|| self.ends.get(header))
    }

    /// Asks others for the votes for the last block of an epoch: a node that was away may have heard of it
    /// by a block of the next one.
    async fn want(&self, databases: &Databases<E>, last: &Header) {
        let governance: Option<GovernanceRecord> =
            self.record(databases, ledger::keys::governance()).await;
        let Some(since) = governance.map(|it| it.since(last.epoch)) else { return };
        let validators = self.record(databases, ledger::keys::validators(since)).await;
        if let Some(ValidatorsRecord(validators)) = validators {
            self.ends.want(Wanted { header: last.clone(), validators });
        }
    }
}
