//! `aegle record`: sign in at a node, ask for a record, open and print it.

use crate::client::{Opened, Question};
use crate::nodes::Nodes;
use crate::unlock::{self, PASSPHRASE};
use aegle_lake::{Part, PartTable};
use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

/// Ask for a record and open what comes back
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: Nodes,
    /// The patient's handle; without it, the own record
    #[arg(long, value_name = "HANDLE")]
    patient: Option<String>,
    /// What is asked for, such as ZMC=medication,allergies; everything everywhere if not given
    #[arg(long = "want", value_name = "CENTRE=TAGS", value_parser = wish)]
    wants: Vec<(String, Vec<String>)>,
    /// What for
    #[arg(long, default_value = "treatment", value_parser = ["treatment", "emergency", "research", "administration"])]
    purpose: String,
    /// Why; needed in an emergency
    #[arg(long)]
    reason: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

fn wish(text: &str) -> Result<(String, Vec<String>), String> {
    let (centre, tags) = text.split_once('=').ok_or("write CENTRE=TAG,TAG")?;
    let tags: Vec<_> = tags.split(',').map(|tag| tag.trim().to_owned()).collect();
    if centre.is_empty() || tags.iter().any(String::is_empty) {
        return Err("write CENTRE=TAG,TAG".to_owned());
    }
    Ok((centre.to_owned(), tags))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let parts = runtime.block_on(ask(args))?;
    match args.format {
        Format::Json => println!("{}", json(&parts)?),
        Format::Table => parts.iter().for_each(print),
    }
    if parts.iter().any(|part| part.part.is_none()) {
        bail!("a centre did not answer; its part is missing");
    }
    Ok(())
}

async fn ask(args: &Args) -> Result<Vec<Opened>> {
    let passphrase = unlock::known(PASSPHRASE, "Pass phrase")?;
    let wishes = args.wants.iter();
    let wishes = wishes
        .map(|(centre, tags)| (centre.as_str(), tags.iter().map(String::as_str).collect()))
        .collect();
    let question = Question {
        patient: args.patient.as_deref(),
        wishes,
        purpose: Some(&args.purpose),
        reason: args.reason.as_deref(),
    };
    args.nodes.ask(&passphrase, async |client| client.record(&question).await).await
}

fn json(parts: &[Opened]) -> Result<String> {
    let parts = parts.iter().map(|opened| {
        let tables = opened.part.as_ref().map(|part| &part.tables);
        serde_json::json!({ "centre": opened.centre, "answered": opened.part.is_some(), "tables": tables })
    });
    Ok(serde_json::to_string_pretty(&parts.collect::<Vec<_>>())?)
}

fn print(opened: &Opened) {
    match &opened.part {
        None => println!("{}: did not answer\n", opened.centre),
        Some(Part { tables, incomplete, .. }) if tables.is_empty() && incomplete.is_empty() => {
            println!("{}: nothing to show\n", opened.centre);
        }
        Some(part) => {
            println!("{}", opened.centre);
            part.tables.iter().for_each(|table| println!("{}", show(table)));
            if !part.incomplete.is_empty() {
                println!(
                    "incomplete: the centre has lost data of {}\n",
                    part.incomplete.join(", ")
                );
            }
        }
    }
}

/// Values in columns as wide as their widest value, up to a limit. Nothing that a centre wrote
/// reaches the terminal as it came: control characters would rule it.
fn show(table: &PartTable) -> String {
    let cell = |value| match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(serde_json::Value::Null) | Err(_) => "–".to_owned(),
        Ok(other) => other.to_string(),
    };
    let heads = table.columns.iter().map(|column| match &column.unit {
        Some(unit) => format!("{} [{}]", short(&column.name), short(unit)),
        None => short(&column.name),
    });
    let rows = table.rows.iter().map(|row| row.iter().map(cell).map(|text| short(&text)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(heads.collect()).chain(rows).collect();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let mut shown = format!("\n  {}\n", short(&table.name));
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        shown.push_str("    ");
        shown.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        shown.push('\n');
    }
    shown
}

fn short(text: &str) -> String {
    const MAX: usize = 40;
    let clean: String =
        text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    if clean.chars().count() <= MAX {
        clean
    } else {
        clean.chars().take(MAX - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_lake::{Kind, PartColumn, Value};
    use std::collections::BTreeMap;

    #[test]
    fn nothing_that_a_centre_wrote_rules_the_terminal() {
        const ERASE: &str = "a\u{1b}[2J\r\n\u{9b}2Jb";
        let unit = Some(ERASE.to_owned());
        let column = |unit| PartColumn {
            name: ERASE.to_owned(),
            kind: Kind::Text,
            unit,
            labels: BTreeMap::new(),
        };
        let table = PartTable {
            name: ERASE.to_owned(),
            columns: vec![column(unit), column(None)],
            rows: vec![vec![Value::Text(ERASE.to_owned()), Value::Null]],
        };
        let clean = "a [2J   2Jb";
        let shown = show(&table);
        let heads = format!("    {clean} [{clean}]  {clean}");
        let expected = ["", &format!("  {clean}"), &heads, &format!("    {clean:25}  –")];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
        assert!(shown.chars().all(|sign| sign == '\n' || !sign.is_control()), "{shown:?}");
    }
}
