//! Puts the engine together: agreement (simplex), delivery and backfill of blocks (marshal), state
//! (stateful over one database), gossip of transactions.
//!
//! The same code runs on real sockets and disks and in the deterministic simulation; only the
//! runtime and the network differ. Everything is named by concrete types, so that the stack is compiled
//! once, in this crate.

use crate::{
    application::Executor,
    block::Block,
    chain::Chain,
    gossip,
    pacing::Paced,
    pool::{Limits, Pool},
    service::{self, Service},
    state,
    sync::NoSource,
    timing::Timing,
};
use aegle_ledger::Genesis;
use commonware_broadcast::buffered;
use commonware_consensus::{
    Reporter,
    marshal::{
        self, Update,
        core::Actor as Marshal,
        resolver::p2p as backfill,
        standard::{Deferred, Standard},
    },
    simplex::{
        self,
        config::{Floor, ForwardPolicy, SkipPolicy},
        elector::RoundRobin,
        scheme::ed25519,
    },
    types::{Epoch, FixedEpocher, ViewDelta},
};
use commonware_cryptography::{
    Digested, Digestible as _, Sha256,
    certificate::ConstantProvider,
    ed25519::{PrivateKey, PublicKey},
};
use commonware_glue::stateful::{self, Stateful, SyncPlan, db::SyncEngineConfig};
use commonware_p2p::{Blocker, Provider, Receiver, Sender, max_message_size};
use commonware_parallel::Sequential;
use commonware_runtime::{
    Clock, Handle, Metrics, Quota, Spawner, Storage, buffer::paged::CacheRef,
};
use commonware_storage::archive::immutable;
use commonware_utils::{NZDuration, NZU16, NZU64, NZUsize, ordered::Set};
use rand_core::CryptoRng;
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

/// How votes are signed: ed25519, so that a certificate names who signed.
pub(crate) type Scheme = ed25519::Scheme;
/// The engine's handle for finalised blocks and certificates.
pub(crate) type Blocks = marshal::core::Mailbox<Scheme, Standard<Block>>;
/// The engine's handle for state.
pub(crate) type State<E> = stateful::Mailbox<E, Executor>;

/// Blocks per epoch: validators do not change yet, so the first epoch never ends.
const EPOCH: std::num::NonZeroU64 = NZU64!(u64::MAX);
const MAILBOX: NonZeroUsize = NZUsize!(1024);
const BUFFER: NonZeroUsize = NZUsize!(64 * 1024);
/// How many views behind the last finalised one are kept for nodes that lag.
const VIEWS_KEPT: ViewDelta = ViewDelta::new(256);

/// A runtime that the engine can run on.
pub(crate) trait Runtime: Clock + CryptoRng + Spawner + Storage + Metrics {}
impl<T: Clock + CryptoRng + Spawner + Storage + Metrics> Runtime for T {}

/// Channels between nodes: number and messages per second and peer. Each reserves `quota x peers`
/// slots of memory at the receiver, so quotas are what the protocol needs and not more.
pub(crate) const CHANNELS: [(u64, u32); 6] = [
    (0, 256), // votes
    (1, 256), // certificates
    (2, 128), // certificates asked for
    (3, 256), // blocks asked for
    (4, 128), // blocks proposed
    (7, 256), // transactions; 5 and 6 are kept for state transfer
];

/// The channels with their quotas in the network's types.
pub(crate) fn channels() -> Vec<(u64, Quota)> {
    let quota =
        |rate| Quota::per_second(std::num::NonZeroU32::new(rate).expect("quotas are constants"));
    CHANNELS.iter().map(|(channel, rate)| (*channel, quota(*rate))).collect()
}

/// The largest message that `validators` nodes send each other. All must use the same.
pub(crate) fn message_bytes_max(validators: usize) -> u32 {
    let validators = u32::try_from(validators).expect("validators are counted in tens");
    max_message_size(&[
        simplex::max_payload_size::<Scheme, commonware_cryptography::sha256::Digest>(validators),
        marshal::max_payload_size::<Standard<Block>, Scheme>(validators, &()),
        gossip::MESSAGE_BYTES_MAX,
    ])
}

/// Who this node is, and in which network.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) genesis: Genesis,
    pub(crate) key: PrivateKey,
    pub(crate) validators: Set<PublicKey>,
    pub(crate) scheme: Scheme,
}

/// One engine's way to its peers: the channels in the order of [`CHANNELS`].
pub(crate) struct Network<S, R, B, P> {
    pub(crate) channels: Vec<(S, R)>,
    pub(crate) blocker: B,
    pub(crate) peers: P,
}

/// A running engine.
pub(crate) struct Engine {
    /// Ends when the engine does.
    pub(crate) handle: Handle<()>,
    pub(crate) blocks: Blocks,
    pub(crate) pool: Arc<Pool>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) requests: service::Requests,
    pub(crate) connected: gossip::Connected,
}

/// Starts an engine with its data below `prefix`. `observe` may wrap the receiver of finalised blocks.
pub(crate) async fn start<E, S, R, B, P, O>(
    context: E,
    prefix: &str,
    identity: Identity,
    timing: Timing,
    network: Network<S, R, B, P>,
    observe: impl FnOnce(State<E>) -> O,
) -> Engine
where
    E: Runtime,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    P: Provider<PublicKey = PublicKey>,
    O: Reporter<Activity = Update<Block>>,
{
    let Network { channels, blocker, peers } = network;
    let [votes, certificates, resolver, blocks_asked, blocks_proposed, transactions]: [_;
        CHANNELS.len()] = channels.try_into().ok().expect("one pair for each channel");
    let me = commonware_cryptography::Signer::public_key(&identity.key);
    let genesis = Block::genesis(&identity.genesis);
    let page_cache = CacheRef::new(NZU16!(4096), NZUsize!(2048));
    let pool = Arc::new(Pool::new(Limits::default()));
    let chain = Arc::new(Chain::new(genesis.header().clone()));

    let resolver_config = backfill::Config {
        public_key: me.clone(),
        peer_provider: peers.clone(),
        blocker: blocker.clone(),
        mailbox_size: MAILBOX,
        fetch_timeout: NZDuration!(timing.fetch),
        fetch_retry_delay: Duration::from_millis(100),
        priority_requests: false,
        priority_responses: false,
    };
    let backfill = backfill::init(context.child("backfill"), resolver_config, blocks_asked);
    let broadcast_config = buffered::Config {
        public_key: me.clone(),
        mailbox_size: MAILBOX,
        deque_size: 16,
        priority: true,
        codec_config: (),
        peer_provider: peers,
        strategy: Sequential,
    };
    let (broadcast, buffer) = buffered::Engine::new(context.child("broadcast"), broadcast_config);
    broadcast.start(blocks_proposed);

    let plan = SyncPlan::init(context.child("plan"), prefix).await;
    let (marshal, blocks, floor) =
        marshal(&context, prefix, &identity, &genesis, &plan, &page_cache).await;
    let executor = Executor::new(&identity.genesis, pool.clone(), chain.clone());
    let (stateful, state) = Stateful::new(
        context.child("stateful"),
        stateful::Config {
            application: executor.clone(),
            db_config: state::layout(prefix, page_cache.clone()),
            provider: (),
            marshal: (blocks.clone(), floor),
            mailbox_size: MAILBOX,
            plan,
            resolvers: NoSource,
            sync_config: SyncEngineConfig {
                fetch_batch_size: NZU64!(64),
                apply_batch_size: NZU64!(1024),
                max_outstanding_requests: NZUsize!(8),
            },
            prune_config: None,
            strategy: Sequential,
        },
    );
    let paced = Paced {
        inner: state.clone(),
        executor: executor.clone(),
        pool: pool.clone(),
        heartbeat: timing.heartbeat,
    };
    let epochs = FixedEpocher::new(EPOCH);
    let automaton = Deferred::new(context.child("deferred"), paced, blocks.clone(), epochs);
    marshal.start(observe(state.clone()), buffer, backfill);
    stateful.start();

    let service =
        Service::new(identity.genesis.clone(), state, blocks.clone(), pool.clone(), chain.clone());
    let requests = service.start(context.child("service"));
    let connected = gossip::start(&context, transactions, identity.genesis.network(), pool.clone());

    let simplex_config = simplex::Config {
        scheme: identity.scheme,
        elector: RoundRobin::<Sha256>::default(),
        blocker,
        automaton: automaton.clone(),
        relay: automaton.clone(),
        reporter: automaton,
        strategy: Sequential,
        partition: format!("{prefix}-votes"),
        mailbox_size: MAILBOX,
        epoch: Epoch::zero(),
        floor: Floor::Genesis(genesis.digest()),
        replay_buffer: BUFFER,
        write_buffer: BUFFER,
        page_cache,
        leader_timeout: timing.leader,
        certification_timeout: timing.certification,
        timeout_retry: timing.retry,
        view_retention: VIEWS_KEPT,
        skip: SkipPolicy::Enabled {
            timeout: timing.skip,
            budget: simplex::SkipBudget::Participants,
        },
        fetch_timeout: NZDuration!(timing.fetch),
        fetch_retry_delay: Duration::from_millis(500),
        forward: ForwardPolicy::SilentVoters,
        track_historical_votes: false,
    };
    // The engine takes the context itself, so that everything started above ends with it.
    let engine = simplex::Engine::new(context, simplex_config);
    let handle = engine.start(votes, certificates, resolver);
    Engine { handle, blocks, pool, chain, requests, connected }
}

type Certificates<E> = immutable::Archive<
    E,
    commonware_cryptography::sha256::Digest,
    simplex::types::Finalization<Scheme, commonware_cryptography::sha256::Digest>,
>;
type Archive<E> = immutable::Archive<E, commonware_cryptography::sha256::Digest, Arc<Block>>;
type MarshalActor<E> = Marshal<
    E,
    Standard<Block>,
    ConstantProvider<Scheme, Epoch>,
    Certificates<E>,
    Archive<E>,
    FixedEpocher,
    Sequential,
>;

async fn marshal<E: Runtime>(
    context: &E,
    prefix: &str,
    identity: &Identity,
    genesis: &Block,
    plan: &SyncPlan<E, Scheme, Standard<Block>>,
    page_cache: &CacheRef,
) -> (MarshalActor<E>, Blocks, marshal::core::Floor) {
    let codec =
        <Scheme as commonware_cryptography::certificate::Verifier>::certificate_codec_config(
            &identity.scheme,
        );
    let certificates = immutable::Archive::init(
        context.child("certificates"),
        archive(prefix, "certificates", page_cache, codec),
    );
    let blocks = immutable::Archive::init(
        context.child("blocks"),
        archive(prefix, "blocks", page_cache, ()),
    );
    let certificates = certificates.await.expect("the archive of certificates cannot be opened");
    let blocks = blocks.await.expect("the archive of blocks cannot be opened");
    let digest = genesis.digest();
    let config = marshal::Config {
        provider: ConstantProvider::new(identity.scheme.clone()),
        epocher: FixedEpocher::new(EPOCH),
        start: plan.marshal_start(Digested::precomputed(genesis.clone(), digest)),
        partition_prefix: prefix.to_owned(),
        mailbox_size: MAILBOX,
        view_retention: VIEWS_KEPT,
        prunable_items_per_section: NZU64!(256),
        page_cache: page_cache.clone(),
        replay_buffer: BUFFER,
        key_write_buffer: BUFFER,
        value_write_buffer: BUFFER,
        block_codec_config: (),
        max_repair: NZUsize!(32),
        max_pending_acks: NZUsize!(16),
        strategy: Sequential,
    };
    Marshal::init(context.child("marshal"), certificates, blocks, config).await
}

/// An archive that is never pruned: the ledger is kept whole.
fn archive<C>(
    prefix: &str,
    name: &str,
    page_cache: &CacheRef,
    codec_config: C,
) -> immutable::Config<C> {
    let partition = |part: &str| format!("{prefix}-{name}-{part}");
    immutable::Config {
        metadata_partition: partition("metadata"),
        freezer_table_partition: partition("table"),
        freezer_table_initial_size: 16_384,
        freezer_table_resize_frequency: 4,
        freezer_table_resize_chunk_size: 4096,
        freezer_key_partition: partition("keys"),
        freezer_key_page_cache: page_cache.clone(),
        freezer_value_partition: partition("values"),
        freezer_value_target_size: 64 * 1024 * 1024,
        freezer_value_compression: None,
        ordinal_partition: partition("ordinal"),
        items_per_section: NZU64!(65_536),
        freezer_key_write_buffer: BUFFER,
        freezer_value_write_buffer: BUFFER,
        ordinal_write_buffer: BUFFER,
        replay_buffer: BUFFER,
        codec_config,
    }
}
