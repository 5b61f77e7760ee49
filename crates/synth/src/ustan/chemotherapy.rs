//! Chemotherapy: a patient has intentions, an intention has regimens, a regimen has cycles.

use super::Cancer;
use crate::cell::{Cell, hundredths};
use crate::draw::{Draw, days_after, days_between};
use crate::network::Chart;
use crate::person::Person;
use crate::sheets::{Sheets, SynthError};
use jiff::civil::Date;

/// A regimen: name, drugs, days between cycles, planned cycles, milligrams per square metre.
struct Regime {
    name: &'static str,
    drugs: &'static str,
    interval: i64,
    cycles: i64,
    dose: i64,
}

const fn regime(
    name: &'static str,
    drugs: &'static str,
    interval: i64,
    cycles: i64,
    dose: i64,
) -> Regime {
    Regime { name, drugs, interval, cycles, dose }
}

const BREAST: &[Regime] = &[
    regime("EC 21", "EPIRUBICIN, CYCLOPHOSPHAMIDE", 21, 4, 90),
    regime("TAXANE WEEKLY", "PACLITAXEL", 7, 9, 80),
    regime("TAXANE 21", "DOCETAXEL", 21, 4, 100),
    regime("TC 21", "DOCETAXEL, CYCLOPHOSPHAMIDE", 21, 4, 75),
];
const BOWEL: &[Regime] = &[
    regime("OXALI-CAP 21", "OXALIPLATIN, CAPECITABINE", 21, 5, 130),
    regime("CAP MONO", "CAPECITABINE", 21, 6, 2500),
    regime("OXALI-FU 14", "OXALIPLATIN, FLUOROURACIL", 14, 8, 85),
];

/// One intention with what was known when it began.
struct Course {
    number: i64,
    order: i64,
    site: &'static str,
    first_intention: &'static str,
    intention: &'static str,
    /// The very first day of chemotherapy.
    began: Date,
    first_regime: &'static str,
}

/// One regimen of a course.
struct Run {
    number: i64,
    order: i64,
    starts: Date,
    regime: &'static Regime,
    given: i64,
    previous: Option<(&'static str, Date)>,
}

/// Writes one patient row, one or two intentions, their regimens and cycles.
pub(super) fn write(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    cancer: &Cancer,
) -> Result<(), SynthError> {
    let palliative = cancer.stage == 4;
    let first =
        if palliative { "Palliative" } else { chart.draw.pick(&["Adjuvant", "Neo-Adjuvant"]) };
    let patient_id = 31_000 + chart.serial;
    let cells = [
        ("chi", Cell::from(&chart.number)),
        ("patient_id", patient_id.into()),
        ("first_intention", first.into()),
        ("appointment_date", cancer.therapy.into()),
    ];
    sheets.row("patients", &cells)?;
    let regimes = if cancer.breast { BREAST } else { BOWEL };
    let opening = chart.draw.pick(&[0, 1]);
    let mut course = Course {
        number: chart.serial * 2 + 1,
        order: 1,
        site: &cancer.site[..3],
        first_intention: first,
        intention: first,
        began: cancer.therapy,
        first_regime: regimes[opening].name,
    };
    let run = Run::draw(&mut chart.draw, &course, 1, cancer.therapy, &regimes[opening]);
    let mut last = intention(sheets, chart, &course, patient_id, run)?;
    if chart.draw.chance(25) {
        course = Course { number: course.number + 1, order: 2, intention: "Palliative", ..course };
        let starts = days_after(last.end(), chart.draw.between(21, 60));
        let mut run = Run::draw(&mut chart.draw, &course, 2, starts, &regimes[2]);
        run.previous = Some((last.regime.name, last.starts));
        last = intention(sheets, chart, &course, patient_id, run)?;
    }
    debug_assert!(
        days_between(cancer.therapy, last.end()) <= 400,
        "death comes after the last cycle"
    );
    Ok(())
}

/// Writes an intention with its one regimen; gives the regimen back.
fn intention(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    course: &Course,
    patient_id: i64,
    run: Run,
) -> Result<Run, SynthError> {
    let share = run.given * 100 / run.regime.cycles;
    let elapsed = days_between(course.began, run.starts);
    let cells = [
        ("chi", Cell::from(&chart.number)),
        ("patient_id", patient_id.into()),
        ("intention_id", course.number.into()),
        ("intention_seq", course.order.into()),
        ("first_intention", course.first_intention.into()),
        ("regime_ratio", 100.into()),
        ("cycle_ratio", share.into()),
        ("intention", course.intention.into()),
        ("first_regime", course.first_regime.into()),
        ("init_appointment_date", course.began.into()),
        ("elapsed_days", elapsed.into()),
        ("appointment_date", run.starts.into()),
    ];
    sheets.row("intentions", &cells)?;
    let cells = [
        ("chi", Cell::from(&chart.number)),
        ("intention_id", course.number.into()),
        ("regime_id", run.number.into()),
        ("regime_seq", run.order.into()),
        ("regime_ratio", 100.into()),
        ("cycle_ratio", share.into()),
        ("intention", course.intention.into()),
        ("prev_regime", run.previous.map(|(name, _)| name).into()),
        ("first_regime", course.first_regime.into()),
        ("regime", run.regime.name.into()),
        ("interval_days", run.previous.map(|(_, day)| days_between(day, run.starts)).into()),
        ("elapsed_days", elapsed.into()),
        ("init_appointment_date", course.began.into()),
        ("appointment_date", run.starts.into()),
    ];
    sheets.row("regimes", &cells)?;
    cycles(sheets, chart, course, &run)?;
    Ok(run)
}

fn cycles(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    course: &Course,
    run: &Run,
) -> Result<(), SynthError> {
    let dose = run.regime.dose * surface(chart.person) / 10;
    let frailty = chart.draw.between(-1, 1);
    let mut performance = chart.draw.between(0, 1);
    let mut before = None;
    for cycle in 1..=run.given {
        let day = days_after(run.starts, (cycle - 1) * run.regime.interval);
        let now = (performance + chart.draw.between(-1, 1)).clamp(0, 3);
        let previous = (cycle > 1).then_some(performance);
        performance = now;
        let mut cells = vec![
            ("chi", Cell::from(&chart.number)),
            ("regime_id", run.number.into()),
            ("intention_id", course.number.into()),
            ("cycle_id", (run.number * 20 + cycle).into()),
            ("drug_names", run.regime.drugs.into()),
            ("diagnosis", course.site.into()),
            ("init_appointment_date", course.began.into()),
            ("elapsed_days", days_between(course.began, day).into()),
            ("interval_days", before.map(|before| days_between(before, day)).into()),
            ("appointment_date", day.into()),
            ("intention", course.intention.into()),
            ("regime", run.regime.name.into()),
            ("cycle", cycle.into()),
            ("p_ps", previous.into()),
            ("ps", now.into()),
        ];
        cells.extend(toxicity(&mut chart.draw, frailty));
        cells.push(("required_doses", hundredths(dose)));
        sheets.row("cycles", &cells)?;
        before = Some(day);
    }
    Ok(())
}

/// Grades 0 to 4 (CTCAE); a visit in ten has some that nobody asked for.
fn toxicity(draw: &mut Draw, frailty: i64) -> Vec<(&'static str, Cell<'static>)> {
    const EFFECTS: &[(&str, i64)] = &[
        ("nausea", 1),
        ("vomiting", 1),
        ("diarrhoea", 1),
        ("constipation", 1),
        ("oralMucositis", 1),
        ("oesophagitis", 0),
        ("neurotoxicity", 1),
        ("handFoot", 0),
        ("skin", 1),
        ("hypersensitivity", 0),
        ("fatigue", 1),
    ];
    let asked = if draw.chance(90) { 100 } else { 60 };
    let grade = |(name, usual): &(&'static str, i64)| {
        let grade = (usual + frailty + draw.between(-1, 1)).clamp(0, 4);
        (*name, draw.maybe(asked, grade).into())
    };
    EFFECTS.iter().map(grade).collect()
}

/// Body surface in thousandths of a square metre (Mosteller 1987).
fn surface(person: &Person) -> i64 {
    // Height in cm and weight in tenths of a kg: a million times h·w/3600, then the root.
    (person.height_cm * person.weight_hg * 100_000 / 3600).isqrt()
}

impl Run {
    fn draw(
        draw: &mut Draw,
        course: &Course,
        order: i64,
        starts: Date,
        regime: &'static Regime,
    ) -> Self {
        let given = if draw.chance(75) { regime.cycles } else { draw.between(2, regime.cycles) };
        Self { number: course.number, order, starts, regime, given, previous: None }
    }

    /// The day of the last cycle.
    fn end(&self) -> Date {
        days_after(self.starts, (self.given - 1) * self.regime.interval)
    }
}
