//! Rows without the person whose they are: what analysts are given (`docs/adr/0018`).
//!
//! Invariants: a column appears only when the catalogue says how; each project knows a patient by a
//! pseudonym of its own, made with a secret that lies with the lake's keys; days and instants of a
//! patient are all moved by the same number of days; patients come in the order of their pseudonyms,
//! which says nothing about another project; one patient's rows are in memory at a time. While it runs
//! no ingest and no erasure does, so no row is handed out of who is erased meanwhile.
//! Absent on purpose: where the rows go, and who may see which groups of them.

use super::gather::{self, Chosen, ChosenColumn};
use super::{ReadError, Structured};
use crate::catalogue::{Analysed, Column, Table};
use crate::crypt::MacKey;
use crate::database::{self, Connection, DatabaseError, Lock};
use crate::frame::FrameKey;
use crate::index;
use crate::ingest::IngestError;
use crate::keys::{KeyError, PatientKey, read_while_rotated};
use crate::kind::Kind;
use crate::lake::{Lake, LayoutError, create_private};
use crate::layout::Layout;
use crate::lookup::{self, Found};
use crate::objects::ObjectError;
use crate::time::ZonedTime;
use crate::value::{self, Value};
use crate::workspace::{ANALYTICS, is_name};
use aegle_model::CellId;
use aegle_vault::Load;
use jiff::{SignedDuration, Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How far days are moved at most, either way.
const SHIFT_DAYS_MAX: i64 = 182;

/// A text of more bytes, or of more lines, is no code and is left out.
const CODE_MAX: usize = 64;

/// Times are told to the hour: a minute and a second would find a row again in the source.
const TIME_SECONDS: i64 = 3600;

/// An analysts' project: a name, and where its tables and its log lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    name: String,
    tables: PathBuf,
    folder: PathBuf,
}

/// A project that cannot be.
#[derive(Debug, thiserror::Error)]
#[error(
    "a project has a name of 1 to 64 small letters, digits, `-` and `_`, beginning with a letter"
)]
pub struct ProjectError;

impl Project {
    /// The project with this name in the lake in a folder, which is not looked at.
    pub fn new(lake: &Path, name: &str) -> Result<Self, ProjectError> {
        if !is_name(name) {
            return Err(ProjectError);
        }
        let (tables, folder) = (lake.join(ANALYTICS).join(name), lake.join("projects").join(name));
        Ok(Self { name: name.to_owned(), tables, folder })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of its tables. Whatever lies here is removed by the next erasure.
    pub fn tables(&self) -> &Path {
        &self.tables
    }

    /// The folder of what is kept about it, such as who asked what.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Rows that could not be handed out. No message names anybody.
#[derive(Debug, thiserror::Error)]
pub enum DeidentifyError {
    /// The catalogue says of no column how it may appear.
    #[error(
        "the catalogue lets no column into de-identified tables; give columns an `analytics`, raise \
         its version and ingest it"
    )]
    NoColumn,
    /// An ingest or an erasure is under way.
    #[error("an ingest into this lake, or an erasure, is under way; wait for it to end")]
    Busy,
    /// Somebody was erased while rows were handed out.
    #[error("somebody was erased meanwhile, so what was written was removed; run it again")]
    Erased,
    /// The lock file or a folder cannot be used.
    #[error("could not lock the lake, or not make the project's folders")]
    Io(#[from] std::io::Error),
    /// There is no usable catalogue.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was cut by an earlier catalogue cannot be cut by this one.
    #[error(
        "rows of table `{table}` came in under an earlier catalogue, by which they lie with a column \
         that was removed or has another type now; see in `aegle lake quarantine list` why the table \
         did not come in anew, and ingest it again"
    )]
    OtherCut {
        /// The table.
        table: String,
    },
    /// A patient's rows cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

impl From<rusqlite::Error> for DeidentifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error.into())
    }
}

impl From<ReadError> for DeidentifyError {
    fn from(error: ReadError) -> Self {
        match error {
            // Its advice is for requesters, who could ask for more.
            ReadError::OtherCut { table } => Self::OtherCut { table },
            other => Self::Read(other),
        }
    }
}

impl From<IngestError> for DeidentifyError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Lock(error) => Self::Io(error),
            _ => Self::Busy,
        }
    }
}

/// A table as analysts see it. Beside its columns each row has the pseudonym of its patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeidentifiedTable {
    /// Its name in the catalogue.
    pub name: String,
    /// In the catalogue's order; at least one.
    pub columns: Vec<DeidentifiedColumn>,
}

/// A column as analysts see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeidentifiedColumn {
    /// Its name in the catalogue.
    pub name: String,
    /// The type of its values here: a year is an integer.
    pub kind: Kind,
}

/// The rows of a lake for one project, patient by patient.
pub struct Deidentification<'a> {
    lake: &'a Lake,
    layout: Arc<Layout>,
    /// The cells in which something lies that may appear.
    chosen: Chosen,
    /// All cells. By an earlier catalogue what may appear lies with other columns than now, and a frame
    /// is opened only when all of its columns are chosen.
    all: Chosen,
    at: Load,
    secret: MacKey,
    tables: Vec<DeidentifiedTable>,
    /// The place of each of these in the catalogue.
    places: Vec<usize>,
    /// Who is left, by pseudonym: 32 bytes each.
    left: Vec<([u8; 16], PatientKey)>,
    lost: u64,
    /// The last erasure that it was begun after.
    erasures: i64,
    _alone: Lock<'a>,
}

impl Lake {
    /// Begins to hand out what the lake holds now, for one project, which is made when it is new.
    pub fn deidentify(&self, project: &str) -> Result<Deidentification<'_>, DeidentifyError> {
        let project = Project::new(&self.root, project)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
        let alone = self.lock_ingest()?;
        self.finish_erasures()?;
        self.follow_erasures()?;
        let erasures = self.last_erasure()?;
        let layout = self.current_layout()?;
        let (tables, places) = tables(&layout);
        if tables.is_empty() {
            return Err(DeidentifyError::NoColumn);
        }
        create_private(project.tables())?;
        create_private(project.folder())?;
        let secret = self.keys.project(project.name())?;
        let (at, left) = self.lookup.read(|connection| {
            let at = index::load_at(connection, None)?;
            Ok::<_, DeidentifyError>((at, patients(connection, &secret)?))
        })?;
        let chosen = Chosen::new(&layout, &cells(&layout, |column| column.analytics.is_some()));
        let all = Chosen::new(&layout, &cells(&layout, |_| true));
        Ok(Deidentification {
            lake: self,
            layout,
            chosen,
            all,
            at,
            secret,
            tables,
            places,
            left,
            lost: 0,
            erasures,
            _alone: alone,
        })
    }
}

impl Deidentification<'_> {
    /// In the catalogue's order; at least one.
    pub fn tables(&self) -> &[DeidentifiedTable] {
        &self.tables
    }

    /// How many patients are left, of whom some may have no row.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// How many rows could not be handed out so far, because the lake has lost them for good.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Makes sure that nobody was erased meanwhile, as can be when this process has lost its lock to
    /// another that shares the lake. If somebody was, all tables are removed.
    pub fn check(&self) -> Result<(), DeidentifyError> {
        if self.lake.last_erasure()? == self.erasures {
            return Ok(());
        }
        self.lake.remove_analytics()?;
        Err(DeidentifyError::Erased)
    }

    /// Hands out the rows of one more patient: the place of the table, the pseudonym in hex and the
    /// values of the table's columns. False when nobody was left.
    pub fn next(
        &mut self,
        row: &mut dyn FnMut(usize, &str, &[Value]),
    ) -> Result<bool, DeidentifyError> {
        let Some((pseudonym, patient)) = self.left.pop() else { return Ok(false) };
        let look_up = || self.lake.lookup.read(|connection| self.look_up(connection, patient));
        let structured = read_while_rotated(look_up, ReadError::key)?;
        let Some(structured) = structured else { return Ok(true) };
        let (pseudonym, days) = (hex::encode(pseudonym), shift(&self.secret, &patient));
        for (table, place) in self.places.iter().enumerate() {
            let named = self.layout.catalogue.tables()[*place].name.as_str();
            for found in structured.found.iter().filter(|found| found.table == named) {
                if found.lost {
                    self.lost += u64::from(found.held(self.at));
                    continue;
                }
                self.extent((&structured, found), *place, &mut |fields| {
                    let values = fields.iter().map(|(how, value)| shown(*how, value, days));
                    row(table, &pseudonym, &values.collect::<Vec<_>>());
                })?;
            }
        }
        Ok(true)
    }

    /// What there is of a patient; none when it was erased.
    fn look_up(
        &self,
        connection: &Connection,
        patient: PatientKey,
    ) -> Result<Option<Structured>, ReadError> {
        let found = lookup::find(connection, &patient, Some(self.at))?;
        let key = self.lake.keys.data_key(connection, &patient)?;
        let (Some(key), false) = (key, found.is_empty()) else { return Ok(None) };
        let layout = Arc::clone(&self.layout);
        let earlier = super::earlier(connection, &layout, &found)?;
        let loads = BTreeMap::new();
        Ok(Some(Structured { layout, earlier, patient, key, at: self.at, loads, found }))
    }

    /// Opens one extent and hands out, row by row, the values that may appear.
    fn extent(
        &self,
        (structured, found): (&Structured, &Found),
        place: usize,
        row: &mut dyn FnMut(&Kept),
    ) -> Result<(), ReadError> {
        let is_cut_as_now = found.meaning == self.layout.meanings[place];
        let columns = if is_cut_as_now { &self.chosen } else { &self.all }.of(place);
        let opening = structured.opening(found, place, columns)?;
        let mut rows = Zeroizing::new(Vec::new());
        let key = FrameKey::new(&structured.key);
        let altered = || ObjectError::Altered(hex::encode(found.pack));
        let joined = self.lake.again(&found.pack, || {
            rows.clear();
            let mut extent = self.lake.extent(found)?;
            let joined = gather::join(&key, (structured, found), &opening, &mut extent, &mut rows);
            joined.ok_or_else(altered)
        });
        let count = joined?.len();
        let (table, mut rest) = (&self.layout.catalogue.tables()[place], rows.as_slice());
        for _ in 0..count {
            row(&values(table, columns, &mut rest).ok_or_else(altered)?);
        }
        Ok(())
    }
}

/// The values of a row that may appear, and how.
type Kept = Vec<(Analysed, Value)>;

/// Takes one row off the front of `rest` and keeps what may appear of it.
fn values(table: &Table, columns: &[ChosenColumn], rest: &mut &[u8]) -> Option<Kept> {
    let mut kept = Kept::new();
    for chosen in columns {
        let mut field = value::take(rest)?;
        if let Some(how) = table.columns[chosen.column].analytics {
            kept.push((how, Value::decode(&mut field)?));
        }
    }
    Some(kept)
}

/// The tables of which something may appear, and their places in the catalogue.
fn tables(layout: &Layout) -> (Vec<DeidentifiedTable>, Vec<usize>) {
    let column = |column: &Column| {
        let kind = match column.analytics? {
            Analysed::Year => Kind::Integer,
            Analysed::Value | Analysed::Code | Analysed::Shift => column.kind,
        };
        Some(DeidentifiedColumn { name: column.name.to_string(), kind })
    };
    let tables = layout.catalogue.tables().iter().enumerate().map(|(place, table)| {
        let columns = table.columns.iter().filter_map(column).collect();
        (DeidentifiedTable { name: table.name.to_string(), columns }, place)
    });
    tables.filter(|(table, _)| !table.columns.is_empty()).unzip()
}

/// The cells of the columns that are wanted; keys lie in none.
fn cells(layout: &Layout, wanted: impl Fn(&Column) -> bool) -> BTreeSet<CellId> {
    let columns = layout.catalogue.tables().iter().flat_map(|table| &table.columns);
    columns.filter(|column| wanted(column)).filter_map(Column::cell).collect()
}

/// Everybody the index knows, the last pseudonym first.
fn patients(
    connection: &Connection,
    secret: &MacKey,
) -> database::Result<Vec<([u8; 16], PatientKey)>> {
    let mut select = connection.prepare_cached("SELECT DISTINCT patient FROM extent")?;
    let patients = select.query_map([], |row| {
        let patient: PatientKey = row.get(0)?;
        Ok((pseudonym(secret, &patient), patient))
    })?;
    let mut patients: Vec<_> = patients.collect::<database::Result<_>>()?;
    patients.sort_unstable_by(|one, other| other.cmp(one));
    Ok(patients)
}

fn pseudonym(secret: &MacKey, patient: &PatientKey) -> [u8; 16] {
    let mac = secret.mac("aegle project patient v1", &[patient]);
    *mac.first_chunk().expect("32 bytes hold 16")
}

/// By how many days everything of the patient is moved in the project.
fn shift(secret: &MacKey, patient: &PatientKey) -> i64 {
    let mac = secret.mac("aegle project shift v1", &[patient]);
    let number = u64::from_le_bytes(*mac.first_chunk().expect("32 bytes hold 8"));
    let choices = 2 * SHIFT_DAYS_MAX.cast_unsigned() + 1;
    (number % choices).cast_signed() - SHIFT_DAYS_MAX
}

/// What a value looks like to analysts; null when it cannot be shown.
fn shown(how: Analysed, value: &Value, days: i64) -> Value {
    let shown = match (how, value) {
        (Analysed::Value, Value::Integer(_) | Value::Decimal(_) | Value::Boolean(_)) => {
            Some(value.clone())
        }
        (Analysed::Code, Value::Text(text)) => {
            let is_code = text.len() <= CODE_MAX && !text.chars().any(char::is_control);
            is_code.then(|| value.clone())
        }
        (Analysed::Shift, Value::Date(date)) => {
            date.checked_add(Span::new().days(days)).ok().map(Value::Date)
        }
        (Analysed::Shift, Value::Time(time)) => moved(time.instant(), days),
        (Analysed::Year, Value::Date(date)) => Some(Value::Integer(date.year().into())),
        (Analysed::Year, Value::Time(time)) => Some(Value::Integer(time.year().into())),
        _ => None,
    };
    shown.unwrap_or(Value::Null)
}

fn moved(at: Timestamp, days: i64) -> Option<Value> {
    let at = at.checked_add(SignedDuration::from_hours(24 * days)).ok()?;
    let hour = at.as_second().div_euclid(TIME_SECONDS) * TIME_SECONDS;
    Some(Value::Time(ZonedTime::zulu(Timestamp::from_second(hour).ok()?)))
}

#[cfg(test)]
mod tests;
