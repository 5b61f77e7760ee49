//! Chronic care at home: episodes in several departments, medicines, readings of devices at home.

mod care;
mod home;

use crate::cell::Cell;
use crate::draw::{Draw, LAST_DAY, days_after};
use crate::network::Chart;
use crate::sheets::{Sheets, SynthError};
use crate::staff;
use jiff::civil::{Date, date};

/// The institution's code in its own tables.
const INSTITUTION: &str = "FCRB";

/// A department: code, name, diagnosis, places of its doctors in the staff list.
struct Unit {
    code: &'static str,
    name: &'static str,
    diagnosis: &'static str,
    doctors: &'static [usize],
}

const ENDOCRINOLOGY: Unit =
    Unit { code: "ENDO", name: "Endocrinología", diagnosis: "E11.9", doctors: &[0, 1] };
const CARDIOLOGY: Unit =
    Unit { code: "CARD", name: "Cardiología", diagnosis: "I25.9", doctors: &[2, 4] };
const ONCOLOGY: Unit = Unit { code: "ONCO", name: "Oncología", diagnosis: "Z12.3", doctors: &[3] };

/// One episode of care, which most tables refer to.
struct Episode {
    number: String,
    unit: &'static Unit,
    /// Place of the doctor in charge in the staff list.
    doctor: usize,
    begins: Date,
    ends: Option<Date>,
}

/// Writes all rows of one patient.
pub(crate) fn write(sheets: &mut Sheets, chart: &mut Chart<'_>) -> Result<(), SynthError> {
    let episodes = Episode::draw(chart);
    care::identity(sheets, chart)?;
    for episode in &episodes {
        meet(sheets, episode)?;
        care::episode(sheets, chart, episode)?;
        care::medicines(sheets, chart, episode)?;
    }
    home::write(sheets, chart, &episodes[0])
}

impl Episode {
    /// Endocrinology now, often cardiology, sometimes a screening in oncology.
    fn draw(chart: &mut Chart<'_>) -> Vec<Self> {
        let mut units = vec![&ENDOCRINOLOGY];
        units.extend(chart.has(70).then_some(&CARDIOLOGY));
        units.extend(chart.has(15).then_some(&ONCOLOGY));
        let (serial, draw) = (chart.serial, &mut chart.draw);
        let open = |(place, unit): (usize, &'static Unit)| {
            let begins = days_after(LAST_DAY, -draw.between(120, 1500));
            let ends = days_after(begins, draw.between(1, 90));
            Self {
                // Ten digits with zeros in front, as the source writes them.
                number: format!(
                    "{:010}",
                    40_000_000 + serial * 4 + i64::try_from(place).expect("few")
                ),
                unit,
                doctor: draw.pick(unit.doctors),
                begins,
                ends: (place > 0).then_some(ends),
            }
        };
        units.into_iter().enumerate().map(open).collect()
    }

    /// The staff number of the doctor in charge.
    fn professional(&self) -> &'static str {
        staff::FCRB[self.doctor].0
    }
}

/// Writes doctor and specialty of an episode when they are met for the first time, so that there
/// is no row that belongs to nobody.
fn meet(sheets: &mut Sheets, episode: &Episode) -> Result<(), SynthError> {
    let unit = episode.unit;
    if sheets.is_new(unit.code) {
        sheets.row(
            "medical_specialty",
            &[("orgid", unit.code.into()), ("orgna", unit.name.into())],
        )?;
    }
    if !sheets.is_new(episode.professional()) {
        return Ok(());
    }
    let years = i16::try_from(episode.doctor).expect("few doctors") * 2;
    let since = date(2009 + years, 3, 1);
    let cells = [
        ("pernr", Cell::from(episode.professional())),
        ("erusr", "PERSONAL1".into()),
        ("orgid", unit.code.into()),
        ("begdt", since.into()),
        ("enddt", Cell::Null),
        ("erdat", days_after(since, -12).into()),
        ("rank", if episode.doctor == 0 { "JEF" } else { "MED" }.into()),
    ];
    sheets.row("professional", &cells)
}

/// A code of letters and a number, drawn.
fn code(draw: &mut Draw, letters: &str) -> String {
    format!("{letters}{:07}", draw.between(0, 9_999_999))
}
