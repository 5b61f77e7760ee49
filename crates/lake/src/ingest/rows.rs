//! The rows of one table, of a range of patients, in memory and in the order of patients.

use super::IngestError;
use crate::attribution::Attribution;
use crate::check::CheckReport;
use crate::crypt::MacKey;
use crate::finding::Findings;
use crate::index::vault::Hubs;
use crate::keys::{Keys, PatientKey};
use crate::layout::{Cut, Layout};
use crate::naming::RowNames;
use crate::source::{Sources, TableReader, Typed, file_content};
use crate::value::Value;
use aegle_vault::RowId;

/// One share of all patients, by the leading bits of their keys.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) index: u64,
    pub(super) of: u64,
}

impl Share {
    /// All patients.
    pub(super) const WHOLE: Self = Self { index: 0, of: 1 };

    /// The share in this many parts, in the order of patients.
    pub(super) fn cut(self, parts: u64) -> impl Iterator<Item = Self> {
        let of = self.of * parts;
        (self.index * parts..(self.index + 1) * parts).map(move |index| Self { index, of })
    }

    /// The last patient before the share; none before the first share.
    pub(super) fn before(self) -> Option<PatientKey> {
        Some(Self { index: self.index.checked_sub(1)?, of: self.of }.last())
    }

    fn holds(self, patient: &PatientKey) -> bool {
        let [a, b, c, d, ..] = *patient;
        (u64::from(u32::from_be_bytes([a, b, c, d])) * self.of) >> 32 == self.index
    }

    /// The last patient that could be in the share.
    pub(super) fn last(self) -> PatientKey {
        let next = ((self.index + 1) << 32).div_ceil(self.of);
        let leading = u32::try_from(next - 1).expect("a share begins below 2^32");
        let mut last = [u8::MAX; 16];
        last[..4].copy_from_slice(&leading.to_be_bytes());
        last
    }
}

/// Encoded rows and whose they are.
#[derive(Default)]
pub(super) struct Rows {
    /// For each row and each cut of the table: `length u32 ‖ encoded values`.
    bytes: Vec<u8>,
    /// Sorted by patient, then in the source's order.
    owned: Vec<Owned>,
    /// What the rows speak of.
    hubs: Hubs,
}

/// A row of a patient.
struct Owned {
    patient: PatientKey,
    /// Where it begins.
    start: usize,
    id: RowId,
}

impl Rows {
    /// The rows of a share of the patients of the table at `position`.
    pub(super) fn load(
        keys: &Keys,
        layout: &Layout,
        sources: &mut Sources,
        position: usize,
        share: Share,
    ) -> Result<Self, IngestError> {
        let mut findings = Findings::default();
        let holds = |patient: &PatientKey| share.holds(patient);
        let rows = Self::of(keys, (layout, position), sources, holds, &mut findings)?;
        let mut findings = findings.into_sorted();
        // Rows that cannot be read are left out; whether that may be was judged before.
        findings.retain(|found| !found.hole.can_be_left_out());
        if !findings.is_empty() {
            return Err(IngestError::Source(CheckReport { findings, tables: Vec::new() }));
        }
        Ok(rows)
    }

    /// The rows of the chosen patients of the table at `position`; what cannot be read is left out.
    pub(super) fn of(
        keys: &Keys,
        (layout, position): (&Layout, usize),
        sources: &mut Sources,
        chosen: impl Fn(&PatientKey) -> bool,
        findings: &mut Findings,
    ) -> Result<Self, IngestError> {
        let table = &layout.catalogue.tables()[position];
        let name = |number: &[u8]| Some(keys.patient(number)).filter(&chosen);
        let attribution = Attribution::load(&layout.catalogue, sources, table, findings, name);
        let mut names = RowNames::new(keys.naming(), table, &layout.meanings[position]);
        let mut rows = Self::default();
        if let Some(mut reader) = TableReader::open(sources, table, findings) {
            while let Some(row) = reader.next(findings) {
                let owners = attribution.owners(&row, name);
                let Some(values) = (!owners.is_empty()).then(|| row.values(findings)).flatten()
                else {
                    continue;
                };
                rows.add(values, &owners, &layout.cuts[position], (&mut names, keys.naming()))?;
            }
        }
        // Stable: the rows of a patient stay in the order of the source.
        rows.owned.sort_by_key(|owned| owned.patient);
        Ok(rows)
    }

    fn add(
        &mut self,
        values: Vec<Typed>,
        owners: &[PatientKey],
        cuts: &[Cut],
        (names, naming): (&mut RowNames<'_>, &MacKey),
    ) -> Result<(), IngestError> {
        let start = self.bytes.len();
        cut_into(&values, cuts, Typed::encode, &mut self.bytes);
        let has_files = values.iter().any(|value| matches!(value, Typed::File(_)));
        let values = values.into_iter().map(|value| named(value, naming));
        let values: Vec<Value> = values.collect::<Result<_, _>>()?;
        // What makes a row the same is what its files hold, not where they lie.
        let mut held = Vec::new();
        if has_files {
            cut_into(&values, cuts, Value::encode, &mut held);
        }
        names.add_hubs(&values, &mut self.hubs);
        let event = names.event(&values);
        for patient in owners {
            let row = if has_files { held.as_slice() } else { &self.bytes[start..] };
            let id = names.id(patient, event.as_deref(), row);
            self.owned.push(Owned { patient: *patient, start, id });
        }
        Ok(())
    }

    /// What the rows speak of, besides their patients and events.
    pub(super) fn hubs(&self) -> &Hubs {
        &self.hubs
    }

    /// The rows of one patient.
    pub(super) fn patient(&self, patient: &PatientKey) -> Option<PatientRows<'_>> {
        let start = self.owned.partition_point(|owned| owned.patient < *patient);
        let length = self.owned[start..].partition_point(|owned| owned.patient == *patient);
        let owned = &self.owned[start..start + length];
        (length > 0).then_some(PatientRows { rows: self, owned })
    }

    /// The rows of each patient, in the order of patients.
    pub(super) fn patients(&self) -> impl Iterator<Item = PatientRows<'_>> {
        let same = |a: &Owned, b: &Owned| a.patient == b.patient;
        self.owned.chunk_by(same).map(|owned| PatientRows { rows: self, owned })
    }
}

/// Appends the values of each cut, with their length before them.
fn cut_into<T>(values: &[T], cuts: &[Cut], encode: fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    for cut in cuts {
        let head = out.len();
        out.extend_from_slice(&[0; 4]);
        let chosen = cut.columns.iter().filter_map(|column| values.get(*column));
        chosen.for_each(|value| encode(value, out));
        let length = u32::try_from(out.len() - head - 4).expect("records are bounded");
        out[head..head + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// The value, or for a file the keyed hash of what it holds.
fn named(value: Typed, naming: &MacKey) -> Result<Value, IngestError> {
    match value {
        Typed::Value(value) => Ok(value),
        Typed::File(path) => match file_content(&path, naming) {
            Ok(content) => Ok(Value::Bytes(content.hash.to_vec())),
            Err(source) => {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Err(IngestError::Unreadable { file, source })
            }
        },
    }
}

/// All rows of one patient.
#[derive(Clone, Copy)]
pub(super) struct PatientRows<'a> {
    rows: &'a Rows,
    owned: &'a [Owned],
}

impl PatientRows<'_> {
    pub(super) fn patient(&self) -> PatientKey {
        self.owned[0].patient
    }

    pub(super) fn ids(&self) -> Vec<RowId> {
        self.owned.iter().map(|owned| owned.id).collect()
    }

    /// For each of `cuts` cuts, the encoded values of the chosen rows.
    pub(super) fn cut(&self, chosen: &[usize], cuts: usize) -> Vec<Vec<u8>> {
        let mut frames = vec![Vec::new(); cuts];
        for place in chosen {
            let mut rest = &self.rows.bytes[self.owned[*place].start..];
            for frame in &mut frames {
                let (length, after) = rest.split_first_chunk().expect("rows are whole");
                let length = usize::try_from(u32::from_le_bytes(*length)).expect("rows are small");
                let (values, after) = after.split_at(length);
                frame.extend_from_slice(values);
                rest = after;
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_meet_without_a_gap() {
        for of in [1, 2, 3, 7, 1000] {
            for index in 0..of {
                let share = Share { index, of };
                let last = share.last();
                assert!(share.holds(&last));
                let next = u128::from_be_bytes(last).checked_add(1).map(u128::to_be_bytes);
                let held = next.is_some_and(|next| Share { index: index + 1, of }.holds(&next));
                assert_eq!(held, index + 1 < of, "share {index} of {of}");
            }
        }
    }
}
