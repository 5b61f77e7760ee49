//! Answers a question about a project's tables, and keeps in the journal that it was asked.
//!
//! An answer is found whole, within bounds, then the journal is written, then the answer is handed over.
//! Why a question failed while it ran is told to nobody in the words of the engine, which would quote
//! values of rows.

use crate::guard::{Guarded, guard};
use crate::journal::{self, Event, Outcome};
use crate::project::Project;
use crate::refresh::load;
use anyhow::{Context, Result, anyhow, bail};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// The longest question, in bytes.
pub const SQL_MAX: usize = 64 << 10;
/// The most rows of an answer.
pub const ROWS_MAX: usize = 100_000;
/// The most memory that a question may take.
const MEMORY_MAX: usize = 1 << 30;
/// The longest that a question may take.
const TIME_MAX: Duration = Duration::from_mins(5);

/// What a question is answered with.
#[derive(Debug)]
pub struct Answered {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// How many groups were too small to be shown.
    pub suppressed: u64,
    /// The fewest patients of a group.
    pub k: u32,
}

impl Answered {
    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// For who asked, beside the answer.
    pub fn summary(&self) -> String {
        let (rows, Self { suppressed, k, .. }) = (self.rows(), self);
        format!("{rows} rows; {suppressed} groups of fewer than {k} patients are not shown")
    }
}

/// Answers a question. It is in the journal when this returns, whatever came of it.
pub async fn query(project: &Project, sql: &str) -> Result<Answered> {
    let k = project.k()?.with_context(|| missing(project))?;
    if sql.len() > SQL_MAX {
        bail!("the question is longer than {SQL_MAX} bytes");
    }
    let answered = answer(project, sql, k).await;
    let outcome = match &answered {
        Ok(answered) => {
            Outcome::Answered { rows: answered.rows(), suppressed: answered.suppressed }
        }
        Err(Unanswered::Refused(error)) => Outcome::Refused(format!("{error:#}")),
        Err(Unanswered::Failed(error)) => Outcome::Failed(format!("{error:#}")),
    };
    journal::append(&project.journal(), Event { project: project.name(), k, sql, outcome })
        .context("the answer is not shown")?;
    answered.map_err(|error| match error {
        Unanswered::Refused(error) | Unanswered::Failed(error) => error,
    })
}

/// The project's tables and columns, a line each.
pub async fn schema(project: &Project) -> Result<String> {
    let mut lines = String::new();
    for name in table_names(project)? {
        let table = load(&project.tables().join(&name)).await?;
        let schema = table.table_provider().await?.schema();
        for field in schema.fields() {
            let _ = writeln!(lines, "{name}.{}: {}", field.name(), field.data_type());
        }
    }
    Ok(lines)
}

enum Unanswered {
    Refused(anyhow::Error),
    Failed(anyhow::Error),
}

async fn answer(project: &Project, sql: &str, k: u32) -> Result<Answered, Unanswered> {
    let context = open(project).await.map_err(Unanswered::Failed)?;
    let planned = context.state().create_logical_plan(sql).await;
    // What the planner says quotes the question and the tables' columns, and no row.
    let plan = planned.map_err(|error| Unanswered::Refused(anyhow!(error.strip_backtrace())))?;
    let guarded = guard(plan, k).map_err(|refusal| Unanswered::Refused(refusal.into()))?;
    let run = tokio::time::timeout(TIME_MAX, run(&context, guarded, k)).await;
    let late = || anyhow!("it takes longer than {} s; ask for less", TIME_MAX.as_secs());
    run.map_err(|_| Unanswered::Failed(late()))?.map_err(Unanswered::Failed)
}

async fn run(context: &SessionContext, guarded: Guarded, k: u32) -> Result<Answered> {
    let (schema, batches) = collect(context, guarded.answer, ROWS_MAX).await?;
    let (_, counts) = collect(context, guarded.suppressed, 1).await?;
    let count = counts.iter().find(|batch| batch.num_rows() == 1).context("nothing was counted")?;
    let count = count.column(0).as_primitive::<Int64Type>().value(0);
    let suppressed = u64::try_from(count).context("nothing was counted")?;
    Ok(Answered { schema, batches, suppressed, k })
}

async fn collect(
    context: &SessionContext,
    plan: LogicalPlan,
    rows_max: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let failed = |_| {
        anyhow!(
            "the question failed while it ran: it takes too much memory, or its arithmetic does not \
             fit its numbers; ask for less, or for simpler groups"
        )
    };
    let frame = DataFrame::new(context.state(), plan);
    let mut stream = frame.execute_stream().await.map_err(failed)?;
    let (schema, mut batches, mut rows) = (stream.schema(), Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        rows += batch.num_rows();
        if rows > rows_max {
            bail!("the answer has more than {rows_max} rows; ask for larger groups");
        }
        batches.push(batch);
    }
    Ok((schema, batches))
}

/// A session that knows the project's tables and nothing else.
async fn open(project: &Project) -> Result<SessionContext> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_MAX)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
    for name in table_names(project)? {
        let table = load(&project.tables().join(&name)).await?;
        table.update_datafusion_session(&context.state())?;
        context.register_table(name.as_str(), table.table_provider().await?)?;
    }
    Ok(context)
}

fn table_names(project: &Project) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(project.tables()).with_context(|| missing(project))? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    if names.is_empty() {
        bail!(missing(project));
    }
    Ok(names)
}

fn missing(project: &Project) -> String {
    let name = project.name();
    format!(
        "the project `{name}` has no tables: it was never made, or an erasure removed them; run \
         `aegle-analytics refresh --project {name}`"
    )
}
