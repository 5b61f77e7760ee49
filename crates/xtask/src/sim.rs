//! Runs many seeds of the simulation in `crates/consensus/src/simulation/drawn`.
//!
//! The simulation is part of that crate's tests, so that it runs the very code of a node; here it is
//! built once, optimised, and started once per chunk of seeds.

use crate::work;
use anyhow::{Context, Result, bail, ensure};
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How many seeds one process runs.
const CHUNK: u64 = 50;
/// The crates in which a simulated network spends its time. The others are optimised anyway.
const OPTIMISED: [&str; 4] = ["aegle-access", "aegle-consensus", "aegle-ledger", "aegle-model"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds to run; without it as many as fit `--minutes`, else one if `--seed` is given, else
    /// 100.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after so many minutes, whatever is left.
    #[arg(long)]
    minutes: Option<u64>,
    /// How many to run at the same time; without it one per core.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

/// What is known so far.
#[derive(Default)]
struct Tally {
    ran: u64,
    failed: Vec<u64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let first = args.seed.unwrap_or(0);
    let end = match (args.seeds, args.minutes, args.seed) {
        (None, Some(_), _) => u64::MAX,
        (None, None, Some(_)) => first.saturating_add(1),
        (count, _, _) => {
            let count = count.unwrap_or(100);
            first.checked_add(count).context("there are no seeds beyond 2^64")?
        }
    };
    let program = build()?;
    let began = Instant::now();
    let deadline = args.minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let next = AtomicU64::new(first);
    let tally = Mutex::new(Tally::default());
    let worker = || {
        loop {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if from >= end || left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            let told = chunk(&program, from..end.min(from + CHUNK), left)?;
            note(&told, &mut tally.lock().expect("no worker panics"), began)?;
        }
    };
    work::side_by_side(args.jobs, worker)?;
    let Tally { ran, failed } = tally.into_inner().expect("no worker panics");
    let seconds = began.elapsed().as_secs();
    println!("{ran} seeds from {first} on, {} failed, {seconds} s", failed.len());
    ensure!(failed.is_empty(), "{} of {ran} seeds failed", failed.len());
    Ok(())
}

/// Builds the simulation; returns where it is.
fn build() -> Result<PathBuf> {
    let mut command = work::cargo();
    command.args(["test", "--package", "aegle-consensus", "--lib", "--no-run"]);
    for package in OPTIMISED {
        let option = format!("profile.dev.package.{package}.opt-level=1");
        command.args(["--config", &option]);
    }
    let built = work::build(command, "the simulation")?;
    let program = built.into_iter().find(|program| program.name == "aegle_consensus");
    Ok(program.context("cargo named no program for the simulation")?.path)
}

/// Runs some seeds in a process of their own; returns what it printed.
fn chunk(program: &Path, seeds: std::ops::Range<u64>, left: Option<Duration>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(["simulation::drawn::seeds", "--exact", "--ignored", "--nocapture"]);
    command.env("AEGLE_SIM_SEEDS", format!("{}..{}", seeds.start, seeds.end));
    if let Some(left) = left {
        command.env("AEGLE_SIM_SECONDS", left.as_secs().to_string());
    }
    let output =
        command.output().with_context(|| format!("could not start `{}`", program.display()))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("the seeds {seeds:?} ended with {}:\n{told}\n{errors}", output.status);
    }
    Ok(told)
}

/// Counts what a process printed, and passes on its failures.
fn note(told: &str, tally: &mut Tally, began: Instant) -> Result<()> {
    let mut lines = told.lines();
    while let Some(line) = lines.next() {
        if let Some(ran) = line.strip_prefix("RAN ") {
            tally.ran += ran.parse::<u64>().context("the simulation counts in numbers")?;
        }
        let Some(failure) = line.strip_prefix("FAILED ") else { continue };
        let seed = failure.split(':').next().unwrap_or_default();
        tally.failed.push(seed.parse().context("a seed is a number")?);
        println!("seed {failure}\n{}", lines.next().unwrap_or_default());
        println!("  repeat it with: cargo xtask sim --seed {seed}");
    }
    let seconds = began.elapsed().as_secs();
    eprintln!("{} seeds, {} failed, {seconds} s", tally.ran, tally.failed.len());
    Ok(())
}
