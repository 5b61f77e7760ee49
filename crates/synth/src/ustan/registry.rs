//! Cancer registry and hospital stays.

use super::Cancer;
use crate::cell::{Cell, hundredths};
use crate::draw::{Draw, LAST_DAY, days_after, days_between};
use crate::network::Chart;
use crate::person::body_mass_index;
use crate::sheets::{Sheets, SynthError};

type Field<'a> = (&'static str, Cell<'a>);

const PRACTITIONERS: &[(&str, i64)] = &[
    ("Dr Rhona Calder", 4012),
    ("Dr Fergus Ballantyne", 4013),
    ("Dr Iona Strachur", 4044),
    ("Dr Murdo Lauder", 4071),
];
const METASTASES: &[&str] = &["C78.0", "C78.7", "C79.3", "C79.5"];
const CONDITIONS: &[&str] = &["I10", "E11", "J45", "M19", "N18", "K21"];
const OPERATIONS: &[&str] = &["B27.4", "B28.2", "H07.9", "H33.4"];

/// One row of the registry's summary.
pub(super) fn general(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    cancer: &Cancer,
    stayed: bool,
) -> Result<(), SynthError> {
    let number = chart.number.clone();
    let mut fields = vec![("chi", Cell::from(&number))];
    fields.extend(diagnosis(chart, cancer));
    fields.extend(comorbidity(&mut chart.draw));
    fields.extend(circumstances(chart, cancer));
    fields.extend(staging(&mut chart.draw, cancer));
    fields.extend(outcome(chart, cancer, stayed));
    sheets.row("general", &fields)
}

fn diagnosis(chart: &mut Chart<'_>, cancer: &Cancer) -> [Field<'static>; 13] {
    let draw = &mut chart.draw;
    let spread = cancer.stage == 4;
    let second = draw.chance(40);
    let metastasis = |present: bool, place: usize| present.then_some(METASTASES[place]);
    let record = 600_000 + chart.serial;
    [
        ("incidence_date", cancer.diagnosed.into()),
        ("site_icd_10", cancer.site.into()),
        ("name", chart.person.name().into()),
        ("date_of_birth", chart.person.birth.into()),
        ("first_seen_date", cancer.first_seen.into()),
        ("site", cancer.site[..3].into()),
        ("histology", if cancer.breast { 8500 } else { 8140 }.into()),
        ("primary", if draw.chance(4) { 2 } else { 1 }.into()),
        ("metastasis1", metastasis(spread, 0).into()),
        ("metastasis2", metastasis(spread && second, 1).into()),
        ("metastasis3", metastasis(spread && second && draw.chance(30), 3).into()),
        ("smid", record.into()),
        ("smid1", draw.maybe(35, record + 20_000_000).into()),
    ]
}

/// Flags and the score that they add up to (Charlson 1987).
fn comorbidity(draw: &mut Draw) -> Vec<Field<'static>> {
    const FLAGS: &[(&str, u32, i64)] = &[
        ("cong_heart_fail_flag", 6, 1),
        ("con_tiss_disease_rheum_flag", 5, 1),
        ("dementia_flag", 3, 1),
        ("pulmonary_flag", 10, 1),
        ("con_tiss_flag", 2, 1),
        ("diabetes_flag", 12, 1),
        ("para_hemiplegia_flag", 1, 2),
        ("renal_flag", 5, 2),
        ("liver_flag", 2, 3),
        ("aids_hiv_flag", 1, 6),
        ("cancer_flag", 7, 2),
    ];
    let mut score = 0;
    let mut fields = Vec::with_capacity(FLAGS.len() + 1);
    for (name, percent, weight) in FLAGS {
        let present = draw.chance(*percent);
        score += if present { *weight } else { 0 };
        fields.push((*name, present.into()));
    }
    fields.push(("charlson_score", score.into()));
    fields
}

fn circumstances<'a>(chart: &mut Chart<'a>, cancer: &Cancer) -> [Field<'a>; 15] {
    let (person, draw) = (chart.person, &mut chart.draw);
    let decile = draw.between(1, 10);
    let weight_hg = person.weight_hg + draw.between(-40, 25);
    let index = body_mass_index(weight_hg, person.height_cm);
    let days = days_between(person.birth, cancer.diagnosed);
    let (side, religion) = (draw.between(1, 2), draw.between(1, 9));
    [
        ("dob", person.birth.into()),
        ("age", person.age_on(cancer.died.unwrap_or(LAST_DAY)).into()),
        ("simd", hundredths(decile * 100)),
        ("simd1", hundredths((decile + 1) / 2 * 100)),
        ("side", cancer.breast.then_some(side).into()),
        ("gender", if person.female { 2 } else { 1 }.into()),
        ("age_at_diagnosis", hundredths(days * 10_000 / 36_525)),
        ("weight", hundredths(weight_hg * 10)),
        ("bmi", hundredths(index * 10)),
        ("height", hundredths(person.height_cm * 100)),
        ("religion", draw.maybe(40, religion).into()),
        ("civil_st", draw.between(1, 5).into()),
        ("ref_hospital", draw.between(101, 112).into()),
        ("postcode_pre", (&person.home.postcode.0).into()),
        ("postcode_suf", (&person.home.postcode.1).into()),
    ]
}

fn staging(draw: &mut Draw, cancer: &Cancer) -> [Field<'static>; 8] {
    let stage = cancer.stage;
    let detail = format!("{stage}{}", draw.pick(&["A", "B"]));
    let tumour = (stage + draw.between(-1, 1)).clamp(1, 4);
    let nodes = (stage - 1).min(3);
    let performance = draw.between(0, 2);
    [
        ("stage", stage.into()),
        ("stage_detail", draw.maybe(60, detail).into()),
        ("tnm_t", tumour.into()),
        ("tnm_t_detail", (tumour == 1).then_some("1c").into()),
        ("tnm_n", nodes.into()),
        ("tnm_n_detail", (nodes == 1).then_some("1a").into()),
        ("tnm_m", i64::from(stage == 4).into()),
        ("perf_stat", draw.maybe(92, performance).into()),
    ]
}

fn outcome(chart: &mut Chart<'_>, cancer: &Cancer, stayed: bool) -> [Field<'static>; 7] {
    let (practitioner, id) = chart.draw.pick(PRACTITIONERS);
    [
        ("smr01_flag", stayed.into()),
        ("postcode", chart.person.home.postcode().into()),
        ("gp_name", practitioner.into()),
        ("death_flag", cancer.died.is_some().into()),
        ("survival_days", cancer.died.map(|day| days_between(cancer.diagnosed, day)).into()),
        ("dat_death", cancer.died.into()),
        ("gp_id", id.into()),
    ]
}

/// Zero to three hospital stays, one after the other; how many.
pub(super) fn stays(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    cancer: &Cancer,
) -> Result<usize, SynthError> {
    let mut day = days_after(cancer.first_seen, chart.draw.between(3, 30));
    let mut stays = 0;
    while stays < 3 && (chart.draw.chance(55) || (stays == 0 && chart.rich)) {
        let nights = chart.draw.between(0, 9);
        let discharged = days_after(day, nights);
        if discharged > cancer.died.unwrap_or(LAST_DAY) {
            break;
        }
        sheets.row("smr01", &stay(chart, cancer, day, nights, stays == 0))?;
        day = days_after(discharged, chart.draw.between(20, 200));
        stays += 1;
    }
    Ok(stays)
}

fn stay<'a>(
    chart: &mut Chart<'_>,
    cancer: &Cancer,
    admitted: jiff::civil::Date,
    nights: i64,
    surgery: bool,
) -> Vec<Field<'a>> {
    let draw = &mut chart.draw;
    let (first, second) = (draw.pick(&CONDITIONS[..3]), draw.pick(&CONDITIONS[3..]));
    let (more, planned) = (draw.chance(50), surgery || draw.chance(40));
    let operation = OPERATIONS[if cancer.breast { 0 } else { 2 }];
    let addition = OPERATIONS[if cancer.breast { 1 } else { 3 }];
    vec![
        ("chi", chart.number.clone().into()),
        ("incidence_date", cancer.diagnosed.into()),
        ("admission_date", admitted.into()),
        ("length_of_stay", nights.into()),
        ("other_condition1", more.then_some(first).into()),
        ("other_condition2", (more && planned).then_some(second).into()),
        ("other_condition3", Cell::Null),
        ("main_operation_b", (surgery && draw.chance(20)).then_some(addition).into()),
        ("discharge_date", days_after(admitted, nights).into()),
        ("waiting_list_type", planned.then_some(1).into()),
        ("main_condition", cancer.site.into()),
        ("main_operation_a", surgery.then_some(operation).into()),
        ("marital_status", draw.pick(&["A", "B", "D", "F"]).into()),
        ("ethnic_group", draw.maybe(70, "1A").into()),
    ]
}

/// The registration of a breast cancer, if it is one.
pub(super) fn breast(
    sheets: &mut Sheets,
    chart: &mut Chart<'_>,
    cancer: &Cancer,
) -> Result<(), SynthError> {
    if !cancer.breast {
        return Ok(());
    }
    let draw = &mut chart.draw;
    let nodes = (cancer.stage - 1).min(3);
    let positive = if nodes == 0 { 0 } else { draw.between(1, 3 * nodes) };
    let (receptor, growth) = (i64::from(draw.chance(75)), i64::from(draw.chance(18)));
    let size = draw.around(6, 25) * cancer.stage;
    let cells = [
        ("chi", Cell::from(&chart.number)),
        ("incidence_date", cancer.diagnosed.into()),
        ("er_status", receptor.into()),
        ("her2_status", draw.maybe(93, growth).into()),
        ("stage_clinical_t", format!("{}", cancer.stage).into()),
        ("stage_clinical_n", format!("{nodes}").into()),
        ("stage_clinical_m", if cancer.stage == 4 { "1" } else { "0" }.into()),
        ("num_positive", draw.maybe(88, positive).into()),
        ("pathological_tum_size", draw.maybe(90, size).into()),
    ];
    sheets.row("smr06", &cells)
}
