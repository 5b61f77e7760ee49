//! What chores have in common: they build programs and run them side by side.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    env,
    num::NonZeroUsize,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

/// A program that cargo built.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// Builds `what` with a command of [`cargo`]; yields the programs.
pub(crate) fn build(mut command: Command, what: &str) -> Result<Vec<Program>> {
    command.arg("--message-format=json-render-diagnostics");
    let built = command.stderr(Stdio::inherit()).output().context("could not start cargo")?;
    ensure!(built.status.success(), "{what} could not be built");
    let messages = String::from_utf8(built.stdout).context("cargo speaks UTF-8")?;
    let programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?.into();
        Some(Program { name: message["target"]["name"].as_str()?.to_owned(), path })
    });
    Ok(programs.collect())
}

/// Runs so many workers at the same time, one per core if no number is given, until all have ended.
pub(crate) fn side_by_side(
    jobs: Option<NonZeroUsize>,
    worker: impl Fn() -> Result<()> + Sync,
) -> Result<()> {
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    thread::scope(|scope| {
        let workers = (0..jobs.unwrap_or(cores).get()).map(|_| scope.spawn(&worker));
        let workers: Vec<_> = workers.collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })
}
