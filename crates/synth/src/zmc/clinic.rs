//! Diagnosis, operation, medicines, implant, letters and images.

use super::{Hip, employee};
use crate::cell::Cell;
use crate::draw::{LAST_DAY, days_after};
use crate::network::Chart;
use crate::picture;
use crate::sheets::{Sheets, SynthError};
use jiff::civil::Date;

/// Medicine, dose text, agreement, reason.
type Medicine = (&'static str, &'static str, &'static str, &'static str);

const AROUND_THE_OPERATION: &[Medicine] = &[
    (
        "Paracetamol 1000 mg",
        "4 maal daags 1 tablet",
        "zes weken na de operatie",
        "pijn na operatie",
    ),
    ("Naproxen 250 mg", "2 maal daags 1 tablet", "met maagbescherming", "pijn na operatie"),
    (
        "Dabigatran 110 mg",
        "1 maal daags 2 capsules",
        "35 dagen na de operatie",
        "preventie trombose",
    ),
];
const FOR_LONGER: &[Medicine] = &[
    ("Amlodipine 5 mg", "1 maal daags 1 tablet", "doorlopend", "hoge bloeddruk"),
    ("Simvastatine 40 mg", "'s avonds 1 tablet", "doorlopend", "hoog cholesterol"),
    ("Pantoprazol 40 mg", "1 maal daags 1 tablet", "zolang naproxen", "maagbescherming"),
];

/// Writes everything that happens in the clinic.
pub(super) fn write(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    hip: &Hip,
) -> Result<(), SynthError> {
    diagnoses(sheets, chart, hip)?;
    medicines(sheets, chart, hip)?;
    implant(sheets, chart, hip)?;
    warnings(sheets, chart, hip)?;
    events(sheets, chart, hip)?;
    papers(sheets, chart, hip)
}

fn diagnoses(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let pain = days_after(hip.complaint, -chart.draw.between(20, 120));
    let healed = Some(days_after(hip.operation, 42)).filter(|day| *day <= LAST_DAY);
    let found = [
        ("Diagnose", "Coxartrose", "actief", hip.complaint, None),
        ("Klacht", "Pijn in de lies", "afgesloten", pain, healed),
    ];
    for (kind, name, status, begin, end) in found {
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("complaints_and_diagnosis", format!("{name} {}", hip.side).into()),
            ("status", if kind == "Klacht" && end.is_none() { "actief" } else { status }.into()),
            ("specialism", "Orthopedie".into()),
            ("type", kind.into()),
            ("name_of_diagnosis_or_complaint", name.into()),
            ("anatomical_location", "heup".into()),
            ("laterality", hip.side.into()),
            ("begin_date", begin.into()),
            ("end_date", end.into()),
        ];
        sheets.row("complaints_and_diagnosis", &cells)?;
    }
    Ok(())
}

fn medicines(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let longer = chart.draw.pick(&[1, 2, 3]);
    for (product, dose, agreement, reason) in
        AROUND_THE_OPERATION.iter().chain(&FOR_LONGER[..longer])
    {
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("medicines", (*product).into()),
            ("prescribed_by", hip.surgeon.into()),
            ("description", chart.draw.maybe(90, *agreement).into()),
        ];
        sheets.row("medication_agreements", &cells)?;
        if chart.has(85) {
            let cells = [
                ("patnr", Cell::from(&chart.number)),
                ("product", (*product).into()),
                ("use", (*dose).into()),
                ("reason", chart.draw.maybe(85, *reason).into()),
            ];
            sheets.row("medication_use", &cells)?;
        }
    }
    Ok(())
}

fn implant(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let size = chart.draw.between(48, 58);
    let aids = [
        (format!("Totale heupprothese, kop {size} mm"), Some("ongecementeerd")),
        ("Elleboogkrukken".to_owned(), None),
    ];
    for (place, (product, description)) in aids.into_iter().enumerate() {
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("product_description", product.into()),
            ("anatomical_location", (place == 0).then(|| format!("heup {}", hip.side)).into()),
            ("description", description.into()),
        ];
        sheets.row("medical_aids_and_tools", &cells)?;
    }
    Ok(())
}

fn warnings(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    if let Some((substance, severity, reaction)) = hip.allergy {
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("caustive_substance", substance.into()),
            ("critical", severity.into()),
            ("description", chart.draw.maybe(80, reaction).into()),
        ];
        sheets.row("allergies", &cells)?;
    }
    if chart.has(20) {
        let (alert, kind) = chart.draw.pick(&[
            ("Gebruikt antistolling", "medicatie"),
            ("Draagt een ICD", "implantaat"),
            ("Slechthorend, draagt hoortoestel", "communicatie"),
        ]);
        let since = days_after(hip.complaint, chart.draw.between(0, 60));
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("alerts", alert.into()),
            ("begindate", since.into()),
            ("type", kind.into()),
        ];
        sheets.row("warning", &cells)?;
    }
    Ok(())
}

/// What was done: kind, method, description, day, nights, place.
type Event = (&'static str, Option<&'static str>, Option<&'static str>, Date, i64, &'static str);

fn events(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let nights = chart.draw.between(1, 4);
    let event = |kind, method, text, day, nights, place| -> Event {
        (kind, method, text, day, nights, place)
    };
    let mut all = vec![
        event(
            "Röntgenonderzoek",
            Some("bekken, voor-achterwaarts"),
            None,
            hip.letter,
            0,
            "Radiologie",
        ),
        event(
            "Polikliniekbezoek",
            None,
            Some("keuze voor operatie besproken"),
            hip.letter,
            0,
            "Polikliniek 4",
        ),
        event(
            "Totale heupprothese",
            Some("anterieure benadering"),
            Some("zonder complicaties"),
            hip.operation,
            nights,
            "Operatiekamer",
        ),
        event(
            "Controle",
            None,
            Some("wond genezen"),
            days_after(hip.operation, 42),
            0,
            "Polikliniek 4",
        ),
    ];
    let sessions = chart.draw.between(2, 5);
    for week in 1..=sessions {
        all.push(event(
            "Fysiotherapie",
            Some("looptraining"),
            None,
            days_after(hip.operation, 7 * week),
            0,
            "Oefenzaal",
        ));
    }
    all.retain(|event| days_after(event.3, event.4) <= LAST_DAY);
    for event in all {
        write_event(sheets, chart, hip, event)?;
    }
    Ok(())
}

fn write_event(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    hip: &Hip,
    (kind, method, description, day, nights, place): Event,
) -> Result<(), SynthError> {
    let therapy = kind == "Fysiotherapie";
    let executor = if therapy { hip.physiotherapist } else { hip.surgeon };
    let requester = employee(&mut chart.draw, &[0, 1, 4]);
    let cells = [
        ("patnr", Cell::from(&chart.number)),
        ("type", kind.into()),
        ("method", method.into()),
        ("anatomical_location", "heup".into()),
        ("description", description.into()),
        ("laterality", hip.side.into()),
        ("start_date", day.into()),
        ("end_date", days_after(day, nights).into()),
        ("indication", chart.draw.maybe(80, "coxartrose").into()),
        ("executor", executor.into()),
        ("requested_by", chart.draw.maybe(70, requester).into()),
        ("location", place.into()),
        ("date", day.into()),
    ];
    sheets.row("registered_events", &cells)
}

/// Two letters and two images, each patient's own.
fn papers(sheets: &mut Sheets, chart: &mut Chart<'_>, hip: &Hip) -> Result<(), SynthError> {
    let letters = [
        ("Orthopedisch consult", "brief", hip.letter),
        ("Operatieverslag", "verslag", hip.operation),
    ];
    for (title, kind, date) in letters {
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("document_title", title.into()),
            ("type", kind.into()),
            ("date", date.into()),
            ("document", picture::letter(&mut chart.draw).into()),
        ];
        sheets.row("documents", &cells)?;
    }
    let images = [
        ("Bekken voor operatie", hip.letter),
        ("Bekken na operatie", days_after(hip.operation, 1)),
    ];
    for (title, date) in images {
        let cells = [
            ("patnr", Cell::from(&chart.number)),
            ("image_title", title.into()),
            ("type", chart.draw.maybe(95, "röntgenfoto").into()),
            ("date", date.into()),
            ("image", picture::scan(&mut chart.draw).into()),
        ];
        sheets.row("images", &cells)?;
    }
    Ok(())
}
