//! Temporary stand-in for the ledger crate.
#![allow(missing_docs, dead_code, reason = "temporary")]
use aegle_model::{Canonical, CentreId, Hash, NetworkId, PublicKey, Signature, SigningKey, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeMap;

pub type TxId = Hash;
pub type Key = [u8; 32];

#[derive(Clone, Debug)]
pub struct Centre {
    pub id: CentreId,
    pub key: PublicKey,
}
#[derive(Clone, Debug)]
pub struct Genesis {
    pub name: String,
    pub time: Timestamp,
    pub centres: Vec<Centre>,
}
impl Genesis {
    pub fn network(&self) -> NetworkId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.hash().as_bytes()[..16]);
        NetworkId::from_array(id)
    }
    pub fn hash(&self) -> Hash {
        let keys: Vec<u8> = self.centres.iter().flat_map(|c| *c.key.as_bytes()).collect();
        Hash::of("genesis", &[self.name.as_bytes(), &keys])
    }
    pub fn validators(&self) -> Vec<PublicKey> {
        let mut keys: Vec<_> = self.centres.iter().map(|c| c.key).collect();
        keys.sort();
        keys
    }
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    pub network: NetworkId,
    pub author: CentreId,
    pub key: PublicKey,
    pub expires: u64,
    pub payload: Vec<u8>,
    pub signature: Signature,
}
impl Canonical for Transaction {
    const NAME: &'static str = "transaction";
}
impl Transaction {
    fn body(&self) -> Vec<u8> {
        borsh::to_vec(&(self.network, self.author, self.key, self.expires, &self.payload)).unwrap()
    }
    pub fn sign(network: NetworkId, author: CentreId, expires: u64, payload: Vec<u8>, key: &SigningKey) -> Self {
        let mut tx = Self {
            network,
            author,
            key: key.public(),
            expires,
            payload,
            signature: Signature::from_array([0; 64]),
        };
        tx.signature = key.sign("tx", &tx.body());
        tx
    }
    pub fn id(&self) -> TxId {
        Hash::of("txid", &[&self.to_bytes()])
    }
    pub fn check_envelope(&self, network: &NetworkId) -> Result<(), &'static str> {
        if self.network != *network {
            return Err("network");
        }
        self.key.verify("tx", &self.body(), &self.signature).map_err(|_| "signature")
    }
    pub fn author(&self) -> CentreId {
        self.author
    }
    pub fn expires(&self) -> u64 {
        self.expires
    }
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Outcome(pub u64);

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    pub version: u16,
    pub network: NetworkId,
    pub epoch: u64,
    pub height: u64,
    pub parent: Hash,
    pub time: Timestamp,
    pub transactions: Hash,
    pub heads: Hash,
    pub state: Hash,
    pub validators: Hash,
    pub engine: Hash,
}
impl Header {
    pub fn digest(&self) -> Hash {
        Hash::of("header", &[&borsh::to_vec(self).unwrap()])
    }
}
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    pub header: Header,
    pub entries: Vec<(Transaction, Outcome)>,
    pub engine: Vec<u8>,
}
impl Canonical for Block {
    const NAME: &'static str = "block";
}
pub fn engine_hash(bytes: &[u8]) -> Hash {
    Hash::of("engine", &[bytes])
}
pub fn transactions_root(entries: &[(Transaction, Outcome)]) -> Hash {
    Hash::of("txs", &[&borsh::to_vec(&entries).unwrap()])
}
impl Block {
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let block = Self::from_bytes(bytes).map_err(|_| "malformed")?;
        if block.header.engine != engine_hash(&block.engine)
            || block.header.transactions != transactions_root(&block.entries)
        {
            return Err("mismatch");
        }
        Ok(block)
    }
}

#[derive(Default, Clone)]
pub struct Loaded(pub BTreeMap<Key, Option<Vec<u8>>>);
#[derive(Debug)]
pub enum Stop {
    Needs(Vec<Key>),
    Invalid(&'static str),
}
#[derive(Clone)]
pub struct Execution {
    pub entries: Vec<(Transaction, Outcome)>,
    pub writes: BTreeMap<Key, Option<Vec<u8>>>,
    pub heads: Hash,
    pub state: Hash,
    pub validators: Hash,
    pub transactions: Hash,
}
pub const COUNTER: Key = [1; 32];
fn seen(id: &TxId) -> Key {
    *Hash::of("seen", &[id.as_bytes()]).as_bytes()
}
pub fn build(loaded: &Loaded, height: u64, _time: Timestamp, candidates: Vec<Transaction>) -> Result<Execution, Stop> {
    run(loaded, height, candidates, true)
}
pub fn execute(loaded: &Loaded, height: u64, _time: Timestamp, transactions: &[Transaction]) -> Result<Execution, Stop> {
    run(loaded, height, transactions.to_vec(), false)
}
fn run(loaded: &Loaded, height: u64, transactions: Vec<Transaction>, lenient: bool) -> Result<Execution, Stop> {
    let mut needs = vec![COUNTER];
    needs.extend(transactions.iter().map(|t| seen(&t.id())));
    needs.retain(|k| !loaded.0.contains_key(k));
    if !needs.is_empty() {
        return Err(Stop::Needs(needs));
    }
    let mut writes = BTreeMap::new();
    let mut counter =
        loaded.0[&COUNTER].as_ref().map_or(0, |v| u64::from_le_bytes(v.as_slice().try_into().unwrap()));
    let mut entries = vec![];
    for tx in transactions {
        let key = seen(&tx.id());
        if loaded.0[&key].is_some() || writes.contains_key(&key) || tx.expires < height {
            if lenient {
                continue;
            }
            return Err(Stop::Invalid("replay or expired"));
        }
        counter += 1;
        writes.insert(key, Some(vec![1]));
        entries.push((tx, Outcome(counter)));
    }
    writes.insert(COUNTER, Some(counter.to_le_bytes().to_vec()));
    Ok(Execution {
        transactions: transactions_root(&entries),
        entries,
        writes,
        heads: Hash::ZERO,
        state: Hash::of("state", &[&counter.to_le_bytes()]),
        validators: Hash::ZERO,
    })
}
pub fn genesis_state(_genesis: &Genesis) -> BTreeMap<Key, Vec<u8>> {
    BTreeMap::from([(COUNTER, 1000u64.to_le_bytes().to_vec())])
}
pub fn genesis_header(genesis: &Genesis) -> Header {
    Header {
        version: 1,
        network: genesis.network(),
        epoch: 0,
        height: 0,
        parent: Hash::ZERO,
        time: genesis.time,
        transactions: transactions_root(&[]),
        heads: Hash::ZERO,
        state: Hash::ZERO,
        validators: Hash::ZERO,
        engine: engine_hash(&[]),
    }
}
