//! How far an ingest is, or a check.

use aegle_lake::Progress;
use aegle_progress::{Meter, Unit};

const ROWS: Unit = Unit::Of("rows");

/// Tells about one ingest or check, on the error output.
pub(super) struct Teller(Meter);

impl Teller {
    pub(super) fn new() -> Self {
        Self(Meter::new("reading and checking", ROWS, None))
    }

    /// Takes note of a step.
    pub(super) fn step(&mut self, step: &Progress) {
        match step {
            Progress::Read { rows } | Progress::Stored { rows, .. } => self.0.advance(*rows),
            Progress::Checked { rows } => self.0 = Meter::new("writing", ROWS, Some(*rows)),
            Progress::Table(table) => self.0.rename(format!("writing `{table}`")),
            Progress::Indexed | Progress::Committed => {}
        }
    }
}
