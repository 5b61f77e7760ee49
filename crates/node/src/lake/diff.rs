//! `aegle lake diff`: what changed between two catalogues.

use super::json;
use aegle_lake::Catalogue;
use aegle_lake::catalogue::{Difference, FILE};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};

/// Show what a catalogue changes: tables, columns, tags, cells, and what that means for rules
#[derive(Parser)]
pub(super) struct Args {
    /// The older catalogue and the newer one, each a file or a source folder; only the newer one to
    /// compare it with what is current in the lake of `--config`
    #[arg(required = true, num_args = 1..=2, value_name = "CATALOGUE")]
    catalogues: Vec<PathBuf>,
    /// The configuration of the node whose lake is meant
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let difference = match (&args.catalogues[..], &args.config) {
        ([old, new], None) => Difference::between(&load(old)?, &load(new)?),
        ([new], Some(config)) => {
            let current = super::open(config)?.catalogue()?;
            let current = current.context("the lake is empty; ingest a source first")?;
            Difference::between(&current, &load(new)?)
        }
        _ => bail!("give two catalogues, or one and `--config` to compare it with the lake's"),
    };
    println!("{}", if args.json { json(&difference)? } else { difference.to_string() });
    Ok(())
}

fn load(path: &Path) -> Result<Catalogue> {
    let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("could not read the catalogue `{}`", file.display()))?;
    Ok(Catalogue::parse(&text)?)
}
