//! `aegle lake scrub`: looks at every object of the lake, and repairs what is damaged.

use super::progress::{Bar, Unit, interruptible};
use super::{Node, json};
use aegle_lake::{Lake, ScrubOptions, ScrubReport, ScrubStep};
use anyhow::{Result, bail};
use clap::Parser;
use std::num::NonZeroU64;

/// Compare every object of the lake with its name, and bring what is damaged again from its source
#[derive(Parser)]
pub(super) struct Args {
    #[command(flatten)]
    node: Node,
    /// Only look, and repair nothing
    #[arg(long)]
    look_only: bool,
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
    let options = ScrubOptions { look_only: args.look_only, bytes_per_second };
    let report = interruptible(&lake, || scrub(&lake, options))??;
    println!("{}", if args.json { json(&report)? } else { show(&report) });
    if !report.is_whole() {
        bail!("the lake is not whole");
    }
    Ok(())
}

const MIB: NonZeroU64 = NonZeroU64::new(1 << 20).expect("not zero");

fn scrub(lake: &Lake, options: ScrubOptions) -> Result<ScrubReport> {
    let mut bar = None;
    let report = lake.scrub(options, &mut |step| match step {
        ScrubStep::Begun { bytes } => bar = Some(Bar::new("scrub", Unit::Bytes, *bytes)),
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
        lines.push(format!("{} changed sources were ingested anew", report.ingested));
    }
    for reason in &report.not_ingested {
        lines.push(format!("a changed source could not be ingested anew: {reason}"));
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
            current: true,
            what: aegle_lake::What::Cut,
            fate: aegle_lake::Fate::Lost,
            reason: Some("the source has changed since".to_owned()),
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
  pack ab12 of table `use` was cut short: lost; the source has changed since
1 changed sources were ingested anew";
        assert_eq!(show(&report), expected);
    }
}
