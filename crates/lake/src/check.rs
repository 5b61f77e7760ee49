//! Checks a catalogue against its data and names every hole.

use crate::attribution::Attribution;
use crate::catalogue::{self, Catalogue, Table};
use crate::finding::{Finding, Findings};
use crate::hole::Hole;
use crate::source::TableReader;
use crate::stats::{Counter, TableStats};
use aegle_model::Name;
use std::fmt;
use std::path::Path;

/// What was found in a source. Prints as text, a line per finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Every hole, by file and line.
    pub findings: Vec<Finding>,
    /// What was read, in the catalogue's order.
    pub tables: Vec<TableCount>,
}

/// What was read of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCount {
    /// The table.
    pub name: Name,
    /// Rows with as many fields as the header.
    pub rows: u64,
    /// Those of them that belong to no patient.
    pub rows_without_patient: u64,
    /// What was counted besides.
    pub stats: TableStats,
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
        self.tables.iter().map(|table| table.rows_without_patient).sum()
    }

    /// How many rows were read.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let (tables, rows) = (self.tables.len(), self.rows());
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
        None => CheckReport { findings: findings.into_sorted(), tables: Vec::new() },
    }
}

/// Checks the data against a catalogue, adding to what was already found.
pub(crate) fn check_data(
    catalogue: &Catalogue,
    folder: &Path,
    mut findings: Findings,
) -> CheckReport {
    let count = |table| check_table(catalogue, folder, table, &mut findings);
    let tables = catalogue.tables().iter().map(count).collect();
    CheckReport { findings: findings.into_sorted(), tables }
}

fn check_table(
    catalogue: &Catalogue,
    folder: &Path,
    table: &Table,
    findings: &mut Findings,
) -> TableCount {
    let mut counter = Counter::new(table);
    if let Some(mut reader) = TableReader::open(folder, table, findings) {
        let attribution = Attribution::load(catalogue, folder, table, |_| Some(()));
        while let Some(row) = reader.next(findings) {
            let right = row.values(findings).is_some();
            let owned = !attribution.owners(&row, |_| Some(())).is_empty();
            if !owned {
                findings.add(&table.file, row.line, Hole::NoPatient);
            }
            counter.add(&row, right, owned);
        }
    }
    let stats = counter.finish(findings);
    let (rows, rows_without_patient) = (stats.rows, stats.orphans);
    TableCount { name: table.name.clone(), rows, rows_without_patient, stats }
}

#[cfg(test)]
mod tests;
