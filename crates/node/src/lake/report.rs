//! `aegle lake report`: what the lake holds and how good it is, as text, JSON or a page.

mod page;

use super::{Node, json};
use crate::files;
use aegle_lake::{CatalogueReport, Fate, LakeReport, Standing, TableReport};
use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Show what the lake holds: rows, patients, freshness, gaps, growth, damage
#[derive(Parser)]
pub(super) struct Args {
    #[command(flatten)]
    node: Node,
    /// Print JSON
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Write a page with charts to this file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let report = args.node.lake()?.report()?;
    if let Some(file) = &args.html {
        let page = page::render(&report)?;
        files::write_new(file, page.as_bytes(), files::PRIVATE).context("no report was written")?;
        println!("{}", file.display());
    } else if args.json {
        println!("{}", json(&report)?);
    } else {
        print!("{}", show(&report));
    }
    Ok(())
}

/// What somebody should look at.
fn problems(report: &LakeReport) -> Vec<String> {
    let mut problems = Vec::new();
    let lost = report.damages.iter().filter(|damage| damage.fate != Fate::Repaired);
    problems.extend(lost.map(ToString::to_string));
    let held = report.quarantine.iter().filter(|one| one.standing == Standing::Held);
    problems.extend(held.map(|one| {
        let reasons = one.reasons.join("; ");
        format!("Table `{}` has a new content that waits in quarantine: {reasons}.", one.table)
    }));
    for table in &report.tables {
        let (name, stats) = (&table.name, &table.stats);
        if !table.current {
            problems.push(format!("Table `{name}` never came in."));
        } else if table.source.is_none() {
            problems
                .push(format!("The manifest of table `{name}` is lost; ingest its source again."));
        }
        let mut count = |count: u64, what: &str| {
            if count > 0 {
                problems.push(format!("Table `{name}`: {} {what}", HumanCount(count)));
            }
        };
        count(stats.wrong_rows, "rows cannot be read by the catalogue and are left out.");
        count(stats.orphans, "rows belong to no patient and are left out.");
        count(stats.duplicates, "rows are equal to another one in every field.");
    }
    if report.lost > 0 {
        let lost = HumanCount(report.lost);
        problems.push(format!("{lost} patients' rows of a batch are lost; their records say so."));
    }
    for tag in report.tags.iter().filter(|tag| tag.values == 0) {
        problems.push(format!(
            "No value carries the tag `{}`; a rule about it opens nothing.",
            tag.name
        ));
    }
    problems
}

/// The share of fields that are empty.
fn empty(table: &TableReport) -> String {
    let fields = table.stats.rows * table.columns.len() as u64;
    percent(table.columns.iter().map(|column| column.nulls).sum(), fields)
}

fn percent(part: u64, of: u64) -> String {
    let tenths = (u128::from(part) * 1000 + u128::from(of) / 2).checked_div(u128::from(of));
    let tenths = tenths.unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A time to the minute.
fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

fn about(table: &TableReport) -> String {
    let about = if table.stats.duplicates_estimated { "about " } else { "" };
    format!("{about}{}", HumanCount(table.stats.duplicates))
}

/// When the source of a table changed, and when it was looked at since.
fn freshness(table: &TableReport) -> String {
    let loaded = table.loaded.map_or_else(|| "never".to_owned(), minute);
    match table.seen.filter(|seen| table.loaded.is_some_and(|loaded| *seen > loaded)) {
        Some(seen) => format!("{loaded}, unchanged at {}", minute(seen)),
        None => loaded,
    }
}

/// The columns of which there is something to tell.
fn columns(report: &LakeReport) -> Vec<String> {
    let mut lines = Vec::new();
    for table in &report.tables {
        for column in &table.columns {
            let mut told = Vec::new();
            if column.nulls > 0 {
                told.push(format!("{} empty", percent(column.nulls, table.stats.rows)));
            }
            if column.wrong > 0 {
                told.push(format!("{} of another type", HumanCount(column.wrong)));
            }
            if column.tags.is_empty() {
                told.push("without a tag, never disclosed".to_owned());
            }
            if !told.is_empty() {
                lines.push(format!("  {}.{}: {}", table.name, column.name, told.join(", ")));
            }
        }
    }
    let heading = (!lines.is_empty()).then(|| "\ncolumns:".to_owned());
    heading.into_iter().chain(lines).collect()
}

/// The versions of the catalogue in use.
fn versions(report: &LakeReport) -> Vec<String> {
    let line = |version: &CatalogueReport| {
        let CatalogueReport { version, batches, current } = version;
        format!("  version {version}: {batches} batches, the last one of {current} tables")
    };
    let heading = std::iter::once("\ncatalogue:".to_owned());
    heading.chain(report.catalogues.iter().map(line)).collect()
}

/// What each month brought.
fn growth(report: &LakeReport) -> Vec<String> {
    let mut months = BTreeMap::<String, (u64, u64)>::new();
    for batch in &report.batches {
        let (rows, bytes) = months.entry(batch.loaded.strftime("%Y-%m").to_string()).or_default();
        (*rows, *bytes) = (*rows + batch.rows, *bytes + batch.stored_bytes);
    }
    let line = |(month, (rows, bytes)): (String, (u64, u64))| {
        format!("  {month}: {} rows, {}", HumanCount(rows), HumanBytes(bytes))
    };
    let heading = std::iter::once("\nbrought in by month:".to_owned());
    heading.chain(months.into_iter().map(line)).collect()
}

fn show(report: &LakeReport) -> String {
    let mut lines = vec![format!(
        "{} at {} UTC: {} patients, {} rows, catalogue version {}\n",
        report.centre,
        minute(report.made),
        HumanCount(report.patients),
        HumanCount(report.rows),
        report.catalogue
    )];
    let width = report.tables.iter().map(|table| table.name.chars().count()).max().unwrap_or(0);
    let width = width.max("table".len());
    lines.push(format!(
        "{:width$} {:>12} {:>12} {:>8} {:>12} {:>10} {:>10} {:>11}  brought in",
        "table", "rows", "patients", "empty", "equal", "of nobody", "unreadable", "on disk"
    ));
    for table in &report.tables {
        let stats = &table.stats;
        lines.push(format!(
            "{:width$} {:>12} {:>12} {:>8} {:>12} {:>10} {:>10} {:>11}  {}",
            table.name,
            HumanCount(stats.rows).to_string(),
            HumanCount(table.patients).to_string(),
            empty(table),
            about(table),
            HumanCount(stats.orphans).to_string(),
            HumanCount(stats.wrong_rows).to_string(),
            HumanBytes(table.stored_bytes).to_string(),
            freshness(table)
        ));
    }
    lines.extend(columns(report));
    lines.extend(versions(report));
    lines.extend(growth(report));
    let stored = report.batches.iter().map(|batch| batch.stored_bytes).sum();
    lines.push(format!(
        "\n{} batches, {} in the raw zone",
        report.batches.len(),
        HumanBytes(stored)
    ));
    let scrubbed = report.last_scrub.map_or_else(|| "never".to_owned(), minute);
    lines.push(format!("last whole scrub: {scrubbed}"));
    let problems = problems(report);
    lines.push(
        if problems.is_empty() { "\nnothing needs a look" } else { "\nneeds a look:" }.into(),
    );
    lines.extend(problems.iter().map(|problem| format!("  {problem}")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests;
