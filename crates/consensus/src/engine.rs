//! Puts the engine together: agreement (simplex), delivery and backfill of blocks (marshal), state
//! (stateful over one database), gossip of transactions.
//!
//! The same code runs on real sockets and disks and in the deterministic simulation; only the
//! runtime and the network differ. Everything is named by concrete types, so that the stack is compiled
//! once, in this crate.

use crate::{
    application::Executor,
    archive::{self, Opened},
    backfill::{Backfill, Filler, count},
    block::Block,
    chain::Chain,
    client::{Ledger, Parts},
    gossip,
    members::Members,
    orchestrator::{Automaton, Hooks, Orchestrator, Peers, Role},
    pacing::Paced,
    pool::{Limits, Pool},
    schemes::Schemes,
    service::{self, Handovers, Service},
    state,
    sync::{self, Beginning, StateSource},
    timing::Timing,
    transfer::{self, Attached, Questions},
    votes::Ends,
};
use aegle_ledger::{Anchor, Genesis, MEMBERS_MAX};
use commonware_broadcast::buffered;
use commonware_consensus::{
    Application, Reporter,
    marshal::{
        self, Update,
        resolver::p2p as backfill,
        standard::{Deferred, Standard},
    },
    simplex::{
        self, SkipBudget,
        config::{Floor, ForwardPolicy, SkipPolicy},
        elector::RoundRobin,
        scheme::ed25519,
        types::Finalization,
    },
    types::{Epoch, FixedEpocher, ViewDelta},
};
use commonware_cryptography::{
    Sha256, Signer as _,
    ed25519::{PrivateKey, PublicKey},
    sha256,
};
use commonware_glue::stateful::{self, Stateful, SyncPlan, db::SyncEngineConfig};
use commonware_p2p::{Blocker, Provider, Receiver, Sender, max_message_size, utils::mux::prefixed};
use commonware_parallel::Sequential;
use commonware_runtime::{
    Clock, Handle, Metrics, Quota, Spawner, Storage,
    buffer::paged::{self, CacheRef},
};
use commonware_utils::{NZDuration, NZUsize};
use rand_core::CryptoRng;
use std::{
    num::{NonZeroU16, NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// How votes are signed: ed25519, so that a certificate names who signed.
pub(crate) type Scheme = ed25519::Scheme;
/// The engine's handle for finalised blocks and certificates.
pub(crate) type Blocks = marshal::core::Mailbox<Scheme, Standard<Block>>;
/// The engine's handle for state.
pub(crate) type State<E> = stateful::Mailbox<E, Executor>;

pub(crate) const MAILBOX: NonZeroUsize = NZUsize!(1024);
pub(crate) const BUFFER: NonZeroUsize = NZUsize!(64 * 1024);
/// The cache of file pages: 8 MiB. The page size is part of the format on disk.
pub(crate) const PAGE_BYTES: NonZeroU16 = paged::page_size(4096);
pub(crate) const PAGES: NonZeroUsize = NZUsize!(2048);
/// How many views behind the last finalised one are kept for nodes that lag a little; for others there
/// is the archive. Each keeps its block on disk once more.
pub(crate) const VIEWS_KEPT: ViewDelta = ViewDelta::new(32);

/// Where the journal of this node's votes in an epoch is.
pub(crate) fn journal(prefix: &str, epoch: u64) -> String {
    format!("{prefix}-votes-{epoch}")
}

/// Where the journal is of what this node heard in an epoch in which it follows.
pub(crate) fn heard(prefix: &str, epoch: u64) -> String {
    format!("{prefix}-heard-{epoch}")
}

/// A runtime that the engine can run on.
pub(crate) trait Runtime: Clock + CryptoRng + Spawner + Storage + Metrics {}
impl<T: Clock + CryptoRng + Spawner + Storage + Metrics> Runtime for T {}

/// Channels between nodes: number and messages per second and peer. Each reserves `quota x peers`
/// slots of memory at the receiver, so quotas are what the protocol needs and not more.
pub(crate) const CHANNELS: [(u64, u32); 7] = [
    (0, 256),  // votes
    (1, 256),  // certificates
    (2, 128),  // certificates asked for
    (3, 1024), // blocks asked for: who was away asks for each that it missed
    (4, 128),  // blocks proposed
    (7, 256),  // transactions
    (5, 64),   // state and blocks of the past; see `transfer`
];

/// The channels with their quotas in the network's types.
pub(crate) fn channels() -> Vec<(u64, Quota)> {
    let quota = |rate| Quota::per_second(NonZeroU32::new(rate).expect("quotas are constants"));
    CHANNELS.iter().map(|(channel, rate)| (*channel, quota(*rate))).collect()
}

/// The largest message that nodes of a network with so many founders send each other. All must use
/// the same, however many members there are.
pub(crate) fn message_bytes_max(founders: usize) -> u32 {
    let validators =
        u32::try_from(founders.max(MEMBERS_MAX)).expect("validators are counted in tens");
    max_message_size(&[
        prefixed(simplex::max_payload_size::<Scheme, sha256::Digest>(validators)),
        marshal::max_payload_size::<Standard<Block>, Scheme>(validators, &()),
        gossip::MESSAGE_BYTES_MAX,
        transfer::message_bytes_max(),
    ])
}

/// Who this node is, and in which network.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) genesis: Genesis,
    pub(crate) key: PrivateKey,
    /// Whether an empty folder is filled with the others' state: the network has run already.
    pub(crate) joins: bool,
}

/// One engine's way to its peers: the channels in the order of [`CHANNELS`].
pub(crate) struct Network<S, R, B, P> {
    pub(crate) channels: Vec<(S, R)>,
    pub(crate) blocker: B,
    pub(crate) peers: P,
    pub(crate) hooks: Hooks,
}

/// A running engine.
pub(crate) struct Engine {
    /// Ends when the engine does.
    pub(crate) handle: Handle<()>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) requests: service::Requests,
    pub(crate) connected: gossip::Connected,
    pub(crate) role: watch::Receiver<Role>,
    /// How many blocks are missing from the beginning.
    pub(crate) missing: watch::Receiver<u64>,
}

impl Engine {
    /// The ledger, for everyone who uses it.
    pub(crate) fn ledger(
        &self,
        genesis: Genesis,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> Ledger {
        Ledger::new(Parts {
            genesis,
            pool: self.pool.clone(),
            chain: self.chain.clone(),
            requests: self.requests.clone(),
            connected: self.connected.clone(),
            role: self.role.clone(),
            missing: self.missing.clone(),
            metrics: Box::new(metrics),
        })
    }
}

/// Starts an engine with its data below `prefix`. `observe` may wrap the receiver of finalised blocks,
/// `propose` what proposes and judges blocks.
pub(crate) async fn start<E, S, R, B, P, O, A>(
    context: E,
    prefix: &str,
    identity: Identity,
    timing: Timing,
    network: Network<S, R, B, P>,
    observe: impl FnOnce(State<E>) -> O,
    propose: impl FnOnce(Paced<E>) -> A,
) -> Engine
where
    E: Runtime,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    P: Provider<PublicKey = PublicKey>,
    O: Reporter<Activity = Update<Block>>,
    A: Application<
            E,
            SigningScheme = Scheme,
            Context = crate::block::Context,
            Block = Block,
            Input = (),
        >,
{
    let Network { channels, blocker, peers, mut hooks } = network;
    let channels: [_; CHANNELS.len()] =
        channels.try_into().ok().expect("one pair for each channel");
    let [votes, certificates, resolver, blocks_asked, blocks_proposed, transactions, past] =
        channels;
    let genesis = Block::genesis(&identity.genesis);
    let page_cache = CacheRef::new(PAGE_BYTES, PAGES);
    let pool = Arc::new(Pool::new(Limits::default()));
    let chain = Arc::new(Chain::new(genesis.header().clone()));

    let asked = backfill_config(&identity, &timing, blocker.clone(), peers.clone());
    let backfill = backfill::init(context.child("backfill"), asked, blocks_asked);
    let (broadcast, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        broadcast_config(&identity, peers.clone()),
    );
    broadcast.start(blocks_proposed);

    let me = identity.key.public_key();
    let (peers, questions) = transfer::start(&context, past, (me, blocker.clone(), peers), &timing);
    let schemes = Schemes::default();
    let epochs = FixedEpocher::new(identity.genesis.epochs.0);
    let plan = SyncPlan::init(context.child("plan"), prefix).await;
    let (plan, begun) = begin(&context, (&identity, &peers), plan, (&schemes, &mut hooks)).await;
    let Opened { marshal, blocks, floor, filler, last } =
        archive::open(&context, prefix, (&schemes, &epochs), &genesis, &plan, &page_cache).await;
    // Of the votes that a back-fill brought the last may be older than those a transfer began with.
    let last = last.into_iter().chain(plan.floor().cloned()).max_by_key(Finalization::round);
    let executor = Executor::new(&identity.genesis, pool.clone(), chain.clone());
    let database = state::layout(prefix, page_cache.clone());
    let attached = Attached::new();
    let source = StateSource { peers: peers.clone(), attached: attached.clone() };
    let stateful =
        stateful_config(executor.clone(), database, (blocks.clone(), floor), (plan, source));
    let (stateful, state) = Stateful::new(context.child("stateful"), stateful);
    let paced =
        Paced { inner: state.clone(), executor, pool: pool.clone(), heartbeat: timing.heartbeat };
    let automaton =
        Deferred::new(context.child("deferred"), propose(paced), blocks.clone(), epochs);
    marshal.start(observe(state.clone()), buffer, backfill);
    stateful.start();

    let (id, genesis) = (identity.genesis.network(), &identity.genesis);
    let past = Past { peers, questions, attached, filler, begun };
    let (requests, is_missing) =
        answer(&context, genesis, state, blocks.clone(), (&pool, &chain), past);
    let connected = gossip::start(&context, transactions, id, pool.clone());

    let members = Arc::new(Members::founders(&identity.genesis));
    let (sender, role) = watch::channel(Role { members, votes: false });
    let orchestrator = Orchestrator {
        identity,
        prefix: prefix.to_owned(),
        timing,
        schemes,
        blocks,
        last,
        chain: chain.clone(),
        pool: pool.clone(),
        requests: requests.clone(),
        blocker,
        automaton,
        page_cache,
        hooks,
        missing: is_missing.clone(),
        role: sender,
    };
    // It takes the context itself, so that everything started above ends with it.
    let handle =
        context.spawn(move |context| orchestrator.run(context, votes, certificates, resolver));
    Engine { handle, pool, chain, requests, connected, role, missing: is_missing }
}

/// What a node asks of others about the past, and answers them.
struct Past<E: Runtime> {
    peers: transfer::Peers,
    questions: Questions,
    attached: Attached<E>,
    filler: Filler,
    begun: Option<Anchor>,
}

/// Starts what answers questions, this node's own and those of others, and fetches the blocks that are
/// missing; says how many these are.
fn answer<E: Runtime>(
    context: &E,
    genesis: &Genesis,
    state: State<E>,
    blocks: Blocks,
    (pool, chain): (&Arc<Pool>, &Arc<Chain>),
    past: Past<E>,
) -> (service::Requests, watch::Receiver<u64>) {
    let Past { peers, questions, attached, filler, begun } = past;
    let handovers = Handovers::default();
    let shared = (pool.clone(), chain.clone());
    let (ends, wanted) = Ends::new();
    let fetched = (handovers.clone(), ends.clone());
    let service = Service::new(genesis.clone(), state, blocks.clone(), shared, fetched);
    let asked = (peers.clone(), genesis.network());
    context.child("votes").spawn(move |context| ends.fetch(context, wanted, asked));
    let requests = service.start(context.child("service"));
    questions.answer(context.child("answers"), requests.clone(), chain.clone(), attached);
    let gaps = filler.gaps(begun.as_ref());
    let (missing, is_missing) = watch::channel(count(&gaps));
    let backfill = Backfill { genesis: genesis.clone(), peers, blocks, handovers, missing };
    context.child("backfill").spawn(move |context| backfill.run(context, (filler, gaps), begun));
    (requests, is_missing)
}

/// Where a state transfer starts, if this node needs one. Peers can be asked from now on.
async fn begin<E: Runtime>(
    context: &E,
    (identity, peers): (&Identity, &transfer::Peers),
    plan: Plan<E>,
    (schemes, hooks): (&Schemes, &mut Hooks),
) -> (Plan<E>, Option<Anchor>) {
    if !plan.should_sync(identity.joins) {
        return (plan, None);
    }
    (hooks.track)(Peers::founders(&identity.genesis));
    let Some(Beginning { anchor, finalization }) = sync::beginning(context, peers, identity).await
    else {
        return (plan, None);
    };
    let epoch = anchor.certified().epoch;
    let validators = anchor.validators_in(&identity.genesis, epoch);
    schemes.add(epoch, identity.scheme(&validators, false));
    (plan.set_floor(finalization).await, Some(anchor))
}

/// How blocks that this node missed are asked for.
fn backfill_config<B, P>(
    identity: &Identity,
    timing: &Timing,
    blocker: B,
    peers: P,
) -> backfill::Config<PublicKey, P, B>
where
    B: Blocker<PublicKey = PublicKey>,
    P: Provider<PublicKey = PublicKey>,
{
    backfill::Config {
        public_key: identity.key.public_key(),
        peer_provider: peers,
        blocker,
        mailbox_size: MAILBOX,
        fetch_timeout: NZDuration!(timing.fetch),
        fetch_retry_delay: Duration::from_millis(100),
        priority_requests: false,
        priority_responses: false,
    }
}

/// How proposed blocks are sent to all.
fn broadcast_config<P: Provider<PublicKey = PublicKey>>(
    identity: &Identity,
    peers: P,
) -> buffered::Config<PublicKey, (), P, Sequential> {
    buffered::Config {
        public_key: identity.key.public_key(),
        mailbox_size: MAILBOX,
        // Leaders take turns: these are the last proposals of four times as many views.
        deque_size: 4,
        priority: true,
        codec_config: (),
        peer_provider: peers,
        strategy: Sequential,
    }
}

type Plan<E> = SyncPlan<E, Scheme, Standard<Block>>;
type StatefulConfig<E> = stateful::Config<E, Executor, Standard<Block>, StateSource<E>, Sequential>;

/// How state is kept. Nothing is pruned: a lagging node replays blocks.
fn stateful_config<E: Runtime>(
    application: Executor,
    db_config: state::Layout,
    marshal: (Blocks, marshal::core::Floor),
    (plan, resolvers): (Plan<E>, StateSource<E>),
) -> StatefulConfig<E> {
    stateful::Config {
        application,
        db_config,
        provider: (),
        marshal,
        mailbox_size: MAILBOX,
        plan,
        resolvers,
        sync_config: SyncEngineConfig {
            fetch_batch_size: transfer::OPERATIONS_MAX,
            apply_batch_size: transfer::OPERATIONS_MAX,
            max_outstanding_requests: NZUsize!(8),
        },
        prune_config: None,
        strategy: Sequential,
    }
}

type SimplexConfig<B, A> =
    simplex::Config<Scheme, RoundRobin<Sha256>, B, sha256::Digest, A, A, A, Sequential>;

/// How the validators of an epoch vote.
pub(crate) fn simplex_config<B, A>(
    scheme: Scheme,
    timing: &Timing,
    (partition, epoch, floor): (String, Epoch, Floor<Scheme, sha256::Digest>),
    (automaton, blocker): (A, B),
    page_cache: CacheRef,
) -> SimplexConfig<B, A>
where
    B: Blocker<PublicKey = PublicKey>,
    A: Automaton,
{
    simplex::Config {
        scheme,
        elector: RoundRobin::<Sha256>::default(),
        blocker,
        automaton: automaton.clone(),
        relay: automaton.clone(),
        reporter: automaton,
        strategy: Sequential,
        partition,
        mailbox_size: MAILBOX,
        epoch,
        floor,
        replay_buffer: BUFFER,
        write_buffer: BUFFER,
        page_cache,
        leader_timeout: timing.leader,
        certification_timeout: timing.certification,
        timeout_retry: timing.retry,
        view_retention: VIEWS_KEPT,
        skip: SkipPolicy::Enabled { timeout: timing.skip, budget: SkipBudget::Participants },
        fetch_timeout: NZDuration!(timing.fetch),
        fetch_retry_delay: Duration::from_millis(500),
        forward: ForwardPolicy::SilentVoters,
        track_historical_votes: false,
    }
}
