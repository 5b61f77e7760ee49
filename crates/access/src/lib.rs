//! Decides what a requester may see. All of access is here: rules, the patient, emergencies.
//!
//! A cell is open when a live allow rule covers one of its tags and no live deny rule covers any
//! of its tags. Invariants: deny wins; no rule, no access; order and duplicates of rules never
//! matter; adding a deny never opens a cell, adding an allow never closes one.
//!
//! Everything is compared as opaque [`Token`](aegle_model::Token)s, so the decision is the same
//! whether they are blinded or plain. Absent on purpose: clock, disk, network, identity; the caller
//! brings all.

mod decide;
mod request;
mod rule;

pub use decide::{Decision, Explanation, Policy, decide, decide_late, explain};
pub use request::{Part, PartError, Request, Subject};
pub use rule::{Effect, Purpose, Purposes, Rule, RuleError, Scope};
