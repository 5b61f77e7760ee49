//! Benchmarks over four real nodes on this machine: whole records, and the ledger alone.

mod decide;
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
    }
}

/// Prints what was measured: one JSON object, or lines for people.
fn measured<T: Serialize + Debug>(
    json: bool,
    measuring: impl Future<Output = Result<T>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measuring)?;
    if json {
        println!("{}", serde_json::to_string(&figures)?);
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
