//! Daily sums of the motion tracker: little at first, then more, then level.

use crate::cell::Cell;
use crate::draw::Draw;
use crate::network::Chart;
use crate::sheets::{Sheets, SynthError};

/// Writes one row a day for three to five weeks after the operation; some patients wear none.
pub(super) fn write(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    if !chart.has(85) {
        return Ok(());
    }
    let days = chart.draw.between(21, 35);
    // Seconds of walking a day that this patient reaches in the end.
    let best = chart.draw.around(3600, 9000);
    let cyclist = chart.draw.chance(45);
    for day in 1..=days {
        let worn = chart.draw.chance(95) || day == 1;
        if worn {
            let sums = Sums::draw(&mut chart.draw, day, best, cyclist);
            sheets.row("wearable", &sums.cells(&chart.number, day))?;
        }
    }
    Ok(())
}

/// Seconds, except where a name says otherwise.
struct Sums {
    sit: i64,
    lie: i64,
    stand: i64,
    walk: i64,
    cycle: i64,
    intensive: i64,
    stood_up_count: i64,
    steps_per_minute: i64,
    turns_per_minute: Option<i64>,
}

impl Sums {
    fn draw(draw: &mut Draw, day: i64, best: i64, cyclist: bool) -> Self {
        // Half of the way back is done after ten days.
        let recovered = |all: i64| all * day / (day + 10);
        let walk = (recovered(best) * draw.between(80, 120) / 100).max(240);
        let cycles = cyclist && day > 14 && draw.chance(60);
        let cycle = if cycles { draw.between(300, 2400) } else { 0 };
        Self {
            sit: draw.around(18_000, 36_000),
            lie: draw.around(3600, 14_000),
            stand: 1800 + recovered(draw.between(4000, 9000)),
            walk,
            cycle,
            intensive: (walk + cycle) * draw.between(2, 12) / 100,
            stood_up_count: 12 + recovered(draw.between(20, 45)),
            steps_per_minute: 62 + recovered(draw.between(35, 50)),
            turns_per_minute: cycles.then(|| draw.between(45, 75)),
        }
    }

    fn cells<'a>(&self, number: &'a String, day: i64) -> [(&'static str, Cell<'a>); 15] {
        let active = self.stand + self.walk + self.cycle;
        let passive = self.sit + self.lie;
        [
            ("patnr", number.into()),
            ("day_nr", day.into()),
            ("time_total", (active + passive).into()),
            ("time_passive", passive.into()),
            ("time_active", active.into()),
            ("time_sit", self.sit.into()),
            ("time_stand", self.stand.into()),
            ("time_walk", self.walk.into()),
            ("time_cycle", self.cycle.into()),
            ("time_hi", self.intensive.into()),
            ("nr_sst", self.stood_up_count.into()),
            ("steps_total", (self.walk * self.steps_per_minute / 60).into()),
            ("cadence", self.steps_per_minute.into()),
            ("cyc_rot", self.turns_per_minute.map(|turns| self.cycle * turns / 60).into()),
            ("cyc_rpm", self.turns_per_minute.into()),
        ]
    }
}
