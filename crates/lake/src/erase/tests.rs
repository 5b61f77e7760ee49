use super::*;
use crate::Place;
use crate::testing::{World, cells, dying, is_first, kek, keks, lines, person, read, shared};
use crate::{KekError, LinkError, OpenError, ReadError};
use aegle_model::RecordKey;
use std::fs;
use std::path::Path;

const RECORD_KEY: [u8; 32] = [9; 32];
const NUMBER: &str = "PAT-4711";

/// A lake with data, a record key for the first person, and an older batch of every table.
fn filled() -> World {
    let world = World::new();
    let lake = world.filled();
    lake.put_record_key(person(1), &RecordKey::from_array(RECORD_KEY)).unwrap();
    world.write("use.csv", &crate::testing::USE.replace("aspirin", "ibuprofen"));
    lake.ingest(&world.source()).unwrap();
    world
}

fn shown(lake: &Lake, byte: u8) -> Vec<String> {
    lines(&read(lake, person(byte), cells(lake, &["all"])).unwrap())
}

fn erase(lake: &Lake, name: &str) -> Erasure {
    lake.erase(&lake.subject(name).unwrap(), &mut |_| {}).unwrap()
}

#[test]
fn who_is_erased_is_gone_and_nobody_else() {
    let world = filled();
    let lake = world.open();
    let others = [2, 3].map(|byte| shown(&lake, byte));
    let subject = lake.subject(NUMBER).unwrap();
    // Three rows of `use` and the one that changed, in two batches; one of `scan`, two of `doctor`.
    assert_eq!((subject.rows, subject.extents, subject.is_linked()), (7, 4, true));
    let erasure = erase(&lake, NUMBER);
    assert_eq!((erasure.number, erasure.epoch, erasure.rows), (1, 2, 7));
    assert_eq!((erasure.patient, erasure.told), (Some(person(1)), None));
    for lake in [&lake, &world.open()] {
        assert_eq!([2, 3].map(|byte| shown(lake, byte)), others);
        let error = read(lake, person(1), cells(lake, &["all"])).unwrap_err();
        assert!(matches!(error, ReadError::NotLinked), "{error}");
        assert!(lake.record_key(person(1)).unwrap().is_none());
        assert!(matches!(lake.link(person(1), NUMBER), Err(LinkError::NoSuchPatient)));
        assert!(matches!(lake.subject(NUMBER), Err(EraseError::ErasedAlready)));
        assert_eq!(lake.erasures().unwrap(), vec![erasure.clone()]);
    }
    for nobody in ["PAT-9999", "", &Handle::from(person(1)).to_string()] {
        assert!(matches!(lake.subject(nobody), Err(EraseError::NoSuchPatient)), "{nobody}");
    }
}

#[test]
fn a_patient_is_named_by_handle_or_number_linked_or_not() {
    let world = filled();
    let lake = world.open();
    let handle = Handle::from(person(2)).to_string().to_lowercase();
    assert_eq!(lake.subject(&handle).unwrap(), lake.subject("PAT-4712").unwrap());
    assert_eq!(erase(&lake, &handle).patient, Some(person(2)));
    lake.unlink(person(3)).unwrap();
    assert!(!lake.subject("PAT-4713").unwrap().is_linked());
    assert_eq!(erase(&lake, "PAT-4713").patient, None, "the ledger knows nobody of that number");
    assert_eq!(lake.catalogue().unwrap().unwrap().version(), 1);
    assert_eq!(lake.erasures().unwrap().len(), 2);
}

#[test]
fn an_ingest_does_not_bring_the_patient_back_and_says_so() {
    let world = filled();
    let lake = world.open();
    erase(&lake, NUMBER);
    let unchanged = lake.ingest(&world.source()).unwrap();
    assert!(unchanged.unchanged);
    assert_eq!((unchanged.patients, unchanged.rows_of_erased), (2, 6));
    for content in [crate::testing::USE.replace("aspirin", "codeine"), crate::testing::USE.into()] {
        world.write("use.csv", &content);
        let report = lake.ingest(&world.source()).unwrap();
        assert_eq!((report.patients, report.rows_of_erased, report.unchanged), (2, 6, false));
        assert!(matches!(lake.subject(NUMBER), Err(EraseError::ErasedAlready)));
        assert!(matches!(lake.link(person(1), NUMBER), Err(LinkError::NoSuchPatient)));
    }
    assert_eq!(everything_of(&lake), [2, 3].map(|byte| shown(&World::new().filled(), byte)));
}

fn everything_of(lake: &Lake) -> [Vec<String>; 2] {
    [2, 3].map(|byte| shown(lake, byte))
}

#[test]
fn no_byte_is_left_that_opens_or_names_what_was_erased() {
    let world = filled();
    let lake = world.open();
    let patient = lake.keys.patient(NUMBER.as_bytes());
    let kept: Vec<u8> = lake
        .keys
        .change(|database| {
            let select = "SELECT wrapped FROM patient WHERE patient = ?1";
            database.query_row(select, [patient], |row| row.get(0))
        })
        .unwrap();
    let data_key = lake.keys.unwrap(&place::data(&patient), &kept).unwrap();
    let old_keks = keks_exported(&world);
    let traces: [(&str, Vec<u8>); 7] = [
        ("data key", data_key.to_vec()),
        ("wrapped data key", kept.clone()),
        ("record key", RECORD_KEY.to_vec()),
        ("old key-encryption key", old_keks[4..].to_vec()),
        ("patient's keyed hash", patient.to_vec()),
        ("person's keyed hash", lake.keys.person(person(1)).to_vec()),
        ("handle's keyed hash", lake.keys.handle(Handle::from(person(1))).to_vec()),
    ];
    let found = |traces: &[(&'static str, Vec<u8>)]| -> Vec<&str> {
        let files = world.stored();
        let holds = |trace: &[u8]| {
            files.values().any(|bytes| bytes.windows(trace.len()).any(|window| window == trace))
        };
        traces.iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| *name).collect()
    };
    let named = found(&traces);
    assert_eq!(named.len(), 4, "what the lake holds is found before: {named:?}");
    // A backup of all files but the key-encryption keys; and one that keeps the log of the databases.
    let before = world.copy();
    fs::remove_file(before.root().with_extension("keks")).unwrap();
    let erasure = erase(&lake, NUMBER);
    assert_eq!(found(&traces), Vec::<&str>::new());
    assert_eq!(found(&[("pseudonym", person(1).as_bytes().to_vec())]), Vec::<&str>::new());
    lake.told(erasure.number, Hash::from_array([3; 32])).unwrap();

    // The backup with the keys that there are now.
    for epoch in keks(&world).epochs().unwrap() {
        let (_, sealed) = keys::split(&kept).unwrap();
        let opened = keks(&world).unwrap(epoch, &place::data(&patient), sealed);
        assert!(matches!(opened, Err(KekError::Altered)));
    }
    let now = world.root().with_extension("keks");
    fs::copy(now, before.root().with_extension("keks")).unwrap();
    let refused = before.try_open().err().unwrap();
    assert!(matches!(refused, OpenError::Keys(KeyError::Kek(KekError::Gone(1)))), "{refused}");
}

fn keks_exported(world: &World) -> Vec<u8> {
    Lake::keks_beside(&world.root(), &kek()).export().unwrap().to_vec()
}

#[test]
fn the_pseudonym_is_kept_until_the_ledger_was_told() {
    let world = filled();
    let lake = world.open();
    let erasure = erase(&lake, NUMBER);
    lake.rotate_keys(&mut |_| {}).unwrap();
    assert_eq!(world.open().erasures().unwrap(), vec![erasure.clone()]);
    let transaction = Hash::from_array([3; 32]);
    lake.told(erasure.number, transaction).unwrap();
    let told = Erasure { patient: None, told: Some(transaction), ..erasure };
    assert_eq!(world.open().erasures().unwrap(), [told]);
}

#[test]
fn nobody_is_erased_while_an_ingest_runs_and_the_other_way_round() {
    let world = filled();
    let lake = world.open();
    let subject = lake.subject(NUMBER).unwrap();
    let ingest = lake.lock_ingest().unwrap();
    assert!(matches!(lake.erase(&subject, &mut |_| {}), Err(EraseError::Busy)));
    drop(ingest);
    let mut seen = Vec::new();
    let other = world.open();
    lake.erase(&subject, &mut |step| {
        if is_first(&mut seen, step) {
            let busy = other.ingest(&world.source()).unwrap_err();
            assert!(matches!(busy, IngestError::Busy), "{busy}");
        }
    })
    .unwrap();
    assert_eq!(seen.len(), 4);
}

/// Not a test by itself: erases in a process that dies at one step, without any way to tidy up.
#[test]
#[ignore = "the process that the next test starts and lets die"]
fn dies_at_a_step() {
    let Some((folder, step)) = dying::told() else { return };
    let lake = crate::testing::open(&folder).unwrap();
    let _ = lake.erase(&lake.subject(NUMBER).unwrap(), &mut dying::at(step));
}

#[test]
fn an_erasure_killed_at_any_step_is_ended_once_by_whoever_opens_the_lake() {
    let world = filled();
    let mut steps = 0;
    let copy = world.copy();
    let lake = copy.open();
    lake.erase(&lake.subject(NUMBER).unwrap(), &mut |_| steps += 1).unwrap();
    assert_eq!(steps, 10, "begun, forgotten, a rotation of seven steps, done");
    let others = everything_of(&lake);
    for step in 0..steps {
        let copy = world.copy();
        let died = dying::dies("erase::tests::dies_at_a_step", copy.folder(), step);
        assert!(died, "step {step} was not reached");
        copy.settle();
        let lake = copy.open();
        let erasures = lake.erasures().unwrap();
        assert_eq!(erasures.len(), 1, "step {step}");
        assert_eq!((erasures[0].patient, erasures[0].rows), (Some(person(1)), 7));
        assert!(matches!(lake.subject(NUMBER), Err(EraseError::ErasedAlready)), "step {step}");
        assert_eq!(everything_of(&lake), others, "step {step}");
        assert_eq!(keks(&copy).epochs().unwrap().len(), 1, "step {step}");
        assert!(keks(&copy).epochs().unwrap()[0] > 1, "step {step}");
    }
}

#[test]
fn everybody_can_be_erased() {
    let world = filled();
    let lake = world.open();
    for number in ["PAT-4711", "PAT-4712", "PAT-4713"] {
        erase(&lake, number);
    }
    let report = lake.ingest(&world.source()).unwrap();
    assert_eq!((report.patients, report.rows_of_erased), (0, 9));
    for byte in 1..=3 {
        let error = read(&lake, person(byte), cells(&lake, &["all"])).unwrap_err();
        assert!(matches!(error, ReadError::NotLinked), "{error}");
    }
}

#[test]
fn tables_of_analysts_go_once_with_an_erasure_that_another_process_did() {
    let world = World::new();
    let lake = world.filled();
    let tables = |root: &Path| {
        let tables = root.join("analytics/study");
        fs::create_dir_all(&tables).unwrap();
        tables
    };
    // Another process on another machine, where the lake is shared.
    let elsewhere = tempfile::tempdir().unwrap();
    let place = Place { folder: elsewhere.path().join("lake"), ..world.place() };
    let other = shared::is_used().then(|| Lake::open_at(&place, keks(&world)).unwrap());
    let far = tables(&place.folder);
    lake.erase(&lake.subject("PAT-4711").unwrap(), &mut |_| {}).unwrap();
    if let Some(other) = other {
        other.follow_erasures().unwrap();
        assert!(!far.exists());
    }
    // Those that were made since stay, whoever looks.
    drop(lake);
    let lake = world.open();
    let near = tables(&world.root());
    lake.follow_erasures().unwrap();
    drop(lake);
    world.open();
    assert!(near.exists());
}

#[test]
fn who_is_linked_or_erased_while_somebody_is_asked_is_erased_once_and_whole() {
    let world = World::new();
    let lake = world.filled();
    lake.unlink(person(1)).unwrap();
    let seen = lake.subject(NUMBER).unwrap();
    assert!(!seen.is_linked());
    lake.link(person(1), NUMBER).unwrap();
    world.write("use.csv", &crate::testing::USE.replace("aspirin", "ibuprofen"));
    lake.ingest(&world.source()).unwrap();
    let erasure = lake.erase(&seen, &mut |_| {}).unwrap();
    assert_eq!(erasure.patient, Some(person(1)), "the ledger is told");
    assert_eq!(erasure.rows, seen.rows + 1);
    assert!(matches!(lake.erase(&seen, &mut |_| {}), Err(EraseError::ErasedAlready)));
    assert_eq!(lake.erasures().unwrap().len(), 1);
}
