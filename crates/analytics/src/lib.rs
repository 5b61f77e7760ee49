//! De-identified tables of a centre's lake, and questions about groups of patients.
//!
//! Read in this order: [`config`] finds the lake; [`refresh`] writes what the lake hands out without
//! persons as Delta tables, one per table of the catalogue; [`query`] answers SQL over them, as far as
//! [`guard`] lets it; [`journal`] keeps who asked what.
//!
//! Invariants: what identifies a patient never comes here, nor a patient's key; no answer shows a
//! group of fewer than `k` patients; every question is on disk before its answer is shown; a question
//! changes nothing and reads nothing but a project's tables, within bounds of memory, time and rows.
//! Absent on purpose: how a person is taken out of a row, see `aegle_lake::Lake::deidentify`.

pub mod answer;
pub mod config;
pub mod guard;
pub mod journal;
pub mod project;
pub mod query;
pub mod refresh;
mod row_check;
mod table;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use config::Config;
use project::Project;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// Questions about groups of patients, over de-identified tables.
#[derive(Parser)]
#[command(name = "aegle-analytics", version)]
struct Cli {
    /// The node's configuration
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The project: a name of small letters, digits, `-` and `_`
    #[arg(long, value_name = "NAME", global = true)]
    project: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a project's tables anew from the lake; makes the project when there is none
    Refresh {
        /// The fewest patients that a group of an answer may have; 10 for a new project
        #[arg(long, value_name = "PATIENTS",
            value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
        k: Option<u32>,
    },
    /// Answer a question about groups of patients
    Query {
        /// One `SELECT` with an aggregate
        sql: String,
        /// How the answer is written
        #[arg(long, value_enum, default_value_t)]
        format: answer::Format,
        /// Write the answer into a new file instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show a project's tables and columns
    Schema,
}

/// Runs the command line of `aegle-analytics`.
pub fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aegle-analytics: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let config = cli.config.as_deref().context("give the node's configuration: --config FILE")?;
    let name = cli.project.as_deref().context("give the project: --project NAME")?;
    let config = Config::load(config)?;
    let project = Project::new(&config.lake(), name)?;
    let runtime = Runtime::new().context("could not start")?;
    let done = answer(cli, &runtime, &config, &project);
    // A question that took too long may still be at work.
    runtime.shutdown_background();
    done
}

fn answer(cli: &Cli, runtime: &Runtime, config: &Config, project: &Project) -> Result<()> {
    match &cli.command {
        Command::Refresh { k } => {
            aegle_progress::can_be_stopped();
            let lake = config.open_lake()?;
            let report = runtime.block_on(refresh::refresh(&lake, project, *k))?;
            println!("{report}");
        }
        Command::Query { sql, format, out } => {
            let answered = runtime.block_on(query::query(project, sql))?;
            answer::write(&answered, *format, out.as_deref())?;
            eprintln!("{}", answered.summary());
        }
        Command::Schema => print!("{}", runtime.block_on(query::schema(project))?),
    }
    Ok(())
}
