//! The doors of a node, tried from outside: real centres, a real ledger, real lakes.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod between_nodes;
mod crashes;
mod description;
mod emergencies;
mod governance;
mod liars;
mod look_alikes;
mod members;
mod problems;
mod rates;
mod rules;
mod story;
mod support;
