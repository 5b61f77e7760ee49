//! The state as one block sees it: what was read, overlaid with what the block wrote.

use super::Halt;
use crate::outcome::Outcome;
use crate::state::{self, Key, Loaded, NetworkRecord, PatientRecord, Position, Record, keys};
use crate::transaction::{Body, Transaction, TxId};
use crate::{Header, heads, log};
use aegle_access::Rule;
use aegle_model::{PatientId, Timestamp};
use borsh::BorshSerialize;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(super) struct Work<'a> {
    loaded: &'a Loaded,
    pub(super) parent: &'a Header,
    pub(super) time: Timestamp,
    /// The entry that is being applied, counted from 0.
    index: usize,
    pub(super) writes: BTreeMap<Key, Option<Vec<u8>>>,
    pub(super) needs: BTreeSet<Key>,
    /// Patients whose chains grew in this block.
    touched: BTreeSet<PatientId>,
    /// Rules that stand, of patients who were asked about since they last changed.
    pub(super) rules: BTreeMap<PatientId, Rc<[Rule]>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(loaded: &'a Loaded, parent: &'a Header, time: Timestamp) -> Self {
        let (writes, needs, touched, rules) = Default::default();
        Self { loaded, parent, time, index: 0, writes, needs, touched, rules }
    }

    /// What follows is the entry with this index.
    pub(super) fn begin(&mut self, index: usize) {
        self.index = index;
    }

    pub(super) fn height(&self) -> u64 {
        self.parent.height + 1
    }

    /// Where the entry that is being applied will stand.
    pub(super) fn position(&self) -> Position {
        let index = u32::try_from(self.index).expect("a block has few entries");
        Position { height: self.height(), index }
    }

    /// Whether every record asked for so far had been read.
    pub(super) fn complete(&self) -> bool {
        self.needs.is_empty()
    }

    pub(super) fn want(&mut self, keys: impl IntoIterator<Item = Key>) {
        let unread = |key: &Key| !self.writes.contains_key(key) && self.loaded.get(key).is_none();
        self.needs.extend(keys.into_iter().filter(unread));
    }

    pub(super) fn get<T: Record>(&mut self, key: Key) -> Result<Option<T>, Halt> {
        let bytes = match (self.writes.get(&key), self.loaded.get(&key)) {
            (Some(written), _) => written.as_deref(),
            (None, Some(read)) => read,
            (None, None) => {
                self.needs.insert(key);
                return Err(Halt::Missing);
            }
        };
        Ok(bytes.map(|bytes| T::read(bytes).expect("the state holds what this crate wrote")))
    }

    pub(super) fn put(&mut self, key: Key, record: &impl BorshSerialize) {
        self.writes.insert(key, Some(state::write(record)));
    }

    pub(super) fn network(&mut self) -> Result<NetworkRecord, Halt> {
        Ok(self.get(keys::network())?.expect("every state holds its network"))
    }

    /// A patient, and with that what the patient's log needs to grow.
    pub(super) fn patient(&mut self, patient: PatientId) -> Result<Option<PatientRecord>, Halt> {
        let record: Option<PatientRecord> = self.get(keys::patient(patient))?;
        if let Some(record) = &record
            && !self.touched.contains(&patient)
        {
            let patients = self.network()?.patients;
            self.want(keys::head_path(record.index, patients));
        }
        Ok(record)
    }

    /// Appends the entry to the chain of the patient it concerns. Rejected transactions change
    /// nothing and concern nobody.
    pub(super) fn record(
        &mut self,
        transaction: &Transaction,
        id: &TxId,
        outcome: &Outcome,
    ) -> Result<(), Halt> {
        if matches!(outcome, Outcome::Rejected(_)) {
            return Ok(());
        }
        let Some(patient) = self.concerned(transaction)? else { return Ok(()) };
        let mut record =
            self.patient(patient)?.expect("an applied transaction names an enrolled patient");
        let link = log::Link {
            number: record.entries,
            height: self.height(),
            time: self.time,
            id,
            outcome,
        };
        record.head = link.after(&record.head);
        self.put(keys::entry(patient, record.entries), id);
        record.entries += 1;
        self.put(keys::patient(patient), &record);
        self.touched.insert(patient);
        let patients = self.network()?.patients;
        self.want(keys::head_path(record.index, patients));
        Ok(())
    }

    fn concerned(&mut self, transaction: &Transaction) -> Result<Option<PatientId>, Halt> {
        Ok(match transaction.body() {
            Body::Publish(_) | Body::Propose(_) | Body::Vote(_) => None,
            Body::Enrol(enrol) => Some(enrol.patient),
            Body::Link(link) => Some(link.patient),
            Body::Grant(grant) => Some(grant.patient),
            Body::Revoke(revoke) => Some(revoke.patient),
            Body::Restore(restore) => Some(restore.patient),
            Body::Erase(erase) => Some(erase.patient),
            Body::Disclose(disclose) => Some(disclose.patient),
            Body::Late(late) => Some(late.disclose.patient),
            Body::Deliver(deliver) => self
                .get::<state::DisclosureRecord>(keys::disclosure(deliver.request))?
                .map(|disclosure| disclosure.patient),
        })
    }

    /// Brings the tree of heads up to the block's entries.
    pub(super) fn update_heads(&mut self) -> Result<NetworkRecord, Halt> {
        let mut network = self.network()?;
        let mut leaves = Vec::with_capacity(self.touched.len());
        for patient in std::mem::take(&mut self.touched) {
            let record = self.patient(patient)?.expect("a touched patient is enrolled");
            leaves.push((record.index, heads::leaf(patient, record.entries, record.head)));
        }
        leaves.sort_unstable();
        if let Some(top) = heads::set(self, network.patients, leaves)? {
            network.heads = heads::root(network.patients, top);
            self.put(keys::network(), &network);
        }
        Ok(network)
    }
}
