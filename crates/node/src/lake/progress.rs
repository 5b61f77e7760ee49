//! How far an ingest is: a bar with rate and remaining time on a terminal, plain lines elsewhere.

use aegle_lake::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a plain line says how far it is.
const EVERY: Duration = Duration::from_secs(10);

/// Tells about one ingest or check, on the error output.
pub(super) struct Teller {
    bar: Option<ProgressBar>,
    begun: Instant,
    told: Instant,
    table: String,
    rows: u64,
    total: Option<u64>,
}

impl Teller {
    pub(super) fn new(now: Instant) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length().with_style(style(READING));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar.set_message("reading and checking");
            bar
        });
        let table = "reading and checking".to_owned();
        Self { bar, begun: now, told: now, table, rows: 0, total: None }
    }

    /// Takes note of a step.
    pub(super) fn step(&mut self, step: &Progress, now: Instant) {
        match step {
            Progress::Read { rows } | Progress::Stored { rows, .. } => self.rows += rows,
            Progress::Checked { rows } => {
                (self.rows, self.total, self.begun) = (0, Some(*rows), now);
                if let Some(bar) = &self.bar {
                    bar.set_style(style(WRITING));
                    bar.set_length(*rows);
                    bar.reset();
                }
            }
            Progress::Table(table) => {
                self.table = format!("writing `{table}`");
                self.told = now;
                match &self.bar {
                    Some(bar) => bar.set_message(self.table.clone()),
                    None => eprintln!("{}", self.table),
                }
            }
            Progress::Indexed | Progress::Committed => {}
        }
        self.show(now);
    }

    fn show(&mut self, now: Instant) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.rows);
        } else if now.duration_since(self.told) >= EVERY {
            self.told = now;
            let elapsed = now.duration_since(self.begun);
            eprintln!("{}: {}", self.table, line(self.rows, self.total, elapsed));
        }
    }

    /// Clears the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const READING: &str = "{spinner} {msg}: {human_pos} rows, {per_sec}";
const WRITING: &str = "{bar:30} {msg}: {human_pos} of {human_len} rows, {per_sec}, {eta} left";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template")
}

/// How far it is, how fast, and how long it will take.
fn line(rows: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = u128::from(rows) * 1000 / elapsed.as_millis().max(1);
    let Some(total) = total else { return format!("{rows} rows, {rate} rows/s") };
    let left = u128::from(total.saturating_sub(rows)) / rate.max(1);
    format!("{rows} of {total} rows, {rate} rows/s, {left} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_tells_rate_and_remaining_time() {
        let ten = Duration::from_secs(10);
        assert_eq!(line(1000, None, ten), "1000 rows, 100 rows/s");
        assert_eq!(line(1000, Some(5000), ten), "1000 of 5000 rows, 100 rows/s, 40 s left");
        assert_eq!(line(0, Some(7), Duration::ZERO), "0 of 7 rows, 0 rows/s, 7 s left");
        assert_eq!(line(9, Some(7), ten), "9 of 7 rows, 0 rows/s, 0 s left");
    }
}
