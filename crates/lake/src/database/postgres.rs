//! A `PostgreSQL` database.
//!
//! A lake has a database of its own, with the schemas `lake` and `keys`. Writers of one schema
//! exclude each other by an advisory lock that is taken before anything is read, so each sees
//! whatever the last one committed, as with `SQLite`. Durability is asked for, whatever the server's
//! default is.
//!
//! A session that was lost is opened again by whoever begins something new. Not while it held a
//! [lock](super::Lock): who lost that must not write.

use super::dialect;
use super::{DatabaseError, FORMAT, Half, Result, ToSql};
use crate::remote::wait;
use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, ValueRef};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgRow, PgSslMode, PgTypeInfo,
};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection as _, Encode, Row as _, Type};
use sqlx::{TypeInfo, ValueRef as _};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

/// Sets the lake's locks apart from those of others in the same database: `aegl`.
const LOCKS: i32 = 0x6165_676c;

/// How long a statement waits for another process.
const PATIENCE: &str = "5s";

/// Where a lake's database is. Prints without its password.
#[derive(Clone)]
pub struct PostgresAt(Box<PgConnectOptions>);

impl std::fmt::Debug for PostgresAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresAt({}:{})", self.0.get_host(), self.0.get_port())
    }
}

impl PostgresAt {
    /// A database by its URL, `postgres://user@host:port/database?sslmode=…`. Without a password,
    /// that of `PGPASSWORD` or `PGPASSFILE` is taken. A server elsewhere than on this machine has to
    /// prove who it is, unless `sslmode` says otherwise.
    pub fn new(url: &str, password: Option<&str>) -> std::result::Result<Self, DatabaseError> {
        let mut options = PgConnectOptions::from_str(url)?.application_name("aegle-lake");
        if let Some(password) = password {
            options = options.password(password);
        }
        if !url.contains("sslmode=") {
            let is_here = options.get_socket().is_some()
                || ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&options.get_host());
            options =
                options.ssl_mode(if is_here { PgSslMode::Disable } else { PgSslMode::VerifyFull });
        }
        Ok(Self(Box::new(options.disable_statement_logging())))
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some("53100") => Self::Full(error.into()),
            Some("55P03" | "40P01") => Self::Locked(error.into()),
            Some("XX001" | "XX002") => Self::Damaged(error.into()),
            _ if is_lost(&error) => Self::Unreachable(error.into()),
            _ => Self::Other(error.into()),
        }
    }
}

/// Whether the session is gone.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
        }
        _ => false,
    }
}

const fn name(half: Half) -> &'static str {
    match half {
        Half::Index => "lake",
        Half::Keys => "keys",
    }
}

/// A session, opened when it is needed.
pub(crate) struct Postgres {
    at: PgConnectOptions,
    /// Which is written; none for who only reads.
    half: Option<Half>,
    session: RefCell<Option<PgConnection>>,
    /// Whether something was begun that another session cannot go on with.
    begun: Cell<bool>,
    locked: Cell<bool>,
    translated: RefCell<HashMap<String, Arc<str>>>,
}

impl Postgres {
    pub(super) fn open(at: &PostgresAt, half: Option<Half>) -> Self {
        let path = half.map_or("lake, keys", name);
        let at = PgConnectOptions::clone(&at.0)
            .options([("search_path", path), ("lock_timeout", PATIENCE)]);
        Self {
            at,
            half,
            session: RefCell::default(),
            begun: Cell::new(false),
            locked: Cell::new(false),
            translated: RefCell::default(),
        }
    }

    /// Makes the tables, unless they are there.
    pub(super) fn set_up(&self, half: Half, tables: &str) -> Result<()> {
        let begun = self.begin_with(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCKS}, 0)"))?;
        self.make(half, tables)?;
        begun.commit()
    }

    fn make(&self, half: Half, tables: &str) -> Result<()> {
        let name = name(half);
        let there = format!("SELECT to_regclass('{name}.format')::text");
        let there = self.rows(&there, &[])?;
        let is_there =
            there.first().is_some_and(|row| !matches!(value(row, 0), Ok(ValueRef::Null)));
        if !is_there {
            let tables = dialect::schema(tables);
            return self.raw(&format!(
                "CREATE SCHEMA {name}; {tables};
                 CREATE TABLE format (version BIGINT NOT NULL); INSERT INTO format VALUES ({FORMAT})"
            ));
        }
        let found = self.rows(&format!("SELECT version FROM {name}.format"), &[])?;
        match found.first().map(|row| value(row, 0)).transpose()? {
            Some(ValueRef::Integer(FORMAT)) => Ok(()),
            Some(ValueRef::Integer(found)) => {
                Err(DatabaseError::Format { found, expected: FORMAT })
            }
            _ => Err(DatabaseError::NoRow),
        }
    }

    /// Begins a change, alone among the writers of the schema.
    pub(super) fn begin(&self) -> Result<Begun<'_>> {
        let half = self.half.map_or(0, |half| half as i32);
        self.begin_with(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({LOCKS}, {half})"
        ))
    }

    /// Begins to read one snapshot.
    pub(super) fn begin_to_read(&self) -> Result<Begun<'_>> {
        self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn begin_with(&self, sql: &str) -> Result<Begun<'_>> {
        let begun = self.raw(sql);
        // Also a wait for other writers that was in vain is within a transaction, and is rolled back.
        self.begun.set(true);
        let guard = Begun(self);
        begun.map(|()| guard)
    }

    /// Takes a lock that is held until it is [given back](Self::unlock) or the session ends.
    pub(super) fn try_lock(&self) -> Result<bool> {
        if self.locked.get() {
            return Ok(false);
        }
        let half = 2 + self.half.map_or(0, |half| half as i32);
        let rows = self.rows(&format!("SELECT pg_try_advisory_lock({LOCKS}, {half})"), &[])?;
        let taken =
            rows.first().map(|row| value(row, 0)).transpose()? == Some(ValueRef::Integer(1));
        self.locked.set(taken);
        Ok(taken)
    }

    pub(super) fn unlock(&self) {
        let half = 2 + self.half.map_or(0, |half| half as i32);
        if self.raw(&format!("SELECT pg_advisory_unlock({LOCKS}, {half})")).is_err() {
            // The end of the session gives it back.
            self.session.replace(None);
        }
        self.locked.set(false);
    }

    /// Runs a statement; how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: &[&dyn ToSql]) -> Result<usize> {
        self.execute_with(&self.translated(sql), &arguments(values)?)
    }

    /// Inserts so many rows by a statement that is written for one.
    pub(super) fn insert(&self, sql: &str, rows: usize, values: &PgArguments) -> Result<()> {
        self.execute_with(&dialect::insert(sql, rows), values)?;
        Ok(())
    }

    fn execute_with(&self, sql: &str, values: &PgArguments) -> Result<usize> {
        let done = self.run(|session| {
            let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), values.clone());
            query.execute(session).boxed()
        })?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    /// The rows that a statement yields.
    pub(super) fn rows(&self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<PgRow>> {
        let (sql, values) = (self.translated(sql), arguments(values)?);
        self.run(|session| {
            let query = sqlx::query_with(AssertSqlSafe(sql.to_string()), values.clone());
            query.fetch_all(session).boxed()
        })
    }

    /// The schema of a half that the server cannot read as it wrote it. The server reads every value
    /// of every table, and checks its pages as far as it does by itself.
    pub(super) fn unsound(&self, half: Half, tables: &[String]) -> Result<Option<&'static str>> {
        for table in tables {
            let whole = format!(
                "SELECT COUNT(*) FROM {}.{table} AS one WHERE LENGTH(CAST(one AS TEXT)) = 0",
                name(half)
            );
            match self.rows(&whole, &[]) {
                Err(DatabaseError::Damaged(_)) => {
                    return Ok(Some(match half {
                        Half::Index => "the schema `lake` of the database",
                        Half::Keys => "the schema `keys` of the database",
                    }));
                }
                read => read?,
            };
        }
        Ok(None)
    }

    /// Lets the numbers that the server gives to rows begin after those that are there.
    pub(super) fn go_on_counting(&self, half: Half, table: &str, key: &str) -> Result<()> {
        let sequence = format!("SELECT pg_get_serial_sequence('{}.{table}', '{key}')", name(half));
        let sequence = self.rows(&sequence, &[])?;
        let counts = sequence.first().map(|row| value(row, 0)).transpose()?;
        let Some(ValueRef::Text(sequence)) = counts else { return Ok(()) };
        let sequence = String::from_utf8_lossy(sequence);
        self.rows(&format!("SELECT setval('{sequence}', (SELECT MAX({key}) FROM {table}))"), &[])?;
        Ok(())
    }

    /// Runs statements without parameters.
    fn raw(&self, sql: &str) -> Result<()> {
        self.run(|session| sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).boxed())?;
        Ok(())
    }

    /// Runs `work` in the session. When it was lost, which a server that was started again does, and
    /// nothing was begun in it, `work` is done in another one.
    fn run<T>(
        &self,
        work: impl Fn(&mut PgConnection) -> BoxFuture<'_, std::result::Result<T, sqlx::Error>>,
    ) -> Result<T> {
        let mut session = self.session.borrow_mut();
        let fresh = session.is_none();
        let is_bound = self.begun.get() || self.locked.get();
        if fresh && is_bound {
            return Err(DatabaseError::Unreachable("the session was lost".into()));
        }
        if session.is_none() {
            *session = Some(self.connect()?);
        }
        let mut done = wait(work(session.as_mut().expect("a session was just opened")));
        if done.as_ref().is_err_and(is_lost) {
            *session = None;
            if !fresh && !is_bound {
                done = wait(work(session.insert(self.connect()?)));
            }
        }
        Ok(done?)
    }

    fn connect(&self) -> Result<PgConnection> {
        Ok(wait(async {
            let mut session = self.at.connect().await?;
            // What is committed is on disk, whatever the server does for others.
            let durable = "SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') = 'off'";
            sqlx::raw_sql(durable).execute(&mut session).await?;
            Ok::<_, sqlx::Error>(session)
        })?)
    }

    fn translated(&self, sql: &str) -> Arc<str> {
        if let Some(known) = self.translated.borrow().get(sql) {
            return Arc::clone(known);
        }
        let translated: Arc<str> = dialect::statement(sql).into();
        self.translated.borrow_mut().insert(sql.to_owned(), Arc::clone(&translated));
        translated
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Tells the server, so that locks are free at once.
        if let Some(session) = self.session.get_mut().take() {
            let _ = wait(session.close());
        }
    }
}

/// What was begun; undone unless it is committed.
pub(super) struct Begun<'a>(&'a Postgres);

impl Begun<'_> {
    pub(super) fn commit(self) -> Result<()> {
        let done = self.0.raw("COMMIT");
        self.0.begun.set(false);
        std::mem::forget(self);
        done
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.0.session.borrow().is_some() && self.0.raw("ROLLBACK").is_err() {
            self.0.session.replace(None);
        }
        self.0.begun.set(false);
    }
}

/// A value that stands for nothing, of whatever type the statement asks for.
struct Nothing;

impl Type<sqlx::Postgres> for Nothing {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, sqlx::Postgres> for Nothing {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

fn arguments(values: &[&dyn ToSql]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    add(&mut arguments, values)?;
    Ok(arguments)
}

/// Appends the values of parameters.
pub(super) fn add(arguments: &mut PgArguments, values: &[&dyn ToSql]) -> Result<()> {
    for value in values {
        let added = match value.to_sql()? {
            ToSqlOutput::Borrowed(value) => add_one(arguments, value),
            ToSqlOutput::Owned(value) => add_one(arguments, (&value).into()),
            _ => Err("a value of a kind that the lake does not use".into()),
        };
        added.map_err(DatabaseError::Other)?;
    }
    Ok(())
}

fn add_one(
    arguments: &mut PgArguments,
    value: ValueRef<'_>,
) -> std::result::Result<(), BoxDynError> {
    match value {
        ValueRef::Null => arguments.add(Nothing),
        ValueRef::Integer(number) => arguments.add(number),
        ValueRef::Real(number) => arguments.add(number),
        ValueRef::Text(text) => arguments.add(std::str::from_utf8(text)?),
        ValueRef::Blob(bytes) => arguments.add(bytes),
    }
}

/// The value of a column, as `SQLite` has it: integers for booleans.
pub(super) fn value(row: &PgRow, column: usize) -> Result<ValueRef<'_>> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(ValueRef::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let bytes = raw.as_bytes().map_err(DatabaseError::Other)?;
    let number = match kind.as_str() {
        "INT8" => bytes.try_into().ok().map(i64::from_be_bytes),
        "INT4" => bytes.try_into().ok().map(i32::from_be_bytes).map(i64::from),
        "BOOL" => bytes.first().copied().map(i64::from),
        "BYTEA" => return Ok(ValueRef::Blob(bytes)),
        "TEXT" | "VARCHAR" => return Ok(ValueRef::Text(bytes)),
        _ => None,
    };
    let other = || DatabaseError::Other(format!("a value of type {kind} came").into());
    number.map(ValueRef::Integer).ok_or_else(other)
}
