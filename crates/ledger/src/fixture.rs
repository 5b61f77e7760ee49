//! A network in memory, for tests: real keys, real execution, real certificates, no engine.

pub mod mix;

use crate::{
    Anchor, Attestation, Block, Body, Centre, Certificate, Disclose, Draft, Enrol, Epochs,
    Execution, Genesis, GovernanceRecord, Handover, HeadProof, Header, Key, Loaded, LogEntry,
    NetworkRecord, OpenedRequest, Outcome, PatientLog, PatientRecord, Permit, Position, Publish,
    Receipt, Record, Stop, Transaction, TxId, ValidatorsRecord, execute, genesis_header,
    genesis_state, keys,
};
use aegle_access::Policy;
use aegle_model::{
    Bits, Canonical, Cell, CellId, CentreId, Hash, Name, PatientId, PublicKey, RecordKey,
    RequestId, SigningKey, Tag, Timestamp, Vocabulary,
};
use std::collections::{BTreeMap, BTreeSet};

/// A network whose every node is here.
pub struct Network {
    /// The genesis.
    pub genesis: Genesis,
    /// The centres' keys, in the order of the genesis, and those that came later.
    pub keys: Vec<SigningKey>,
    /// All blocks, the genesis block first.
    pub blocks: Vec<Block>,
    state: BTreeMap<Key, Vec<u8>>,
    nonce: u64,
}

impl Network {
    /// A network of `size` centres called `C0`, `C1`, … in the order of the genesis.
    pub fn new(size: u8) -> Self {
        Self::with_epochs(size, Epochs::DEFAULT)
    }

    /// Like [`Self::new`], with epochs of another length.
    pub fn with_epochs(size: u8, epochs: Epochs) -> Self {
        let mut keys: Vec<_> =
            (0..size).map(|seed| SigningKey::from_seed(&[seed + 1; 32])).collect();
        keys.sort_by_key(SigningKey::public);
        let centres = keys.iter().zip(0..).map(|(key, number)| centre(key, number)).collect();
        let policy = Policy { emergency: true };
        let time = Timestamp(1_000);
        let genesis = Genesis { name: name("test"), time, policy, epochs, centres };
        let header = genesis_header(&genesis);
        let blocks = vec![Block { header, entries: Vec::new(), engine: Vec::new() }];
        Self { state: genesis_state(&genesis), genesis, keys, blocks, nonce: 0 }
    }

    /// The id of a centre.
    pub fn id(&self, centre: usize) -> CentreId {
        self.genesis.centres[centre].id
    }

    /// A signed transaction of a centre.
    pub fn sign(&mut self, centre: usize, body: Body) -> Transaction {
        self.sign_as(self.id(centre), &self.keys[centre].clone(), body)
    }

    /// A transaction of any centre under any key.
    pub fn sign_as(&mut self, centre: CentreId, key: &SigningKey, body: Body) -> Transaction {
        self.nonce += 1;
        let expires = self.blocks.len() as u64 + 100;
        let author = (centre, key.public());
        Draft::new(self.genesis.network(), author, expires, self.nonce, body).sign(key)
    }

    /// Executes transactions as the next block without keeping it.
    pub fn try_execute(&self, transactions: &[Transaction]) -> Result<Execution, Stop> {
        let parent = self.tip();
        let mut loaded = Loaded::default();
        loop {
            match execute(&loaded, parent, Timestamp(parent.time.0 + 10), transactions) {
                Err(Stop::Needs(needs)) => {
                    for key in needs {
                        loaded.add(key, self.state.get(&key).cloned());
                    }
                }
                done => return done,
            }
        }
    }

    /// Commits transactions as the next block.
    pub fn commit(&mut self, transactions: &[Transaction]) -> Vec<Outcome> {
        let execution =
            self.try_execute(transactions).expect("the transactions may stand in a block");
        let parent = self.tip();
        let header = execution.header(parent, Timestamp(parent.time.0 + 10), &[]);
        for (key, value) in execution.writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        let outcomes = execution.entries.iter().map(|(_, outcome)| outcome.clone()).collect();
        self.blocks.push(Block { header, entries: execution.entries, engine: Vec::new() });
        outcomes
    }

    /// Signs and commits one body.
    pub fn submit(&mut self, centre: usize, body: Body) -> Outcome {
        let transaction = self.sign(centre, body);
        self.commit(&[transaction]).remove(0)
    }

    /// Commits blocks without transactions until the epoch of the next block is another one.
    pub fn end_epoch(&mut self) {
        loop {
            self.commit(&[]);
            if self.genesis.epochs.ends(self.tip().height) {
                return;
            }
        }
    }

    /// The newest header.
    pub fn tip(&self) -> &Header {
        &self.blocks.last().expect("the genesis block is always there").header
    }

    /// A record of the state.
    pub fn record<T: Record>(&self, key: Key) -> Option<T> {
        self.state.get(&key).and_then(|bytes| T::read(bytes))
    }

    /// A record's bytes.
    pub fn bytes(&self, key: &Key) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    /// The header at `height` with votes of the first quorum of its epoch.
    pub fn anchor(&self, height: u64) -> Anchor {
        let header = self.blocks[usize::try_from(height).expect("small")].header.clone();
        let governance = self.governance();
        let begun = governance.handovers.iter().filter(|epoch| **epoch <= header.epoch);
        let handovers = begun.map(|epoch| self.handover(*epoch)).collect();
        let certificate = self.certificate(&header);
        Anchor { handovers, header, links: Vec::new(), certificate }
    }

    fn governance(&self) -> GovernanceRecord {
        self.record(keys::governance()).expect("always there")
    }

    fn handover(&self, epoch: u64) -> Handover {
        let last = usize::try_from(self.genesis.epochs.last(epoch - 1)).expect("small");
        let header = self.blocks[last].header.clone();
        let certificate = self.certificate(&header);
        Handover { certificate, header, validators: self.validators(epoch) }
    }

    /// The validators of an epoch.
    pub fn validators(&self, epoch: u64) -> Vec<PublicKey> {
        let since = self.governance().since(epoch);
        self.record::<ValidatorsRecord>(keys::validators(since)).expect("always there").0
    }

    /// The votes of the first quorum of its epoch for a header.
    pub fn certificate(&self, header: &Header) -> Certificate {
        self.votes_of(&self.validators(header.epoch), header)
    }

    /// The votes of the first quorum of `validators` for a header.
    pub fn votes_of(&self, validators: &[PublicKey], header: &Header) -> Certificate {
        let quorum = Certificate::quorum(validators.len());
        let mut certificate = Certificate {
            epoch: header.epoch,
            view: header.height,
            parent_view: header.height.saturating_sub(1),
            signers: Bits::first(quorum).expect("small"),
            signatures: Vec::new(),
        };
        let vote = certificate.vote(self.genesis.network(), &header.digest());
        let signature = |key: &PublicKey| {
            let signer = self.keys.iter().find(|signer| signer.public() == *key);
            signer.expect("all keys are here").sign_raw(&vote)
        };
        certificate.signatures = validators[..quorum].iter().map(signature).collect();
        certificate
    }

    /// The receipt of a committed transaction.
    pub fn receipt(&self, id: &TxId) -> Receipt {
        let position: Position =
            self.record(keys::transaction(id)).expect("the transaction is committed");
        let block = &self.blocks[usize::try_from(position.height).expect("small")];
        Receipt::new(block, position.index as usize, self.anchor(position.height))
            .expect("it stands there")
    }

    /// The patient's whole log.
    pub fn log(&self, patient: PatientId) -> PatientLog {
        let record: PatientRecord =
            self.record(keys::patient(patient)).expect("the patient is enrolled");
        let network: NetworkRecord = self.record(keys::network()).expect("always there");
        let entries = (0..record.entries).map(|number| self.entry(patient, number)).collect();
        let path = keys::head_path(record.index, network.patients);
        let pages: Vec<Vec<u8>> = path.iter().map(|key| self.state[key].clone()).collect();
        let head = HeadProof::new(record.index, network.patients, &pages).expect("pages decode");
        PatientLog { patient, entries, head, anchor: self.anchor(self.tip().height) }
    }

    fn entry(&self, patient: PatientId, number: u64) -> LogEntry {
        let id: Hash = self.record(keys::entry(patient, number)).expect("every entry is indexed");
        let position: Position = self.record(keys::transaction(&id)).expect("committed");
        let block = &self.blocks[usize::try_from(position.height).expect("small")];
        let (transaction, outcome) = block.entries[position.index as usize].clone();
        LogEntry { height: position.height, time: block.header.time, transaction, outcome }
    }

    /// Publishes [`vocabulary`] for a centre and enrols a patient there.
    #[must_use]
    pub fn with_patient(mut self, centre: usize, patient: PatientId, key: &RecordKey) -> Self {
        self.submit(centre, Body::Publish(Publish { vocabulary: vocabulary() }));
        self.submit(centre, Body::Enrol(Enrol { patient, commitment: key.commitment() }));
        self
    }

    /// The disclosure that `guardian` submits for a request that `requester` signed.
    pub fn disclosure(
        &self,
        opened: &OpenedRequest,
        requester: usize,
        key: &RecordKey,
    ) -> Disclose {
        let vocabulary = vocabulary();
        let published = |id| self.record::<crate::CentreRecord>(keys::centre(id))?.catalogue;
        let known = |id| published(id).map(|_| &vocabulary);
        let (question, catalogues) = opened.question(key, known).expect("the tags are known");
        Disclose {
            request: opened.request,
            patient: opened.patient,
            requester: Attestation::of_request(opened, self.id(requester), &self.keys[requester]),
            opened: opened.hash(),
            sealed: vec![0; 64],
            question,
            catalogues,
        }
    }
}

/// Tags `all`, `medication` and `treatments` over four cells: none, one, the other, both.
pub fn vocabulary() -> Vocabulary {
    let tag = |text| Tag { name: name(text), labels: BTreeMap::new() };
    let cell = |tags: &[&str]| Cell { tags: tags.iter().map(|tag| (name(tag), 1)).collect() };
    let mut cells = vec![
        cell(&["all"]),
        cell(&["all", "medication"]),
        cell(&["all", "treatments"]),
        cell(&["all", "medication", "treatments"]),
    ];
    cells.sort();
    let tags = ["all", "medication", "treatments"].map(tag).to_vec();
    Vocabulary { version: 1, catalogue: Hash::ZERO, tags, cells }
}

/// A permit that no ledger decided.
pub fn permit(
    request: RequestId,
    patient: PatientId,
    cells: BTreeSet<CellId>,
    recipient: [u8; 65],
    catalogue: u32,
) -> Permit {
    let receipt = Hash::of("aegle.fixture", &[request.as_bytes()]);
    Permit::for_tests((request, receipt), patient, (cells, catalogue), recipient)
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("tests use valid names")
}

/// An id-like array from a number.
pub fn bytes<const N: usize>(number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The card of a centre with this first key, called `C` and the number.
pub fn centre(key: &SigningKey, number: u8) -> Centre {
    let seal = [number; 65];
    let id = Centre::id_of(&key.public());
    Centre { id, code: name(&format!("C{number}")), key: key.public(), tls: Hash::ZERO, seal }
}

/// The bytes of a value with one bit flipped, for cheating.
pub fn flip<T: Canonical>(value: &T, bit: usize) -> Option<T> {
    let mut bytes = value.to_bytes();
    let place = bit / 8 % bytes.len();
    bytes[place] ^= 1 << (bit % 8);
    T::from_bytes(&bytes).ok()
}
