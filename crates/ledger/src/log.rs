//! A patient's log: every entry that concerns the patient, proven complete.
//!
//! The patient's record in the state holds the number of entries and a hash chain over them; both
//! are a leaf of the tree of heads, whose root is in every header. So the newest head and the
//! entries prove that nothing is missing, added, changed or out of order.

use crate::anchor::{Anchor, AnchorError};
use crate::{Genesis, HeadProof, Outcome, Transaction, TxId};
use aegle_model::{Canonical, Hash, PatientId, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};

/// One link of the chain.
pub(crate) struct Link<'a> {
    pub(crate) number: u64,
    pub(crate) height: u64,
    pub(crate) time: Timestamp,
    pub(crate) id: &'a TxId,
    pub(crate) outcome: &'a Outcome,
}

impl Link<'_> {
    /// The head after this link.
    pub(crate) fn after(&self, head: &Hash) -> Hash {
        let numbers = [self.number, self.height, self.time.0].map(u64::to_le_bytes).concat();
        let outcome = self.outcome.to_bytes();
        Hash::of("aegle.entry", &[head.as_bytes(), &numbers, self.id.as_bytes(), &outcome])
    }
}

/// One entry of a patient's log.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LogEntry {
    /// The block it stands in.
    pub height: u64,
    /// That block's time.
    pub time: Timestamp,
    /// The transaction.
    pub transaction: Transaction,
    /// What became of it.
    pub outcome: Outcome,
}

/// All entries of a patient up to a height, with the proof that these are all.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PatientLog {
    /// The patient.
    pub patient: PatientId,
    /// Oldest first.
    pub entries: Vec<LogEntry>,
    /// The patient's leaf in the tree of heads.
    pub head: HeadProof,
    /// A header and why it is final.
    pub anchor: Anchor,
}

/// Why a log is not proven complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The header is not proven final.
    #[error("could not verify the header that the log stands on")]
    Anchor(#[from] AnchorError),
    /// An entry is missing, added, changed, out of order, or another patient's.
    #[error("the entries are not exactly those that the chain holds for this patient")]
    Incomplete,
}

impl Canonical for PatientLog {
    const NAME: &'static str = "patient log";
}

impl PatientLog {
    /// Checks that the entries are all there are, as of the header's height.
    pub fn verify(self, genesis: &Genesis) -> Result<VerifiedLog, LogError> {
        let chained = self.entries.iter().zip(0..).fold(Hash::ZERO, |head, (entry, number)| {
            let LogEntry { height, time, transaction, outcome } = entry;
            Link { number, height: *height, time: *time, id: &transaction.id(), outcome }
                .after(&head)
        });
        let root = self.head.root(self.patient, self.entries.len() as u64, chained);
        if root != Some(self.anchor.header.heads) {
            return Err(LogError::Incomplete);
        }
        self.anchor.verify(genesis)?;
        Ok(VerifiedLog(self))
    }
}

/// A log that is proven complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLog(PatientLog);

impl VerifiedLog {
    /// The log.
    pub fn log(&self) -> &PatientLog {
        &self.0
    }
}
