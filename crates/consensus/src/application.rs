//! The ledger as the engine runs it: builds blocks, re-executes those of others, says what is final.
//!
//! Invariants: a block is voted for only when re-execution reproduces every field of its header; its
//! time is later than its parent's and not ahead of the local clock by more than [`DRIFT`]. A block
//! that a quorum finalised and this node cannot reproduce stops the node: nothing wrong is ever stored.

use crate::{
    block::{Block, Context as Round, Seal},
    chain::Chain,
    pool::Pool,
    state::{self, Batch, Databases, Sealed, Target, Value},
};
use aegle_ledger as ledger;
use aegle_ledger::{Execution, Header, Loaded, Outcome, Stop, Transaction, TxId};
use aegle_model::Timestamp;
use commonware_consensus::{Block as _, Heightable as _, marshal::ancestry::Ancestry};
use commonware_cryptography::Digestible as _;
use commonware_glue::stateful::{
    Application, Finality, Input, Proposed,
    db::{DatabaseSet, Merkleized as _, Unmerkleized as _},
};
use commonware_runtime::{Clock, Spawner, utils::reschedule};
use commonware_storage::Context;
use commonware_utils::non_empty_range;
use futures::StreamExt as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tracing::warn;

/// How far a block's time may be ahead of the clock of a node that votes for it.
const DRIFT: Duration = Duration::from_secs(10);

/// How long a node waits for its clock to come within [`DRIFT`] of a block's time before it gives the
/// block up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far a block's time may be ahead of the clock of a node that votes for it in the end, in
/// milliseconds.
pub(crate) const AHEAD_MAX: u64 = (DRIFT.as_secs() + PATIENCE.as_secs()) * 1_000;

/// How many ancestors of a proposal may be looked at for transactions that they hold already.
const PENDING_MAX: usize = 64;

/// How many bytes of the state the transactions of a block may read together, so that it is executed
/// long before others give up waiting. One alone may read more: all that one patient has. Little in
/// simulations, so that they meet it.
const READ_MAX: usize = if cfg!(test) { 16 * 1024 } else { 32 * 1024 * 1024 };

/// How many records are read at once.
const READ_AT_ONCE: usize = 1024;

/// Executes the ledger for the engine. Clones share everything.
#[derive(Clone)]
pub(crate) struct Executor {
    genesis: Block,
    state: Arc<BTreeMap<ledger::Key, Vec<u8>>>,
    pool: Arc<Pool>,
    chain: Arc<Chain>,
}

/// Why a block is not voted for.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("its header differs from what execution yields")]
    Header,
    #[error("its time does not come after its parent's")]
    NotAfterParent,
    #[error("its time is too far ahead of the local clock")]
    Future,
    #[error("it holds a transaction that is refused at every door: {0}")]
    Door(#[from] ledger::TransactionError),
    #[error(
        "it follows version {0} of the protocol, which this node does not know; install a newer one"
    )]
    Protocol(u16),
    #[error("its transaction {index} may not be in it: {why}")]
    Execution { index: usize, why: ledger::Invalid },
    #[error("its transactions read more than a block may")]
    Heavy,
}

impl Executor {
    pub(crate) fn new(genesis: &ledger::Genesis, pool: Arc<Pool>, chain: Arc<Chain>) -> Self {
        Self {
            genesis: Block::genesis(genesis),
            state: Arc::new(ledger::genesis_state(genesis)),
            pool,
            chain,
        }
    }

    /// The transactions in those ancestors of a proposal that are not final here yet.
    pub(crate) async fn pending(&self, ancestry: impl Ancestry<Block>) -> BTreeSet<TxId> {
        let finalised = self.pool.height();
        let mut taken = BTreeSet::new();
        // A node that lags knows little as final; its distant ancestors are, whatever it knows.
        let mut ancestry = Box::pin(ancestry.take(PENDING_MAX));
        while let Some(block) = ancestry.next().await {
            if block.height().get() <= finalised {
                break;
            }
            taken.extend(ids(&block.inner().block().entries));
        }
        taken
    }

    /// Runs `step` until it has all of the parent's state that it needs, of which it may read so much.
    async fn run<E: Context + Spawner>(
        &self,
        batch: &Batch<E>,
        (height, most): (u64, usize),
        step: impl Fn(&Loaded) -> Result<Execution, Stop>,
    ) -> Result<Execution, Rejected> {
        let mut loaded = Loaded::default();
        loop {
            match step(&loaded) {
                Ok(execution) => return Ok(execution),
                Err(Stop::Needs(keys)) => {
                    let keys = Vec::from_iter(keys);
                    for keys in keys.chunks(READ_AT_ONCE) {
                        self.load(batch, height, keys, &mut loaded).await;
                        if loaded.bytes() > most {
                            return Err(Rejected::Heavy);
                        }
                    }
                }
                Err(Stop::Invalid(index, why)) => return Err(Rejected::Execution { index, why }),
                Err(Stop::Protocol(version)) => return Err(Rejected::Protocol(version)),
            }
        }
    }

    async fn load<E: Context + Spawner>(
        &self,
        batch: &Batch<E>,
        height: u64,
        keys: &[ledger::Key],
        loaded: &mut Loaded,
    ) {
        let values = match height {
            1 => keys.iter().map(|key| self.state.get(key).cloned()).collect(),
            _ => state::values(keys.iter(), async |keys| batch.get_many(keys).await).await,
        };
        for (key, value) in keys.iter().zip(values) {
            loaded.add(*key, value);
        }
    }

    /// Writes an execution into the parent's batch and seals it.
    async fn seal<E: Context + Spawner>(
        &self,
        batch: Batch<E>,
        height: u64,
        execution: &Execution,
    ) -> Sealed<E> {
        let mut batch = batch.with_metadata(state::encode_height(height));
        if height == 1 {
            // The state before the first block enters the database with it, in one commit.
            let untouched =
                self.state.iter().filter(|(key, _)| !execution.writes.contains_key(*key));
            for (key, value) in untouched {
                batch = batch.write(state::key(key), Some(Value(value.clone())));
            }
        }
        for (key, value) in &execution.writes {
            batch = batch.write(state::key(key), value.clone().map(Value));
        }
        batch.merkleize().await.expect("the state database cannot be read")
    }

    /// The time of a block proposed now on `parent`.
    fn time(parent: &Header, clock: &impl Clock) -> Timestamp {
        Timestamp(now(clock).0.max(parent.time.0 + 1))
    }

    /// The header of `block`'s parent, from memory if it is one of the last: the engine reads ancestors
    /// from disk, one more than it is asked for.
    async fn parent(&self, block: &Block, ancestry: impl Ancestry<Block>) -> Option<Header> {
        let before = block.header().height.checked_sub(1)?;
        if let Some(parent) = self.chain.block(before).filter(|it| it.digest() == block.parent()) {
            return Some(parent.header().clone());
        }
        let parent = Box::pin(ancestry.skip(1)).next().await?;
        Some(parent.inner().header().clone())
    }

    /// Waits until the clock is close enough to `header`'s time.
    async fn check_time(
        parent: &Header,
        header: &Header,
        clock: &impl Clock,
    ) -> Result<(), Rejected> {
        if header.time <= parent.time {
            return Err(Rejected::NotAfterParent);
        }
        let latest = now(clock).0.saturating_add(millis(DRIFT));
        let ahead = Duration::from_millis(header.time.0.saturating_sub(latest));
        if ahead > PATIENCE {
            return Err(Rejected::Future);
        }
        if !ahead.is_zero() {
            clock.sleep(ahead).await;
        }
        Ok(())
    }

    /// Checks the signatures that this node has not checked before. Lets other tasks run in between.
    async fn check_signatures(&self, block: &ledger::Block) -> Result<(), Rejected> {
        for (transaction, _) in &block.entries {
            if !self.pool.has_checked(transaction) {
                transaction.check(block.header.network)?;
                self.pool.mark_checked(transaction);
                reschedule().await;
            }
        }
        Ok(())
    }

    /// Executes as many of `candidates` as fit into a block; those that may not be in one at all leave
    /// the pool.
    async fn fill<E: Context + Spawner>(
        &self,
        batch: &Batch<E>,
        parent: &Header,
        time: Timestamp,
        mut candidates: Vec<Transaction>,
    ) -> Result<Execution, Rejected> {
        loop {
            let step = |loaded: &Loaded| ledger::build(loaded, parent, time, &candidates);
            let limits = (parent.height + 1, most_read(candidates.len()));
            let execution = match self.run(batch, limits, step).await {
                Err(Rejected::Heavy) => {
                    candidates.truncate(candidates.len() / 2);
                    continue;
                }
                ran => ran?,
            };
            let included: BTreeSet<TxId> = ids(&execution.entries).collect();
            let left_out =
                candidates.iter().map(Transaction::id).filter(|id| !included.contains(id));
            self.pool.discard(left_out);
            let bytes = borsh::object_length(&execution.entries).expect("measuring cannot fail");
            if bytes <= ledger::BLOCK_BYTES_MAX {
                return Ok(execution);
            }
            candidates.truncate(candidates.len() / 2);
        }
    }

    async fn build<E: Context + Spawner>(
        &self,
        (clock, round): (E, Round),
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
    ) -> Option<Proposed<Self, E>> {
        let parent = ancestry.peek()?.inner_shared();
        let taken = self.pending(ancestry).await;
        let candidates = self.pool.candidates(&taken);
        let (parent, time) = (parent.header(), Self::time(parent.header(), &clock));
        let height = parent.height + 1;
        let execution = self.fill(&batch, parent, time, candidates).await.ok()?;
        let sealed = self.seal::<E>(batch, height, &execution).await;
        let seal = Seal { context: round, target: target(&sealed) };
        let engine = seal.to_bytes();
        let header = execution.header(parent, time, &engine);
        let block = Block::new(ledger::Block { header, entries: execution.entries, engine }, seal);
        Some(Proposed { block, merkleized: sealed })
    }

    async fn check<E: Context + Spawner>(
        &self,
        clock: E,
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        finality: Finality,
    ) -> Result<Sealed<E>, Rejected> {
        let block = ancestry.peek().cloned().ok_or(Rejected::Header)?;
        let parent = self.parent(block.inner(), ancestry).await.ok_or(Rejected::Header)?;
        let (parent, claimed) = (&parent, block.inner().header());
        if matches!(finality, Finality::Candidate) {
            Self::check_time(parent, claimed, &clock).await?;
            self.check_signatures(block.inner().block()).await?;
        }
        let entries = &block.inner().block().entries;
        let transactions: Vec<Transaction> =
            entries.iter().map(|(entry, _)| entry.clone()).collect();
        let (height, time) = (claimed.height, claimed.time);
        let step = |loaded: &Loaded| ledger::execute(loaded, parent, time, &transactions);
        let most = match finality {
            Finality::Candidate => most_read(transactions.len()),
            Finality::Finalized => usize::MAX,
        };
        let execution = self.run(&batch, (height, most), step).await?;
        let expected = execution.header(parent, time, &block.inner().block().engine);
        if expected != *claimed || execution.entries != *entries {
            return Err(Rejected::Header);
        }
        Ok(self.seal::<E>(batch, height, &execution).await)
    }
}

/// How much of the state so many transactions may read together.
const fn most_read(transactions: usize) -> usize {
    if transactions > 1 { READ_MAX } else { usize::MAX }
}

fn ids(entries: &[(Transaction, Outcome)]) -> impl Iterator<Item = TxId> {
    entries.iter().map(|(transaction, _)| transaction.id())
}

/// The sync target that a sealed batch leads to.
fn target<E: Context + Spawner>(sealed: &Sealed<E>) -> Target {
    let bounds = sealed.bounds();
    Target::new(sealed.root(), non_empty_range!(bounds.inactivity_floor, bounds.tip.size))
}

fn now(clock: &impl Clock) -> Timestamp {
    let since = clock.current().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(millis(since))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<E: Context + Spawner> Application<E> for Executor {
    type SigningScheme = crate::engine::Scheme;
    type Context = Round;
    type Block = Block;
    type Databases = Databases<E>;
    type Captured = ();
    type Provider = ();
    type Input = ();

    fn sync_targets(block: &Block) -> Target {
        state::target(block)
    }

    async fn genesis(&mut self) -> Block {
        self.genesis.clone()
    }

    async fn propose(
        &mut self,
        context: (E, Round),
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        _input: Input<(), ()>,
    ) -> Option<Proposed<Self, E>> {
        self.build(context, ancestry, batch).await
    }

    async fn process(
        &mut self,
        context: (E, Round),
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        finality: Finality,
    ) -> Option<Sealed<E>> {
        let (height, digest) = ancestry.peek().map(|block| (block.height(), block.digest()))?;
        let checked = self.check(context.0, ancestry, batch, finality).await;
        checked
            .inspect_err(
                |reason| warn!(%height, %digest, "A block does not get this node's vote: {reason}"),
            )
            .ok()
    }

    async fn capture(
        &mut self,
        _context: (E, Round),
        block: &Block,
        _batches: &Sealed<E>,
        _readers: <Databases<E> as DatabaseSet<E>>::Readers,
    ) {
        // Before the state shows the block, so that whoever reads the state finds its header.
        self.chain.expect(Arc::new(block.clone()));
    }

    async fn finalized(
        &mut self,
        _context: (E, Round),
        block: &Block,
        (): (),
        _readers: <Databases<E> as DatabaseSet<E>>::Readers,
    ) {
        let ids: Vec<TxId> = ids(&block.block().entries).collect();
        let expired = self.pool.finalise(block.header().height, ids.iter().copied());
        self.chain.advance(block.header(), &ids);
        self.chain.give_up(&expired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use commonware_runtime::{Runner as _, deterministic};

    fn header(time: u64) -> Header {
        let genesis = fixture::genesis(&fixture::keys(1));
        Header { time: Timestamp(time), ..ledger::genesis_header(&genesis) }
    }

    /// Checks a block's time when the clock shows 1 s and the parent's time is 0.5 s; says how long
    /// that took.
    fn check(time: u64) -> (Result<(), String>, u64) {
        deterministic::Runner::default().start(|clock| async move {
            clock.sleep(Duration::from_secs(1)).await;
            let before = now(&clock);
            let checked = Executor::check_time(&header(500), &header(time), &clock).await;
            (checked.map_err(|rejected| rejected.to_string()), now(&clock).0 - before.0)
        })
    }

    #[test]
    fn a_block_comes_after_its_parent() {
        let refused = Err("its time does not come after its parent's".to_owned());
        assert_eq!(check(499), (refused.clone(), 0));
        assert_eq!(check(500), (refused, 0));
        assert_eq!(check(501), (Ok(()), 0));
    }

    #[test]
    fn a_block_from_a_fast_clock_waits_until_it_is_acceptable() {
        assert_eq!(check(11_000), (Ok(()), 0));
        let (checked, waited) = check(13_000);
        assert_eq!(checked, Ok(()));
        assert!((2000..2100).contains(&waited), "waited {waited} ms");
    }

    #[test]
    fn a_block_from_the_far_future_is_given_up_at_once() {
        let refused = Err("its time is too far ahead of the local clock".to_owned());
        assert_eq!(check(1_000_000), (refused, 0));
    }

    #[test]
    fn time_never_runs_backwards_for_a_proposer_whose_clock_does() {
        deterministic::Runner::default().start(|clock| async move {
            assert_eq!(Executor::time(&header(70_000), &clock), Timestamp(70_001));
        });
    }
}
