//! `aegle lake`: look after a centre's data.

mod diff;
mod progress;
mod quarantine;
mod report;
mod scrub;
pub(crate) mod upkeep;

use crate::secrets::Secrets;
use crate::serve::open_lake;
use crate::settings::Settings;
use aegle_lake::{IngestError, IngestReport, Lake, Progress};
use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use progress::{Bar, Unit, interruptible};
use serde::Serialize;
use std::path::PathBuf;

/// Look after a centre's data
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Validate a source folder: catalogue.toml against its CSV files
    Check {
        /// The folder
        folder: PathBuf,
    },
    /// Bring a source folder into the node's lake
    Ingest {
        #[command(flatten)]
        node: Node,
        /// The folder
        folder: PathBuf,
    },
    Diff(diff::Args),
    Quarantine(quarantine::Args),
    Report(report::Args),
    Scrub(scrub::Args),
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
        let settings = Settings::load(&self.config)?;
        let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
        open_lake(&settings, &secrets)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Check { folder } => {
            let report = aegle_lake::check(folder);
            println!("{report}");
            if report.is_sound() { Ok(()) } else { bail!("the source has holes") }
        }
        Command::Ingest { node, folder } => {
            let lake = node.lake()?;
            let done = displayed(&lake, |progress| lake.ingest_with(folder, progress))?;
            match &done {
                Ok(report) => println!("{}", summary(report)),
                Err(IngestError::Quarantined(partly)) => println!("{}", summary(&partly.report)),
                Err(_) => {}
            }
            done?;
            Ok(())
        }
        Command::Diff(args) => diff::run(args),
        Command::Quarantine(args) => quarantine::run(args),
        Command::Report(args) => report::run(args),
        Command::Scrub(args) => scrub::run(args),
    }
}

/// Does an ingest with a display of how far it is.
fn displayed<T>(lake: &Lake, work: impl FnOnce(&mut dyn FnMut(&Progress)) -> T) -> Result<T> {
    interruptible(lake, || {
        let spinner = progress::spinner("checking the source");
        let mut bar = None;
        work(&mut |step| match step {
            Progress::Checked { rows } => {
                spinner.finish_and_clear();
                bar = Some(Bar::new("ingest", Unit::Rows, *rows));
            }
            Progress::Stored { rows, .. } => bar.iter_mut().for_each(|bar| bar.advance(*rows)),
            Progress::Table(_) | Progress::Indexed | Progress::Committed => {}
        })
    })
}

fn summary(report: &IngestReport) -> String {
    format!(
        "{} patients, {} rows, {} frames, {} bytes{}",
        report.patients,
        report.rows,
        report.frames,
        report.bytes,
        if report.unchanged { " (unchanged)" } else { "" }
    )
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}
