//! `aegle lake`: look after a centre's data.

mod diff;
mod follow;
mod migrate;
mod progress;
mod quarantine;
mod report;
mod scrub;
pub(crate) mod upkeep;

use crate::erase;
use crate::secrets::Secrets;
use crate::serve::open_lake;
use crate::settings::Settings;
use aegle_lake::{IngestError, IngestReport, Lake, Progress};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use progress::Teller;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Look after a centre's data
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Validate a source folder: catalogue.toml against the data of its sources
    Check {
        /// The folder
        folder: PathBuf,
    },
    /// Bring a source folder into the node's lake; it can be stopped at any moment and run again
    Ingest {
        /// The node's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Go on, and bring what changes at the source until stopped
        #[arg(long)]
        follow: bool,
        /// How many seconds to wait before looking again; longer where looking takes long
        #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "follow",
            value_parser = clap::value_parser!(u64).range(1..=86_400))]
        every: u64,
        /// The folder
        folder: PathBuf,
    },
    /// Show what is in each zone of the node's lake
    Status {
        /// The node's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look after areas for developers and analysts, which are copies without keys
    Workspace {
        /// The node's configuration
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        #[command(subcommand)]
        command: Workspace,
    },
    Diff(diff::Args),
    Quarantine(quarantine::Args),
    Report(report::Args),
    Scrub(scrub::Args),
    Erase(erase::Args),
    /// Copy the node's lake to another place, a folder or servers, and compare both; stop the node first
    Migrate {
        /// The node's configuration, which says where the lake is
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The same configuration but for `[lake]`, which says where it shall be
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put all keys of the lake under a new key-encryption key and destroy the old one
    RotateKeys {
        /// The configuration of the node, which may run or not
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
enum Workspace {
    /// Make one and print its folder
    Create {
        /// Its name
        name: String,
    },
    /// Print their names
    List,
    /// Remove one with all that is in it
    Destroy {
        /// Its name
        name: String,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let taken_up_again = matches!(
        args.command,
        Command::Check { .. }
            | Command::Ingest { .. }
            | Command::Scrub(_)
            | Command::Migrate { .. }
    );
    if taken_up_again {
        aegle_progress::can_be_stopped();
    }
    match &args.command {
        Command::Check { folder } => {
            let mut teller = Teller::new();
            let report = aegle_lake::check_with(folder, &mut |step| teller.step(step));
            drop(teller);
            println!("{report}");
            if report.is_sound() { Ok(()) } else { bail!("the source has holes") }
        }
        Command::Ingest { config, follow, every, folder } => {
            let lake = open(config)?;
            if *follow {
                return follow::follow(&lake, folder, Duration::from_secs(*every));
            }
            let begun = Instant::now();
            let done = ingest(&lake, folder);
            match &done {
                Ok(report) => println!("{}", summary(report, begun.elapsed())),
                Err(IngestError::Quarantined(partly)) => {
                    println!("{}", summary(&partly.report, begun.elapsed()));
                }
                Err(_) => {}
            }
            done?;
            Ok(())
        }
        Command::Status { config, json } => {
            let status = open(config)?.status()?;
            if *json {
                println!("{}", serde_json::to_string(&status)?);
            } else {
                println!("{status}");
            }
            Ok(())
        }
        Command::Workspace { config, command } => {
            let config =
                config.as_deref().context("give the node's configuration: --config FILE")?;
            workspace(&open(config)?, command)
        }
        Command::Diff(args) => diff::run(args),
        Command::Quarantine(args) => quarantine::run(args),
        Command::Report(args) => report::run(args),
        Command::Scrub(args) => scrub::run(args),
        Command::Erase(args) => erase::run(args),
        Command::Migrate { config, to } => migrate::migrate(config, to),
        Command::RotateKeys { config } => rotate_keys(&open(config)?),
    }
}

/// Ingests once, telling how far it is.
fn ingest(lake: &Lake, folder: &Path) -> Result<IngestReport, IngestError> {
    displayed(|progress| lake.ingest_with(folder, progress))
}

/// Does an ingest with a display of how far it is.
fn displayed<T>(work: impl FnOnce(&mut dyn FnMut(&Progress)) -> T) -> T {
    let mut teller = Teller::new();
    work(&mut |step| teller.step(step))
}

/// Whose lake it is.
#[derive(Parser)]
struct Node {
    /// The node's configuration; the node may run or not
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Node {
    fn lake(&self) -> Result<Lake> {
        open(&self.config)
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

/// What an ingest did, in one line.
fn summary(report: &IngestReport, took: Duration) -> String {
    let IngestReport { patients, rows, frames, bytes, .. } = report;
    let unchanged = if report.unchanged { " (unchanged)" } else { "" };
    let mut left_out = match report.rows_without_patient {
        0 => String::new(),
        rows => format!(", {rows} rows of nobody left out"),
    };
    if report.rows_of_erased > 0 {
        let rows = report.rows_of_erased;
        left_out =
            format!("{left_out}, {rows} rows of patients who were erased here were left out");
    }
    let took = took.as_secs_f64();
    format!(
        "{patients} patients, {rows} rows, {frames} frames, {bytes} bytes{left_out} in {took:.1} s{unchanged}"
    )
}

fn open(config: &Path) -> Result<Lake> {
    let settings = Settings::load(config)?;
    let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
    open_lake(&settings, &secrets)
}

fn rotate_keys(lake: &Lake) -> Result<()> {
    let mut teller = erase::Teller::default();
    let rotation = lake.rotate_keys(&mut |step| teller.rotation(step))?;
    drop(teller);
    println!(
        "{} keys are under key epoch {}; backups of the lake made before this can be read by nobody \
         once every older backup of its keys is destroyed",
        rotation.keys, rotation.epoch
    );
    Ok(())
}

fn workspace(lake: &Lake, command: &Workspace) -> Result<()> {
    match command {
        Workspace::Create { name } => println!("{}", lake.create_workspace(name)?.display()),
        Workspace::List => {
            for name in lake.workspaces()? {
                println!("{name}");
            }
        }
        Workspace::Destroy { name } => lake.destroy_workspace(name)?,
    }
    Ok(())
}
