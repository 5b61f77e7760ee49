//! `aegle lake`: look after a centre's data.

use crate::erase;
use crate::secrets::Secrets;
use crate::serve::open_lake;
use crate::settings::Settings;
use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

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
    Erase(erase::Args),
    /// Put all keys of the lake under a new key-encryption key and destroy the old one
    RotateKeys {
        /// The configuration of the node, which may run or not
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
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
            if report.rows_of_erased > 0 {
                println!(
                    "{} rows of patients who were erased here were left out",
                    report.rows_of_erased
                );
            }
            Ok(())
        }
        Command::Erase(args) => erase::run(args),
        Command::RotateKeys { config } => rotate_keys(config),
    }
}

fn rotate_keys(config: &Path) -> Result<()> {
    let settings = Settings::load(config)?;
    let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
    let lake = open_lake(&settings, &secrets)?;
    let rotation = lake.rotate_keys(&mut |step| eprintln!("{}", erase::rotation(step)))?;
    println!(
        "{} keys are under key epoch {}; backups of the lake made before this can be read by nobody \
         once every older backup of its keys is destroyed",
        rotation.keys, rotation.epoch
    );
    Ok(())
}
