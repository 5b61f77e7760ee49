//! `aegle lake`: look after a centre's data.

use crate::secrets::Secrets;
use crate::serve::open_lake;
use crate::settings::Settings;
use aegle_lake::Lake;
use anyhow::{Context, Result, bail};
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
    match &args.command {
        Command::Check { folder } => {
            let report = aegle_lake::check(folder);
            println!("{report}");
            if report.is_sound() { Ok(()) } else { bail!("the source has holes") }
        }
        Command::Ingest { config, folder } => {
            let lake = open(config)?;
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
    }
}

fn open(config: &Path) -> Result<Lake> {
    let settings = Settings::load(config)?;
    let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
    open_lake(&settings, &secrets)
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
