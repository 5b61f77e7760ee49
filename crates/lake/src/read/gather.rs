//! From encrypted frames to permitted rows, and from rows to a part.
//!
//! The curated form of a table is `position u16 ‖ rows u32 ‖ values`, row after row, each row with
//! the permitted columns in the table's order.

use super::{ReadError, Structured};
use crate::damage::What;
use crate::frame::{FrameKey, Place, split};
use crate::lake::Lake;
use crate::layout::{Cut, Layout};
use crate::lookup::Found;
use crate::objects::{ObjectError, ObjectName};
use crate::part::{Part, PartTable};
use crate::value::{self, Value};
use aegle_model::CellId;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// For each table of the catalogue, the permitted columns.
pub(super) struct Chosen(Vec<Vec<ChosenColumn>>);

struct ChosenColumn {
    /// The position in the table.
    column: usize,
    /// The position of its cut.
    cut: usize,
}

impl Chosen {
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

impl Lake {
    /// Opens the permitted frames and joins their rows.
    pub(super) fn gather(
        &self,
        structured: &Structured,
        chosen: &Chosen,
    ) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let key = FrameKey::new(&structured.key);
        let mut rows = Zeroizing::new(Vec::new());
        let mut size = 0;
        for (position, (table, cuts)) in structured.layout.tables().enumerate() {
            let named = |found: &&Found| found.table == table.name.as_str();
            let columns = &chosen.0[position];
            let Some(found) = structured.found.iter().find(named) else { continue };
            if columns.is_empty() {
                continue;
            }
            size += found.length;
            if size > super::PART_MAX {
                return Err(ReadError::TooLarge);
            }
            let place =
                Place { patient: &structured.patient, batch: &found.batch, rows: found.rows };
            let position = u16::try_from(position).map_err(|_| ReadError::TooLarge)?;
            rows.extend_from_slice(&position.to_le_bytes());
            rows.extend_from_slice(&found.rows.to_le_bytes());
            let before = rows.len();
            let mut open = || {
                rows.truncate(before);
                let mut extent = self.extent(found)?;
                join(&key, &place, (cuts, columns), &mut extent, &mut rows)
                    .ok_or_else(|| ObjectError::Altered(hex::encode(found.pack)))
            };
            if open().is_err() {
                // What stayed open of the object may be older than its repair.
                self.objects.forget(&found.pack);
                open().inspect_err(|error| self.damaged(&found.pack, error))?;
            }
        }
        Ok(rows)
    }

    /// Asks for the repair of a pack.
    fn damaged(&self, pack: &ObjectName, error: &ObjectError) {
        self.objects.forget(pack);
        let Some(what) = What::of(error) else { return };
        tracing::warn!(object = hex::encode(pack), "A read found an object of the lake {what}");
        if let Err(error) = self.note_damage(pack, what) {
            tracing::warn!(%error, "Could not note what is damaged; the next scrub finds it");
        }
    }

    fn extent(&self, found: &Found) -> Result<Zeroizing<Vec<u8>>, ObjectError> {
        let cut = || ObjectError::Cut(hex::encode(found.pack));
        let length = usize::try_from(found.length).map_err(|_| cut())?;
        let range = (found.start, length);
        Ok(Zeroizing::new(self.objects.read(&found.pack, range, found.pack_bytes)?))
    }
}

/// Appends the rows of one table; nothing when a frame is not what was written.
fn join(
    key: &FrameKey,
    place: &Place<'_>,
    (cuts, columns): (&[Cut], &[ChosenColumn]),
    extent: &mut [u8],
    rows: &mut Vec<u8>,
) -> Option<()> {
    let mut opened: Vec<&[u8]> = vec![&[]; cuts.len()];
    for (position, (frame, cut)) in
        split(extent, cuts.len()).ok()?.into_iter().zip(cuts).enumerate()
    {
        if columns.iter().any(|chosen| chosen.cut == position) {
            let cell = (u16::try_from(position).ok()?, &cut.name);
            opened[position] = key.open(place, cell, frame).ok()?;
        }
    }
    for _ in 0..place.rows {
        for chosen in columns {
            rows.extend_from_slice(value::take(&mut opened[chosen.cut])?);
        }
    }
    opened.iter().all(|rest| rest.is_empty()).then_some(())
}

/// The part that curated rows make; nothing when they are not what was curated.
pub(super) fn part((layout, chosen): (&Layout, &Chosen), mut rows: &[u8]) -> Option<Part> {
    let mut part = Part::empty(&layout.catalogue);
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
