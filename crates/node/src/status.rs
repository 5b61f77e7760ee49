//! `aegle ledger status`: how the ledger is doing, as one node sees it.

use crate::nodes::{self, Nodes};
use crate::unlock::{self, PASSPHRASE};
use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::Value;
use std::fmt::Write as _;

/// Look after the ledger
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Status(Status),
}

/// Show the height, who is connected, what waits, and who takes part
#[derive(Parser)]
struct Status {
    #[command(flatten)]
    nodes: Nodes,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let Command::Status(status) = &args.command;
    nodes::answer(status.json, ask(status), show)
}

async fn ask(args: &Status) -> Result<Value> {
    let passphrase = unlock::known(PASSPHRASE, "Pass phrase")?;
    args.nodes.ask(&passphrase, async |client| client.get("/ledger").await).await
}

fn show(status: &Value) -> String {
    let number = |name: &str| status[name].as_u64().unwrap_or_default();
    let connected = number("connected") + 1;
    let agrees = if connected >= number("quorum") { "a quorum" } else { "NO quorum" };
    let role = match (status["running"].as_bool(), status["votes"].as_bool()) {
        (Some(true), Some(true)) => "votes",
        (Some(true), _) => "follows and does not vote",
        _ => "has stopped",
    };
    let mut text = format!(
        "height      {} at {}\nthis node   {role}\nconnected   {connected} of {} nodes: {agrees}\n\
         waiting     {} transactions\n\nof the last {} blocks\n",
        number("height"),
        status["time"].as_str().unwrap_or("an unknown time"),
        number("validators"),
        number("waiting"),
        number("blocks"),
    );
    for member in status["members"].as_array().into_iter().flatten() {
        // What a node says never rules the terminal.
        let code = member["centre"].as_str().unwrap_or_default().escape_debug().to_string();
        let count = |name: &str| member[name].as_u64().unwrap_or_default();
        let (signed, missed) = (count("signed"), count("missed"));
        let line = writeln!(text, "  {code:<12} signed {signed:>3}   missed {missed:>3} turns");
        line.expect("writing to memory cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn people_read_who_is_away() {
        let status = json!({
            "height": 812, "time": "2026-11-22T12:00:00Z", "validators": 4, "connected": 1,
            "quorum": 3, "waiting": 5, "votes": true, "running": true, "blocks": 64,
            "members": [
                { "centre": "ZMC", "signed": 64, "missed": 0 },
                { "centre": "KHM\u{1b}[2J", "signed": 0, "missed": 16 },
            ],
        });
        let expected = "\
height      812 at 2026-11-22T12:00:00Z
this node   votes
connected   2 of 4 nodes: NO quorum
waiting     5 transactions

of the last 64 blocks
  ZMC          signed  64   missed   0 turns
  KHM\\u{1b}[2J signed   0   missed  16 turns
";
        assert_eq!(show(&status), expected);
    }
}
