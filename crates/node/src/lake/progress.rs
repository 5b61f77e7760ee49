//! Progress of long work: a bar with rate and remaining time on a terminal, plain lines elsewhere;
//! and its interruption.

use aegle_lake::Lake;
use anyhow::Result;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Bytes,
    Rows,
}

impl Unit {
    const fn template(self) -> &'static str {
        match self {
            Self::Bytes => {
                "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta_precise} left"
            }
            Self::Rows => {
                "{msg} {wide_bar} {human_pos}/{human_len} rows {per_sec}, {eta_precise} left"
            }
        }
    }

    fn show(self, count: u64) -> String {
        match self {
            Self::Bytes => HumanBytes(count).to_string(),
            Self::Rows => format!("{} rows", HumanCount(count)),
        }
    }
}

/// Shows that something goes on of which nobody knows how long it takes.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed_precise}");
    let style = style.expect("a constant template");
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// How far some work is.
pub(super) struct Bar {
    what: &'static str,
    unit: Unit,
    total: u64,
    done: u64,
    began: Instant,
    told: Instant,
    shown: ProgressBar,
}

impl Bar {
    pub(super) fn new(what: &'static str, unit: Unit, total: u64) -> Self {
        let style = ProgressStyle::with_template(unit.template()).expect("a constant template");
        let bar = ProgressBar::new(total).with_style(style).with_message(what);
        if bar.is_hidden() {
            eprintln!("{what}: {} to do", unit.show(total));
        }
        let now = Instant::now();
        Self { what, unit, total, done: 0, began: now, told: now, shown: bar }
    }

    pub(super) fn advance(&mut self, by: u64) {
        self.done = (self.done + by).min(self.total);
        self.shown.set_position(self.done);
        if self.shown.is_hidden() && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            eprintln!("{}", self.line(self.began.elapsed()));
        }
    }

    /// Where the work is after `elapsed`, as a line.
    fn line(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs().max(1);
        let rate = (self.done / seconds).max(1);
        let left = HumanDuration(Duration::from_secs((self.total - self.done) / rate));
        let (what, show) = (self.what, |count| self.unit.show(count));
        format!(
            "{what}: {} of {}, {}/s, {left} left",
            show(self.done),
            show(self.total),
            show(rate)
        )
    }

    pub(super) fn finish(&self) {
        self.shown.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Does `work` and lets the lake end it at its next step on Ctrl-C. A second Ctrl-C ends the process:
/// what an ingest or a scrub leaves then is what a crash leaves, which is nothing that is seen.
pub(super) fn interruptible<T>(lake: &Lake, work: impl FnOnce() -> T) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _within = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    let (done, ended) = oneshot::channel();
    Ok(std::thread::scope(|scope| {
        scope.spawn(move || runtime.block_on(watch(lake, signals, ended)));
        let result = work();
        // Dropped in a panic, too, so that the watch ends.
        drop::<oneshot::Sender<()>>(done);
        result
    }))
}

async fn watch(lake: &Lake, mut signals: Signal, mut ended: oneshot::Receiver<()>) {
    for times in 1.. {
        tokio::select! {
            _ = &mut ended => return,
            signal = signals.recv() => if signal.is_none() { return },
        }
        if times > 1 {
            std::process::exit(130);
        }
        lake.interrupt();
        eprintln!("ending at the next step; press Ctrl-C again to end at once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_how_quick_and_how_long() {
        let mut bar = Bar::new("reading", Unit::Rows, 1_000_000);
        bar.advance(250_000);
        assert_eq!(
            bar.line(Duration::from_secs(10)),
            "reading: 250,000 rows of 1,000,000 rows, 25,000 rows/s, 30 seconds left"
        );
        bar.advance(2_000_000);
        assert!(bar.line(Duration::ZERO).ends_with("0 seconds left"));
        let bar = Bar::new("scrub", Unit::Bytes, 3 << 20);
        assert!(bar.line(Duration::from_secs(1)).starts_with("scrub: 0 B of 3.00 MiB, 1 B/s"));
    }
}
