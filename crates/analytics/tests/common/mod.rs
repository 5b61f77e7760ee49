//! A small lake with forty patients, and a project over it.

#![allow(dead_code, reason = "each test uses a part of it")]

use aegle_analytics::project::Project;
use aegle_lake::{Kek, Lake};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
a = { en = "A" }

[tables.person]
patient = "nr"
[tables.person.columns]
nr    = { type = "text", key = true }
name  = { type = "text", tags = ["a"] }
sex   = { type = "text", tags = ["a"], analytics = "code" }
birth = { type = "date", hub = "time", tags = ["a"], analytics = "year" }

[tables.medication]
patient = "nr"
[tables.medication.columns]
nr      = { type = "text", key = true }
product = { type = "text", hub = "object:medicine", tags = ["a"], analytics = "code" }
dose    = { type = "decimal", unit = "mg", tags = ["a"], analytics = "value" }
days    = { type = "integer", unit = "d", tags = ["a"], analytics = "value" }
start   = { type = "date", hub = "time", tags = ["a"], analytics = "shift" }
stop    = { type = "date", hub = "time", tags = ["a"], analytics = "shift" }
at      = { type = "time", hub = "time", tags = ["a"], analytics = "shift" }
by      = { type = "text", hub = "person:professional", tags = ["a"] }
note    = { type = "text", tags = ["a"] }
repeat  = { type = "boolean", tags = ["a"], analytics = "value" }
"#;

/// How many patients there are.
pub(crate) const PATIENTS: u32 = 40;

/// A folder with a source, a lake and the project `study`.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) project: Project,
    kek: Kek,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("catalogue.toml"), CATALOGUE).unwrap();
        let project = Project::new(&folder.path().join("lake"), "study").unwrap();
        let world = Self { folder, project, kek: Kek::generate() };
        world.write(1..=PATIENTS);
        world
    }

    /// Everybody takes aspirin twice; the first 12 take metformin, the first 9 a rare medicine, and
    /// one of them something else. The dose of the rare one is known of two.
    pub(crate) fn write(&self, patients: impl Iterator<Item = u32>) {
        let mut person = "nr,name,sex,birth\n".to_owned();
        let mut medication = "nr,product,dose,days,start,stop,at,by,note,repeat\n".to_owned();
        for patient in patients {
            let sex = if patient.is_multiple_of(2) { "F" } else { "M" };
            let year = 1940 + patient;
            writeln!(person, "PAT-{patient},Name-{patient},{sex},{year}-05-17").unwrap();
            let mut take = |product: &str, dose: &str| {
                writeln!(
                    medication,
                    "PAT-{patient},{product},{dose},30,2024-03-01,2024-03-31,\
                     2024-03-01T10:20:30+01:00,Dr Jansen,asked on the phone,true"
                )
                .unwrap();
            };
            take("aspirin", "80");
            take("aspirin", "100.5");
            if patient <= 12 {
                take("metformin", "500");
            }
            if patient <= 9 {
                take("rare", if patient <= 2 { "7" } else { "" });
            }
            if patient == 1 {
                take("unique", "1");
            }
        }
        let source = self.source();
        std::fs::write(source.join("person.csv"), person).unwrap();
        std::fs::write(source.join("medication.csv"), medication).unwrap();
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub(crate) fn open(&self) -> Lake {
        Lake::open(&self.folder.path().join("lake"), &self.kek).unwrap()
    }

    /// The lake with the source in it.
    pub(crate) fn filled(&self) -> Lake {
        let lake = self.open();
        lake.ingest(&self.source()).unwrap();
        lake
    }
}

/// Every file under a folder, by its path in it; none when there is no folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}
