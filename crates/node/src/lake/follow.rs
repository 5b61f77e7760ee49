//! `aegle lake ingest --follow`: what changes at the source is in the lake soon after.
//!
//! A source is asked again and again. The time between two questions is what was wished, and longer
//! where a question takes long, so that a source is never asked more than a tenth of the time, but
//! at most [`PAUSE_MAX`]. What can be mended at the source, or passes at the lake's own servers, is
//! told once and tried again; anything else ends it. It can be stopped at any moment: nothing is half
//! visible.

use super::ingest;
use aegle_lake::{DatabaseError, IngestError, KeyError, Lake, ObjectError};
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest pause between two questions.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// Follows the source in `folder` until the process is stopped or the lake fails.
pub(super) fn follow(lake: &Lake, folder: &Path, every: Duration) -> Result<()> {
    let mut told = None;
    loop {
        let begun = Instant::now();
        match ingest(lake, folder) {
            Ok(report) => {
                if !report.unchanged || told.is_none() {
                    println!("{}", super::summary(&report, begun.elapsed()));
                }
                told = Some(String::new());
            }
            Err(error) if may_pass(&error) => {
                let text = format!("{:#}", anyhow::Error::from(error));
                if told.as_ref() != Some(&text) {
                    eprintln!("{text}\nit will be tried again");
                }
                told = Some(text);
            }
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(pause(every, begun.elapsed()));
    }
}

/// Whether the next try may find it mended: by somebody at the source, or by time at the lake.
fn may_pass(error: &IngestError) -> bool {
    match error {
        IngestError::Busy
        | IngestError::Source(_)
        | IngestError::Quarantined(_)
        | IngestError::Unreadable { .. }
        | IngestError::SourceChanged(_)
        | IngestError::Object(ObjectError::Store { .. }) => true,
        IngestError::Index(error) | IngestError::Key(KeyError::Database(error)) => {
            matches!(error, DatabaseError::Locked(_) | DatabaseError::Unreachable(_))
        }
        _ => false,
    }
}

fn pause(every: Duration, took: Duration) -> Duration {
    every.max(took.saturating_mul(9)).min(PAUSE_MAX.max(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_source_is_asked_less_often_but_not_never() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(seconds(5), Duration::from_millis(1)), seconds(5));
        assert_eq!(pause(seconds(5), seconds(2)), seconds(18));
        assert_eq!(pause(seconds(5), seconds(3600)), PAUSE_MAX);
        assert_eq!(pause(seconds(3600), seconds(3600)), seconds(3600));
    }

    #[test]
    fn what_passes_at_the_source_or_at_the_servers_of_the_lake_is_tried_again() {
        let store = |source: &str| ObjectError::Store { name: "a".into(), source: source.into() };
        let passing = [
            IngestError::Busy,
            IngestError::SourceChanged("use.csv".into()),
            IngestError::Index(DatabaseError::Locked("by a backup".into())),
            IngestError::Index(DatabaseError::Unreachable("refused".into())),
            IngestError::Key(KeyError::Database(DatabaseError::Unreachable("refused".into()))),
            IngestError::Object(store("503")),
        ];
        for error in &passing {
            assert!(may_pass(error), "{error}");
        }
        let lasting = [
            IngestError::VersionReused(1),
            IngestError::Index(DatabaseError::Damaged("a page".into())),
            IngestError::Key(KeyError::WrongKek),
            IngestError::Object(ObjectError::Missing("a".into())),
        ];
        for error in &lasting {
            assert!(!may_pass(error), "{error}");
        }
    }
}
