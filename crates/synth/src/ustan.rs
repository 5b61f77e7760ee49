//! The cancer centre: registry, chemotherapy, hospital stays.

mod chemotherapy;
mod registry;

use crate::draw::{LAST_DAY, days_after};
use crate::network::Chart;
use crate::sheets::{Sheets, SynthError};
use jiff::civil::Date;

/// What the tables of one patient must agree on.
struct Cancer {
    /// ICD-10.
    site: &'static str,
    breast: bool,
    diagnosed: Date,
    first_seen: Date,
    /// 1 to 4; 4 has spread.
    stage: i64,
    /// The day of the first cycle.
    therapy: Date,
    died: Option<Date>,
}

/// Writes all rows of one patient.
pub(crate) fn write(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    let cancer = Cancer::draw(chart);
    let stays = registry::stays(sheets, chart, &cancer)?;
    registry::general(sheets, chart, &cancer, stays > 0)?;
    registry::breast(sheets, chart, &cancer)?;
    chemotherapy::write(sheets, chart, &cancer)
}

impl Cancer {
    fn draw(chart: &mut Chart<'_>) -> Self {
        let (breast, mortal, draw) = (chart.person.female, !chart.shared, &mut chart.draw);
        let sites: &[&str] = if breast {
            &["C50.1", "C50.2", "C50.4", "C50.8"]
        } else {
            &["C18.2", "C18.7", "C20.9"]
        };
        let diagnosed = days_after(LAST_DAY, -draw.between(700, 2400));
        let first_seen = days_after(diagnosed, draw.between(6, 35));
        let therapy = days_after(first_seen, draw.between(14, 50));
        let stage = draw.around(1, 4);
        let fatal = draw.chance(if stage == 4 { 50 } else { 8 }) && mortal;
        // Later than the last cycle, at most 400 days after the first.
        let died = days_after(therapy, draw.between(420, 900));
        let died = (fatal && died <= LAST_DAY).then_some(died);
        let site = draw.pick(sites);
        Self { site, breast, diagnosed, first_seen, stage, therapy, died }
    }
}
