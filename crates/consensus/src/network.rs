//! Encrypted, mutually authenticated connections between the validators, over TCP.

use crate::{
    engine::{self, Identity, Network},
    node::StartError,
};
use aegle_model::NetworkId;
use commonware_cryptography::{ChaCha20Poly1305, Signer as _, ed25519::PublicKey};
use commonware_p2p::{
    Address, AddressableManager as _, Ingress,
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

/// How far clocks of two nodes may differ when they connect, and how old a handshake may be.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// The engine's network on real sockets.
pub(crate) type Sockets =
    Network<Sender<PublicKey, Context>, Receiver<PublicKey>, Oracle<PublicKey>, Oracle<PublicKey>>;

/// Listens at `listen` and connects to `peers`, which hold every other validator.
pub(crate) fn start(
    context: &Context,
    identity: &Identity,
    listen: SocketAddr,
    peers: Map<PublicKey, Address>,
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
    let validators = identity.validators.len();
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
            NonZeroUsize::new(validators).expect("a network has validators"),
            engine::message_bytes_max(validators),
            NZUsize!(1024),
        )
    };
    let (mut network, mut oracle) = lookup::Network::new(context.child("network"), config);
    oracle.track(0, peers);
    let channels = engine::channels()
        .into_iter()
        .map(|(channel, quota)| network.register(channel, quota))
        .collect();
    network.start();
    Network { channels, blocker: oracle.clone(), peers: oracle }
}

fn namespace(network: &NetworkId) -> Vec<u8> {
    [b"aegle/peers/".as_slice(), network.as_bytes()].concat()
}

/// The addresses of all validators, this node's own included.
pub(crate) fn addresses(
    identity: &Identity,
    listen: SocketAddr,
    peers: Vec<(PublicKey, String)>,
) -> Result<Map<PublicKey, Address>, StartError> {
    let me = identity.key.public_key();
    let mut addresses = vec![(me.clone(), Address::Symmetric(listen))];
    for (key, address) in peers.into_iter().filter(|(key, _)| *key != me) {
        if identity.validators.position(&key).is_none() {
            return Err(StartError::UnknownPeer { address });
        }
        addresses.push((key, parse(&address).ok_or(StartError::Address { address })?));
    }
    let addresses: Map<PublicKey, Address> =
        addresses.into_iter().try_collect().map_err(|_| StartError::DuplicatePeer)?;
    match identity.validators.len() - addresses.len() {
        0 => Ok(addresses),
        missing => Err(StartError::MissingPeers { missing }),
    }
}

/// This node and nobody else.
pub(crate) fn alone(identity: &Identity, listen: SocketAddr) -> Map<PublicKey, Address> {
    let me = (identity.key.public_key(), Address::Symmetric(listen));
    [me].into_iter().try_collect().expect("one key is there once")
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
