//! The data vault: hubs, links and satellites, and how they change from load to load.
//!
//! Read in this order: an [`Anchor`] says which hub a column's values are business keys of; a
//! [`History`] says which rows hold at which load; [`assemble()`] makes the vault view of a record
//! from rows that may be shown.
//!
//! Invariants: one hub row per business key, however many tables speak of it; a role is part of a
//! person's key, so a doctor is never a patient; a row belongs to one patient; the order in which
//! tables are loaded never matters; loading the same again changes nothing; what held at a load
//! holds at that load for ever.
//! Absent on purpose: where rows are stored, what a value looks like, keys, the clock. Whoever
//! calls brings keyed hashes and times.

mod anchor;
mod assemble;
mod history;
#[cfg(test)]
mod laws;

pub use anchor::{Anchor, AnchorError, Hub, HubKey};
pub use assemble::{
    Cell, HubId, HubRow, LinkEnd, Origin, Satellite, ShownColumn, ShownRow, ShownTable, Vault,
    assemble,
};
pub use history::{Change, Held, History, Load, OutOfOrder, RowId, Validity};
