//! Identity, episodes with diagnoses and orders, medicines.

use super::{Episode, INSTITUTION, code};
use crate::cell::Cell;
use crate::draw::{LAST_DAY, days_after};
use crate::network::Chart;
use crate::person::Country;
use crate::sheets::{Sheets, SynthError};

/// Department, medicine, instructions.
const MEDICINES: &[(&str, &str, &str)] = &[
    ("ENDO", "Metformina 850 mg", "1 comprimido con el desayuno y la cena"),
    ("ENDO", "Insulina glargina 100 UI/ml", "14 unidades por la noche"),
    ("CARD", "Ácido acetilsalicílico 100 mg", "1 comprimido al día"),
    ("CARD", "Atorvastatina 40 mg", "1 comprimido por la noche"),
    ("CARD", "Bisoprolol 2,5 mg", "1 comprimido por la mañana"),
    ("ONCO", "Paracetamol 650 mg", "si hay dolor, máximo 4 al día"),
];

/// Writes who the patient is and where the patient lives.
pub(super) fn identity(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    let (person, draw) = (chart.person, &mut chart.draw);
    let country = match person.country {
        Country::Scotland => "Reino Unido",
        Country::Netherlands => "Países Bajos",
        Country::Catalonia => "España",
    };
    let status = draw.pick(&["casado", "soltero", "viudo", "divorciado"]);
    let cells = [
        ("patnr", Cell::from(&chart.number)),
        ("gschl", if person.female { "2" } else { "1" }.into()),
        ("nname", person.family.into()),
        ("vname", person.given.into()),
        ("gbdat", person.birth.into()),
        ("gbnam", person.second_family.into()),
        ("namzu", Cell::Null),
        ("glrand", country.into()),
        ("famst", draw.maybe(85, status).into()),
        ("telf1", draw.maybe(90, &person.home.telephone).into()),
        // Provinces are numbered from 01.
        ("rvnum", format!("00/{:010}", 7_000_000 + chart.serial).into()),
    ];
    sheets.row("patient", &cells)?;
    let district = draw.pick(&["Centro", "Norte", "Playa", "Estación"]);
    let cells = [
        ("patnr", Cell::from(&chart.number)),
        ("pstlz", person.home.postcode().into()),
        ("stras", (&person.home.street).into()),
        ("land", country.into()),
        ("ort", person.home.town.into()),
        ("deck", draw.maybe(70, district).into()),
        ("adrnr", format!("{:05}", chart.serial % 100_000).into()),
    ];
    sheets.row("patient_address", &cells)
}

/// Writes one episode with its diagnoses and orders.
pub(super) fn episode(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    episode: &Episode,
) -> Result<(), SynthError> {
    let screening = episode.unit.code == "ONCO";
    let area = format!("AREA{}", chart.draw.between(1, 9));
    let cells = [
        ("falnr", Cell::from(&episode.number)),
        ("pernr", episode.professional().into()),
        ("einri", INSTITUTION.into()),
        ("falar", "2".into()),
        ("patnr", (&chart.number).into()),
        ("bekat", if screening { "Cribado" } else { "Crónico domiciliario" }.into()),
        ("einzg", chart.draw.maybe(80, area).into()),
        ("statu", if episode.ends.is_some() { "E" } else { "A" }.into()),
        ("krzan", screening.into()),
        ("enddt", episode.ends.into()),
        ("erdat", episode.begins.into()),
        ("storn", false.into()),
        ("begdt", episode.begins.into()),
        ("casetx", episode.unit.name.into()),
        ("fatxt", "Ambulatorio".into()),
        ("enddtx", episode.ends.map(|_| "Fin de tratamiento").into()),
    ];
    sheets.row("episode", &cells)?;
    let second = chart.draw.pick(&["I10", "E78.5", "E66.9"]);
    let codes = [Some(episode.unit.diagnosis), chart.draw.maybe(45, second)];
    for (place, diagnosis) in codes.into_iter().flatten().enumerate() {
        let cells = [
            ("einri", Cell::from(INSTITUTION)),
            ("patnr", (&chart.number).into()),
            ("falnr", (&episode.number).into()),
            ("pernr", episode.professional().into()),
            ("lfdnr", format!("{:03}", place + 1).into()),
            ("dkey1", diagnosis.into()),
        ];
        sheets.row("diagnostic", &cells)?;
    }
    orders(sheets, chart, episode)
}

fn orders(sheets: &mut Sheets, chart: &mut Chart<'_>, episode: &Episode) -> Result<(), SynthError> {
    let mut day = episode.begins;
    for _ in 0..chart.draw.between(1, 3) {
        let cells = [
            ("idodr", Cell::from(code(&mut chart.draw, "PET"))),
            ("einri", INSTITUTION.into()),
            ("falnr", (&episode.number).into()),
            ("patnr", (&chart.number).into()),
            ("pernr", episode.professional().into()),
            ("erdat", day.into()),
            ("orgid", episode.unit.code.into()),
        ];
        sheets.row("order_entry", &cells)?;
        day = days_after(day, chart.draw.between(10, 60)).min(episode.ends.unwrap_or(LAST_DAY));
    }
    Ok(())
}

/// Writes what was prescribed in an episode; some of it was cancelled later.
pub(super) fn medicines(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    episode: &Episode,
) -> Result<(), SynthError> {
    let here = MEDICINES.iter().filter(|(unit, ..)| *unit == episode.unit.code);
    for (place, (_, medicine, instructions)) in here.enumerate() {
        if place > 0 && !chart.has(60) {
            continue;
        }
        let prescribed = days_after(episode.begins, chart.draw.between(0, 30)).min(LAST_DAY);
        let cancelled = days_after(prescribed, chart.draw.between(5, 80));
        let cancelled = chart.draw.maybe(12, cancelled).filter(|day| *day <= LAST_DAY);
        let cells = [
            ("einri", Cell::from(INSTITUTION)),
            ("patnr", (&chart.number).into()),
            ("falnr", (&episode.number).into()),
            ("motx", (*medicine).into()),
            ("mostx", chart.draw.maybe(90, *instructions).into()),
            ("mpresnr", code(&mut chart.draw, "RX").into()),
            ("motypid", "01".into()),
            ("pernr", episode.professional().into()),
            ("erdat", prescribed.into()),
            ("storn", cancelled.is_some().into()),
            ("stusr", cancelled.map(|_| "FARMACIA2").into()),
            ("stdat", cancelled.into()),
            ("stoid", cancelled.map(|_| "CAMBIO").into()),
        ];
        sheets.row("medication", &cells)?;
    }
    Ok(())
}
