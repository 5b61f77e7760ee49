//! What a running node does for its lake by itself: repairs what a read found damaged, and looks at
//! everything slowly, again and again.

use aegle_lake::{Lake, LakeSettings, ScrubError, ScrubOptions, ScrubReport};
use jiff::{SignedDuration, Timestamp};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often a repair is looked for that a read asked for.
const LOOK: Duration = Duration::from_secs(1);

/// A lake that was never scrubbed waits so long after the start of its node.
const FIRST: SignedDuration = SignedDuration::from_mins(10);

/// Looks after a lake until it is dropped.
pub(crate) struct Caretaker {
    lake: Arc<Lake>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Caretaker {
    pub(crate) fn start(lake: Arc<Lake>, settings: &LakeSettings) -> std::io::Result<Self> {
        let LakeSettings { scrub_hours, scrub_mib_per_second, .. } = *settings;
        let upkeep = Upkeep { scrub_hours, scrub_mib_per_second };
        let (stop, stopped) = mpsc::channel();
        let kept = Arc::clone(&lake);
        let work = move || {
            let last = kept.last_scrub().ok().flatten();
            let mut due = upkeep.due(Timestamp::now(), last);
            // A read may have asked for it before the node was started.
            let mut mend = true;
            let mut followed = None;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                follow(&kept, &mut followed);
                mend |= kept.wants_mending();
                if mend {
                    let done = kept.mend();
                    // While an ingest is under way a repair waits.
                    mend = done.as_ref().is_ok_and(|report| report.busy);
                    if done.as_ref().map_or(true, |report| !mend && !report.damaged.is_empty()) {
                        tell(done);
                    }
                }
                if due.is_some_and(|due| due <= Timestamp::now()) {
                    tell(scrub(&kept, upkeep, &mut followed));
                    due = upkeep.due(Timestamp::now(), Some(Timestamp::now()));
                }
            }
        };
        let thread = std::thread::Builder::new().name("lake upkeep".to_owned()).spawn(work)?;
        Ok(Self { lake, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Caretaker {
    /// A scrub ends at its next step and goes on from there when the node runs again.
    fn drop(&mut self) {
        self.stop.take();
        self.lake.interrupt();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("The upkeep of the lake had panicked");
        }
    }
}

/// How a lake is looked after.
#[derive(Debug, Clone, Copy)]
struct Upkeep {
    /// How long after a scrub the next one begins; 0 for none.
    scrub_hours: u32,
    /// How much a scrub reads in a second.
    scrub_mib_per_second: NonZeroU32,
}

impl Upkeep {
    /// When the next scrub is due; never when there shall be none.
    fn due(self, started: Timestamp, last: Option<Timestamp>) -> Option<Timestamp> {
        let every = SignedDuration::from_hours(i64::from(self.scrub_hours));
        let due = last.map_or(started.checked_add(FIRST), |last| last.checked_add(every));
        due.ok().filter(|_| self.scrub_hours > 0)
    }
}

/// Follows erasures by other processes, at most once in [`LOOK`]. `followed` is when it was tried last and
/// whether it failed, which is told once.
fn follow(lake: &Lake, followed: &mut Option<(Instant, bool)>) {
    if followed.is_some_and(|(tried, _)| tried.elapsed() < LOOK) {
        return;
    }
    let done = lake.follow_erasures();
    if let Err(error) = &done
        && followed.is_none_or(|(_, failed)| !failed)
    {
        warn!(error = %aegle_centre::chain(error), "Could not look for erasures");
    }
    *followed = Some((Instant::now(), done.is_err()));
}

fn scrub(
    lake: &Lake,
    upkeep: Upkeep,
    followed: &mut Option<(Instant, bool)>,
) -> Result<ScrubReport, ScrubError> {
    let rate = NonZeroU64::from(upkeep.scrub_mib_per_second);
    let rate = rate.saturating_mul(NonZeroU64::new(1 << 20).expect("not zero"));
    let options = ScrubOptions { bytes_per_second: Some(rate), ..ScrubOptions::default() };
    // It takes hours.
    lake.scrub(options, &mut |_| follow(lake, followed))
}

fn tell(done: Result<ScrubReport, ScrubError>) {
    match done {
        Err(ScrubError::Interrupted(_)) => {}
        Err(error) => warn!(error = %aegle_centre::chain(&error), "Could not look after the lake"),
        Ok(report) => {
            for damage in &report.damaged {
                warn!("Damage in the lake: {damage}");
            }
            for wrong in &report.databases {
                warn!("Damage in the lake: {wrong}");
            }
            let (objects, whole) = (report.objects, report.is_whole());
            info!(objects, whole, "The lake was looked after");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_is_due_after_a_while_then_at_its_interval_or_never() {
        let daily = Upkeep { scrub_hours: 24, scrub_mib_per_second: NonZeroU32::MIN };
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        assert_eq!(daily.due(at(0), None), Some(Timestamp::from_second(600).unwrap()));
        assert_eq!(daily.due(at(50), Some(at(30))), Some(at(54)));
        let never = Upkeep { scrub_hours: 0, ..daily };
        assert_eq!((never.due(at(0), None), never.due(at(0), Some(at(0)))), (None, None));
    }
}
