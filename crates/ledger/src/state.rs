//! What the ledger remembers: records under 32-byte keys, and the state before the first block.

use crate::governance::{GovernanceRecord, Member, ProposalRecord, Switch, ValidatorsRecord};
use crate::history::KeptRule;
use crate::{Centre, Epochs, Genesis, Header, TxId, heads, merkle_root};
use aegle_access::Policy;
use aegle_model::{
    CentreId, Handle, Hash, NetworkId, PatientId, PublicKey, RequestId, Timestamp, Vocabulary,
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeMap;

/// Where a record stands.
pub type Key = [u8; 32];

/// What has been read of a state so far: bytes by key, none where there is no record.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    records: BTreeMap<Key, Option<Vec<u8>>>,
    bytes: usize,
}

impl Loaded {
    /// Adds what was read.
    pub fn add(&mut self, key: Key, value: Option<Vec<u8>>) {
        let bytes = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.bytes += bytes(&value);
        let before = self.records.insert(key, value);
        self.bytes -= before.as_ref().map_or(0, bytes);
    }

    /// How many bytes of records these are.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The record under `key`; the outer none means that it has not been read.
    pub fn get(&self, key: &Key) -> Option<Option<&[u8]>> {
        self.records.get(key).map(Option::as_deref)
    }
}

impl FromIterator<(Key, Vec<u8>)> for Loaded {
    fn from_iter<I: IntoIterator<Item = (Key, Vec<u8>)>>(records: I) -> Self {
        let mut loaded = Self::default();
        records.into_iter().for_each(|(key, value)| loaded.add(key, Some(value)));
        loaded
    }
}

/// A value of the state.
pub trait Record: BorshSerialize + BorshDeserialize {
    /// Decodes what this crate encoded; none would mean that the store is damaged.
    fn read(bytes: &[u8]) -> Option<Self> {
        Self::try_from_slice(bytes).ok()
    }
}

/// The network as a whole.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct NetworkRecord {
    /// The network.
    pub network: NetworkId,
    /// What the network agreed on beyond rules.
    pub policy: Policy,
    /// How long an epoch is.
    pub epochs: Epochs,
    /// The members.
    pub centres: Vec<CentreId>,
    /// Those of them that were admitted in the last epoch and do not vote yet.
    pub newcomers: Vec<CentreId>,
    /// Centres that left in this epoch or the one before: they still serve those who lag.
    pub leavers: Vec<CentreId>,
    /// The keys that vote on the next block, sorted.
    pub validators: Vec<PublicKey>,
    /// The versions of the protocol after the first, oldest first.
    pub switches: Vec<Switch>,
    /// How many patients were enrolled.
    pub patients: u64,
    /// Root over the patients' chains.
    pub heads: Hash,
}

impl NetworkRecord {
    /// The members that vote.
    pub fn voters(&self) -> Vec<CentreId> {
        let votes = |centre: &&CentreId| !self.newcomers.contains(centre);
        self.centres.iter().filter(votes).copied().collect()
    }

    /// The newest version of the protocol that was agreed.
    pub(crate) fn protocol(&self) -> u16 {
        self.switches.last().map_or(Header::VERSION_FIRST, |switch| switch.version)
    }

    /// The version of the protocol that the block at `height` follows.
    pub fn protocol_at(&self, height: u64) -> u16 {
        let begun = self.switches.iter().rfind(|switch| switch.height <= height);
        begun.map_or(Header::VERSION_FIRST, |switch| switch.version)
    }
}

/// One centre that is or was a member.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CentreRecord {
    /// Keys and code.
    pub centre: Centre,
    /// The version of its vocabulary, once published; the vocabulary itself is a record of its own,
    /// since every transaction of the centre reads this one.
    pub catalogue: Option<u32>,
    /// `host:port` of its node; empty for a founder, whose address the others were told.
    pub address: String,
    /// The height at which it left.
    pub left: Option<u64>,
}

impl CentreRecord {
    pub(crate) fn new(Member { centre, address }: Member) -> Self {
        Self { centre, catalogue: None, address, left: None }
    }
}

/// A centre that is linked to a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Linked {
    /// The centre.
    pub centre: CentreId,
    /// Whether it may speak for the patient.
    pub speaks: bool,
}

/// One patient: a pseudonym with counts and a hash chain.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PatientRecord {
    /// The position in the tree of heads.
    pub index: u64,
    /// The commitment of the record key.
    pub commitment: Hash,
    /// Where the patient is linked.
    pub links: Vec<Linked>,
    /// How many pages of rules there are.
    pub pages: u32,
    /// How many rules were ever granted.
    pub rules: u32,
    /// How many entries concern the patient.
    pub entries: u64,
    /// The hash chain over them.
    pub head: Hash,
}

impl PatientRecord {
    /// The link to `centre`, if there is one.
    pub fn link(&self, centre: CentreId) -> Option<&Linked> {
        self.links.iter().find(|link| link.centre == centre)
    }
}

/// Some of a patient's rules, in the order in which they were granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RulePage(pub Vec<KeptRule>);

/// Where a rule stands and how to read it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RuleRecord {
    /// Whose rule.
    pub patient: PatientId,
    /// On which page.
    pub page: u32,
    /// The transaction that granted it.
    pub granted: TxId,
    /// The readable rule, sealed under the record key.
    pub sealed: Vec<u8>,
}

/// A decided request.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DisclosureRecord {
    /// Whose record was asked for.
    pub patient: PatientId,
    /// The transaction.
    pub transaction: TxId,
    /// The requester's centre.
    pub requester: CentreId,
    /// The data centres asked, and what is known of their parts.
    pub parts: Vec<(CentreId, Fate)>,
}

/// How far a centre's journal of emergencies is on the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct JournalRecord {
    /// How many entries.
    pub entries: u64,
    /// [`crate::Late::link`] of the last; zero before the first.
    pub last: Hash,
}

/// What is known of a part of a disclosure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Fate {
    /// Nothing yet.
    Open,
    /// The requester's centre says that it did not get it.
    NotReceived,
    /// The data centre has spoken.
    Known,
}

/// Where a transaction stands. Ordered as the chain is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize,
)]
pub struct Position {
    /// The block.
    pub height: u64,
    /// The entry in the block, from 0.
    pub index: u32,
}

impl Record for NetworkRecord {}
impl Record for CentreRecord {}
impl Record for PatientRecord {}
impl Record for RulePage {}
impl Record for RuleRecord {}
impl Record for DisclosureRecord {}
impl Record for JournalRecord {}
impl Record for Position {}
impl Record for ProposalRecord {}
impl Record for GovernanceRecord {}
impl Record for ValidatorsRecord {}
impl Record for PatientId {}
impl Record for Hash {}
impl Record for Vocabulary {}

/// The keys of records.
pub mod keys {
    use super::{CentreId, Handle, Hash, Key, PatientId, RequestId, heads as tree};
    use aegle_model::RuleId;

    fn key(kind: &str, parts: &[&[u8]]) -> Key {
        *Hash::of(kind, parts).as_bytes()
    }

    /// [`super::NetworkRecord`].
    pub fn network() -> Key {
        key("aegle.key.network", &[])
    }

    /// [`super::CentreRecord`].
    pub fn centre(centre: CentreId) -> Key {
        key("aegle.key.centre", &[centre.as_bytes()])
    }

    /// The centre's [`Vocabulary`](super::Vocabulary).
    pub fn vocabulary(centre: CentreId) -> Key {
        key("aegle.key.vocabulary", &[centre.as_bytes()])
    }

    /// [`super::PatientRecord`].
    pub fn patient(patient: PatientId) -> Key {
        key("aegle.key.patient", &[patient.as_bytes()])
    }

    /// The [`PatientId`] that a handle stands for.
    pub fn handle(handle: Handle) -> Key {
        key("aegle.key.handle", &[&handle.bits().to_le_bytes()])
    }

    /// [`super::RulePage`].
    pub fn rules(patient: PatientId, page: u32) -> Key {
        key("aegle.key.rules", &[patient.as_bytes(), &page.to_le_bytes()])
    }

    /// The patient's [`Returns`](crate::Returns), once there is one.
    pub fn returns(patient: PatientId) -> Key {
        key("aegle.key.returns", &[patient.as_bytes()])
    }

    /// The [`super::TxId`] of a change of rules with this [`change_id`](crate::change_id); its
    /// presence keeps the change from being made twice.
    pub fn change(change: &Hash) -> Key {
        key("aegle.key.change", &[change.as_bytes()])
    }

    /// [`super::RuleRecord`].
    pub fn rule(rule: RuleId) -> Key {
        key("aegle.key.rule", &[rule.as_bytes()])
    }

    /// [`super::DisclosureRecord`].
    pub fn disclosure(request: RequestId) -> Key {
        key("aegle.key.disclosure", &[request.as_bytes()])
    }

    /// [`super::JournalRecord`].
    pub fn journal(centre: CentreId) -> Key {
        key("aegle.key.journal", &[centre.as_bytes()])
    }

    /// The [`super::Position`] of a transaction; its presence keeps it from being applied twice.
    pub fn transaction(transaction: &super::TxId) -> Key {
        key("aegle.key.transaction", &[transaction.as_bytes()])
    }

    /// The [`super::TxId`] of a patient's entry, counted from 0.
    pub fn entry(patient: PatientId, number: u64) -> Key {
        key("aegle.key.entry", &[patient.as_bytes(), &number.to_le_bytes()])
    }

    /// What is being decided: [`super::GovernanceRecord`].
    pub fn governance() -> Key {
        key("aegle.key.governance", &[])
    }

    /// A [`super::ProposalRecord`].
    pub fn proposal(proposal: &super::TxId) -> Key {
        key("aegle.key.proposal", &[proposal.as_bytes()])
    }

    /// The [`super::ValidatorsRecord`] of an epoch that began with other validators than the one
    /// before; see [`super::GovernanceRecord::handovers`].
    pub fn validators(epoch: u64) -> Key {
        key("aegle.key.validators", &[&epoch.to_le_bytes()])
    }

    /// A page of the tree of heads.
    pub(crate) fn heads(level: u8, page: u64) -> Key {
        key("aegle.key.heads", &[&[level], &page.to_le_bytes()])
    }

    /// The pages on the path of the patient with this index in a tree over `patients`, for a
    /// [`crate::HeadProof`].
    pub fn head_path(index: u64, patients: u64) -> Vec<Key> {
        tree::path(index, patients).map(|(level, page)| heads(level, page)).collect()
    }
}

/// The state before the first block.
pub fn genesis_state(genesis: &Genesis) -> BTreeMap<Key, Vec<u8>> {
    let network = NetworkRecord {
        network: genesis.network(),
        policy: genesis.policy,
        epochs: genesis.epochs,
        centres: genesis.centres.iter().map(|centre| centre.id).collect(),
        newcomers: Vec::new(),
        leavers: Vec::new(),
        validators: genesis.validators(),
        switches: Vec::new(),
        patients: 0,
        heads: heads::root(0, Hash::ZERO),
    };
    let centres = genesis.centres.iter().map(|centre| {
        let member = Member { centre: centre.clone(), address: String::new() };
        let record = CentreRecord::new(member);
        (keys::centre(centre.id), write(&record))
    });
    let founders = ValidatorsRecord(genesis.validators());
    let network = [
        (keys::network(), write(&network)),
        (keys::governance(), write(&GovernanceRecord::default())),
        (keys::validators(0), write(&founders)),
    ];
    centres.chain(network).collect()
}

/// The header of block 0, which everybody computes from the genesis.
pub fn genesis_header(genesis: &Genesis) -> Header {
    Header {
        version: Header::VERSION_FIRST,
        network: genesis.network(),
        epoch: 0,
        height: 0,
        parent: genesis.hash(),
        time: genesis.time,
        transactions: merkle_root(&[]),
        heads: heads::root(0, Hash::ZERO),
        state: genesis.hash(),
        validators: validators_hash(&genesis.validators()),
        engine: crate::Block::engine_hash(&[]),
    }
}

/// How a header names a set of validators.
pub(crate) fn validators_hash(validators: &[PublicKey]) -> Hash {
    Hash::of("aegle.validators", &[&write(&validators)])
}

pub(crate) fn write(record: &impl BorshSerialize) -> Vec<u8> {
    borsh::to_vec(record).expect("writing to memory cannot fail")
}

/// The state's next link: every write, in key order, on top of the parent's.
pub(crate) fn chain(
    parent: &Header,
    time: Timestamp,
    writes: &BTreeMap<Key, Option<Vec<u8>>>,
) -> Hash {
    let mut bytes = Vec::new();
    for (key, value) in writes {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&write(&value.as_ref().map(|value| Hash::sha256(&[value]))));
    }
    let height = (parent.height + 1).to_le_bytes();
    Hash::of("aegle.state", &[parent.state.as_bytes(), &height, &time.0.to_le_bytes(), &bytes])
}
