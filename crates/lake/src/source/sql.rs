//! What all databases have in common: one snapshot, and only the columns that the catalogue names.
//!
//! ```toml
//! [sources.his]
//! type = "postgres"                       # or "mysql", for MariaDB, too
//! host = "db.hospital.example"            # or the path of a Unix socket
//! database = "his"
//! user = "aegle"                          # needs SELECT on the columns, nothing else
//! password_file = "/run/credentials/his"
//! ca_file = "/etc/aegle/his-ca.pem"       # TLS is verified; `tls = "off"` on this machine only
//! zone = "Europe/Amsterdam"               # of times that are stored without one
//!
//! [tables.medication_use]
//! from = "his"
//! select = "public.medication_use"        # the table or view; its own name by default
//! where = { ward = "3A" }
//! watermark = "changed_at"                # grows with every change; without it all rows are hashed
//! patient = "patnr"
//!
//! [tables.medication_use.columns]
//! patnr   = { type = "text", key = true }
//! product = { type = "text", path = "product_name", tags = ["medication"] }
//! ```
//!
//! All tables of one source are read in one read-only transaction on one snapshot, row by row. The
//! database turns each value into text, cut at one character more than is taken, and sorts the rows
//! by it, so that they come in the same order whatever the server does. Where there is a watermark,
//! a table counts as unchanged, and is not read, while its number of rows and its greatest watermark
//! are the same. That is all it is for: after one change the whole table is read again, as without
//! one, and compared with what the lake holds row by row, so that only new rows are stored.
//! Messages show a server's code, never its text, which can hold values.

use super::{
    Content, Record, Rows, Setting, Settings, Shape, Source, Unreadable, ZONE, ZONE_SETTING, local,
};
use crate::catalogue::{Column, Table};
use crate::crypt::{self, MacKey};
use crate::document::DOCUMENT_MAX;
use crate::finding::Findings;
use crate::hole::Hole;
use crate::kind::Kind;
use crate::source::RECORD_MAX;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// How long a server may take to answer at first.
const PATIENCE: Duration = Duration::from_secs(30);

const ANY: Shape = Shape { text: "a text", fits: |text| !text.is_empty() };

const fn setting(name: &'static str, needed: bool, shape: Shape) -> Setting {
    Setting { name, needed, shape }
}

pub(super) const SETTINGS: &[Setting] = &[
    setting("host", true, ANY),
    setting(
        "port",
        false,
        Shape { text: "a port number", fits: |text| text.parse::<u16>().is_ok() },
    ),
    setting("database", true, ANY),
    setting("user", true, ANY),
    setting("password_file", false, ANY),
    setting("ca_file", false, ANY),
    setting(
        "tls",
        false,
        Shape { text: "`verify` or `off`", fits: |text| ["verify", "off"].contains(&text) },
    ),
    ZONE_SETTING,
];

/// A table's name, with its schema or without.
pub(super) const TABLE: Shape = Shape {
    text: "a table or `schema.table`, in letters, digits and `_`",
    fits: |text| (1..=2).contains(&text.split('.').count()) && text.split('.').all(is_name),
};

pub(super) const COLUMN: Shape =
    Shape { text: "the name of a column, in letters, digits and `_`", fits: is_name };

/// A name that needs no care in quotes of any kind.
fn is_name(text: &str) -> bool {
    let fits = |sign: char| sign.is_alphanumeric() || sign == '_' || sign == '$';
    (1..=64).contains(&text.len()) && text.chars().all(fits)
}

/// How one kind of server is spoken to.
pub(super) struct Dialect {
    pub(super) port: u16,
    pub(super) connect: fn(Target) -> Connecting,
    /// Begins the snapshot.
    pub(super) begin: &'static [&'static str],
    pub(super) quote: fn(&str) -> String,
    /// The schema of a table that names none.
    pub(super) schema: &'static str,
    pub(super) parameter: fn(usize) -> String,
    /// A column as text.
    pub(super) text: fn(&str) -> String,
    /// A text as it sorts byte by byte.
    pub(super) ordered: fn(&str) -> String,
    /// So many first characters of a text.
    pub(super) first: fn(&str, u64) -> String,
    /// So many first bytes of a column of bytes.
    pub(super) bytes: fn(&str, u64) -> String,
    /// A time as RFC 3339, but for the zone.
    pub(super) time: fn(&str) -> String,
    pub(super) boolean: fn(&str) -> String,
    /// What [`time`](Self::time) lacks for a column that has a zone.
    pub(super) zone: &'static str,
    /// Whether a column of this type of the server's has a zone.
    pub(super) is_zoned: fn(&str) -> bool,
    /// Whether a column of this type of the server's is of bytes.
    pub(super) is_bytes: fn(&str) -> bool,
}

/// A connection that is being made.
pub(super) type Connecting = BoxFuture<'static, Result<Box<dyn Server>, sqlx::Error>>;

/// A connection.
pub(super) trait Server: Send {
    fn run(&mut self, sql: &'static str) -> BoxFuture<'_, Result<(), sqlx::Error>>;

    fn rows(
        &mut self,
        sql: String,
        values: Vec<String>,
    ) -> BoxStream<'_, Result<Box<dyn Fields>, sqlx::Error>>;
}

/// One row as the server sends it.
pub(super) trait Fields: Send {
    fn field(&self, index: usize) -> Result<Option<&[u8]>, sqlx::Error>;
}

/// Where a server is and who asks it.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) ca_file: Option<PathBuf>,
    /// Whether TLS is used, and the server's name verified.
    pub(super) verify: bool,
}

impl Target {
    fn new(folder: &Path, settings: &Settings, dialect: &Dialect) -> Result<Self, String> {
        let text = |name| settings.get(name).unwrap_or_default().to_owned();
        let host = text("host");
        let is_local = host.starts_with('/') || ["localhost", "127.0.0.1", "::1"].contains(&&*host);
        if settings.get("tls") == Some("off") && !is_local {
            return Err("without TLS only a server on this machine can be used".to_owned());
        }
        let password = settings.get("password_file").map(|file| {
            let read = std::fs::read_to_string(folder.join(file));
            let password = read.map_err(|error| format!("its password file: {error}"))?;
            Ok::<_, String>(Zeroizing::new(password.trim_end_matches(['\r', '\n']).to_owned()))
        });
        Ok(Self {
            port: settings.get("port").and_then(|port| port.parse().ok()).unwrap_or(dialect.port),
            database: text("database"),
            user: text("user"),
            password: password.transpose()?,
            ca_file: settings.get("ca_file").map(|file| folder.join(file)),
            verify: settings.get("tls").map_or(!is_local, |tls| tls == "verify"),
            host,
        })
    }
}

pub(super) fn open(
    folder: &Path,
    settings: &Settings,
    dialect: &'static Dialect,
) -> Box<dyn Source> {
    Box::new(Database {
        dialect,
        name: settings.name.clone(),
        target: Some(Target::new(folder, settings, dialect)),
        zone: local::zone(settings.get(ZONE.name)),
        session: None,
        known: BTreeMap::new(),
    })
}

/// One database, connected when it is first needed and only once.
struct Database {
    dialect: &'static Dialect,
    name: String,
    target: Option<Result<Target, String>>,
    zone: Option<TimeZone>,
    session: Option<Result<Session, String>>,
    /// What tables hold in the snapshot.
    known: BTreeMap<String, Content>,
}

/// A connection with its snapshot. Dropped in this order.
struct Session {
    server: Box<dyn Server>,
    runtime: Runtime,
}

impl Session {
    fn open(dialect: &Dialect, target: Target) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let server = runtime.block_on(async {
            let connect = async {
                let mut server = (dialect.connect)(target).await?;
                for sql in dialect.begin {
                    server.run(sql).await?;
                }
                Ok(server)
            };
            let late = |_| format!("it did not answer within {} seconds", PATIENCE.as_secs());
            let connected = tokio::time::timeout(PATIENCE, connect).await.map_err(late)?;
            connected.map_err(|error| why(&error))
        })?;
        Ok(Self { server, runtime })
    }

    /// Calls `each` for every row.
    fn read(
        &mut self,
        (sql, values): (String, Vec<String>),
        mut each: impl FnMut(&dyn Fields) -> Result<(), sqlx::Error>,
    ) -> Result<(), String> {
        let Self { server, runtime } = self;
        let mut rows = server.rows(sql, values);
        while let Some(row) = runtime.block_on(rows.next()) {
            row.and_then(|row| each(&*row)).map_err(|error| why(&error))?;
        }
        Ok(())
    }
}

/// What went wrong, without anything that a server could have put values into.
fn why(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => "the server refuses the user or the password".to_owned(),
            Some("42501") => "the user may not read this; grant SELECT on its columns".to_owned(),
            Some(code) => format!("the server answers with error {code}"),
            None => "the server answers with an error".to_owned(),
        },
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(_) => "the server's certificate cannot be verified".to_owned(),
        sqlx::Error::Configuration(_) => "its settings cannot be used".to_owned(),
        _ => "the connection failed".to_owned(),
    }
}

impl Database {
    fn session(&mut self) -> Result<&mut Session, String> {
        if let Some(target) = self.target.take() {
            self.session = Some(target.and_then(|target| Session::open(self.dialect, target)));
        }
        let session = self.session.as_mut().ok_or("it is not connected")?;
        session.as_mut().map_err(|why| why.clone())
    }

    /// The types of the columns that the server has, by name.
    fn describe(&mut self, table: &Table) -> Result<BTreeMap<String, String>, String> {
        let dialect = self.dialect;
        let select = table.origin.select.as_str();
        let (schema, name) = match select.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, select),
        };
        let (text, parameter) = (dialect.text, dialect.parameter);
        let schema_is = schema.map_or(dialect.schema.to_owned(), |_| parameter(2));
        let sql = format!(
            "SELECT {}, {} FROM information_schema.columns WHERE table_name = {} AND table_schema = {schema_is}",
            text("column_name"),
            text("data_type"),
            parameter(1)
        );
        let values = std::iter::once(name).chain(schema).map(str::to_owned).collect();
        let mut columns = BTreeMap::new();
        self.session()?.read((sql, values), |row| {
            let text = |index| {
                let bytes = row.field(index)?.unwrap_or_default();
                Ok::<_, sqlx::Error>(String::from_utf8_lossy(bytes).into_owned())
            };
            columns.insert(text(0)?, text(1)?);
            Ok(())
        })?;
        Ok(columns)
    }

    fn measure(&mut self, table: &Table, naming: &MacKey) -> Result<Content, String> {
        let dialect = self.dialect;
        let (mut context, mut bytes) = (naming.context("aegle lake rows v1"), 0);
        let mut add = |row: &dyn Fields, width: usize| {
            for index in 0..width {
                let field = row.field(index)?;
                let length = field.map_or(u64::MAX, |field| field.len() as u64);
                context.update(&length.to_le_bytes());
                context.update(field.unwrap_or_default());
                bytes += field.map_or(0, |field| field.len() as u64);
            }
            Ok(())
        };
        if let Some(watermark) = &table.origin.watermark {
            let query = dialect.marks(table, watermark);
            self.session()?.read(query, |row| add(row, 2))?;
        } else {
            let columns = self.describe(table)?;
            let query = dialect.select(table, &columns);
            self.session()?.read(query, |row| add(row, table.columns.len()))?;
        }
        Ok(Content { hash: crypt::tag(context.sign()), bytes })
    }
}

impl Source for Database {
    fn content(&mut self, table: &Table, naming: &MacKey) -> Result<Content, Unreadable> {
        if let Some(content) = self.known.get(table.name.as_str()) {
            return Ok(*content);
        }
        let content = self.measure(table, naming).map_err(|why| Unreadable {
            file: format!("{}.{}", self.name, table.origin.select),
            source: io::Error::other(why),
        })?;
        self.known.insert(table.name.to_string(), content);
        Ok(content)
    }

    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>> {
        let file: Arc<str> = Arc::from(format!("{}.{}", self.name, table.origin.select));
        let (dialect, zone) = (self.dialect, self.zone.clone());
        let columns = self.describe(table);
        let columns = columns.map_err(|why| findings.add(&file, None, Hole::Database(why))).ok()?;
        let plan = Plan::new(dialect, table, (&columns, zone), (&file, findings))?;
        let query = dialect.select(table, &columns);
        let Session { server, runtime } = self.session().ok()?;
        let stream = server.rows(query.0, query.1);
        Some(Box::new(Selected { table, file, plan, stream, runtime, row: 0 }))
    }
}

impl Dialect {
    /// The query for the rows of a table.
    fn select(&self, table: &Table, types: &BTreeMap<String, String>) -> (String, Vec<String>) {
        let pairs = || table.columns.iter().zip(&table.origin.paths);
        let fields: Vec<_> =
            pairs().map(|(column, path)| self.field(column, path, types)).collect();
        let sorted = pairs().filter(|(column, _)| column.kind != Kind::Bytes);
        let sorted: Vec<_> =
            sorted.map(|(_, path)| (self.ordered)(&(self.text)(&(self.quote)(path)))).collect();
        let (narrowed, values) = self.narrowed(table);
        let order = if sorted.is_empty() { "1".to_owned() } else { sorted.join(", ") };
        let fields = fields.join(", ");
        (format!("SELECT {fields} FROM {narrowed} ORDER BY {order}"), values)
    }

    fn field(&self, column: &Column, path: &str, types: &BTreeMap<String, String>) -> String {
        let quoted = (self.quote)(path);
        let is_bytes = types.get(path).is_some_and(|kind| (self.is_bytes)(kind));
        match column.kind {
            Kind::Bytes if is_bytes => (self.bytes)(&quoted, DOCUMENT_MAX + 1),
            Kind::Time => (self.time)(&quoted),
            Kind::Boolean => (self.boolean)(&quoted),
            _ => (self.first)(&(self.text)(&quoted), RECORD_MAX + 1),
        }
    }

    /// The query for what a watermark tells.
    fn marks(&self, table: &Table, watermark: &str) -> (String, Vec<String>) {
        let (narrowed, values) = self.narrowed(table);
        let greatest = (self.text)(&format!("max({})", (self.quote)(watermark)));
        (format!("SELECT {}, {greatest} FROM {narrowed}", (self.text)("count(*)")), values)
    }

    fn narrowed(&self, table: &Table) -> (String, Vec<String>) {
        let name: Vec<_> = table.origin.select.split('.').map(self.quote).collect();
        let mut sql = name.join(".");
        let mut values = Vec::new();
        for (path, value) in &table.origin.filter {
            let word = if values.is_empty() { "WHERE" } else { "AND" };
            values.push(value.clone());
            let (text, place) = ((self.text)(&(self.quote)(path)), (self.parameter)(values.len()));
            sql = format!("{sql} {word} {text} = {place}");
        }
        (sql, values)
    }
}

/// How the fields of each column are taken.
struct Plan(Vec<Take>);

enum Take {
    Text,
    Bytes,
    /// A time; what is appended to it.
    Zoned(&'static str),
    /// A time of this zone.
    Local(TimeZone),
}

impl Plan {
    /// Names the columns that are not there, and times that nobody knows the zone of.
    fn new(
        dialect: &Dialect,
        table: &Table,
        (types, zone): (&BTreeMap<String, String>, Option<TimeZone>),
        (file, findings): (&str, &mut Findings),
    ) -> Option<Self> {
        if types.is_empty() {
            let hole =
                Hole::Database("there is no such table, or its columns are not granted".to_owned());
            findings.add(file, None, hole);
            return None;
        }
        let mut takes = Vec::new();
        for (column, path) in table.columns.iter().zip(&table.origin.paths) {
            let name = || column.name.clone();
            let hole = match types.get(path) {
                None => Some(Hole::NotInFile { column: name() }),
                Some(kind) if column.kind == Kind::Time && !(dialect.is_zoned)(kind) => {
                    takes.extend(zone.clone().map(Take::Local));
                    zone.is_none().then(|| Hole::NoZone { column: name() })
                }
                Some(kind) => {
                    takes.push(match column.kind {
                        Kind::Time => Take::Zoned(dialect.zone),
                        Kind::Bytes if (dialect.is_bytes)(kind) => Take::Bytes,
                        _ => Take::Text,
                    });
                    None
                }
            };
            if let Some(hole) = hole {
                findings.add(file, None, hole);
            }
        }
        (takes.len() == table.columns.len()).then_some(Self(takes))
    }
}

/// The rows of one table.
struct Selected<'a> {
    table: &'a Table,
    file: Arc<str>,
    plan: Plan,
    stream: BoxStream<'a, Result<Box<dyn Fields>, sqlx::Error>>,
    runtime: &'a Runtime,
    row: u64,
}

impl Rows for Selected<'_> {
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool {
        loop {
            let Some(row) = self.runtime.block_on(self.stream.next()) else { return false };
            self.row += 1;
            match row.and_then(|row| self.fill(&*row, record)) {
                Ok(None) => return true,
                Ok(Some(hole)) => findings.add(&self.file, self.row, hole),
                Err(error) => {
                    findings.add(&self.file, self.row, Hole::Database(why(&error)));
                    return false;
                }
            }
        }
    }
}

impl Selected<'_> {
    /// Fills the record; the hole that the row is instead.
    fn fill(&self, row: &dyn Fields, record: &mut Record) -> Result<Option<Hole>, sqlx::Error> {
        record.begin(&self.file, self.row);
        for (index, (column, take)) in self.table.columns.iter().zip(&self.plan.0).enumerate() {
            let field = row.field(index)?.unwrap_or_default();
            match take {
                Take::Bytes if field.len() as u64 > DOCUMENT_MAX => {
                    return Ok(Some(Hole::DocumentTooLarge { max: DOCUMENT_MAX }));
                }
                Take::Bytes => record.raw(field),
                _ if field.len() as u64 > RECORD_MAX => {
                    return Ok(Some(Hole::TooLong { max: RECORD_MAX }));
                }
                _ if field.is_empty() => record.text(field),
                Take::Text => record.text(field),
                Take::Zoned(zone) => record.text(&[field, zone.as_bytes()].concat()),
                Take::Local(zone) => {
                    let text = std::str::from_utf8(field).ok();
                    let Some(text) = text.and_then(|text| local::zoned(text, zone)) else {
                        let (column, kind) = (column.name.clone(), column.kind);
                        return Ok(Some(Hole::NotOfType { column, kind }));
                    };
                    record.text(text.as_bytes());
                }
            }
        }
        Ok(None)
    }
}
