//! The one history that all honest validators must share, executed once more on its own.
//!
//! It needs nothing of the engine: blocks go in as a validator shows them; whatever does not follow
//! from the genesis by the ledger's rules is a violation.

use aegle_ledger::{
    Anchor, Block, Body, Execution, Genesis, HeadProof, Header, Key, Loaded, LogEntry,
    NetworkRecord, Outcome, PatientLog, PatientRecord, Position, Receipt, Record, Stop,
    Transaction, TxId, execute, genesis_header, genesis_state, keys,
};
use aegle_model::{Hash, PatientId};
use std::collections::BTreeMap;

/// All blocks that any honest validator has called final.
pub(super) struct History {
    genesis: Genesis,
    state: BTreeMap<Key, Vec<u8>>,
    /// The block at height `h` is at `h`; the genesis block is at 0.
    blocks: Vec<Block>,
    places: BTreeMap<TxId, Position>,
    patients: Vec<PatientId>,
    acknowledged: BTreeMap<TxId, Receipt>,
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

    /// Takes in what a validator calls final: a block that is known already or the next one.
    pub(super) fn see(&mut self, block: &Block) -> Result<(), String> {
        let height = block.header.height;
        match self.blocks.get(usize::try_from(height).unwrap()) {
            Some(known) if known == block => Ok(()),
            Some(_) => Err(format!("the block at height {height} differs from another's")),
            None if height == self.height() + 1 => self.append(block),
            None => Err(format!("the block at height {height} leaves a gap")),
        }
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
        Ok(())
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
    pub(super) fn acknowledge(&mut self, id: TxId, receipt: Receipt) -> Result<(), String> {
        let proven = receipt.clone().verify(&self.genesis);
        proven.map_err(|error| format!("the receipt of {id} proves nothing: {error}"))?;
        if let Outcome::Rejected(why) = &receipt.outcome {
            return Err(format!("the transaction {id} was rejected: {why:?}"));
        }
        self.acknowledged.insert(id, receipt);
        Ok(())
    }

    /// How many transactions were acknowledged.
    pub(super) fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    /// What was acknowledged is in the history, and as it was acknowledged.
    pub(super) fn check_acknowledged(&self) -> Result<(), String> {
        for (id, receipt) in &self.acknowledged {
            let Some(position) = self.places.get(id) else {
                return Err(format!("the transaction {id} was acknowledged and is lost"));
            };
            let block = &self.blocks[usize::try_from(position.height).unwrap()];
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

    /// The log of every patient is complete under `anchor`, a validator's own for the last height.
    pub(super) fn check_logs(&self, anchor: &Anchor) -> Result<(), String> {
        for patient in &self.patients {
            let log = self.log(*patient, anchor.clone());
            let verified = log.verify(&self.genesis);
            verified.map_err(|error| format!("the log of {patient:?} is broken: {error}"))?;
        }
        Ok(())
    }

    fn record<T: Record>(&self, key: &Key) -> T {
        let bytes = self.state.get(key).expect("the record is there");
        T::read(bytes).expect("the record can be read")
    }

    fn log(&self, patient: PatientId, anchor: Anchor) -> PatientLog {
        let record: PatientRecord = self.record(&keys::patient(patient));
        let network: NetworkRecord = self.record(&keys::network());
        let path = keys::head_path(record.index, network.patients);
        let pages: Vec<Vec<u8>> = path.iter().map(|key| self.state[key].clone()).collect();
        let head = HeadProof::new(record.index, network.patients, &pages).expect("pages decode");
        let entries = (0..record.entries).map(|number| self.entry(patient, number)).collect();
        PatientLog { patient, entries, head, anchor }
    }

    fn entry(&self, patient: PatientId, number: u64) -> LogEntry {
        let id: Hash = self.record(&keys::entry(patient, number));
        let position = &self.places[&id];
        let block = &self.blocks[usize::try_from(position.height).unwrap()];
        let (transaction, outcome) = block.entries[position.index as usize].clone();
        LogEntry { height: position.height, time: block.header.time, transaction, outcome }
    }
}
