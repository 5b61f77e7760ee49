use super::*;
use crate::testing::{SECRETS, World, cells, person, read};
use crate::{Lake, ReadError, Value};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
documents = { en = "Documents" }
imaging = { en = "Imaging" }

[sources.papers]
type = "documents"
path = "papers"

[tables.letter]
from = "papers"
select = "{patnr}/{written}_{title}.pdf"
patient = "patnr"
[tables.letter.columns]
patnr   = { type = "text", key = true }
written = { type = "date", tags = ["documents"] }
title   = { type = "text", tags = ["documents"] }
media   = { type = "text", path = "@media", tags = ["documents"] }
size    = { type = "integer", path = "@size", tags = ["documents"] }
content = { type = "bytes", path = "@content", tags = ["documents"] }

[tables.photo]
from = "papers"
select = "photos/{patnr}.jpg"
patient = "patnr"
[tables.photo.columns]
patnr   = { type = "text", key = true }
content = { type = "bytes", path = "@content", tags = ["imaging"] }
"#;

fn pdf(length: usize, filling: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    bytes.extend(filling.bytes().cycle().take(length));
    bytes
}

fn world() -> World {
    let world = World::empty();
    world.write("catalogue.toml", CATALOGUE);
    for folder in ["papers/PAT-4711", "papers/PAT-4712", "papers/photos"] {
        std::fs::create_dir_all(world.source().join(folder)).unwrap();
    }
    put(&world, "PAT-4711/2024-01-01_angina.pdf", &pdf(3 << 20, "aspirin"));
    put(&world, "PAT-4711/2024-01-02_small.pdf", &pdf(10, "angina"));
    put(&world, "PAT-4712/2024-01-01_other.pdf", &pdf(100_000, "metformin"));
    put(&world, "photos/PAT-4712.jpg", b"\xff\xd8\xff\xe0 a photo");
    put(&world, "PAT-4712/readme.txt", b"no document");
    world
}

fn put(world: &World, name: &str, content: &[u8]) {
    std::fs::write(world.source().join("papers").join(name), content).unwrap();
}

/// The letters of a patient, in the order of their paths.
fn letters(lake: &Lake, number: &str) -> Result<Vec<Vec<Value>>, ReadError> {
    lake.link(person(1), number).unwrap();
    let part = read(lake, person(1), cells(lake, &["documents"]));
    lake.unlink(person(1)).unwrap();
    Ok(part?.tables.swap_remove(0).rows)
}

#[test]
fn documents_are_tagged_and_come_back_byte_by_byte_to_their_patient_only() {
    let world = world();
    let lake = world.open();
    let report = lake.ingest(&world.source()).unwrap();
    assert_eq!((report.patients, report.rows, report.rows_without_patient), (2, 4, 0));
    let rows = letters(&lake, "PAT-4711").unwrap();
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0][1..4], [text("angina"), text("application/pdf"), Value::Integer(3_145_737)]);
    assert!(rows[0][4] == Value::Bytes(pdf(3 << 20, "aspirin")));
    assert!(rows[1][4] == Value::Bytes(pdf(10, "angina")));
    assert!(letters(&lake, "PAT-4712").unwrap()[0][4] == Value::Bytes(pdf(100_000, "metformin")));
    for (path, bytes) in world.stored() {
        for secret in SECRETS {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    }
}

#[test]
fn a_document_is_stored_once_however_often_its_folder_changes() {
    let world = world();
    let lake = world.open();
    lake.ingest(&world.source()).unwrap();
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    put(&world, "PAT-4711/2024-01-03_new.pdf", &pdf(10, "new"));
    let report = lake.ingest(&world.source()).unwrap();
    assert!(report.bytes < 10_000, "the large ones are there already: {}", report.bytes);
    assert_eq!(letters(&lake, "PAT-4711").unwrap().len(), 3);
    // Nothing of it is swept away, and a lake that is opened anew finds it.
    drop(lake);
    let lake = world.open();
    put(&world, "PAT-4711/2024-01-03_new.pdf", &pdf(20, "newer"));
    lake.ingest(&world.source()).unwrap();
    assert!(letters(&lake, "PAT-4711").unwrap()[0][4] == Value::Bytes(pdf(3 << 20, "aspirin")));
}

#[test]
fn a_missing_cut_or_altered_document_fails_the_read() {
    let world = world();
    world.open().ingest(&world.source()).unwrap();
    let stored = world.raw();
    let (path, bytes) = stored.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut flipped = bytes.clone();
    flipped[2_000_000] ^= 1;
    for (content, word) in [(&flipped[..], "altered"), (&bytes[..bytes.len() - 1], "cut")] {
        world.damage(path, Some(content));
        let error = letters(&world.open(), "PAT-4711").unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert!(letters(&world.open(), "PAT-4712").is_ok());
    }
    world.damage(path, None);
    assert!(letters(&world.open(), "PAT-4711").unwrap_err().to_string().contains("missing"));
    world.damage(path, Some(bytes));
    assert!(letters(&world.open(), "PAT-4711").is_ok());
}

#[test]
fn what_a_part_cannot_carry_is_refused_and_says_what_to_do() {
    let world = world();
    for (year, letter) in (2000..2003).zip(["a", "b", "c"]) {
        put(&world, &format!("PAT-4712/{year}-01-01_{letter}.pdf"), &pdf(22 << 20, letter));
    }
    let lake = world.open();
    lake.ingest(&world.source()).unwrap();
    let error = letters(&lake, "PAT-4712").unwrap_err();
    assert!(matches!(error, ReadError::TooLarge), "{error:?}");
    assert!(error.to_string().contains("ask for fewer tags"), "{error}");
    assert_eq!(letters(&lake, "PAT-4711").unwrap().len(), 2);
}

#[test]
fn what_is_no_document_or_too_large_is_named() {
    let world = world();
    put(&world, "PAT-4711/2024-01-04_fake.pdf", b"MZ no PDF");
    let large = std::fs::File::create(world.source().join("papers/photos/x.jpg")).unwrap();
    large.set_len(DOCUMENT_MAX + 1).unwrap();
    put(&world, "PAT-4711/yesterday_x.pdf", &pdf(1, "x"));
    let report = crate::check(&world.source()).to_string();
    assert_eq!(
        report.lines().collect::<Vec<_>>(),
        [
            "papers/PAT-4711/2024-01-04_fake.pdf: the file is not what its name says; PDF, PNG and JPEG are taken by their content",
            "papers/PAT-4711/yesterday_x.pdf: column `written` is not a date (YYYY-MM-DD)",
            "papers/photos/x.jpg: the document is larger than 66060288 bytes, more than a part can carry; leave it out of the source",
            "3 holes; 2 tables and 5 rows read",
        ]
    );
}
