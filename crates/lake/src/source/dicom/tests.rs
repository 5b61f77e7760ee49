use super::*;
use crate::testing::{World, cells, comes_again, lines, person, read};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
imaging = { en = "Imaging" }

[sources.pacs]
type = "dicom"
path = "images"

[tables.image]
from = "pacs"
where = { Modality = "CT" }
patient = "patnr"
[tables.image.columns]
patnr   = { type = "text", path = "PatientID", key = true }
taken   = { type = "date", path = "(0008,0020)", tags = ["imaging"] }
about   = { type = "text", path = "StudyDescription", tags = ["imaging"] }
kinds   = { type = "text", path = "ImageType", tags = ["imaging"] }
rows    = { type = "integer", path = "Rows", tags = ["imaging"] }
size    = { type = "integer", path = "@size", tags = ["imaging"] }
content = { type = "bytes", path = "@content", tags = ["imaging"] }
"#;

const EXPLICIT: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_le_bytes()
}

fn element(tag: (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    value.resize(value.len().next_multiple_of(2), if vr == "UI" { 0 } else { b' ' });
    let head = [&tag.0.to_le_bytes()[..], &tag.1.to_le_bytes(), vr.as_bytes()].concat();
    let length = if ["OB", "OW", "SQ"].contains(&vr) {
        [&[0, 0][..], &length(&value)].concat()
    } else {
        length(&value)[..2].to_vec()
    };
    [head, length, value].concat()
}

fn file(syntax: &str, data: &[Vec<u8>]) -> Vec<u8> {
    let meta = element((2, 0x10), "UI", syntax.as_bytes());
    let head = element((2, 0), "UL", &length(&meta));
    [vec![0; 128], b"DICM".to_vec(), head, meta, data.concat()].concat()
}

fn image(patient: &str, modality: &str) -> Vec<u8> {
    let nested = element((0x10, 0x20), "LO", b"nested");
    let item = [&[0xfe, 0xff, 0x00, 0xe0][..], &length(&nested), &nested].concat();
    file(
        EXPLICIT,
        &[
            element((8, 5), "CS", b"ISO_IR 100"),
            element((8, 8), "CS", b"ORIGINAL\\PRIMARY"),
            element((8, 0x20), "DA", b"20240229"),
            element((8, 0x60), "CS", modality.as_bytes()),
            element((8, 0x1030), "LO", b"Sch\xe4del"),
            element((8, 0x1140), "SQ", &item),
            element((0x10, 0x20), "LO", patient.as_bytes()),
            element((0x28, 0x10), "US", &512_u16.to_le_bytes()),
            element((0x7fe0, 0x10), "OW", &vec![7; 300_000]),
        ],
    )
}

fn world() -> World {
    let world = World::empty();
    world.write("catalogue.toml", CATALOGUE);
    std::fs::create_dir(world.source().join("images")).unwrap();
    put(&world, "a.dcm", &image("4711", "CT"));
    put(&world, "b.dcm", &image("4711", "MR"));
    put(&world, "c.DCM", &image("4712", "CT"));
    world
}

fn put(world: &World, name: &str, content: &[u8]) {
    std::fs::write(world.source().join("images").join(name), content).unwrap();
}

#[test]
fn attributes_are_columns_and_the_file_comes_back_whole() {
    let world = world();
    let lake = world.open();
    let report = lake.ingest(&world.source()).unwrap();
    assert_eq!((report.patients, report.rows), (2, 2));
    lake.link(person(1), "4711").unwrap();
    let part = read(&lake, person(1), cells(&lake, &["imaging"])).unwrap();
    let shown = lines(&part);
    let start = r#"["2024-02-29","Schädel","ORIGINAL\\PRIMARY",512,300"#;
    assert!(shown[1].starts_with(start), "{}", &shown[1][..80]);
    assert!(part.tables[0].rows[0][5] == crate::Value::Bytes(image("4711", "CT")));
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
}

#[test]
fn what_was_lost_comes_again_from_the_source() {
    comes_again(&world());
}

#[test]
fn what_is_no_dicom_file_is_named() {
    let world = world();
    let start = image("4711", "CT");
    put(&world, "d.dcm", b"no image");
    put(&world, "e.dcm", &start[..250]);
    put(&world, "f.dcm", &file("1.2.3", &[]));
    let report = crate::check(&world.source()).to_string();
    let hole = |name| {
        format!(
            "images/{name}.dcm: the record is no DICOM file that is read here; the rest of it was not read"
        )
    };
    let expected =
        [hole("d"), hole("e"), hole("f"), "3 holes; 1 tables and 2 rows read".to_owned()];
    assert_eq!(report.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_hostile_length_or_depth_costs_nothing() {
    let world = world();
    let huge = [0xfe, 0xff, 0xff, 0xff];
    let long = [&[0x10, 0, 0x20, 0][..], b"UT\0\0", &huge].concat();
    put(&world, "d.dcm", &file(EXPLICIT, &[long]));
    let open = [&[8, 0, 0x40, 0x11][..], b"SQ\0\0", &[0xff; 4], &[0xfe, 0xff, 0, 0xe0], &[0xff; 4]];
    put(&world, "e.dcm", &file(EXPLICIT, &vec![open.concat(); 500_000]));
    let report = crate::check(&world.source()).to_string();
    assert!(report.ends_with("2 holes; 1 tables and 2 rows read"), "{report}");
}

proptest::proptest! {
    #[test]
    fn no_file_makes_reading_panic(place in 132..600_usize, bytes: Vec<u8>) {
        let world = world();
        let mut content = image("4711", "CT");
        content.splice(place..place + bytes.len().min(8), bytes);
        put(&world, "a.dcm", &content);
        proptest::prop_assert!(!crate::check(&world.source()).to_string().is_empty());
    }
}
