//! Reads a source folder back with nothing but the formats.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

pub(crate) type Row = BTreeMap<String, String>;

/// A catalogue and all its rows.
pub(crate) struct Source {
    pub(crate) catalogue: toml::Table,
    pub(crate) tables: BTreeMap<String, Vec<Row>>,
}

impl Source {
    pub(crate) fn read(folder: &Path) -> Self {
        let catalogue: toml::Table =
            fs::read_to_string(folder.join("catalogue.toml")).unwrap().parse().unwrap();
        let read = |table: &String| {
            let mut reader = csv::Reader::from_path(folder.join(format!("{table}.csv"))).unwrap();
            let columns = catalogue["tables"][table]["columns"].as_table().unwrap();
            assert!(reader.headers().unwrap().iter().eq(columns.keys()), "header of {table}");
            reader.deserialize().map(Result::unwrap).collect()
        };
        let tables = catalogue["tables"].as_table().unwrap().keys();
        let tables = tables.map(|table| (table.clone(), read(table))).collect();
        Self { catalogue, tables }
    }

    /// The rows of one patient in a table.
    pub(crate) fn of_patient(&self, table: &str, key: &str, number: &str) -> Vec<&Row> {
        self.tables[table].iter().filter(|row| row[key] == number).collect()
    }

    /// All values of a column.
    pub(crate) fn values(&self, table: &str, column: &str) -> BTreeSet<&str> {
        self.tables[table].iter().map(|row| row[column].as_str()).collect()
    }
}

/// Table, name and definition of every column.
pub(crate) fn columns(catalogue: &toml::Table) -> impl Iterator<Item = (&str, &str, &toml::Value)> {
    let tables = catalogue["tables"].as_table().unwrap().iter();
    tables.flat_map(|(table, definition)| {
        let columns = definition["columns"].as_table().unwrap().iter();
        columns.map(move |(name, column)| (table.as_str(), name.as_str(), column))
    })
}

/// Whether the field can be read as this type of the catalogue.
pub(crate) fn reads_as(kind: &str, field: &str) -> bool {
    use base64::Engine;
    match kind {
        "integer" => field.parse::<i64>().is_ok(),
        "decimal" => field.parse::<f64>().is_ok(),
        "date" => field.len() == 10 && field.parse::<jiff::civil::Date>().is_ok(),
        "time" => field.parse::<jiff::Timestamp>().is_ok(),
        "boolean" => ["true", "false"].contains(&field),
        "bytes" => base64::engine::general_purpose::STANDARD.decode(field).is_ok(),
        "text" => field.trim() == field,
        other => panic!("`{other}` is no type"),
    }
}

/// Days from one date to another.
pub(crate) fn days(from: &str, until: &str) -> i64 {
    let [from, until] = [from, until].map(|day| day.parse::<jiff::civil::Date>().unwrap());
    i64::from((until - from).get_days())
}
