//! `aegle rules`: the own rules, of now or of any moment, who changed them, and the way back.

use crate::log::{rule, text};
use crate::nodes::{self, Nodes};
use crate::unlock::{self, PASSPHRASE};
use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

/// List the own rules, see who changed them, return to earlier ones
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: Nodes,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The rules
    List {
        /// A height of the ledger or a time, such as 2026-03-01T00:00:00Z; now if not given
        #[arg(long, value_name = "MOMENT")]
        at: Option<String>,
    },
    /// Every change, oldest first
    History,
    /// Bring the rules of an earlier moment back into force, all at once
    Restore {
        /// A height of the ledger or a time, such as 2026-03-01T00:00:00Z
        #[arg(long, value_name = "MOMENT")]
        at: String,
        /// Only say what would change
        #[arg(long)]
        preview: bool,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    nodes::answer(args.json, ask(args), |answer| args.what.show(answer))
}

async fn ask(args: &Args) -> Result<Value> {
    let passphrase = unlock::known(PASSPHRASE, "Pass phrase")?;
    // One name for all tries: a node that did not answer may have passed the change on.
    let name = uuid()?;
    let at = |path: &str, at: &str| format!("{path}?at={}", at.replace('+', "%2B"));
    let asked = async |client: &crate::client::Client| match &args.what {
        What::List { at: None } => client.get("/rules").await,
        What::List { at: Some(moment) } => client.get(&at("/rules", moment)).await,
        What::History => client.get("/rules/history").await,
        What::Restore { at, preview: true } => {
            client.post("/rules/restore/preview", &json!({ "at": at })).await
        }
        What::Restore { at, preview: false } => {
            client.post_once("/rules/restore", &json!({ "at": at }), &name).await
        }
    };
    args.nodes.ask(&passphrase, asked).await
}

/// A name that nobody else gives.
fn uuid() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

impl What {
    fn show(&self, answer: &Value) -> String {
        match self {
            Self::List { .. } => lines(answer, "", known),
            Self::History => lines(answer, "", changed),
            Self::Restore { preview: true, .. } => {
                let (comes, goes) = (&answer["comes"], &answer["goes"]);
                let head = format!("The rules as of height {}\n", text(&answer["height"]));
                head + &lines(comes, "+ ", known) + &lines(goes, "- ", known)
            }
            Self::Restore { preview: false, .. } => {
                let height = text(&answer["height"]);
                let state = match answer["status"].as_str() {
                    Some("in_force") => "are in force",
                    _ => "are NOT in force yet: the ledger cannot be reached",
                };
                format!("The rules as of height {height} {state}\n")
            }
        }
    }
}

fn lines(values: &Value, before: &str, line: fn(&Value) -> String) -> String {
    let values = values.as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = String::new();
    for value in values {
        lines.push_str(before);
        lines.push_str(&line(value));
        lines.push('\n');
    }
    lines
}

fn known(value: &Value) -> String {
    let state = match value["status"].as_str() {
        None | Some("in_force") => String::new(),
        Some("waiting") => "  NOT IN FORCE YET".to_owned(),
        Some("revoking") => "  still in force, revocation waits".to_owned(),
        Some(_) => format!("  REFUSED: {}", text(&value["why"])),
    };
    format!("{}  {}{state}", text(&value["id"]), rule(&value["rule"]))
}

fn changed(value: &Value) -> String {
    let what = match value["change"].as_str() {
        Some("granted") => format!("granted   {}  {}", text(&value["id"]), rule(&value["rule"])),
        Some("revoked") => format!("revoked   {}", text(&value["id"])),
        _ => format!("returned to the rules as of height {}", text(&value["to"])),
    };
    match value["status"].as_str() {
        Some("made") => {
            let [height, time, author] =
                ["height", "time", "author"].map(|field| text(&value[field]));
            format!("{height}  {time}  {author}  {what}")
        }
        Some("waiting") => format!("NOT IN FORCE YET  {what}"),
        _ => format!("REFUSED: {}  {what}", text(&value["why"])),
    }
}
