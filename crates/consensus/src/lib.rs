//! Drives the ledger on a Byzantine-fault-tolerant engine (commonware): transactions go in, blocks
//! become final on every validator, receipts come out.
//!
//! Invariants: a node votes only for a block that it has re-executed itself; what is final never
//! changes; nothing of the engine's types is public. Absent on purpose: what transactions mean (the
//! ledger), health, HTTP.

mod ahead;
mod application;
mod archive;
mod backfill;
mod block;
mod certificate;
mod chain;
mod client;
mod engine;
#[cfg(test)]
mod fixture;
mod flushing;
mod gossip;
mod members;
mod network;
mod node;
mod orchestrator;
mod pacing;
mod pool;
mod rekey;
mod restore;
mod schemes;
mod service;
#[cfg(test)]
mod simulation;
mod state;
mod stored;
mod sync;
mod timing;
mod transfer;
mod votes;
mod voting;

pub use client::{KEYS_MAX, Ledger, ReadError, ReceiptError, Status, Stopped, SubmitError};
pub use members::Members;
pub use node::{Config, Consensus, End, Peer, StartError, start};
pub use rekey::{belongs, rekey};
pub use restore::{Restore, RestoreError, restore};
pub use service::Snapshot;
pub use stored::{stored_blocks, stored_height};
pub use timing::Timing;
