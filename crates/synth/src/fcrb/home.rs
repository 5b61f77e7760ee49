//! Readings that devices send from the patient's home, and the limits set for them.

use super::{Episode, code};
use crate::cell::{Cell, whole};
use crate::draw::{LAST_DAY, days_after};
use crate::network::Chart;
use crate::sheets::{Sheets, SynthError};
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A parameter and its limits: parameter, kind of reading, lower and upper limit and alarm.
struct Parameter {
    code: &'static str,
    kind: &'static str,
    limits: [i64; 2],
    alarms: [i64; 2],
}

/// Capillary glucose in mg/dl; limits and alarms are the target range and level 2 of the
/// international consensus on time in range (2019).
const GLUCOSE: Parameter =
    Parameter { code: "GLUCOSA", kind: "GLIC_CAPIL", limits: [70, 180], alarms: [54, 250] };
/// Oxygen saturation in percent.
const OXYGEN: Parameter =
    Parameter { code: "SATO2", kind: "PULSIOX", limits: [93, 100], alarms: [88, 100] };

/// When a reading is taken.
struct Moment {
    name: &'static str,
    /// In universal time.
    hour: i8,
    /// How much higher glucose usually is than after a night without food.
    rise: i64,
    /// On how many days of a hundred glucose is read.
    often: u32,
}

const MOMENTS: [Moment; 3] = [
    Moment { name: "AYUNAS", hour: 5, rise: 0, often: 97 },
    Moment { name: "COMIDA", hour: 13, rise: 38, often: 60 },
    Moment { name: "CENA", hour: 20, rise: 30, often: 60 },
];

/// Writes limits, then two to three weeks of readings up to the last day.
pub(super) fn write(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    episode: &Episode,
) -> Result<(), SynthError> {
    let begins = days_after(LAST_DAY, -chart.draw.between(12, 20));
    for parameter in [&GLUCOSE, &OXYGEN] {
        limits(sheets, chart, episode, parameter, begins)?;
    }
    let fasting = chart.draw.around(88, 150);
    let mut day = begins;
    while day < LAST_DAY {
        for moment in &MOMENTS {
            if chart.draw.chance(moment.often) || day == begins {
                let value = (fasting + moment.rise + chart.draw.around(-45, 45)).max(45);
                reading(sheets, chart, episode, &GLUCOSE, (day, moment), value)?;
            }
        }
        let saturation = chart.draw.around(91, 100);
        reading(sheets, chart, episode, &OXYGEN, (day, &MOMENTS[0]), saturation)?;
        day = days_after(day, 1);
    }
    Ok(())
}

fn limits(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    episode: &Episode,
    parameter: &Parameter,
    since: Date,
) -> Result<(), SynthError> {
    let cells = [
        ("patnr", Cell::from(&chart.number)),
        ("falnr", (&episode.number).into()),
        ("vppid", parameter.code.into()),
        ("pernr", episode.professional().into()),
        ("vbem", chart.draw.maybe(40, "Revisar en la próxima visita").into()),
        ("datyp", since.into()),
        ("wertogr", whole(parameter.limits[1])),
        ("wertugr", whole(parameter.limits[0])),
        ("wertmax", whole(parameter.alarms[1])),
        ("wertmin", whole(parameter.alarms[0])),
    ];
    sheets.row("monitoring_params", &cells)
}

fn reading(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    episode: &Episode,
    parameter: &Parameter,
    (day, moment): (Date, &Moment),
    value: i64,
) -> Result<(), SynthError> {
    let minute = i8::try_from(chart.draw.between(0, 59)).expect("minutes are small");
    let time = day
        .at(moment.hour, minute, 0, 0)
        .to_zoned(TimeZone::UTC)
        .expect("universal time has no gaps");
    let remark = if value > parameter.limits[1] {
        Some("Por encima del límite")
    } else if value < parameter.limits[0] {
        Some("Por debajo del límite")
    } else {
        None
    };
    let cells = [
        ("idvs", Cell::from(code(&mut chart.draw, "VS"))),
        ("patnr", (&chart.number).into()),
        ("falnr", (&episode.number).into()),
        ("vppid", parameter.code.into()),
        ("dttyp", moment.name.into()),
        ("erdat", time.timestamp().into()),
        ("typevs", parameter.kind.into()),
        ("vwert", whole(value)),
        ("vbem", remark.into()),
    ];
    sheets.row("vital_signs", &cells)
}
