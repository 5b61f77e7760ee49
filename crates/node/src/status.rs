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
        "height      {} at {}, epoch {}\nthis node   {role}\n\
         connected   {connected} of {} nodes: {agrees}\n\
         waiting     {} transactions, {} bytes\n\
         outbox      {} transactions, the oldest for {} s\n{}\n\
         of the last {} blocks, with {} rounds that ended without one\n",
        number("height"),
        status["time"].as_str().unwrap_or("an unknown time"),
        number("epoch"),
        number("validators"),
        number("waiting"),
        number("waiting_bytes"),
        number("outbox"),
        number("outbox_age_s"),
        match number("missing") {
            0 => String::new(),
            missing => format!("missing     {missing} blocks from the beginning\n"),
        },
        number("blocks"),
        number("round_changes"),
    );
    for member in status["members"].as_array().into_iter().flatten() {
        // What a node says never rules the terminal.
        let code = member["centre"].as_str().unwrap_or_default().escape_debug().to_string();
        let count = |name: &str| member[name].as_u64().unwrap_or_default();
        let part = if member["votes"].as_bool() == Some(false) {
            "follows, has no vote yet   ".to_owned()
        } else {
            format!("signed {:>3}   missed {:>3} turns", count("signed"), count("missed"))
        };
        let behind = match member["behind"].as_u64() {
            Some(0) => "level".to_owned(),
            Some(blocks) => format!("{blocks} blocks behind"),
            None => "silent".to_owned(),
        };
        let line = writeln!(text, "  {code:<12} {part}   {behind}");
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
            "height": 812, "time": "2026-11-22T12:00:00Z", "epoch": 3, "validators": 4,
            "connected": 1, "quorum": 3, "waiting": 5, "waiting_bytes": 2048, "outbox": 2,
            "outbox_age_s": 61, "votes": true, "missing": 30, "running": true, "blocks": 64, "round_changes": 16,
            "members": [
                { "centre": "ZMC", "votes": true, "signed": 64, "missed": 0, "behind": 0 },
                { "centre": "UCL", "votes": true, "signed": 60, "missed": 0, "behind": 120 },
                { "centre": "KHM\u{1b}[2J", "votes": true, "signed": 0, "missed": 16, "behind": null },
                { "centre": "NEW", "votes": false, "signed": 0, "missed": 0, "behind": 3 },
            ],
        });
        let expected = "\
height      812 at 2026-11-22T12:00:00Z, epoch 3
this node   votes
connected   2 of 4 nodes: NO quorum
waiting     5 transactions, 2048 bytes
outbox      2 transactions, the oldest for 61 s
missing     30 blocks from the beginning

of the last 64 blocks, with 16 rounds that ended without one
  ZMC          signed  64   missed   0 turns   level
  UCL          signed  60   missed   0 turns   120 blocks behind
  KHM\\u{1b}[2J signed   0   missed  16 turns   silent
  NEW          follows, has no vote yet      3 blocks behind
";
        assert_eq!(show(&status), expected);
    }
}
