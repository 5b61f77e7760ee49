//! The upload area: a centre's systems deliver files over HTTP, and sound ones reach a source.
//!
//! Read in this order: a [`Credential`] says who may deliver what into which source folder; `http.rs`
//! speaks the tus protocol 1.0.0 (core, creation, checksum, expiration, termination) and leads into
//! the [`Area`], where each upload is a folder of its own; `judge.rs` checks a whole file against its
//! checksum and the source's catalogue and moves it into the source folder, or leaves it where it is,
//! in quarantine, with its reasons.
//!
//! Invariants: the length of the data on the disk is the offset, whatever was killed and when; an
//! upload has one writer, across processes; nothing reaches a source folder but a whole file that was
//! found sound or that an operator released; no content is ever sent back; no log line and no reason
//! shows a file's name or a value. Memory is bounded whatever is sent.
//!
//! Absent on purpose: ledger, portal, the lake's keys. Nothing here waits for any of them.

mod area;
mod area_file;
mod credential;
mod credentials;
pub mod header;
mod held;
mod http;
mod judge;
mod name;
mod problem;
mod serve;

pub use area::{Area, Refused, Wish};
pub use credential::{Credential, CredentialName, NotACredentialName, Scope, Secret};
pub use credentials::{CredentialError, Credentials};
pub use held::{About, Held, Id, Outcome, Progress, State};
pub use http::Limits;
pub use judge::{Unsound, release};
pub use name::{FileName, NotAFileName};
pub use serve::serve;
