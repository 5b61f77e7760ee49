//! Which patients a row belongs to.

use crate::catalogue::{Catalogue, Patient, Table};
use crate::finding::Findings;
use crate::source::{Row, Sources, TableReader};
use aegle_model::Name;
use std::collections::{BTreeMap, BTreeSet};

/// How the rows of one table find their patients; `P` is how the caller names a patient.
pub(crate) enum Attribution<P> {
    /// A column holds the patient number.
    Column(Name),
    /// The value of a column leads to patients.
    Through {
        /// The column.
        on: Name,
        /// The patients by value.
        patients: BTreeMap<Box<[u8]>, Vec<P>>,
    },
}

impl<P: Ord> Attribution<P> {
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
        let mut found: BTreeMap<Box<[u8]>, BTreeSet<P>> = BTreeMap::new();
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
                    found.entry(value.into()).or_default().insert(patient);
                }
            }
        }
        for found in ignored.into_sorted().into_iter().filter(|found| found.hole.may_pass()) {
            findings.add(&found.file, None, found.hole);
        }
        let patients = found.into_iter().map(|(value, set)| (value, set.into_iter().collect()));
        Self::Through { on: on.clone(), patients: patients.collect() }
    }

    /// The patients that the row belongs to; `name` as in [`load`](Self::load).
    pub(crate) fn owners(&self, row: &Row<'_>, name: impl FnOnce(&[u8]) -> Option<P>) -> Vec<P>
    where
        P: Copy,
    {
        match self {
            Self::Column(column) => {
                let number = Some(row.field(column)).filter(|number| !number.is_empty());
                number.and_then(name).into_iter().collect()
            }
            Self::Through { on, patients } => {
                patients.get(row.field(on)).cloned().unwrap_or_default()
            }
        }
    }
}
