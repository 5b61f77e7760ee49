//! A network of validators in one process, over loopback sockets.

use aegle_consensus::{Config, Consensus, Ledger, Peer, Timing, start};
use aegle_ledger::{Body, Centre, Draft, Enrol, Genesis, Receipt, Transaction, TxId};
use aegle_model::{Hash, Name, PatientId, SigningKey, Timestamp};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};
use tempfile::TempDir;

/// Validators that share a genesis; each runs or not.
pub struct Network {
    pub genesis: Genesis,
    keys: Vec<SigningKey>,
    addresses: Vec<SocketAddr>,
    dirs: Vec<TempDir>,
    nodes: Vec<Option<Consensus>>,
}

impl Network {
    /// Starts `size` validators.
    pub fn start(size: usize) -> Self {
        let mut network = Self::new(size);
        (0..size).for_each(|node| network.start_node(node));
        network
    }

    /// A network of which no node runs.
    pub fn new(size: usize) -> Self {
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
            centres: centres.collect(),
        };
        let listeners: Vec<_> =
            (0..size).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let dirs = (0..size).map(|_| TempDir::new().unwrap()).collect();
        Self { genesis, keys, addresses, dirs, nodes: (0..size).map(|_| None).collect() }
    }

    /// What `node` is started with.
    pub fn config(&self, node: usize) -> Config {
        let peers = self
            .keys
            .iter()
            .zip(&self.addresses)
            .map(|(key, address)| Peer { key: key.public(), address: address.to_string() });
        Config {
            dir: self.dirs[node].path().to_owned(),
            genesis: self.genesis.clone(),
            key: self.keys[node].clone(),
            listen: self.addresses[node],
            peers: peers
                .enumerate()
                .filter(|(peer, _)| *peer != node)
                .map(|(_, peer)| peer)
                .collect(),
            timing: Timing::default(),
        }
    }

    /// Starts `node`, again or for the first time.
    pub fn start_node(&mut self, node: usize) {
        self.nodes[node] = Some(start(self.config(node)).unwrap());
    }

    /// Stops `node` without any farewell: the engine's tasks are dropped where they are.
    pub async fn kill(&mut self, node: usize) {
        self.nodes[node].take().unwrap().stop().await;
    }

    /// The ledger of a running node.
    pub fn ledger(&self, node: usize) -> Ledger {
        self.nodes[node].as_ref().unwrap().ledger()
    }

    /// A transaction of `author` that enrols a patient with this number.
    pub fn enrol(&self, author: usize, number: u64) -> Transaction {
        let (key, centre) = (&self.keys[author], &self.genesis.centres[author]);
        let mut patient = [0; 16];
        patient[..8].copy_from_slice(&number.to_le_bytes());
        patient[8] = u8::try_from(author).unwrap();
        let body =
            Body::Enrol(Enrol { patient: PatientId::from_array(patient), commitment: Hash::ZERO });
        Draft::new(self.genesis.network(), (centre.id, key.public()), 10_000, number, body)
            .sign(key)
    }

    /// Submits at `node` and waits for the receipt.
    pub async fn finalise(&self, node: usize, transaction: Transaction) -> Receipt {
        let ledger = self.ledger(node);
        let id = ledger.submit(transaction).await.unwrap();
        ledger.receipt(id).await.unwrap()
    }

    /// Waits until `node` knows `id` to be final.
    pub async fn await_receipt(&self, node: usize, id: TxId) -> Receipt {
        self.ledger(node).receipt(id).await.unwrap()
    }

    /// Waits until `node` has reached `height`.
    pub async fn await_height(&self, node: usize, height: u64) {
        let mut finalised = self.ledger(node).finalised();
        finalised.wait_for(|header| header.height >= height).await.unwrap();
    }
}

/// A pause.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
