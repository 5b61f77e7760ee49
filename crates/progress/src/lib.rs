//! How far a long command is: a bar with rate and remaining time on a terminal, plain lines elsewhere.
//!
//! All of it goes to the error output, so that what a command prints can be piped. Absent on purpose:
//! what is measured, and the summary at the end, which is the command's own.

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a plain line says how far it is.
const EVERY: Duration = Duration::from_secs(10);
/// How often a bar is drawn although nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// The exit code of who was stopped by Ctrl-C: 128 and the number of the signal.
const STOPPED: i32 = 130;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, written with their multiples.
    Bytes,
    /// Things that have this name, in the plural.
    Of(&'static str),
}

/// How far a piece of work is. It vanishes from a terminal when it is dropped.
pub struct Meter {
    what: String,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    begun: Instant,
    told: Instant,
    bar: ProgressBar,
}

impl Meter {
    /// Work that begins, with as much to do as is known.
    pub fn new(what: impl Into<String>, unit: Unit, total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        bar.set_style(style(unit, total.is_some()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        let (what, now) = (what.into(), Instant::now());
        bar.set_message(what.clone());
        Self { what, unit, total, done: 0, begun: now, told: now, bar }
    }

    /// The same work goes on with something else, which a plain line says.
    pub fn rename(&mut self, what: impl Into<String>) {
        self.what = what.into();
        self.bar.set_message(self.what.clone());
        if self.bar.is_hidden() {
            self.told = Instant::now();
            eprintln!("{}", self.what);
        }
    }

    /// So much more is done.
    pub fn advance(&mut self, by: u64) {
        self.done = self.done.saturating_add(by);
        self.bar.set_position(self.done);
        if self.bar.is_hidden() && self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            eprintln!("{}", self.line(self.begun.elapsed()));
        }
    }

    /// What a plain line says after `elapsed`.
    fn line(&self, elapsed: Duration) -> String {
        let rate = u128::from(self.done) * 1000 / elapsed.as_millis().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        let (what, per_second) = (&self.what, self.amount(rate));
        let Some(total) = self.total else {
            return format!("{what}: {}, {per_second}/s", self.amount(self.done));
        };
        let left =
            HumanDuration(Duration::from_secs(total.saturating_sub(self.done) / rate.max(1)));
        let done = match self.unit {
            Unit::Bytes => self.amount(self.done),
            Unit::Of(_) => HumanCount(self.done).to_string(),
        };
        format!("{what}: {done} of {}, {per_second}/s, {left} left", self.amount(total))
    }

    fn amount(&self, number: u64) -> String {
        match self.unit {
            Unit::Bytes => HumanBytes(number).to_string(),
            Unit::Of(name) => format!("{} {name}", HumanCount(number)),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(unit: Unit, has_total: bool) -> ProgressStyle {
    let template = match (unit, has_total) {
        (Unit::Bytes, false) => "{spinner} {msg}: {bytes}, {bytes_per_sec}".to_owned(),
        (Unit::Bytes, true) => {
            "{bar:30} {msg}: {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left".to_owned()
        }
        (Unit::Of(name), false) => {
            format!("{{spinner}} {{msg}}: {{human_pos}} {name}, {{per_sec}}")
        }
        (Unit::Of(name), true) => format!(
            "{{bar:30}} {{msg}}: {{human_pos}} of {{human_len}} {name}, {{per_sec}}, {{eta}} left"
        ),
    };
    ProgressStyle::with_template(&template).expect("a constant template")
}

/// Lets Ctrl-C end this process at once and say that nothing is lost. Only for work that may be killed at
/// any moment and is taken up again by the same command.
pub fn can_be_stopped() {
    let stop = || {
        // The bar keeps its line.
        let line = if std::io::stderr().is_terminal() { "\n" } else { "" };
        eprintln!("{line}stopped; nothing is lost, the same command takes it up again");
        std::process::exit(STOPPED);
    };
    // Without a handler Ctrl-C ends the process as well, without a word.
    let _ = ctrlc::set_handler(stop);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(unit: Unit, total: Option<u64>, done: u64, elapsed: Duration) -> String {
        let mut meter = Meter::new("copying", unit, total);
        meter.advance(done);
        meter.line(elapsed)
    }

    #[test]
    fn a_plain_line_tells_how_far_how_fast_and_how_long() {
        let (rows, ten) = (Unit::Of("rows"), Duration::from_secs(10));
        assert_eq!(line(rows, None, 1000, ten), "copying: 1,000 rows, 100 rows/s");
        let told = line(rows, Some(5000), 1000, ten);
        assert_eq!(told, "copying: 1,000 of 5,000 rows, 100 rows/s, 40 seconds left");
        let told = line(Unit::Bytes, Some(3 << 20), 1 << 20, Duration::from_secs(1));
        assert_eq!(told, "copying: 1.00 MiB of 3.00 MiB, 1.00 MiB/s, 2 seconds left");
        let told = line(rows, Some(7), 0, Duration::ZERO);
        assert_eq!(told, "copying: 0 of 7 rows, 0 rows/s, 7 seconds left");
        let told = line(rows, Some(7), 9, ten);
        assert_eq!(told, "copying: 9 of 7 rows, 0 rows/s, 0 seconds left");
    }

    #[test]
    fn every_bar_has_a_template_that_can_be_drawn() {
        for unit in [Unit::Bytes, Unit::Of("rows")] {
            for total in [None, Some(1)] {
                Meter::new("copying", unit, total).advance(1);
            }
        }
    }
}
