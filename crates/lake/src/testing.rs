//! A small source and a lake to put it in, for the tests of this room.

pub(crate) mod dying;
pub(crate) mod faulty;
pub(crate) mod garage;
pub(crate) mod rotten;
pub(crate) mod servers;
pub(crate) mod shared;
pub(crate) mod token;

use crate::database::{Connection, Half};
use crate::sealed::{Answer, OpeningKey};
use crate::{Delivery, Kek, Keks, Lake, OpenError, Part, Place, ReadError};
use crate::{index, keys};
use aegle_ledger::{Permit, fixture};
use aegle_model::{CellId, Name, PatientId, RequestId};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "nl"

[tags]
medication = { en = "Medication" }
treatments = { en = "Treatments" }
staff = { en = "Staff" }

[tables.use]
patient = "patnr"
[tables.use.columns]
patnr   = { type = "text", key = true }
episode = { type = "text", key = true }
product = { type = "text", tags = ["medication"], labels = { en = "Product" } }
reason  = { type = "text", tags = ["medication", "treatments"] }
dose    = { type = "decimal", unit = "mg", tags = ["medication"] }
start   = { type = "date", tags = ["treatments"] }

[tables.scan]
patient = "patnr"
[tables.scan.columns]
patnr  = { type = "text", key = true }
at     = { type = "time", tags = ["treatments"] }
count  = { type = "integer", tags = ["treatments"] }
normal = { type = "boolean", tags = ["treatments"] }
image  = { type = "bytes", tags = ["treatments"] }

[tables.doctor]
patient = { through = "use", on = "episode" }
[tables.doctor.columns]
episode = { type = "text", key = true }
name    = { type = "text", tags = ["staff"] }
"#;

pub(crate) const USE: &str = "\
patnr,episode,product,reason,dose,start
PAT-4711,EPI-1,aspirin,angina,80.0,2024-01-01
PAT-4712,EPI-2,metformin,diabetes,500,2023-05-05
PAT-4711,EPI-2,,,,
PAT-4711,EPI-1,\"losartan, \"\"low\"\"\",pressure,50,2024-02-29
";

pub(crate) const SCAN: &str = "\
patnr,at,count,normal,image
PAT-4711,2024-01-01T10:00:00+01:00,-3,false,AAEC
PAT-4713,2024-01-02T10:00:00Z,7,true,
";

pub(crate) const DOCTOR: &str = "\
episode,name
EPI-1,Jansen
EPI-2,Pietersen
EPI-9,Nobody
";

/// A table of documents, beside the CSV files.
pub(crate) const LETTERS: &str = r#"
[sources.post]
type = "documents"
path = "letters"
[tables.letter]
from = "post"
select = "{patnr}.pdf"
patient = "patnr"
[tables.letter.columns]
patnr = { type = "text", key = true }
letter = { type = "bytes", path = "@content", tags = ["treatments"] }
"#;

/// A document that is an object of its own.
pub(crate) fn letter(filling: &str) -> String {
    format!("%PDF-{}", filling.repeat(100_000))
}

/// What must never be readable in any file of the lake.
pub(crate) const SECRETS: [&str; 13] = [
    "PAT-4711",
    "PAT-4712",
    "PAT-4713",
    "EPI-1",
    "EPI-2",
    "aspirin",
    "metformin",
    "losartan",
    "angina",
    "diabetes",
    "Jansen",
    "Pietersen",
    "Nobody",
];

/// A source folder and a lake beside it.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        shared::remove(self.folder.path());
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        world.write("catalogue.toml", CATALOGUE);
        world.write("use.csv", USE);
        world.write("scan.csv", SCAN);
        world.write("doctor.csv", DOCTOR);
        world
    }

    /// A source without files.
    pub(crate) fn empty() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(world.source()).unwrap();
        shared::make(world.folder.path());
        world
    }

    /// Where the lake is.
    pub(crate) fn place(&self) -> Place {
        place(self.folder.path())
    }

    /// Every object of the lake, by its path in the raw zone.
    pub(crate) fn raw(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        shared::objects(self.folder.path()).unwrap_or_else(|| files(&self.root().join("raw")))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        fs::write(self.source().join(file), content).unwrap();
    }

    /// Everything that the lake holds, in files and at servers.
    pub(crate) fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut stored = files(self.folder.path());
        stored.retain(|path, _| !path.starts_with("source"));
        stored.extend(shared::stored(self.folder.path()));
        stored
    }

    /// One of the lake's databases.
    pub(crate) fn database(&self, half: Half) -> Connection {
        let tables = match half {
            Half::Index => index::SCHEMA.as_str(),
            Half::Keys => keys::SCHEMA,
        };
        self.place().databases().open(half, tables).unwrap()
    }

    /// Where the objects are; their folder when they are in one.
    pub(crate) fn store(&self) -> (Arc<dyn ObjectStore>, Option<PathBuf>) {
        let raw = self.root().join("raw");
        match self.place().objects {
            Some(bucket) => (bucket.open().unwrap(), None),
            None => (Arc::new(LocalFileSystem::new_with_prefix(&raw).unwrap()), Some(raw)),
        }
    }

    /// Waits until everybody knows that a process that had the lake open is dead.
    pub(crate) fn settle(&self) {
        shared::settle(self.folder.path());
    }

    /// Writes over an object, or removes it.
    pub(crate) fn damage(&self, object: &Path, bytes: Option<&[u8]>) {
        if shared::is_used() {
            return shared::damage(self.folder.path(), object, bytes);
        }
        let path = self.root().join("raw").join(object);
        match bytes {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }

    /// The same source with a copy of the same lake.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        for (path, bytes) in files(self.folder.path()) {
            let path = copy.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        shared::copy(self.folder.path(), copy.folder.path());
        copy
    }

    pub(crate) fn open(&self) -> Lake {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Lake, OpenError> {
        open(self.folder.path())
    }

    /// A lake that holds the source, with persons 1 to 3 linked to the three patients.
    pub(crate) fn filled(&self) -> Lake {
        let lake = self.open();
        lake.ingest(&self.source()).unwrap();
        for (byte, number) in [(1, "PAT-4711"), (2, "PAT-4712"), (3, "PAT-4713")] {
            lake.link(person(byte), number).unwrap();
        }
        lake
    }
}

/// Where the lake of a [`World`] in a folder is: in the folder, or [at servers](shared).
pub(crate) fn place(folder: &Path) -> Place {
    let root = folder.join("lake");
    shared::place(folder).unwrap_or_else(|| Place::folder(root))
}

/// Opens the lake of a [`World`] in a folder.
pub(crate) fn open(folder: &Path) -> Result<Lake, OpenError> {
    let keks = Lake::keks_beside(&folder.join("lake"), &kek());
    Lake::open_at(&place(folder), Arc::new(keks))
}

/// Whether a step is the first of its kind: who is refused because somebody else is at it waits a
/// while before, too long to try it at each.
pub(crate) fn is_first<T>(seen: &mut Vec<Discriminant<T>>, step: &T) -> bool {
    let kind = discriminant(step);
    let is_first = !seen.contains(&kind);
    if is_first {
        seen.push(kind);
    }
    is_first
}

pub(crate) fn kek() -> Kek {
    Kek::from_array([42; 32])
}

pub(crate) fn keks(world: &World) -> Arc<dyn Keks> {
    Arc::new(Lake::keks_beside(&world.root(), &kek()))
}

pub(crate) fn person(byte: u8) -> PatientId {
    PatientId::from_array([byte; 16])
}

/// The cells that carry one of these tags.
pub(crate) fn cells(lake: &Lake, tags: &[&str]) -> BTreeSet<CellId> {
    let catalogue = lake.catalogue().unwrap().unwrap();
    let tags: Vec<Name> = tags.iter().map(|tag| Name::new(*tag).unwrap()).collect();
    catalogue.vocabulary().cells_of(&tags).unwrap().into_iter().collect()
}

pub(crate) fn permit(
    lake: &Lake,
    who: PatientId,
    cells: BTreeSet<CellId>,
    key: &OpeningKey,
) -> Permit {
    let version = lake.catalogue().unwrap().unwrap().version();
    fixture::permit(request(), who, cells, *key.recipient(), version)
}

/// A request like no other: each is answered once.
pub(crate) fn request() -> RequestId {
    RequestId::from_array(crate::crypt::random())
}

/// Reads with a permit for these cells and opens what comes.
pub(crate) fn read(
    lake: &Lake,
    who: PatientId,
    cells: BTreeSet<CellId>,
) -> Result<Part, ReadError> {
    let key = OpeningKey::generate();
    let permit = permit(lake, who, cells, &key);
    Ok(opened(&key, &permit, &lake.read(&permit)?))
}

pub(crate) fn opened(key: &OpeningKey, permit: &Permit, delivery: &Delivery) -> Part {
    let answer = Answer { request: permit.request(), receipt: permit.receipt() };
    Part::from_bytes(&key.open(&answer, &delivery.sealed).unwrap()).unwrap()
}

/// What everybody is shown by a lake.
pub(crate) fn everything(lake: &Lake) -> Vec<String> {
    let shown = |byte| lines(&read(lake, person(byte), cells(lake, &["all"])).unwrap());
    [1, 2, 3].into_iter().flat_map(shown).collect()
}

/// A part as text: a line per table and row.
pub(crate) fn lines(part: &Part) -> Vec<String> {
    let mut lines = Vec::new();
    for table in &part.tables {
        let columns: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        lines.push(format!("{}: {}", table.name, columns.join(" ")));
        lines.extend(table.rows.iter().map(|row| serde_json::to_string(row).unwrap()));
    }
    lines
}

/// Everything of the patient with this number of the centre, linked for as long as it is read.
pub(crate) fn shown(lake: &Lake, number: &str) -> Vec<String> {
    lake.link(person(1), number).unwrap();
    let shown = lines(&read(lake, person(1), cells(lake, &["all"])).unwrap());
    lake.unlink(person(1)).unwrap();
    shown
}

/// Ingests the source into a new lake, takes all of its objects away, and looks whether the same come
/// again.
pub(crate) fn comes_again(world: &World) {
    let lake = world.open();
    lake.ingest(&world.source()).unwrap();
    let whole = world.raw();
    for path in whole.keys() {
        world.damage(path, None);
    }
    let report = lake.scrub(crate::ScrubOptions::default(), &mut |_| {}).unwrap();
    assert!(report.is_whole() && report.damaged.len() == whole.len(), "{report:?}");
    assert!(world.raw() == whole);
}

/// All packs, by their paths in the raw zone.
pub(crate) fn pack_files(world: &World, lake: &Lake) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = lake.index.look(|index| {
        let mut select = index.prepare_cached("SELECT name FROM pack")?;
        let names = select.query_map([], |row| row.get::<[u8; 32]>(0))?;
        names.map(|name| name.map(hex::encode)).collect::<Result<Vec<_>, _>>()
    });
    let names = names.unwrap();
    let mut found = world.raw();
    found.retain(|path, _| names.iter().any(|name| path.ends_with(name)));
    found
}

/// Every file under a folder, by its path in it.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}
