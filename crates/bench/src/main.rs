//! Benchmarks of whole records over four real nodes on this machine.

mod decide;
mod process;
mod record;

use anyhow::Result;
use clap::{Parser, Subcommand};
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
    }
}
