use super::*;
use crate::testing::{CATALOGUE, DOCTOR, USE, World, everything, is_first, person, shared};
use crate::{LinkError, ObjectError};

mod history;
mod kill;

fn report(world: &World, lake: &Lake) -> IngestReport {
    lake.ingest(&world.source()).unwrap()
}

fn refused(world: &World, lake: &Lake) -> String {
    lake.ingest(&world.source()).unwrap_err().to_string()
}

#[test]
fn an_ingest_tells_what_it_did_and_the_same_source_changes_nothing() {
    let world = World::new();
    let lake = world.open();
    let first = report(&world, &lake);
    // `use` has 3 cells and 2 patients, `scan` 1 and 2, `doctor` 1 and 2.
    assert_eq!((first.patients, first.rows, first.frames), (3, 8, 10));
    assert_eq!((first.rows_without_patient, first.unchanged), (1, false));
    let stored = world.raw();
    assert_eq!(stored.values().map(Vec::len).sum::<usize>() as u64, first.bytes);
    let again = report(&world, &lake);
    let unchanged = IngestReport { frames: 0, bytes: 0, unchanged: true, ..first };
    assert_eq!(again, unchanged);
    assert_eq!(report(&world, &world.open()), unchanged);
    assert_eq!(world.raw(), stored);
}

#[test]
fn a_changed_file_replaces_its_table_and_what_it_replaces_stays_in_raw() {
    let world = World::new();
    let lake = world.filled();
    let (before, raw) = (everything(&lake), world.raw());
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen").replace("PAT-4712", "PAT-4711"));
    let changed = report(&world, &lake);
    assert!(!changed.unchanged);
    let after = everything(&lake);
    assert!(after.contains(&r#"["ibuprofen","angina","80.0","2024-01-01"]"#.to_owned()));
    assert!(!after.iter().any(|line| line.contains("aspirin")));
    // Both doctors are 4711's now, and 4712 is in no table any more.
    assert_eq!(changed.patients, 2);
    assert!(matches!(lake.link(person(9), "PAT-4712"), Err(LinkError::NoSuchPatient)));
    let now = world.raw();
    assert!(raw.keys().all(|path| now.contains_key(path)) && now.len() > raw.len());
    world.write("use.csv", USE);
    let back = report(&world, &lake);
    // One row of each patient, of 3 cells, and the doctor of 4712, of one.
    assert_eq!(back.frames, 7, "only what came back is stored again");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(everything(&lake)), sorted(before));
}

#[test]
fn rows_that_are_looked_up_follow_the_other_table() {
    let world = World::new();
    let lake = world.filled();
    world.write("use.csv", &USE.replace("PAT-4712,EPI-2", "PAT-4712,EPI-1"));
    report(&world, &lake);
    let shown = everything(&lake);
    let doctors = shown.iter().filter(|line| line.contains("Jansen")).count();
    assert_eq!(doctors, 2, "doctor.csv is the same, its rows belong to others");
}

#[test]
fn a_new_catalogue_version_moves_columns_between_cells() {
    let world = World::new();
    let lake = world.filled();
    let grown = CATALOGUE.replace("version = 1", "version = 2");
    let grown = grown.replace(
        r#"type = "date", tags = ["treatments"]"#,
        r#"type = "date", tags = ["treatments", "medication@2"]"#,
    );
    world.write("catalogue.toml", &grown);
    let before = everything(&lake);
    let report = report(&world, &lake);
    assert_eq!(everything(&lake), before, "who is shown all is shown the same");
    let cells = |version: &str| Catalogue::parse(version).unwrap().vocabulary().cells.len();
    assert_eq!((cells(CATALOGUE), cells(&grown)), (4, 5));
    assert_eq!(report.frames, 6, "only `use` is written again, with other cells");
}

#[test]
fn labels_may_change_without_writing_a_row_again() {
    let world = World::new();
    let lake = world.filled();
    let text = CATALOGUE.replace("version = 1", "version = 2").replace("Product", "Medicine");
    world.write("catalogue.toml", &text);
    let report = report(&world, &lake);
    assert_eq!((report.frames, report.unchanged), (0, false));
    assert_eq!(lake.catalogue().unwrap().unwrap().version(), 2);
}

#[test]
fn a_catalogue_that_does_not_follow_the_last_is_refused() {
    let world = World::new();
    let lake = world.filled();
    world.write("catalogue.toml", &CATALOGUE.replace("Medication", "Drugs"));
    assert_eq!(
        refused(&world, &lake),
        "catalogue version 1 is already known with another content; count the version up"
    );
    world.write("catalogue.toml", &CATALOGUE.replace("ZMC", "USTAN"));
    assert_eq!(
        refused(&world, &lake),
        "the lake holds data of centre `ZMC`, the source is of `USTAN`"
    );
    world.write("catalogue.toml", &CATALOGUE.replace("version = 1", "version = 3"));
    report(&world, &lake);
    world.write("catalogue.toml", &CATALOGUE.replace("version = 1", "version = 2"));
    assert_eq!(
        refused(&world, &lake),
        "the lake holds catalogue version 3; the source has the older version 2"
    );
}

#[test]
fn a_source_with_holes_is_refused_whole() {
    let world = World::new();
    let lake = world.filled();
    let before = everything(&lake);
    let long = format!("{USE}PAT-4711,\"{}", "x".repeat(3 << 20));
    for (content, hole) in [
        (USE.replace("80.0", "eighty"), "use.csv, line 2: column `dose` is not a decimal number"),
        (USE.replace(",angina", ""), "use.csv, line 2: the record does not have the 6 fields"),
        (long, "use.csv, line 6: a record is longer than 1048576 bytes"),
    ] {
        world.write("use.csv", &content);
        let error = refused(&world, &lake);
        assert!(error.contains(hole), "{error}");
        assert!(!error.contains("eighty") && !error.contains("4711"), "{error}");
    }
    std::fs::write(
        world.source().join("use.csv"),
        b"patnr,episode,product,reason,dose,start\nPAT-1,E,\xff,,,\n",
    )
    .unwrap();
    assert!(refused(&world, &lake).contains("use.csv, line 2: column `product` is not UTF-8"));
    std::fs::remove_file(world.source().join("use.csv")).unwrap();
    assert!(refused(&world, &lake).starts_with("could not read `use.csv` of the source"));
    world.write("catalogue.toml", "centre = 7");
    assert!(refused(&world, &lake).contains("catalogue.toml, line 1: invalid type"));
    assert_eq!(everything(&lake), before);
}

#[test]
fn two_ingests_at_once_do_not_meet() {
    let world = World::new();
    let lake = world.open();
    let mut seen = Vec::new();
    lake.ingest_with(&world.source(), &mut |step| {
        if is_first(&mut seen, step) {
            for other in [&lake, &world.open()] {
                assert!(matches!(other.ingest(&world.source()), Err(IngestError::Busy)));
            }
        }
    })
    .unwrap();
    assert_eq!(seen.len(), 5);
    assert!(report(&world, &lake).unchanged);
}

#[test]
fn a_source_that_changes_while_it_is_read_is_refused() {
    let world = World::new();
    let lake = world.filled();
    let before = everything(&lake);
    world.write("doctor.csv", &DOCTOR.replace("Jansen", "Janssen"));
    let error = lake.ingest_with(&world.source(), &mut |step| {
        if *step == Progress::Indexed {
            world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
        }
    });
    let Err(IngestError::SourceChanged(file)) = error else { panic!("{error:?}") };
    assert_eq!(file, "use.csv");
    assert_eq!(everything(&lake), before);
    assert!(!report(&world, &lake).unchanged);
}

#[test]
fn a_full_index_is_a_clear_error_and_nothing_is_half_visible() {
    if shared::is_used() {
        return; // The disk of a server that is full can not be had.
    }
    let world = World::new();
    let lake = world.filled();
    let (before, raw) = (everything(&lake), world.raw());
    let rows = (0..2000).map(|row| format!("PAT-{row},EPI-{row},x,x,1,2024-01-01\n"));
    world.write("use.csv", &(USE.to_owned() + &rows.collect::<String>()));
    lake.index.leave_room(3);
    let error = lake.ingest(&world.source()).unwrap_err();
    assert!(matches!(error, IngestError::Index(DatabaseError::Full(_))), "{error:?}");
    assert_eq!(everything(&lake), before);
    assert_eq!(world.raw(), raw);
    lake.index.leave_room(100_000);
    assert_eq!(report(&world, &lake).patients, 2003);
}

#[test]
fn many_patients_make_many_packs_and_every_one_is_found() {
    let world = World::empty();
    world.write("catalogue.toml", CATALOGUE);
    let filling = "x".repeat(10_000);
    let row = |row: u32| format!("P{},E{},{row},{filling},1.5,2024-01-01\n", row % 1500, row % 7);
    let header = USE.lines().next().unwrap();
    let rows: String = (0..3000).map(row).collect();
    world.write("use.csv", &format!("{header}\n{rows}"));
    world.write("scan.csv", "patnr,at,count,normal,image\n");
    world.write("doctor.csv", "episode,name\nE3,Jansen\n");
    let lake = world.open();
    let done = report(&world, &lake);
    assert_eq!((done.patients, done.rows), (1500, 3001));
    assert!(world.raw().len() > 3);
    for number in [0, 1, 749, 1499] {
        lake.link(person(1), &format!("P{number}")).unwrap();
        let shown = everything_of(&lake);
        let expected: Vec<_> = [number, number + 1500].map(|row| row.to_string()).to_vec();
        assert_eq!(shown, expected);
        lake.unlink(person(1)).unwrap();
    }
}

/// The products of person 1.
fn everything_of(lake: &Lake) -> Vec<String> {
    let part = crate::testing::read(lake, person(1), crate::testing::cells(lake, &["medication"]))
        .unwrap();
    part.tables[0]
        .rows
        .iter()
        .map(|row| serde_json::to_value(&row[0]).unwrap().as_str().unwrap().to_owned())
        .collect()
}
