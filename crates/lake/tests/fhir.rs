//! FHIR R4 as another project generates it: `carebundle` of the Python index, run through `python3`.
//!
//! What must be found is counted by the generator's side, with its own JSON reader. Where `python3`
//! or the package cannot be had a test prints that it is skipped, but fails in CI.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_lake::sealed::{Answer, OpeningKey};
use aegle_lake::{Kek, Lake, Part, Value, check};
use aegle_ledger::fixture;
use aegle_model::{Name, PatientId, RequestId};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "carebundle==0.5.0";

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
laboratory = { en = "Laboratory" }
diagnostic = { en = "Diagnostic" }

[sources.export]
type = "fhir"
path = "ndjson"

[sources.bundles]
type = "fhir"
path = "bundles"

[tables.laboratory]
from = "export"
select = "Observation"
where = { "category.coding.code" = "laboratory" }
patient = "patient"
[tables.laboratory.columns]
patient = { type = "text", path = "subject.reference", key = true }
code    = { type = "text", path = "code.coding[0].code", tags = ["laboratory"] }
value   = { type = "decimal", path = "valueQuantity.value", tags = ["laboratory"] }
at      = { type = "text", path = "effectiveDateTime", tags = ["laboratory"] }

[tables.condition]
from = "bundles"
select = "Condition"
patient = "patient"
[tables.condition.columns]
patient = { type = "text", path = "subject.reference", key = true }
code    = { type = "text", path = "code.coding[0].code", tags = ["diagnostic"] }
"#;

/// Installs, and bears with a registry that fails now and then.
const PIP: [&str; 6] = ["-m", "pip", "install", "--quiet", "--retries", "10"];

/// A Python that has the package; made once per target folder.
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("carebundle");
    let python = venv.join("bin/python");
    let runs = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let has_package = || runs(Command::new(&python).args(["-c", "import carebundle"]));
    let made = has_package()
        || (runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && runs(Command::new(&python).args(PIP).arg(PACKAGE))
            && has_package());
    if !made {
        let text = format!("`python3 -m venv` and `pip install {PACKAGE}` do not work here");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        println!("skipped: {text}");
    }
    made.then_some(python)
}

/// The cohort in a folder, and what is in it.
fn generate(python: &Path, folder: &Path) -> Json {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generate.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(folder.join("catalogue.toml"), CATALOGUE).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_cohort_of_another_generator_is_found_whole() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let expected = generate(&python, &source);
    let report = check(&source);
    assert!(report.is_sound(), "{report}");
    let counts: Vec<_> = report.tables.iter().map(|table| table.rows).collect();
    let number = |name: &str| expected[name].as_u64().unwrap();
    assert_eq!(counts, [number("laboratory"), number("conditions")]);
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");

    let lake = Lake::open(&folder.path().join("lake"), &Kek::generate()).unwrap();
    let report = lake.ingest(&source).unwrap();
    assert_eq!((report.patients, report.rows_without_patient), (number("patients"), 0));
    let part = laboratory(&lake, expected["first"].as_str().unwrap());
    let text = |value: &Value| serde_json::to_value(value).unwrap();
    let mut shown: Vec<_> = part.tables[0]
        .rows
        .iter()
        .filter(|row| row[1] != Value::Null)
        .map(|row| Json::Array(row[..2].iter().map(text).collect()))
        .collect();
    let mut rows = expected["rows"].as_array().unwrap().clone();
    shown.sort_by_key(ToString::to_string);
    rows.sort_by_key(ToString::to_string);
    assert_eq!(shown, rows);
    assert!(!rows.is_empty());

    // The same seed makes the same cohort, and the same cohort changes nothing.
    for old in ["ndjson", "bundles"] {
        std::fs::remove_dir_all(source.join(old)).unwrap();
    }
    generate(&python, &source);
    assert!(lake.ingest(&source).unwrap().unchanged);
}

/// What the lake shows of a patient's laboratory.
fn laboratory(lake: &Lake, number: &str) -> Part {
    let (who, key) = (PatientId::from_array([1; 16]), OpeningKey::generate());
    lake.link(who, number).unwrap();
    let catalogue = lake.catalogue().unwrap().unwrap();
    let tags = [Name::new("laboratory").unwrap()];
    let cells = catalogue.vocabulary().cells_of(&tags).unwrap().into_iter().collect();
    let request = RequestId::from_array([9; 16]);
    let permit = fixture::permit(request, who, cells, *key.recipient(), 1);
    let delivery = lake.read(&permit).unwrap();
    let answer = Answer { request: permit.request(), receipt: permit.receipt() };
    Part::from_bytes(&key.open(&answer, &delivery.sealed).unwrap()).unwrap()
}
