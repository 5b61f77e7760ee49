//! The whole story on four real node processes, and what they leave on disk.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_story_holds_and_the_ledger_knows_nothing_about_anyone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("network");
    let played = Command::new(env!("CARGO_BIN_EXE_aegle"))
        .args(["demo", "--once", "--json", "--dir"])
        .arg(&dir)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}\n{}", logs(&dir));
    let report: Value = serde_json::from_slice(&played.stdout).unwrap();
    assert_eq!(report["nodes"], 4);
    assert_eq!(report["log_complete"], true);
    let steps = report["story"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    for step in steps {
        assert_eq!(step["expect"], step["got"], "step {}", step["step"]);
    }
    nothing_readable(&dir);
}

/// Reads every byte that one node keeps for the ledger and looks for what must not be there.
fn nothing_readable(dir: &Path) {
    let stored = bytes_below(&dir.join("KHM/data/ledger"));
    // Catalogues are public: finding a tag shows that the files are read as they were written.
    assert!(holds(&stored, b"medication"), "the ledger's files hold the published tags");
    for secret in secrets(dir) {
        assert!(
            !holds(&stored, &secret),
            "the ledger's files hold {:?}",
            String::from_utf8_lossy(&secret)
        );
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

/// What the hospitals have of their patients, patient numbers, staff numbers, logins, words of a reason,
/// names of tables and columns. Tags and what people read for them are public, and short words may be
/// part of anything.
fn secrets(dir: &Path) -> BTreeSet<Vec<u8>> {
    let mut words: BTreeSet<String> =
        ["unconscious", "Department", "namesake", "colleague"].map(str::to_owned).into();
    let mut public = String::new();
    for (centre, persons) in [("ZMC", "patient_details"), ("FCRB", "patient")] {
        let source = dir.join("sources").join(centre);
        let catalogue = fs::read_to_string(source.join("catalogue.toml")).unwrap();
        let catalogue: toml::Table = catalogue.parse().unwrap();
        for (table, described) in catalogue["tables"].as_table().unwrap() {
            words.insert(table.clone());
            words.extend(described["columns"].as_table().unwrap().keys().cloned());
        }
        public += &catalogue["tags"].to_string();
        let mut reader = csv::Reader::from_path(source.join(format!("{persons}.csv"))).unwrap();
        let fields = reader
            .records()
            .flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
        words.extend(fields);
    }
    let tells = |word: &String| word.len() > 5 && !public.contains(word.as_str());
    let mut secrets: BTreeSet<_> =
        words.into_iter().filter(tells).map(String::into_bytes).collect();
    assert!(secrets.len() > 100, "{} words", secrets.len());
    // A short number stands in canonical bytes behind its length.
    secrets.extend(["207"].map(|number| [&3_u32.to_le_bytes(), number.as_bytes()].concat()));
    secrets
}

fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { bytes_below(&path) } else { fs::read(path).unwrap() });
    }
    bytes
}

fn logs(dir: &Path) -> String {
    let log = |code: &str| fs::read_to_string(dir.join(code).join("node.log")).unwrap_or_default();
    ["USTAN", "ZMC", "FCRB", "KHM"].map(|code| format!("== {code}\n{}", log(code))).join("\n")
}
