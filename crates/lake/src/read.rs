//! Answers one permit: raw → structured → curated → consumer → delivered → cleaned.
//!
//! Invariants: only a [`Permit`] opens anything, but for what [`deidentify`] takes the person out of;
//! frames of cells that it does not name are never decrypted; an object that is missing, cut or
//! altered fails the whole read, and a part of which something is lost for good says so; the curated
//! and the
//! consumer zone are empty again whatever happens. A record can be asked for as of a time: what is
//! shown then is what the last load before that time held, under the permission of now.

pub(crate) mod deidentify;
mod gather;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
mod view;
#[cfg(test)]
mod zones;

use crate::catalogue::Catalogue;
use crate::consumer::{ClaimError, Finished};
use crate::crypt::Secret;
use crate::database::{Connection, DatabaseError};
use crate::index;
use crate::keys::{KeyError, PatientKey, read_while_rotated};
use crate::lake::{Lake, LayoutError};
use crate::layout::Layout;
use crate::links::LinkError;
use crate::lookup::{self, Found};
use crate::objects::ObjectError;
use crate::part::{Part, PartTable};
use crate::passage::{IllegalStage, Passage, Stage};
use crate::sealed::{self, Answer, POINT, SealError};
use crate::time;
use crate::zones::ZoneError;
use aegle_ledger::{Delivered, Permit, Step};
use aegle_model::{Bits, Hash, RequestId, Timestamp};
use aegle_vault::Load;
use gather::{Chosen, Gathered};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use view::View;
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
    /// What was cut by an earlier catalogue cannot be cut by this permit.
    #[error(
        "the rows that table `{table}` held then carry other tags than now, and this permit does not reach all that lies with them; ask for a later time or for more tags"
    )]
    OtherCut {
        /// The table.
        table: String,
    },
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
    /// The part cannot be claimed, or not be made again.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A step of the way was left out.
    #[error(transparent)]
    Stage(#[from] IllegalStage),
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

impl ReadError {
    const fn key(&self) -> Option<&KeyError> {
        match self {
            Self::Key(error) => Some(error),
            _ => None,
        }
    }
}

/// What the structured zone knows about a patient, in one snapshot.
struct Structured {
    layout: Arc<Layout>,
    /// Earlier catalogues by which some of the rows are cut, by version.
    earlier: BTreeMap<u32, Layout>,
    patient: PatientKey,
    key: Secret,
    /// The load whose rows are asked for.
    at: Load,
    /// When each load was; empty when it is not to be shown.
    loads: BTreeMap<Load, Timestamp>,
    found: Vec<Found>,
}

/// What of a permitted record is asked for, and how it shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asking {
    /// As of which time: what the last load up to it held. None stands for now.
    pub as_of: Option<Timestamp>,
    /// In which shape.
    pub shape: Shape,
}

/// How much a permit opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rehearsed {
    /// Rows, in all tables.
    pub rows: u32,
    /// Bytes of the permitted values.
    pub bytes: usize,
}

/// How a part looks. The permission is the same for every shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Tables with rows: a [`Part`].
    #[default]
    Tables,
    /// Hubs, links and satellites: a [`VaultPart`](crate::VaultPart).
    Vault,
}

impl Lake {
    /// Delivers what the permit allows, sealed to its recipient: once for each request. A part that
    /// shows nothing has the same shape as one that does.
    pub fn read(&self, permit: &Permit) -> Result<Delivery, ReadError> {
        self.read_as(permit, &Asking::default())
    }

    /// [`read`](Self::read), as of a time and in a shape.
    pub fn read_as(&self, permit: &Permit, asking: &Asking) -> Result<Delivery, ReadError> {
        self.prepare(permit, asking)?;
        self.claim(permit.request())
    }

    /// Makes the part and lets it wait in the consumer zone until it is [claimed](Self::claim), or
    /// for [`CLAIM_MS`](crate::CLAIM_MS).
    pub fn prepare(&self, permit: &Permit, asking: &Asking) -> Result<(), ReadError> {
        self.prepare_at(permit, asking, time::now())
    }

    /// Hands over the part that waits for a request, and leaves nothing of it in the zones.
    pub fn claim(&self, request: RequestId) -> Result<Delivery, ReadError> {
        self.consumer.claim(request, time::now())
    }

    /// Removes the parts that nobody claimed in time. Their requests stay named until they are
    /// [forgotten](Self::forget).
    pub fn sweep(&self) -> Vec<RequestId> {
        self.consumer.sweep(time::now())
    }

    fn prepare_at(
        &self,
        permit: &Permit,
        asking: &Asking,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        self.consumer.admit(permit.request(), now)?;
        let mut passage = Passage::begin();
        let structured = self.structured(permit, asking)?;
        passage.enter(Stage::Structured)?;
        let chosen = Chosen::new(&structured.layout, permit.cells());
        let Gathered { rows, validity, incomplete } = self.gather(&structured, &chosen)?;
        let view = (asking.shape == Shape::Vault).then(|| View {
            naming: self.keys.naming(),
            patient: &structured.patient,
            validity: &validity,
            loads: &structured.loads,
        });
        let answer = Answer { request: permit.request(), receipt: permit.receipt() };
        let layout = &structured.layout;
        let shown = Shown { layout, chosen: &chosen, incomplete: &incomplete, view };
        let finished = self.finish(passage, &shown, &answer, permit.recipient(), rows)?;
        Ok(self.consumer.put(answer.request, finished, now)?)
    }

    /// The part of a centre that has nothing to show, made on the same way.
    pub fn empty_part(
        &self,
        recipient: &[u8; POINT],
        (request, receipt): (RequestId, Hash),
        shape: Shape,
    ) -> Result<Delivery, ReadError> {
        let now = time::now();
        self.consumer.admit(request, now)?;
        let mut passage = Passage::begin();
        let layout = self.current_layout()?;
        passage.enter(Stage::Structured)?;
        let chosen = Chosen::new(&layout, &BTreeSet::new());
        let view = (shape == Shape::Vault).then(|| View {
            naming: self.keys.naming(),
            patient: &[0; 16],
            validity: &[],
            loads: const { &BTreeMap::new() },
        });
        let incomplete = &BTreeSet::new();
        let shown = Shown { layout: &layout, chosen: &chosen, incomplete, view };
        let answer = Answer { request, receipt };
        let finished = self.finish(passage, &shown, &answer, recipient, Zeroizing::default())?;
        self.consumer.put(request, finished, now)?;
        self.consumer.claim(request, now)
    }

    /// Finds, decrypts and projects what the permit allows, and hands out only how much it is: for
    /// measurements.
    pub fn rehearse(&self, permit: &Permit) -> Result<Rehearsed, ReadError> {
        let structured = self.structured(permit, &Asking::default())?;
        let chosen = Chosen::new(&structured.layout, permit.cells());
        let Gathered { rows, validity, .. } = self.gather(&structured, &chosen)?;
        let count: usize = validity.iter().map(Vec::len).sum();
        let count = u32::try_from(count).expect("a part is bounded far below 2^32 rows");
        Ok(Rehearsed { rows: count, bytes: rows.len() })
    }

    fn structured(&self, permit: &Permit, asking: &Asking) -> Result<Structured, ReadError> {
        let look_up = || self.lookup.read(|connection| self.look_up(connection, permit, asking));
        read_while_rotated(look_up, ReadError::key)
    }

    fn look_up(
        &self,
        connection: &Connection,
        permit: &Permit,
        asking: &Asking,
    ) -> Result<Structured, ReadError> {
        let layout = self.layout(connection)?;
        let lake = layout.catalogue.version();
        if permit.catalogue() != lake {
            return Err(ReadError::OtherCatalogue { permit: permit.catalogue(), lake });
        }
        let patient = self.linked(connection, permit.patient())?.ok_or(ReadError::NotLinked)?;
        let at = index::load_at(connection, asking.as_of)?;
        let found = lookup::find(connection, &patient, Some(at))?;
        let key = self.keys.data_key(connection, &patient)?.ok_or(ReadError::Erased)?;
        let earlier = earlier(connection, &layout, &found)?;
        let loads = match asking.shape {
            Shape::Tables => BTreeMap::new(),
            Shape::Vault => index::loads(connection)?,
        };
        Ok(Structured { layout, earlier, patient, key, at, loads, found })
    }

    /// Takes rows through the curated into the consumer zone.
    fn finish(
        &self,
        mut passage: Passage,
        shown: &Shown<'_>,
        answer: &Answer,
        recipient: &[u8; POINT],
        rows: Zeroizing<Vec<u8>>,
    ) -> Result<Finished, ReadError> {
        let stay = self.zones.stay(answer.request)?;
        let curated = stay.curate(rows)?;
        passage.enter(Stage::Curated)?;
        let part = gather::part(shown, &stay.curated(&curated)?).ok_or(ZoneError::Altered)?;
        let (rows, columns) =
            (count(&part, |table| table.rows.len()), count(&part, |table| table.columns.len()));
        let bytes = match &shown.view {
            None => part.to_bytes(),
            Some(view) => view.part(shown.layout, part).to_bytes(),
        };
        let sealed = sealed::seal(recipient, answer, &Zeroizing::new(bytes))?;
        stay.finish(&sealed)?;
        passage.enter(Stage::Consumer)?;
        let (content, bytes) = (Hash::sha256(&[&sealed]), sealed.len());
        Ok(Finished { stay, passage, content, bytes, rows, columns })
    }
}

/// What is shown, and how.
struct Shown<'a> {
    layout: &'a Layout,
    chosen: &'a Chosen,
    /// Tables of which something is lost.
    incomplete: &'a BTreeSet<String>,
    /// None for tables.
    view: Option<View<'a>>,
}

/// The catalogues of rows that are cut otherwise than now.
fn earlier(
    connection: &Connection,
    layout: &Layout,
    found: &[Found],
) -> Result<BTreeMap<u32, Layout>, LayoutError> {
    let is_now = |found: &Found| {
        let tables = layout.catalogue.tables().iter().zip(&layout.meanings);
        tables
            .clone()
            .any(|(table, now)| table.name.as_str() == found.table && *now == found.meaning)
    };
    let versions = found.iter().filter(|found| !is_now(found)).map(|found| found.catalogue);
    let mut earlier = BTreeMap::new();
    for version in versions.collect::<BTreeSet<_>>() {
        if let Some(text) = index::catalogue_text(connection, version)? {
            earlier.insert(version, Layout::new(Catalogue::parse(&text)?));
        }
    }
    Ok(earlier)
}

fn count(part: &Part, of: impl Fn(&PartTable) -> usize) -> u32 {
    let count = part.tables.iter().map(of).sum::<usize>();
    u32::try_from(count).expect("a part is bounded far below 2^32 rows")
}
