//! The ledger's state machine, its formats and its proofs.
//!
//! Read in this order: a [`Transaction`] asks for one change; [`execute`] applies the transactions
//! of a block to the state and yields an [`Outcome`] each; a [`Header`] commits to all of it; a
//! [`Receipt`] proves one transaction and its outcome under a quorum [`Certificate`]; a
//! [`PatientLog`] proves that nothing about a patient was left out; a [`ChainCheck`] proves all of
//! history; a [`Permit`] is what a receipt allows one centre to hand out.
//!
//! Invariants: the same state and the same block give the same result on every node (integers,
//! ordered maps, block time only); every decision, refusals included, is an entry in the patient's
//! chain; nothing here can be read without the patient's record key. Absent on purpose: the
//! consensus engine, sockets, files, clock.

mod anchor;
mod apply;
mod block;
mod certificate;
mod chain_check;
mod epoch;
mod genesis;
mod governance;
mod heads;
mod history;
mod log;
mod merkle;
mod opened;
mod outcome;
mod permit;
mod receipt;
mod segment;
mod state;
mod transaction;

#[cfg(feature = "fixture")]
pub mod fixture;

pub use anchor::{Anchor, AnchorError, Handover, VerifiedAnchor};
pub use apply::{Execution, Invalid, LIFETIME_MAX, Stop, build, execute};
pub use block::{BLOCK_BYTES_MAX, Block, BlockError, Header};
pub use certificate::{Certificate, CertificateError};
pub use chain_check::{ChainCheck, ChainError, ChainFault, CheckedChain};
pub use epoch::Epochs;
pub use genesis::{Centre, Genesis, GenesisError};
pub use governance::{
    ADDRESS_BYTES_MAX, Amendment, GovernanceRecord, MEMBERS_MAX, Member, ProposalRecord, Propose,
    Stage, Switch, ValidatorsRecord, Vote,
};
pub use heads::HeadProof;
pub use history::{Change, Counted, KeptRule, REVOKED_MAX, Return, Returns, change_id, rule_id};
pub use log::{LogEntry, LogError, PatientLog, VerifiedLog};
pub use merkle::{InclusionProof, merkle_root};
pub use opened::{BlindError, OpenedRequest, OpenedRule, ScopedTag, Wish};
pub use outcome::{Outcome, Rejection};
pub use permit::{Permit, PermitError, admit, admit_late};
pub use receipt::{Receipt, ReceiptError, VerifiedReceipt};
pub use segment::{
    CertifiedBlock, SegmentError, Summary, read_segment, segment_summary, write_segment,
};
pub use state::{
    CentreRecord, DisclosureRecord, Fate, JournalRecord, Key, Linked, Loaded, NetworkRecord,
    PatientRecord, Position, Record, RulePage, RuleRecord, genesis_header, genesis_state, keys,
};
pub use transaction::{
    Attestation, Body, Deliver, Delivered, Disclose, Draft, Enrol, Erase, Grant, Late, Link,
    Missing, PartDelivery, Publish, Restore, Revoke, SEALED_BYTES_MAX, Step, TRANSACTION_BYTES_MAX,
    Transaction, TransactionError, TxId,
};
