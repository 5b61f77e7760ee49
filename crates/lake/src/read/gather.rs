//! From encrypted frames to permitted rows, and from rows to a part.
//!
//! The curated form of a table is `position u16 ‖ rows u32 ‖ values`, row after row, each row with
//! the permitted columns in the table's order.

use super::{ReadError, Shown, Structured};
use crate::catalogue::Table;
use crate::damage::What;
use crate::document::DocumentKey;
use crate::frame::{FrameKey, Place, split};
use crate::index::upkeep;
use crate::kind::Kind;
use crate::lake::Lake;
use crate::layout::{Cut, Layout};
use crate::lookup::Found;
use crate::objects::{ObjectError, ObjectName};
use crate::part::{Part, PartTable};
use crate::value::{self, Stored, Value};
use aegle_model::CellId;
use aegle_vault::Validity;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// For each table of the catalogue, the permitted columns.
pub(super) struct Chosen(Vec<Vec<ChosenColumn>>);

pub(super) struct ChosenColumn {
    /// The position in the table.
    pub(super) column: usize,
    /// The position of its cut.
    cut: usize,
}

impl Chosen {
    /// The columns of the table at this position.
    pub(super) fn of(&self, table: usize) -> &[ChosenColumn] {
        &self.0[table]
    }

    pub(super) fn new(layout: &Layout, cells: &BTreeSet<CellId>) -> Self {
        let columns = |cuts: &Vec<Cut>| {
            let permitted = cuts.iter().enumerate().filter(|(_, cut)| cells.contains(&cut.cell));
            let columns = permitted.flat_map(|(cut, found)| {
                found.columns.iter().map(move |column| ChosenColumn { column: *column, cut })
            });
            let mut columns: Vec<_> = columns.collect();
            columns.sort_by_key(|chosen| chosen.column);
            columns
        };
        Self(layout.cuts.iter().map(columns).collect())
    }
}

/// What the curated zone is given.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) rows: Zeroizing<Vec<u8>>,
    /// When each row held, for each table that has some.
    pub(super) validity: Vec<Vec<Validity>>,
    /// Tables of which something that was asked for is lost.
    pub(super) incomplete: BTreeSet<String>,
}

impl Lake {
    /// Opens the permitted frames and joins their rows.
    pub(super) fn gather(
        &self,
        structured: &Structured,
        chosen: &Chosen,
    ) -> Result<Gathered, ReadError> {
        let key = FrameKey::new(&structured.key);
        let documents = DocumentKey::new(&structured.patient, &structured.key);
        let mut gathered = Gathered::default();
        let mut size = 0;
        for (position, (table, _)) in structured.layout.tables().enumerate() {
            let named = |found: &&Found| found.table == table.name.as_str();
            let columns = &chosen.0[position];
            let found = structured.found.iter().filter(named);
            let (lost, found): (Vec<_>, Vec<_>) = found.partition(|found| found.lost);
            if columns.is_empty() {
                continue;
            }
            if !lost.is_empty() {
                gathered.incomplete.insert(table.name.to_string());
            }
            if found.is_empty() {
                continue;
            }
            size += found.iter().map(|found| found.length).sum::<u64>();
            if size > super::PART_MAX {
                return Err(ReadError::TooLarge);
            }
            let count: u32 = found.iter().map(|found| found.held(structured.at)).sum();
            let head = u16::try_from(position).map_err(|_| ReadError::TooLarge)?;
            gathered.rows.extend_from_slice(&head.to_le_bytes());
            gathered.rows.extend_from_slice(&count.to_le_bytes());
            let bytes = |chosen: &ChosenColumn| table.columns[chosen.column].kind == Kind::Bytes;
            let has_bytes = columns.iter().any(bytes);
            let mut validity = Vec::new();
            for found in found {
                let opening = structured.opening(found, position, columns)?;
                let mut joined = Zeroizing::new(Vec::new());
                let rows = if has_bytes { &mut *joined } else { &mut *gathered.rows };
                let before = rows.len();
                let validities = self.again(&found.pack, || {
                    rows.truncate(before);
                    let mut extent = self.extent(found)?;
                    join(&key, (structured, found), &opening, &mut extent, rows)
                        .ok_or_else(|| ObjectError::Altered(hex::encode(found.pack)))
                })?;
                validity.extend(validities);
                if !self.attach(&documents, &joined, &mut size, &mut gathered.rows)? {
                    gathered.incomplete.insert(table.name.to_string());
                }
            }
            gathered.validity.push(validity);
        }
        Ok(gathered)
    }

    /// Does a read of an object a second time when it fails: what stayed open of it may be older than
    /// its repair. Asks for a repair when it fails again.
    pub(super) fn again<T>(
        &self,
        object: &ObjectName,
        mut read: impl FnMut() -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        read().or_else(|_| {
            self.objects.forget(object);
            read().inspect_err(|error| self.damaged(object, error))
        })
    }

    fn damaged(&self, object: &ObjectName, error: &ObjectError) {
        self.objects.forget(object);
        let Some(what) = What::of(error) else { return };
        tracing::warn!(object = hex::encode(object), "A read found an object of the lake {what}");
        if let Err(error) = self.note_damage(object, what) {
            tracing::warn!(%error, "Could not note what is damaged; the next scrub finds it");
        }
    }

    /// Appends joined values with the documents in the place of their references; nothing in the
    /// place of those that are lost. Whether all were there.
    fn attach(
        &self,
        key: &DocumentKey<'_>,
        mut joined: &[u8],
        size: &mut u64,
        rows: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        let mut is_whole = true;
        while let Some(field) = value::take(&mut joined) {
            let Some(Stored::Document(reference)) = value::stored(field) else {
                rows.extend_from_slice(field);
                continue;
            };
            *size += reference.length;
            if *size > super::PART_MAX {
                return Err(ReadError::TooLarge);
            }
            let altered = || ObjectError::Altered(hex::encode(reference.object));
            let length = reference.sealed_length().ok_or_else(altered)?;
            let mut content = Zeroizing::new(Vec::with_capacity(length));
            let read = self.again(&reference.object, || {
                content.clear();
                let sealed = self.objects.read(&reference.object, (0, length), length as u64)?;
                key.open(self.keys.naming(), &reference, &mut Zeroizing::new(sealed), &mut content)
                    .map_err(|_| altered())
            });
            match read {
                Ok(()) => value::encode_bytes(&content, rows),
                Err(error) if What::of(&error).is_none() => return Err(error.into()),
                Err(_) if self.index.look(|index| upkeep::is_lost(index, &reference.object))? => {
                    rows.extend_from_slice(value::ABSENT);
                    is_whole = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(is_whole)
    }

    pub(super) fn extent(&self, found: &Found) -> Result<Zeroizing<Vec<u8>>, ObjectError> {
        let cut = || ObjectError::Cut(hex::encode(found.pack));
        let length = usize::try_from(found.length).map_err(|_| cut())?;
        let range = (found.start, length);
        Ok(Zeroizing::new(self.objects.read(&found.pack, range, found.pack_bytes)?))
    }
}

/// Which frames of an extent are opened, and where their columns go.
pub(super) struct Opening<'a> {
    /// For each cut its name and, when it is opened, the place of each of its columns in a row.
    cuts: Vec<(&'a [u8; 32], Option<Vec<usize>>)>,
    /// How many columns a row has.
    columns: usize,
}

impl Structured {
    pub(super) fn opening(
        &self,
        found: &Found,
        position: usize,
        columns: &[ChosenColumn],
    ) -> Result<Opening<'_>, ReadError> {
        if found.meaning == self.layout.meanings[position] {
            return Ok(opening_now(&self.layout.cuts[position], columns));
        }
        let table = &self.layout.catalogue.tables()[position];
        let other = || ReadError::OtherCut { table: table.name.to_string() };
        let layout = self.earlier.get(&found.catalogue).ok_or_else(other)?;
        let mut tables = layout.tables();
        let (then, cuts) = tables.find(|(then, _)| then.name == table.name).ok_or_else(other)?;
        opening_then((table, columns), (then, cuts)).ok_or_else(other)
    }
}

fn opening_now<'a>(cuts: &'a [Cut], columns: &[ChosenColumn]) -> Opening<'a> {
    let place = |column: &usize| columns.iter().position(|chosen| chosen.column == *column);
    let opening = |(position, cut): (usize, &'a Cut)| {
        let opened = columns.iter().any(|chosen| chosen.cut == position);
        (&cut.name, opened.then(|| cut.columns.iter().filter_map(place).collect()))
    };
    Opening { cuts: cuts.iter().enumerate().map(opening).collect(), columns: columns.len() }
}

/// How rows that were cut by an earlier catalogue are opened: columns are found by name, and a frame
/// is opened only when every column in it may be shown now. Nothing when that cannot be.
fn opening_then<'a>(
    (now, columns): (&Table, &[ChosenColumn]),
    (then, cuts): (&Table, &'a [Cut]),
) -> Option<Opening<'a>> {
    let same = |chosen: &ChosenColumn, column: usize| {
        let (now, then) = (&now.columns[chosen.column], &then.columns[column]);
        (now.name == then.name).then_some(now.kind == then.kind)
    };
    let place = |column: &usize| columns.iter().position(|chosen| same(chosen, *column).is_some());
    let mut opening = Vec::with_capacity(cuts.len());
    for cut in cuts {
        let places: Vec<_> = cut.columns.iter().map(place).collect();
        let opened = places.iter().any(Option::is_some);
        let places = opened.then(|| places.into_iter().collect::<Option<Vec<_>>>());
        let places = places.map_or(Some(None), |places| places.map(Some))?;
        let kinds = |column: &usize| columns.iter().all(|c| same(c, *column) != Some(false));
        if places.is_some() && !cut.columns.iter().all(kinds) {
            return None;
        }
        opening.push((&cut.name, places));
    }
    Some(Opening { cuts: opening, columns: columns.len() })
}

/// Appends the rows of one extent that held and yields when they did; nothing when a frame is not
/// what was written.
pub(super) fn join(
    key: &FrameKey,
    (structured, found): (&Structured, &Found),
    opening: &Opening<'_>,
    extent: &mut [u8],
    rows: &mut Vec<u8>,
) -> Option<Vec<Validity>> {
    let place = Place { patient: &structured.patient, batch: &found.batch, rows: found.rows };
    let mut opened: Vec<(&[u8], &[usize])> = Vec::with_capacity(opening.cuts.len());
    let frames = split(extent, opening.cuts.len()).ok()?;
    for ((position, frame), (name, columns)) in (0..).zip(frames).zip(&opening.cuts) {
        if let Some(columns) = columns {
            opened.push((key.open(&place, (position, name), frame).ok()?, columns));
        }
    }
    let mut row = vec![value::ABSENT; opening.columns];
    let mut validity = Vec::new();
    for place in 0..found.rows {
        for (rest, columns) in &mut opened {
            for column in *columns {
                row[*column] = value::take(rest)?;
            }
        }
        let held = found.validity(place);
        if held.holds_at(structured.at) {
            for value in &row {
                rows.extend_from_slice(value);
            }
            validity.push(held);
        }
    }
    opened.iter().all(|(rest, _)| rest.is_empty()).then_some(validity)
}

/// The part that curated rows make; nothing when they are not what was curated.
pub(super) fn part(shown: &Shown<'_>, mut rows: &[u8]) -> Option<Part> {
    let Shown { layout, chosen, .. } = shown;
    let mut part = Part::empty(&layout.catalogue);
    part.incomplete = shown.incomplete.iter().cloned().collect();
    while !rows.is_empty() {
        let (position, rest) = rows.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        rows = rest;
        let position = usize::from(u16::from_le_bytes(*position));
        let (table, columns) = (layout.catalogue.tables().get(position)?, chosen.0.get(position)?);
        let mut row =
            || columns.iter().map(|_| Value::decode(&mut rows)).collect::<Option<Vec<_>>>();
        part.tables.push(PartTable {
            name: table.name.to_string(),
            columns: columns.iter().map(|chosen| (&table.columns[chosen.column]).into()).collect(),
            rows: (0..u32::from_le_bytes(*count)).map(|_| row()).collect::<Option<_>>()?,
        });
    }
    Some(part)
}
