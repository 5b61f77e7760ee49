//! The report as one page: no scripts, no requests, charts as SVG beside their numbers.

use super::{about, empty, minute, percent, problems};
use aegle_lake::{BatchReport, ColumnReport, Fate, LakeReport, Quarantined, Standing, TableReport};
use anyhow::Result;
use askama::Template;
use indicatif::{HumanBytes, HumanCount};

/// How many batches are listed; the curve shows all.
const BATCHES: usize = 200;
/// How many points the curve has at most.
const POINTS: usize = 300;
/// How high a row of a chart is.
const ROW: usize = 28;
/// How wide the longest bar is.
const BAR: u64 = 440;
/// How many letters of a label fit in front of its bar.
const LABEL: usize = 26;

#[derive(Template)]
#[template(path = "lake_report.html")]
struct Page<'a> {
    style: &'static str,
    report: &'a LakeReport,
    made: String,
    figures: Vec<Figure>,
    problems: Vec<String>,
    tables: Vec<Table<'a>>,
    rows: Chart,
    tags: Chart,
    growth: Growth,
    batches: Vec<Batch<'a>>,
    quarantine: Vec<Held<'a>>,
    damages: Vec<Row<'a>>,
    last_scrub: String,
}

struct Figure {
    value: String,
    name: &'static str,
}

struct Table<'a> {
    name: &'a str,
    current: bool,
    rows: String,
    patients: String,
    empty: String,
    duplicates: String,
    orphans: String,
    wrong: String,
    loaded: String,
    seen: String,
    stored: String,
    source: Option<&'a str>,
    catalogue: Option<u32>,
    columns: &'a [ColumnReport],
    nulls: Chart,
}

struct Chart {
    id: String,
    title: String,
    bars: Vec<Bar>,
}

struct Bar {
    label: String,
    value: String,
    width: u64,
    y: usize,
}

struct Growth {
    title: String,
    points: String,
    top: String,
    first: String,
    last: String,
}

struct Batch<'a> {
    name: &'a str,
    table: &'a str,
    loaded: String,
    rows: String,
    source: String,
    stored: String,
    load: u64,
}

struct Held<'a> {
    one: &'a Quarantined,
    noted: String,
    open: bool,
}

struct Row<'a> {
    found: String,
    kind: String,
    object: &'a str,
    table: &'a str,
    what: String,
    now: String,
    bad: bool,
}

/// The page of a report.
pub(super) fn render(report: &LakeReport) -> Result<String> {
    let page = Page {
        style: include_str!("../../../templates/lake_report.css"),
        report,
        made: format!("Made {} UTC", minute(report.made)),
        figures: figures(report),
        problems: problems(report),
        tables: report.tables.iter().map(table).collect(),
        rows: Chart::new(
            "rows",
            "Rows by table",
            report.tables.iter().map(|table| (table.name.as_str(), table.stats.rows)),
            |count, _| HumanCount(count).to_string(),
        ),
        tags: Chart::new(
            "tags",
            "Values by tag",
            report.tags.iter().map(|tag| (tag.name.as_str(), tag.values)),
            |count, _| HumanCount(count).to_string(),
        ),
        growth: growth(&report.batches),
        batches: report.batches.iter().rev().take(BATCHES).map(batch).collect(),
        quarantine: report.quarantine.iter().map(held).collect(),
        damages: damages(report),
        last_scrub: report
            .last_scrub
            .map_or_else(|| "never".to_owned(), |time| minute(time) + " UTC"),
    };
    Ok(page.render()?)
}

impl Chart {
    /// A chart whose longest bar is its largest value.
    fn new<'a>(
        id: &str,
        title: &str,
        bars: impl Iterator<Item = (&'a str, u64)>,
        show: impl Fn(u64, u64) -> String,
    ) -> Self {
        let bars: Vec<_> = bars.collect();
        let most = bars.iter().map(|(_, value)| *value).max().unwrap_or(0);
        Self::of(id, title, bars.into_iter(), most, show)
    }

    /// A chart whose longest bar would be `full`.
    fn of<'a>(
        id: &str,
        title: &str,
        bars: impl Iterator<Item = (&'a str, u64)>,
        full: u64,
        show: impl Fn(u64, u64) -> String,
    ) -> Self {
        let bar = |(place, (label, value)): (usize, (&str, u64))| Bar {
            label: short(label),
            value: show(value, full),
            width: width(value, full),
            y: place * ROW,
        };
        let bars = bars.enumerate().map(bar).collect();
        Self { id: format!("chart-{id}"), title: title.to_owned(), bars }
    }

    fn height(&self) -> usize {
        self.bars.len().max(1) * ROW
    }
}

/// Something of a value can always be seen.
fn width(value: u64, full: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(BAR)).checked_div(u128::from(full)).unwrap_or(0);
    u64::try_from(scaled).unwrap_or(BAR).clamp(u64::from(value > 0) * 2, BAR)
}

fn short(label: &str) -> String {
    if label.chars().count() <= LABEL {
        return label.to_owned();
    }
    label.chars().take(LABEL - 1).chain(['…']).collect()
}

fn figures(report: &LakeReport) -> Vec<Figure> {
    let stored = report.batches.iter().map(|batch| batch.stored_bytes).sum();
    let damaged = report.damages.iter().filter(|damage| damage.fate != Fate::Repaired).count();
    let figure = |value: String, name| Figure { value, name };
    vec![
        figure(HumanCount(report.patients).to_string(), "patients"),
        figure(HumanCount(report.rows).to_string(), "rows of patients"),
        figure(report.tables.len().to_string(), "tables"),
        figure(report.catalogue.to_string(), "catalogue version"),
        figure(HumanBytes(stored).to_string(), "in the raw zone"),
        figure(damaged.to_string(), "objects damaged now"),
    ]
}

fn table(table: &TableReport) -> Table<'_> {
    let time = |time: Option<_>| time.map_or_else(String::new, minute);
    let nulls = table.columns.iter().map(|column| (column.name.as_str(), column.nulls));
    let title = format!("Empty fields by column of {}", table.name);
    Table {
        name: &table.name,
        current: table.current,
        rows: HumanCount(table.stats.rows).to_string(),
        patients: HumanCount(table.patients).to_string(),
        empty: empty(table),
        duplicates: about(table),
        orphans: HumanCount(table.stats.orphans).to_string(),
        wrong: HumanCount(table.stats.wrong_rows).to_string(),
        loaded: time(table.loaded),
        seen: time(table.seen),
        stored: HumanBytes(table.stored_bytes).to_string(),
        source: table.source.as_deref(),
        catalogue: table.catalogue,
        columns: &table.columns,
        nulls: Chart::of(
            &format!("nulls-{}", table.name),
            &title,
            nulls,
            table.stats.rows,
            percent,
        ),
    }
}

/// The bytes of all batches so far, batch after batch, in a box from (100, 190) to (790, 20).
fn growth(batches: &[BatchReport]) -> Growth {
    let mut sum = 0;
    let sums: Vec<u64> = batches
        .iter()
        .map(|batch| {
            sum += batch.stored_bytes;
            sum
        })
        .collect();
    let every = sums.len().div_ceil(POINTS).max(1);
    let mut shown: Vec<u64> = sums.iter().rev().step_by(every).rev().copied().collect();
    shown.insert(0, 0);
    let steps = (shown.len() - 1).max(1) as u64;
    let point = |(place, bytes): (usize, &u64)| {
        let up = (u128::from(*bytes) * 170).checked_div(u128::from(sum)).unwrap_or(0);
        format!("{},{}", 100 + place as u64 * 690 / steps, 190 - up)
    };
    let points: Vec<_> = shown.iter().enumerate().map(point).collect();
    let time =
        |batch: Option<&BatchReport>| batch.map_or_else(String::new, |one| minute(one.loaded));
    let (first, last) = (time(batches.first()), time(batches.last()));
    Growth {
        title: format!("Growth to {} in {} batches", HumanBytes(sum), batches.len()),
        points: points.join(" "),
        top: HumanBytes(sum).to_string(),
        first,
        last,
    }
}

fn batch(batch: &BatchReport) -> Batch<'_> {
    Batch {
        name: &batch.batch,
        table: &batch.table,
        loaded: minute(batch.loaded),
        rows: HumanCount(batch.rows).to_string(),
        source: HumanBytes(batch.source_bytes).to_string(),
        stored: HumanBytes(batch.stored_bytes).to_string(),
        load: batch.load,
    }
}

fn held(one: &Quarantined) -> Held<'_> {
    Held { one, noted: minute(one.noted), open: one.standing == Standing::Held }
}

fn damages(report: &LakeReport) -> Vec<Row<'_>> {
    let row = |damage: &aegle_lake::Damage| {
        let reason = damage.reason.as_ref().map(|reason| format!("; {reason}"));
        format!("{}{}", damage.fate, reason.unwrap_or_default())
    };
    report
        .damages
        .iter()
        .map(|damage| Row {
            found: minute(damage.found),
            kind: damage.kind.to_string(),
            object: damage.object.get(..16).unwrap_or(&damage.object),
            table: &damage.table,
            what: damage.what.to_string(),
            now: row(damage),
            bad: damage.fate != Fate::Repaired,
        })
        .collect()
}
