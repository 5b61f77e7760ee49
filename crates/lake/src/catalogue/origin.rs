//! Where the rows of a table come from, when that is no CSV file beside the catalogue.

use super::{FILE, raw};
use crate::finding::Findings;
use crate::hole::Hole;
use crate::source::{CSV, Settings, Shape, TYPES, Type, ZONE};
use aegle_model::Name;
use std::collections::BTreeMap;
use toml::Spanned;

/// A source that tables name.
#[derive(Clone)]
pub(crate) struct Declared {
    pub(crate) name: Name,
    pub(crate) kind: &'static Type,
    pub(crate) settings: Settings,
}

impl std::fmt::Debug for Declared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Declared({}: {})", self.name, self.kind.name)
    }
}

impl PartialEq for Declared {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.kind.name, &self.settings)
            == (&other.name, other.kind.name, &other.settings)
    }
}

impl Eq for Declared {}

/// Which records of its source are a table's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The source; none for a CSV file beside the catalogue.
    pub(crate) source: Option<Name>,
    /// What is selected from it.
    pub(crate) select: String,
    /// Paths with the value that they must have.
    pub(crate) filter: BTreeMap<String, String>,
    /// The column of the source that grows with every change.
    pub(crate) watermark: Option<String>,
    /// For each column of the table, where it is found in a record.
    pub(crate) paths: Vec<String>,
    /// The zone of times that are noted without one.
    pub(crate) zone: Option<String>,
}

impl Origin {
    /// What the rows depend on, beyond the table itself; nothing for a CSV file.
    pub(crate) fn meaning(&self) -> Option<Vec<u8>> {
        self.source.as_ref()?;
        let meaning = (&self.source, &self.select, &self.filter, &self.paths, &self.zone);
        Some(borsh::to_vec(&meaning).expect("writing to memory cannot fail"))
    }
}

/// The sources of a catalogue while it is checked.
pub(super) struct Sources<'a> {
    text: &'a str,
    found: Vec<Found>,
}

struct Found {
    declared: Declared,
    /// Whether its type exists; nothing else is checked otherwise.
    known: bool,
    line: u64,
    used: bool,
}

impl<'a> Sources<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Adds a source, naming its holes.
    pub(super) fn declare(
        &mut self,
        name: Name,
        line: u64,
        raw: raw::Entries<Spanned<raw::Setting>>,
        findings: &mut Findings,
    ) {
        let raw: Vec<_> = raw.into_iter().collect();
        let kind = self.type_of(&name, line, &raw, findings);
        let mut settings = Settings { name: name.to_string(), values: BTreeMap::new() };
        if let Some(kind) = kind {
            for (key, value) in raw.iter().filter(|(key, _)| key.get_ref() != "type") {
                if let Some(hole) = hole_of(kind, &name, key.get_ref(), value.get_ref()) {
                    findings.add(FILE, self.line(key), hole);
                }
                settings.values.insert(key.get_ref().clone(), value.get_ref().to_string());
            }
            for known in kind.settings.iter().filter(|known| known.needed) {
                if !settings.values.contains_key(known.name) {
                    let (setting, shape) = (known.name.to_owned(), known.shape.text);
                    let hole = Hole::Setting { origin: name.clone(), setting, shape };
                    findings.add(FILE, line, hole);
                }
            }
        }
        let declared = Declared { name, kind: kind.unwrap_or(CSV), settings };
        self.found.push(Found { declared, known: kind.is_some(), line, used: false });
    }

    fn type_of(
        &self,
        name: &Name,
        line: u64,
        raw: &[(Spanned<String>, Spanned<raw::Setting>)],
        findings: &mut Findings,
    ) -> Option<&'static Type> {
        let Some((_, value)) = raw.iter().find(|(key, _)| key.get_ref() == "type") else {
            let (setting, shape) = ("type".to_owned(), "one of the types of sources");
            findings.add(FILE, line, Hole::Setting { origin: name.clone(), setting, shape });
            return None;
        };
        let format = value.get_ref().to_string();
        let kind = TYPES.iter().find(|kind| kind.name == format).copied();
        if kind.is_none() {
            let hole = Hole::UnknownFormat { origin: name.clone(), format };
            findings.add(FILE, self.line(value), hole);
        }
        kind
    }

    /// Where the rows of a table come from, naming the holes of what it says.
    pub(super) fn origin(
        &mut self,
        table: &Name,
        raw: &raw::Table,
        columns: &[(Name, Option<Spanned<String>>)],
        findings: &mut Findings,
    ) -> Origin {
        let found = self.kind(table, raw, findings);
        let select = raw.select.as_ref().map_or(table.as_str(), |select| select.get_ref());
        if let Some((kind, _)) = found {
            let about = About { text: self.text, table, kind };
            about.not_of_this_type(raw, columns, findings);
            about.selected(raw, select, findings);
        }
        let path = |(name, path): &(Name, Option<Spanned<String>>)| {
            path.as_ref().map_or_else(|| name.to_string(), |path| path.get_ref().clone())
        };
        let filter =
            |(path, value): &(Spanned<String>, String)| (path.get_ref().clone(), value.clone());
        Origin {
            source: raw.from.as_ref().and_then(|from| Name::new(from.get_ref().as_str()).ok()),
            select: select.to_owned(),
            filter: raw.filter.iter().map(filter).collect(),
            watermark: raw.watermark.as_ref().map(|column| column.get_ref().clone()),
            paths: columns.iter().map(path).collect(),
            zone: found.and_then(|(_, zone)| zone),
        }
    }

    /// The type of a table's source, and its zone; nothing when it is not known.
    fn kind(
        &mut self,
        table: &Name,
        raw: &raw::Table,
        findings: &mut Findings,
    ) -> Option<(&'static Type, Option<String>)> {
        let Some(from) = &raw.from else { return Some((CSV, None)) };
        let named = |found: &&mut Found| found.declared.name.as_str() == from.get_ref();
        if let Some(found) = self.found.iter_mut().find(named) {
            found.used = true;
            let zone = found.declared.settings.get(ZONE.name).map(str::to_owned);
            return found.known.then_some((found.declared.kind, zone));
        }
        let (table, origin) = (table.clone(), from.get_ref().clone());
        findings.add(FILE, self.line(from), Hole::UnknownSource { table, origin });
        None
    }

    /// The sources, naming those that no table comes from.
    pub(super) fn finish(self, findings: &mut Findings) -> Vec<Declared> {
        for found in self.found.iter().filter(|found| !found.used) {
            let hole = Hole::UnusedSource { origin: found.declared.name.clone() };
            findings.add(FILE, found.line, hole);
        }
        self.found.into_iter().map(|found| found.declared).collect()
    }

    fn line<T>(&self, place: &Spanned<T>) -> u64 {
        super::build::line(self.text, place.span().start)
    }
}

/// What is wrong with a setting of a source of this type.
fn hole_of(kind: &Type, name: &Name, key: &str, value: &raw::Setting) -> Option<Hole> {
    let setting = key.to_owned();
    match kind.settings.iter().find(|known| known.name == key) {
        None => {
            let known: Vec<_> = kind.settings.iter().map(|known| known.name).collect();
            let known = known.join(", ");
            Some(Hole::UnknownSetting { origin: name.clone(), setting, known })
        }
        Some(known) if (known.shape.fits)(&value.to_string()) => None,
        Some(known) => {
            let shape = known.shape.text;
            Some(Hole::Setting { origin: name.clone(), setting, shape })
        }
    }
}

/// What the holes of one table are about.
struct About<'a> {
    text: &'a str,
    table: &'a Name,
    kind: &'static Type,
}

impl About<'_> {
    /// Names what is wrong with what the table selects.
    fn selected(&self, raw: &raw::Table, select: &str, findings: &mut Findings) {
        let Some(shape) = &self.kind.select.shape else { return };
        let place = match &raw.select {
            Some(place) if !(shape.fits)(select) => place.span().start,
            None if self.kind.select.needed => raw.patient.span().start,
            _ => return,
        };
        let hole = Hole::Select { table: self.table.clone(), shape: shape.text };
        findings.add(FILE, super::build::line(self.text, place), hole);
    }

    /// Names what the table says and its type of source does not know, and paths that are none.
    fn not_of_this_type(
        &self,
        raw: &raw::Table,
        columns: &[(Name, Option<Spanned<String>>)],
        findings: &mut Findings,
    ) {
        let selection = &self.kind.select;
        if let Some(file) = raw.file.as_ref().filter(|_| self.kind.name != CSV.name) {
            self.unknown(file, "file", findings);
        }
        if let Some(select) = raw.select.as_ref().filter(|_| selection.shape.is_none()) {
            self.unknown(select, "select", findings);
        }
        if let Some(watermark) = raw.watermark.as_ref().filter(|_| !selection.watermark) {
            self.unknown(watermark, "watermark", findings);
        }
        for (path, _) in raw.filter.iter() {
            match &self.kind.path {
                Some(shape) if selection.filter => self.path(path, shape, findings),
                _ => self.unknown(path, "where", findings),
            }
        }
        for (name, path) in columns {
            match (&self.kind.path, path) {
                (None, Some(path)) => self.unknown(path, "path", findings),
                (Some(shape), Some(path)) => self.path(path, shape, findings),
                (Some(shape), None) if !(shape.fits)(name.as_str()) => {
                    let (table, path) = (self.table.clone(), name.to_string());
                    let hole = Hole::Path { table, path, shape: shape.text };
                    findings.add(
                        FILE,
                        super::build::line(self.text, raw.patient.span().start),
                        hole,
                    );
                }
                _ => {}
            }
        }
    }

    fn path(&self, path: &Spanned<String>, shape: &Shape, findings: &mut Findings) {
        if !(shape.fits)(path.get_ref()) {
            let line = super::build::line(self.text, path.span().start);
            let (table, path) = (self.table.clone(), path.get_ref().clone());
            findings.add(FILE, line, Hole::Path { table, path, shape: shape.text });
        }
    }

    fn unknown<T>(&self, place: &Spanned<T>, what: &'static str, findings: &mut Findings) {
        let (table, format) = (self.table.clone(), self.kind.name);
        let line = super::build::line(self.text, place.span().start);
        findings.add(FILE, line, Hole::NotForFormat { table, what, format });
    }
}
