//! One centre's data: sources come in, permitted parts go out.
//!
//! Read in this order: a [`Catalogue`] says what a source holds; `source.rs` reads it, whatever its
//! type; [`check()`] names every hole in it;
//! [`Lake::ingest`] cuts its rows by patient and cell and stores them encrypted;
//! [`Lake::link`] says which person is which patient; [`Lake::read`] answers a
//! [`Permit`](aegle_ledger::Permit) with a part, [`sealed`] to the requester. [`Lake::scrub`] finds
//! what is damaged and brings it again; [`Lake::report`] and [`Lake::quarantine`] show how good the
//! data is.
//!
//! Invariants: there is no way to read a row but with a permit, or without the person whose it is
//! ([`Lake::deidentify`]); what a permit does not name is
//! never decrypted; no file of the lake shows a name or a number; every failure is named and
//! leaves nothing half done. Absent on purpose: rules of access, HTTP, other centres.

mod attribution;
mod backup;
pub mod catalogue;
mod check;
mod consumer;
mod crypt;
mod damage;
mod database;
mod document;
mod erase;
mod finding;
mod frame;
mod hole;
mod index;
mod ingest;
mod kek;
mod kek_file;
mod keys;
mod kind;
mod lake;
mod layout;
mod links;
mod lookup;
mod manifest;
mod migrate;
mod naming;
mod note;
mod objects;
mod part;
mod passage;
mod place;
mod quarantine;
mod read;
mod remote;
mod report;
mod rotate;
mod scrub;
pub mod sealed;
mod settings;
mod source;
mod stats;
mod status;
mod stream;
#[cfg(test)]
mod testing;
mod time;
mod value;
mod vault_part;
mod workspace;
mod zones;

pub use backup::{
    BackupError, BackupReport, BackupStep, RestoreError, RestoreStep, Restored, restore,
};
pub use catalogue::{Catalogue, CatalogueError};
pub use check::{CheckReport, TableCount, check, check_file, check_with};
pub use consumer::{CLAIM_MS, ClaimError};
pub use damage::{Damage, Fate, ObjectKind, UnknownWord, What};
pub use database::{DatabaseError, PostgresAt};
pub use erase::{EraseError, EraseStep, Erasure, Subject};
pub use finding::{Finding, Lines};
pub use hole::Hole;
pub use ingest::{IngestError, IngestReport, PartlyDone, Progress};
pub use kek::{KekError, Keks, KeyEpoch};
pub use kek_file::FileKeks;
pub use keys::{Kek, KeyError};
pub use kind::Kind;
pub use lake::{Interrupted, Lake, LayoutError, OpenError};
pub use links::LinkError;
pub use migrate::{MigrateError, MigrateStep, Migration};
pub use objects::ObjectError;
pub use part::{BLOCK, NotAPart, Part, PartColumn, PartTable};
pub use passage::{IllegalStage, Passage, Stage};
pub use place::{Bucket, BucketError, Place};
pub use quarantine::{QuarantineError, Quarantined, Standing};
pub use read::deidentify::{
    Deidentification, DeidentifiedColumn, DeidentifiedTable, DeidentifyError, Project, ProjectError,
};
pub use read::{Asking, Delivery, PART_MAX, ReadError, Rehearsed, Shape};
pub use report::{BatchReport, CatalogueReport, ColumnReport, LakeReport, TableReport, TagReport};
pub use rotate::{Rotation, RotationStep};
pub use scrub::{ScrubError, ScrubOptions, ScrubReport, ScrubStep};
pub use settings::{LakeSettings, SettingsError};
pub use source::RECORD_MAX;
pub use stats::{ColumnStats, TableStats};
pub use status::{LakeStatus, StatusError, ZoneStatus};
pub use time::{NotATime, ZonedTime};
pub use value::Value;
pub use vault_part::{VaultEnd, VaultHub, VaultLink, VaultPart, VaultRow, VaultSatellites};
pub use workspace::WorkspaceError;
pub use zones::ZoneError;
