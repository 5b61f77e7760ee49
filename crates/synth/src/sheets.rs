//! The open CSV files of one centre, written row by row.

use crate::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use toml::Table;

/// Why hospitals could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The number of patients is out of range.
    #[error("could not make hospitals for {asked} patients; give 1 to {max}")]
    Patients {
        /// How many were asked for.
        asked: usize,
        /// The most that are possible.
        max: usize,
    },
    /// A folder or file could not be written.
    #[error("could not write `{}`; check that the folder is writable and has room", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

struct Column {
    name: String,
    kind: String,
}

struct Sheet {
    path: PathBuf,
    columns: Vec<Column>,
    writer: csv::Writer<BufWriter<File>>,
}

/// One centre's source folder while it is filled.
pub(crate) struct Sheets {
    open: BTreeMap<String, Sheet>,
    seen: BTreeSet<String>,
    field: String,
    rows: u64,
}

impl Sheets {
    /// Writes the catalogue and opens one CSV file with a header for each of its tables.
    pub(crate) fn create(folder: &Path, catalogue: &str) -> Result<Self, SynthError> {
        let tables = tables(catalogue);
        wrote(folder, fs::create_dir_all(folder))?;
        let path = folder.join("catalogue.toml");
        wrote(&path, fs::write(&path, catalogue))?;
        let open = |(name, columns): (String, Table)| {
            let sheet = Sheet::create(folder, &name, &columns)?;
            Ok((name, sheet))
        };
        let open = tables.into_iter().map(open).collect::<Result<_, SynthError>>()?;
        Ok(Self { open, seen: BTreeSet::new(), field: String::new(), rows: 0 })
    }

    /// Writes one row. The cells come with their columns' names, in the catalogue's order.
    ///
    /// # Panics
    /// When names, order or types are not the catalogue's: a mistake in this crate.
    pub(crate) fn row(
        &mut self,
        table: &str,
        cells: &[(&str, Cell<'_>)],
    ) -> Result<(), SynthError> {
        let sheet = self.open.get_mut(table).expect("every table is in the catalogue");
        let Sheet { path, columns, writer } = sheet;
        assert_eq!(cells.len(), columns.len(), "columns of `{table}`");
        for ((name, cell), column) in cells.iter().zip(columns) {
            assert_eq!(*name, column.name, "order of columns in `{table}`");
            let fits = cell.kind().is_none_or(|kind| kind == column.kind);
            assert!(fits, "`{table}.{name}` is {}, not {cell:?}", column.kind);
            self.field.clear();
            cell.write(&mut self.field);
            wrote(path, writer.write_field(&self.field).map_err(std::io::Error::from))?;
        }
        wrote(path, writer.write_record(None::<&[u8]>).map_err(std::io::Error::from))?;
        self.rows += 1;
        Ok(())
    }

    /// Whether `key` is met for the first time: for rows that many patients share.
    pub(crate) fn is_new(&mut self, key: &str) -> bool {
        !self.seen.contains(key) && self.seen.insert(key.to_owned())
    }

    /// Closes every file; the number of rows written.
    pub(crate) fn finish(mut self) -> Result<u64, SynthError> {
        for sheet in self.open.values_mut() {
            wrote(&sheet.path, sheet.writer.flush())?;
        }
        Ok(self.rows)
    }
}

impl Sheet {
    fn create(folder: &Path, name: &str, columns: &Table) -> Result<Self, SynthError> {
        let path = folder.join(format!("{name}.csv"));
        let file = wrote(&path, File::create(&path))?;
        let writer = csv::Writer::from_writer(BufWriter::new(file));
        let columns = columns.iter().map(|(name, column)| Column {
            name: name.clone(),
            kind: column["type"].as_str().expect("types are text").to_owned(),
        });
        let mut sheet = Self { path, columns: columns.collect(), writer };
        let header = sheet.columns.iter().map(|column| &column.name);
        wrote(&sheet.path, sheet.writer.write_record(header).map_err(std::io::Error::from))?;
        Ok(sheet)
    }
}

/// Name and columns of every table of a catalogue of this crate.
fn tables(catalogue: &str) -> Vec<(String, Table)> {
    let catalogue: Table = catalogue.parse().expect("the catalogues of this crate are tested");
    let tables = catalogue["tables"].as_table().expect("a catalogue has tables");
    let columns =
        |table: &toml::Value| table["columns"].as_table().expect("a table has columns").clone();
    tables.iter().map(|(name, table)| (name.clone(), columns(table))).collect()
}

fn wrote<T>(path: &Path, result: std::io::Result<T>) -> Result<T, SynthError> {
    result.map_err(|source| SynthError::Write { path: path.to_owned(), source })
}
