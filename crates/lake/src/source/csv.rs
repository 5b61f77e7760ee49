//! A table as a CSV file: UTF-8, RFC 4180, a header row, bounded memory.

use super::{Content, Record, Rows, Selection, Settings, Source, Type, Unreadable, files};
use crate::catalogue::{Column, Table};
use crate::crypt::MacKey;
use crate::finding::Findings;
use crate::hole::Hole;
use aegle_model::Name;
use csv::ByteRecord;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest record, in bytes. One more and the file is refused.
pub const RECORD_MAX: u64 = 1 << 20;

/// The most bytes that are read for one record: every byte may stand doubled inside quotes.
const READ_MAX: u64 = 2 * RECORD_MAX;

const BUFFER: usize = 1 << 16;

pub(super) static TYPE: Type = Type {
    name: "csv",
    settings: &[],
    select: Selection { shape: None, needed: false, filter: false, watermark: false },
    path: None,
    open,
};

/// The CSV files of a folder.
struct Folder(PathBuf);

fn open(folder: &Path, _: &Settings) -> Box<dyn Source> {
    Box::new(Folder(folder.to_owned()))
}

impl Source for Folder {
    fn content(&mut self, table: &Table, naming: &MacKey) -> Result<Content, Unreadable> {
        files::fingerprint(&self.0.join(&table.file), naming)
            .map_err(|source| Unreadable { file: table.file.clone(), source })
    }

    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>> {
        let file = match files::open(&self.0.join(&table.file)) {
            Ok(file) => file,
            Err(error) => {
                findings.add(&table.file, None, Hole::Unreadable(error.to_string()));
                return None;
            }
        };
        let reader = Reader::open(table, file, findings)?;
        Some(Box::new(reader))
    }
}

/// The rows of one file.
struct Reader<'a> {
    table: &'a Table,
    file: Arc<str>,
    csv: csv::Reader<Bounded>,
    record: ByteRecord,
    /// Where each column of the catalogue stands in the file.
    positions: Vec<Option<usize>>,
    /// How many fields the header has.
    fields: usize,
}

impl<'a> Reader<'a> {
    /// Reads the header. Nothing when there is no use in going on.
    fn open(table: &'a Table, file: File, findings: &mut Findings) -> Option<Self> {
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(BUFFER)
            .from_reader(Bounded { file, left: 0 });
        let (record, positions) = (ByteRecord::new(), Vec::new());
        let file = Arc::from(table.file.as_str());
        let mut reader = Self { table, file, csv, record, positions, fields: 0 };
        if !reader.advance(findings) {
            reader.record.clear();
        }
        reader.fields = reader.record.len();
        reader.positions = header(table, &reader.record, findings)?;
        Some(reader)
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

impl Rows for Reader<'_> {
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool {
        while self.advance(findings) {
            if self.record.len() == self.fields {
                record.begin(&self.file, line(&self.record));
                for position in &self.positions {
                    let field = position.and_then(|position| self.record.get(position));
                    record.text(field.unwrap_or_default());
                }
                return true;
            }
            let hole = Hole::FieldCount { expected: self.fields };
            findings.add(&self.table.file, line(&self.record), hole);
        }
        false
    }
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
