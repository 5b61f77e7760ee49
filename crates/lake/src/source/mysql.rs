//! Tables of a `MariaDB` or `MySQL` database; see [`sql`] for what they have in common.
//!
//! The snapshot holds for `InnoDB`; a table of another engine can change while it is read.

use super::sql::{self, Connecting, Dialect, Fields, Server, Target};
use super::{Selection, Type};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

pub(super) static TYPE: Type = Type {
    name: "mysql",
    settings: sql::SETTINGS,
    select: Selection { shape: Some(sql::TABLE), needed: false, filter: true, watermark: true },
    path: Some(sql::COLUMN),
    open: |folder, settings| sql::open(folder, settings, &DIALECT),
};

static DIALECT: Dialect = Dialect {
    port: 3306,
    connect,
    begin: &[
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ],
    quote: |name| format!("`{name}`"),
    schema: "DATABASE()",
    parameter: |_| "?".to_owned(),
    text: |column| format!("CAST({column} AS CHAR)"),
    ordered: |text| format!("CAST({text} AS BINARY)"),
    first: |text, length| format!("LEFT({text}, {length})"),
    bytes: |column, length| format!("SUBSTRING({column}, 1, {length})"),
    time: |column| format!("DATE_FORMAT({column}, '%Y-%m-%dT%H:%i:%s.%f')"),
    boolean: |column| format!("IF({column} IS NULL, NULL, IF({column}, 'true', 'false'))"),
    zone: "Z",
    is_zoned: |kind| kind == "timestamp",
    is_bytes: |kind| kind.ends_with("blob") || kind.ends_with("binary"),
};

struct Mysql(MySqlConnection);

fn connect(target: Target) -> Connecting {
    Box::pin(async move {
        let mut options = MySqlConnectOptions::new()
            .port(target.port)
            .username(&target.user)
            .database(&target.database)
            // The zone in which TIMESTAMP columns are told.
            .timezone("+00:00".to_owned())
            .ssl_mode(if target.verify {
                MySqlSslMode::VerifyIdentity
            } else {
                MySqlSslMode::Disabled
            });
        options = if target.host.starts_with('/') {
            options.socket(&target.host)
        } else {
            options.host(&target.host)
        };
        if let Some(password) = &target.password {
            options = options.password(password);
        }
        if let Some(file) = &target.ca_file {
            options = options.ssl_ca(file);
        }
        let server = Mysql(options.disable_statement_logging().connect().await?);
        Ok(Box::new(server) as Box<dyn Server>)
    })
}

impl Server for Mysql {
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
        let boxed = |row: Result<MySqlRow, _>| row.map(|row| Box::new(row) as Box<dyn Fields>);
        query.fetch(&mut self.0).map(boxed).boxed()
    }
}

impl Fields for MySqlRow {
    fn field(&self, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        self.try_get_unchecked(index)
    }
}

#[cfg(test)]
mod tests;
