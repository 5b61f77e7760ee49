//! Encrypted, mutually authenticated connections between the validators, over TCP.

use crate::{
    engine::{self, Identity, Network},
    node::StartError,
    orchestrator::{Hooks, Node, Peers},
};
use aegle_ledger::MEMBERS_MAX;
use aegle_model::{NetworkId, Timestamp};
use commonware_cryptography::{ChaCha20Poly1305, Signer as _, ed25519::PublicKey};
use commonware_p2p::{
    Address, AddressableManager as _, AddressableTrackedPeers, Ingress,
    authenticated::lookup::{self, Oracle, Receiver, Sender},
};
use commonware_runtime::{Quota, Supervisor as _, tokio::Context};
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::{Hostname, NZU32, NZUsize, TryCollect as _, ordered::Map};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};
use tracing::warn;

/// How far clocks of two nodes may differ when they connect, and how old a handshake may be.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// With how many nodes a node connects: the members there can be, and some that left or that only the
/// operator knows. Memory is reserved for each.
const PEERS_MAX: NonZeroUsize = NZUsize!(MEMBERS_MAX + 8);

/// The engine's network on real sockets.
pub(crate) type Sockets =
    Network<Sender<PublicKey, Context>, Receiver<PublicKey>, Oracle<PublicKey>, Oracle<PublicKey>>;

/// Listens at `listen`. Whom to connect to, each epoch says; `known` are the addresses that the
/// operator gave, this node's own among them, and `may_vote` is passed on.
pub(crate) fn start(
    context: &Context,
    identity: &Identity,
    listen: SocketAddr,
    known: Map<PublicKey, Address>,
    may_vote: Box<dyn FnMut(u64, Option<Timestamp>) -> bool + Send>,
) -> Sockets {
    let handshake = Cups::<_, ChaCha20Poly1305>::new(
        Sake {
            signer: identity.key.clone(),
            synchrony_bound: CLOCK_SKEW,
            max_handshake_age: CLOCK_SKEW,
            version: sake::Version::V1,
        },
        cups::Version::V1,
    );
    let config = lookup::Config {
        // Peers prove who they are by their key; where they call from may change.
        bypass_ip_check: true,
        allow_private_ips: true,
        allow_dns: true,
        peer_connection_cooldown: Duration::from_secs(1),
        allowed_handshake_rate_per_ip: Quota::per_second(NZU32!(16)),
        allowed_handshake_rate_per_subnet: Quota::per_second(NZU32!(64)),
        max_concurrent_handshakes: NZU32!(64),
        dial_frequency: Duration::from_millis(500),
        ping_frequency: Duration::from_secs(5),
        tracked_peer_sets: NZUsize!(1),
        block_duration: Duration::from_mins(10),
        ..lookup::Config::recommended(
            handshake,
            &namespace(&identity.genesis.network()),
            listen,
            PEERS_MAX,
            engine::message_bytes_max(identity.genesis.centres.len()),
            NZUsize!(1024),
        )
    };
    let (mut network, oracle) = lookup::Network::new(context.child("network"), config);
    let channels = engine::channels()
        .into_iter()
        .map(|(channel, quota)| network.register(channel, quota))
        .collect();
    network.start();
    let mut tracker = oracle.clone();
    let track = Box::new(move |peers: Peers| {
        tracker.track(peers.epoch, tracked(&peers, &known));
    });
    let hooks = Hooks { track, may_vote };
    Network { channels, blocker: oracle.clone(), peers: oracle, hooks }
}

/// With whom to connect in an epoch: members first, and whoever the operator named; then those who
/// left. What the operator says of an address goes before what the ledger says.
fn tracked(peers: &Peers, known: &Map<PublicKey, Address>) -> AddressableTrackedPeers<PublicKey> {
    let address = |(key, address): &Node| {
        let found = known.get_value(key).cloned().or_else(|| parse(address));
        if found.is_none() {
            warn!(%key, "The address of a member is not known; add it to this node's peers");
        }
        Some((key.clone(), found?))
    };
    let named = known.iter_pairs().map(|(key, address)| (key.clone(), address.clone()));
    let primary = peers.members.iter().filter_map(address).chain(named);
    let primary: Map<_, _> = Map::from_iter_dedup(primary.take(PEERS_MAX.get()));
    let left = PEERS_MAX.get() - primary.len();
    let leavers = peers.leavers.iter().filter_map(address).take(left);
    AddressableTrackedPeers::new(primary, Map::from_iter_dedup(leavers))
}

fn namespace(network: &NetworkId) -> Vec<u8> {
    [b"aegle/peers/".as_slice(), network.as_bytes()].concat()
}

/// The addresses that the operator gave, this node's own included.
pub(crate) fn addresses(
    identity: &Identity,
    listen: SocketAddr,
    peers: Vec<Node>,
) -> Result<Map<PublicKey, Address>, StartError> {
    let me = identity.key.public_key();
    let mut addresses = vec![(me.clone(), Address::Symmetric(listen))];
    for (key, address) in peers.into_iter().filter(|(key, _)| *key != me) {
        addresses.push((key, parse(&address).ok_or(StartError::Address { address })?));
    }
    if addresses.len() == 1 && identity.genesis.centres.iter().any(|it| !identity.is(&it.key)) {
        return Err(StartError::NoPeers);
    }
    addresses.into_iter().try_collect().map_err(|_| StartError::DuplicatePeer)
}

/// A network of this node and nobody else, without a vote.
pub(crate) fn alone(context: &Context, identity: &Identity, listen: SocketAddr) -> Sockets {
    let me = (identity.key.public_key(), Address::Symmetric(listen));
    let me: Map<_, _> = [me].into_iter().try_collect().expect("one key is there once");
    let mut network = start(context, identity, listen, me.clone(), Box::new(|_, _| false));
    network.blocker.track(0, me);
    network.hooks.track = Box::new(drop);
    network
}

/// `address:port`, where the address is an IP address or a host name.
fn parse(address: &str) -> Option<Address> {
    if let Ok(socket) = address.parse() {
        return Some(Address::Symmetric(socket));
    }
    let (host, port) = address.rsplit_once(':')?;
    let (host, port) = (Hostname::new(host).ok()?, port.parse().ok()?);
    let egress = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    Some(Address::Asymmetric { ingress: Ingress::Dns { host, port }, egress })
}
