//! Writes a project's tables anew: what a reader has open stays, and then is replaced as a whole.
//!
//! A table is replaced by one commit; then every file that is not of this commit is deleted, so that no
//! row outlives its replacement. Rows come from the lake patient by patient and are written whenever
//! some thousand are there, so memory does not grow with the lake. The log of a table says nothing of
//! the values in its files.

use crate::journal::{self, Event, Outcome};
use crate::project::{K_DEFAULT, Project};
use crate::table::{self, Rows};
use aegle_lake::{Deidentification, DeidentifiedTable, Lake};
use aegle_progress::{Meter, Unit};
use anyhow::{Context, Result, bail};
use chrono::TimeDelta;
use datafusion::arrow::datatypes::SchemaRef;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::{Action, StructType};
use deltalake::operations::create::CreateBuilder;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use deltalake::{DeltaTable, DeltaTableBuilder, TableProperty, ensure_table_uri};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// How many rows of a table wait in memory.
const ROWS_MAX: usize = 16_384;

/// About how large a file grows, in bytes.
const FILE_BYTES: u64 = 64 << 20;

/// What a refresh wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Each table with its rows.
    pub tables: Vec<(String, u64)>,
    /// How many rows are in no table, because the lake has lost them.
    pub lost: u64,
    /// How many patients the lake went through.
    pub patients: usize,
    /// The fewest patients of a group.
    pub k: u32,
}

impl Report {
    /// In all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, rows) in &self.tables {
            writeln!(f, "{name}: {rows} rows")?;
        }
        let Self { lost, patients, k, .. } = self;
        if *lost > 0 {
            writeln!(f, "{lost} rows are lost and in no table: see `aegle lake report`")?;
        }
        write!(f, "{} rows of {patients} patients; k = {k}", self.rows())
    }
}

/// One table while it is written.
struct Writing {
    name: String,
    delta: DeltaTable,
    writer: RecordBatchWriter,
    rows: Rows,
    written: u64,
}

/// Writes the project's tables anew; makes the project when there is none. `k` stays what it was when
/// nothing is said.
pub async fn refresh(lake: &Lake, project: &Project, k: Option<u32>) -> Result<Report> {
    let mut source = lake.deidentify(project.name())?;
    let k = k.or(project.k()?).unwrap_or(K_DEFAULT);
    let patients = source.left();
    let mut tables = Vec::new();
    for table in source.tables() {
        tables.push(Writing::begin(project.tables(), table).await?);
    }
    fill(&mut source, &mut tables).await?;
    let mut report = Report { tables: Vec::new(), lost: source.lost(), patients, k };
    for table in tables {
        report.tables.push(table.finish().await?);
    }
    forget_others(project.tables(), &report)?;
    source.check()?;
    project.keep_k(k)?;
    let outcome = Outcome::Refreshed { rows: report.rows() };
    journal::append(
        &project.journal(),
        Event { project: project.name(), k, sql: "", of: None, outcome },
    )?;
    Ok(report)
}

async fn fill(source: &mut Deidentification<'_>, tables: &mut [Writing]) -> Result<()> {
    let left = source.left() as u64;
    let mut meter = Meter::new("refreshing", Unit::Of("patients"), Some(left));
    let mut more = true;
    while more {
        more = tokio::task::block_in_place(|| {
            source.next(&mut |table, patient, values| tables[table].rows.push(patient, values))
        })?;
        for table in tables.iter_mut().filter(|table| table.rows.count() >= ROWS_MAX) {
            table.flush().await?;
        }
        meter.advance(u64::from(more));
    }
    Ok(())
}

impl Writing {
    async fn begin(folder: &Path, table: &DeidentifiedTable) -> Result<Self> {
        let schema = table::schema(table);
        let delta = open(&folder.join(&table.name), &schema)
            .await
            .with_context(|| format!("could not open or make the table `{}`", table.name))?;
        let writer = RecordBatchWriter::for_table(&delta)?.with_target_file_size(FILE_BYTES);
        let (name, rows) = (table.name.clone(), Rows::new(table));
        Ok(Self { name, delta, writer, rows, written: 0 })
    }

    async fn flush(&mut self) -> Result<()> {
        let rows = self.rows.take()?;
        self.written += rows.num_rows() as u64;
        let written = self.writer.write(rows).await;
        written.with_context(|| format!("could not write the table `{}`", self.name))
    }

    /// Replaces what the table held, and deletes the files that held it.
    async fn finish(mut self) -> Result<(String, u64)> {
        self.flush().await?;
        let replaced = self.replace().await;
        replaced.with_context(|| format!("could not replace the table `{}`", self.name))?;
        Ok((self.name, self.written))
    }

    async fn replace(&mut self) -> Result<()> {
        let snapshot = self.delta.snapshot()?;
        let removed: Vec<_> =
            snapshot.log_data().iter().map(|file| file.remove_action(true)).collect();
        let adds = self.writer.flush().await?.into_iter().map(Action::Add);
        let actions = removed.into_iter().map(Action::Remove).chain(adds).collect();
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: None,
            predicate: None,
        };
        CommitBuilder::default()
            .with_actions(actions)
            .build(Some(snapshot), self.delta.log_store(), operation)
            .await?;
        self.delta.load().await?;
        let vacuum = self.delta.clone().vacuum().with_mode(VacuumMode::Full);
        // What was replaced within this very millisecond goes, too.
        let retention = TimeDelta::seconds(-1);
        vacuum.with_retention_period(retention).with_enforce_retention_duration(false).await?;
        Ok(())
    }
}

/// The table in a folder, made when it is not there. What has other columns or cannot be read is made
/// anew: it holds nothing that the lake does not.
async fn open(folder: &Path, schema: &SchemaRef) -> Result<DeltaTable> {
    let schema: StructType = schema.as_ref().try_into_kernel()?;
    if let Ok(table) = load(folder).await
        && table.snapshot()?.metadata().parse_schema()? == schema
    {
        return Ok(table);
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let table = CreateBuilder::new()
        .with_location(ensure_table_uri(text(folder)?)?.as_str())
        .with_columns(schema.fields().cloned())
        .with_configuration_property(TableProperty::DataSkippingNumIndexedCols, Some("0"));
    Ok(table.await?)
}

/// The table that is in a folder.
pub(crate) async fn load(folder: &Path) -> Result<DeltaTable> {
    if !folder.join("_delta_log").is_dir() {
        bail!("there is no table in `{}`", folder.display());
    }
    Ok(DeltaTableBuilder::from_url(ensure_table_uri(text(folder)?)?)?.load().await?)
}

fn text(folder: &Path) -> Result<&str> {
    folder.to_str().with_context(|| format!("`{}` is not UTF-8", folder.display()))
}

/// Removes the tables of an earlier catalogue.
fn forget_others(folder: &Path, report: &Report) -> Result<()> {
    let current: BTreeSet<_> = report.tables.iter().map(|(name, _)| name.as_str()).collect();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| !current.contains(name)) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
