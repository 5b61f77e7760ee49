//! Copies all tables of one database into another, whatever engine each has, and compares them.

use super::{Connection, DatabaseError, Half, Result, ToSql, Value};
use aegle_model::Hash;

/// How many rows are held in memory.
const AT_ONCE: usize = 2048;

/// What was copied, and found to be the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Transferred {
    pub(crate) rows: u64,
    /// Names the content.
    pub(crate) content: Hash,
}

/// Makes `to` what `from` is now, as one change. What it held before is gone.
pub(crate) fn transfer(
    from: &Connection,
    to: &Connection,
    half: Half,
    tables: &str,
) -> Result<Transferred> {
    let tables = Table::all(tables)?;
    from.snapshot(|from| {
        to.change(|to| {
            for table in tables.iter().rev() {
                to.execute(&format!("DELETE FROM {}", table.name), [])?;
            }
            for table in &tables {
                table.copy(from, to)?;
                if let Connection::Postgres(server) = to {
                    server.go_on_counting(half, &table.name, &table.key[0])?;
                }
            }
            let (there, here) = (content_of(from, &tables)?, content_of(to, &tables)?);
            if there != here {
                let why = "what was copied does not read back as it was; nothing was changed";
                return Err(DatabaseError::Other(why.into()));
            }
            Ok(here)
        })
    })
}

/// Names what a database holds, the same in every engine.
pub(crate) fn content(connection: &Connection, tables: &str) -> Result<Transferred> {
    let tables = Table::all(tables)?;
    connection.snapshot(|connection| content_of(connection, &tables))
}

/// The names of the tables, in the order in which they are made.
pub(super) fn table_names(tables: &str) -> Result<Vec<String>> {
    Ok(Table::all(tables)?.into_iter().map(|table| table.name).collect())
}

/// Every value that a database holds, one after the other.
#[cfg(test)]
pub(crate) fn dump(connection: &Connection, tables: &str) -> Vec<u8> {
    let mut dump = Vec::new();
    for table in Table::all(tables).unwrap() {
        let page = |page: &[Vec<Value>]| {
            dump.extend(page.iter().flatten().flat_map(bytes));
            Ok(())
        };
        table.each(connection, page).unwrap();
    }
    dump
}

fn content_of(connection: &Connection, tables: &[Table]) -> Result<Transferred> {
    let mut content = Transferred::default();
    for table in tables {
        table.each(connection, |page| {
            for row in page {
                let parts: Vec<Vec<u8>> = row.iter().map(bytes).collect();
                let mut parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                parts.splice(0..0, [content.content.as_bytes().as_slice(), table.name.as_bytes()]);
                content.content = Hash::of("aegle lake rows v1", &parts);
                content.rows += 1;
            }
            Ok(())
        })?;
    }
    Ok(content)
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![0],
        Value::Integer(number) => [&[1][..], &number.to_le_bytes()].concat(),
        Value::Real(number) => [&[2][..], &number.to_le_bytes()].concat(),
        Value::Text(text) => [&[3], text.as_bytes()].concat(),
        Value::Blob(bytes) => [&[4], bytes.as_slice()].concat(),
    }
}

/// A table, as the statements that make it say.
struct Table {
    name: String,
    columns: Vec<String>,
    /// The columns of the primary key, in its order.
    key: Vec<String>,
}

impl Table {
    /// The tables in the order in which they are made.
    fn all(tables: &str) -> Result<Vec<Self>> {
        let model = rusqlite::Connection::open_in_memory()?;
        model.execute_batch(tables)?;
        let mut names = model.prepare(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
             ORDER BY rowid",
        )?;
        let names = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        names.into_iter().map(|name| Self::new(&model, name)).collect()
    }

    fn new(model: &rusqlite::Connection, name: String) -> Result<Self> {
        let columns = |sql: &str| {
            let mut columns = model.prepare(sql)?;
            let columns = columns.query_map([&name], |row| row.get(0))?;
            columns.collect::<rusqlite::Result<Vec<String>>>()
        };
        let key = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
        let (key, columns) =
            (columns(key)?, columns("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?);
        Ok(Self { name, columns, key })
    }

    fn copy(&self, from: &Connection, to: &Connection) -> Result<()> {
        let places: Vec<_> = (1..=self.columns.len()).map(|place| format!("?{place}")).collect();
        let Self { name, columns, .. } = self;
        let (columns, places) = (columns.join(", "), places.join(", "));
        let insert = format!("INSERT INTO {name} ({columns}) VALUES ({places})");
        self.each(from, |page| {
            to.insert(&insert, |inserts| {
                page.iter().try_for_each(|row| inserts.add(values(row).as_slice()))
            })
        })
    }

    /// Gives all rows to `work`, some at a time, in the order of the primary key.
    fn each(
        &self,
        connection: &Connection,
        mut work: impl FnMut(&[Vec<Value>]) -> Result<()>,
    ) -> Result<()> {
        let Self { name, columns, key } = self;
        let (columns, order) = (columns.join(", "), key.join(", "));
        let places: Vec<_> = (1..=key.len()).map(|place| format!("?{place}")).collect();
        let later = format!("WHERE ({order}) > ({})", places.join(", "));
        let select = |later: &str| {
            format!("SELECT {columns} FROM {name} {later} ORDER BY {order} LIMIT {AT_ONCE}")
        };
        let (first, next) = (select(""), select(&later));
        let mut page = self.page(connection, &first, &[])?;
        while let Some(last) = page.last() {
            let after = |column| {
                let place = self.columns.iter().position(|other| other == column);
                last[place.expect("a key is made of columns")].clone()
            };
            let after: Vec<_> = key.iter().map(after).collect();
            work(&page)?;
            page = self.page(connection, &next, &after)?;
        }
        Ok(())
    }

    fn page(&self, connection: &Connection, sql: &str, after: &[Value]) -> Result<Vec<Vec<Value>>> {
        let mut select = connection.prepare_cached(sql)?;
        let columns = 0..self.columns.len();
        let read = |row: &super::Row<'_>| columns.clone().map(|column| row.get(column)).collect();
        select.query_map(values(after).as_slice(), read)?.collect()
    }
}

fn values(row: &[Value]) -> Vec<&dyn ToSql> {
    row.iter().map(|value| value as &dyn ToSql).collect()
}
