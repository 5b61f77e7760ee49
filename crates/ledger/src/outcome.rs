//! What became of a transaction.

use aegle_access::Decision;
use aegle_model::Canonical;
use borsh::{BorshDeserialize, BorshSerialize};

/// The result of a transaction, part of its block. Append only.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Outcome {
    /// Recorded.
    Done,
    /// A disclosure was decided; refusals have nothing granted.
    Decided(Decision),
    /// Changed nothing.
    Rejected(Rejection),
}

impl Canonical for Outcome {
    const NAME: &'static str = "outcome";
}

/// Why a transaction changed nothing. Append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum Rejection {
    /// The patient is not enrolled.
    #[error("the patient is not enrolled")]
    UnknownPatient,
    /// The pseudonym, or its handle, is taken.
    #[error("the pseudonym is taken; draw another")]
    PatientTaken,
    /// An attesting centre is no member or uses another key than registered.
    #[error("an attesting centre is not a member with this key")]
    UnknownCentre,
    /// The author is not linked to the patient.
    #[error("the author is not linked to the patient")]
    NotLinked,
    /// Already linked.
    #[error("the centre is linked already")]
    LinkedAlready,
    /// Nobody who may speak for the patient stands behind it.
    #[error("the author may not speak for the patient")]
    NoAuthority,
    /// The commitment is not that of the patient's record key.
    #[error("the record key is not the patient's")]
    WrongKey,
    /// No such rule of this patient is in force.
    #[error("the patient has no such rule")]
    UnknownRule,
    /// Too many rules.
    #[error("the patient has as many rules as the ledger keeps")]
    TooManyRules,
    /// The request was decided before.
    #[error("the request was decided before")]
    Decided,
    /// A part is for a centre that the patient is not linked to, or twice.
    #[error("a part is for a centre that the patient is not linked to")]
    UnknownPart,
    /// A part was blinded with another version of the catalogue.
    #[error("a part is not blinded with the current catalogue")]
    StaleCatalogue,
    /// A vocabulary out of order or not newer than the published one.
    #[error("the vocabulary is not in order or not newer than the published one")]
    BadVocabulary,
    /// No such disclosure, or the author cannot answer for that part, or it was answered.
    #[error("the author cannot report this delivery")]
    BadDelivery,
    /// A change of rules that was made before.
    #[error("the change was made before")]
    Repeated,
    /// A return to a block that is not past.
    #[error("the moment to return to is not past")]
    NotPast,
    /// Too many returns.
    #[error("the patient has returned to earlier rules as often as the ledger allows")]
    TooManyReturns,
    /// Something else than an emergency access by the author's own staff to the author's own data.
    #[error(
        "a journal holds emergency accesses of the author's staff to its own data, nothing else"
    )]
    NotForJournal,
    /// A journal's entry that does not follow the last one.
    #[error("the entry does not follow the last one of the author's journal")]
    BrokenJournal,
    /// The author is a newcomer, which follows before it votes.
    #[error("the author follows the chain and votes from the next epoch on")]
    NoVote,
    /// The change does not fit the network as it stands.
    #[error("the change does not fit the network's members, keys, codes and versions as they are")]
    Impossible,
    /// The author has too many open proposals.
    #[error("the author has as many open proposals as a member may have")]
    TooManyProposals,
    /// No such proposal, or its vote is over.
    #[error("there is no such proposal, or its vote is over")]
    NotOpen,
}
