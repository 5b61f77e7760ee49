//! A network of validators in one process, over loopback sockets.

use aegle_consensus::{Config, Consensus, Ledger, Peer, Timing, start};
use aegle_ledger::{Body, Centre, Draft, Enrol, Epochs, Genesis, Receipt, Transaction};
use aegle_model::{Hash, Name, PatientId, SigningKey, Timestamp};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};
use tempfile::TempDir;

/// Validators that share a genesis; each runs or not.
pub(crate) struct Network {
    pub(crate) genesis: Genesis,
    pub(crate) heartbeat: Duration,
    keys: Vec<SigningKey>,
    addresses: Vec<SocketAddr>,
    dirs: Vec<TempDir>,
    nodes: Vec<Option<Consensus>>,
}

impl Network {
    /// Starts `size` validators.
    pub(crate) fn start(size: usize) -> Self {
        let mut network = Self::new(size);
        (0..size).for_each(|node| network.start_node(node));
        network
    }

    /// A network of which no node runs.
    pub(crate) fn new(size: usize) -> Self {
        Self::with(size, 0, Epochs::DEFAULT)
    }

    /// The same with nodes that may join it later, and epochs of another length.
    pub(crate) fn with(size: usize, later: u8, epochs: Epochs) -> Self {
        let mut keys: Vec<_> = (1..=size)
            .map(|seed| SigningKey::from_seed(&[u8::try_from(seed).unwrap(); 32]))
            .collect();
        keys.sort_by_key(SigningKey::public);
        let centres = keys.iter().enumerate().map(|(number, key)| Centre {
            id: Centre::id_of(&key.public()),
            code: Name::new(format!("C{number}")).unwrap(),
            key: key.public(),
            tls: Hash::ZERO,
            seal: [4; 65],
        });
        let genesis = Genesis {
            name: Name::new("test".to_owned()).unwrap(),
            time: Timestamp(0),
            policy: aegle_access::Policy { emergency: true },
            epochs,
            centres: centres.collect(),
        };
        keys.extend((0..later).map(|seed| SigningKey::from_seed(&[seed + 100; 32])));
        let size = keys.len();
        let listeners: Vec<_> =
            (0..size).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let dirs = (0..size).map(|_| TempDir::new().unwrap()).collect();
        let heartbeat = Timing::default().heartbeat;
        Self { genesis, heartbeat, keys, addresses, dirs, nodes: (0..size).map(|_| None).collect() }
    }

    /// The validators' keys, in the order of the genesis.
    pub(crate) fn signers(&self) -> &[SigningKey] {
        &self.keys
    }

    /// What `node` is started with.
    pub(crate) fn config(&self, node: usize) -> Config {
        let founders = self.genesis.centres.len();
        let peers = self.keys[..founders]
            .iter()
            .zip(&self.addresses)
            .map(|(key, address)| Peer { key: key.public(), address: address.to_string() });
        Config {
            dir: self.dirs[node].path().join("ledger"),
            voted: self.dirs[node].path().join("voted"),
            genesis: self.genesis.clone(),
            key: self.keys[node].clone(),
            listen: self.addresses[node],
            peers: peers
                .enumerate()
                .filter(|(peer, _)| *peer != node)
                .map(|(_, peer)| peer)
                .collect(),
            timing: Timing { heartbeat: self.heartbeat, ..Timing::default() },
        }
    }

    /// Starts `node`, again or for the first time.
    pub(crate) fn start_node(&mut self, node: usize) {
        self.nodes[node] = Some(start(self.config(node)).unwrap());
    }

    /// Stops `node` without any farewell: the engine's tasks are dropped where they are.
    pub(crate) async fn kill(&mut self, node: usize) {
        self.nodes[node].take().unwrap().stop().await;
    }

    /// Takes everything from a node that does not run but its key and what lies beside it.
    pub(crate) fn wipe(&self, node: usize) {
        std::fs::remove_dir_all(self.config(node).dir).unwrap();
    }

    /// The ledger of a running node.
    pub(crate) fn ledger(&self, node: usize) -> Ledger {
        self.nodes[node].as_ref().unwrap().ledger()
    }

    /// A transaction of `author` that enrols a patient with this number.
    pub(crate) fn enrol(&self, author: usize, number: u64) -> Transaction {
        self.enrol_until(author, number, 50_000)
    }

    /// The same with an expiry height.
    pub(crate) fn enrol_until(&self, author: usize, number: u64, expires: u64) -> Transaction {
        let (key, centre) = (&self.signers()[author], &self.genesis.centres[author]);
        let patient = Hash::of("patient", &[&author.to_le_bytes(), &number.to_le_bytes()]);
        let patient = PatientId::from_array(patient.as_bytes()[..16].try_into().unwrap());
        let body = Body::Enrol(Enrol { patient, commitment: Hash::ZERO });
        Draft::new(self.genesis.network(), (centre.id, key.public()), expires, number, body)
            .sign(key)
    }

    /// Submits at `node` and waits for the receipt.
    pub(crate) async fn finalise(&self, node: usize, transaction: Transaction) -> Receipt {
        let ledger = self.ledger(node);
        let id = ledger.submit(transaction).await.unwrap();
        ledger.receipt(id).await.unwrap()
    }
}
