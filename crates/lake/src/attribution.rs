//! Which patients a row belongs to.
//!
//! A table may find its patients through another one, whose keys are in memory meanwhile. They are
//! kept as hashes under a key of the moment, with whatever names the patient, in one sorted list: 32
//! bytes for each key of a patient in an ingest, 16 in a check, and twice that while it grows.

use crate::catalogue::{Catalogue, Patient, Table};
use crate::crypt::{self, MacKey};
use crate::finding::Findings;
use crate::source::{Row, Sources, TableReader};
use aegle_model::Name;

/// How the rows of one table find their patients; `P` is how the caller names a patient.
pub(crate) enum Attribution<P> {
    /// A column holds the patient number.
    Column(Name),
    /// The value of a column leads to patients.
    Through {
        /// The column.
        on: Name,
        /// The patients by value.
        patients: Box<Leads<P>>,
    },
}

impl<P: Ord + Copy> Attribution<P> {
    /// Reads the table that `table` looks its patients up through, if it does. `name` turns a
    /// patient number into a `P`, or leaves the patient out. Holes of the other table are its own, but
    /// for those that keep it from being read now: without it, nobody's rows would be found.
    pub(crate) fn load(
        catalogue: &Catalogue,
        sources: &mut Sources,
        table: &Table,
        findings: &mut Findings,
        mut name: impl FnMut(&[u8]) -> Option<P>,
    ) -> Self {
        let (through, on) = match &table.patient {
            Patient::Column(column) => return Self::Column(column.clone()),
            Patient::Through { table, on } => (table, on),
        };
        let mut patients = Leads::new();
        let mut ignored = Findings::default();
        let source = catalogue.table(through.as_str());
        let reader = source.and_then(|source| TableReader::open(sources, source, &mut ignored));
        if let (Some(mut reader), Some(Patient::Column(number))) =
            (reader, source.map(|source| &source.patient))
        {
            while let Some(row) = reader.next(&mut ignored) {
                let (number, value) = (row.field(number), row.field(on));
                if number.is_empty() || value.is_empty() {
                    continue;
                }
                if let Some(patient) = name(number) {
                    patients.add(value, patient);
                }
            }
        }
        for found in ignored.into_sorted().into_iter().filter(|found| found.hole.may_pass()) {
            findings.add(&found.file, None, found.hole);
        }
        Self::Through { on: on.clone(), patients: Box::new(patients.finish()) }
    }

    /// The patients that the row belongs to; `name` as in [`load`](Self::load).
    pub(crate) fn owners(&self, row: &Row<'_>, name: impl FnOnce(&[u8]) -> Option<P>) -> Vec<P> {
        match self {
            Self::Column(column) => {
                let number = Some(row.field(column)).filter(|number| !number.is_empty());
                number.and_then(name).into_iter().collect()
            }
            Self::Through { on, patients } => patients.of(row.field(on)),
        }
    }
}

/// What stands for a value.
type Hash = [u8; 16];

/// Which values lead to which patients, each pair once.
pub(crate) struct Leads<P> {
    key: MacKey,
    pairs: Vec<(Hash, P)>,
}

impl<P: Ord + Copy> Leads<P> {
    fn new() -> Self {
        Self { key: MacKey::new(&crypt::random_secret()), pairs: Vec::new() }
    }

    fn hash(&self, value: &[u8]) -> Hash {
        let mac = self.key.mac("aegle lake through v1", &[value]);
        *mac.first_chunk().expect("32 bytes hold 16")
    }

    fn add(&mut self, value: &[u8], patient: P) {
        // A value may come in many rows: what it leads to takes room once.
        if self.pairs.len() == self.pairs.capacity() {
            self.sort();
            self.pairs.reserve_exact(self.pairs.len().max(1024));
        }
        self.pairs.push((self.hash(value), patient));
    }

    fn finish(mut self) -> Self {
        self.sort();
        self.pairs.shrink_to_fit();
        self
    }

    fn sort(&mut self) {
        self.pairs.sort_unstable();
        self.pairs.dedup();
    }

    fn of(&self, value: &[u8]) -> Vec<P> {
        let hash = self.hash(value);
        let first = self.pairs.partition_point(|(other, _)| *other < hash);
        let found = self.pairs[first..].iter().take_while(|(other, _)| *other == hash);
        found.map(|(_, patient)| *patient).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_leads_to_each_of_its_patients_once_however_many_rows_say_so() {
        let mut leads = Leads::new();
        for row in 0..100_000_u32 {
            leads.add(&(row % 1000).to_le_bytes(), row % 3000);
        }
        assert!(leads.pairs.capacity() <= 8192, "{}", leads.pairs.capacity());
        let leads = leads.finish();
        assert_eq!((leads.pairs.len(), leads.pairs.capacity()), (3000, 3000));
        for value in 0..1000_u32 {
            assert_eq!(leads.of(&value.to_le_bytes()), [value, value + 1000, value + 2000]);
        }
        assert!(leads.of(&1000_u32.to_le_bytes()).is_empty() && leads.of(b"").is_empty());
    }
}
