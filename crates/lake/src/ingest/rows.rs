//! The rows of one table, of a range of patients, in memory and in the order of patients.

use super::IngestError;
use crate::attribution::Attribution;
use crate::check::CheckReport;
use crate::finding::Findings;
use crate::keys::{Keys, PatientKey};
use crate::layout::{Cut, Layout};
use crate::source::{Row, TableReader};
use crate::value::Value;
use std::path::Path;

/// One share of all patients, by the leading bits of their keys.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) index: u64,
    pub(super) of: u64,
}

impl Share {
    fn holds(self, patient: &PatientKey) -> bool {
        let [a, b, c, d, ..] = *patient;
        (u64::from(u32::from_be_bytes([a, b, c, d])) * self.of) >> 32 == self.index
    }
}

/// Encoded rows and whose they are.
#[derive(Default)]
pub(super) struct Rows {
    /// For each row and each cut of the table: `length u32 ‖ encoded values`.
    bytes: Vec<u8>,
    /// Patients with where a row of theirs begins; sorted by patient, then in the source's order.
    owners: Vec<(PatientKey, usize)>,
}

impl Rows {
    pub(super) fn load(
        keys: &Keys,
        layout: &Layout,
        folder: &Path,
        position: usize,
        share: Share,
    ) -> Result<Self, IngestError> {
        let table = &layout.catalogue.tables()[position];
        let name = |number: &[u8]| Some(keys.patient(number)).filter(|key| share.holds(key));
        let attribution = Attribution::load(&layout.catalogue, folder, table, name);
        let (mut rows, mut findings) = (Self::default(), Findings::default());
        if let Some(mut reader) = TableReader::open(folder, table, &mut findings) {
            while let Some(row) = reader.next(&mut findings) {
                rows.add(
                    &row,
                    attribution.owners(&row, name),
                    &layout.cuts[position],
                    &mut findings,
                );
            }
        }
        // Rows that cannot be read are left out; whether that may be was judged before.
        let mut findings = findings.into_sorted();
        findings.retain(|found| !found.hole.can_be_left_out());
        if !findings.is_empty() {
            return Err(IngestError::Source(CheckReport { findings, tables: Vec::new() }));
        }
        // Stable: the rows of a patient stay in the order of the source.
        rows.owners.sort_by_key(|(patient, _)| *patient);
        Ok(rows)
    }

    fn add(
        &mut self,
        row: &Row<'_>,
        owners: Vec<PatientKey>,
        cuts: &[Cut],
        findings: &mut Findings,
    ) {
        if owners.is_empty() {
            return;
        }
        let Some(values) = row.values(findings) else { return };
        let start = self.bytes.len();
        self.owners.extend(owners.into_iter().map(|patient| (patient, start)));
        for cut in cuts {
            let head = self.bytes.len();
            self.bytes.extend_from_slice(&[0; 4]);
            let chosen = cut.columns.iter().filter_map(|column| values.get(*column));
            chosen.for_each(|value: &Value| value.encode(&mut self.bytes));
            let length = u32::try_from(self.bytes.len() - head - 4).expect("records are bounded");
            self.bytes[head..head + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// The rows of each patient.
    pub(super) fn patients(&self) -> impl Iterator<Item = PatientRows<'_>> {
        self.owners.chunk_by(|a, b| a.0 == b.0).map(|owned| PatientRows { rows: self, owned })
    }
}

/// All rows of one patient.
pub(super) struct PatientRows<'a> {
    rows: &'a Rows,
    owned: &'a [(PatientKey, usize)],
}

impl PatientRows<'_> {
    pub(super) fn patient(&self) -> PatientKey {
        self.owned[0].0
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.owned.len()).expect("a share of a file has less than 2^32 rows")
    }

    /// For each of `cuts` cuts, the encoded values of all rows.
    pub(super) fn cut(&self, cuts: usize) -> Vec<Vec<u8>> {
        let mut frames = vec![Vec::new(); cuts];
        for (_, start) in self.owned {
            let mut rest = &self.rows.bytes[*start..];
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
