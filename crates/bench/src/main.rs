//! Benchmarks on this machine: whole records over four real nodes, the ledger alone, a lake alone.

mod decide;
mod lake;
mod ledger;
mod process;
mod record;

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::fmt::Debug;
use std::process::ExitCode;

/// Measure
#[derive(Parser)]
#[command(name = "aegle-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask for one patient's record from two centres, one at a time and many at once
    Record(record::Args),
    /// Commit disclosures as fast as the ledger takes them, kill a node, let it catch up
    Ledger(ledger::Args),
    #[command(hide = true)]
    LedgerNode(ledger::NodeArgs),
    /// Fill lakes, look records up and make parts, and load the same rows into another database
    Lake(lake::Args),
    #[command(hide = true)]
    LakeIngest(lake::IngestArgs),
}

fn main() -> ExitCode {
    // The nodes under measurement are this very program.
    if std::env::args().nth(1).as_deref() == Some("node") {
        return aegle_node::main();
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aegle-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Record(args) => record::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::LedgerNode(args) => ledger::run_node(&args),
        Command::Lake(args) => lake::run(&args),
        Command::LakeIngest(args) => lake::run_ingest(&args),
    }
}

/// Measures, then prints.
fn measured<T: Serialize + Debug>(
    json: bool,
    measuring: impl Future<Output = Result<T>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    print(json, &runtime.block_on(measuring)?)
}

/// Prints what was measured: one JSON object, or lines for people.
fn print<T: Serialize + Debug>(json: bool, figures: &T) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
    } else {
        println!("{figures:#?}");
    }
    Ok(())
}

/// The time that so many of a hundred stay within.
fn percentile(times: &mut [f64], share: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * share / 100).min(times.len() - 1)]
}
