//! One centre's data: sources come in, permitted parts go out.
//!
//! Read in this order: a [`Catalogue`] says what a source holds; [`check()`] names every hole in it;
//! [`Lake::ingest`] cuts its rows by patient and cell and stores them encrypted;
//! [`Lake::link`] says which person is which patient; [`Lake::read`] answers a
//! [`Permit`](aegle_ledger::Permit) with a part, [`sealed`] to the requester. [`Lake::scrub`] finds
//! what is damaged and brings it again; [`Lake::report`] and [`Lake::quarantine`] show how good the
//! data is.
//!
//! Invariants: there is no way to read a row but with a permit; what a permit does not name is
//! never decrypted; no file of the lake shows a name or a number; every failure is named and
//! leaves nothing half done. Absent on purpose: rules of access, HTTP, other centres.

mod attribution;
pub mod catalogue;
mod check;
mod crypt;
mod damage;
mod database;
mod finding;
mod frame;
mod hole;
mod index;
mod ingest;
mod keys;
mod kind;
mod lake;
mod layout;
mod links;
mod lookup;
mod manifest;
mod note;
mod objects;
mod part;
mod quarantine;
mod read;
mod report;
mod scrub;
pub mod sealed;
mod source;
mod stats;
#[cfg(test)]
mod testing;
mod time;
mod value;
mod zones;

pub use catalogue::{Catalogue, CatalogueError};
pub use check::{CheckReport, TableCount, check};
pub use damage::{Damage, Fate, ObjectKind, UnknownWord, What};
pub use database::DatabaseError;
pub use finding::{Finding, Lines};
pub use hole::Hole;
pub use ingest::{IngestError, IngestReport, PartlyDone, Progress};
pub use keys::{Kek, KeyError};
pub use kind::Kind;
pub use lake::{Interrupted, Lake, LayoutError, OpenError};
pub use links::LinkError;
pub use objects::ObjectError;
pub use part::{BLOCK, NotAPart, Part, PartColumn, PartTable};
pub use quarantine::{QuarantineError, Quarantined, Standing};
pub use read::{Delivery, PART_MAX, ReadError};
pub use report::{BatchReport, CatalogueReport, ColumnReport, LakeReport, TableReport, TagReport};
pub use scrub::{ScrubError, ScrubOptions, ScrubReport, ScrubStep};
pub use source::RECORD_MAX;
pub use stats::{ColumnStats, TableStats};
pub use time::{NotATime, ZonedTime};
pub use value::Value;
pub use zones::ZoneError;
