use super::*;
use crate::damage::Fate;
use crate::objects::Objects;
use crate::testing::rotten::{Rot, Rotten};
use crate::testing::{SECRETS, USE, World, cells, everything, files, kek, person, read};
use crate::{OpenError, ReadError};
use object_store::memory::InMemory;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn scrub(lake: &Lake) -> ScrubReport {
    lake.scrub(ScrubOptions::default(), &mut |_| {}).unwrap()
}

fn raw(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    files(&world.root().join("raw"))
}

/// The damage of a report in words: kind, what, fate.
fn told(report: &ScrubReport) -> Vec<String> {
    let told = |damage: &Damage| format!("{} {}: {}", damage.kind, damage.what, damage.fate);
    report.damaged.iter().map(told).collect()
}

/// The file of the pack that holds the rows of a table.
fn pack_of(world: &World, lake: &Lake, table: &str) -> PathBuf {
    let sql = "SELECT pack.name FROM pack JOIN live USING (batch) WHERE of_table = ?1";
    let name = |index: &Connection| index.query_row(sql, [table], |row| row.get(0));
    let name: ObjectName = lake.page(name).unwrap();
    let name = hex::encode(name);
    world.root().join("raw/packs").join(&name[..2]).join(name)
}

/// Does something to a file of an object, and says how a scrub calls it.
type Harm = (&'static str, fn(&Path, &[u8]));

const HARMS: [Harm; 5] = [
    ("missing", |path, _| fs::remove_file(path).unwrap()),
    ("cut short", |path, bytes| cut(path, bytes.len() as u64 - 1)),
    ("cut short", |path, _| cut(path, 0)),
    ("altered", |path, bytes| fs::write(path, [bytes, b"x"].concat()).unwrap()),
    ("altered", |path, bytes| fs::write(path, vec![0; bytes.len()]).unwrap()),
];

fn cut(path: &Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_whole_lake_is_found_whole() {
    let world = World::new();
    let lake = world.filled();
    assert_eq!(lake.last_scrub().unwrap(), None);
    let report = scrub(&lake);
    assert_eq!((report.objects, report.strays), (6, 0));
    assert!(report.is_whole() && report.damaged.is_empty());
    let stored = raw(&world).values().map(Vec::len).sum::<usize>();
    assert_eq!(report.bytes, stored as u64);
    assert!(lake.last_scrub().unwrap().is_some());
}

#[test]
fn every_object_that_is_deleted_cut_or_altered_is_named_and_put_back_byte_by_byte() {
    let world = World::new();
    let lake = world.filled();
    let (shown, whole) = (everything(&lake), raw(&world));
    for (place, bytes) in &whole {
        let path = world.root().join("raw").join(place);
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = if place.starts_with("packs") { "pack" } else { "manifest" };
        for (what, harm) in HARMS {
            harm(&path, bytes);
            let report = scrub(&lake);
            assert_eq!(told(&report), [format!("{kind} {what}: repaired")]);
            assert_eq!(report.damaged[0].object, name);
            assert!(report.is_whole() && report.ingested == 0);
            assert_eq!(raw(&world), whole);
        }
        assert_eq!(everything(&world.open()), shown);
    }
    assert_eq!(everything(&lake), shown);
    assert!(scrub(&lake).damaged.is_empty());
}

#[test]
fn every_flipped_bit_of_every_object_is_found_and_put_right() {
    let world = World::new();
    let lake = world.filled();
    let whole = raw(&world);
    for (place, bytes) in &whole {
        let path = world.root().join("raw").join(place);
        for byte in (0..bytes.len()).step_by(23) {
            let mut altered = bytes.clone();
            altered[byte] ^= 1 << (byte % 8);
            fs::write(&path, altered).unwrap();
            assert!(told(&scrub(&lake))[0].ends_with("altered: repaired"), "byte {byte}");
            assert!(fs::read(&path).unwrap() == *bytes);
        }
    }
}

#[test]
fn all_objects_at_once_are_put_back_but_without_looking_only() {
    let world = World::new();
    let lake = world.filled();
    let whole = raw(&world);
    fs::remove_dir_all(world.root().join("raw/packs")).unwrap();
    fs::remove_dir_all(world.root().join("raw/manifests")).unwrap();
    let look = ScrubOptions { look_only: true, ..ScrubOptions::default() };
    let report = lake.scrub(look, &mut |_| {}).unwrap();
    assert_eq!(report.damaged.len(), 6);
    assert!(report.damaged.iter().all(|damage| damage.fate == Fate::Open) && !report.is_whole());
    assert!(raw(&world).is_empty());
    assert!(scrub(&lake).is_whole());
    assert_eq!(raw(&world), whole);
}

#[test]
fn a_read_that_meets_damage_fails_asks_for_repair_and_succeeds_after_it() {
    let world = World::new();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    let before = read(&lake, person(1), all.clone()).unwrap();
    let path = pack_of(&world, &lake, "use");
    let bytes = fs::read(&path).unwrap();
    for (what, harm) in HARMS {
        let lake = world.open();
        harm(&path, &bytes);
        let error = read(&lake, person(1), all.clone()).unwrap_err();
        let ReadError::Object(error) = error else { panic!("{error:?}") };
        assert!(error.to_string().contains("`aegle lake scrub` repairs it"), "{error}");
        assert_eq!(What::of(&error).unwrap().to_string(), what);
        assert!(lake.wants_mending() && !lake.wants_mending());
        assert_eq!(told(&lake.mend().unwrap()), [format!("pack {what}: repaired")]);
        assert_eq!(read(&lake, person(1), all.clone()).unwrap(), before);
    }
}

#[test]
fn a_file_that_stayed_open_while_another_process_repaired_it_is_opened_again() {
    let world = World::new();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    let before = read(&lake, person(1), all.clone()).unwrap();
    let path = pack_of(&world, &lake, "use");
    let length = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0; usize::try_from(length).unwrap()]).unwrap();
    assert!(scrub(&world.open()).is_whole());
    assert_eq!(read(&lake, person(1), all).unwrap(), before);
}

/// A lake on a store whose reads can be told to rot.
fn on_rotten(world: &World) -> (Lake, Arc<std::sync::Mutex<Option<Rot>>>) {
    fs::create_dir_all(world.root()).unwrap();
    let (store, rot) = Rotten::new(Arc::new(InMemory::new()));
    let objects = Objects::new(Arc::new(store), None);
    let lake: Result<Lake, OpenError> = Lake::open_with(&world.root(), &kek(), objects);
    let lake = lake.unwrap();
    lake.ingest(&world.source()).unwrap();
    lake.link(person(1), "PAT-4711").unwrap();
    (lake, rot)
}

#[test]
fn a_store_that_rots_during_a_read_shows_nothing_wrong_and_harms_nothing() {
    for rotten in [Rot::Missing, Rot::Cut, Rot::Flipped] {
        let world = World::new();
        let (lake, rot) = on_rotten(&world);
        let all = cells(&lake, &["all"]);
        let before = read(&lake, person(1), all.clone()).unwrap();
        *rot.lock().unwrap() = Some(rotten);
        let error = read(&lake, person(1), all.clone()).unwrap_err();
        assert!(matches!(error, ReadError::Object(_)), "{rotten:?}: {error:?}");
        let look = ScrubOptions { look_only: true, ..ScrubOptions::default() };
        let looked = lake.scrub(look, &mut |_| {}).unwrap();
        assert_eq!(looked.damaged.len(), 6, "{rotten:?}");
        *rot.lock().unwrap() = None;
        let mended = lake.mend().unwrap();
        assert!(mended.is_whole() && mended.damaged.len() == 6, "{mended:?}");
        assert_eq!(read(&lake, person(1), all).unwrap(), before);
    }
}

#[test]
fn when_the_source_has_changed_the_new_content_comes_and_the_loss_stays_visible() {
    let world = World::new();
    let lake = world.filled();
    fs::remove_file(pack_of(&world, &lake, "use")).unwrap();
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    let report = scrub(&lake);
    assert_eq!(told(&report), ["pack missing: lost"]);
    let lost = &report.damaged[0];
    assert_eq!(lost.reason.as_deref(), Some("the source has changed since"));
    assert_eq!((lost.table.as_str(), report.ingested), ("use", 1));
    assert!(!report.is_whole());
    assert!(everything(&lake).iter().any(|line| line.contains("ibuprofen")));
    let damages = world.open().damages().unwrap();
    assert_eq!((damages.len(), damages[0].fate, damages[0].current), (1, Fate::Lost, false));
    // The next scrub still says so, and ingests nothing a second time.
    assert_eq!((told(&scrub(&lake)), scrub(&lake).ingested), (told(&report), 0));
    // When the old content comes back, so does the batch.
    world.write("use.csv", USE);
    lake.ingest(&world.source()).unwrap();
    assert!(everything(&lake).iter().any(|line| line.contains("aspirin")));
    assert!(scrub(&lake).damaged.is_empty());
}

#[test]
fn a_source_that_is_not_there_loses_nothing_for_good() {
    let world = World::new();
    let lake = world.filled();
    let whole = raw(&world);
    fs::remove_file(pack_of(&world, &lake, "use")).unwrap();
    let (here, away) = (world.source(), world.root().join("away"));
    fs::rename(&here, &away).unwrap();
    let report = scrub(&lake);
    assert_eq!(told(&report), ["pack missing: waits for repair"]);
    let reason = report.damaged[0].reason.clone().unwrap();
    assert_eq!(reason, "could not read `use.csv` of the source");
    assert!(read(&lake, person(1), cells(&lake, &["all"])).is_err());
    // It was moved, and an ingest says where to.
    assert!(lake.ingest(&away).unwrap().unchanged);
    let packs = |raw: BTreeMap<PathBuf, Vec<u8>>| {
        raw.into_iter().filter(|(path, _)| path.starts_with("packs")).collect::<Vec<_>>()
    };
    assert_eq!(packs(raw(&world)), packs(whole));
    assert!(scrub(&lake).damaged.is_empty());
}

#[test]
fn a_source_with_holes_by_now_is_not_ingested_and_the_reason_is_told() {
    let world = World::new();
    let lake = world.filled();
    fs::remove_file(pack_of(&world, &lake, "use")).unwrap();
    world.write("use.csv", &USE.replace("80.0", "eighty"));
    let report = scrub(&lake);
    assert_eq!((told(&report).len(), report.ingested), (1, 0));
    assert!(report.not_ingested[0].contains("use.csv, line 2: column `dose`"), "{report:?}");
}

#[test]
fn the_frames_of_others_come_back_when_a_patient_was_erased_since() {
    let world = World::new();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    let before = read(&lake, person(2), all.clone()).unwrap();
    let erased = lake.keys.patient(b"PAT-4711");
    let forget = "DELETE FROM patient WHERE patient = ?1";
    lake.keys.change(|keys| keys.execute(forget, [erased])).unwrap();
    fs::remove_dir_all(world.root().join("raw/packs")).unwrap();
    let report = scrub(&lake);
    assert!(report.damaged.iter().all(|damage| damage.fate == Fate::Repaired), "{report:?}");
    assert_eq!(report.databases.len(), 1, "the patient has rows in the index still");
    assert_eq!(read(&lake, person(2), all.clone()).unwrap(), before);
    assert!(matches!(read(&lake, person(1), all), Err(ReadError::Erased)));
    assert_eq!((scrub(&lake).strays, scrub(&lake).damaged.len()), (0, 0));
}

#[test]
fn each_copy_of_a_manifest_mends_the_other_and_two_lost_ones_come_with_the_next_ingest() {
    let world = World::new();
    let lake = world.filled();
    let whole = raw(&world);
    let spoil = "UPDATE manifest SET sealed = zeroblob(9)";
    let change = |sql: &str| {
        let index = Connection::open(world.root().join("index.db")).unwrap();
        index.execute(sql, []).unwrap();
    };
    change(spoil);
    assert_eq!(told(&scrub(&lake)), ["manifest altered: repaired"; 3]);
    assert!(scrub(&lake).damaged.is_empty());
    change(spoil);
    fs::remove_dir_all(world.root().join("raw/manifests")).unwrap();
    assert_eq!(told(&scrub(&lake)), ["manifest missing: lost"; 3]);
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    assert_eq!(raw(&world), whole);
    assert!(scrub(&lake).damaged.is_empty());
}

#[test]
fn a_manifest_says_where_its_batch_came_from_and_no_file_shows_it() {
    let world = World::new();
    let lake = world.filled();
    let batches = lake.page(|index| upkeep::batches(index, 0)).unwrap();
    assert_eq!(batches.len(), 3);
    let manifest = lake.manifest(batches[0].id, &batches[0].name).unwrap().unwrap();
    assert_eq!((manifest.table.as_str(), manifest.catalogue), ("use", 1));
    assert_eq!(manifest.bytes, USE.len() as u64);
    assert_eq!(manifest.fetch.query, "use.csv");
    assert_eq!(Path::new(&manifest.fetch.place), world.source());
    let place = manifest.fetch.place.into_bytes();
    let hidden = SECRETS.iter().map(|secret| secret.as_bytes()).chain([place.as_slice()]);
    for secret in hidden {
        for (path, bytes) in files(&world.root()) {
            let shown = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!shown, "{} shows {}", path.display(), String::from_utf8_lossy(secret));
        }
    }
}

#[test]
fn an_interrupted_scrub_goes_on_where_it_was() {
    let world = World::new();
    let lake = world.filled();
    let all = scrub(&lake).objects;
    let looked = lake.scrub(ScrubOptions::default(), &mut |step| {
        if matches!(step, ScrubStep::Read { .. }) {
            lake.interrupt();
        }
    });
    assert!(matches!(looked, Err(ScrubError::Interrupted(_))), "{looked:?}");
    let lake = world.open();
    assert_eq!(lake.index.scrub_position().unwrap(), 1);
    assert_eq!(scrub(&lake).objects, all - 1);
    assert_eq!(scrub(&lake).objects, all);
}

#[test]
fn an_interrupted_ingest_leaves_nothing_and_runs_again() {
    let world = World::new();
    let lake = world.open();
    lake.interrupt();
    let error = lake.ingest(&world.source()).unwrap_err();
    assert!(matches!(error, IngestError::Interrupted(_)), "{error:?}");
    assert!(raw(&world).is_empty());
    assert_eq!(world.open().ingest(&world.source()).unwrap().rows, 8);
}

#[test]
fn a_scrub_keeps_to_its_rate_and_lets_an_ingest_finish() {
    let world = World::new();
    let lake = world.filled();
    let rate = NonZeroU64::new(10_000);
    let began = Instant::now();
    let slow = ScrubOptions { bytes_per_second: rate, ..ScrubOptions::default() };
    let mut bytes = 0;
    lake.scrub(slow, &mut |step| {
        if let ScrubStep::Read { bytes: more } = step {
            bytes += more;
        }
    })
    .unwrap();
    assert!(began.elapsed() >= Duration::from_millis(bytes / 10));
    fs::remove_file(pack_of(&world, &lake, "use")).unwrap();
    let lock = lake.lock_ingest().unwrap();
    let report = scrub(&lake);
    assert!(report.busy && told(&report) == ["pack missing: waits for repair"]);
    drop(lock);
    assert!(scrub(&lake).is_whole());
}

#[test]
fn what_does_not_fit_in_the_databases_is_told() {
    for (file, sql, told) in [
        ("index.db", "UPDATE extent SET start = start + 1", "point beside their packs"),
        ("index.db", "DELETE FROM pack WHERE id = 1", "point beside their packs"),
        ("index.db", "UPDATE batch SET complete = 0", "3 tables are current with a batch"),
        ("keys.db", "DELETE FROM patient", "3 patients have rows and no data key"),
    ] {
        let world = World::new();
        drop(world.filled());
        Connection::open(world.root().join(file)).unwrap().execute(sql, []).unwrap();
        let report = scrub(&world.open());
        assert!(report.databases.iter().any(|wrong| wrong.contains(told)), "{sql}: {report:?}");
        assert!(!report.is_whole());
    }
}
