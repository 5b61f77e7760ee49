//! `aegle lake`: look after a centre's data.

mod follow;
mod progress;

use crate::secrets::Secrets;
use crate::serve::open_lake;
use crate::settings::Settings;
use aegle_lake::{IngestError, IngestReport, Lake};
use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use progress::Teller;
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
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Check { folder } => {
            let mut teller = Teller::new(Instant::now());
            let report =
                aegle_lake::check_with(folder, &mut |step| teller.step(step, Instant::now()));
            teller.finish();
            println!("{report}");
            if report.is_sound() { Ok(()) } else { bail!("the source has holes") }
        }
        Command::Ingest { config, follow, every, folder } => {
            let settings = Settings::load(config)?;
            let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
            let lake = open_lake(&settings, &secrets)?;
            if *follow {
                return follow::follow(&lake, folder, Duration::from_secs(*every));
            }
            let begun = Instant::now();
            println!("{}", summary(&ingest(&lake, folder)?, begun.elapsed()));
            Ok(())
        }
    }
}

/// Ingests once, telling how far it is.
fn ingest(lake: &Lake, folder: &Path) -> Result<IngestReport, IngestError> {
    let mut teller = Teller::new(Instant::now());
    let report = lake.ingest_with(folder, &mut |step| teller.step(step, Instant::now()));
    teller.finish();
    report
}

/// What an ingest did, in one line.
fn summary(report: &IngestReport, took: Duration) -> String {
    let IngestReport { patients, rows, frames, bytes, .. } = report;
    let unchanged = if report.unchanged { " (unchanged)" } else { "" };
    let left_out = match report.rows_without_patient {
        0 => String::new(),
        rows => format!(", {rows} rows of nobody left out"),
    };
    let took = took.as_secs_f64();
    format!(
        "{patients} patients, {rows} rows, {frames} frames, {bytes} bytes{left_out} in {took:.1} s{unchanged}"
    )
}
