//! The one history that all honest validators must share, executed once more on its own.
//!
//! It needs nothing of the engine: blocks go in as a validator shows them; whatever does not follow
//! from the genesis by the ledger's rules is a violation.

use aegle_ledger::{
    Anchor, Block, Body, CentreRecord, Execution, Genesis, GovernanceRecord, HeadProof, Header,
    Key, Loaded, LogEntry, NetworkRecord, PatientLog, PatientRecord, Position, ProposalRecord,
    Receipt, Record, Stop, Transaction, TxId, execute, genesis_header, genesis_state, keys,
};
use aegle_model::{CentreId, Hash, PatientId, PublicKey};
use std::collections::{BTreeMap, BTreeSet};

/// All blocks that any honest validator has called final.
pub(super) struct History {
    genesis: Genesis,
    state: BTreeMap<Key, Vec<u8>>,
    /// The block at height `h` is at `h`; the genesis block is at 0.
    blocks: Vec<Block>,
    places: BTreeMap<TxId, Position>,
    patients: Vec<PatientId>,
    /// By the height that they are for.
    acknowledged: BTreeMap<u64, BTreeMap<TxId, Receipt>>,
}

/// All entries of a patient as of the height at which it was made.
pub(super) struct Log {
    patient: PatientId,
    entries: Vec<LogEntry>,
    head: HeadProof,
}

impl History {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let header = genesis_header(genesis);
        Self {
            genesis: genesis.clone(),
            state: genesis_state(genesis),
            blocks: vec![Block { header, entries: Vec::new(), engine: Vec::new() }],
            places: BTreeMap::new(),
            patients: Vec::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    /// The last height.
    pub(super) fn height(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    /// How many transactions it holds.
    pub(super) fn transactions(&self) -> usize {
        self.places.len()
    }

    /// The epoch of the next block, and the keys that vote in it.
    pub(super) fn electorate(&self) -> (u64, Vec<PublicKey>) {
        (self.genesis.epochs.of(self.height() + 1), self.network().validators)
    }

    /// Whether a transaction is final.
    pub(super) fn holds(&self, id: &TxId) -> bool {
        self.places.contains_key(id)
    }

    pub(super) fn network(&self) -> NetworkRecord {
        self.record(&keys::network())
    }

    pub(super) fn governance(&self) -> GovernanceRecord {
        self.record(&keys::governance())
    }

    pub(super) fn proposal(&self, id: &TxId) -> ProposalRecord {
        self.record(&keys::proposal(id))
    }

    /// A centre that is or was a member.
    pub(super) fn centre(&self, id: CentreId) -> Option<CentreRecord> {
        let bytes = self.state.get(&keys::centre(id))?;
        Some(CentreRecord::read(bytes).expect("the record can be read"))
    }

    /// Takes in what a validator calls final: a block that is known already or the next one. Says
    /// what the logs of those patients are now whom a new one concerns.
    pub(super) fn see(&mut self, block: &Block) -> Result<Vec<Log>, String> {
        let height = block.header.height;
        match self.blocks.get(usize::try_from(height).unwrap()) {
            Some(known) if known == block => Ok(Vec::new()),
            Some(_) => Err(format!("the block at height {height} differs from another's")),
            None if height == self.height() + 1 => {
                self.append(block)?;
                Ok(self.concerned(block).into_iter().map(|patient| self.log(patient)).collect())
            }
            None => Err(format!("the block at height {height} leaves a gap")),
        }
    }

    /// The patients whose logs may have grown with a block.
    fn concerned(&self, block: &Block) -> BTreeSet<PatientId> {
        let patient = |(transaction, _): &(Transaction, _)| match transaction.body() {
            Body::Enrol(enrol) => Some(enrol.patient),
            Body::Grant(grant) => Some(grant.patient),
            Body::Revoke(revoke) => Some(revoke.patient),
            Body::Disclose(disclose) => Some(disclose.patient),
            _ => None,
        };
        let enrolled = |patient: &PatientId| self.state.contains_key(&keys::patient(*patient));
        block.entries.iter().filter_map(patient).filter(enrolled).collect()
    }

    fn append(&mut self, block: &Block) -> Result<(), String> {
        let (header, parent) = (&block.header, self.blocks.last().unwrap().header.clone());
        let transactions: Vec<Transaction> =
            block.entries.iter().map(|(transaction, _)| transaction.clone()).collect();
        let execution = self.execute(&parent, header, &transactions)?;
        let expected = Header {
            height: parent.height + 1,
            parent: parent.digest(),
            time: header.time,
            transactions: execution.transactions,
            heads: execution.heads,
            state: execution.state,
            validators: execution.validators,
            engine: Block::engine_hash(&block.engine),
            version: execution.version,
            epoch: execution.epoch,
            network: parent.network,
        };
        if expected != *header || execution.entries != block.entries {
            return Err(format!("the block at height {} does not follow", header.height));
        }
        if header.time <= parent.time {
            return Err(format!("the time stands still at height {}", header.height));
        }
        for (key, value) in execution.writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        for (index, transaction) in (0..).zip(&transactions) {
            self.enter(transaction, Position { height: header.height, index })?;
        }
        self.blocks.push(block.clone());
        self.check_receipts_of(header.height)
    }

    fn enter(&mut self, transaction: &Transaction, position: Position) -> Result<(), String> {
        let id = transaction.id();
        if self.places.insert(id, position).is_some() {
            return Err(format!("the transaction {id} is applied twice"));
        }
        if let Body::Enrol(enrol) = transaction.body() {
            self.patients.push(enrol.patient);
        }
        Ok(())
    }

    fn execute(
        &self,
        parent: &Header,
        header: &Header,
        transactions: &[Transaction],
    ) -> Result<Execution, String> {
        let mut loaded = Loaded::default();
        loop {
            match execute(&loaded, parent, header.time, transactions) {
                Ok(execution) => return Ok(execution),
                Err(Stop::Needs(needs)) => {
                    for key in needs {
                        loaded.add(key, self.state.get(&key).cloned());
                    }
                }
                Err(Stop::Invalid(index, why)) => {
                    return Err(format!("transaction {index} of a final block is invalid: {why}"));
                }
                Err(Stop::Protocol(version)) => {
                    return Err(format!("a final block follows the unknown rules {version:?}"));
                }
            }
        }
    }

    /// A client was given a receipt.
    pub(super) fn acknowledge(&mut self, receipt: Receipt) -> Result<(), String> {
        let (id, height) = (receipt.transaction.id(), receipt.anchor.header.height);
        let proven = receipt.clone().verify(&self.genesis);
        proven.map_err(|error| format!("the receipt of {id} proves nothing: {error}"))?;
        self.acknowledged.entry(height).or_default().insert(id, receipt);
        // A client may hear of a block before those who watch do.
        if height > self.height() { Ok(()) } else { self.check_receipts_of(height) }
    }

    /// What was acknowledged for a block stands in it, and as it was acknowledged.
    fn check_receipts_of(&self, height: u64) -> Result<(), String> {
        for (id, receipt) in self.acknowledged.get(&height).into_iter().flatten() {
            let position = self.places.get(id).filter(|position| position.height == height);
            let Some(position) = position else {
                return Err(format!("the transaction {id} was acknowledged and is lost"));
            };
            let block = &self.blocks[usize::try_from(height).unwrap()];
            let (transaction, outcome) = &block.entries[position.index as usize];
            let same = receipt.anchor.header == block.header
                && receipt.outcome == *outcome
                && receipt.transaction == *transaction;
            if !same {
                return Err(format!("the receipt of {id} is for what was not committed"));
            }
        }
        Ok(())
    }

    /// Nothing was acknowledged that is not in the history.
    pub(super) fn check_acknowledged(&self) -> Result<(), String> {
        match self.acknowledged.last_key_value().filter(|(height, _)| **height > self.height()) {
            Some((height, _)) => Err(format!("a block {height} was acknowledged and is lost")),
            None => self.acknowledged.keys().try_for_each(|height| self.check_receipts_of(*height)),
        }
    }

    /// How many transactions were acknowledged.
    pub(super) fn acknowledgements(&self) -> usize {
        self.acknowledged.values().map(BTreeMap::len).sum()
    }

    /// The log of every patient is complete under `anchor`, a validator's own for the last height.
    pub(super) fn check_logs(&self, anchor: &Anchor) -> Result<(), String> {
        let mut logs = self.patients.iter().map(|patient| self.log(*patient));
        logs.try_for_each(|log| log.check(anchor.clone(), &self.genesis))
    }

    fn record<T: Record>(&self, key: &Key) -> T {
        let bytes = self.state.get(key).expect("the record is there");
        T::read(bytes).expect("the record can be read")
    }

    fn log(&self, patient: PatientId) -> Log {
        let record: PatientRecord = self.record(&keys::patient(patient));
        let patients = self.network().patients;
        let path = keys::head_path(record.index, patients);
        let pages: Vec<Vec<u8>> = path.iter().map(|key| self.state[key].clone()).collect();
        let head = HeadProof::new(record.index, patients, &pages).expect("pages decode");
        let entries = (0..record.entries).map(|number| self.entry(patient, number)).collect();
        Log { patient, entries, head }
    }

    fn entry(&self, patient: PatientId, number: u64) -> LogEntry {
        let id: Hash = self.record(&keys::entry(patient, number));
        let position = &self.places[&id];
        let block = &self.blocks[usize::try_from(position.height).unwrap()];
        let (transaction, outcome) = block.entries[position.index as usize].clone();
        LogEntry { height: position.height, time: block.header.time, transaction, outcome }
    }
}

impl Log {
    /// It is complete under the anchor of its height.
    pub(super) fn check(self, anchor: Anchor, genesis: &Genesis) -> Result<(), String> {
        let Self { patient, entries, head } = self;
        let verified = PatientLog { patient, entries, head, anchor }.verify(genesis);
        verified.map(drop).map_err(|error| format!("the log of {patient:?} is broken: {error}"))
    }
}

mod tests;
