//! What was there can be read as of the time when it was; what is still there is stored once.

use super::*;
use crate::index::vault::hub_counts;
use crate::sealed::OpeningKey;
use crate::testing::{SCAN, cells, lines, opened, pack_files, permit};
use crate::{Asking, ReadError};
use aegle_model::Timestamp;
use aegle_vault::Hub;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What person `byte` is shown with these tags as of a time.
fn shown(
    lake: &Lake,
    byte: u8,
    tags: &[&str],
    as_of: Option<Timestamp>,
) -> Result<Vec<String>, ReadError> {
    let key = OpeningKey::generate();
    let permit = permit(lake, person(byte), cells(lake, tags), &key);
    Ok(lines(&opened(
        &key,
        &permit,
        &lake.read_as(&permit, &Asking { as_of, ..Asking::default() })?,
    )))
}

fn all(lake: &Lake, as_of: Timestamp) -> Vec<String> {
    let shown = |byte| shown(lake, byte, &["all"], Some(as_of)).unwrap();
    [1, 2, 3].into_iter().flat_map(shown).collect()
}

#[test]
fn a_record_can_be_read_as_of_every_load() {
    let world = World::new();
    let lake = world.filled();
    let first = everything(&lake);
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    report(&world, &lake);
    let second = everything(&lake);
    world.write("scan.csv", SCAN.lines().next().unwrap());
    report(&world, &lake);
    let third = everything(&lake);
    let loads = lake.loads().unwrap();
    assert_eq!(loads.len(), 3);
    assert!(loads.is_sorted());
    assert_eq!([0, 1, 2].map(|load| all(&lake, loads[load])), [first, second.clone(), third]);
    assert_eq!(all(&lake, Timestamp(loads[2].0 - 1)), second);
    assert_eq!(all(&lake, Timestamp(loads[0].0 - 1)), Vec::<String>::new());
    assert_eq!(all(&lake, Timestamp(u64::MAX)), everything(&lake));
}

#[test]
fn rows_that_are_still_there_are_not_stored_again() {
    let world = World::new();
    let lake = world.filled();
    let more = format!("{USE}PAT-4712,EPI-2,insulin,diabetes,10,2024-03-03\n");
    world.write("use.csv", &more);
    let grown = report(&world, &lake);
    assert_eq!((grown.rows, grown.frames), (9, 3), "one row, cut into three cells");
    // The same rows in another order are the same rows.
    let mut lines: Vec<_> = more.lines().collect();
    lines[1..].reverse();
    world.write("use.csv", &lines.join("\n"));
    let packs = pack_files(&world, &lake);
    let turned = report(&world, &lake);
    assert_eq!((turned.frames, turned.unchanged), (0, false));
    assert!(pack_files(&world, &lake) == packs, "only manifests were written");
    // One of two equal rows is one more.
    world.write("use.csv", &format!("{more}PAT-4712,EPI-2,insulin,diabetes,10,2024-03-03\n"));
    assert_eq!(report(&world, &lake).frames, 3);
    world.write("use.csv", &more);
    assert_eq!(report(&world, &lake).frames, 0);
    assert_eq!(everything(&lake).iter().filter(|line| line.contains("insulin")).count(), 1);
}

#[test]
fn a_table_that_leaves_the_catalogue_ends_and_begins_when_it_returns() {
    let world = World::new();
    let lake = world.filled();
    let before = everything(&lake);
    let version =
        |text: &str, version: u32| text.replace("version = 1", &format!("version = {version}"));
    let without = CATALOGUE
        .split("[tables.doctor]")
        .next()
        .unwrap()
        .replace("staff = { en = \"Staff\" }", "");
    world.write("catalogue.toml", &version(&without, 2));
    report(&world, &lake);
    assert!(!everything(&lake).iter().any(|line| line.contains("Jansen")));
    world.write("catalogue.toml", &version(CATALOGUE, 3));
    assert_eq!(report(&world, &lake).frames, 2);
    assert_eq!(everything(&lake), before);
    let loads = lake.loads().unwrap();
    assert_eq!(all(&lake, loads[0]), before);
    assert!(!all(&lake, loads[1]).iter().any(|line| line.contains("Jansen")));
}

#[test]
fn what_carried_other_tags_then_is_shown_only_when_the_permit_reaches_all_of_it() {
    let world = World::new();
    let lake = world.filled();
    let text = CATALOGUE.replace("version = 1", "version = 2").replace(
        r#"dose    = { type = "decimal", unit = "mg", tags = ["medication"] }"#,
        "dose    = { type = \"decimal\", unit = \"mg\", tags = [\"staff@2\"] }\nroute = { type = \"text\", tags = [\"medication\"], since = 2 }",
    );
    world.write("catalogue.toml", &text);
    let rows = USE.lines().enumerate().map(|(line, row)| match line {
        0 => format!("{row},route\n"),
        _ => format!("{row},oral\n"),
    });
    world.write("use.csv", &rows.collect::<String>());
    report(&world, &lake);
    let then = lake.loads().unwrap()[0];
    let now = shown(&lake, 2, &["medication"], None).unwrap();
    assert_eq!(now[..2], ["use: product reason route", r#"["metformin","diabetes","oral"]"#]);
    // The dose lay in one frame with the product then; who may not see it may not have it opened.
    let error = shown(&lake, 2, &["medication"], Some(then)).unwrap_err();
    assert!(matches!(error, ReadError::OtherCut { table } if table == "use"));
    let whole = shown(&lake, 2, &["all"], Some(then)).unwrap();
    assert_eq!(
        whole[..2],
        [
            "use: product reason dose route start",
            r#"["metformin","diabetes","500",null,"2023-05-05"]"#
        ]
    );
    assert_eq!(
        shown(&lake, 2, &["treatments"], Some(then)).unwrap()[1],
        r#"["diabetes","2023-05-05"]"#,
        "these frames are cut as they were"
    );
}

#[test]
fn hubs_have_one_row_per_business_key_and_nothing_readable() {
    let world = World::new();
    let text = CATALOGUE
        .replace(
            r#"name    = { type = "text","#,
            r#"name    = { type = "text", hub = "person:professional","#,
        )
        .replace(
            r#"product = { type = "text","#,
            r#"product = { type = "text", hub = "object:medicine","#,
        )
        .replace(
            r#"episode = { type = "text", key = true"#,
            r#"episode = { type = "text", key = true, hub = "event:episode""#,
        )
        .replace(r#"start   = { type = "date","#, r#"start   = { type = "date", hub = "time","#);
    world.write("catalogue.toml", &text);
    // A doctor who bears the number of a patient.
    world.write("doctor.csv", &DOCTOR.replace("Jansen", "PAT-4711"));
    let lake = world.filled();
    let counts = |lake: &Lake| lake.lookup.read(hub_counts).unwrap();
    let expected = [
        (Hub::Time, 3),
        // Three patients; three doctors of whom two are in some patient's rows.
        (Hub::Person, 5),
        (Hub::Object, 3),
        (Hub::Location, 0),
        // 4711 has two episodes, 4712 one of the same number, whatever table speaks of them.
        (Hub::Event, 3),
    ];
    assert_eq!(counts(&lake), expected);
    world.write("use.csv", &USE.replace("80.0", "81.0"));
    report(&world, &lake);
    assert_eq!(counts(&lake), expected, "the same episodes, medicines and days");
    for (path, bytes) in world.stored() {
        for secret in crate::testing::SECRETS {
            let shown = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!shown, "{} shows {secret}", path.display());
        }
    }
}

/// Rows of a few patients with a few values, so that loads meet.
fn source() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    proptest::collection::vec((0..3_u8, 0..2_u8, 0..3_u8), 0..8)
}

/// A patient, an event and a value for each row.
const SMALL: &str = r#"
centre = "X"
version = 1
language = "en"
[tags]
a = {}
[tables.t]
patient = "p"
[tables.t.columns]
p = { type = "text", key = true }
e = { type = "text", key = true, hub = "event" }
v = { type = "text", tags = ["a"] }
"#;

fn load(world: &World, lake: &Lake, rows: &[(u8, u8, u8)]) -> bool {
    let line = |(patient, event, value): &(u8, u8, u8)| format!("P{patient},{event},{value}\n");
    let rows: String = rows.iter().map(line).collect();
    world.write("t.csv", &format!("p,e,v\nP9,0,0\n{rows}"));
    report(world, lake).unchanged
}

/// The values of a patient, sorted.
fn values(lake: &Lake, patient: u8, as_of: Option<Timestamp>) -> Vec<String> {
    let mut lines = shown(lake, patient + 1, &["a"], as_of).unwrap_or_default();
    lines.retain(|line| line.starts_with('['));
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Loading once more, loading all in one, and reading as of any load agree.
    #[test]
    fn as_of_a_load_is_what_a_lake_shows_that_was_filled_up_to_it(
        loads in proptest::collection::vec(source(), 1..5)
    ) {
        let world = World::empty();
        world.write("catalogue.toml", SMALL);
        let lake = world.open();
        let mut expected = Vec::new();
        for rows in &loads {
            if load(&world, &lake, rows) {
                continue;
            }
            prop_assert!(load(&world, &lake, rows), "the same again is nothing new");
            expected.push(rows.clone());
        }
        for patient in 0..3 {
            // Who was never there is not linked, and is shown nothing.
            let _ = lake.link(person(patient + 1), &format!("P{patient}"));
        }
        let linked: BTreeSet<u8> =
            (0..3).filter(|patient| lake.is_linked(person(patient + 1)).unwrap()).collect();
        for (rows, as_of) in expected.iter().zip(lake.loads().unwrap()) {
            for patient in &linked {
                let own = rows.iter().filter(|(owner, ..)| owner == patient);
                let mut own: Vec<_> = own.map(|(.., value)| format!("[\"{value}\"]")).collect();
                own.sort();
                prop_assert_eq!(values(&lake, *patient, Some(as_of)), own);
            }
        }
        let last = lake.loads().unwrap().pop();
        for patient in linked {
            prop_assert_eq!(values(&lake, patient, None), values(&lake, patient, last));
        }
    }
}
