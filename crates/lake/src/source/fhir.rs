//! Tables as FHIR R4 resources: NDJSON files, Bundles, single resources.
//!
//! A table selects a resource type and finds its columns by dotted paths:
//!
//! ```toml
//! [sources.export]
//! type = "fhir"
//! path = "fhir"                    # a file, or a folder with *.ndjson, *.jsonl and *.json
//!
//! [tables.laboratory]
//! from = "export"
//! select = "Observation"
//! where = { "category.coding.code" = "laboratory" }
//! patient = "patient"
//!
//! [tables.laboratory.columns]
//! patient = { type = "text", path = "subject.reference", key = true }
//! loinc   = { type = "text", path = "code.coding[system=http://loinc.org].code", tags = ["laboratory"] }
//! value   = { type = "decimal", path = "valueQuantity.value", tags = ["laboratory"] }
//! ```
//!
//! A path goes into every element of a list; `[name=value]` keeps the elements with this value,
//! `[0]` the one at this place. A `reference` yields the id at its end, so that `Patient/12`,
//! `https://…/Patient/12` and `urn:uuid:12` lead to patient `12`. Numbers keep their digits. What
//! yields several values is one text with `; ` between them, and a hole for any other type.
//! Absent on purpose: a typed model, profiles, validation of what no column names.

use super::files::{self, Files, Found};
use super::{Content, Record, Rows, Selection, Shape, Source, Type, Unreadable};
use crate::catalogue::Table;
use crate::crypt::MacKey;
use crate::finding::Findings;
use crate::hole::Hole;
use crate::kind::Kind;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

/// The longest resource in an NDJSON file, in bytes.
const RESOURCE_MAX: usize = 16 << 20;

/// The largest Bundle, in bytes; it is read whole.
const BUNDLE_MAX: u64 = 64 << 20;

const WHAT: &str = "FHIR resource in JSON";

pub(super) static TYPE: Type = Type {
    name: "fhir",
    settings: &[files::PATH],
    select: Selection {
        shape: Some(Shape {
            text: "a type of resource, such as `Observation`",
            fits: |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic()),
        }),
        needed: true,
        filter: true,
        watermark: false,
    },
    path: Some(Shape {
        text: "names with dots between them, each with `[name=value]` or `[0]` after it where it is a list",
        fits: |text| path(text).is_some(),
    }),
    open: |folder, settings| {
        Box::new(Fhir(Files::new(folder, settings, &[".ndjson", ".jsonl", ".json"])))
    },
};

struct Fhir(Files);

impl Source for Fhir {
    fn content(&mut self, _: &Table, naming: &MacKey) -> Result<Content, Unreadable> {
        self.0.content(naming)
    }

    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>> {
        let files = self.0.listed(findings)?.into_iter();
        let select = Select::new(table);
        Some(Box::new(Resources { select, files, open: None }))
    }
}

/// What a table takes from a resource.
struct Select<'a> {
    table: &'a Table,
    columns: Vec<Vec<Step>>,
    filter: Vec<(Vec<Step>, &'a str)>,
}

impl<'a> Select<'a> {
    /// Catalogues with paths that are none are only ever checked; such a path leads nowhere.
    fn new(table: &'a Table) -> Self {
        let path = |text: &String| path(text).unwrap_or_default();
        let filter = table.origin.filter.iter().map(|(text, value)| (path(text), value.as_str()));
        Self {
            table,
            columns: table.origin.paths.iter().map(path).collect(),
            filter: filter.collect(),
        }
    }
}

/// The rows of all files, one after the other.
struct Resources<'a> {
    select: Select<'a>,
    files: std::vec::IntoIter<Found>,
    open: Option<Open>,
}

/// The file that is being read.
enum Open {
    Lines {
        name: Arc<str>,
        reader: BufReader<File>,
        line: u64,
        text: Vec<u8>,
    },
    Whole {
        name: Arc<str>,
        text: Vec<u8>,
        resources: std::vec::IntoIter<(usize, usize)>,
        /// Where the last resource begins, and in which line.
        last: (usize, u64),
    },
}

impl Rows for Resources<'_> {
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool {
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.next() else { return false };
                self.open = open_file(&file, findings);
                continue;
            };
            match open.resource(findings) {
                None => self.open = None,
                Some((name, line, text)) => {
                    if fill(&self.select, (name, line, text), record, findings) {
                        return true;
                    }
                }
            }
        }
    }
}

fn open_file(file: &Found, findings: &mut Findings) -> Option<Open> {
    let unreadable = |findings: &mut Findings, error: std::io::Error| {
        findings.add(&file.name, None, Hole::Unreadable(error.to_string()));
    };
    let name = Arc::clone(&file.name);
    if !file.within.to_ascii_lowercase().ends_with(".json") {
        return match files::open(&file.path) {
            Ok(opened) => {
                let reader = BufReader::with_capacity(1 << 16, opened);
                Some(Open::Lines { name, reader, line: 0, text: Vec::new() })
            }
            Err(error) => {
                unreadable(findings, error);
                None
            }
        };
    }
    match files::read(&file.path, BUNDLE_MAX) {
        Ok(Some(text)) => {
            let Some(resources) = resources(&text) else {
                findings.add(&file.name, None, Hole::Malformed { what: WHAT });
                return None;
            };
            Some(Open::Whole { name, text, resources: resources.into_iter(), last: (0, 1) })
        }
        Ok(None) => {
            findings.add(&file.name, None, Hole::FileTooLarge { max: BUNDLE_MAX });
            None
        }
        Err(error) => {
            unreadable(findings, error);
            None
        }
    }
}

impl Open {
    /// The next resource with where it stands; nothing at the end of the file.
    fn resource(&mut self, findings: &mut Findings) -> Option<(&Arc<str>, u64, &[u8])> {
        match self {
            Self::Whole { name, text, resources, last } => {
                let (start, end) = resources.next()?;
                // Resources stand in the order of the text: what lies before the last is counted.
                *last = (start, last.1 + files::lines(&text[last.0..start]));
                Some((name, last.1, &text[start..end]))
            }
            Self::Lines { name, reader, line, text } => {
                *line += 1;
                text.clear();
                let mut bounded = reader.take(RESOURCE_MAX as u64 + 1);
                match bounded.read_until(b'\n', text) {
                    Ok(0) => None,
                    Ok(_) if text.len() > RESOURCE_MAX => {
                        findings.add(name, *line, Hole::TooLong { max: RESOURCE_MAX as u64 });
                        None
                    }
                    Ok(_) => Some((name, *line, text)),
                    Err(error) => {
                        findings.add(name, *line, Hole::Unreadable(error.to_string()));
                        None
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

/// Where in `text` its resources stand: those of a Bundle, or itself.
fn resources(text: &[u8]) -> Option<Vec<(usize, usize)>> {
    let typed: Typed<'_> = serde_json::from_slice(text).ok()?;
    if typed.resource_type != "Bundle" {
        return Some(vec![(0, text.len())]);
    }
    let bundle: Bundle<'_> = serde_json::from_slice(text).ok()?;
    let place = |resource: &RawValue| {
        let start = resource.get().as_ptr().addr() - text.as_ptr().addr();
        (start, start + resource.get().len())
    };
    Some(bundle.entry.iter().filter_map(|entry| entry.resource.map(place)).collect())
}

/// Puts a resource into `record` if it is one that the table selects.
fn fill(
    select: &Select<'_>,
    (name, line, text): (&Arc<str>, u64, &[u8]),
    record: &mut Record,
    findings: &mut Findings,
) -> bool {
    if text.trim_ascii().is_empty() {
        return false;
    }
    let Ok(typed) = serde_json::from_slice::<Typed<'_>>(text) else {
        findings.add(name, line, Hole::Malformed { what: WHAT });
        return false;
    };
    if typed.resource_type != select.table.origin.select {
        return false;
    }
    let Ok(object) = serde_json::from_slice::<Object<'_>>(text) else {
        findings.add(name, line, Hole::Malformed { what: WHAT });
        return false;
    };
    let holds = |(path, value): &(Vec<Step>, &str)| {
        let mut found = Vec::new();
        follow_object(&object, path, &mut found);
        found.iter().any(|found| found == value)
    };
    if !select.filter.iter().all(holds) {
        return false;
    }
    record.begin(name, line);
    for (column, path) in select.table.columns.iter().zip(&select.columns) {
        let mut found = Vec::new();
        follow_object(&object, path, &mut found);
        if found.len() > 1 && (column.key || column.kind != Kind::Text) {
            findings.add(name, line, Hole::ManyValues { column: column.name.clone() });
            found.clear();
        }
        record.text(found.join("; ").as_bytes());
    }
    true
}

type Object<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: String,
    pick: Pick,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pick {
    All,
    At(usize),
    With(String, String),
}

/// The steps of a path; nothing when it is none. Dots inside brackets belong to the value.
fn path(text: &str) -> Option<Vec<Step>> {
    let (mut steps, mut rest) = (Vec::new(), text);
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_name || steps.len() >= 32 {
            return None;
        }
        let (pick, after) = match after.strip_prefix('[') {
            None => (Pick::All, after),
            Some(inner) => {
                let (inner, after) = inner.split_once(']')?;
                (pick(inner)?, after)
            }
        };
        steps.push(Step { name: name.to_owned(), pick });
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(steps),
            None => return None,
        }
    }
}

fn pick(inner: &str) -> Option<Pick> {
    match inner.split_once('=') {
        Some((name, value)) => {
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_name.then(|| Pick::With(name.to_owned(), value.to_owned()))
        }
        None => inner.parse().ok().map(Pick::At),
    }
}

/// Adds every text that the path leads to.
fn follow_object(object: &Object<'_>, path: &[Step], found: &mut Vec<String>) {
    let Some((step, rest)) = path.split_first() else { return };
    let Some(value) = object.get(step.name.as_str()) else { return };
    let is_reference = step.name == "reference";
    match value.get().as_bytes().first() {
        Some(b'[') => {
            let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else { return };
            let picked = list.iter().enumerate().filter(|(place, item)| match &step.pick {
                Pick::All => true,
                Pick::At(at) => at == place,
                Pick::With(name, value) => has(item, name, value),
            });
            picked.for_each(|(_, item)| follow(item, rest, is_reference, found));
        }
        _ => match &step.pick {
            Pick::With(name, wanted) if !has(value, name, wanted) => {}
            Pick::At(at) if *at > 0 => {}
            _ => follow(value, rest, is_reference, found),
        },
    }
}

fn has(item: &RawValue, name: &str, value: &str) -> bool {
    let mut found = Vec::new();
    if let Ok(object) = serde_json::from_str::<Object<'_>>(item.get()) {
        let step = Step { name: name.to_owned(), pick: Pick::All };
        follow_object(&object, &[step], &mut found);
    }
    found.iter().any(|found| found == value)
}

fn follow(value: &RawValue, path: &[Step], is_reference: bool, found: &mut Vec<String>) {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') if !path.is_empty() => {
            if let Ok(object) = serde_json::from_str::<Object<'_>>(text) {
                follow_object(&object, path, found);
            }
        }
        Some(b'"') if path.is_empty() => {
            if let Ok(text) = serde_json::from_str::<Cow<'_, str>>(text) {
                found.push(if is_reference { id(&text).to_owned() } else { text.into_owned() });
            }
        }
        Some(b'-' | b'0'..=b'9' | b't' | b'f') if path.is_empty() => found.push(text.to_owned()),
        _ => {}
    }
}

/// The id at the end of a reference.
fn id(reference: &str) -> &str {
    let reference = reference.split_once("/_history/").map_or(reference, |(before, _)| before);
    reference.rsplit(['/', ':']).next().unwrap_or(reference)
}

#[cfg(test)]
mod tests;
