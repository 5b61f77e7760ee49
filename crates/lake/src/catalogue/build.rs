//! From what is written to what is meant, naming every hole on the way.
//!
//! What cannot be understood is left out or replaced by the weakest reading, so that the rest can
//! still be checked.

use super::analysed::{self, Analysed};
use super::anchors;
use super::origin::{Declared as DeclaredSource, Sources};
use super::{Catalogue, Column, Contract, FILE, Labels, Patient, Table, raw};
use crate::finding::Findings;
use crate::hole::Hole;
use crate::kind::Kind;
use aegle_model::{ALL, Cell, CellId, Hash, Name, Tag, TagName, Vocabulary, VocabularyError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use toml::Spanned;

/// The line, counted from 1, that the byte at `offset` stands in.
pub(super) fn line(text: &str, offset: usize) -> u64 {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() as u64 + 1
}

pub(super) struct Builder<'a> {
    text: &'a str,
    findings: &'a mut Findings,
    version: u32,
    tags: BTreeMap<TagName, Declared>,
}

struct Declared {
    labels: Labels,
    line: u64,
    used: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(text: &'a str, findings: &'a mut Findings) -> Self {
        Self { text, findings, version: 1, tags: BTreeMap::new() }
    }

    pub(super) fn catalogue(mut self, raw: raw::Catalogue) -> Catalogue {
        let centre = self.name("centre's code", &raw.centre);
        let centre = centre.unwrap_or_else(|| Name::new("?").expect("one character"));
        if *raw.version.get_ref() == 0 {
            self.add(&raw.version, Hole::VersionZero);
        }
        self.version = raw.version.into_inner().max(1);
        self.language(&raw.language);
        self.declare(raw.tags);
        let mut sources = self.sources(raw.sources);
        let mut tables = Vec::new();
        for (name, table) in raw.tables {
            let Some(name) = self.name("table", &name) else { continue };
            tables.push(self.table(name, table, &mut sources));
        }
        let sources = sources.finish(self.findings);
        self.whole(&tables.iter().map(|(table, _)| table).collect::<Vec<_>>());
        for (table, line) in &tables {
            self.patients(table, *line, &tables);
        }
        let tables = tables.into_iter().map(|(table, _)| table).collect();
        self.finish(centre, raw.language.into_inner(), tables, sources)
    }

    fn sources(&mut self, raw: raw::Entries<raw::Entries<Spanned<raw::Setting>>>) -> Sources<'a> {
        let mut sources = Sources::new(self.text);
        for (name, settings) in raw {
            let line = line(self.text, name.span().start);
            let Some(name) = self.name("source", &name) else { continue };
            sources.declare(name, line, settings, self.findings);
        }
        sources
    }

    fn declare(&mut self, tags: raw::Entries<raw::Labels>) {
        let all = Declared { labels: Labels::new(), line: 0, used: true };
        self.tags.insert(Name::new(ALL).expect("a short constant"), all);
        for (name, labels) in tags {
            let labels = self.labels(labels);
            let line = line(self.text, name.span().start);
            let Some(name) = self.name("tag", &name) else { continue };
            let used = name.as_str() == ALL;
            self.tags.insert(name, Declared { labels, line, used });
        }
    }

    fn table(
        &mut self,
        name: Name,
        mut raw: raw::Table,
        sources: &mut Sources<'_>,
    ) -> (Table, u64) {
        let (mut columns, mut lines) = (Vec::new(), BTreeMap::new());
        let mut paths = Vec::new();
        for (column, mut raw) in std::mem::take(&mut raw.columns) {
            let at = line(self.text, column.span().start);
            let Some(column) = self.name("column", &column) else { continue };
            lines.insert(column.clone(), at);
            paths.push((column.clone(), raw.path.take()));
            columns.push(self.column(&name, column, at, raw));
        }
        let origin = sources.origin(&name, &raw, &paths, self.findings);
        let file = match raw.file {
            None => format!("{name}.csv"),
            Some(file) => {
                if !is_plain(file.get_ref()) {
                    self.add(&file, Hole::FileName { table: name.clone() });
                }
                file.into_inner()
            }
        };
        let labels = self.labels(raw.labels);
        let line = line(self.text, raw.patient.span().start);
        let patient = self.patient(&name, line, raw.patient.into_inner());
        let raw::Contract { wrong_rows, orphans_percent } = raw.contract;
        let contract = Contract { wrong_rows, orphans_percent };
        let table = Table { name, file, patient, labels, contract, columns, origin };
        for (column, wrong) in anchors::table(&table) {
            self.findings.add(FILE, lines.get(&column).copied(), wrong.hole(&table.name, &column));
        }
        (table, line)
    }

    fn patient(&mut self, table: &Name, line: u64, raw: raw::Patient) -> Patient {
        let mut name = |text: String| {
            Name::new(text).unwrap_or_else(|_| {
                self.findings.add(FILE, line, Hole::BadName("way to the patient"));
                table.clone()
            })
        };
        match raw {
            raw::Patient::Column(column) => Patient::Column(name(column)),
            raw::Patient::Through(raw::Through { through, on }) => {
                Patient::Through { table: name(through), on: name(on) }
            }
        }
    }

    fn column(&mut self, table: &Name, name: Name, line: u64, raw: raw::Column) -> Column {
        let kind = Kind::from_name(raw.r#type.get_ref()).unwrap_or_else(|| {
            let (table, column) = (table.clone(), name.clone());
            let kind = raw.r#type.get_ref().clone();
            self.add(&raw.r#type, Hole::UnknownType { table, column, kind });
            Kind::Text
        });
        let since = raw.since.as_ref().map_or(1, |since| *since.get_ref());
        let what = Site { table, column: &name };
        if let Some(since) = raw.since.as_ref().filter(|_| !(1..=self.version).contains(&since)) {
            self.add(since, what.version("since"));
        }
        match (raw.key, raw.tags.is_empty()) {
            (true, false) => self.findings.add(FILE, line, what.tagged_key()),
            (false, true) => self.findings.add(FILE, line, what.untagged()),
            _ => {}
        }
        let labels = self.labels(raw.labels);
        let anchor = raw.hub.as_ref().and_then(|hub| {
            let anchor = anchors::column(hub.get_ref(), kind);
            anchor.map_err(|wrong| self.add(hub, wrong.hole(table, &name))).ok()
        });
        let analytics = raw.analytics.as_ref().and_then(|how| {
            let how_it_is = (raw.key, anchor.as_ref(), kind);
            let analytics = Analysed::new(how.get_ref(), (table, &name), how_it_is);
            analytics.map_err(|reason| self.add(how, what.analytics(reason))).ok()
        });
        let tags = self.column_tags(&what, since, raw.tags);
        let tags = if raw.key { BTreeMap::new() } else { tags };
        let (key, unit) = (raw.key, raw.unit);
        Column { name, kind, key, anchor, unit, tags, labels, analytics, cell: None }
    }

    fn column_tags(
        &mut self,
        what: &Site<'_>,
        since: u32,
        raw: Vec<Spanned<String>>,
    ) -> BTreeMap<TagName, u32> {
        let all = Name::new(ALL).expect("a short constant");
        let mut tags = BTreeMap::new();
        for tag in raw {
            let (name, joined) = match tag.get_ref().split_once('@') {
                Some((name, version)) => (name, version.parse().unwrap_or(0)),
                None => (tag.get_ref().as_str(), since),
            };
            let Some(name) = Name::new(name).ok().filter(|name| self.tags.contains_key(name))
            else {
                self.add(&tag, what.undeclared(name));
                continue;
            };
            self.tags.entry(name.clone()).and_modify(|declared| declared.used = true);
            let possible = if name == all { since..=since } else { since..=self.version };
            if !possible.contains(&joined) {
                self.add(&tag, what.version(tag.get_ref()));
            }
            if tags.insert(name.clone(), joined).is_some() {
                self.add(&tag, what.repeated(name));
            }
        }
        tags.insert(all, since);
        tags
    }

    /// What can be said only of all tables together.
    fn whole(&mut self, tables: &[&Table]) {
        if tables.is_empty() {
            self.findings.add(FILE, None, Hole::NoTable);
        }
        for (tag, declared) in &self.tags {
            if !declared.used {
                let hole = Hole::UnusedTag { tag: tag.clone() };
                self.findings.add(FILE, declared.line, hole);
            }
        }
    }

    /// Checks that a table's way to its patients exists.
    fn patients(&mut self, table: &Table, line: u64, tables: &[(Table, u64)]) {
        let hole = match &table.patient {
            Patient::Column(column) => {
                let is_key = table.column(column.as_str()).is_some_and(|column| column.key);
                let column = column.to_string();
                (!is_key).then(|| Hole::PatientColumn { table: table.name.clone(), column })
            }
            Patient::Through { table: through, on } => {
                let direct = |other: &&Table| {
                    other.name == *through && matches!(other.patient, Patient::Column(_))
                };
                match tables.iter().map(|(table, _)| table).find(direct) {
                    None => {
                        let through = through.to_string();
                        Some(Hole::Through { table: table.name.clone(), through })
                    }
                    Some(other) => {
                        let lacks = |one: &&Table| one.column(on.as_str()).is_none();
                        [table, other].into_iter().find(lacks).map(|missing| Hole::On {
                            table: table.name.clone(),
                            column: on.to_string(),
                            missing: missing.name.clone(),
                        })
                    }
                }
            }
        };
        if let Some(hole) = hole {
            self.findings.add(FILE, line, hole);
        }
    }

    fn finish(
        self,
        centre: Name,
        language: String,
        mut tables: Vec<Table>,
        sources: Vec<DeclaredSource>,
    ) -> Catalogue {
        let cells = assign_cells(&mut tables);
        let tag = |(name, declared): (Name, Declared)| Tag { name, labels: declared.labels };
        let tags: Vec<Tag> = self.tags.into_iter().map(tag).collect();
        let labels: Vec<_> = tags.iter().map(|tag| (&tag.name, &tag.labels)).collect();
        let meaning = borsh::to_vec(&(&centre, self.version, &language, labels, &tables));
        let meaning = meaning.expect("writing to memory cannot fail");
        // What is not there adds nothing, so that a catalogue without it keeps the hash it had.
        let origins: Vec<_> = tables.iter().filter_map(|table| table.origin.meaning()).collect();
        let analysed = analysed::meaning(&tables);
        let parts = std::iter::once(&meaning).chain(&origins).chain(&analysed).map(Vec::as_slice);
        let catalogue = Hash::of("aegle catalogue v1", &parts.collect::<Vec<_>>());
        let vocabulary = Vocabulary { version: self.version, catalogue, tags, cells };
        if let Err(error @ VocabularyError::TooMany { .. }) = vocabulary.check() {
            self.findings.add(FILE, None, Hole::TooMany(error.to_string()));
        }
        Catalogue { centre, version: self.version, language, tables, sources, vocabulary }
    }

    fn name(&mut self, what: &'static str, text: &Spanned<String>) -> Option<Name> {
        let name =
            Name::new(text.get_ref().as_str()).ok().filter(|name| !name.as_str().contains('@'));
        if name.is_none() {
            self.add(text, Hole::BadName(what));
        }
        name
    }

    fn labels(&mut self, raw: raw::Labels) -> Labels {
        for language in raw.keys() {
            self.language(language);
        }
        raw.into_iter().map(|(language, label)| (language.into_inner(), label)).collect()
    }

    fn language(&mut self, text: &Spanned<String>) {
        let part = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if text.get_ref().len() > 35 || !text.get_ref().split('-').all(part) {
            self.add(text, Hole::Language(text.get_ref().chars().take(40).collect()));
        }
    }

    fn add<T>(&mut self, place: &Spanned<T>, hole: Hole) {
        self.findings.add(FILE, line(self.text, place.span().start), hole);
    }
}

/// Groups columns with equal tags into cells; the cells are sorted, each tag set once.
fn assign_cells(tables: &mut [Table]) -> Vec<Cell> {
    let columns = || tables.iter().flat_map(|table| &table.columns).filter(|column| !column.key);
    let sets: BTreeSet<_> = columns().map(|column| column.tags.clone()).collect();
    let positions: BTreeMap<_, _> = sets.iter().cloned().zip((0..=u16::MAX).map(CellId)).collect();
    for column in tables.iter_mut().flat_map(|table| &mut table.columns) {
        column.cell = positions.get(&column.tags).copied();
    }
    sets.into_iter().map(|tags| Cell { tags }).collect()
}

/// Whether `file` names a file right inside the folder.
fn is_plain(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        && !file.contains('\\')
}

/// The column that a hole is about.
struct Site<'a> {
    table: &'a Name,
    column: &'a Name,
}

impl Site<'_> {
    fn version(&self, what: &str) -> Hole {
        let (table, column) = (self.table.clone(), self.column.clone());
        Hole::Version { table, column, what: what.to_owned() }
    }

    fn tagged_key(&self) -> Hole {
        Hole::TaggedKey { table: self.table.clone(), column: self.column.clone() }
    }

    fn untagged(&self) -> Hole {
        Hole::Untagged { table: self.table.clone(), column: self.column.clone() }
    }

    fn analytics(&self, reason: &'static str) -> Hole {
        Hole::Analytics { table: self.table.clone(), column: self.column.clone(), reason }
    }

    fn undeclared(&self, tag: &str) -> Hole {
        let (table, column) = (self.table.clone(), self.column.clone());
        Hole::UndeclaredTag { table, column, tag: tag.to_owned() }
    }

    fn repeated(&self, tag: Name) -> Hole {
        Hole::RepeatedTag { table: self.table.clone(), column: self.column.clone(), tag }
    }
}
