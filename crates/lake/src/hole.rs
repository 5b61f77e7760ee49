//! What can be wrong with a source. No message ever shows a value of the data.

use crate::kind::Kind;
use aegle_model::Name;
use aegle_vault::{AnchorError, Hub};

/// One kind of mistake in one place of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Hole {
    /// The file is not there or cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The catalogue is no TOML, or has a field too many or too few.
    #[error("{0}")]
    Syntax(String),
    /// A name that no other room would take.
    #[error("the {0} is no name; a name has 1 to {max} bytes, no control character and no `@`", max = Name::MAX)]
    BadName(&'static str),
    /// A language that is no BCP 47 tag.
    #[error("`{0}` is no language; write a BCP 47 tag such as `en` or `nl-BE`")]
    Language(String),
    /// Versions count from 1.
    #[error("the version is 0; versions count up from 1")]
    VersionZero,
    /// The catalogue has no table.
    #[error("the catalogue has no table; give it at least one")]
    NoTable,
    /// More cells or tags than a request can carry.
    #[error("{0}; let more columns share the same tags")]
    TooMany(String),
    /// A tag is declared and no column carries it.
    #[error("no column carries the tag `{tag}`; give it to a column or remove it")]
    UnusedTag {
        /// The tag.
        tag: Name,
    },
    /// A table's file is outside the source folder.
    #[error("the file of table `{table}` is no plain file name; put it into the source folder")]
    FileName {
        /// The table.
        table: Name,
    },
    /// The column that holds the patient number is not there or no key.
    #[error("table `{table}` names `{column}` as its patient number, which is no key column of it")]
    PatientColumn {
        /// The table.
        table: Name,
        /// The column.
        column: String,
    },
    /// The table to look a patient up through is not there or has no patient number itself.
    #[error(
        "table `{table}` finds its patients through `{through}`, which is no table with a patient number of its own"
    )]
    Through {
        /// The table.
        table: Name,
        /// The table that should know the patient.
        through: String,
    },
    /// The column to look a patient up by is missing on one side.
    #[error(
        "table `{table}` finds its patients by `{column}`, which table `{missing}` does not have"
    )]
    On {
        /// The table.
        table: Name,
        /// The column.
        column: String,
        /// The table without the column.
        missing: Name,
    },
    /// A column has a type that does not exist.
    #[error("column `{column}` of table `{table}` has the unknown type `{kind}`; the types are {types}", types = types())]
    UnknownType {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// What stands where the type should.
        kind: String,
    },
    /// A column carries no tag.
    #[error(
        "column `{column}` of table `{table}` carries no tag; give it at least one, or mark it as a key"
    )]
    Untagged {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
    },
    /// A key column carries a tag.
    #[error(
        "column `{column}` of table `{table}` is a key and carries a tag; keys are never disclosed"
    )]
    TaggedKey {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
    },
    /// A column carries a tag that is not declared.
    #[error(
        "column `{column}` of table `{table}` carries the tag `{tag}`, which [tags] does not declare"
    )]
    UndeclaredTag {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// The tag.
        tag: String,
    },
    /// A column names the same tag twice.
    #[error("column `{column}` of table `{table}` carries the tag `{tag}` twice")]
    RepeatedTag {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// The tag.
        tag: Name,
    },
    /// A column appears or joins a tag at a version that cannot be.
    #[error(
        "column `{column}` of table `{table}` cannot have `{what}`; versions run from the column's first to the catalogue's"
    )]
    Version {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// `since`, or the tag.
        what: String,
    },
    /// A column is anchored at a hub that is none.
    #[error("column `{column}` of table `{table}` cannot be anchored at its hub: {reason}")]
    Anchor {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// Why not.
        reason: AnchorError,
    },
    /// A column is anchored at a hub whose business keys are never of its type.
    #[error(
        "column `{column}` of table `{table}` is {shape} and cannot be a business key of the hub `{hub}`; a time is a `date` or a `time`, every other key is `text` or an `integer`",
        shape = kind.shape(), hub = hub.name()
    )]
    AnchorKind {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// The hub.
        hub: Hub,
        /// The type.
        kind: Kind,
    },
    /// Two columns of a table are anchored at two different events.
    #[error(
        "column `{column}` of table `{table}` is anchored at another event than the columns before; a row is about one event"
    )]
    SecondEvent {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
    },
    /// The patient number is anchored at a hub.
    #[error(
        "column `{column}` of table `{table}` holds the patient number, which is the patient's business key already; remove its `hub`"
    )]
    AnchoredPatient {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
    },
    /// A column cannot appear in de-identified tables as it says.
    #[error("column `{column}` of table `{table}` cannot have its `analytics`: {reason}")]
    Analytics {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// Why not.
        reason: &'static str,
    },
    /// No header names a column of the table.
    #[error("the first line names no column of table `{table}`; the header row is missing")]
    NoHeader {
        /// The table.
        table: Name,
    },
    /// A column of the file is not in the catalogue.
    #[error("column {position}{name} is not in the catalogue")]
    NotInCatalogue {
        /// Counted from 1.
        position: usize,
        /// The header, in backticks after a space, when it is fit to print.
        name: String,
    },
    /// A column of the catalogue is not in the file.
    #[error("column `{column}` of the catalogue is not in the file")]
    NotInFile {
        /// The column.
        column: Name,
    },
    /// A header stands twice.
    #[error("column `{column}` stands in the header twice")]
    RepeatedHeader {
        /// The column.
        column: Name,
    },
    /// A record is longer than any record may be.
    #[error(
        "a record is longer than {max} bytes, or a quote is never closed; the rest of the file was not read"
    )]
    TooLong {
        /// The limit in bytes.
        max: u64,
    },
    /// A record has more or fewer fields than the header.
    #[error("the record does not have the {expected} fields of the header")]
    FieldCount {
        /// How many fields the header has.
        expected: usize,
    },
    /// A field is not UTF-8.
    #[error("column `{column}` is not UTF-8")]
    NotUtf8 {
        /// The column.
        column: Name,
    },
    /// A field is not of its column's type.
    #[error("column `{column}` is not {shape}", shape = kind.shape())]
    NotOfType {
        /// The column.
        column: Name,
        /// The type.
        kind: Kind,
    },
    /// A table comes from a source that the catalogue does not describe.
    #[error("table `{table}` comes from `{origin}`, which [sources] does not describe")]
    UnknownSource {
        /// The table.
        table: Name,
        /// The source it names.
        origin: String,
    },
    /// A source has a type that does not exist.
    #[error("source `{origin}` has the unknown type `{format}`; the types are {types}", types = formats())]
    UnknownFormat {
        /// The source.
        origin: Name,
        /// What stands where the type should.
        format: String,
    },
    /// A setting of a source is missing or cannot be.
    #[error("source `{origin}` needs a setting `{setting}`; it must be {shape}")]
    Setting {
        /// The source.
        origin: Name,
        /// The setting.
        setting: String,
        /// What it must be.
        shape: &'static str,
    },
    /// A source has a setting that its type does not know.
    #[error("source `{origin}` cannot have `{setting}`; its settings are {known}")]
    UnknownSetting {
        /// The source.
        origin: Name,
        /// The setting.
        setting: String,
        /// Those that there are.
        known: String,
    },
    /// No table comes from a source.
    #[error("no table comes from source `{origin}`; name it in a table's `from` or remove it")]
    UnusedSource {
        /// The source.
        origin: Name,
    },
    /// A table does not say what is selected from its source.
    #[error("`select` of table `{table}` must be {shape}")]
    Select {
        /// The table.
        table: Name,
        /// What it must be.
        shape: &'static str,
    },
    /// A path by which nothing can be found.
    #[error("`{path}` of table `{table}` is no path; it must be {shape}")]
    Path {
        /// The table.
        table: Name,
        /// The path.
        path: String,
        /// What it must be.
        shape: &'static str,
    },
    /// A table says what has no meaning for its type of source.
    #[error(
        "`{what}` of table `{table}` has no meaning for a source of type `{format}`; remove it"
    )]
    NotForFormat {
        /// The table.
        table: Name,
        /// What it says.
        what: &'static str,
        /// The type of its source.
        format: &'static str,
    },
    /// A record that is not what its source should hold.
    #[error("the record is no {what}; the rest of it was not read")]
    Malformed {
        /// What it should be.
        what: &'static str,
    },
    /// A file that must be read whole is too large.
    #[error("the file is larger than {max} bytes; cut it into smaller ones")]
    FileTooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// A document is larger than what can be delivered.
    #[error(
        "the document is larger than {max} bytes, more than a part can carry; leave it out of the source"
    )]
    DocumentTooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// A document is not what its name says.
    #[error("the file is not what its name says; PDF, PNG and JPEG are taken by their content")]
    NotADocument,
    /// A path leads to more than one value.
    #[error("column `{column}` has more than one value here; narrow its path so that one is left")]
    ManyValues {
        /// The column.
        column: Name,
    },
    /// Times have no zone.
    #[error(
        "column `{column}` holds times without a zone; say in `zone` of the source which it is"
    )]
    NoZone {
        /// The column.
        column: Name,
    },
    /// A database cannot be read.
    #[error("the database cannot be read: {0}")]
    Database(String),
    /// A row that can be given to nobody.
    #[error("the row belongs to no patient")]
    NoPatient,
}

impl Hole {
    /// Whether only single rows have this hole, which can be left out.
    pub(crate) fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Self::NoPatient
                | Self::FieldCount { .. }
                | Self::NotUtf8 { .. }
                | Self::NotOfType { .. }
                | Self::ManyValues { .. }
                | Self::DocumentTooLarge { .. }
                | Self::NotADocument
        )
    }

    /// Whether what has this hole can be left out, so that the rest is still what it should be.
    pub(crate) fn can_be_left_out(&self) -> bool {
        self.is_of_a_row() || matches!(self, Self::NotInCatalogue { .. })
    }

    /// The column that single rows have this hole in.
    pub(crate) fn column(&self) -> Option<&Name> {
        match self {
            Self::NotUtf8 { column }
            | Self::NotOfType { column, .. }
            | Self::ManyValues { column } => Some(column),
            _ => None,
        }
    }

    /// Whether a source with this hole may be whole again later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Database(_))
    }

    /// Whether data with this hole can be loaded all the same, leaving the row out.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::NoPatient)
    }
}

fn formats() -> String {
    crate::source::TYPES.map(|kind| kind.name).join(", ")
}

fn types() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}
