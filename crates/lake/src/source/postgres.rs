//! Tables of a `PostgreSQL` database; see [`sql`] for what they have in common.

use super::sql::{self, Connecting, Dialect, Fields, Server, Target};
use super::{Selection, Type};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

pub(super) static TYPE: Type = Type {
    name: "postgres",
    settings: sql::SETTINGS,
    select: Selection { shape: Some(sql::TABLE), needed: false, filter: true, watermark: true },
    path: Some(sql::COLUMN),
    open: |folder, settings| sql::open(folder, settings, &DIALECT),
};

static DIALECT: Dialect = Dialect {
    port: 5432,
    connect,
    begin: &["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
    quote: |name| format!("\"{name}\""),
    schema: "current_schema()",
    parameter: |place| format!("${place}"),
    text: |column| format!("{column}::text"),
    ordered: |text| format!("{text} COLLATE \"C\""),
    first: |text, length| format!("left({text}, {length})"),
    bytes: |column, length| format!("substring({column} from 1 for {length})"),
    time: |column| format!("to_json({column})#>>'{{}}'"),
    boolean: |column| format!("{column}::text"),
    zone: "",
    is_zoned: |kind| kind != "timestamp without time zone",
    is_bytes: |kind| kind == "bytea",
};

struct Postgres(PgConnection);

fn connect(target: Target) -> Connecting {
    Box::pin(async move {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&target.host)
            .port(target.port)
            .username(&target.user)
            .database(&target.database)
            .ssl_mode(if target.verify { PgSslMode::VerifyFull } else { PgSslMode::Disable })
            .application_name("aegle");
        if let Some(password) = &target.password {
            options = options.password(password);
        }
        if let Some(file) = &target.ca_file {
            options = options.ssl_root_cert(file);
        }
        let server = Postgres(options.disable_statement_logging().connect().await?);
        Ok(Box::new(server) as Box<dyn Server>)
    })
}

impl Server for Postgres {
    fn run(&mut self, sql: &'static str) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move { sqlx::raw_sql(sql).execute(&mut self.0).await.map(|_| ()) })
    }

    fn rows(
        &mut self,
        sql: String,
        values: Vec<String>,
    ) -> BoxStream<'_, Result<Box<dyn Fields>, sqlx::Error>> {
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for value in values {
            query = query.bind(value);
        }
        let boxed = |row: Result<PgRow, _>| row.map(|row| Box::new(row) as Box<dyn Fields>);
        query.fetch(&mut self.0).map(boxed).boxed()
    }
}

impl Fields for PgRow {
    fn field(&self, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        self.try_get_unchecked(index)
    }
}

#[cfg(test)]
mod tests;
