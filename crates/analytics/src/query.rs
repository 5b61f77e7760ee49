//! Answers a question about a project's tables, and keeps in the journal that it was asked.
//!
//! The question is in the journal first. Then its answer is found whole, within bounds, then the journal is
//! told what came of it, then the answer is handed over.
//! Why a question failed while it ran is told to nobody in the words of the engine, which would quote
//! values of rows.

use crate::guard::{Guarded, guard};
use crate::journal::{self, Event, Outcome};
use crate::project::Project;
use crate::refresh::load;
use anyhow::{Context, Result, anyhow, bail};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, Schema, SchemaRef};
use datafusion::catalog::MemTable;
use datafusion::common::{Column, DataFusionError};
use datafusion::datasource::provider_as_source;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use sha2::{Digest as _, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// The longest question, in bytes.
pub const SQL_MAX: usize = 16 << 10;
/// The most rows of an answer.
pub const ROWS_MAX: usize = 100_000;
/// The most groups that an answer is made of.
const GROUPS_MAX: usize = 1_000_000;
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
    /// How many groups were too small to be shown, for the journal.
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
        // How many are not shown would tell of a group of one whether it is there.
        format!("{} rows; groups of fewer than {} patients are not shown", self.rows(), self.k)
    }
}

/// Answers a question. That it was asked is in the journal before it is looked at, and what came of it when
/// this returns.
pub async fn query(project: &Project, sql: &str) -> Result<Answered> {
    let k = project.k()?.with_context(|| missing(project))?;
    let keep = |sql: &str, of: Option<u64>, outcome| {
        let event = Event { project: project.name(), k, sql, of, outcome };
        journal::append(&project.journal(), event)
    };
    let asked = keep(&kept(sql), None, Outcome::Asked)?;
    let answered = answer_in_time(project, sql, k).await;
    let outcome = match &answered {
        Ok(answered) => {
            Outcome::Answered { rows: answered.rows(), suppressed: answered.suppressed }
        }
        Err(Unanswered::Refused(error)) => Outcome::Refused(format!("{error:#}")),
        Err(Unanswered::Failed(error)) => Outcome::Failed(format!("{error:#}")),
    };
    keep("", Some(asked), outcome).context("the answer is not shown")?;
    answered.map_err(|error| match error {
        Unanswered::Refused(error) | Unanswered::Failed(error) => error,
    })
}

/// What the journal keeps of a question: all of it, unless it is too long.
fn kept(sql: &str) -> String {
    if sql.len() <= SQL_MAX {
        return sql.to_owned();
    }
    let begin = &sql[..sql.floor_char_boundary(1024)];
    let hash = hex::encode(Sha256::digest(sql));
    format!("{begin}… ({} bytes with the SHA-256 {hash})", sql.len())
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

async fn answer_in_time(project: &Project, sql: &str, k: u32) -> Result<Answered, Unanswered> {
    if sql.len() > SQL_MAX {
        return Err(Unanswered::Refused(anyhow!("the question is longer than {SQL_MAX} bytes")));
    }
    let (project, sql) = (project.clone(), sql.to_owned());
    in_time(async move { answer(&project, &sql, k).await }, TIME_MAX).await
}

/// Runs `work` in a task of its own, because who plans does not give way; stops it at the limit.
async fn in_time<T: Send + 'static>(
    work: impl Future<Output = Result<T, Unanswered>> + Send + 'static,
    limit: Duration,
) -> Result<T, Unanswered> {
    let mut task = tokio::spawn(work);
    if let Ok(ended) = tokio::time::timeout(limit, &mut task).await {
        return ended.unwrap_or_else(|_| Err(Unanswered::Failed(anyhow!("the question failed"))));
    }
    task.abort();
    let seconds = limit.as_secs();
    Err(Unanswered::Failed(anyhow!("it takes longer than {seconds} s; ask for less")))
}

async fn answer(project: &Project, sql: &str, k: u32) -> Result<Answered, Unanswered> {
    let context = open(project).await.map_err(Unanswered::Failed)?;
    // What the planner says quotes the question and the tables' columns, and no row.
    let refused = |error: DataFusionError| Unanswered::Refused(anyhow!(error.strip_backtrace()));
    let state = context.state();
    let plan = state.create_logical_plan(sql).await.map_err(refused)?;
    let analyzer = state.analyzer();
    let plan = analyzer.execute_and_check(plan, state.config_options(), |_, _| {});
    let guarded = guard(plan.map_err(refused)?, k);
    let guarded = guarded.map_err(|refusal| Unanswered::Refused(refusal.into()))?;
    run(&context, guarded, k).await.map_err(Unanswered::Failed)
}

async fn run(context: &SessionContext, guarded: Guarded, k: u32) -> Result<Answered> {
    let (_, counts) = collect(context, guarded.suppressed.clone(), 1).await?;
    let count = counts.iter().find(|batch| batch.num_rows() == 1).context("nothing was counted")?;
    let count = count.column(0).as_primitive::<Int64Type>().value(0);
    let suppressed = u64::try_from(count).context("nothing was counted")?;
    let (schema, groups) = collect(context, guarded.groups.clone(), GROUPS_MAX).await?;
    let groups = found(&guarded.groups, &schema, groups)?;
    let answer = guarded.answer(groups)?;
    let (schema, batches) = collect(context, answer, ROWS_MAX).await?;
    Ok(Answered { schema, batches, suppressed, k })
}

/// Yields what a plan has yielded, under the same names.
fn found(plan: &LogicalPlan, schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<LogicalPlan> {
    let place = |place: usize| format!("c{place}");
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(number, field)| field.as_ref().clone().with_name(place(number)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rename =
        |batch: RecordBatch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
    let batches = batches.into_iter().map(rename).collect::<Result<Vec<_>, _>>()?;
    let table = MemTable::try_new(Arc::clone(&schema), vec![batches])?;
    let scan = LogicalPlanBuilder::scan("groups", provider_as_source(Arc::new(table)), None)?;
    let named = plan.schema().iter().enumerate().map(|(number, (qualifier, field))| {
        Expr::Column(Column::new(Some("groups"), place(number)))
            .alias_qualified(qualifier.cloned(), field.name())
    });
    Ok(scan.project(named)?.build()?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn text(unanswered: Unanswered) -> String {
        let (Unanswered::Refused(error) | Unanswered::Failed(error)) = unanswered;
        error.to_string()
    }

    #[tokio::test]
    async fn a_question_that_takes_too_long_is_stopped() {
        let (alive, stopped) = oneshot::channel::<()>();
        let work = async move {
            let _alive = alive;
            std::future::pending::<Result<(), Unanswered>>().await
        };
        let error = in_time(work, Duration::from_millis(1)).await.err().map(text).unwrap();
        assert_eq!(error, "it takes longer than 0 s; ask for less");
        // Nobody holds the other end any more.
        assert!(stopped.await.is_err());
    }

    #[tokio::test]
    async fn a_question_whose_work_panics_fails_without_a_word_of_it() {
        let work = async { panic!("a row of somebody") };
        let failed = in_time::<()>(work, Duration::from_mins(1)).await;
        assert_eq!(failed.err().map(text).unwrap(), "the question failed");
    }
}
