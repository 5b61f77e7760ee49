//! Who the patient is and how the patient lives.

use super::Hip;
use crate::cell::{Cell, tenths};
use crate::draw::days_after;
use crate::network::Chart;
use crate::person::{Country, body_mass_index};
use crate::sheets::{Sheets, SynthError};

/// Writes identity, address, measurements and habits.
pub(super) fn write(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    hip: &Hip,
) -> Result<(), SynthError> {
    identity(sheets, chart)?;
    measurements(sheets, chart, hip)?;
    bloodpressure(sheets, chart, hip)?;
    state(sheets, chart, hip)?;
    habits(sheets, chart)
}

fn identity(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    let (person, draw) = (chart.person, &mut chart.draw);
    let country = match person.country {
        Country::Scotland => "GB",
        Country::Netherlands => "NL",
        Country::Catalonia => "ES",
    };
    let at_birth = person.family_at_birth;
    let cells = [
        ("patnr", Cell::from(&chart.number)),
        ("gschl", if person.female { "vrouw" } else { "man" }.into()),
        ("nname", person.family.into()),
        ("nnams", searchable(person.family).into()),
        ("vname", person.given.into()),
        ("titel", draw.maybe(6, "drs.").into()),
        ("namzu", Cell::Null),
        ("gbdat", person.birth.into()),
        ("gbnam", at_birth.into()),
        ("gbnas", searchable(at_birth).into()),
        ("gland", country.into()),
        ("natio", draw.maybe(97, country).into()),
        ("land", country.into()),
    ];
    sheets.row("patient_details", &cells)?;
    let cells = [
        ("patnr", Cell::from(&chart.number)),
        ("pstlz", person.home.postcode().into()),
        ("ort", person.home.town.into()),
        ("stras", (&person.home.street).into()),
        ("telf1", draw.maybe(92, &person.home.telephone).into()),
    ];
    sheets.row("address", &cells)
}

/// Capitals without accents, as a desk types names.
fn searchable(name: &str) -> String {
    let plain = |letter: char| match letter {
        'à' | 'á' => 'A',
        'è' | 'é' | 'ë' => 'E',
        'í' | 'ï' => 'I',
        'ò' | 'ó' => 'O',
        'ú' | 'ü' => 'U',
        'ç' => 'C',
        other => other.to_ascii_uppercase(),
    };
    name.chars().map(plain).collect()
}

/// Height and weight before the operation and at the follow-up.
fn measurements(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let height = chart.person.height_cm;
    let mut weight_hg = chart.person.weight_hg;
    for date in [hip.letter, days_after(hip.operation, 42)] {
        // One decimal in `weight`, whole kilograms in `measurements`; the index fits the latter.
        let kilograms = (weight_hg + 5) / 10;
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("lengt", height.into()),
            ("gewct", kilograms.into()),
            ("bmi", tenths(body_mass_index(kilograms * 10, height))),
            ("date", date.into()),
        ];
        sheets.row("measurements", &cells)?;
        let clothes = chart.draw.pick(&["zonder kleding", "met kleding", "licht gekleed"]);
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("measurement", tenths(weight_hg)),
            ("clothes", chart.draw.maybe(70, clothes).into()),
            ("description", Cell::Null),
            ("date", date.into()),
        ];
        sheets.row("weight", &cells)?;
        weight_hg += chart.draw.between(-25, 10);
    }
    let cells = [
        ("patnr", Cell::from(&chart.number)),
        ("measurement", height.into()),
        ("description", chart.draw.maybe(20, "staand gemeten").into()),
        ("date", hip.letter.into()),
    ];
    sheets.row("length", &cells)
}

fn bloodpressure(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let usual = chart.draw.around(112, 152);
    for date in [hip.letter, hip.operation, days_after(hip.operation, 42)] {
        let systolic = usual + chart.draw.between(-9, 9);
        let diastolic = systolic * chart.draw.between(58, 66) / 100;
        let position = chart.draw.pick(&["zittend", "liggend"]);
        let arm = chart.draw.pick(&["linker bovenarm", "rechter bovenarm"]);
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("value", format!("{systolic}/{diastolic}").into()),
            ("date", date.into()),
            ("systolic_bloodpressure", systolic.into()),
            ("diastolic_bloodpressure", diastolic.into()),
            ("position", chart.draw.maybe(85, position).into()),
            ("measurement_method", "automatisch".into()),
            ("manchette_type", chart.draw.maybe(60, "volwassene").into()),
            ("measurement_location", arm.into()),
            ("description", chart.draw.maybe(10, "na vijf minuten rust").into()),
        ];
        sheets.row("bloodpressure", &cells)?;
    }
    Ok(())
}

fn state(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let weeks = [
        (hip.letter, "loopt met één stok", "pijn bij traplopen"),
        (days_after(hip.operation, 42), "loopt zelfstandig", "geen pijn in rust"),
    ];
    for (date, walking, pain) in weeks {
        for (name, value) in [("Mobiliteit", walking), ("Pijn", pain)] {
            let cells = [
                ("patnr", Cell::from(&chart.number)),
                ("name", name.into()),
                ("value", chart.draw.maybe(90, value).into()),
                ("date", date.into()),
            ];
            sheets.row("functional_or_mental_state", &cells)?;
        }
    }
    Ok(())
}

/// Home, drugs, alcohol, tobacco.
fn habits(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    let (house, stairs) = chart.draw.pick(&[
        ("Eengezinswoning", "trap naar de slaapkamer"),
        ("Appartement met lift", "gelijkvloers"),
        ("Seniorenwoning", "gelijkvloers, beugels in de badkamer"),
    ]);
    let stairs = chart.draw.maybe(80, stairs);
    habit(
        sheets,
        chart,
        "living_situation",
        ["house_type", "description"],
        [house.into(), stairs.into()],
    )?;
    let columns = ["substance", "quantity", "description"];
    if chart.has(5) {
        let cells = ["cannabis".into(), "zelden".into(), Cell::Null];
        habit(sheets, chart, "drug_use", columns, cells)?;
    }
    let drinks = chart.draw.chance(65);
    let glasses = format!("{} glazen per week", chart.draw.between(1, 12));
    let cells = [
        if drinks { "drinkt" } else { "drinkt niet" }.into(),
        drinks.then_some(glasses).into(),
        Cell::Null,
    ];
    habit(sheets, chart, "alcohol_use", ["usage_status", "quantity", "description"], cells)?;
    if chart.person.smoker || chart.rich {
        let since = chart.draw.maybe(50, "sinds jonge leeftijd");
        let cells = ["sigaretten".into(), chart.draw.between(2, 20).into(), since.into()];
        habit(sheets, chart, "tobacco_use", columns, cells)?;
    }
    Ok(())
}

fn habit<const N: usize>(
    sheets: &mut Sheets,
    chart: &Chart<'_>,
    table: &str,
    columns: [&str; N],
    cells: [Cell<'_>; N],
) -> Result<(), SynthError> {
    let fields = columns.into_iter().zip(cells);
    let row: Vec<_> = [("patnr", Cell::from(&chart.number))].into_iter().chain(fields).collect();
    sheets.row(table, &row)
}
