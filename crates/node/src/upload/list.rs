//! `aegle uploads`: what was delivered, and what to do with what is in quarantine.

use super::Uploads;
use aegle_upload::{About, Area, Held, Id, Outcome, State};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use std::path::PathBuf;

/// Look after files that systems delivered
#[derive(Parser)]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show every upload: how far it is, or why it is in quarantine
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an upload
    Drop {
        /// Its id
        id: Id,
    },
    /// Look at an upload in quarantine again and move it into its source folder if it is sound now
    Release {
        /// Its id
        id: Id,
        /// Move it even if it is not sound; ingesting the source may fail then
        #[arg(long)]
        as_it_is: bool,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let config = args.config.as_deref();
    let area = Uploads::open(config.context("give the node's configuration: --config FILE")?)?;
    match &args.command {
        Command::List { json } => list(&area, *json),
        Command::Drop { id } => {
            if !area.remove(&find(&area, id)?)? {
                bail!("somebody is at the upload `{id}`; try again later");
            }
            println!("`{id}` is removed");
            Ok(())
        }
        Command::Release { id, as_it_is } => release(&area, id, *as_it_is),
    }
}

fn find(area: &Area, id: &Id) -> Result<Held> {
    let found = area.list()?.into_iter().find(|held| held.about.id == *id);
    found.with_context(|| format!("there is no upload `{id}`"))
}

fn release(area: &Area, id: &Id, as_it_is: bool) -> Result<()> {
    let held = find(area, id)?;
    let released = aegle_upload::release(area, &held, as_it_is, Timestamp::now())?;
    let released = released.with_context(|| format!("somebody is at the upload `{id}`"))?;
    released.with_context(|| format!("could not release the upload `{id}`"))?;
    let About { name, source, .. } = held.about;
    println!("`{name}` lies in `{}`", source.display());
    Ok(())
}

/// One upload, as JSON.
#[derive(Serialize)]
struct Shown {
    offset: u64,
    #[serde(flatten)]
    about: About,
    #[serde(flatten)]
    state: State,
}

fn list(area: &Area, json: bool) -> Result<()> {
    let mut shown = Vec::new();
    for held in area.list()? {
        let (offset, state) = (held.offset()?, held.state()?);
        shown.push(Shown { offset, state, about: held.about });
    }
    if json {
        println!("{}", serde_json::to_string(&shown)?);
        return Ok(());
    }
    for Shown { offset, about, state } in shown {
        let About { id, credential, name, length, .. } = about;
        let (word, reasons) = match state {
            State::Open(progress) => (progress.to_string(), Vec::new()),
            State::Ended(Outcome::Accepted { .. }) => ("accepted".to_owned(), Vec::new()),
            State::Ended(Outcome::Quarantined { reasons, .. }) => {
                ("in quarantine".to_owned(), reasons)
            }
        };
        println!("{id}  {credential}  {name}  {offset} of {length} bytes  {word}");
        for reason in reasons {
            println!("    {reason}");
        }
    }
    Ok(())
}
