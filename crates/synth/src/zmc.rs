//! The hip clinic: a new hip, and a motion tracker that follows the recovery.

mod clinic;
mod life;
mod tracker;

use crate::draw::{Draw, LAST_DAY, days_after};
use crate::network::Chart;
use crate::sheets::{Sheets, SynthError};
use crate::staff;
use jiff::civil::Date;

/// What the tables of one patient must agree on.
struct Hip {
    side: &'static str,
    complaint: Date,
    letter: Date,
    operation: Date,
    /// Allergic to this: (substance, severity, reaction).
    allergy: Option<(&'static str, &'static str, &'static str)>,
    surgeon: &'static str,
    physiotherapist: &'static str,
}

/// Writes all rows of one patient.
pub(crate) fn write(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    let hip = Hip::draw(chart);
    life::write(sheets, chart, &hip)?;
    clinic::write(sheets, chart, &hip)?;
    tracker::write(sheets, chart)
}

impl Hip {
    fn draw(chart: &mut Chart<'_>) -> Self {
        let allergic = chart.has(30);
        let draw = &mut chart.draw;
        let operation = days_after(LAST_DAY, -draw.between(60, 900));
        let letter = days_after(operation, -draw.between(25, 60));
        let complaint = days_after(letter, -draw.between(90, 900));
        let allergy = draw.pick(&[
            ("Penicilline", "hoog", "Huiduitslag en benauwdheid"),
            ("Jodium", "matig", "Roodheid van de huid"),
            ("Latex", "matig", "Jeuk bij contact"),
            ("Nikkel", "laag", "Contacteczeem"),
        ]);
        Self {
            side: draw.pick(&["links", "rechts"]),
            complaint,
            letter,
            operation,
            allergy: allergic.then_some(allergy),
            surgeon: employee(draw, &[0, 1]),
            physiotherapist: employee(draw, &[2, 3]),
        }
    }
}

/// The name of one of these staff members.
fn employee(draw: &mut Draw, places: &[usize]) -> &'static str {
    staff::ZMC[draw.pick(places)].1
}
