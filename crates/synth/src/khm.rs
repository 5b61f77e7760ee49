//! The small practice: visits, prescriptions, immunisations.

use crate::cell::{Cell, tenths};
use crate::draw::{Draw, LAST_DAY, days_after};
use crate::network::Chart;
use crate::sheets::{Sheets, SynthError};
use crate::staff;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Reason, problem (ICPC-2), note, medicine, tenths of a milligram, how often.
type Problem =
    (&'static str, &'static str, &'static str, Option<(&'static str, i64, &'static str)>);

const PROBLEMS: &[Problem] = &[
    ("Cough for two weeks", "R05", "Chest clear, advice given", None),
    ("Blood pressure check", "K86", "Continue treatment", Some(("Ramipril", 50, "once daily"))),
    (
        "Back pain",
        "L03",
        "No red flags, exercises shown",
        Some(("Ibuprofen", 4000, "three times daily")),
    ),
    ("Tiredness", "A04", "Bloods taken", None),
    ("Low mood", "P76", "Review in two weeks", Some(("Sertraline", 500, "once daily"))),
    ("Hay fever", "R97", "Seasonal, as last year", Some(("Cetirizine", 100, "once daily"))),
    ("Indigestion", "D07", "Diet discussed", Some(("Omeprazole", 200, "once daily"))),
];

/// Disease, vaccine, days until the next dose, nothing when the course is done.
const VACCINES: &[(&str, &str, Option<i64>)] = &[
    ("Influenza", "Influenza, inactivated", Some(365)),
    ("Tetanus, diphtheria, polio", "Td/IPV", Some(3650)),
    ("Pneumococcal disease", "PPV23", None),
    ("Shingles", "Zoster, recombinant", Some(180)),
];

/// Writes all rows of one patient.
pub(crate) fn write(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    let registered = days_after(LAST_DAY, -chart.draw.between(100, 6000)).max(chart.person.birth);
    details(sheets, chart, registered)?;
    visits(sheets, chart, registered)?;
    immunisations(sheets, chart, registered)
}

fn details(sheets: &mut Sheets, chart: &mut Chart<'_>, registered: Date) -> Result<(), SynthError> {
    let person = chart.person;
    // RFC 2606 keeps example.org free of people.
    let mail = format!("patient{}@example.org", chart.serial + 1);
    let cells = [
        ("number", Cell::from(&chart.number)),
        ("family_name", person.family.into()),
        ("given_name", person.given.into()),
        ("sex", if person.female { "female" } else { "male" }.into()),
        ("date_of_birth", person.birth.into()),
        ("registered_on", registered.into()),
        ("email", chart.draw.maybe(55, mail).into()),
        ("street", (&person.home.street).into()),
        ("town", person.home.town.into()),
        ("postcode", person.home.postcode().into()),
        ("telephone", chart.draw.maybe(90, &person.home.telephone).into()),
    ];
    sheets.row("patient_details", &cells)
}

fn visits(sheets: &mut Sheets, chart: &mut Chart<'_>, registered: Date) -> Result<(), SynthError> {
    let mut day = days_after(LAST_DAY, -chart.draw.between(200, 700)).max(registered);
    while day < LAST_DAY {
        let problem = chart.draw.pick(PROBLEMS);
        let doctor = employee(&mut chart.draw, &[0, 1]);
        visit(sheets, chart, day, problem, doctor)?;
        if let (reason, _, _, Some(medicine)) = problem {
            prescription(sheets, chart, day, reason, medicine, doctor)?;
        }
        day = days_after(day, chart.draw.between(40, 240));
    }
    Ok(())
}

fn visit(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    day: Date,
    (reason, problem, note, _): Problem,
    doctor: &str,
) -> Result<(), SynthError> {
    let (person, draw) = (chart.person, &mut chart.draw);
    let [hour, minute] = [draw.between(8, 16), draw.between(0, 11) * 5];
    let [hour, minute] =
        [hour, minute].map(|part| i8::try_from(part).expect("parts of a day are small"));
    let time =
        day.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).expect("universal time has no gaps");
    let pressure = draw.around(108, 150);
    let pressure = (draw.chance(60) && person.age_on(day) > 17).then_some(pressure);
    let weight = person.weight_hg + draw.between(-20, 20);
    let temperature = draw.around(362, 381);
    let follow_up = days_after(day, draw.between(7, 60));
    let cells = [
        ("number", Cell::from(&chart.number)),
        ("at", time.timestamp().into()),
        ("clinician", doctor.into()),
        ("reason", reason.into()),
        ("problem", draw.maybe(90, problem).into()),
        ("note", draw.maybe(85, note).into()),
        ("systolic", pressure.into()),
        ("diastolic", pressure.map(|systolic| systolic * 62 / 100).into()),
        ("weight", draw.maybe(45, tenths(weight)).unwrap_or(Cell::Null)),
        ("temperature", draw.maybe(30, tenths(temperature)).unwrap_or(Cell::Null)),
        ("follow_up", draw.maybe(35, follow_up).into()),
    ];
    sheets.row("visits", &cells)
}

fn prescription(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    day: Date,
    reason: &str,
    (product, dose, frequency): (&str, i64, &str),
    doctor: &str,
) -> Result<(), SynthError> {
    let repeat = chart.draw.chance(50);
    let end = days_after(day, chart.draw.between(7, 56));
    let cells = [
        ("number", Cell::from(&chart.number)),
        ("product", product.into()),
        ("dose", tenths(dose)),
        ("frequency", frequency.into()),
        ("reason", chart.draw.maybe(80, reason).into()),
        ("prescriber", doctor.into()),
        ("start", day.into()),
        ("end", (!repeat).then_some(end).into()),
        ("repeat", repeat.into()),
    ];
    sheets.row("prescriptions", &cells)
}

fn immunisations(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    registered: Date,
) -> Result<(), SynthError> {
    for (disease, vaccine, again) in VACCINES {
        let day = days_after(LAST_DAY, -chart.draw.between(20, 1500));
        if day < registered || !chart.has(55) {
            continue;
        }
        let batch =
            format!("{}{:04}", chart.draw.pick(&["AB", "KR", "TX"]), chart.draw.between(0, 9999));
        let cells = [
            ("number", Cell::from(&chart.number)),
            ("disease", (*disease).into()),
            ("vaccine", (*vaccine).into()),
            ("dose_number", chart.draw.between(1, 2).into()),
            ("given_on", day.into()),
            ("given_by", employee(&mut chart.draw, &[2, 2, 0]).into()),
            ("batch", chart.draw.maybe(92, batch).into()),
            ("next_due", again.map(|days| days_after(day, days)).into()),
        ];
        sheets.row("immunisations", &cells)?;
    }
    Ok(())
}

/// The name of one of these staff members.
fn employee(draw: &mut Draw, places: &[usize]) -> &'static str {
    staff::KHM[draw.pick(places)].1
}
