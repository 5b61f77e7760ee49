//! Tables as HL7 v2 messages in files.
//!
//! ```toml
//! [sources.messages]
//! type = "hl7"
//! path = "messages"               # a file, or a folder with *.hl7
//! zone = "Europe/Amsterdam"       # of times that are noted without an offset
//!
//! [tables.result]
//! from = "messages"
//! select = "ORU^R01/OBX"          # a row for each OBX of each such message; `ADT` for one a message
//! patient = "patnr"
//!
//! [tables.result.columns]
//! patnr = { type = "text", path = "PID-3[5=PI].1", key = true }
//! code  = { type = "text", path = "OBX-3.1", tags = ["laboratory"] }
//! at    = { type = "time", path = "OBR-7", tags = ["laboratory"] }
//! ```
//!
//! A path is `segment-field.component.subcomponent`, counted from 1, the first where none is given;
//! `[2]` after the field picks one repetition, `[5=PI]` those with that component. A segment is the
//! row's own, else the nearest one of its name before it, else the first of the message. Dates and
//! times are taken from their digits. Messages are UTF-8, or ISO 8859-1 where MSH-18 says so.
//! Absent on purpose: MLLP connections, acknowledgements.

use super::files::{self, Files, Found};
use super::{Content, Record, Rows, Selection, Shape, Source, Type, Unreadable, ZONE, local};
use super::{Setting, ZONE_SETTING};
use crate::catalogue::Table;
use crate::crypt::MacKey;
use crate::finding::Findings;
use crate::hole::Hole;
use crate::kind::Kind;
use hl7_parser::Message;
use hl7_parser::message::{Repeat, Segment, Separators};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

/// The longest message, in bytes.
const MESSAGE_MAX: usize = 16 << 20;

/// How many fields, components and segments one message may have.
const PARTS_MAX: usize = 200_000;

const WHAT: &str = "HL7 v2 message in UTF-8 or ISO 8859-1";

const SETTINGS: &[Setting] = &[files::PATH, ZONE_SETTING];

pub(super) static TYPE: Type = Type {
    name: "hl7",
    settings: SETTINGS,
    select: Selection {
        shape: Some(Shape {
            text: "a type of message with its trigger and the segment that makes a row, such as `ADT`, `ADT^A01` or `ORU^R01/OBX`",
            fits: |text| Wanted::new(text).is_some(),
        }),
        needed: true,
        filter: true,
        watermark: false,
    },
    path: Some(Shape {
        text: "a segment and a field, such as `PID-3`, `PID-3.1` or `PID-3[5=PI].1`",
        fits: |text| Path::new(text).is_some(),
    }),
    open: |folder, settings| {
        let files = Files::new(folder, settings, &[".hl7"]);
        Box::new(Hl7 { files, zone: local::zone(settings.get(ZONE.name)) })
    },
};

struct Hl7 {
    files: Files,
    zone: Option<TimeZone>,
}

impl Source for Hl7 {
    fn content(&mut self, _: &Table, naming: &MacKey) -> Result<Content, Unreadable> {
        self.files.content(naming)
    }

    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>> {
        let files = self.files.listed(findings)?.into_iter();
        let path = |text: &String| Path::new(text).unwrap_or_default();
        let filter = table.origin.filter.iter();
        let select = Select {
            table,
            wanted: Wanted::new(&table.origin.select).unwrap_or_default(),
            columns: table.origin.paths.iter().map(path).collect(),
            filter: filter.map(|(text, value)| (path(text), value.as_str())).collect(),
            zone: self.zone.as_ref(),
        };
        Some(Box::new(Messages { select, files, open: None, rows: VecDeque::new() }))
    }
}

/// Which messages, and which of their segments make rows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    kind: String,
    trigger: Option<String>,
    each: Option<String>,
}

impl Wanted {
    fn new(text: &str) -> Option<Self> {
        let (message, each) = match text.split_once('/') {
            Some((message, each)) => (message, Some(each)),
            None => (text, None),
        };
        let (kind, trigger) = match message.split_once('^') {
            Some((kind, trigger)) => (kind, Some(trigger)),
            None => (message, None),
        };
        let all = || [Some(kind), trigger, each].into_iter().flatten();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let wanted = Self { kind: kind.to_owned(), trigger: owned(trigger), each: owned(each) };
        all().all(is_code).then_some(wanted)
    }
}

/// The name of a segment, a message or a trigger.
fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Where a value stands in a message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Path {
    segment: String,
    field: usize,
    pick: Pick,
    component: usize,
    subcomponent: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Pick {
    #[default]
    All,
    At(usize),
    With(usize, String),
}

impl Path {
    fn new(text: &str) -> Option<Self> {
        let (segment, rest) = text.split_once('-')?;
        let (field, pick, rest) = if let Some((field, rest)) = rest.split_once('[') {
            let (inner, rest) = rest.split_once(']')?;
            let pick = match inner.split_once('=') {
                Some((component, value)) => Pick::With(number(component)?, value.to_owned()),
                None => Pick::At(number(inner)?),
            };
            (field, pick, rest)
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (&rest[..end], Pick::All, &rest[end..])
        };
        let mut parts = rest.split('.');
        if !parts.next()?.is_empty() {
            return None;
        }
        let component = parts.next().map_or(Some(1), number)?;
        let subcomponent = parts.next().map_or(Some(1), number)?;
        let segment = segment.to_owned();
        let path = Self { segment, field: number(field)?, pick, component, subcomponent };
        (is_code(&path.segment) && parts.next().is_none()).then_some(path)
    }

    /// Every value at this path of a segment.
    fn values(&self, segment: &Segment<'_>, separators: &Separators) -> Vec<String> {
        let Some(field) = segment.fields.get(self.field - 1) else { return Vec::new() };
        if segment.name == "MSH" && self.field <= 2 {
            return vec![field.raw_value().to_owned()];
        }
        let picked = field.repeats.iter().zip(1..).filter(|(repeat, place)| match &self.pick {
            Pick::All => true,
            Pick::At(at) => at == place,
            Pick::With(component, value) => at(repeat, *component, 1, separators) == *value,
        });
        let value = |(repeat, _): (&Repeat<'_>, usize)| {
            at(repeat, self.component, self.subcomponent, separators)
        };
        picked.map(value).filter(|value| !value.is_empty()).collect()
    }
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| (1..=999).contains(number))
}

/// The value of one subcomponent; `""`, which deletes a value, is none.
fn at(repeat: &Repeat<'_>, component: usize, sub: usize, separators: &Separators) -> String {
    let component = repeat.components.get(component - 1);
    let found = component.and_then(|component| component.subcomponents.get(sub - 1));
    match found.map_or("", |found| found.value) {
        "\"\"" => String::new(),
        raw => unescaped(raw, separators),
    }
}

/// A value without its escapes. What is no known escape stands for nothing, as the standard says.
fn unescaped(raw: &str, separators: &Separators) -> String {
    if !raw.contains(separators.escape) {
        return raw.to_owned();
    }
    let mut parts = raw.split(separators.escape);
    let mut out = parts.next().unwrap_or_default().to_owned();
    while let Some(escape) = parts.next() {
        let Some(after) = parts.next() else {
            // The last escape is never closed: it is text.
            out.push(separators.escape);
            out.push_str(escape);
            break;
        };
        match escape {
            "F" => out.push(separators.field),
            "S" => out.push(separators.component),
            "T" => out.push(separators.subcomponent),
            "R" => out.push(separators.repetition),
            "E" => out.push(separators.escape),
            ".br" => out.push('\n'),
            hex => out.push_str(&hexadecimal(hex).unwrap_or_default()),
        }
        out.push_str(after);
    }
    out
}

fn hexadecimal(escape: &str) -> Option<String> {
    String::from_utf8(hex::decode(escape.strip_prefix('X')?).ok()?).ok()
}

/// What a table takes from a message.
struct Select<'a> {
    table: &'a Table,
    wanted: Wanted,
    columns: Vec<Path>,
    filter: Vec<(Path, &'a str)>,
    zone: Option<&'a TimeZone>,
}

/// A row that was read, with its line.
type Row = (u64, Vec<String>);

/// The rows of all files, one after the other.
struct Messages<'a> {
    select: Select<'a>,
    files: std::vec::IntoIter<Found>,
    open: Option<Open>,
    rows: VecDeque<Row>,
}

impl Rows for Messages<'_> {
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool {
        loop {
            if let (Some((line, fields)), Some(open)) = (self.rows.pop_front(), &self.open) {
                record.begin(&open.name, line);
                for field in fields {
                    record.text(field.as_bytes());
                }
                return true;
            }
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.next() else { return false };
                self.open = Open::new(&file, findings);
                continue;
            };
            match open.message() {
                Ok(None) => self.open = None,
                Ok(Some((line, text))) => {
                    let name = Arc::clone(&open.name);
                    self.rows = self.select.rows((&name, line, &text), findings).into();
                }
                Err(hole) => {
                    findings.add(&open.name, open.line, hole);
                    self.open = None;
                }
            }
        }
    }
}

/// The file that is being read.
struct Open {
    name: Arc<str>,
    reader: BufReader<File>,
    /// Lines that were read.
    line: u64,
    /// The first line of the next message.
    ahead: Option<Vec<u8>>,
    /// Whether the last line ended in a carriage return.
    after_return: bool,
}

impl Open {
    fn new(file: &Found, findings: &mut Findings) -> Option<Self> {
        let name = Arc::clone(&file.name);
        match files::open(&file.path) {
            Ok(opened) => {
                let reader = BufReader::with_capacity(1 << 16, opened);
                Some(Self { name, reader, line: 0, ahead: None, after_return: false })
            }
            Err(error) => {
                findings.add(&name, None, Hole::Unreadable(error.to_string()));
                None
            }
        }
    }

    /// The next message, its segments ended by carriage returns, and its first line.
    fn message(&mut self) -> Result<Option<(u64, Vec<u8>)>, Hole> {
        let mut message = self.ahead.take();
        let mut start = self.line;
        loop {
            let mut line = Vec::new();
            let more = self.read_line(&mut line)?;
            let line = line.trim_ascii_start().strip_prefix(b"\x0b").unwrap_or(&line);
            let line = line.strip_prefix(b"\x1c").unwrap_or(line);
            let name = line.get(..3).unwrap_or_default();
            let is_frame = [b"FHS", b"BHS", b"BTS", b"FTS"].iter().any(|frame| name == *frame);
            if name == b"MSH" && message.is_some() {
                self.ahead = Some(line.to_vec());
                return Ok(message.map(|message| (start, message)));
            }
            if !is_frame && !line.trim_ascii().is_empty() {
                match &mut message {
                    None => {
                        start = self.line;
                        message = Some(line.to_vec());
                    }
                    Some(message) => {
                        message.push(b'\r');
                        message.extend_from_slice(line);
                    }
                }
            }
            if message.as_ref().is_some_and(|message| message.len() > MESSAGE_MAX) {
                return Err(Hole::TooLong { max: MESSAGE_MAX as u64 });
            }
            if !more {
                return Ok(message.map(|message| (start, message)));
            }
        }
    }

    /// Reads up to a carriage return, a line feed or both; false at the end of the file.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Hole> {
        self.line += 1;
        loop {
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| Hole::Unreadable(error.to_string()))?,
            };
            if available.is_empty() {
                return Ok(false);
            }
            if std::mem::take(&mut self.after_return) && available[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let end = available.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            line.extend_from_slice(&available[..end.unwrap_or(available.len())]);
            let used = end.map_or(available.len(), |end| end + 1);
            self.after_return = end.is_some_and(|end| available[end] == b'\r');
            self.reader.consume(used);
            if end.is_some() {
                return Ok(true);
            }
            if line.len() > MESSAGE_MAX {
                return Err(Hole::TooLong { max: MESSAGE_MAX as u64 });
            }
        }
    }
}

/// The text of a message; nothing when its encoding is none that is read.
fn text(bytes: &[u8]) -> Option<String> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.to_owned());
    }
    let header = bytes.split(|byte| *byte == b'\r').next()?;
    let separator = header.get(3)?;
    let charset = header.split(|byte| byte == separator).nth(17)?;
    let is_latin = charset == b"8859/1";
    is_latin.then(|| bytes.iter().map(|byte| char::from(*byte)).collect())
}

/// Whether the five separators can be told from each other and from text.
fn are_separators(text: &str) -> bool {
    let signs: Vec<_> = text.bytes().skip(3).take(5).collect();
    let distinct = |place: usize| !signs[..place].contains(&signs[place]);
    signs.len() == 5 && signs.iter().all(u8::is_ascii_punctuation) && (0..signs.len()).all(distinct)
}

/// Whether a message has no more parts than are read; each takes a few hundred bytes of memory.
fn is_bounded(text: &str) -> bool {
    let separators = &text.as_bytes()[3..8];
    text.bytes().filter(|byte| separators.contains(byte) || *byte == b'\r').count() <= PARTS_MAX
}

impl Select<'_> {
    /// The rows that a message makes.
    fn rows(
        &self,
        (name, line, bytes): (&Arc<str>, u64, &[u8]),
        findings: &mut Findings,
    ) -> Vec<Row> {
        let text = text(bytes).filter(|text| are_separators(text) && is_bounded(text));
        let message = text.as_deref().and_then(|text| {
            let message = Message::parse(text).ok()?;
            // The parser stops at what is no segment.
            (message.raw_value().len() == text.trim_end_matches('\r').len()).then_some(message)
        });
        let Some(message) = message else {
            findings.add(name, line, Hole::Malformed { what: WHAT });
            return Vec::new();
        };
        if !self.takes(&message) {
            return Vec::new();
        }
        let segments = message.segments.iter().zip(line..);
        let mut nearest = Nearest::new(self, &message);
        let mut rows = Vec::new();
        for (place, (segment, line)) in segments.enumerate() {
            nearest.pass(segment);
            let makes_row = match &self.wanted.each {
                Some(each) => segment.name == each,
                None => place == 0,
            };
            if makes_row {
                rows.extend(self.row(&nearest, (name, line), findings));
            }
        }
        rows
    }

    fn takes(&self, message: &Message<'_>) -> bool {
        let field = |component| {
            let path = Path { segment: "MSH".to_owned(), field: 9, component, ..Path::default() };
            let path = Path { subcomponent: 1, ..path };
            message.segments.first().map(|header| path.values(header, &message.separators))
        };
        let is = |component, wanted: &String| {
            field(component).is_some_and(|values| values.first() == Some(wanted))
        };
        is(1, &self.wanted.kind) && self.wanted.trigger.as_ref().is_none_or(|code| is(2, code))
    }

    fn row(
        &self,
        nearest: &Nearest<'_>,
        (name, line): (&Arc<str>, u64),
        findings: &mut Findings,
    ) -> Option<Row> {
        let holds =
            |(path, value): &(Path, &str)| nearest.values(path).iter().any(|found| found == value);
        if !self.filter.iter().all(holds) {
            return None;
        }
        let mut fields = Vec::with_capacity(self.columns.len());
        for (column, path) in self.table.columns.iter().zip(&self.columns) {
            let found = nearest.values(path);
            let text = if found.len() > 1 && (column.key || column.kind != Kind::Text) {
                findings.add(name, line, Hole::ManyValues { column: column.name.clone() });
                String::new()
            } else {
                found.join("; ")
            };
            let text = local::compact(column.kind, &text, self.zone);
            if text.is_err() {
                findings.add(name, line, Hole::NoZone { column: column.name.clone() });
            }
            fields.push(text.unwrap_or_default());
        }
        Some((line, fields))
    }
}

/// The segments that paths lead to from where a message is being read: of each name the one that was
/// passed last, before that the first of the message.
struct Nearest<'a> {
    /// By name; few, for a table names few.
    segments: BTreeMap<&'a str, Option<&'a Segment<'a>>>,
    separators: &'a Separators,
}

impl<'a> Nearest<'a> {
    fn new(select: &'a Select<'_>, message: &'a Message<'a>) -> Self {
        let paths = select.columns.iter().chain(select.filter.iter().map(|(path, _)| path));
        let first = |path: &'a Path| {
            let name = path.segment.as_str();
            (name, message.segments.iter().find(|segment| segment.name == name))
        };
        Self { segments: paths.map(first).collect(), separators: &message.separators }
    }

    fn pass(&mut self, segment: &'a Segment<'a>) {
        if let Some(nearest) = self.segments.get_mut(segment.name) {
            *nearest = Some(segment);
        }
    }

    fn values(&self, path: &Path) -> Vec<String> {
        let nearest = self.segments.get(path.segment.as_str()).copied().flatten();
        nearest.map(|segment| path.values(segment, self.separators)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
