//! What analysts see of the small source, and what they never do.

use super::*;
use crate::IngestError;
use crate::testing::{CATALOGUE, SECRETS, World};

/// The catalogue of the small source with everything that may appear.
fn open_catalogue() -> String {
    let mut text = CATALOGUE.to_owned();
    for (column, how) in [
        ("product = {", "code"),
        ("dose    = {", "value"),
        ("start   = {", "shift"),
        ("at     = {", "shift"),
        ("count  = {", "value"),
        ("normal = {", "value"),
    ] {
        assert!(text.contains(column), "{column}");
        text = text.replace(column, &format!("{column} analytics = \"{how}\","));
    }
    text
}

fn world() -> (World, Lake) {
    let world = World::new();
    world.write("catalogue.toml", &open_catalogue());
    let lake = world.filled();
    (world, lake)
}

/// Table, pseudonym and values of every row.
fn rows(lake: &Lake, project: &str) -> Vec<(String, String, Vec<Value>)> {
    let mut of = lake.deidentify(project).unwrap();
    let names: Vec<_> = of.tables().iter().map(|table| table.name.clone()).collect();
    let mut rows = Vec::new();
    let mut keep = |table: usize, patient: &str, values: &[Value]| {
        rows.push((names[table].clone(), patient.to_owned(), values.to_vec()));
    };
    while of.next(&mut keep).unwrap() {}
    rows
}

fn of_table(rows: &[(String, String, Vec<Value>)], table: &str) -> Vec<(String, Vec<Value>)> {
    let rows = rows.iter().filter(|(name, _, _)| name == table);
    rows.map(|(_, patient, values)| (patient.clone(), values.clone())).collect()
}

fn date(value: &Value) -> jiff::civil::Date {
    let Value::Date(date) = value else { panic!("{value:?} is no day") };
    *date
}

#[test]
fn only_what_the_catalogue_lets_appear_does() {
    let (_world, lake) = world();
    let of = lake.deidentify("study").unwrap();
    let columns = |table: &DeidentifiedTable| {
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        format!("{}: {}", table.name, names.join(" "))
    };
    let tables: Vec<_> = of.tables().iter().map(columns).collect();
    assert_eq!(tables, ["use: product dose start", "scan: at count normal"]);
    assert_eq!(of.left(), 3);
    drop(of);
    let shown = format!("{:?}", rows(&lake, "study"));
    let open = ["aspirin", "metformin", "losartan"];
    for secret in SECRETS.iter().filter(|secret| !open.contains(secret)) {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(shown.contains("aspirin"));
}

#[test]
fn nothing_appears_when_the_catalogue_says_nothing() {
    let world = World::new();
    let lake = world.filled();
    assert!(matches!(lake.deidentify("study"), Err(DeidentifyError::NoColumn)));
}

#[test]
fn days_of_a_patient_move_together() {
    let (_world, lake) = world();
    let rows = rows(&lake, "study");
    let uses = of_table(&rows, "use");
    let dated: Vec<_> = uses.iter().filter(|(_, values)| values[2] != Value::Null).collect();
    let of = |product: &str| {
        let is = |row: &&&(String, Vec<Value>)| row.1[0] == Value::Text(product.to_owned());
        *dated.iter().find(is).unwrap()
    };
    let aspirin = of("aspirin");
    let losartan = dated.iter().find(|(_, values)| format!("{:?}", values[0]).contains("low"));
    let losartan = *losartan.unwrap();
    assert_eq!(aspirin.0, losartan.0, "one patient, one pseudonym");
    // The source says 2024-01-01 and 2024-02-29.
    assert_eq!((date(&losartan.1[2]) - date(&aspirin.1[2])).get_days(), 59);
    let days = (date(&aspirin.1[2]) - jiff::civil::date(2024, 1, 1)).get_days();
    assert!(i64::from(days).abs() <= SHIFT_DAYS_MAX);
    // Its scan at 2024-01-01T10:00:00+01:00 moved as far, to the hour.
    let scans = of_table(&rows, "scan");
    let scan = scans.iter().find(|(patient, _)| *patient == aspirin.0).unwrap();
    let Value::Time(at) = &scan.1[0] else { panic!() };
    let source: Timestamp = "2024-01-01T09:00:00Z".parse().unwrap();
    assert_eq!(
        at.instant().duration_since(source),
        SignedDuration::from_hours(24 * i64::from(days))
    );
}

#[test]
fn projects_know_a_patient_by_different_pseudonyms_in_different_orders() {
    let (_world, lake) = world();
    let pseudonyms = |project: &str| {
        let mut pseudonyms: Vec<_> = rows(&lake, project).into_iter().map(|row| row.1).collect();
        pseudonyms.dedup();
        pseudonyms
    };
    let (one, again, other) = (pseudonyms("one"), pseudonyms("one"), pseudonyms("other"));
    assert_eq!(one, again);
    assert_eq!(one.len(), 3);
    assert!(one.is_sorted() && other.is_sorted());
    assert!(one.iter().all(|pseudonym| !other.contains(pseudonym)));
    // Neither is what the index calls a patient, and the secret survives a rotation.
    let secret = lake.keys.project("one").unwrap();
    let known = lake.lookup.read(|connection| patients(connection, &secret)).unwrap();
    assert_eq!(known.len(), one.len());
    assert!(known.iter().all(|(_, patient)| !one.contains(&hex::encode(patient))));
    lake.rotate_keys(&mut |_| {}).unwrap();
    assert_eq!(pseudonyms("one"), one);
}

#[test]
fn what_somebody_typed_is_no_code() {
    let long = "x".repeat(CODE_MAX + 1);
    for (text, shows) in [("I10", true), ("", true), ("two\nlines", false), (&*long, false)] {
        let value = Value::Text(text.to_owned());
        let expected = if shows { value.clone() } else { Value::Null };
        assert_eq!(shown(Analysed::Code, &value, 0), expected, "{text}");
    }
}

#[test]
fn a_year_is_all_that_is_told_and_times_lose_minutes() {
    let day = Value::Date(jiff::civil::date(1961, 5, 17));
    let time = |text: &str| Value::Time(text.parse().unwrap());
    for (how, value, days, expected) in [
        (Analysed::Year, day.clone(), 100, Value::Integer(1961)),
        (Analysed::Year, time("1961-05-17T10:20:30Z"), 100, Value::Integer(1961)),
        (Analysed::Year, time("1950-01-01T00:00:00+01:00"), 0, Value::Integer(1950)),
        (Analysed::Year, time("1949-12-31T23:30:00-05:00"), 0, Value::Integer(1949)),
        (Analysed::Year, time("0001-01-01T00:00:00Z"), 0, Value::Integer(1)),
        (Analysed::Shift, day.clone(), -17, Value::Date(jiff::civil::date(1961, 4, 30))),
        (Analysed::Shift, time("1961-05-17T23:59:30.5+02:00"), 1, time("1961-05-18T21:00:00Z")),
        (Analysed::Shift, Value::Date(jiff::civil::Date::MAX), 1, Value::Null),
        (Analysed::Value, day, 0, Value::Null),
        (Analysed::Value, Value::Null, 0, Value::Null),
    ] {
        assert_eq!(shown(how, &value, days), expected, "{how:?} {value:?}");
    }
}

#[test]
fn shifts_are_spread_over_the_year_both_ways() {
    let secret = MacKey::new(&[7; 32]);
    let shifts: Vec<_> = (0..=255_u8).map(|byte| shift(&secret, &[byte; 16])).collect();
    assert!(shifts.iter().all(|days| days.abs() <= SHIFT_DAYS_MAX));
    let distinct: BTreeSet<_> = shifts.iter().collect();
    assert!(distinct.len() > 150, "{}", distinct.len());
    assert!(shifts.iter().any(|days| *days < -100) && shifts.iter().any(|days| *days > 100));
}

#[test]
fn no_ingest_and_no_erasure_runs_beside_it() {
    let (world, lake) = world();
    let of = lake.deidentify("study").unwrap();
    assert!(matches!(lake.ingest(&world.source()), Err(IngestError::Busy)));
    let subject = lake.subject("PAT-4711").unwrap();
    assert!(matches!(lake.erase(&subject, &mut |_| {}), Err(crate::EraseError::Busy)));
    assert!(matches!(lake.deidentify("study"), Err(DeidentifyError::Busy)));
    drop(of);
    lake.erase(&subject, &mut |_| {}).unwrap();
}

#[test]
fn an_erasure_removes_every_table_and_the_patient_is_in_none_again() {
    let (world, lake) = world();
    let before = rows(&lake, "study");
    let project = Project::new(&world.root(), "study").unwrap();
    std::fs::write(project.tables().join("part"), b"rows").unwrap();
    std::fs::write(project.folder().join("log"), b"who asked").unwrap();
    let workspace = lake.create_workspace("anna").unwrap();
    assert!(workspace.join("analytics/study/part").exists());
    let subject = lake.subject("PAT-4711").unwrap();
    lake.erase(&subject, &mut |_| {}).unwrap();
    assert!(!world.root().join("analytics").exists());
    assert!(!workspace.join("analytics").exists() && workspace.join("catalogue.toml").exists());
    assert!(project.folder().join("log").exists());
    let after = rows(&lake, "study");
    let gone: Vec<_> = before.iter().filter(|row| !after.contains(row)).collect();
    assert!(after.iter().all(|row| before.contains(row)));
    assert!(!gone.is_empty() && gone.iter().all(|row| row.1 == gone[0].1));
    assert!(everything_is_read_as_before(&lake));
}

fn everything_is_read_as_before(lake: &Lake) -> bool {
    // The first of the three is erased.
    crate::testing::read(lake, crate::testing::person(2), crate::testing::cells(lake, &["all"]))
        .is_ok()
}

#[test]
fn tables_that_a_killed_erasure_left_are_removed_when_the_lake_is_opened() {
    let (world, lake) = world();
    drop(lake.deidentify("study").unwrap());
    let subject = lake.subject("PAT-4711").unwrap();
    lake.erase(&subject, &mut |_| {}).unwrap();
    let tables = Project::new(&world.root(), "study").unwrap().tables().to_owned();
    std::fs::create_dir_all(&tables).unwrap();
    std::fs::write(tables.join("part"), b"rows").unwrap();
    // As it was before the erasure was called done.
    lake.keys.change(|keys| keys.execute("UPDATE erasure SET epoch = NULL", [])).unwrap();
    drop(lake);
    drop(world.open());
    assert!(!tables.exists());
}

#[test]
fn tables_that_were_begun_before_an_erasure_elsewhere_count_for_nothing() {
    let (world, lake) = world();
    let of = lake.deidentify("study").unwrap();
    of.check().unwrap();
    let tables = Project::new(&world.root(), "study").unwrap().tables().to_owned();
    std::fs::create_dir_all(&tables).unwrap();
    // As another process does that shares the lake, when this one lost its lock to it.
    let erasure =
        "INSERT INTO erasure (salt, tombstone, rows, extents, epoch) VALUES (?1, ?1, 0, 0, 2)";
    lake.keys.change(|keys| keys.execute(erasure, [[7_u8; 16]])).unwrap();
    assert!(matches!(of.check(), Err(DeidentifyError::Erased)));
    assert!(!tables.exists());
    drop(of);
    lake.deidentify("study").unwrap().check().unwrap();
}

#[test]
fn a_project_has_a_plain_name() {
    for name in ["", "..", "a/b", "A", "1a", "a b", "é"] {
        assert!(Project::new(Path::new("lake"), name).is_err(), "{name}");
    }
    let project = Project::new(Path::new("lake"), "hip-2026").unwrap();
    assert_eq!(project.tables(), Path::new("lake/analytics/hip-2026"));
}

/// What becomes of `use` when a catalogue of version 2, changed by `change`, finds it broken, so that it
/// stays as version 1 has cut it.
fn of_kept_table(
    change: impl Fn(String) -> String,
) -> Result<Vec<(String, Vec<Value>)>, DeidentifyError> {
    let (world, lake) = world();
    let before = of_table(&rows(&lake, "study"), "use");
    let catalogue = open_catalogue().replace("version = 1", "version = 2");
    world.write("catalogue.toml", &change(catalogue));
    world.write("use.csv", &format!("{}PAT-4711,EPI-1,x,y,eighty,\n", crate::testing::USE));
    let error = lake.ingest(&world.source()).unwrap_err();
    assert!(matches!(error, IngestError::Quarantined(_)), "{error:?}");
    assert_eq!(lake.catalogue().unwrap().unwrap().version(), 2);
    let mut of = lake.deidentify("study")?;
    let place = of.tables().iter().position(|table| table.name == "use").unwrap();
    let mut rows = Vec::new();
    let mut keep = |table: usize, patient: &str, values: &[Value]| {
        if table == place {
            rows.push((patient.to_owned(), values.to_vec()));
        }
    };
    while of.next(&mut keep)? {}
    assert_eq!(rows.len(), before.len());
    Ok(rows)
}

#[test]
fn a_table_that_is_kept_as_an_earlier_catalogue_cut_it_appears_as_the_present_one_says() {
    let rows = of_kept_table(|text| {
        text.replace(
            "product = { analytics = \"code\", type = \"text\", tags = [\"medication\"]",
            "product = { type = \"text\", tags = [\"staff\"]",
        )
    });
    let shown: Vec<_> = rows.unwrap().into_iter().map(|(_, values)| values).collect();
    assert!(shown.iter().all(|values| values.len() == 2), "{shown:?}");
    let doses: BTreeSet<_> = shown.iter().map(|values| format!("{:?}", values[0])).collect();
    assert_eq!(doses.len(), 4, "{doses:?}");
}

#[test]
fn what_lay_with_a_column_that_was_removed_is_told_to_who_keeps_the_lake() {
    let product = "product = { analytics = \"code\", type = \"text\", tags = [\"medication\"], \
                   labels = { en = \"Product\" } }\n";
    let error = of_kept_table(|text| {
        assert!(text.contains(product));
        text.replace(product, "")
    });
    let error = error.unwrap_err();
    assert!(matches!(&error, DeidentifyError::OtherCut { table } if table == "use"), "{error}");
    assert!(error.to_string().contains("aegle lake quarantine list"), "{error}");
}

#[test]
fn rows_that_are_lost_for_good_are_counted_and_none_is_made_up() {
    let (world, lake) = world();
    let before = rows(&lake, "study");
    for path in world.raw().into_keys() {
        world.damage(&path, None);
    }
    // What is still open could still be read.
    drop(lake);
    let lake = world.open();
    let mut of = lake.deidentify("study").unwrap();
    let mut ignored = |_: usize, _: &str, _: &[Value]| {};
    assert!(matches!(of.next(&mut ignored), Err(DeidentifyError::Read(ReadError::Object(_)))));
    drop(of);
    std::fs::remove_dir_all(world.source()).unwrap();
    let options = crate::ScrubOptions { give_up: true, ..crate::ScrubOptions::default() };
    lake.scrub(options, &mut |_| {}).unwrap();
    let mut of = lake.deidentify("study").unwrap();
    let mut count = 0;
    while of.next(&mut |_, _, _| count += 1).unwrap() {}
    assert_eq!((count, of.lost()), (0, before.len() as u64));
}
