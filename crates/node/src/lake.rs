//! `aegle lake`: look after a centre's data.

use crate::secrets::Secrets;
use crate::serve::open_lake;
use crate::settings::Settings;
use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
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
        /// The node's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The folder
        folder: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Check { folder } => {
            let report = aegle_lake::check(folder);
            println!("{report}");
            if report.is_sound() { Ok(()) } else { bail!("the source has holes") }
        }
        Command::Ingest { config, folder } => {
            let settings = Settings::load(config)?;
            let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
            let lake = open_lake(&settings, &secrets)?;
            let report = lake.ingest(folder)?;
            println!(
                "{} patients, {} rows, {} frames, {} bytes{}",
                report.patients,
                report.rows,
                report.frames,
                report.bytes,
                if report.unchanged { " (unchanged)" } else { "" }
            );
            Ok(())
        }
    }
}
