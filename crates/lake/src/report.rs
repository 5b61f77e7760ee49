//! What the lake holds and how good it is, for those who look after it: counts, never a value.
//!
//! Everything was counted while it was ingested and stands in the index, so a report costs no look
//! into the raw zone. Absent on purpose: anything about one patient.

use crate::catalogue::{Catalogue, Table};
use crate::damage::Damage;
use crate::database::{Connection, DatabaseError};
use crate::index;
use crate::index::quality::{self, FactRow};
use crate::index::upkeep;
use crate::lake::{Lake, LayoutError};
use crate::layout::Layout;
use crate::quarantine::Quarantined;
use crate::stats::{ColumnStats, TableStats};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// What a lake holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LakeReport {
    /// When the report was made.
    pub made: Timestamp,
    /// The centre.
    pub centre: String,
    /// The version of the catalogue that is current.
    pub catalogue: u32,
    /// How many patients have rows.
    pub patients: u64,
    /// How many rows belong to a patient.
    pub rows: u64,
    /// What is current of each table, in the catalogue's order.
    pub tables: Vec<TableReport>,
    /// Each tag and what it covers.
    pub tags: Vec<TagReport>,
    /// Which versions of the catalogue batches were cut by.
    pub catalogues: Vec<CatalogueReport>,
    /// Every batch, the oldest first.
    pub batches: Vec<BatchReport>,
    /// Every batch that was ever in quarantine, the newest first.
    pub quarantine: Vec<Quarantined>,
    /// Everything that was ever found damaged, the newest first.
    pub damages: Vec<Damage>,
    /// How many patients' rows of a batch are lost; their records say so.
    pub lost: u64,
    /// When a scrub last came to its end.
    pub last_scrub: Option<Timestamp>,
}

/// What is current of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// The table.
    pub name: String,
    /// The type of its source, and where that is; none when the manifest is lost.
    pub source: Option<String>,
    /// Whether it ever came in.
    pub current: bool,
    /// The version of the catalogue that its last batch was cut by.
    pub catalogue: Option<u32>,
    /// How many patients have rows in it.
    pub patients: u64,
    /// When its source last changed.
    pub loaded: Option<Timestamp>,
    /// When its source was last looked at and taken as it was.
    pub seen: Option<Timestamp>,
    /// Bytes of the source.
    pub source_bytes: u64,
    /// Bytes in the raw zone, of all its batches.
    pub stored_bytes: u64,
    /// What was counted.
    pub stats: TableStats,
    /// In the catalogue's order.
    pub columns: Vec<ColumnReport>,
}

impl TableReport {
    /// The columns that carry no tag, which only keys do; they are never disclosed.
    pub fn untagged(&self) -> impl Iterator<Item = &ColumnReport> {
        self.columns.iter().filter(|column| column.tags.is_empty())
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnReport {
    /// The column.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The tags that it carries, but for `all`; none for a key.
    pub tags: Vec<String>,
    /// Rows in which it is empty.
    pub nulls: u64,
    /// Rows in which it was not of its type.
    pub wrong: u64,
    /// Rows in which it has a value.
    pub values: u64,
}

/// A tag of the current catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagReport {
    /// The tag.
    pub name: String,
    /// How many columns carry it.
    pub columns: u64,
    /// How many values these have; a tag without any opens nothing.
    pub values: u64,
}

/// A version of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogueReport {
    /// The version.
    pub version: u32,
    /// How many batches were cut by it.
    pub batches: u64,
    /// Of how many tables the last batch was cut by it.
    pub current: u64,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchReport {
    /// Names it: the first digits of a keyed hash.
    pub batch: String,
    /// The table.
    pub table: String,
    /// The load that brought it.
    pub load: u64,
    /// When that was.
    pub loaded: Timestamp,
    /// How many rows it brought; one that belongs to several patients counts for each.
    pub rows: u64,
    /// Bytes of the whole table at its source.
    pub source_bytes: u64,
    /// Bytes in the raw zone.
    pub stored_bytes: u64,
}

impl Lake {
    /// What the lake holds, from one moment.
    pub fn report(&self) -> Result<LakeReport, LayoutError> {
        self.lookup.read(|connection| {
            let layout: Arc<Layout> = self.layout(connection)?;
            let catalogue = &layout.catalogue;
            let state = index::state(connection)?.ok_or(LayoutError::Empty)?;
            let facts = quality::facts(connection)?;
            let tables: Vec<_> = catalogue
                .tables()
                .iter()
                .map(|table| {
                    let of = facts.iter().filter(|row| row.table == table.name.as_str());
                    let rows: Vec<_> = of.collect();
                    let source = rows.last().and_then(|row| self.source_of(connection, row));
                    let seen = quality::seen(connection, table.name.as_str())?;
                    Ok(table_report(table, &rows, (source, seen)))
                })
                .collect::<Result<_, DatabaseError>>()?;
            Ok(LakeReport {
                made: Timestamp::now(),
                centre: catalogue.centre().to_string(),
                catalogue: catalogue.version(),
                patients: state.patients,
                rows: state.rows,
                catalogues: catalogues(&quality::catalogues(connection)?, (&facts, &tables)),
                tags: tags(catalogue, &tables),
                tables,
                batches: facts.iter().map(batch).collect(),
                quarantine: self.quarantine_in(connection)?,
                damages: upkeep::damages(connection)?,
                lost: quality::waiting(connection)?[1],
                last_scrub: upkeep::last_scrub(connection)?,
            })
        })
    }

    fn source_of(&self, connection: &Connection, row: &FactRow) -> Option<String> {
        let fetch = self.manifest(connection, (row.id, &row.name)).ok()??.fetch;
        Some(format!("{}: {} in {}", fetch.kind, fetch.select, fetch.folder.display()))
    }
}

fn table_report(
    table: &Table,
    rows: &[&FactRow],
    (source, seen): (Option<String>, Option<Timestamp>),
) -> TableReport {
    let row = rows.last();
    let stats = row.map(|row| row.facts.stats.clone()).unwrap_or_default();
    let column = |column: &crate::catalogue::Column| {
        let none = ColumnStats::default();
        let named = |stats: &&ColumnStats| stats.name == column.name.as_str();
        let found = stats.columns.iter().find(named).unwrap_or(&none);
        let tags = column.tags.keys().filter(|tag| tag.as_str() != aegle_model::ALL);
        ColumnReport {
            name: column.name.to_string(),
            kind: column.kind.name().to_owned(),
            tags: tags.map(ToString::to_string).collect(),
            nulls: found.nulls,
            wrong: found.wrong,
            values: stats.rows.saturating_sub(found.nulls + found.wrong),
        }
    };
    TableReport {
        name: table.name.to_string(),
        source,
        current: row.is_some(),
        catalogue: row.map(|row| row.catalogue),
        patients: row.map_or(0, |row| row.facts.patients),
        loaded: row.map(|row| row.loaded),
        seen,
        source_bytes: row.map_or(0, |row| row.source_bytes),
        stored_bytes: rows.iter().map(|row| row.stored_bytes).sum(),
        columns: table.columns.iter().map(column).collect(),
        stats,
    }
}

fn tags(catalogue: &Catalogue, tables: &[TableReport]) -> Vec<TagReport> {
    let names = catalogue.vocabulary().tags.iter().map(|tag| tag.name.to_string());
    let report = |name: String| {
        let columns = tables.iter().flat_map(|table| &table.columns);
        let carrying = columns.filter(|column| column.tags.contains(&name));
        let (columns, values) =
            carrying.fold((0, 0), |(columns, values), one| (columns + 1, values + one.values));
        TagReport { name, columns, values }
    };
    names.filter(|name| name != aegle_model::ALL).map(report).collect()
}

fn catalogues(
    versions: &[u32],
    (facts, tables): (&[FactRow], &[TableReport]),
) -> Vec<CatalogueReport> {
    let report = |version: &u32| {
        let batches = facts.iter().filter(|row| row.catalogue == *version).count() as u64;
        let current = tables.iter().filter(|table| table.catalogue == Some(*version)).count();
        CatalogueReport { version: *version, batches, current: current as u64 }
    };
    versions.iter().map(report).collect()
}

fn batch(row: &FactRow) -> BatchReport {
    BatchReport {
        batch: hex::encode(&row.name[..8]),
        table: row.table.clone(),
        load: row.load,
        loaded: row.loaded,
        rows: row.facts.rows,
        source_bytes: row.source_bytes,
        stored_bytes: row.stored_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CATALOGUE, SECRETS, USE, World};

    #[test]
    fn a_report_counts_what_is_there_and_what_is_missing() {
        let world = World::new();
        let twice = USE.lines().nth(2).unwrap();
        world.write("use.csv", &format!("{USE}{twice}\n{twice}\n"));
        let lake = world.filled();
        let report = lake.report().unwrap();
        assert_eq!((report.centre.as_str(), report.catalogue), ("ZMC", 1));
        assert_eq!((report.patients, report.rows), (3, 10));
        let [uses, scan, doctor] = &report.tables[..] else { panic!("{report:?}") };
        assert_eq!((uses.stats.rows, uses.patients, uses.stats.duplicates), (6, 2, 2));
        assert_eq!((scan.stats.rows, scan.patients, scan.stats.duplicates), (2, 2, 0));
        assert_eq!((doctor.stats.rows, doctor.patients, doctor.stats.orphans), (3, 2, 1));
        let nulls: Vec<_> = uses.columns.iter().map(|column| column.nulls).collect();
        assert_eq!(nulls, [0, 0, 1, 1, 1, 1]);
        let untagged: Vec<_> = uses.untagged().map(|column| column.name.as_str()).collect();
        assert_eq!(untagged, ["patnr", "episode"]);
        let place = world.source().display().to_string();
        assert_eq!(uses.source.as_deref(), Some(format!("csv: use.csv in {place}").as_str()));
        let tag = |name: &str| report.tags.iter().find(|tag| tag.name == name).unwrap();
        assert_eq!((tag("medication").columns, tag("medication").values), (3, 15));
        assert_eq!((tag("staff").columns, tag("staff").values), (1, 3));
        let text = serde_json::to_string(&report).unwrap();
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
    }

    #[test]
    fn a_report_shows_growth_versions_and_tags_without_data() {
        let world = World::new();
        let lake = world.filled();
        let first = lake.report().unwrap();
        let grown = CATALOGUE.replace("version = 1", "version = 2");
        let grown = grown.replace("staff = {", "images = { en = \"Images\" }\nstaff = {");
        let grown = grown.replace(r#"tags = ["staff"]"#, r#"tags = ["staff", "images@2"]"#);
        world.write("catalogue.toml", &grown);
        world.write("doctor.csv", "episode,name\nEPI-1,\n");
        lake.ingest(&world.source()).unwrap();
        let report = lake.report().unwrap();
        let batches: Vec<_> = report
            .batches
            .iter()
            .map(|batch| (batch.table.as_str(), batch.load, batch.rows))
            .collect();
        let expected = [("use", 1, 4), ("scan", 1, 2), ("doctor", 1, 3), ("doctor", 2, 1)];
        assert_eq!(batches, expected);
        let catalogues: Vec<_> =
            report.catalogues.iter().map(|one| (one.version, one.batches, one.current)).collect();
        assert_eq!(catalogues, [(1, 3, 2), (2, 1, 1)]);
        let empty: Vec<_> = report.tags.iter().filter(|tag| tag.values == 0).collect();
        assert_eq!(empty.len(), 2, "{empty:?}");
        assert!(report.tables[0].seen > first.tables[0].seen);
        assert_eq!(report.tables[0].loaded, first.tables[0].loaded);
    }

    #[test]
    fn a_report_shows_what_is_in_quarantine() {
        let world = World::new();
        let lake = world.filled();
        world.write("use.csv", &USE.replace("80.0", "eighty"));
        lake.ingest(&world.source()).unwrap_err();
        let report = lake.report().unwrap();
        assert_eq!(report.quarantine, lake.quarantine().unwrap());
        assert_eq!((report.quarantine.len(), report.quarantine[0].wrong_rows), (1, 1));
        assert_eq!(report.tables[0].stats.wrong_rows, 0, "the older batch has none");
    }

    #[test]
    fn an_empty_lake_has_no_report() {
        assert!(matches!(World::new().open().report(), Err(LayoutError::Empty)));
    }
}
