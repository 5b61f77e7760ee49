//! Checks one file of a source before it lies in the source's folder.

use super::{CheckReport, check_table};
use crate::catalogue::{Catalogue, Table};
use crate::finding::Findings;
use crate::source::Sources;

/// Checks what the catalogue's tables read from the file `name` in `folder`, and nothing else. The
/// report has those tables only, none when no table reads such a file.
///
/// Rows that find their patients through another table find them when that table's CSV file lies in
/// `folder`, too.
pub fn check_file(catalogue: &Catalogue, folder: &std::path::Path, name: &str) -> CheckReport {
    let (mut sources, mut findings) = (Sources::open(folder, catalogue), Findings::default());
    let tables = catalogue.tables().iter().filter(|table| reads(catalogue, table, name));
    let count = |table| check_table(catalogue, &mut sources, table, (&mut findings, &mut |_| {}));
    let tables = tables.map(count).collect();
    CheckReport { findings: findings.into_sorted(), tables }
}

/// Whether the file may have rows of the table: it is the table's own, or lies where its source does.
fn reads(catalogue: &Catalogue, table: &Table, name: &str) -> bool {
    let declared =
        table.origin.source.as_ref().and_then(|source| {
            catalogue.sources().iter().find(|declared| declared.name == *source)
        });
    let Some(declared) = declared else { return table.file == name };
    let Some(path) = declared.settings.get("path") else {
        return declared.kind.name == crate::source::CSV.name && table.file == name;
    };
    let path = path.trim_start_matches("./").trim_end_matches('/');
    let rest = name.strip_prefix(path);
    matches!(path, "" | ".") || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
