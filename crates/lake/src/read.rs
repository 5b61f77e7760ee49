//! Answers one permit: raw → structured → curated → consumer → delivered → cleaned.
//!
//! Invariants: only a [`Permit`] opens anything; frames of cells that it does not name are never
//! decrypted; an object that is missing, cut or altered fails the whole read; the curated and the
//! consumer zone are empty again whatever happens.

mod gather;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use crate::crypt::Secret;
use crate::database::DatabaseError;
use crate::keys::{KeyError, PatientKey};
use crate::lake::{Lake, LayoutError};
use crate::layout::Layout;
use crate::links::LinkError;
use crate::lookup::{self, Found, KEYS};
use crate::objects::ObjectError;
use crate::part::{Part, PartTable};
use crate::sealed::{self, Answer, POINT, SealError};
use crate::zones::ZoneError;
use aegle_ledger::{Delivered, Permit, Step};
use aegle_model::{Bits, Hash, RequestId};
use gather::Chosen;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most encrypted bytes that one part may be made of.
pub const PART_MAX: u64 = 64 << 20;

/// A sealed part and what the ledger is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The part, for the requester's one-time key only; see [`sealed`].
    pub sealed: Vec<u8>,
    /// SHA-256 of the sealed bytes.
    pub content: Hash,
    /// How many rows it shows, in all tables.
    pub rows: u32,
    /// How many columns it shows, in all tables.
    pub columns: u32,
    /// The zones it went through.
    pub steps: Vec<Step>,
}

impl Delivery {
    /// What goes on the ledger.
    pub fn lineage(&self) -> Delivered {
        let (content, rows, columns) = (self.content, self.rows, self.columns);
        let steps = self.steps.iter().map(|step| *step as usize).collect::<Bits>();
        Delivered { content, rows, columns, steps }
    }
}

/// A part that was not delivered. Nothing of it left the lake, and no message names anybody.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The patient is not linked to one of this centre's patient numbers.
    #[error("the patient is not linked at this centre")]
    NotLinked,
    /// The permit was given for another version of the catalogue.
    #[error(
        "the permit is for catalogue version {permit}, the lake holds version {lake}; ask again"
    )]
    OtherCatalogue {
        /// The version in the permit.
        permit: u32,
        /// The version in the lake.
        lake: u32,
    },
    /// The patient's data key is gone: the rows cannot be read by anybody.
    #[error("the patient's data key was destroyed; the rows cannot be read any more")]
    Erased,
    /// The record is larger than a part may be.
    #[error("the record is larger than {PART_MAX} bytes; ask for fewer tags")]
    TooLarge,
    /// There is no usable catalogue.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The link cannot be followed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An object is missing, cut or altered.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A temporary zone failed.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The part cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error.into())
    }
}

/// What the structured zone knows about a patient, in one snapshot.
struct Structured {
    layout: Arc<Layout>,
    patient: PatientKey,
    key: Secret,
    found: Vec<Found>,
}

impl Lake {
    /// Delivers what the permit allows, sealed to its recipient. A part that shows nothing has the
    /// same shape as one that does.
    pub fn read(&self, permit: &Permit) -> Result<Delivery, ReadError> {
        let look_up = || self.lookup.read(|connection| self.look_up(connection, permit));
        let structured = match look_up() {
            // What was read a moment ago is wrapped under a key that was destroyed since.
            Err(ReadError::Key(error)) if error.is_gone() => look_up()?,
            found => found?,
        };
        let chosen = Chosen::new(&structured.layout, permit.cells());
        let rows = self.gather(&structured, &chosen)?;
        let answer = Answer { request: permit.request(), receipt: permit.receipt() };
        self.deliver((&structured.layout, &chosen), &answer, permit.recipient(), rows)
    }

    /// The part of a centre that has nothing to show, made on the same way.
    pub fn empty_part(
        &self,
        recipient: &[u8; POINT],
        request: RequestId,
        receipt: Hash,
    ) -> Result<Delivery, ReadError> {
        let layout = self.current_layout()?;
        let chosen = Chosen::new(&layout, &BTreeSet::new());
        let answer = Answer { request, receipt };
        self.deliver((&layout, &chosen), &answer, recipient, Zeroizing::default())
    }

    fn look_up(&self, connection: &Connection, permit: &Permit) -> Result<Structured, ReadError> {
        let layout = self.layout(connection)?;
        let lake = layout.catalogue.version();
        if permit.catalogue() != lake {
            return Err(ReadError::OtherCatalogue { permit: permit.catalogue(), lake });
        }
        let patient = self.linked(connection, permit.patient())?.ok_or(ReadError::NotLinked)?;
        let found = lookup::find(connection, &patient)?;
        let key = self.keys.data_key(connection, KEYS, &patient)?.ok_or(ReadError::Erased)?;
        Ok(Structured { layout, patient, key, found })
    }

    /// Takes rows through the curated and the consumer zone.
    fn deliver(
        &self,
        shown: (&Layout, &Chosen),
        answer: &Answer,
        recipient: &[u8; POINT],
        rows: Zeroizing<Vec<u8>>,
    ) -> Result<Delivery, ReadError> {
        let stay = self.zones.stay(answer.request)?;
        let curated = stay.curate(rows)?;
        let part = gather::part(shown, &stay.curated(&curated)?).ok_or(ZoneError::Altered)?;
        let sealed = sealed::seal(recipient, answer, &Zeroizing::new(part.to_bytes()))?;
        stay.finish(&sealed)?;
        stay.clean()?;
        let (rows, columns) =
            (count(&part, |table| table.rows.len()), count(&part, |table| table.columns.len()));
        let steps =
            vec![Step::Structured, Step::Curated, Step::Consumer, Step::Delivered, Step::Cleaned];
        Ok(Delivery { content: Hash::sha256(&[&sealed]), sealed, rows, columns, steps })
    }
}

fn count(part: &Part, of: impl Fn(&PartTable) -> usize) -> u32 {
    let count = part.tables.iter().map(of).sum::<usize>();
    u32::try_from(count).expect("a part is bounded far below 2^32 rows")
}
