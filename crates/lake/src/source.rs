//! Reads one table's CSV file: UTF-8, RFC 4180, a header row, bounded memory.

use crate::catalogue::{Column, Table};
use crate::crypt::{self, MacKey};
use crate::finding::Findings;
use crate::hole::Hole;
use crate::value::Value;
use aegle_model::Name;
use csv::ByteRecord;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read};
use std::path::Path;

/// The longest record, in bytes. One more and the file is refused.
pub const RECORD_MAX: u64 = 1 << 20;

/// The most bytes that are read for one record: every byte may stand doubled inside quotes.
const READ_MAX: u64 = 2 * RECORD_MAX;

const BUFFER: usize = 1 << 16;

/// The rows of one table.
pub(crate) struct TableReader<'a> {
    table: &'a Table,
    csv: csv::Reader<Bounded>,
    record: ByteRecord,
    /// Where each column of the catalogue stands in the file.
    positions: Vec<Option<usize>>,
    /// How many fields the header has.
    fields: usize,
}

impl<'a> TableReader<'a> {
    /// Opens the file and reads its header. Nothing when there is no use in going on.
    pub(crate) fn open(folder: &Path, table: &'a Table, findings: &mut Findings) -> Option<Self> {
        let file = match open_file(&folder.join(&table.file)) {
            Ok(file) => file,
            Err(error) => {
                findings.add(&table.file, None, Hole::Unreadable(error.to_string()));
                return None;
            }
        };
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(BUFFER)
            .from_reader(Bounded { file, left: 0 });
        let (record, positions) = (ByteRecord::new(), Vec::new());
        let mut reader = Self { table, csv, record, positions, fields: 0 };
        if !reader.advance(findings) {
            reader.record.clear();
        }
        reader.fields = reader.record.len();
        reader.positions = header(table, &reader.record, findings)?;
        Some(reader)
    }

    /// The next row with as many fields as the header; nothing at the end.
    pub(crate) fn next(&mut self, findings: &mut Findings) -> Option<Row<'_>> {
        while self.advance(findings) {
            if self.record.len() == self.fields {
                let (record, positions) = (&self.record, self.positions.as_slice());
                return Some(Row { table: self.table, line: line(record), record, positions });
            }
            let hole = Hole::FieldCount { expected: self.fields };
            findings.add(&self.table.file, line(&self.record), hole);
        }
        None
    }

    fn advance(&mut self, findings: &mut Findings) -> bool {
        self.csv.get_mut().left = READ_MAX;
        let start = self.csv.position().line();
        let too_long = Hole::TooLong { max: RECORD_MAX };
        match self.csv.read_byte_record(&mut self.record) {
            Ok(more) if self.record.as_slice().len() as u64 <= RECORD_MAX => return more,
            Ok(_) => findings.add(&self.table.file, start, too_long),
            Err(_) if self.csv.get_ref().left == 0 => {
                findings.add(&self.table.file, start, too_long);
            }
            Err(error) => {
                findings.add(&self.table.file, start, Hole::Unreadable(error.to_string()));
            }
        }
        false
    }
}

/// A row whose fields are found by the catalogue's columns.
pub(crate) struct Row<'a> {
    table: &'a Table,
    pub(crate) line: u64,
    record: &'a ByteRecord,
    positions: &'a [Option<usize>],
}

impl Row<'_> {
    /// The bytes of a column of the table; empty when the file lacks the column.
    pub(crate) fn field(&self, column: &Name) -> &[u8] {
        let index = self.table.columns.iter().position(|other| other.name == *column);
        index.map_or(&[], |index| self.at(index))
    }

    /// Whether the column at a position of the catalogue is empty.
    pub(crate) fn is_null(&self, index: usize) -> bool {
        self.at(index).is_empty()
    }

    /// The same for rows that are equal in every field, and only by a rare chance for others.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (0..self.table.columns.len()).for_each(|index| self.at(index).hash(&mut hasher));
        hasher.finish()
    }

    /// The typed values in the catalogue's order; nothing when one of them is not of its type.
    pub(crate) fn values(&self, findings: &mut Findings) -> Option<Vec<Value>> {
        let columns = self.table.columns.iter().enumerate();
        let mut values = Vec::with_capacity(self.table.columns.len());
        for (index, column) in columns {
            match parse(column, self.at(index)) {
                Ok(value) => values.push(value),
                Err(hole) => findings.add(&self.table.file, self.line, hole),
            }
        }
        (values.len() == self.table.columns.len()).then_some(values)
    }

    fn at(&self, index: usize) -> &[u8] {
        self.positions[index].and_then(|position| self.record.get(position)).unwrap_or_default()
    }
}

fn parse(column: &Column, field: &[u8]) -> Result<Value, Hole> {
    let name = || column.name.clone();
    let text = std::str::from_utf8(field).map_err(|_| Hole::NotUtf8 { column: name() })?;
    let kind = column.kind;
    kind.parse(text).ok_or_else(|| Hole::NotOfType { column: name(), kind })
}

/// Finds each column in the header.
fn header(
    table: &Table,
    record: &ByteRecord,
    findings: &mut Findings,
) -> Option<Vec<Option<usize>>> {
    if !table.columns.iter().any(|column| !places(record, column).is_empty()) {
        let hole = Hole::NoHeader { table: table.name.clone() };
        findings.add(&table.file, 1, hole);
        return None;
    }
    for (place, field) in record.iter().enumerate() {
        if !table.columns.iter().any(|column| column.name.as_str().as_bytes() == field) {
            findings.add(
                &table.file,
                1,
                Hole::NotInCatalogue { position: place + 1, name: printable(field) },
            );
        }
    }
    for column in &table.columns {
        let column_name = || column.name.clone();
        match places(record, column).len() {
            0 => findings.add(&table.file, 1, Hole::NotInFile { column: column_name() }),
            1 => {}
            _ => findings.add(&table.file, 1, Hole::RepeatedHeader { column: column_name() }),
        }
    }
    Some(table.columns.iter().map(|column| places(record, column).first().copied()).collect())
}

/// Where in the header a column stands.
fn places(record: &ByteRecord, column: &Column) -> Vec<usize> {
    let name = column.name.as_str().as_bytes();
    (0..record.len()).filter(|place| record.get(*place) == Some(name)).collect()
}

/// A header as messages show it; only what could be a name is shown.
fn printable(field: &[u8]) -> String {
    let name = std::str::from_utf8(field).ok().and_then(|text| Name::new(text).ok());
    name.map_or_else(String::new, |name| format!(" `{name}`"))
}

fn line(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

/// The keyed hash of a file and its length in bytes.
pub(crate) fn fingerprint(path: &Path, naming: &MacKey) -> io::Result<([u8; 32], u64)> {
    let (mut file, mut context) = (open_file(path)?, naming.context("aegle lake file v1"));
    let (mut buffer, mut length) = (vec![0; BUFFER], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((crypt::tag(context.sign()), length)),
            read => {
                context.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a file")) }
}

/// Hands out at most `left` bytes, so that no record can fill the memory.
struct Bounded {
    file: File,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("the record is too long"));
        }
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..length])?;
        self.left -= read as u64;
        Ok(read)
    }
}
