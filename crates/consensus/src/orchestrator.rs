//! Runs one voting engine per epoch, each with its own validators, journal and channels.
//!
//! When the last block of an epoch is final here, the state says who votes next: their keys go to
//! whoever checks certificates, their addresses to the network, and the next engine starts from that
//! block. A node that hears of a later epoch asks for the last block of its own, so that it catches up
//! epoch by epoch. While nothing becomes final, each node tells the others of its last final block:
//! those who vote in an epoch may all have missed that it began, and then no vote tells them. A node whose
//! key does not vote runs the same engine and only follows. A validator that lacks blocks of the past
//! follows until it has them, and then enters the epoch again to vote: the others may need its vote.

use crate::{
    chain::Chain,
    engine::{self, Blocks, Identity, Runtime, Scheme},
    members::Members,
    pool::Pool,
    schemes::Schemes,
    service::{Request, Requests},
    timing::Timing,
};
use aegle_ledger::{self as ledger, CentreRecord, Genesis, Header, NetworkRecord, Record, keys};
use aegle_model::Timestamp;
use commonware_codec::Encode as _;
use commonware_consensus::{
    CertifiableAutomaton, Epochable as _, Relay, Reporter,
    simplex::{
        self,
        config::Floor,
        types::{Activity, Certificate, Context as Round, Finalization},
    },
    types::{Epoch, Height},
};
use commonware_cryptography::{ed25519::PublicKey, sha256};
use commonware_macros::select;
use commonware_p2p::{
    Blocker, Channel, Message, Receiver, Recipients, Sender,
    utils::mux::{self, Builder as _, GlobalSender, MuxHandle, Muxer, SubReceiver, SubSender},
};
use commonware_runtime::{Handle, buffer::paged::CacheRef};
use commonware_utils::{channel::mpsc, ordered::Set, vec::NonEmptyVec};
use std::{future, sync::Arc, time::Duration};
use tokio::sync::{oneshot, watch};
use tracing::{debug, error, info};

/// The engine's own way to say who votes, proposes and hears.
pub(crate) trait Automaton:
    CertifiableAutomaton<Context = Round<sha256::Digest, PublicKey>, Digest = sha256::Digest>
    + Relay<Digest = sha256::Digest, PublicKey = PublicKey, Plan = simplex::Plan<PublicKey>>
    + Reporter<Activity = Activity<Scheme, sha256::Digest>>
{
}

impl<T> Automaton for T where
    T: CertifiableAutomaton<Context = Round<sha256::Digest, PublicKey>, Digest = sha256::Digest>
        + Relay<Digest = sha256::Digest, PublicKey = PublicKey, Plan = simplex::Plan<PublicKey>>
        + Reporter<Activity = Activity<Scheme, sha256::Digest>>
{
}

/// What this node is in the epoch that it is in.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) members: Arc<Members>,
    pub(crate) votes: bool,
}

/// A centre's node: its key and the address that the ledger knows, empty for founders.
pub(crate) type Node = (PublicKey, String);

/// Whom a node talks to in an epoch.
pub(crate) struct Peers {
    pub(crate) epoch: u64,
    /// Members.
    pub(crate) members: Vec<Node>,
    /// Those who left of late and serve those who lag.
    pub(crate) leavers: Vec<Node>,
}

impl Peers {
    /// Those who began, wherever the operator says that they are.
    pub(crate) fn founders(genesis: &Genesis) -> Self {
        let keys = genesis.validators();
        let keys = keys.iter().filter_map(|key| crate::node::validator(key).ok());
        let members = keys.map(|key| (key, String::new())).collect();
        Self { epoch: 0, members, leavers: Vec::new() }
    }
}

/// What the outside decides about epochs.
pub(crate) struct Hooks {
    /// Connects to the peers of an epoch and lets go of others.
    pub(crate) track: Box<dyn FnMut(Peers) + Send>,
    /// Whether this node may vote in an epoch, when its key is one of the validators'. The time is that
    /// of the last block before it, when the node enters just there.
    pub(crate) may_vote: Box<dyn FnMut(u64, Option<Timestamp>) -> bool + Send>,
}

/// Everything that outlives an epoch.
pub(crate) struct Orchestrator<B, A> {
    pub(crate) identity: Identity,
    pub(crate) prefix: String,
    pub(crate) timing: Timing,
    pub(crate) schemes: Schemes,
    pub(crate) blocks: Blocks,
    /// The last finalisation that an earlier run left: the journal of votes may end before it, and is
    /// not there at all when the blocks were restored.
    pub(crate) last: Option<Finalization<Scheme, sha256::Digest>>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) requests: Requests,
    pub(crate) blocker: B,
    pub(crate) automaton: A,
    pub(crate) page_cache: CacheRef,
    pub(crate) hooks: Hooks,
    /// How many blocks are missing from the beginning.
    pub(crate) missing: watch::Receiver<u64>,
    pub(crate) role: watch::Sender<Role>,
}

/// How often to look whether an engine that was stopped has let go of its channels.
const LETTING_GO: Duration = Duration::from_millis(5);

/// What this node does in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Votes,
    /// Follows, and votes when it has all blocks of the past.
    Waits,
    Follows,
}

/// A message for an epoch that this node is not in.
type Stray = mpsc::Receiver<(Channel, Message<PublicKey>)>;

/// The channels of all epochs.
struct Channels<S: Sender> {
    votes: MuxHandle<S>,
    certificates: MuxHandle<S>,
    resolver: MuxHandle<S>,
}

/// The engine of the epoch at hand; stops when dropped.
struct Active {
    epoch: u64,
    handle: Handle<()>,
    /// Whether this node votes as soon as it has all blocks of the past.
    awaits: bool,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// The state at the beginning of an epoch, as far as membership goes.
struct Membership {
    epoch: u64,
    header: Header,
    network: NetworkRecord,
    members: Vec<CentreRecord>,
    leavers: Vec<CentreRecord>,
}

impl<B, A> Orchestrator<B, A>
where
    B: Blocker<PublicKey = PublicKey>,
    A: Automaton,
{
    /// Runs until an engine stops.
    pub(crate) async fn run<E, S, R>(
        mut self,
        context: E,
        votes: (S, R),
        certificates: (S, R),
        resolver: (S, R),
    ) where
        E: Runtime,
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        let mut outlet = GlobalSender::new(certificates.0.clone());
        let (votes, mut stray_votes) = split(context.child("votes"), votes);
        let (certificates, mut stray_certificates) =
            split(context.child("certificates"), certificates);
        let (muxer, resolver) = Muxer::new(context.child("resolver"), resolver.0, resolver.1);
        muxer.start();
        let mut channels = Channels { votes, certificates, resolver };
        let mut tip = self.chain.subscribe_inside();
        let Some(mut active) = self.enter(&context, &mut channels).await else { return };
        // The last who was heard of in a later epoch, and which that was.
        let mut ahead = None;
        let mut announce_at = context.current() + self.timing.skip;
        let mut missing = self.missing.clone();
        loop {
            select! {
                ended = &mut active.handle => {
                    error!(epoch = active.epoch, "Agreement ended: {ended:?}");
                    return;
                },
                changed = tip.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    announce_at = context.current() + self.timing.skip;
                    let next = tip.borrow_and_update().height + 1;
                    if self.identity.genesis.epochs.of(next) > active.epoch {
                        let Some(entered) = self.enter(&context, &mut channels).await else { return };
                        active = entered;
                        self.catch_up(active.epoch, ahead.as_ref());
                    }
                },
                () = complete(active.awaits, &mut missing) => {
                    drop(active);
                    self.last = self.blocks.get_finalization(Height::new(self.chain.tip().height)).await;
                    let Some(entered) = self.enter(&context, &mut channels).await else { return };
                    active = entered;
                },
                stray = stray_votes.recv() => {
                    let Some((epoch, (from, _))) = stray else { return };
                    ahead = Some((epoch, from));
                    self.catch_up(active.epoch, ahead.as_ref());
                },
                stray = stray_certificates.recv() => {
                    let Some((epoch, (from, _))) = stray else { return };
                    ahead = Some((epoch, from));
                    self.catch_up(active.epoch, ahead.as_ref());
                },
                () = context.sleep_until(announce_at) => {
                    announce_at = context.current() + self.timing.skip;
                    self.announce(&mut outlet).await;
                },
            }
        }
    }

    /// Tells all others of the last final block.
    async fn announce<S: Sender<PublicKey = PublicKey>>(&mut self, outlet: &mut GlobalSender<S>) {
        let height = Height::new(self.chain.tip().height);
        let Some(last) = self.blocks.get_finalization(height).await else { return };
        let epoch = last.epoch().get();
        debug!(epoch, %height, "Nothing becomes final; telling the others what was last");
        let certificate = Certificate::<Scheme, sha256::Digest>::Finalization(last);
        let _ = outlet.send(epoch, Recipients::All, certificate.encode(), true);
    }

    /// Asks a peer that is in a later epoch for the end of this one.
    fn catch_up(&self, own: u64, ahead: Option<&(u64, PublicKey)>) {
        let Some((theirs, from)) = ahead.filter(|(theirs, _)| *theirs > own) else { return };
        let last = self.identity.genesis.epochs.last(own);
        debug!(own, theirs, last, "A peer is in a later epoch");
        self.blocks.hint_finalized(Height::new(last), NonEmptyVec::new(from.clone()));
    }

    /// Starts the engine of the epoch after the last final block; none when the node stops.
    async fn enter<E, S>(&mut self, context: &E, channels: &mut Channels<S>) -> Option<Active>
    where
        E: Runtime,
        S: Sender<PublicKey = PublicKey>,
    {
        let membership = self.membership().await?;
        let epoch = membership.epoch;
        let floor = self.floor(&membership).await?;
        (self.hooks.track)(membership.peers());
        let (scheme, part) = self.scheme(&membership);
        self.schemes.add(epoch, scheme.clone());
        // Votes of epochs that nobody is in any more; what is not there need not go.
        if let Some(past) = epoch.checked_sub(2) {
            for journal in [engine::journal, engine::heard] {
                let _ = context.remove(&journal(&self.prefix, past), None).await;
            }
        }
        // Who follows first and votes later votes with a journal of its own.
        let journal = if part == Part::Votes { engine::journal } else { engine::heard };
        let config = engine::simplex_config(
            scheme,
            &self.timing,
            (journal(&self.prefix, epoch), Epoch::new(epoch), floor),
            (self.automaton.clone(), self.blocker.clone()),
            self.page_cache.clone(),
        );
        let votes = register(context, &mut channels.votes, epoch).await?;
        let certificates = register(context, &mut channels.certificates, epoch).await?;
        let resolver = register(context, &mut channels.resolver, epoch).await?;
        let context = context.child("agreement").with_attribute("epoch", epoch);
        let handle = simplex::Engine::new(context, config).start(votes, certificates, resolver);
        info!(epoch, validators = membership.network.validators.len(), "Entered an epoch");
        Some(Active { epoch, handle, awaits: part == Part::Waits })
    }

    /// The scheme of this node in an epoch. Tells everyone what the node is in it.
    fn scheme(&mut self, membership: &Membership) -> (Scheme, Part) {
        let validators = &membership.network.validators;
        let member = validators.iter().any(|key| self.identity.is(key));
        let header = &membership.header;
        let began = (self.before(membership.epoch) == header.height).then_some(header.time);
        // Whoever votes keeps all of history, for those who ask.
        let whole = *self.missing.borrow() == 0;
        let part = match (member, whole) {
            (true, true) if (self.hooks.may_vote)(membership.epoch, began) => Part::Votes,
            (true, false) => Part::Waits,
            _ => Part::Follows,
        };
        let votes = part == Part::Votes;
        let centres = membership.members.iter().map(|record| record.centre.clone()).collect();
        let (epoch, validators) = (membership.epoch, validators.clone());
        let members = Arc::new(Members { epoch, centres, validators });
        let authors = members.centres.iter().map(|centre| (centre.id, centre.key));
        self.chain.give_up(&self.pool.restrict(authors.collect()));
        self.role.send_replace(Role { members: members.clone(), votes });
        (self.identity.scheme(&members.validators, votes), part)
    }

    /// The height of the last block before an epoch.
    fn before(&self, epoch: u64) -> u64 {
        epoch.checked_sub(1).map_or(0, |before| self.identity.genesis.epochs.last(before))
    }

    /// Where the engine of an epoch starts: at the last finalisation of an earlier run, if it is of
    /// that epoch, else at the last block before it.
    async fn floor(&mut self, membership: &Membership) -> Option<Floor<Scheme, sha256::Digest>> {
        let of_epoch = |last: &Finalization<_, _>| last.epoch().get() == membership.epoch;
        if let Some(last) = self.last.take_if(|last| of_epoch(last)) {
            return Some(Floor::Finalized(last));
        }
        let before = self.before(membership.epoch);
        if before == membership.header.height {
            return Some(Floor::Genesis(crate::block::digest(&membership.header.digest())));
        }
        // That block may not be fetched yet; the next one names it.
        let next = self.blocks.get_block(Height::new(before + 1)).await?;
        Some(Floor::Genesis(crate::block::digest(&next.inner().header().parent)))
    }

    /// Who is a member in the epoch after the last final block.
    async fn membership(&mut self) -> Option<Membership> {
        loop {
            let (header, mut network) = self.read(vec![keys::network()]).await?;
            let network: NetworkRecord = network.pop()?;
            let key = |centre: &aegle_model::CentreId| keys::centre(*centre);
            let centres = network.centres.iter().chain(&network.leavers).map(key).collect();
            let (again, mut members) = self.read::<CentreRecord>(centres).await?;
            let epoch = network.epochs.of(header.height + 1);
            // In between the epoch may have ended.
            if network.epochs.of(again.height + 1) == epoch {
                let leavers = members.split_off(network.centres.len().min(members.len()));
                return Some(Membership { epoch, header, network, members, leavers });
            }
        }
    }

    async fn read<T: Record>(&mut self, keys: Vec<ledger::Key>) -> Option<(Header, Vec<T>)> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Read(keys, reply)).await.ok()?;
        let snapshot = answer.await.ok()?;
        let records = snapshot.values.iter().flatten().filter_map(|bytes| T::read(bytes));
        Some((snapshot.header, records.collect()))
    }
}

impl Membership {
    fn peers(&self) -> Peers {
        let nodes = |centres: &[CentreRecord]| {
            let node = |record: &CentreRecord| {
                Some((crate::node::validator(&record.centre.key).ok()?, record.address.clone()))
            };
            centres.iter().filter_map(node).collect()
        };
        Peers { epoch: self.epoch, members: nodes(&self.members), leavers: nodes(&self.leavers) }
    }
}

impl Identity {
    /// What this node checks votes with, and casts them when it `votes`. A key of `validators` that
    /// is none votes for nobody and is left out.
    pub(crate) fn scheme(&self, validators: &[aegle_model::PublicKey], votes: bool) -> Scheme {
        let domain = ledger::Certificate::namespace(self.genesis.network());
        let keys = validators.iter().filter_map(|key| crate::node::validator(key).ok());
        let keys: Set<PublicKey> = Set::from_iter_dedup(keys);
        let signer = || Scheme::signer(&domain, keys.clone(), self.key.clone());
        votes.then(signer).flatten().unwrap_or_else(|| Scheme::verifier(&domain, keys))
    }
}

/// Ends when a node that `awaits` them has all blocks of the past.
async fn complete(awaits: bool, missing: &mut watch::Receiver<u64>) {
    if !awaits || missing.wait_for(|missing| *missing == 0).await.is_err() {
        future::pending::<()>().await;
    }
}

/// This node's part of a channel in an epoch; none when the node stops. The engine that had it before
/// may not quite have let go of it.
async fn register<E: Runtime, S>(
    context: &E,
    channel: &mut MuxHandle<S>,
    epoch: u64,
) -> Option<(SubSender<S>, SubReceiver<PublicKey>)>
where
    S: Sender<PublicKey = PublicKey>,
{
    loop {
        match channel.register(epoch).await {
            Ok(registered) => return Some(registered),
            Err(mux::Error::AlreadyRegistered(_)) => context.sleep(LETTING_GO).await,
            Err(_) => return None,
        }
    }
}

/// Splits a channel by epoch. What is for an epoch that nobody registered comes out beside it.
fn split<E, S, R>(context: E, (sender, receiver): (S, R)) -> (MuxHandle<S>, Stray)
where
    E: Runtime,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let (muxer, handle, stray) = Muxer::builder(context, sender, receiver).with_backup().build();
    muxer.start();
    (handle, stray)
}
