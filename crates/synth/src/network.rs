//! Four centres and who is a patient where.

use crate::draw::Draw;
use crate::person::{Age, Country, Person};
use crate::sheets::{Sheets, SynthError};
use crate::staff::{self, Member, Staff};
use crate::{fcrb, khm, ustan, zmc};
use std::path::Path;

/// The most patients that can be asked for: local numbers have eight digits to vary.
pub const PATIENTS_MAX: usize = 20_000_000;

/// All that was made, except the rows, which are in files.
#[derive(Debug, Clone)]
pub struct Network {
    /// USTAN, ZMC, FCRB and KHM, in this order.
    pub centres: Vec<Hospital>,
    /// People who are patients of two centres. The first is one of ZMC and FCRB, with rows in
    /// every table of both.
    pub shared: Vec<SharedPatient>,
}

/// One centre.
#[derive(Debug, Clone)]
pub struct Hospital {
    /// Short code, the name of its folder.
    pub code: String,
    /// Name in its own language.
    pub name: String,
    /// Language of its catalogue: `en`, `nl` or `es`.
    pub language: String,
    /// The centre's own numbers of its patients.
    pub patients: Vec<String>,
    /// Everybody who works there.
    pub staff: Vec<Staff>,
    /// Rows in all its CSV files, headers not counted.
    pub rows: u64,
}

/// One person with a record at two centres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPatient {
    /// Given and family name, the same at both.
    pub person: String,
    /// Centre code and the local number there.
    pub numbers: Vec<(String, String)>,
}

/// One person's file at one centre, while it is written.
pub(crate) struct Chart<'a> {
    pub(crate) person: &'a Person,
    /// The centre's own number of this patient.
    pub(crate) number: String,
    /// Counts the centre's patients from 0.
    pub(crate) serial: i64,
    /// Has rows in every table.
    pub(crate) rich: bool,
    /// Is a patient of another centre, too (and therefore alive).
    pub(crate) shared: bool,
    pub(crate) draw: Draw,
}

impl Chart<'_> {
    /// Whether there is something of this kind to write: this often, and always in a rich file.
    pub(crate) fn has(&mut self, percent: u32) -> bool {
        self.draw.chance(percent) || self.rich
    }
}

type WriteChart = fn(&mut Sheets, &mut Chart<'_>) -> Result<(), SynthError>;

struct Plan {
    code: &'static str,
    name: &'static str,
    language: &'static str,
    country: Country,
    catalogue: &'static str,
    staff: &'static [Member],
    number: fn(u64) -> String,
    write: WriteChart,
}

const USTAN: usize = 0;
const ZMC: usize = 1;
const FCRB: usize = 2;
const KHM: usize = 3;

const PLANS: [Plan; 4] = [
    Plan {
        code: "USTAN",
        name: "St Andrews Cancer Centre",
        language: "en",
        country: Country::Scotland,
        catalogue: include_str!("../catalogues/USTAN.toml"),
        staff: staff::USTAN,
        // Real numbers of this shape begin with a day of birth; there is no day 99.
        number: |digits| format!("99{digits:08}"),
        write: ustan::write,
    },
    Plan {
        code: "ZMC",
        name: "Zuidwal Medisch Centrum",
        language: "nl",
        country: Country::Netherlands,
        catalogue: include_str!("../catalogues/ZMC.toml"),
        staff: staff::ZMC,
        number: |digits| format!("7{digits:08}"),
        write: zmc::write,
    },
    Plan {
        code: "FCRB",
        name: "Fundació Clínica Ribera Blava",
        language: "es",
        country: Country::Catalonia,
        catalogue: include_str!("../catalogues/FCRB.toml"),
        staff: staff::FCRB,
        number: |digits| format!("00{digits:08}"),
        write: fcrb::write,
    },
    Plan {
        code: "KHM",
        name: "Kirkhill Medical Practice",
        language: "en",
        country: Country::Scotland,
        catalogue: include_str!("../catalogues/KHM.toml"),
        staff: staff::KHM,
        number: |digits| format!("K{digits:08}"),
        write: khm::write,
    },
];

/// Writes `<dir>/<CODE>/catalogue.toml` and one CSV file per table for four centres with
/// `patients` people in all, every fifth of them a patient of two centres. Existing files of these
/// names are overwritten. Ten people out of ten are spread 3 : 3 : 3 : 1 over USTAN, ZMC, FCRB, KHM.
pub fn generate(dir: &Path, seed: u64, patients: usize) -> Result<Network, SynthError> {
    if !(1..=PATIENTS_MAX).contains(&patients) {
        return Err(SynthError::Patients { asked: patients, max: PATIENTS_MAX });
    }
    let open = |(place, plan)| Centre::open(dir, seed, place, plan);
    let mut centres = PLANS.iter().enumerate().map(open).collect::<Result<Vec<_>, SynthError>>()?;
    let mut shared = Vec::new();
    for index in 0..patients as u64 {
        shared.extend(admit(&mut centres, seed, index)?);
    }
    let centres = centres.into_iter().map(Centre::finish).collect::<Result<_, _>>()?;
    Ok(Network { centres, shared })
}

/// Makes person number `index` up and writes their charts.
fn admit(
    centres: &mut [Centre],
    seed: u64,
    index: u64,
) -> Result<Option<SharedPatient>, SynthError> {
    let (home, second) = centres_of(index);
    let age = if home == KHM { Age::Any } else { Age::Adult };
    let stream = index * 8;
    let person = Person::draw(&mut Draw::new(seed, stream), PLANS[home].country, age);
    let mut numbers = Vec::new();
    for place in [Some(home), second].into_iter().flatten() {
        let draw = Draw::new(seed, stream + 1 + place as u64);
        let centre = &mut centres[place];
        let number = centre.write(&person, draw, index == 0, second.is_some())?;
        numbers.push((centre.plan.code.to_owned(), number));
    }
    Ok(second.map(|_| SharedPatient { person: person.name(), numbers }))
}

/// The home of person number `index`, and for every fifth a second centre.
fn centres_of(index: u64) -> (usize, Option<usize>) {
    let home = match index % 10 {
        0 | 4 | 7 => ZMC,
        2 | 6 | 9 => FCRB,
        3 => KHM,
        _ => USTAN,
    };
    let round = (index / 10 % 3) as usize;
    let second = match index % 10 {
        0 => Some([FCRB, USTAN, KHM][round]),
        5 => Some([ZMC, FCRB, KHM][round]),
        _ => None,
    };
    (home, second)
}

struct Centre {
    plan: &'static Plan,
    sheets: Sheets,
    patients: Vec<String>,
    offset: u64,
}

impl Centre {
    fn open(dir: &Path, seed: u64, place: usize, plan: &'static Plan) -> Result<Self, SynthError> {
        let sheets = Sheets::create(&dir.join(plan.code), plan.catalogue)?;
        // The eighth stream of the first person is nobody's chart.
        let offset = Draw::new(seed, 7).between(0, 9_999_999).unsigned_abs() * (place as u64 + 1);
        Ok(Self { plan, sheets, patients: Vec::new(), offset })
    }

    fn write(
        &mut self,
        person: &Person,
        draw: Draw,
        rich: bool,
        shared: bool,
    ) -> Result<String, SynthError> {
        let serial = self.patients.len();
        let number = (self.plan.number)(scattered(serial as u64 + self.offset));
        let serial = i64::try_from(serial).expect("patients are at most 20 million");
        let mut chart = Chart { person, number: number.clone(), serial, rich, shared, draw };
        (self.plan.write)(&mut self.sheets, &mut chart)?;
        self.patients.push(number.clone());
        Ok(number)
    }

    fn finish(self) -> Result<Hospital, SynthError> {
        Ok(Hospital {
            code: self.plan.code.to_owned(),
            name: self.plan.name.to_owned(),
            language: self.plan.language.to_owned(),
            patients: self.patients,
            staff: self.plan.staff.iter().map(Staff::from).collect(),
            rows: self.sheets.finish()?,
        })
    }
}

/// Eight digits that do not count up: multiplying by a number coprime to the range hits each once.
fn scattered(serial: u64) -> u64 {
    serial * 38_714_569 % 100_000_000
}
