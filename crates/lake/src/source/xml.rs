//! Tables as elements of XML files.
//!
//! ```toml
//! [sources.exports]
//! type = "xml"
//! path = "exports"                  # a file, or a folder with *.xml
//! zone = "Europe/Amsterdam"         # of times that are noted without one
//!
//! [tables.visit]
//! from = "exports"
//! select = "export/patient/visit"   # a row for each such element
//! patient = "patnr"
//!
//! [tables.visit.columns]
//! patnr  = { type = "text", path = "/export/patient/@number", key = true }
//! ward   = { type = "text", path = "@ward", tags = ["visits"] }
//! reason = { type = "text", path = "reason/text", tags = ["visits"] }
//! ```
//!
//! A path leads from the row's element to elements or an attribute inside; `.` is the element's own
//! text. One that begins with `/` leads from the root to what stands before the row, in an element
//! that is still open. Names are without prefixes. Several values are one text with `; ` between
//! them, and a hole for any other type. Absent on purpose: schemas, namespaces, external and own
//! entities, encodings other than UTF-8.

use super::files::{self, Files, Found};
use super::{Content, Record, Rows, Selection, Setting, Shape, Source, Type, Unreadable};
use super::{ZONE, ZONE_SETTING, local};
use crate::catalogue::Table;
use crate::crypt::MacKey;
use crate::finding::Findings;
use crate::hole::Hole;
use crate::kind::Kind;
use jiff::tz::TimeZone;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion, escape};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

/// The most bytes that the values of one row, or one tag, may have.
const ROW_MAX: usize = 16 << 20;

/// How deep elements may lie in each other.
const DEPTH_MAX: usize = 256;

/// How many bytes the names of the open elements may have.
const PATH_MAX: usize = 64 << 10;

const WHAT: &str = "XML in UTF-8";

const SETTINGS: &[Setting] = &[files::PATH, ZONE_SETTING];

pub(super) static TYPE: Type = Type {
    name: "xml",
    settings: SETTINGS,
    select: Selection {
        shape: Some(Shape {
            text: "the names of elements from the root on, with `/` between them",
            fits: |text| !text.is_empty() && text.split('/').all(is_name),
        }),
        needed: true,
        filter: true,
        watermark: false,
    },
    path: Some(Shape {
        text: "names of elements with `/` between them, the last one with `@` if it is an attribute, or `.`",
        fits: is_path,
    }),
    open: |folder, settings| {
        let files = Files::new(folder, settings, &[".xml"]);
        Box::new(Xml { files, zone: local::zone(settings.get(ZONE.name)) })
    },
};

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '@', '.', ':', ' '])
}

fn is_path(text: &str) -> bool {
    let text = text.strip_prefix('/').unwrap_or(text);
    let (before, last) = text.rsplit_once('/').map_or((None, text), |(a, b)| (Some(a), b));
    let is_last = text == "." || is_name(last.strip_prefix('@').unwrap_or(last));
    is_last && before.is_none_or(|before| before.split('/').all(is_name))
}

struct Xml {
    files: Files,
    zone: Option<TimeZone>,
}

impl Source for Xml {
    fn content(&mut self, _: &Table, naming: &MacKey) -> Result<Content, Unreadable> {
        self.files.content(naming)
    }

    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>> {
        let files = self.files.listed(findings)?.into_iter();
        let select = Select::new(table, self.zone.as_ref());
        Some(Box::new(Elements { select, files, open: None }))
    }
}

/// What a table takes from a file.
struct Select<'a> {
    table: &'a Table,
    /// The path of a row's element.
    row: String,
    /// The columns, then what rows are narrowed by.
    wanted: Vec<Wanted>,
    filter: Vec<&'a str>,
    zone: Option<&'a TimeZone>,
}

/// A path from the root.
struct Wanted {
    path: String,
    /// The innermost element that it has in common with the row; it is forgotten when this ends.
    /// Nothing for what stands inside of the row's element.
    home: Option<String>,
}

/// The path of the innermost element that lies on both paths.
fn common(one: &str, other: &str) -> String {
    let pairs = one.split('/').zip(other.split('/'));
    let shared: Vec<_> = pairs.take_while(|(a, b)| a == b).map(|(name, _)| name).collect();
    shared.join("/")
}

impl<'a> Select<'a> {
    fn new(table: &'a Table, zone: Option<&'a TimeZone>) -> Self {
        let row = format!("/{}", table.origin.select);
        let wanted = |path: &String| Wanted {
            path: match path.as_str() {
                "." => row.clone(),
                path if path.starts_with('/') => path.to_owned(),
                path => format!("{row}/{path}"),
            },
            home: path.starts_with('/').then(|| common(path, &row)),
        };
        let paths = table.origin.paths.iter().chain(table.origin.filter.keys());
        let wanted = paths.map(wanted).collect();
        let filter = table.origin.filter.values().map(String::as_str).collect();
        Self { table, row, wanted, filter, zone }
    }
}

/// The rows of all files, one after the other.
struct Elements<'a> {
    select: Select<'a>,
    files: std::vec::IntoIter<Found>,
    open: Option<Open>,
}

impl Rows for Elements<'_> {
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool {
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.next() else { return false };
                self.open = Open::new(&file, self.select.wanted.len(), findings);
                continue;
            };
            match open.row(&self.select) {
                Ok(None) => self.open = None,
                Ok(Some(line)) => {
                    if fill(&self.select, (open, line), record, findings) {
                        return true;
                    }
                }
                Err(hole) => {
                    findings.add(&open.name, open.reader.get_ref().line, hole);
                    self.open = None;
                }
            }
        }
    }
}

/// Puts a row into `record` unless it is narrowed out.
fn fill(
    select: &Select<'_>,
    (open, line): (&Open, u64),
    record: &mut Record,
    findings: &mut Findings,
) -> bool {
    let (columns, filters) = open.found.split_at(select.table.columns.len());
    let holds = |(found, value): (&Vec<String>, &&str)| found.iter().any(|found| found == value);
    if !filters.iter().zip(&select.filter).all(holds) {
        return false;
    }
    record.begin(&open.name, line);
    for (column, found) in select.table.columns.iter().zip(columns) {
        let name = || column.name.clone();
        let text = if found.len() > 1 && (column.key || column.kind != Kind::Text) {
            findings.add(&open.name, line, Hole::ManyValues { column: name() });
            String::new()
        } else {
            found.join("; ")
        };
        let text = local::plain(column.kind, text, select.zone);
        if text.is_err() {
            findings.add(&open.name, line, Hole::NoZone { column: name() });
        }
        record.text(text.unwrap_or_default().as_bytes());
    }
    true
}

/// The file that is being read.
struct Open {
    name: Arc<str>,
    reader: Reader<Counted>,
    buffer: Vec<u8>,
    /// The path of the innermost element that is open, and how long it is without each of them.
    path: String,
    depths: Vec<usize>,
    /// The text of each open element, if it is wanted.
    texts: Vec<Option<String>>,
    /// What was found for each wanted path.
    found: Vec<Vec<String>>,
    bytes: usize,
    /// Where the row's element begins.
    line: u64,
}

impl Open {
    fn new(file: &Found, wanted: usize, findings: &mut Findings) -> Option<Self> {
        let name = Arc::clone(&file.name);
        let opened = match files::open(&file.path) {
            Ok(opened) => opened,
            Err(error) => {
                findings.add(&name, None, Hole::Unreadable(error.to_string()));
                return None;
            }
        };
        let inner = BufReader::with_capacity(1 << 16, opened);
        let mut reader = Reader::from_reader(Counted { inner, line: 1, left: 0 });
        reader.config_mut().expand_empty_elements = true;
        Some(Self {
            name,
            reader,
            buffer: Vec::new(),
            path: String::new(),
            depths: Vec::new(),
            texts: Vec::new(),
            found: vec![Vec::new(); wanted],
            bytes: 0,
            line: 1,
        })
    }

    /// Reads up to the end of the next row's element and yields its line.
    fn row(&mut self, select: &Select<'_>) -> Result<Option<u64>, Hole> {
        let malformed = || Hole::Malformed { what: WHAT };
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            buffer.clear();
            self.reader.get_mut().left = ROW_MAX;
            let event = self.reader.read_event_into(&mut buffer);
            if self.reader.get_ref().left == 0 || self.bytes > ROW_MAX {
                return Err(Hole::TooLong { max: ROW_MAX as u64 });
            }
            match event.map_err(|_| malformed())? {
                Event::Start(start) => self.start(select, &start)?,
                Event::End(_) => {
                    let is_row = self.path == select.row;
                    self.end(select)?;
                    if is_row {
                        self.buffer = buffer;
                        self.bytes = 0;
                        return Ok(Some(self.line));
                    }
                }
                Event::Text(text) => self.text(&text.xml10_content()),
                Event::CData(text) => self.text(&text.xml10_content()),
                Event::GeneralRef(entity) => {
                    let text = resolved(&entity).ok_or_else(malformed)?;
                    self.text(&text);
                }
                Event::Eof if self.depths.is_empty() => return Ok(None),
                Event::Eof => return Err(malformed()),
                _ => {}
            }
        }
    }

    fn start(&mut self, select: &Select<'_>, start: &BytesStart<'_>) -> Result<(), Hole> {
        // The reader keeps names with their prefixes, which are not in the path.
        let names = self.path.len() + start.name().into_inner().len();
        if self.depths.len() >= DEPTH_MAX || names > PATH_MAX {
            return Err(Hole::Malformed { what: WHAT });
        }
        self.depths.push(self.path.len());
        self.path.push('/');
        self.path.push_str(start.local_name().into_inner());
        if self.path == select.row {
            self.line = self.reader.get_ref().line;
            self.forget(select, |wanted| wanted.home.is_none());
        }
        let wanted = select.wanted.iter().any(|wanted| wanted.path == self.path);
        self.texts.push(wanted.then(String::new));
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| Hole::Malformed { what: WHAT })?;
            let name = attribute.key.local_name();
            let path = format!("{}/@{}", self.path, name.into_inner());
            if select.wanted.iter().any(|wanted| wanted.path == path) {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                let value = value.map_err(|_| Hole::Malformed { what: WHAT })?;
                self.take(select, &path, &value);
            }
        }
        Ok(())
    }

    fn end(&mut self, select: &Select<'_>) -> Result<(), Hole> {
        let (text, length) = (self.texts.pop(), self.depths.pop());
        let (Some(text), Some(length)) = (text, length) else {
            return Err(Hole::Malformed { what: WHAT });
        };
        let path = self.path.clone();
        if let Some(text) = text {
            self.take(select, &path, text.trim());
        }
        // What stood in this element is not in the next one.
        self.forget(select, |wanted| wanted.home.as_ref() == Some(&path));
        self.path.truncate(length);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(Some(open)) = self.texts.last_mut() {
            self.bytes += text.len();
            open.push_str(text);
        }
    }

    fn take(&mut self, select: &Select<'_>, path: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        for (wanted, found) in select.wanted.iter().zip(&mut self.found) {
            if wanted.path == path {
                self.bytes += value.len();
                found.push(value.to_owned());
            }
        }
    }

    fn forget(&mut self, select: &Select<'_>, which: impl Fn(&Wanted) -> bool) {
        for (wanted, found) in select.wanted.iter().zip(&mut self.found) {
            if which(wanted) {
                found.clear();
            }
        }
    }
}

/// The text of a character reference, or of one of the five entities that XML knows.
fn resolved(entity: &BytesRef<'_>) -> Option<String> {
    if let Some(sign) = entity.resolve_char_ref().ok()? {
        return Some(sign.to_string());
    }
    escape::resolve_xml_entity(&entity.xml10_content()).map(str::to_owned)
}

/// Counts lines, and hands out at most `left` bytes, so that no tag can fill the memory.
struct Counted {
    inner: BufReader<File>,
    line: u64,
    left: usize,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other("the tag is too long"));
        }
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(self.left)])
    }

    fn consume(&mut self, amount: usize) {
        let used = self.inner.buffer().get(..amount).unwrap_or_default();
        self.line += files::lines(used);
        self.left -= amount.min(self.left);
        self.inner.consume(amount);
    }
}

#[cfg(test)]
mod tests;
