//! `aegle lake scrub`: looks at every object of the lake, and repairs what is damaged.

use super::{Node, json};
use aegle_lake::{Lake, ScrubOptions, ScrubReport, ScrubStep};
use anyhow::{Result, bail};
use clap::Parser;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Compare every object of the lake with its name, and bring what is damaged again from its source
#[derive(Parser)]
pub(super) struct Args {
    #[command(flatten)]
    node: Node,
    /// Only look, and repair nothing
    #[arg(long)]
    look_only: bool,
    /// Call lost what waits for a source that will never be read again
    #[arg(long, conflicts_with = "look_only")]
    give_up: bool,
    /// Read no more than so many MiB a second
    #[arg(long, value_name = "MIB")]
    rate: Option<NonZeroU64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let lake = args.node.lake()?;
    let bytes_per_second = args.rate.map(|rate| rate.saturating_mul(MIB));
    let Args { look_only, give_up, .. } = *args;
    let report = scrub(&lake, ScrubOptions { look_only, give_up, bytes_per_second })?;
    println!("{}", if args.json { json(&report)? } else { show(&report) });
    if !report.is_whole() {
        bail!("the lake is not whole");
    }
    Ok(())
}

const MIB: NonZeroU64 = NonZeroU64::new(1 << 20).expect("not zero");

/// Looks at everything. It can be stopped at any moment: the next scrub goes on near where it was.
fn scrub(lake: &Lake, options: ScrubOptions) -> Result<ScrubReport> {
    let mut bar = None;
    let report = lake.scrub(options, &mut |step| match step {
        ScrubStep::Begun { bytes } => bar = Some(Bar::new(*bytes)),
        ScrubStep::Read { bytes } => bar.iter_mut().for_each(|bar| bar.advance(*bytes)),
        ScrubStep::Mending { objects } => {
            bar.take();
            if *objects > 0 {
                eprintln!("{objects} objects are damaged");
            }
        }
    });
    Ok(report?)
}

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far a scrub is: a bar on a terminal, plain lines elsewhere.
struct Bar {
    total: u64,
    done: u64,
    began: Instant,
    told: Instant,
    shown: ProgressBar,
}

impl Bar {
    fn new(total: u64) -> Self {
        let template = "scrub {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("a constant template");
        let shown = ProgressBar::new(total).with_style(style);
        if shown.is_hidden() {
            eprintln!("scrub: {} to read", HumanBytes(total));
        }
        let now = Instant::now();
        Self { total, done: 0, began: now, told: now, shown }
    }

    fn advance(&mut self, by: u64) {
        self.done = (self.done + by).min(self.total);
        self.shown.set_position(self.done);
        if self.shown.is_hidden() && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            eprintln!("{}", self.line(self.began.elapsed()));
        }
    }

    /// Where the work is after `elapsed`, as a line.
    fn line(&self, elapsed: Duration) -> String {
        let rate = (self.done / elapsed.as_secs().max(1)).max(1);
        let left = HumanDuration(Duration::from_secs((self.total - self.done) / rate));
        let show = |bytes| HumanBytes(bytes);
        format!("scrub: {} of {}, {}/s, {left} left", show(self.done), show(self.total), show(rate))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.shown.finish_and_clear();
    }
}

fn show(report: &ScrubReport) -> String {
    let mut lines = vec![format!(
        "{} objects read, {} bytes; {} damaged",
        report.objects,
        report.bytes,
        report.damaged.len()
    )];
    lines.extend(report.damaged.iter().map(|damage| format!("  {damage}")));
    lines.extend(report.databases.iter().map(|wrong| format!("  {wrong}")));
    if report.strays > 0 {
        let strays = report.strays;
        lines.push(format!("{strays} objects belong to no batch; the next ingest removes them"));
    }
    if report.busy {
        lines.push("an ingest is under way; run this again when it is done".to_owned());
    }
    if report.ingested > 0 {
        lines.push(format!("{} sources were ingested anew", report.ingested));
    }
    for reason in &report.not_ingested {
        lines.push(format!("a source could not be ingested anew: {reason}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_is_damaged_and_what_became_of_it() {
        let damage = aegle_lake::Damage {
            object: "ab12".to_owned(),
            kind: aegle_lake::ObjectKind::Pack,
            table: "use".to_owned(),
            load: 1,
            what: aegle_lake::What::Cut,
            fate: aegle_lake::Fate::Lost,
            reason: Some("the source does not hold it any more".to_owned()),
            found: jiff::Timestamp::UNIX_EPOCH,
        };
        let report = ScrubReport {
            objects: 7,
            bytes: 900,
            damaged: vec![damage],
            ingested: 1,
            ..ScrubReport::default()
        };
        let expected = "\
7 objects read, 900 bytes; 1 damaged
  pack ab12 of table `use` was cut short: lost; the source does not hold it any more
1 sources were ingested anew";
        assert_eq!(show(&report), expected);
    }

    #[test]
    fn a_line_tells_how_far_how_quick_and_how_long() {
        let mut bar = Bar::new(3 << 20);
        assert!(bar.line(Duration::from_secs(1)).starts_with("scrub: 0 B of 3.00 MiB, 1 B/s"));
        bar.advance(1 << 20);
        let line = bar.line(Duration::from_secs(1));
        assert_eq!(line, "scrub: 1.00 MiB of 3.00 MiB, 1.00 MiB/s, 2 seconds left");
    }
}
