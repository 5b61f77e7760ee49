//! Made-up sources of any size, streamed into files: the same numbers make the same bytes.
//!
//! A patient has one row about the person, four medicines and five measurements, ten in all; one
//! patient in a thousand has five times as many. Rows stand in the order of time, not of patients, as
//! in an export of a clinic.

use anyhow::Result;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

const CSV: &str = r#"
centre = "BENCH"
version = 1
language = "en"

[tags]
identity = { en = "Identity" }
medication = { en = "Medication" }
diagnosis = { en = "Diagnosis" }

[tables.person]
patient = "patnr"
[tables.person.columns]
patnr = { type = "text", key = true }
name = { type = "text", tags = ["identity"] }
sex = { type = "text", tags = ["identity"] }
birth = { type = "date", hub = "time", tags = ["identity"] }

[tables.medication]
patient = "patnr"
[tables.medication.columns]
patnr = { type = "text", key = true }
product = { type = "text", hub = "object:medicine", tags = ["medication"] }
reason = { type = "text", tags = ["medication", "diagnosis"] }
dose = { type = "decimal", unit = "mg", tags = ["medication"] }
start = { type = "date", hub = "time", tags = ["medication"] }

[tables.measurement]
patient = "patnr"
[tables.measurement.columns]
patnr = { type = "text", key = true }
code = { type = "text", hub = "object:measurement", tags = ["diagnosis"] }
method = { type = "text", tags = ["diagnosis"] }
result = { type = "decimal", tags = ["diagnosis"] }
at = { type = "date", hub = "time", tags = ["diagnosis"] }
"#;

const FHIR: &str = r#"
centre = "BENCH"
version = 1
language = "en"

[tags]
medication = { en = "Medication" }
diagnosis = { en = "Diagnosis" }
laboratory = { en = "Laboratory" }

[sources.export]
type = "fhir"
path = "fhir"

[tables.laboratory]
from = "export"
select = "Observation"
patient = "patient"
[tables.laboratory.columns]
patient = { type = "text", path = "subject.reference", key = true }
code = { type = "text", path = "code.coding[0].code", tags = ["laboratory"] }
result = { type = "decimal", path = "valueQuantity.value", tags = ["laboratory"] }
at = { type = "time", path = "effectiveDateTime", tags = ["laboratory"] }

[tables.condition]
from = "export"
select = "Condition"
patient = "patient"
[tables.condition.columns]
patient = { type = "text", path = "subject.reference", key = true }
code = { type = "text", path = "code.coding[0].code", tags = ["diagnosis"] }
since = { type = "date", path = "onsetDateTime", tags = ["diagnosis"] }

[tables.medication]
from = "export"
select = "MedicationRequest"
patient = "patient"
[tables.medication.columns]
patient = { type = "text", path = "subject.reference", key = true }
product = { type = "text", path = "medicationCodeableConcept.text", tags = ["medication"] }
since = { type = "date", path = "authoredOn", tags = ["medication"] }
"#;

const DOCUMENTS: &str = r#"
centre = "BENCH"
version = 1
language = "en"

[tags]
documents = { en = "Documents" }

[sources.archive]
type = "documents"
path = "archive"

[tables.letter]
from = "archive"
select = "{patnr}.pdf"
patient = "patnr"
[tables.letter.columns]
patnr = { type = "text", key = true }
letter = { type = "bytes", path = "@content", tags = ["documents"] }
"#;

const PRODUCTS: [&str; 8] = [
    "paracetamol 500 mg tablet",
    "metformin 850 mg tablet",
    "simvastatin 40 mg tablet",
    "amlodipine 5 mg tablet",
    "salbutamol 100 ug inhaler",
    "omeprazole 20 mg capsule",
    "losartan 50 mg tablet",
    "insulin glargine 100 U/ml",
];
const REASONS: [&str; 5] =
    ["pain after operation", "type 2 diabetes", "hypertension", "asthma", "reflux disease"];
const CODES: [&str; 6] = ["8480-6", "8462-4", "29463-7", "4548-4", "2160-0", "2339-0"];
const METHODS: [&str; 4] = ["cuff, sitting", "venous blood", "scale, clothed", "capillary blood"];
const NAMES: [&str; 6] = ["Jansen", "Garcia", "Campbell", "de Vries", "Martínez", "Stewart"];

/// How many rows of each table an ordinary patient has: person, medication, measurement.
const ROWS: [u32; 3] = [1, 4, 5];
/// How many times as many a long history has.
const LONG: u32 = 5;
/// One in so many patients has a long history.
const LONG_EVERY: u32 = 1_000;

/// What was made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) rows: u64,
    /// Of all files but the catalogue.
    pub(super) bytes: u64,
}

/// The number of a patient as the clinic writes it.
pub(super) fn patient(number: u32) -> String {
    format!("P{number:08}")
}

/// Whether the patient has a long history.
pub(super) fn is_long(number: u32) -> bool {
    number.is_multiple_of(LONG_EVERY)
}

/// Choices that depend on nothing but these numbers (`SplitMix64`).
struct Draw(u64);

impl Draw {
    fn new(table: u32, patient: u32, row: u32) -> Self {
        Self(u64::from(table) << 60 ^ u64::from(row) << 40 ^ u64::from(patient))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).expect("below a u32")
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(u32::try_from(choices.len()).expect("few")) as usize]
    }

    /// A day of so many years from a year on.
    fn day(&mut self, year: u32, years: u32) -> String {
        let (year, month) = (year + self.below(years), 1 + self.below(12));
        format!("{year}-{month:02}-{:02}", 1 + self.below(28))
    }
}

/// A clinic's export as CSV files.
pub(super) fn csv(folder: &Path, patients: u32) -> Result<Made> {
    begin(folder, CSV)?;
    let mut made = Made { rows: 0, bytes: 0 };
    let tables: [(&str, &str, Line); 3] = [
        ("person", "patnr,name,sex,birth", person),
        ("medication", "patnr,product,reason,dose,start", medication),
        ("measurement", "patnr,code,method,result,at", measurement),
    ];
    for (table, ((name, header, line), rows)) in (0..).zip(tables.into_iter().zip(ROWS)) {
        let path = folder.join(format!("{name}.csv"));
        let mut file = BufWriter::new(File::create(&path)?);
        writeln!(file, "{header}")?;
        for row in 0..rows * LONG {
            let step = if row < rows { 1 } else { LONG_EVERY };
            for number in (0..patients).step_by(step as usize) {
                write!(file, "{},", patient(number))?;
                line(&mut file, &mut Draw::new(table, number, row))?;
                made.rows += 1;
            }
        }
        file.flush()?;
        made.bytes += path.metadata()?.len();
    }
    Ok(made)
}

/// Writes a row but for its patient.
type Line = fn(&mut BufWriter<File>, &mut Draw) -> std::io::Result<()>;

fn person(file: &mut BufWriter<File>, draw: &mut Draw) -> std::io::Result<()> {
    let (name, sex) = (draw.pick(&NAMES), draw.pick(&["female", "male"]));
    writeln!(file, "{name},{sex},{}", draw.day(1930, 80))
}

fn medication(file: &mut BufWriter<File>, draw: &mut Draw) -> std::io::Result<()> {
    let (product, reason) = (draw.pick(&PRODUCTS), draw.pick(&REASONS));
    writeln!(file, "{product},{reason},{}.5,{}", draw.below(1_000), draw.day(2015, 10))
}

fn measurement(file: &mut BufWriter<File>, draw: &mut Draw) -> std::io::Result<()> {
    let (code, method) = (draw.pick(&CODES), draw.pick(&METHODS));
    writeln!(file, "{code},\"{method}\",{}.25,{}", draw.below(300), draw.day(2015, 10))
}

/// A FHIR export: twenty resources a patient, all types in one file. Of twenty resources twelve are
/// observations, five conditions and three prescriptions.
pub(super) fn fhir(folder: &Path, resources: u32) -> Result<u64> {
    begin(folder, FHIR)?;
    fs::create_dir_all(folder.join("fhir"))?;
    let path = folder.join("fhir/export.ndjson");
    let mut file = BufWriter::new(File::create(&path)?);
    for number in 0..resources {
        let draw = &mut Draw::new(9, number / 20, number % 20);
        let (patient, day) = (patient(number / 20), draw.day(2015, 10));
        match number % 20 {
            0..12 => {
                let (code, result) = (draw.pick(&CODES), draw.below(300));
                writeln!(
                    file,
                    r#"{{"resourceType":"Observation","id":"o{number}","meta":{{"versionId":"1","lastUpdated":"{day}T08:00:00.000Z","profile":["http://hl7.org/fhir/StructureDefinition/vitalsigns"]}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"Laboratory"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}","display":"A measurement of the laboratory"}}],"text":"A measurement of the laboratory"}},"subject":{{"reference":"Patient/{patient}"}},"encounter":{{"reference":"Encounter/e{number}"}},"effectiveDateTime":"{day}T07:45:00+01:00","issued":"{day}T07:59:00.000+01:00","valueQuantity":{{"value":{result}.25,"unit":"mmol/L","system":"http://unitsofmeasure.org","code":"mmol/L"}}}}"#
                )?;
            }
            12..17 => {
                let reason = draw.pick(&REASONS);
                writeln!(
                    file,
                    r#"{{"resourceType":"Condition","id":"c{number}","clinicalStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}}]}},"verificationStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/condition-ver-status","code":"confirmed"}}]}},"code":{{"coding":[{{"system":"http://snomed.info/sct","code":"{}","display":"{reason}"}}],"text":"{reason}"}},"subject":{{"reference":"Patient/{patient}"}},"onsetDateTime":"{day}"}}"#,
                    38_341_003 + draw.below(1_000)
                )?;
            }
            _ => {
                let product = draw.pick(&PRODUCTS);
                writeln!(
                    file,
                    r#"{{"resourceType":"MedicationRequest","id":"m{number}","status":"active","intent":"order","medicationCodeableConcept":{{"coding":[{{"system":"http://www.whocc.no/atc","code":"A10BA02"}}],"text":"{product}"}},"subject":{{"reference":"Patient/{patient}"}},"authoredOn":"{day}","requester":{{"reference":"Practitioner/d{}"}},"dosageInstruction":[{{"text":"one a day","timing":{{"repeat":{{"frequency":1,"period":1,"periodUnit":"d"}}}}}}]}}"#,
                    draw.below(500)
                )?;
            }
        }
    }
    file.flush()?;
    Ok(path.metadata()?.len())
}

/// Documents that do not compress, one a patient; how many bytes they have together.
pub(super) fn documents(folder: &Path, number: u32, size: usize) -> Result<u64> {
    begin(folder, DOCUMENTS)?;
    fs::create_dir_all(folder.join("archive"))?;
    let mut bytes = 0;
    for number in 0..number {
        let draw = &mut Draw::new(10, number, 0);
        let mut content = b"%PDF-1.7\n".to_vec();
        while content.len() < size {
            content.extend_from_slice(&draw.next().to_le_bytes());
        }
        content.truncate(size);
        bytes += size as u64;
        fs::write(folder.join(format!("archive/{}.pdf", patient(number))), content)?;
    }
    Ok(bytes)
}

fn begin(folder: &Path, catalogue: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("catalogue.toml"), catalogue)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn the_same_numbers_make_the_same_bytes_and_more_patients_change_no_row() {
        let [one, again, more] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let made = csv(one.path(), 20).unwrap();
        assert_eq!(made, csv(again.path(), 20).unwrap());
        csv(more.path(), 25).unwrap();
        let mut bytes = 0;
        for name in ["person.csv", "medication.csv", "measurement.csv"] {
            let text = file(one.path(), name);
            assert_eq!(text, file(again.path(), name));
            let more = file(more.path(), name);
            assert!(text.lines().all(|line| more.lines().any(|other| other == line)), "{name}");
            bytes += text.len() as u64;
        }
        assert_eq!(made.bytes, bytes);
    }

    #[test]
    fn a_patient_has_ten_rows_and_one_in_a_thousand_fifty() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(csv(folder.path(), 2_001).unwrap().rows, 1_998 * 10 + 3 * 50);
        let rows = |number: u32| {
            let names = ["person.csv", "medication.csv", "measurement.csv"];
            names.map(|name| {
                let begins = format!("{},", patient(number));
                file(folder.path(), name).lines().filter(|line| line.starts_with(&begins)).count()
            })
        };
        assert_eq!((rows(1), rows(1_000)), ([1, 4, 5], [5, 20, 25]));
    }

    #[test]
    fn resources_are_json_of_the_types_that_the_catalogue_takes() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = fhir(folder.path(), 40).unwrap();
        let text = file(folder.path(), "fhir/export.ndjson");
        assert_eq!(bytes, text.len() as u64);
        let resources: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |kind: &str| resources.iter().filter(|one| one["resourceType"] == kind).count();
        assert_eq!(
            ["Observation", "Condition", "MedicationRequest"].map(of),
            [24, 10, 6],
            "{text}"
        );
    }
}
