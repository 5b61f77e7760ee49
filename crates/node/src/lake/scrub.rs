//! `aegle lake scrub`: looks at every object of the lake, and repairs what is damaged.

use super::{Node, json};
use aegle_lake::{Lake, ScrubOptions, ScrubReport, ScrubStep};
use aegle_progress::{Meter, Unit};
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
    let mut meter = None;
    let report = lake.scrub(options, &mut |step| match step {
        ScrubStep::Begun { bytes } => {
            meter = Some(Meter::new("scrubbing", Unit::Bytes, Some(*bytes)));
        }
        ScrubStep::Read { bytes } => meter.iter_mut().for_each(|meter| meter.advance(*bytes)),
        ScrubStep::Mending { objects } => {
            meter = None;
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
}
