//! A centre's catalogue: which table and column carries which tags, with types and units.
//!
//! Invariants of a [`Catalogue`]: every column that is no key carries at least one tag and lies in
//! exactly one cell; every tag is declared and carried; every table has a way to its patients.
//! Absent on purpose: the data itself, see [`check()`](crate::check()).
//!
//! A source is a folder with `catalogue.toml` (at most 1 MiB) and a CSV file per table, or what
//! `[sources]` describes instead (see `source.rs` and the files beside it):
//!
//! ```toml
//! centre = "ZMC"                 # the centre's code
//! version = 2                    # counts up with every change
//! language = "nl"                # in which labels are complete
//!
//! [tags]                         # every tag; `all` is implied and may be given labels
//! medication = { en = "Medication", nl = "Medicatie" }
//!
//! [tables.medication_use]
//! file = "medication_use.csv"    # that is the default
//! patient = "patnr"              # the key column with the centre's own patient number
//! labels = { en = "Medication in use" }
//! # More than this goes to quarantine. Default: no row that cannot be read, any that are nobody's.
//! contract = { wrong_rows = 10, orphans_percent = 5 }
//!
//! [tables.medication_use.columns]
//! patnr   = { type = "text", key = true }                    # never disclosed, carries no tag
//! episode = { type = "text", key = true }
//! product = { type = "text", tags = ["medication"] }         # since version 1
//! reason  = { type = "text", tags = ["medication@2"] }       # joined the tag at version 2
//! dose    = { type = "decimal", unit = "mg", tags = ["medication"], since = 2 } # a new column
//!
//! [tables.doctor]                # rows without a patient number
//! patient = { through = "medication_use", on = "episode" }
//!
//! [tables.doctor.columns]        # `hub`: the values are business keys of that hub's rows
//! episode = { type = "text", key = true, hub = "event:episode" }
//! name    = { type = "text", tags = ["medication"], hub = "person:professional" }
//! since   = { type = "date", tags = ["medication"], hub = "time" }
//! ```
//!
//! A column with `analytics` appears in de-identified tables, as [`Analysed`] says; others never do.
//!
//! Without any `hub` a row is an event of its own, of its patient. Columns anchored at `event` make
//! up one key together.

mod analysed;
mod anchors;
mod build;
mod difference;
pub(crate) mod origin;
mod raw;
#[cfg(test)]
mod tests;

pub use analysed::{Analysed, PSEUDONYM};
pub use difference::{Change, Difference, Growth, Item};

use crate::finding::{Finding, Findings};
use crate::hole::Hole;
use crate::kind::Kind;
use aegle_model::{CellId, Hash, Name, TagName, Vocabulary};
use aegle_vault::{Anchor, Hub};
use borsh::BorshSerialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The catalogue's file name in a source folder.
pub const FILE: &str = "catalogue.toml";

/// The largest catalogue, in bytes.
pub const BYTES_MAX: u64 = 1 << 20;

/// What people read, by language (BCP 47).
pub type Labels = BTreeMap<String, String>;

/// A checked catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    centre: Name,
    version: u32,
    language: String,
    tables: Vec<Table>,
    sources: Vec<origin::Declared>,
    vocabulary: Vocabulary,
}

/// A table of a source.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Table {
    /// Its name, unique in the catalogue.
    pub name: Name,
    /// The CSV file in the source folder.
    pub file: String,
    /// How a row finds its patients.
    pub patient: Patient,
    /// What people read.
    pub labels: Labels,
    /// What its content may be like. It is no part of the catalogue's hash, for it changes no meaning.
    #[borsh(skip)]
    pub contract: Contract,
    /// In the catalogue's order.
    pub columns: Vec<Column>,
    /// Where its rows come from.
    #[borsh(skip)]
    pub(crate) origin: origin::Origin,
}

/// What a new content of a table may be like; what breaks it goes to quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contract {
    /// How many rows may be left out because they cannot be read.
    pub wrong_rows: u64,
    /// How many of a hundred rows may belong to nobody; without it, any number may.
    pub orphans_percent: Option<u8>,
}

/// How a row finds the patients it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub enum Patient {
    /// A key column of the table holds the centre's own patient number.
    Column(Name),
    /// The row belongs to every patient with a row of `table` that has the same value in `on`.
    Through {
        /// A table with a patient number of its own.
        table: Name,
        /// A column of both tables.
        on: Name,
    },
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Column {
    /// Its name, unique in the table; also the header in the CSV file.
    pub name: Name,
    /// Its type.
    pub kind: Kind,
    /// A join key: never disclosed, carries no tag, lies in no cell.
    pub key: bool,
    /// The hub whose business keys its values are.
    pub anchor: Option<Anchor>,
    /// The UCUM code of its unit.
    pub unit: Option<String>,
    /// Each tag with the version at which the column joined it; `all` included. Empty for a key.
    pub tags: BTreeMap<TagName, u32>,
    /// What people read.
    pub labels: Labels,
    /// How it may appear in de-identified tables; not at all when nothing is said.
    #[borsh(skip)]
    pub analytics: Option<Analysed>,
    #[borsh(skip)]
    cell: Option<CellId>,
}

impl Column {
    /// The cell that the column lies in; none for a key.
    pub fn cell(&self) -> Option<CellId> {
        self.cell
    }
}

/// A catalogue that cannot be used, with every reason.
#[derive(Debug, thiserror::Error)]
#[error("the catalogue has {} holes; the first: {}", .0.len(), .0[0])]
pub struct CatalogueError(pub Vec<Finding>);

impl Catalogue {
    /// Reads and checks a catalogue without looking at the data.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let mut findings = Findings::default();
        let catalogue = Self::draft(text, &mut findings);
        let findings = findings.into_sorted();
        catalogue.filter(|_| findings.is_empty()).ok_or(CatalogueError(findings))
    }

    /// As much of a catalogue as can be understood. It may be used only when `findings` stays
    /// empty, or to find more holes.
    pub(crate) fn draft(text: &str, findings: &mut Findings) -> Option<Self> {
        match toml::from_str(text) {
            Ok(raw) => Some(build::Builder::new(text, findings).catalogue(raw)),
            Err(error) => {
                let line = error.span().map(|span| build::line(text, span.start));
                let message = error.message().lines().collect::<Vec<_>>().join("; ");
                findings.add(FILE, line, Hole::Syntax(message));
                None
            }
        }
    }

    /// The centre's code.
    pub fn centre(&self) -> &Name {
        &self.centre
    }

    /// Counts up from 1 with every change.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The language in which labels are complete (BCP 47).
    pub fn language(&self) -> &str {
        &self.language
    }

    /// In the catalogue's order.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Where rows come from, besides CSV files.
    pub(crate) fn sources(&self) -> &[origin::Declared] {
        &self.sources
    }

    /// The public part: tags and cells, with the hash of the whole.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The hash of the whole catalogue: equal for equal meaning, however the TOML is laid out.
    pub fn hash(&self) -> Hash {
        self.vocabulary.catalogue
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name.as_str() == name)
    }

    /// The cell of a column; none for a key or when there is no such column.
    pub fn cell_of(&self, table: &str, column: &str) -> Option<CellId> {
        self.table(table)?.column(column)?.cell
    }
}

impl Table {
    /// The column with this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.as_str() == name)
    }

    /// The positions of the columns that make up the key of the event a row is about.
    pub(crate) fn event_columns(&self) -> Vec<usize> {
        let is_event =
            |column: &Column| column.anchor.as_ref().map(Anchor::hub) == Some(Hub::Event);
        let columns = self.columns.iter().enumerate();
        columns.filter(|(_, column)| is_event(column)).map(|(position, _)| position).collect()
    }
}

/// Reads the text of a source's catalogue.
pub(crate) fn read(folder: &Path) -> Result<String, Hole> {
    let unreadable = |error: std::io::Error| Hole::Unreadable(error.to_string());
    let file = std::fs::File::open(folder.join(FILE)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Hole::Syntax(format!("the catalogue is larger than {BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Hole::Syntax("the catalogue is not UTF-8".to_owned()))
}
