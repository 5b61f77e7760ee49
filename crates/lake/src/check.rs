//! Checks a catalogue against its data and names every hole.

mod file;

use crate::attribution::Attribution;
use crate::catalogue::{self, Catalogue, Table};
use crate::finding::{Finding, Findings};
use crate::hole::Hole;
use crate::ingest::Progress;
use crate::source::{Sources, TableReader};
use crate::stats::{Counter, TableStats};
use aegle_model::Name;
use std::fmt;
use std::path::Path;

pub use file::check_file;

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
    /// How many bytes the fields of all rows have.
    pub bytes: u64,
    /// What was counted besides.
    pub stats: TableStats,
    /// The holes of this table alone.
    pub findings: Vec<Finding>,
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

/// After how many rows a progress display is told.
const ROWS_AT_ONCE: u64 = 10_000;

/// Checks the source in `folder`.
pub fn check(folder: &Path) -> CheckReport {
    check_with(folder, &mut |_| {})
}

/// Checks the source in `folder`, telling `progress` how far it is.
pub fn check_with(folder: &Path, progress: &mut dyn FnMut(&Progress)) -> CheckReport {
    let mut findings = Findings::default();
    let catalogue = match catalogue::read(folder) {
        Ok(text) => Catalogue::draft(&text, &mut findings),
        Err(hole) => {
            findings.add(catalogue::FILE, None, hole);
            None
        }
    };
    match catalogue {
        Some(catalogue) => {
            check_data(&catalogue, &mut Sources::open(folder, &catalogue), findings, progress)
        }
        None => CheckReport { findings: findings.into_sorted(), tables: Vec::new() },
    }
}

/// Checks the data against a catalogue, adding to what was already found.
pub(crate) fn check_data(
    catalogue: &Catalogue,
    sources: &mut Sources,
    mut findings: Findings,
    progress: &mut dyn FnMut(&Progress),
) -> CheckReport {
    let count = |table| check_table(catalogue, sources, table, (&mut findings, &mut *progress));
    let tables = catalogue.tables().iter().map(count).collect();
    CheckReport { findings: findings.into_sorted(), tables }
}

fn check_table(
    catalogue: &Catalogue,
    sources: &mut Sources,
    table: &Table,
    (findings, progress): (&mut Findings, &mut dyn FnMut(&Progress)),
) -> TableCount {
    let (mut counter, mut bytes) = (Counter::new(table), 0);
    findings.end_table();
    // The other table is checked for itself.
    let mut of_other = Findings::default();
    let attribution = Attribution::load(catalogue, sources, table, &mut of_other, |_| Some(()));
    if let Some(mut reader) = TableReader::open(sources, table, findings) {
        while let Some(row) = reader.next(findings) {
            bytes += row.size();
            let right = row.values(findings).is_some();
            let owned = !attribution.owners(&row, |_| Some(())).is_empty();
            if !owned {
                row.hole(findings, Hole::NoPatient);
            }
            counter.add(&row, right, owned);
            if counter.rows().is_multiple_of(ROWS_AT_ONCE) {
                progress(&Progress::Read { rows: ROWS_AT_ONCE });
            }
        }
    }
    let findings = findings.end_table();
    let stats = counter.finish(&findings);
    let (rows, rows_without_patient) = (stats.rows, stats.orphans);
    TableCount { name: table.name.clone(), rows, rows_without_patient, bytes, stats, findings }
}

#[cfg(test)]
mod tests;
