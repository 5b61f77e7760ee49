//! `aegle lake quarantine`: batches that broke their contract, and what becomes of them.

use super::{Node, displayed, json, summary};
use aegle_lake::{Quarantined, Standing};
use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use std::time::Instant;

/// Look at batches that broke their contract, let them in or leave them out
#[derive(Parser)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the batches that wait for a decision
    List {
        #[command(flatten)]
        node: Node,
        /// List those that were decided about, too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show why a batch is in quarantine: file, lines, column
    Show {
        #[command(flatten)]
        node: Node,
        /// The batch, or how its name begins
        batch: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ingest the batch's source without the rows that are wrong
    Release {
        #[command(flatten)]
        node: Node,
        /// The batch, or how its name begins
        batch: String,
    },
    /// Leave a batch out for good
    Drop {
        #[command(flatten)]
        node: Node,
        /// The batch, or how its name begins
        batch: String,
    },
}

pub(super) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::List { node, all, json: as_json } => {
            let mut found = node.lake()?.quarantine()?;
            found.retain(|one| *all || one.standing == Standing::Held);
            print!("{}", if *as_json { json(&found)? + "\n" } else { list(&found) });
        }
        Command::Show { node, batch, json: as_json } => {
            let mut found = node.lake()?.quarantine()?;
            found.retain(|one| one.batch.starts_with(batch.as_str()));
            let [one] = &found[..] else {
                bail!("{} batches in quarantine have a name that begins so", found.len());
            };
            println!("{}", if *as_json { json(one)? } else { show(one) });
        }
        Command::Release { node, batch } => {
            let lake = node.lake()?;
            let begun = Instant::now();
            let report = displayed(|progress| lake.release(batch, progress))?;
            println!("{}", summary(&report, begun.elapsed()));
        }
        Command::Drop { node, batch } => println!("{}", node.lake()?.drop_quarantined(batch)?),
    }
    Ok(())
}

fn list(found: &[Quarantined]) -> String {
    if found.is_empty() {
        return "nothing in quarantine waits for a decision\n".to_owned();
    }
    let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
    lines.join("\n") + "\n"
}

fn show(one: &Quarantined) -> String {
    let mut lines = vec![one.to_string(), format!("from {}", one.folder.display())];
    lines.extend(one.reasons.iter().map(|reason| format!("  {reason}")));
    lines.push(if one.releasable {
        "`release` lets it in without the rows that are wrong; `drop` leaves it out".to_owned()
    } else {
        "the file as a whole is wrong: mend the source, or `drop` it".to_owned()
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_why_and_what_they_can_do() {
        let mut one = Quarantined {
            batch: "0123456789abcdef".to_owned(),
            table: "use".to_owned(),
            noted: jiff::Timestamp::UNIX_EPOCH,
            standing: Standing::Held,
            rows: 5,
            wrong_rows: 2,
            orphans: 0,
            folder: "/srv/source".into(),
            reasons: vec!["use.csv, line 6: column `dose` is not a decimal number".to_owned()],
            releasable: true,
        };
        let expected = "\
0123456789abcdef  table `use`, held: 5 rows, 2 of them wrong, 0 of nobody
from /srv/source
  use.csv, line 6: column `dose` is not a decimal number
`release` lets it in without the rows that are wrong; `drop` leaves it out";
        assert_eq!(show(&one), expected);
        one.releasable = false;
        assert!(show(&one).ends_with("mend the source, or `drop` it"));
        assert_eq!(list(&[]), "nothing in quarantine waits for a decision\n");
        assert_eq!(list(&[one]).lines().count(), 1);
    }
}
