//! What must come back, worked out from the source files alone: none of the lake's code is asked.

use aegle_lake::{Kind, Part, PartColumn, PartTable};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Tables with their columns.
pub(super) type Columns = BTreeMap<String, BTreeSet<String>>;

/// A centre's source: catalogue and CSV files.
pub(super) struct Source {
    folder: PathBuf,
    catalogue: toml::Table,
}

/// Rows as the CSV file has them: text by column.
type Rows = Vec<BTreeMap<String, String>>;

impl Source {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(folder.join("catalogue.toml"))?;
        Ok(Self { folder: folder.to_owned(), catalogue: text.parse()? })
    }

    fn tables(&self) -> Result<&toml::Table> {
        self.catalogue["tables"].as_table().context("the catalogue has no tables")
    }

    /// The columns whose tags pass.
    pub(super) fn columns(&self, pass: impl Fn(&BTreeSet<&str>) -> bool) -> Result<Columns> {
        let mut chosen = Columns::new();
        for (table, described) in self.tables()? {
            let columns = described["columns"].as_table().context("a table has no columns")?;
            for (column, described) in columns {
                let Some(tags) = described.get("tags").and_then(toml::Value::as_array) else {
                    continue;
                };
                let named = tags.iter().filter_map(|tag| tag.as_str()?.split('@').next());
                if pass(&named.collect()) {
                    chosen.entry(table.clone()).or_default().insert(column.clone());
                }
            }
        }
        Ok(chosen)
    }

    /// The patient's rows of a table.
    fn rows(&self, table: &str, number: &str) -> Result<Rows> {
        let key = &self.tables()?[table]["patient"];
        let all = self.read(table)?;
        if let Some(column) = key.as_str() {
            return Ok(all.into_iter().filter(|row| row[column] == number).collect());
        }
        let (through, on) = (key["through"].as_str(), key["on"].as_str());
        let (through, on) =
            (through.context("no table to look through")?, on.context("no column")?);
        let known: BTreeSet<_> =
            self.rows(through, number)?.into_iter().map(|mut row| row.remove(on)).collect();
        Ok(all.into_iter().filter(|row| known.contains(&row.get(on).cloned())).collect())
    }

    fn read(&self, table: &str) -> Result<Rows> {
        let file = self.tables()?[table].get("file").and_then(toml::Value::as_str);
        let name = file.map_or_else(|| format!("{table}.csv"), str::to_owned);
        let mut reader = csv::Reader::from_path(self.folder.join(name))?;
        let rows: Result<Rows, _> = reader.deserialize().collect();
        Ok(rows?)
    }

    /// Whether `part` is exactly these columns of the patient's rows, value by value; if not, what
    /// is wrong.
    pub(super) fn compare(
        &self,
        part: &Part,
        number: &str,
        columns: &Columns,
    ) -> Result<Option<String>> {
        let mut shown: BTreeMap<&str, &PartTable> =
            part.tables.iter().map(|table| (table.name.as_str(), table)).collect();
        for (name, columns) in columns {
            let rows = self.rows(name, number)?;
            match (shown.remove(name.as_str()), rows.is_empty()) {
                (None, true) => {}
                (None, false) => return Ok(Some(format!("{name} is missing"))),
                (Some(table), _) => {
                    let described = &self.tables()?[name.as_str()]["columns"];
                    let types = |column: &str| described[column]["type"].as_str();
                    if let Some(wrong) = differs(table, columns, (&rows, types))? {
                        return Ok(Some(format!("{name}: {wrong}")));
                    }
                }
            }
        }
        Ok(shown.keys().next().map(|name| format!("{name} should not be there")))
    }
}

fn differs<'a>(
    table: &PartTable,
    columns: &BTreeSet<String>,
    (rows, types): (&Rows, impl Fn(&str) -> Option<&'a str>),
) -> Result<Option<String>> {
    let names: Vec<&String> = table.columns.iter().map(|column| &column.name).collect();
    let shown: BTreeSet<String> = names.iter().map(|name| (*name).clone()).collect();
    if shown != *columns {
        let odd: Vec<_> = shown.symmetric_difference(columns).cloned().collect();
        return Ok(Some(format!("columns differ: {}", odd.join(", "))));
    }
    if table.rows.len() != rows.len() {
        return Ok(Some(format!("{} rows instead of {}", table.rows.len(), rows.len())));
    }
    let stated = |column: &PartColumn| types(&column.name) == Some(column.kind.name());
    if let Some(odd) = table.columns.iter().find(|column| !stated(column)) {
        return Ok(Some(format!("{} has another type than in the catalogue", odd.name)));
    }
    for (row, expected) in table.rows.iter().zip(rows) {
        for (value, column) in row.iter().zip(&table.columns) {
            if serde_json::to_value(value)? != typed(&expected[&column.name], column.kind)? {
                return Ok(Some(format!("a value of {} differs from the source", column.name)));
            }
        }
    }
    Ok(None)
}

/// What a field of a CSV file stands for: an empty one for null, a number for itself.
fn typed(field: &str, kind: Kind) -> Result<serde_json::Value> {
    Ok(match kind {
        _ if field.is_empty() => serde_json::Value::Null,
        Kind::Integer | Kind::Boolean => serde_json::from_str(field)?,
        _ => field.into(),
    })
}
