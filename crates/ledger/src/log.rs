//! A patient's log: every entry that concerns the patient, proven complete.
//!
//! The patient's record in the state holds the number of entries and a hash chain over them; both
//! are a leaf of the tree of heads, whose root is in every header. So the newest head and the
//! entries prove that nothing is missing, added, changed or out of order.

mod audit;

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

/// Why a log is not proven complete. Entries are counted from 0, as they stand in the log.
///
/// The chain tells that something is wrong, never what: each variant but the last is something that
/// the entries themselves give away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The header is not proven final.
    #[error("could not verify the header that the log stands on")]
    Anchor(#[from] AnchorError),
    /// The path to the header has the wrong length, or the patient no place in the tree.
    #[error("the path from the patient's head to the header does not fit a tree of that size")]
    Path,
    /// An entry of another patient, of nobody, or of another network.
    #[error("entry {0} is not about this patient in this network")]
    Foreign(usize),
    /// An entry that its author did not sign, or with a height, time or outcome it cannot have.
    #[error("entry {0} is not what its author signed and the ledger made of it")]
    Altered(usize),
    /// An entry that stands there before.
    #[error("entry {0} stands in the log before; each stands there once")]
    Repeated(usize),
    /// An entry that is older than the one before it.
    #[error("entry {0} is older than the one before it; entries go from old to new")]
    Reordered(usize),
    /// An entry that is newer than the header.
    #[error("entry {0} is later than the header that the log stands on")]
    Late(usize),
    /// No entry gives away what is wrong with it, and yet the chain holds something else.
    #[error(
        "an entry that the chain holds is not in the log: it was left out, or its height, time or \
         outcome was rewritten"
    )]
    Missing,
}

impl LogError {
    /// The cheat's stable name (`docs/formats.md`, "What a cheat is called").
    pub fn cheat(&self) -> &'static str {
        match self {
            Self::Anchor(error) => error.cheat(),
            Self::Path => "broken-path",
            Self::Foreign(_) => "foreign-entry",
            Self::Altered(_) => "altered-entry",
            Self::Repeated(_) => "repeated-entry",
            Self::Reordered(_) => "reordered-entry",
            Self::Late(_) => "late-entry",
            Self::Missing => "missing-entry",
        }
    }
}

impl Canonical for PatientLog {
    const NAME: &'static str = "patient log";
}

impl PatientLog {
    /// Checks that the entries are all there are, as of the header's height. Costs a signature
    /// verification per vote and per entry.
    pub fn verify(self, genesis: &Genesis) -> Result<VerifiedLog, LogError> {
        // First the header: only under one that holds do the entries have to answer.
        self.anchor.verify(genesis)?;
        // The chain holds ids, and an id leaves the author's signature out.
        let signed = |entry: &LogEntry| entry.transaction.is_signed();
        if self.holds(&self.entries) && self.entries.iter().all(signed) {
            Ok(VerifiedLog(self))
        } else {
            Err(self.cause(genesis))
        }
    }

    /// Whether exactly these entries are what the header commits to for the patient.
    fn holds(&self, entries: &[LogEntry]) -> bool {
        let head = entries.iter().zip(0..).fold(Hash::ZERO, |head, (entry, number)| {
            let LogEntry { height, time, transaction, outcome } = entry;
            Link { number, height: *height, time: *time, id: &transaction.id(), outcome }
                .after(&head)
        });
        let root = self.head.root(self.patient, entries.len() as u64, head);
        root == Some(self.anchor.header.heads)
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
