//! Checks a catalogue against its data and names every hole.

use crate::attribution::Attribution;
use crate::catalogue::{self, Catalogue, Table};
use crate::hole::{Finding, Findings};
use crate::source::TableReader;
use std::fmt;
use std::path::Path;

/// What was found in a source. Prints as text, a line per finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Every hole, by file and line.
    pub findings: Vec<Finding>,
    /// How many tables the catalogue has.
    pub tables: usize,
    /// How many well-formed rows were read, in all tables.
    pub rows: u64,
}

impl CheckReport {
    /// Whether nothing at all is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether the source can be ingested; rows that belong to no patient are left out then.
    pub fn is_loadable(&self) -> bool {
        self.findings.iter().all(|finding| finding.hole.is_harmless())
    }

    /// How many rows belong to no patient.
    pub fn rows_without_patient(&self) -> u64 {
        let harmless = self.findings.iter().filter(|finding| finding.hole.is_harmless());
        harmless.map(|finding| finding.lines.count()).sum()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let (tables, rows) = (self.tables, self.rows);
        match self.findings.len() {
            0 => write!(f, "no holes; {tables} tables and {rows} rows read"),
            1 => write!(f, "1 hole; {tables} tables and {rows} rows read"),
            holes => write!(f, "{holes} holes; {tables} tables and {rows} rows read"),
        }
    }
}

/// Checks the source in `folder`.
pub fn check(folder: &Path) -> CheckReport {
    let mut findings = Findings::default();
    let catalogue = match catalogue::read(folder) {
        Ok(text) => Catalogue::draft(&text, &mut findings),
        Err(hole) => {
            findings.add(catalogue::FILE, None, hole);
            None
        }
    };
    match catalogue {
        Some(catalogue) => check_data(&catalogue, folder, findings),
        None => CheckReport { findings: findings.into_sorted(), tables: 0, rows: 0 },
    }
}

/// Checks the data against a catalogue, adding to what was already found.
pub(crate) fn check_data(
    catalogue: &Catalogue,
    folder: &Path,
    mut findings: Findings,
) -> CheckReport {
    let tables = catalogue.tables();
    let rows = tables.iter().map(|table| check_table(catalogue, folder, table, &mut findings)).sum();
    CheckReport { findings: findings.into_sorted(), tables: tables.len(), rows }
}

fn check_table(
    catalogue: &Catalogue,
    folder: &Path,
    table: &Table,
    findings: &mut Findings,
) -> u64 {
    let Some(mut reader) = TableReader::open(folder, table, None, findings) else { return 0 };
    let attribution = Attribution::load(catalogue, folder, table, |_| Some(()));
    let mut rows = 0;
    while let Some(row) = reader.next(findings) {
        if row.values(findings).is_some() {
            rows += 1;
        }
        if !attribution.owns(&row) {
            findings.add(&table.file, row.line, crate::Hole::NoPatient);
        }
    }
    rows
}

#[cfg(test)]
mod tests;
