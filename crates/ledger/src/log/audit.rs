//! Names what was done to a log that does not hold.
//!
//! A finding is a contradiction, with what authors signed or with what a ledger can do, or a repair
//! after which the log holds. Where two entries contradict each other, the later one is named. Only a
//! log that was refused is looked at.

use super::{LogEntry, LogError, PatientLog};
use crate::{
    Body, Change, Disclose, Genesis, Grant, Header, KeptRule, LIFETIME_MAX, Outcome, Position,
    Return, Returns, TxId, rule_id,
};
use aegle_access::{Decision, Rule, decide, decide_late};
use aegle_model::{Hash, NetworkId, PatientId, RuleId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

impl PatientLog {
    /// What is wrong with a log whose entries are not those that the header commits to.
    pub(super) fn cause(&self, genesis: &Genesis) -> LogError {
        if self.head.root(self.patient, 0, Hash::ZERO).is_none() {
            return LogError::Path;
        }
        let network = genesis.network();
        let first = |wrong: &dyn Fn(&LogEntry) -> bool| self.entries.iter().position(wrong);
        first(&|entry| !entry.is_genuine())
            .map(LogError::Altered)
            .or_else(|| {
                first(&|entry| !entry.concerns(network, self.patient)).map(LogError::Foreign)
            })
            .or_else(|| self.repeated().map(LogError::Repeated))
            .or_else(|| self.strange_delivery().map(LogError::Foreign))
            .or_else(|| self.between(went_back).map(LogError::Reordered))
            .or_else(|| first(&|entry| self.is_late(entry)).map(LogError::Late))
            .or_else(|| first(&|entry| self.denies_header(entry)).map(LogError::Altered))
            .or_else(|| self.between(disagree).map(LogError::Altered))
            .or_else(|| self.rewritten_decision(genesis).map(LogError::Altered))
            .unwrap_or(LogError::Missing)
    }

    fn repeated(&self) -> Option<usize> {
        let mut seen: BTreeSet<TxId> = BTreeSet::new();
        self.entries.iter().position(|entry| !seen.insert(entry.transaction.id()))
    }

    /// The first entry whose place is `wrong` after that of the entry before it.
    fn between(&self, wrong: fn(Place, Place) -> bool) -> Option<usize> {
        let pairs = &mut self.entries.windows(2);
        Some(pairs.position(|pair| wrong(pair[0].place(), pair[1].place()))? + 1)
    }

    fn is_late(&self, entry: &LogEntry) -> bool {
        went_back(entry.place(), place(&self.anchor.header))
    }

    /// Whether one of the headers at hand says that the entry's height and time are not a block's.
    fn denies_header(&self, entry: &LogEntry) -> bool {
        let mut headers = std::iter::once(&self.anchor.header).chain(&self.anchor.links);
        headers.any(|header| disagree(entry.place(), place(header)))
    }

    /// A delivery of a request that the log does not hold, and without which the log holds.
    fn strange_delivery(&self) -> Option<usize> {
        let mut asked = BTreeSet::new();
        let strange = self.entries.iter().position(|entry| match entry.transaction.body() {
            Body::Disclose(disclose) => {
                asked.insert(disclose.request);
                false
            }
            Body::Late(late) => {
                asked.insert(late.disclose.request);
                false
            }
            Body::Deliver(deliver) => !asked.contains(&deliver.request),
            _ => false,
        })?;
        let mut others = self.entries.clone();
        others.remove(strange);
        self.holds(&others).then_some(strange)
    }

    /// A decision other than the rules in the log give, when the log holds with the right ones.
    fn rewritten_decision(&self, genesis: &Genesis) -> Option<usize> {
        let mut rules = Rules::default();
        let mut right = self.entries.clone();
        for (entry, number) in right.iter_mut().zip(0..) {
            if let Body::Late(late) = entry.transaction.body() {
                entry.outcome = Outcome::Decided(decide_late(&late.disclose.question));
            } else if let Body::Disclose(disclose) = entry.transaction.body() {
                let standing = rules.standing(entry.height);
                let question = &disclose.question;
                let decision = decide(standing, question, genesis.policy, entry.time);
                entry.outcome = Outcome::Decided(decision);
            } else {
                rules.follow(entry, number);
            }
        }
        let rewritten =
            self.entries.iter().zip(&right).position(|(entry, right)| entry != right)?;
        self.holds(&right).then_some(rewritten)
    }
}

/// The rules that a log makes.
#[derive(Default)]
struct Rules {
    kept: BTreeMap<RuleId, KeptRule>,
    returns: Returns,
}

impl Rules {
    /// Makes the change that an entry asks for, if it is one. Entries of one block follow each other
    /// as their numbers do.
    fn follow(&mut self, entry: &LogEntry, number: u32) {
        let Some(id) = entry.transaction.change_id() else { return };
        let at = Position { height: entry.height, index: number };
        let change = Change { at, time: entry.time, by: entry.transaction.author() };
        match entry.transaction.body() {
            Body::Grant(Grant { rule, .. }) => {
                let (id, rule) = (rule_id(&id), rule.clone());
                let kept = KeptRule { id, rule, granted: change, revoked: Vec::new() };
                self.kept.insert(id, kept);
            }
            Body::Revoke(revoke) => {
                if let Some(kept) = self.kept.get_mut(&revoke.rule) {
                    kept.revoked.push(change);
                }
            }
            Body::Restore(restore) => self.returns.0.push(Return { change, to: restore.height }),
            _ => {}
        }
    }

    fn standing(&self, height: u64) -> Vec<&Rule> {
        let counted = self.returns.counted(height);
        let standing = self.kept.values().filter(|kept| kept.stands(&counted));
        standing.map(|kept| &kept.rule).collect()
    }
}

/// Height and time of a block.
type Place = (u64, Timestamp);

fn place(header: &Header) -> Place {
    (header.height, header.time)
}

/// Whether the second place is before the first, by height and by time.
fn went_back(before: Place, after: Place) -> bool {
    after.0 < before.0 && after.1 < before.1
}

/// Whether two places are not both those of blocks: each block has one time, later than that of the
/// block before.
fn disagree(one: Place, other: Place) -> bool {
    one.0.cmp(&other.0) != one.1.cmp(&other.1)
}

impl LogEntry {
    fn place(&self) -> Place {
        (self.height, self.time)
    }

    /// Whether the entry can be one of this patient. A delivery names only its request.
    fn concerns(&self, network: NetworkId, patient: PatientId) -> bool {
        let named = match self.transaction.body() {
            Body::Publish(_) | Body::Propose(_) | Body::Vote(_) => return false,
            Body::Enrol(enrol) => enrol.patient,
            Body::Link(link) => link.patient,
            Body::Grant(grant) => grant.patient,
            Body::Revoke(revoke) => revoke.patient,
            Body::Restore(restore) => restore.patient,
            Body::Erase(erase) => erase.patient,
            Body::Disclose(disclose) => disclose.patient,
            Body::Late(late) => late.disclose.patient,
            Body::Deliver(_) => patient,
        };
        self.transaction.network() == network && named == patient
    }

    /// Whether the author signed it, and outcome and height are of those it can have.
    fn is_genuine(&self) -> bool {
        let outcome = match (self.transaction.body(), &self.outcome) {
            (Body::Disclose(disclose), Outcome::Decided(decision)) => answers(decision, disclose),
            (Body::Late(late), Outcome::Decided(decision)) => answers(decision, &late.disclose),
            (Body::Disclose(_) | Body::Late(_), _) => false,
            (Body::Restore(restore), _) if restore.height >= self.height => false,
            (_, outcome) => *outcome == Outcome::Done,
        };
        let last = self.transaction.expires();
        let in_time = self.height <= last && last <= self.height.saturating_add(LIFETIME_MAX);
        outcome && in_time && self.transaction.check(self.transaction.network()).is_ok()
    }
}

/// Whether a decision has a part for each part asked for, and grants nothing that was not asked.
fn answers(decision: &Decision, disclose: &Disclose) -> bool {
    let parts = &disclose.question.parts;
    let fits =
        decision.granted.iter().zip(parts).all(|(bits, part)| bits.end() <= part.cells().len());
    decision.granted.len() == parts.len() && fits
}
