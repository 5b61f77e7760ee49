//! Where rows come from: one trait, and one file for each type of source behind it.
//!
//! A [`Source`] says what a table's content is now and reads its rows; whatever a row came from,
//! it arrives here as a [`Record`], text or bytes for each column of the catalogue, and only for
//! these. Types, patients, keys and frames are the same for every source from there on.
//!
//! Invariants: nothing that the catalogue does not name is selected; what is foreign never
//! panics, is bounded in memory, and is named by file and line when it is not understood, never by
//! value; the same content makes the same rows in the same order.
//!
//! A new type is a file with a [`Type`] in it, and a line in [`TYPES`].

mod csv;
mod dicom;
mod documents;
mod fhir;
mod files;
mod hl7;
mod local;
mod mysql;
mod postgres;
mod sql;
mod template;
mod xml;

use crate::catalogue::{Catalogue, Column, Table};
use crate::crypt::MacKey;
use crate::finding::Findings;
use crate::hole::Hole;
use crate::kind::Kind;
use crate::value::{self, Value};
use aegle_model::Name;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use csv::RECORD_MAX;
pub(crate) use files::{fingerprint as file_content, read as read_file};

/// Every type of source.
pub(crate) static TYPES: [&Type; 8] = [
    &csv::TYPE,
    &fhir::TYPE,
    &hl7::TYPE,
    &xml::TYPE,
    &documents::TYPE,
    &dicom::TYPE,
    &postgres::TYPE,
    &mysql::TYPE,
];

/// The type of a table that names no source.
pub(crate) static CSV: &Type = &csv::TYPE;

/// A type of source: what a catalogue may say about it, and how it is opened.
pub(crate) struct Type {
    /// The name that catalogues use.
    pub(crate) name: &'static str,
    /// What `[sources.…]` may hold besides `type`.
    pub(crate) settings: &'static [Setting],
    /// What a table may say.
    pub(crate) select: Selection,
    /// What `path` of a column may be; nothing when columns have no path.
    pub(crate) path: Option<Shape>,
    /// Opens a source; what is far away is reached when it is first needed.
    pub(crate) open: fn(&Path, &Settings) -> Box<dyn Source>,
}

/// How a table says which records of its source are its rows.
pub(crate) struct Selection {
    /// What `select` may be; nothing when a table selects nothing.
    pub(crate) shape: Option<Shape>,
    /// Whether a table must have it; its name stands for it otherwise.
    pub(crate) needed: bool,
    /// Whether `where` may narrow it.
    pub(crate) filter: bool,
    /// Whether a `watermark` column may tell of changes.
    pub(crate) watermark: bool,
}

/// What a text of the catalogue must look like.
pub(crate) struct Shape {
    /// For messages, after "must be".
    pub(crate) text: &'static str,
    pub(crate) fits: fn(&str) -> bool,
}

/// The setting that says in which zone times without one are.
pub(crate) static ZONE: Setting = ZONE_SETTING;

const ZONE_SETTING: Setting = Setting {
    name: "zone",
    needed: false,
    shape: Shape {
        text: "a time zone of the IANA database, such as `Europe/Amsterdam`",
        fits: |zone| jiff::tz::TimeZone::get(zone).is_ok(),
    },
};

/// One setting of a source.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) needed: bool,
    pub(crate) shape: Shape,
}

/// What `[sources.…]` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The source's name.
    pub(crate) name: String,
    pub(crate) values: BTreeMap<String, String>,
}

impl Settings {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

/// One source, open.
pub(crate) trait Source {
    /// Names the table's content as it is now.
    fn content(&mut self, table: &Table, naming: &MacKey) -> Result<Content, Unreadable>;

    /// Reads the table from its first row. Nothing when there is no use in going on.
    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>>;
}

/// The rows of one table, in an order that depends on the content alone.
pub(crate) trait Rows {
    /// Puts the next row into `record`; false at the end. What is no row is named and skipped.
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool;
}

/// A table's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// A keyed hash of everything that the rows depend on.
    pub(crate) hash: [u8; 32],
    /// How large it is at its source.
    pub(crate) bytes: u64,
}

/// A table whose source cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What was to be read.
    pub(crate) file: String,
    pub(crate) source: io::Error,
}

/// One row as its source has it: a field for each column of the table, in the table's order.
#[derive(Debug)]
pub(crate) struct Record {
    /// Where it stands, for messages.
    pub(crate) file: Arc<str>,
    /// Counted from 1.
    pub(crate) line: Option<u64>,
    bytes: Vec<u8>,
    fields: Vec<(usize, Form)>,
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As in a CSV file; bytes in base64.
    Text,
    /// As they are.
    Bytes,
    /// In the file at this path, which is read when a patient owns it.
    File,
}

impl Record {
    fn new() -> Self {
        Self { file: Arc::from(""), line: None, bytes: Vec::new(), fields: Vec::new() }
    }

    /// Begins a new row.
    pub(crate) fn begin(&mut self, file: &Arc<str>, line: impl Into<Option<u64>>) {
        if !Arc::ptr_eq(&self.file, file) {
            self.file = Arc::clone(file);
        }
        self.line = line.into();
        self.bytes.clear();
        self.fields.clear();
    }

    /// Adds a field; an empty one is null.
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.field(text, Form::Text);
    }

    /// Adds bytes as they are, for a column of bytes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.field(bytes, if bytes.is_empty() { Form::Text } else { Form::Bytes });
    }

    /// Adds the content of a file, for a column of bytes; it is read when somebody owns the row.
    pub(crate) fn file(&mut self, path: &Path) {
        self.field(path.to_str().unwrap_or_default().as_bytes(), Form::File);
    }

    fn field(&mut self, bytes: &[u8], form: Form) {
        self.bytes.extend_from_slice(bytes);
        self.fields.push((self.bytes.len(), form));
    }

    /// The bytes of all fields.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    fn at(&self, index: usize) -> (&[u8], Form) {
        let Some((end, form)) = self.fields.get(index) else { return (&[], Form::Text) };
        let start = index.checked_sub(1).map_or(0, |before| self.fields[before].0);
        (&self.bytes[start..*end], *form)
    }
}

/// The sources of one catalogue. What is read through one value belongs together: a database is
/// read in one snapshot.
pub(crate) struct Sources {
    csv: Box<dyn Source>,
    named: BTreeMap<Name, Box<dyn Source>>,
}

impl Sources {
    pub(crate) fn open(folder: &Path, catalogue: &Catalogue) -> Self {
        let named = catalogue.sources().iter().map(|declared| {
            let source = (declared.kind.open)(folder, &declared.settings);
            (declared.name.clone(), source)
        });
        let csv = (CSV.open)(folder, &Settings::default());
        Self { csv, named: named.collect() }
    }

    /// Names the table's content as it is now.
    pub(crate) fn content(
        &mut self,
        table: &Table,
        naming: &MacKey,
    ) -> Result<Content, Unreadable> {
        self.of(table).content(table, naming)
    }

    fn of(&mut self, table: &Table) -> &mut Box<dyn Source> {
        let named = table.origin.source.as_ref().and_then(|name| self.named.get_mut(name));
        named.unwrap_or(&mut self.csv)
    }
}

/// The rows of one table.
pub(crate) struct TableReader<'a> {
    table: &'a Table,
    rows: Box<dyn Rows + 'a>,
    record: Record,
}

impl<'a> TableReader<'a> {
    /// Begins to read a table. Nothing when there is no use in going on.
    pub(crate) fn open(
        sources: &'a mut Sources,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Self> {
        let rows = sources.of(table).rows(table, findings)?;
        Some(Self { table, rows, record: Record::new() })
    }

    /// The next row; nothing at the end.
    pub(crate) fn next(&mut self, findings: &mut Findings) -> Option<Row<'_>> {
        let more = self.rows.next(&mut self.record, findings);
        more.then_some(Row { table: self.table, record: &self.record })
    }
}

/// A row whose fields are found by the catalogue's columns.
pub(crate) struct Row<'a> {
    table: &'a Table,
    record: &'a Record,
}

/// A typed value, or where it will be read from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    Value(Value),
    /// The whole content of this file.
    File(PathBuf),
}

impl Typed {
    /// Appends the stored bytes; those of a file are only for the ingest that reads it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value(value) => value.encode(out),
            Self::File(path) => value::encode_file(path, out),
        }
    }
}

impl Row<'_> {
    /// The bytes of a column of the table; empty when the record lacks it.
    pub(crate) fn field(&self, column: &Name) -> &[u8] {
        let index = self.table.columns.iter().position(|other| other.name == *column);
        index.map_or(&[], |index| self.record.at(index).0)
    }

    /// Whether the column at a position of the catalogue is empty.
    pub(crate) fn is_null(&self, index: usize) -> bool {
        self.record.at(index).0.is_empty()
    }

    /// The same for rows that are equal in every field, and only by a rare chance for others.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (0..self.table.columns.len()).for_each(|index| self.record.at(index).0.hash(&mut hasher));
        hasher.finish()
    }

    /// The typed values in the catalogue's order; nothing when one of them is not of its type.
    pub(crate) fn values(&self, findings: &mut Findings) -> Option<Vec<Typed>> {
        let columns = self.table.columns.iter().enumerate();
        let mut values = Vec::with_capacity(self.table.columns.len());
        for (index, column) in columns {
            match parse(column, self.record.at(index)) {
                Ok(value) => values.push(value),
                Err(hole) => self.hole(findings, hole),
            }
        }
        (values.len() == self.table.columns.len()).then_some(values)
    }

    /// Notes what is wrong with this row.
    pub(crate) fn hole(&self, findings: &mut Findings, hole: Hole) {
        findings.add(&self.record.file, self.record.line, hole);
    }

    /// The bytes of all fields.
    pub(crate) fn size(&self) -> u64 {
        self.record.size() as u64
    }
}

fn parse(column: &Column, (field, form): (&[u8], Form)) -> Result<Typed, Hole> {
    let (name, kind) = (|| column.name.clone(), column.kind);
    if form == Form::Bytes && kind == Kind::Bytes {
        return Ok(Typed::Value(Value::Bytes(field.to_vec())));
    }
    let text = std::str::from_utf8(field).map_err(|_| Hole::NotUtf8 { column: name() })?;
    if form == Form::File && kind == Kind::Bytes {
        return Ok(Typed::File(PathBuf::from(text)));
    }
    let value = kind.parse(text).ok_or_else(|| Hole::NotOfType { column: name(), kind })?;
    Ok(Typed::Value(value))
}
