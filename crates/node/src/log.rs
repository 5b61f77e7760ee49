//! `aegle log`: sign in at a node as a patient, print the own access log, write its proof.

use crate::files::{self, PRIVATE};
use crate::nodes::Nodes;
use crate::unlock::{self, PASSPHRASE};
use aegle_ledger::PatientLog;
use aegle_model::Canonical;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Parser;
use serde_json::Value;
use std::path::PathBuf;

/// Print the own access log: who asked, what was decided, what left
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: Nodes,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the proof here, for `aegle verify log`; the file must not exist yet
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut page = runtime.block_on(ask(args))?;
    let proof = proof(&page)?;
    if let Some(file) = &args.proof {
        files::write_new(file, &proof, PRIVATE)?;
    }
    if args.json {
        // The proof is for programs that read canonical bytes; it stands in a file of its own.
        page.as_object_mut().context("the log is not an object")?.remove("proof");
        println!("{}", serde_json::to_string_pretty(&page)?);
    } else {
        print!("{}", show(&page));
    }
    Ok(())
}

async fn ask(args: &Args) -> Result<Value> {
    let passphrase = unlock::known(PASSPHRASE, "Pass phrase")?;
    args.nodes.ask(&passphrase, async |client| client.get("/log").await).await
}

/// The proof's bytes. What the node lists must be what it proves, as far as that shows unopened.
fn proof(page: &Value) -> Result<Vec<u8>> {
    let text = page["proof"].as_str().context("the node's log has no proof")?;
    let bytes = BASE64.decode(text).context("the node's proof is not base 64")?;
    let log = PatientLog::from_bytes(&bytes).context("the node's proof is none")?;
    let listed = entries(page).len();
    if log.entries.len() != listed {
        bail!("the node lists {listed} entries and proves {}; ask another", log.entries.len());
    }
    Ok(bytes)
}

fn entries(page: &Value) -> &[Value] {
    page["entries"].as_array().map_or(&[], Vec::as_slice)
}

/// The log in columns, oldest first. Nothing that a node wrote reaches the terminal as it came:
/// control characters would rule it.
fn show(page: &Value) -> String {
    let heads = ["", "time", "centre", "event", "details"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heads).chain(entries(page).iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let mut shown = String::new();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or(0);
            format!("{cell:width$}")
        });
        shown.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        shown.push('\n');
    }
    shown.push_str(&ending(page));
    shown
}

fn ending(page: &Value) -> String {
    let height = text(&page["height"]);
    if page["complete"] == true {
        format!("\nComplete as of height {height}, says the node; `aegle verify log` proves it.\n")
    } else {
        format!("\nNOT proven complete as of height {height}: ask another node.\n")
    }
}

fn row(entry: &Value) -> [String; 5] {
    let [number, time, author, event] =
        ["number", "time", "author", "event"].map(|field| text(&entry[field]));
    [number, time, author, event, details(entry)]
}

fn details(entry: &Value) -> String {
    match entry["event"].as_str() {
        Some("linked") if entry["speaks"] == true => "may speak for the patient".to_owned(),
        Some("granted") => format!("{}, rule {}", rule(&entry["rule"]), text(&entry["id"])),
        Some("revoked") => format!("rule {}", text(&entry["id"])),
        Some("restored") => format!("the rules as of height {}", text(&entry["to"])),
        Some("asked") => asked(entry),
        Some("erased") => {
            format!("all keys to it are destroyed since key epoch {}", text(&entry["epoch"]))
        }
        Some("delivered") => listed(&entry["parts"], "; ", delivered),
        _ => String::new(),
    }
}

pub(crate) fn rule(rule: &Value) -> String {
    if rule.is_null() {
        return "sealed under another key".to_owned();
    }
    let scope = listed(&rule["scope"], ", ", |tag| {
        format!("{}={}", text(&tag["centre"]), text(&tag["tag"]))
    });
    let purposes = match &rule["purposes"] {
        Value::Null => String::new(),
        purposes => format!(" for {}", listed(purposes, ", ", text)),
    };
    let [from, until] = ["from", "until"].map(|end| match &rule[end] {
        Value::Null => String::new(),
        time => format!(" {end} {}", text(time)),
    });
    let (effect, grantee) = (text(&rule["effect"]), who(&rule["grantee"]));
    format!("{effect} {grantee} {scope}{from}{until}{purposes}")
}

fn asked(entry: &Value) -> String {
    let opened = &entry["opened"];
    let requester = if opened.is_null() {
        format!("somebody of {}", text(&entry["centre"]))
    } else {
        format!("{} for {}", who(&opened["requester"]), text(&opened["purpose"]))
    };
    let reason = match &opened["reason"] {
        Value::Null => String::new(),
        reason => format!(" ({})", text(reason)),
    };
    let cells = listed(&entry["cells"], ", ", |part| {
        format!("{} {}/{}", text(&part["centre"]), text(&part["granted"]), text(&part["asked"]))
    });
    let emergency = if entry["emergency"] == true { "EMERGENCY " } else { "" };
    format!("{emergency}{}: {requester}{reason}, cells {cells}", text(&entry["decision"]))
}

/// A requester or a grantee: a word, or a word with a centre and perhaps a number.
fn who(value: &Value) -> String {
    let Some((kind, named)) = value.as_object().and_then(|object| object.iter().next()) else {
        return text(value);
    };
    let kind = text(&Value::from(kind.as_str()));
    match &named["id"] {
        Value::Null => format!("{kind} {}", text(&named["centre"])),
        id => format!("{kind} {} {}", text(&named["centre"]), text(id)),
    }
}

fn delivered(part: &Value) -> String {
    let centre = text(&part["centre"]);
    if part["result"] == "delivered" {
        format!("{centre} {} rows, {} columns", text(&part["rows"]), text(&part["columns"]))
    } else {
        format!("{centre} {}", text(&part["why"]))
    }
}

fn listed(values: &Value, between: &str, shown: impl Fn(&Value) -> String) -> String {
    let values = values.as_array().map_or(&[][..], Vec::as_slice);
    values.iter().map(shown).collect::<Vec<_>>().join(between)
}

/// A value as text without control characters.
pub(crate) fn text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}
