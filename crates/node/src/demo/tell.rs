//! Telling the story on a terminal: progress while it works, a line when a step is done.

use super::Report;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Speaks, or keeps silent when only JSON is wanted.
pub(super) struct Teller {
    spinner: Option<ProgressBar>,
}

impl Teller {
    pub(super) fn new(silent: bool) -> Self {
        let spinner = (!silent).then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {msg}").expect("a constant template");
            let spinner = ProgressBar::new_spinner().with_style(style);
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self { spinner }
    }

    /// What is being done now.
    pub(super) fn working(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(what.to_owned());
        }
    }

    /// What is done.
    pub(super) fn done(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.suspend(|| println!("✔ {what}"));
        }
    }

    /// What is not as it must be.
    pub(super) fn failed(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.suspend(|| println!("✘ {what}"));
        }
    }

    pub(super) fn summary(&self, report: &Report) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        let latency = report.record_ms;
        println!(
            "\n{} patients, {} rows. The patient's log has {} entries, complete: {}.",
            report.patients, report.rows, report.log_entries, report.log_complete
        );
        println!(
            "One record: {:.0} ms (median), {:.0} ms (p99) over {} requests.",
            latency.p50, latency.p99, latency.n
        );
    }
}
