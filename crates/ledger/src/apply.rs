//! Executes the transactions of a block on the part of the state they touch.
//!
//! Nothing here reads: [`execute`] either has every record it needs or answers with the keys to
//! read ([`Stop::Needs`]) and is called again. That keeps it pure while the state may be larger
//! than memory.

mod disclosure;
mod governance;
mod late;
mod patient;
mod restore;
mod rule;
mod work;

use crate::outcome::{Outcome, Rejection};
use crate::state::{self, CentreRecord, Key, Loaded, NetworkRecord, Position, keys};
use crate::transaction::{Body, Transaction};
use crate::{Block, Header, block, heads, merkle_root};
use aegle_model::{CentreId, Hash, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use work::Work;

/// How many blocks ahead a transaction's expiry may lie.
pub const LIFETIME_MAX: u64 = 100_000;

/// What the transactions of one block did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Each transaction with its outcome.
    pub entries: Vec<(Transaction, Outcome)>,
    /// What changes in the state; none removes.
    pub writes: BTreeMap<Key, Option<Vec<u8>>>,
    /// [`Header::transactions`].
    pub transactions: Hash,
    /// [`Header::heads`].
    pub heads: Hash,
    /// [`Header::state`].
    pub state: Hash,
    /// [`Header::validators`].
    pub validators: Hash,
    /// [`Header::epoch`].
    pub epoch: u64,
    /// [`Header::version`].
    pub version: u16,
}

impl Execution {
    /// The header of the block after `parent` that did this at `time`, with these bytes of the
    /// consensus engine.
    pub fn header(&self, parent: &Header, time: Timestamp, engine: &[u8]) -> Header {
        Header {
            version: self.version,
            network: parent.network,
            epoch: self.epoch,
            height: parent.height + 1,
            parent: parent.digest(),
            time,
            transactions: self.transactions,
            heads: self.heads,
            state: self.state,
            validators: self.validators,
            engine: Block::engine_hash(engine),
        }
    }
}

/// Why a transaction must not stand in this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It stands in the chain already.
    #[error("the transaction is in the chain already")]
    Replayed,
    /// Its expiry height has passed or lies too far ahead.
    #[error("the transaction has expired or lives too long")]
    Expired,
    /// Its author is no member, or uses another key than registered.
    #[error("the author is not a member with this key")]
    Author,
    /// It is meant for another network.
    #[error("the transaction is for another network")]
    Network,
}

/// Why there is no execution yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Read these and call again.
    Needs(BTreeSet<Key>),
    /// The transaction at this position makes the block invalid.
    Invalid(usize, Invalid),
    /// The block follows a version of the protocol that this code does not know.
    Protocol(u16),
}

/// Executes `transactions` in the block after `parent` at `time`.
///
/// Signatures are not checked here; see [`Transaction::check`].
pub fn execute(
    loaded: &Loaded,
    parent: &Header,
    time: Timestamp,
    transactions: &[Transaction],
) -> Result<Execution, Stop> {
    let mut work = Work::new(loaded, parent, time);
    let mut outcomes = Vec::with_capacity(transactions.len());
    for (position, transaction) in transactions.iter().enumerate() {
        match work.run(transaction, outcomes.len()) {
            Ok(outcome) => outcomes.push(outcome),
            Err(Halt::Invalid(why)) if work.complete() => return Err(Stop::Invalid(position, why)),
            // With records missing, an earlier transaction may not have had its effect yet.
            Err(Halt::Invalid(_) | Halt::Missing) => {}
        }
    }
    work.finish(|| transactions.iter().cloned().zip(outcomes).collect())
}

/// Like [`execute`], but leaves out what must not stand in the block: for the proposer.
pub fn build(
    loaded: &Loaded,
    parent: &Header,
    time: Timestamp,
    candidates: &[Transaction],
) -> Result<Execution, Stop> {
    let mut work = Work::new(loaded, parent, time);
    let mut entries = Vec::with_capacity(candidates.len());
    for transaction in candidates {
        if let Ok(outcome) = work.run(transaction, entries.len()) {
            entries.push((transaction, outcome));
        }
    }
    let owned = |(transaction, outcome): (&Transaction, _)| (transaction.clone(), outcome);
    work.finish(|| entries.into_iter().map(owned).collect())
}

/// Why one transaction was not applied.
enum Halt {
    /// A record has not been read yet.
    Missing,
    /// It must not stand in the block.
    Invalid(Invalid),
}

impl From<Invalid> for Halt {
    fn from(why: Invalid) -> Self {
        Self::Invalid(why)
    }
}

/// What applying a body can end in.
type Applied = Result<Result<Outcome, Rejection>, Halt>;

impl Work<'_> {
    /// Applies one transaction and notes where it stands.
    fn run(&mut self, transaction: &Transaction, index: usize) -> Result<Outcome, Halt> {
        let id = transaction.id();
        self.begin(index);
        self.prefetch(transaction, &id);
        self.admit(transaction, &id)?;
        let outcome = match self.apply(transaction)? {
            Ok(outcome) => outcome,
            Err(rejection) => Outcome::Rejected(rejection),
        };
        self.put(keys::transaction(&id), &self.position());
        self.record(transaction, &id, &outcome)?;
        Ok(outcome)
    }

    /// Asks for what the transaction is known to touch, so that one round of reading is enough.
    fn prefetch(&mut self, transaction: &Transaction, id: &Hash) {
        let author = transaction.author();
        self.want([keys::network(), keys::transaction(id), keys::centre(author)]);
        match transaction.body() {
            Body::Publish(_) => {}
            Body::Enrol(enrol) => {
                self.want([keys::patient(enrol.patient), keys::handle(enrol.patient.into())]);
            }
            Body::Link(link) => {
                self.want([keys::patient(link.patient), keys::centre(link.by_patient.centre)]);
            }
            Body::Grant(grant) => self.want([keys::patient(grant.patient)]),
            Body::Revoke(revoke) => {
                let rule = keys::rule(revoke.rule);
                self.want([keys::patient(revoke.patient), keys::returns(revoke.patient), rule]);
            }
            Body::Disclose(disclose) => {
                let parts = disclose.question.parts.iter().map(|part| keys::centre(part.centre()));
                self.want(parts.chain([
                    keys::patient(disclose.patient),
                    keys::disclosure(disclose.request),
                    keys::centre(disclose.requester.centre),
                ]));
            }
            Body::Deliver(deliver) => self.want([keys::disclosure(deliver.request)]),
            Body::Restore(restore) => {
                self.want([keys::patient(restore.patient), keys::returns(restore.patient)]);
            }
            Body::Late(late) => self.want([
                keys::patient(late.disclose.patient),
                keys::disclosure(late.disclose.request),
                keys::journal(author),
            ]),
            Body::Propose(_) => self.want([keys::governance()]),
            Body::Vote(vote) => self.want([keys::governance(), keys::proposal(&vote.proposal)]),
            Body::Erase(erase) => self.want([keys::patient(erase.patient)]),
        }
        self.want(transaction.change_id().iter().map(keys::change));
    }

    /// Whether the transaction may stand in this block at all.
    fn admit(&mut self, transaction: &Transaction, id: &Hash) -> Result<(), Halt> {
        let height = self.height();
        if transaction.network() != self.parent.network {
            return Err(Invalid::Network.into());
        }
        if !(height..=height.saturating_add(LIFETIME_MAX)).contains(&transaction.expires()) {
            return Err(Invalid::Expired.into());
        }
        if self.get::<Position>(keys::transaction(id))?.is_some() {
            return Err(Invalid::Replayed.into());
        }
        let author = self.centre(transaction.author())?.ok_or(Invalid::Author)?;
        if author.centre.key == transaction.key() { Ok(()) } else { Err(Invalid::Author.into()) }
    }

    fn apply(&mut self, transaction: &Transaction) -> Applied {
        let author = transaction.author();
        match transaction.body() {
            Body::Publish(publish) => self.publish(author, publish),
            Body::Enrol(enrol) => self.enrol(author, enrol),
            Body::Link(link) => self.link(author, link),
            Body::Grant(grant) => self.grant(transaction, grant),
            Body::Revoke(revoke) => self.revoke(transaction, revoke),
            Body::Disclose(disclose) => self.disclose(author, transaction.id(), disclose),
            Body::Deliver(deliver) => self.deliver(author, deliver),
            Body::Restore(restore) => self.restore(transaction, restore),
            Body::Late(late) => self.late(author, transaction.id(), late),
            Body::Propose(propose) => self.propose(author, transaction.id(), propose),
            Body::Vote(vote) => self.vote(author, vote),
            Body::Erase(erase) => self.erase(author, erase),
        }
    }

    fn publish(&mut self, author: CentreId, publish: &crate::Publish) -> Applied {
        let Some(mut record) = self.centre(author)? else {
            return Ok(Err(Rejection::UnknownCentre));
        };
        let vocabulary = &publish.vocabulary;
        // Versions may be left out: a lake can go through several before its node runs again.
        let newer = record.catalogue.is_none_or(|old| vocabulary.version > old);
        if !newer || vocabulary.check().is_err() {
            return Ok(Err(Rejection::BadVocabulary));
        }
        record.catalogue = Some(vocabulary.version);
        self.put(keys::centre(author), &record);
        self.put(keys::vocabulary(author), vocabulary);
        Ok(Ok(Outcome::Done))
    }

    /// The centre, if it is a member.
    fn centre(&mut self, centre: CentreId) -> Result<Option<CentreRecord>, Halt> {
        let record = self.get::<CentreRecord>(keys::centre(centre))?;
        Ok(record.filter(|record| record.left.is_none()))
    }

    /// The network after the block: the tree of heads, and what the end of an epoch brings.
    fn close(&mut self) -> Result<NetworkRecord, Halt> {
        let network = self.update_heads()?;
        if network.epochs.ends(self.height()) { self.turn(network) } else { Ok(network) }
    }

    /// Closes the block: the roots. Only a block that nothing is missing for needs its `entries`.
    fn finish(
        mut self,
        entries: impl FnOnce() -> Vec<(Transaction, Outcome)>,
    ) -> Result<Execution, Stop> {
        let closed = self.close();
        let height = self.height();
        let (writes, network) = match (closed, self.complete()) {
            (Ok(network), true) => (self.writes, network),
            (_, false) | (Err(_), true) => return Err(Stop::Needs(self.needs)),
        };
        let version = network.protocol_at(height);
        if version > Header::VERSION {
            return Err(Stop::Protocol(version));
        }
        let entries = entries();
        let leaves: Vec<Vec<u8>> = entries.iter().map(block::leaf).collect();
        Ok(Execution {
            transactions: merkle_root(&leaves),
            heads: network.heads,
            state: state::chain(self.parent, self.time, &writes),
            validators: state::validators_hash(&network.validators),
            epoch: network.epochs.of(height),
            version,
            entries,
            writes,
        })
    }
}

impl heads::Pages for Work<'_> {
    type Stop = Halt;

    fn page(&mut self, key: &Key) -> Result<heads::Page, Halt> {
        Ok(self.get(*key)?.unwrap_or_default())
    }

    fn keep(&mut self, key: Key, page: &heads::Page) {
        self.put(key, page);
    }
}
