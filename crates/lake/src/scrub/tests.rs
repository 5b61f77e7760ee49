use super::*;
use crate::damage::Fate;
use crate::objects::Objects;
use crate::testing::rotten::{Rot, Rotten};
use crate::testing::{
    CATALOGUE, DOCTOR, LETTERS, SECRETS, USE, World, cells, everything, keks, letter, lines,
    person, read,
};
use crate::{Asking, ReadError, Shape};
use object_store::memory::InMemory;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

fn scrub(lake: &Lake) -> ScrubReport {
    lake.scrub(ScrubOptions::default(), &mut |_| {}).unwrap()
}

/// A source with three tables of CSV files and one of documents, of which two are objects.
fn with_letters() -> World {
    let world = World::new();
    world.write("catalogue.toml", &(CATALOGUE.to_owned() + LETTERS));
    fs::create_dir(world.source().join("letters")).unwrap();
    world.write("letters/PAT-4711.pdf", &letter("a"));
    world.write("letters/PAT-4712.pdf", &letter("b"));
    world
}

/// The damage of a report in words: kind, what, fate.
fn told(report: &ScrubReport) -> Vec<String> {
    let told = |damage: &Damage| format!("{} {}: {}", damage.kind, damage.what, damage.fate);
    report.damaged.iter().map(told).collect()
}

/// Where an object lies in the raw zone.
fn path_of(name: &ObjectName) -> PathBuf {
    let name = hex::encode(name);
    ["packs", &name[..2], &name].iter().collect()
}

/// Every object with its kind.
fn objects(lake: &Lake) -> Vec<(ObjectKind, PathBuf)> {
    let rows = lake.page(|index| upkeep::objects(index, &[])).unwrap();
    rows.iter().map(|row| (row.kind, path_of(&row.name))).collect()
}

fn remove_all(world: &World) {
    for path in world.raw().keys() {
        world.damage(path, None);
    }
}

/// The last pack that a table got.
fn pack_of(lake: &Lake, table: &str) -> PathBuf {
    let sql = "SELECT pack.name FROM pack JOIN batch ON batch.id = pack.batch
               WHERE of_table = ?1 ORDER BY pack.id DESC LIMIT 1";
    let name = |index: &Connection| index.query_row(sql, [table], |row| row.get(0));
    path_of(&lake.page(name).unwrap())
}

/// How a scrub calls what is done to an object, and what is left of it.
type Harm = (&'static str, fn(&[u8]) -> Option<Vec<u8>>);

const HARMS: [Harm; 5] = [
    ("missing", |_| None),
    ("cut short", |bytes| Some(bytes[..bytes.len() - 1].to_vec())),
    ("cut short", |_| Some(Vec::new())),
    ("altered", |bytes| Some([bytes, b"x"].concat())),
    ("altered", |bytes| Some(vec![0; bytes.len()])),
];

#[test]
fn a_whole_lake_is_found_whole() {
    let world = with_letters();
    let lake = world.filled();
    assert_eq!(lake.last_scrub().unwrap(), None);
    let report = scrub(&lake);
    assert_eq!((report.objects, report.strays), (10, 0));
    assert!(report.is_whole() && report.damaged.is_empty());
    let stored = world.raw().values().map(Vec::len).sum::<usize>();
    assert_eq!(report.bytes, stored as u64);
    assert!(lake.last_scrub().unwrap().is_some());
}

#[test]
fn every_object_that_is_deleted_cut_or_altered_is_named_and_put_back_byte_by_byte() {
    let world = with_letters();
    let lake = world.filled();
    // A second load, so that batches differ from what the source holds.
    world.write("use.csv", &[USE, "PAT-4711,EPI-1,aspirin,fever,500,2025-01-01\n"].concat());
    lake.ingest(&world.source()).unwrap();
    let (shown, whole) = (everything(&lake), world.raw());
    let mut kinds = BTreeMap::new();
    for (kind, path) in objects(&lake) {
        *kinds.entry(kind).or_insert(0) += 1;
        let (name, bytes) = (path.file_name().unwrap().to_str().unwrap(), &whole[&path]);
        for (what, harm) in HARMS {
            world.damage(&path, harm(bytes).as_deref());
            let report = scrub(&lake);
            assert_eq!(told(&report), [format!("{kind} {what}: repaired")]);
            assert_eq!(report.damaged[0].object, name);
            assert!(report.is_whole() && report.ingested == 0);
            assert!(world.raw() == whole, "{kind} {what}");
        }
        assert_eq!(everything(&world.open()), shown);
    }
    let expected = [(ObjectKind::Pack, 5), (ObjectKind::Document, 2), (ObjectKind::Manifest, 6)];
    assert_eq!(kinds, BTreeMap::from(expected));
    assert_eq!(everything(&lake), shown);
    assert!(scrub(&lake).damaged.is_empty());
}

#[test]
fn every_flipped_bit_of_every_object_is_found_and_put_right() {
    let world = with_letters();
    let lake = world.filled();
    let whole = world.raw();
    for (kind, path) in objects(&lake) {
        let bytes = &whole[&path];
        let step = if kind == ObjectKind::Document { 50_021 } else { 23 };
        for byte in (0..bytes.len()).step_by(step) {
            let mut altered = bytes.clone();
            altered[byte] ^= 1 << (byte % 8);
            world.damage(&path, Some(&altered));
            assert!(told(&scrub(&lake))[0].ends_with("altered: repaired"), "{kind} byte {byte}");
        }
        assert!(world.raw() == whole);
    }
}

#[test]
fn all_objects_at_once_are_put_back_but_without_looking_only() {
    let world = with_letters();
    let lake = world.filled();
    let whole = world.raw();
    remove_all(&world);
    let look = ScrubOptions { look_only: true, ..ScrubOptions::default() };
    let report = lake.scrub(look, &mut |_| {}).unwrap();
    assert_eq!(report.damaged.len(), 10);
    assert!(report.damaged.iter().all(|damage| damage.fate == Fate::Open) && !report.is_whole());
    assert!(world.raw().is_empty());
    assert!(scrub(&lake).is_whole());
    assert!(world.raw() == whole);
}

#[test]
fn a_read_that_meets_damage_fails_asks_for_repair_and_succeeds_after_it() {
    let world = with_letters();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    let before = read(&lake, person(1), all.clone()).unwrap();
    let whole = world.raw();
    let document = objects(&lake).into_iter().filter(|(kind, path)| {
        // Only one of the two is hers.
        *kind == ObjectKind::Document && {
            world.damage(path, None);
            let gone = read(&world.open(), person(1), all.clone()).is_err();
            world.damage(path, Some(&whole[path]));
            gone
        }
    });
    let document = document.map(|(_, path)| ("document", path)).collect::<Vec<_>>();
    assert_eq!(document.len(), 1);
    scrub(&lake);
    for (kind, path) in [document, vec![("pack", pack_of(&lake, "use"))]].concat() {
        for (what, harm) in HARMS {
            let lake = world.open();
            world.damage(&path, harm(&whole[&path]).as_deref());
            let error = read(&lake, person(1), all.clone()).unwrap_err();
            let ReadError::Object(error) = error else { panic!("{error:?}") };
            assert!(error.to_string().contains("`aegle lake scrub` repairs it"), "{error}");
            assert_eq!(What::of(&error).unwrap().to_string(), what);
            assert!(lake.wants_mending() && !lake.wants_mending());
            assert_eq!(told(&lake.mend().unwrap()), [format!("{kind} {what}: repaired")]);
            assert_eq!(read(&lake, person(1), all.clone()).unwrap(), before);
        }
    }
}

#[test]
fn a_file_that_stayed_open_while_another_process_repaired_it_is_opened_again() {
    let world = World::new();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    let before = read(&lake, person(1), all.clone()).unwrap();
    let path = pack_of(&lake, "use");
    world.damage(&path, Some(&vec![0; world.raw()[&path].len()]));
    assert!(scrub(&world.open()).is_whole());
    assert_eq!(read(&lake, person(1), all).unwrap(), before);
}

/// A lake on a store whose reads can be told to rot.
fn on_rotten(world: &World) -> (Lake, Arc<std::sync::Mutex<Option<Rot>>>) {
    fs::create_dir_all(world.root()).unwrap();
    let (store, rot) = Rotten::new(Arc::new(InMemory::new()));
    let objects = Objects::new(Arc::new(store), None);
    let lake = Lake::open_with(&world.place(), keks(world), objects).unwrap();
    lake.ingest(&world.source()).unwrap();
    lake.link(person(1), "PAT-4711").unwrap();
    (lake, rot)
}

#[test]
fn a_store_that_rots_during_a_read_shows_nothing_wrong_and_harms_nothing() {
    for rotten in [Rot::Missing, Rot::Cut, Rot::Flipped] {
        let world = with_letters();
        let (lake, rot) = on_rotten(&world);
        let all = cells(&lake, &["all"]);
        let before = read(&lake, person(1), all.clone()).unwrap();
        *rot.lock().unwrap() = Some(rotten);
        let error = read(&lake, person(1), all.clone()).unwrap_err();
        assert!(matches!(error, ReadError::Object(_)), "{rotten:?}: {error:?}");
        let look = ScrubOptions { look_only: true, ..ScrubOptions::default() };
        let looked = lake.scrub(look, &mut |_| {}).unwrap();
        assert_eq!(looked.damaged.len(), 10, "{rotten:?}");
        *rot.lock().unwrap() = None;
        let mended = lake.mend().unwrap();
        assert!(mended.is_whole() && mended.damaged.len() == 10, "{mended:?}");
        assert_eq!(read(&lake, person(1), all).unwrap(), before);
    }
}

/// What a patient is shown, and of which tables it says that something is lost.
fn shown(lake: &Lake, byte: u8) -> (Vec<String>, Vec<String>) {
    let part = read(lake, person(byte), cells(lake, &["all"])).unwrap();
    (lines(&part), part.incomplete)
}

#[test]
fn when_the_source_has_changed_the_new_content_comes_and_the_loss_stays_visible() {
    let world = World::new();
    let lake = world.filled();
    let before = lake.loads().unwrap()[0];
    let other = shown(&lake, 2);
    world.damage(&pack_of(&lake, "use"), None);
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    let report = scrub(&lake);
    assert_eq!(told(&report), ["pack missing: lost"]);
    let lost = &report.damaged[0];
    assert_eq!(lost.reason.as_deref(), Some("the source does not hold it any more"));
    assert_eq!((lost.table.as_str(), lost.load, report.ingested), ("use", 1, 1));
    assert!(!report.is_whole());
    // What the source holds now is shown, and whole again.
    let (rows, incomplete) = shown(&lake, 1);
    assert!(rows.iter().any(|line| line.contains("ibuprofen")) && incomplete.is_empty());
    assert_eq!(rows.iter().filter(|line| line.contains("losartan")).count(), 1);
    // Whose rows are all in the source lost nothing, of any time.
    assert_eq!(shown(&lake, 2), other);
    // Of the time before, the loss is told, in either shape.
    let then = |byte, shape| {
        let key = crate::sealed::OpeningKey::generate();
        let permit = crate::testing::permit(&lake, person(byte), cells(&lake, &["all"]), &key);
        let asking = Asking { as_of: Some(before), shape };
        let delivery = lake.read_as(&permit, &asking).unwrap();
        let answer = crate::sealed::Answer { request: permit.request(), receipt: permit.receipt() };
        let plain = key.open(&answer, &delivery.sealed).unwrap();
        serde_json::from_slice::<serde_json::Value>(&plain).unwrap()
    };
    for shape in [Shape::Tables, Shape::Vault] {
        assert_eq!(then(1, shape)["incomplete"], serde_json::json!(["use"]));
        assert!(!then(1, shape).to_string().contains("aspirin"));
        assert!(then(2, shape).get("incomplete").is_none());
    }
    let damages = world.open().damages().unwrap();
    assert_eq!((damages.len(), damages[0].fate), (1, Fate::Lost));
    // The next scrub still says so, and ingests nothing a second time.
    assert_eq!((told(&scrub(&lake)), scrub(&lake).ingested), (told(&report), 0));
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
}

#[test]
fn rows_that_are_whole_in_a_damaged_pack_need_no_source() {
    let world = World::new();
    let lake = world.filled();
    let path = pack_of(&lake, "scan");
    let sql = "SELECT start FROM extent JOIN pack ON pack.id = extent.pack JOIN batch
               ON batch.id = pack.batch WHERE of_table = 'scan' AND patient = ?1";
    let patient = lake.keys.patient(b"PAT-4713");
    let start = |index: &Connection| index.query_row(sql, [patient], |row| row.get::<u64>(0));
    let start = usize::try_from(lake.page(start).unwrap()).unwrap();
    let mut bytes = world.raw()[&path].clone();
    bytes[start + 30] ^= 1;
    world.damage(&path, Some(&bytes));
    world.write("scan.csv", "patnr,at,count,normal,image\n");
    let other = shown(&lake, 1);
    let before = lake.loads().unwrap()[0];
    let report = scrub(&lake);
    assert_eq!((told(&report), report.ingested), (vec!["pack altered: lost".to_owned()], 1));
    let sorted = |byte| {
        let key = crate::sealed::OpeningKey::generate();
        let permit = crate::testing::permit(&lake, person(byte), cells(&lake, &["all"]), &key);
        let asking = Asking { as_of: Some(before), shape: Shape::Tables };
        let part = crate::testing::opened(&key, &permit, &lake.read_as(&permit, &asking).unwrap());
        (lines(&part), part.incomplete)
    };
    assert_eq!(sorted(1), other, "the source has nothing any more, the pack still had it");
    assert_eq!(sorted(3).1, ["scan"]);
}

#[test]
fn a_document_that_is_lost_leaves_a_part_that_says_so() {
    let world = with_letters();
    let lake = world.filled();
    let before = lake.loads().unwrap()[0];
    for (kind, path) in objects(&lake) {
        if kind == ObjectKind::Document {
            world.damage(&path, None);
        }
    }
    world.write("letters/PAT-4711.pdf", &letter("z"));
    let report = scrub(&lake);
    let mut fates = told(&report);
    fates.sort();
    assert_eq!(fates, ["document missing: lost", "document missing: repaired"]);
    assert_eq!(report.ingested, 1);
    let as_of = |as_of| {
        let key = crate::sealed::OpeningKey::generate();
        let permit = crate::testing::permit(&lake, person(1), cells(&lake, &["all"]), &key);
        let asking = Asking { as_of, shape: Shape::Tables };
        crate::testing::opened(&key, &permit, &lake.read_as(&permit, &asking).unwrap())
    };
    assert!(as_of(None).incomplete.is_empty());
    let then = as_of(Some(before));
    assert_eq!(then.incomplete, ["letter"]);
    let letters = then.tables.iter().find(|table| table.name == "letter").unwrap();
    assert_eq!(letters.rows, [[crate::Value::Null]]);
    assert!(read(&lake, person(2), cells(&lake, &["all"])).unwrap().incomplete.is_empty());
}

#[test]
fn a_source_that_is_not_there_loses_nothing_for_good_until_it_is_given_up() {
    let world = World::new();
    let lake = world.filled();
    let whole = world.raw();
    let pack = pack_of(&lake, "use");
    world.damage(&pack, None);
    let (here, away) = (world.source(), world.root().join("away"));
    fs::rename(&here, &away).unwrap();
    let report = scrub(&lake);
    assert_eq!(told(&report), ["pack missing: waits for repair"]);
    let reason = report.damaged[0].reason.clone().unwrap();
    assert!(reason.starts_with("could not read `use.csv` of the source"), "{reason}");
    assert!(read(&lake, person(1), cells(&lake, &["all"])).is_err());
    // It was moved, and an ingest says where to.
    assert!(lake.ingest(&away).unwrap().unchanged);
    assert_eq!(told(&lake.mend().unwrap()), ["pack missing: repaired"]);
    assert!(world.raw()[&pack] == whole[&pack]);
    assert!(scrub(&lake).damaged.is_empty());
    // Given up, the record can be read again and says what it lacks.
    world.damage(&pack, None);
    fs::remove_dir_all(&away).unwrap();
    let options = ScrubOptions { give_up: true, ..ScrubOptions::default() };
    let report = lake.scrub(options, &mut |_| {}).unwrap();
    assert_eq!(told(&report), ["pack missing: lost"]);
    assert_eq!(report.not_ingested.len(), 1, "{report:?}");
    assert_eq!(shown(&lake, 1).1, ["use"]);
}

#[test]
fn documents_that_were_given_up_come_back_with_their_source_whether_their_rows_stayed_or_not() {
    for rows_stayed in [true, false] {
        let world = with_letters();
        let lake = world.filled();
        let (before, whole) = (shown(&lake, 1), world.raw());
        let (here, away) = (world.source(), world.root().join("away"));
        let is_document = |(kind, _): &_| *kind == ObjectKind::Document;
        let documents = objects(&lake).into_iter().filter(is_document).map(|(_, path)| path);
        let documents: Vec<_> = documents.collect();
        for path in &documents {
            world.damage(path, None);
        }
        if !rows_stayed {
            world.damage(&pack_of(&lake, "letter"), None);
        }
        fs::rename(&here, &away).unwrap();
        let options = ScrubOptions { give_up: true, ..ScrubOptions::default() };
        lake.scrub(options, &mut |_| {}).unwrap();
        assert_eq!(shown(&lake, 1).1, ["letter"]);
        fs::rename(&away, &here).unwrap();
        assert!(!lake.ingest(&here).unwrap().unchanged);
        assert_eq!(shown(&lake, 1), before);
        assert!(documents.iter().all(|path| world.raw()[path] == whole[path]));
        let fates = lake.damages().unwrap().into_iter();
        let documents = fates.filter(|damage| damage.kind == ObjectKind::Document);
        assert_eq!(documents.map(|damage| damage.fate).collect::<Vec<_>>(), [Fate::Repaired; 2]);
        assert!(lake.ingest(&here).unwrap().unchanged);
    }
}

#[test]
fn of_a_source_that_moved_the_place_where_it_was_last_seen_decides() {
    let world = World::new();
    let lake = world.filled();
    let (first, away) = (pack_of(&lake, "use"), world.root().join("away"));
    fs::rename(world.source(), &away).unwrap();
    fs::write(away.join("use.csv"), USE.replace("aspirin", "ibuprofen")).unwrap();
    lake.ingest(&away).unwrap();
    world.damage(&first, None);
    assert_eq!(told(&scrub(&lake)), ["pack missing: lost"]);
    let (rows, incomplete) = shown(&lake, 1);
    assert!(incomplete.is_empty() && rows.iter().any(|line| line.contains("losartan")), "{rows:?}");
}

#[test]
fn a_source_with_holes_by_now_is_not_ingested_and_the_reason_is_told() {
    let world = World::new();
    let lake = world.filled();
    world.damage(&pack_of(&lake, "use"), None);
    world.write("use.csv", &USE.replace("80.0", "eighty"));
    let report = scrub(&lake);
    assert_eq!((told(&report).len(), report.ingested), (1, 0));
    assert!(report.not_ingested[0].contains("use.csv, line 2: column `dose`"), "{report:?}");
    assert_eq!(shown(&lake, 1).1, ["use"], "what is lost is not called whole");
}

#[test]
fn what_belongs_to_an_erased_patient_is_never_brought_again() {
    let world = with_letters();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    let before = read(&lake, person(2), all.clone()).unwrap();
    let whole = world.raw();
    let patient = lake.keys.patient(b"PAT-4711");
    let sql = "SELECT pack.name, start, length FROM extent JOIN pack ON pack.id = extent.pack
               WHERE patient = ?1";
    let places: Vec<(ObjectName, u64, u64)> = lake
        .page(|index| {
            let mut select = index.prepare_cached(sql)?;
            let rows =
                select.query_map([patient], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect()
        })
        .unwrap();
    let frames: Vec<_> = places
        .iter()
        .map(|(name, start, length)| {
            let (start, length) =
                (usize::try_from(*start).unwrap(), usize::try_from(*length).unwrap());
            whole[&path_of(name)][start..start + length].to_vec()
        })
        .collect();
    assert_eq!(frames.len(), 4);
    lake.erase(&lake.subject("PAT-4711").unwrap(), &mut |_| {}).unwrap();
    remove_all(&world);
    let report = scrub(&lake);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(read(&lake, person(2), all.clone()).unwrap(), before);
    assert!(read(&lake, person(1), all).is_err());
    let holds = |part: &[u8]| {
        world.raw().values().any(|bytes| bytes.windows(part.len()).any(|window| window == part))
    };
    assert!(frames.iter().all(|frames| !holds(frames)), "the source still has these rows");
    assert_eq!((scrub(&lake).strays, scrub(&lake).damaged.len()), (0, 0));
    // Nor when only others' frames are damaged: the gap stays a gap.
    lake.ingest(&world.source()).unwrap();
    assert!(frames.iter().all(|frames| !holds(frames)));
}

#[test]
fn each_copy_of_a_manifest_mends_the_other_and_two_lost_ones_come_with_the_next_ingest() {
    let world = World::new();
    let lake = world.filled();
    let whole = world.raw();
    let spoil = || {
        let index = world.database(Half::Index);
        index.execute("UPDATE manifest SET sealed = ?1", [[0_u8; 9]]).unwrap();
    };
    let remove = || {
        for (kind, path) in objects(&lake) {
            if kind == ObjectKind::Manifest {
                world.damage(&path, None);
            }
        }
    };
    spoil();
    assert_eq!(told(&scrub(&lake)), ["manifest altered: repaired"; 3]);
    assert!(scrub(&lake).damaged.is_empty());
    spoil();
    remove();
    assert_eq!(told(&scrub(&lake)), ["manifest missing: waits for repair"; 3]);
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    assert!(world.raw() == whole);
    assert_eq!(told(&scrub(&lake)), ["manifest missing: repaired"; 3]);
    assert!(scrub(&lake).damaged.is_empty());
}

#[test]
fn a_manifest_says_where_its_batch_came_from_and_no_file_shows_it() {
    let world = with_letters();
    let lake = world.filled();
    let manifest = |table: &str| {
        let batch = lake.page(|index| upkeep::last_batch(index, table)).unwrap().unwrap();
        lake.index.look(|index| lake.manifest(index, (batch.id, &batch.name))).unwrap().unwrap()
    };
    let uses = manifest("use");
    assert_eq!((uses.table.as_str(), uses.catalogue, uses.load), ("use", 1, 1));
    assert_eq!((uses.bytes, uses.columns.len()), (USE.len() as u64, 6));
    assert_eq!((uses.fetch.kind.as_str(), uses.fetch.select.as_str()), ("csv", "use.csv"));
    assert_eq!(uses.fetch.folder, world.source());
    let letters = manifest("letter").fetch;
    assert_eq!((letters.kind.as_str(), letters.source.as_deref()), ("documents", Some("post")));
    assert_eq!(
        (letters.select.as_str(), letters.settings["path"].as_str()),
        ("{patnr}.pdf", "letters")
    );
    let place = world.source().to_str().unwrap().as_bytes().to_vec();
    let hidden = SECRETS.iter().map(|secret| secret.as_bytes()).chain([place.as_slice()]);
    for secret in hidden {
        for (path, bytes) in world.stored() {
            let shown = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!shown, "{} shows {}", path.display(), String::from_utf8_lossy(secret));
        }
    }
}

/// Scrubs until this many objects were looked at.
fn interrupted(world: &World, after: usize) {
    let (lake, mut looked) = (world.open(), 0);
    let scrubbed = lake.scrub(ScrubOptions::default(), &mut |step| {
        looked += usize::from(matches!(step, ScrubStep::Read { .. }));
        if looked == after {
            lake.interrupt();
        }
    });
    assert!(matches!(scrubbed, Err(ScrubError::Interrupted(_))), "{scrubbed:?}");
}

#[test]
fn an_interrupted_scrub_goes_on_where_it_was_and_looks_at_what_lies_before_too() {
    let world = World::new();
    let sizes = |lake: &Lake| {
        let (mut begun, mut sizes) = (0, Vec::new());
        lake.scrub(ScrubOptions::default(), &mut |step| match step {
            ScrubStep::Begun { bytes } => begun = *bytes,
            ScrubStep::Read { bytes } => sizes.push(*bytes),
            ScrubStep::Mending { .. } => {}
        })
        .unwrap();
        assert_eq!(begun, sizes.iter().sum::<u64>());
        sizes
    };
    let all = sizes(&world.filled());
    for after in 1..all.len() {
        interrupted(&world, after);
        let turned = [&all[after..], &all[..after]].concat();
        assert_eq!(sizes(&world.open()), turned);
        // Whoever comes after a whole one begins at the beginning.
        assert_eq!(sizes(&world.open()), all);
    }
}

#[test]
fn a_scrub_that_begins_anywhere_finds_damage_everywhere() {
    let world = World::new();
    let lake = world.filled();
    for (_, path) in objects(&lake) {
        for after in 1..objects(&lake).len() {
            interrupted(&world, after);
            world.damage(&path, None);
            let report = scrub(&world.open());
            assert_eq!((report.damaged.len(), report.is_whole()), (1, true), "{report:?}");
        }
    }
}

#[test]
fn a_restored_lake_was_never_scrubbed() {
    let world = World::new();
    let lake = world.filled();
    scrub(&lake);
    interrupted(&world, 2);
    let folder = tempfile::tempdir().unwrap();
    let (backup, root) = (folder.path().join("backup"), folder.path().join("restored"));
    lake.back_up(&backup, 1, &mut |_| {}).unwrap();
    let keks = || Arc::new(Lake::keks_beside(&world.root(), &crate::testing::kek()));
    crate::restore(&backup, &root, keks(), &mut |_| {}).unwrap();
    let restored = Lake::open_with_keks(&root, keks()).unwrap();
    assert_eq!(restored.last_scrub().unwrap(), None);
    assert!(restored.index.scrub_position().unwrap().is_empty());
    assert!(scrub(&restored).is_whole());
}

#[test]
fn an_interrupted_ingest_leaves_nothing_and_runs_again() {
    let world = World::new();
    let lake = world.open();
    lake.interrupt();
    let error = lake.ingest(&world.source()).unwrap_err();
    assert!(matches!(error, IngestError::Interrupted(_)), "{error:?}");
    assert!(world.raw().is_empty());
    assert_eq!(world.open().ingest(&world.source()).unwrap().rows, 8);
}

#[test]
fn a_scrub_keeps_to_its_rate_and_lets_an_ingest_finish() {
    let world = World::new();
    let lake = world.filled();
    let rate = NonZeroU64::new(20_000);
    let began = Instant::now();
    let slow = ScrubOptions { bytes_per_second: rate, ..ScrubOptions::default() };
    let mut bytes = 0;
    lake.scrub(slow, &mut |step| {
        if let ScrubStep::Read { bytes: more } = step {
            bytes += more;
        }
    })
    .unwrap();
    assert!(began.elapsed() >= Duration::from_millis(bytes / 20));
    world.damage(&pack_of(&lake, "use"), None);
    let lock = lake.lock_ingest().unwrap();
    let report = scrub(&lake);
    assert!(report.busy && told(&report) == ["pack missing: waits for repair"]);
    drop(lock);
    assert!(scrub(&lake).is_whole());
}

#[test]
fn what_does_not_fit_in_the_databases_is_told() {
    for (half, sql, told) in [
        (Half::Index, "UPDATE extent SET start = start + 1", "point beside their packs"),
        (Half::Index, "DELETE FROM pack WHERE id = 1", "point beside their packs"),
        (Half::Index, "DELETE FROM satellite", "6 rows of the index have no satellites"),
        (Half::Keys, "DELETE FROM patient", "3 patients have rows and no data key"),
    ] {
        let world = World::new();
        drop(world.filled());
        world.database(half).execute(sql, []).unwrap();
        let look = ScrubOptions { look_only: true, ..ScrubOptions::default() };
        let report = world.open().scrub(look, &mut |_| {}).unwrap();
        assert!(report.databases.iter().any(|wrong| wrong.contains(told)), "{sql}: {report:?}");
        assert!(!report.is_whole());
    }
}

#[test]
fn rows_that_find_their_patients_through_another_table_wait_for_both() {
    let world = World::new();
    let lake = world.filled();
    let whole = world.raw();
    world.damage(&pack_of(&lake, "doctor"), None);
    fs::remove_file(world.source().join("use.csv")).unwrap();
    assert_eq!(told(&scrub(&lake)), ["pack missing: waits for repair"]);
    world.write("use.csv", USE);
    assert_eq!(told(&lake.mend().unwrap()), ["pack missing: repaired"]);
    assert!(world.raw() == whole);
    // Rows stand elsewhere in the file by now, among others.
    let sorted: Vec<_> = DOCTOR.lines().skip(1).collect();
    world.damage(&pack_of(&lake, "doctor"), None);
    let turned: Vec<_> = sorted.iter().rev().map(|line| format!("{line}\n")).collect();
    world.write("doctor.csv", &format!("episode,name\nEPI-7,New\n{}", turned.concat()));
    assert_eq!(told(&lake.mend().unwrap()), Vec::<String>::new());
    assert_eq!(told(&scrub(&lake)), ["pack missing: repaired"]);
    assert!(world.raw() == whole);
}

#[test]
fn a_lake_that_lost_something_is_backed_up_restored_and_moved_without_it() {
    let world = with_letters();
    let lake = world.filled();
    let before = lake.loads().unwrap()[0];
    for (kind, path) in objects(&lake) {
        if kind == ObjectKind::Document {
            world.damage(&path, None);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let backup = || lake.back_up(&folder.path().join("backup"), 1, &mut |_| {});
    let error = backup().unwrap_err().to_string();
    assert!(error.contains("is missing; `aegle lake scrub` repairs it"), "{error}");
    world.write("letters/PAT-4711.pdf", &letter("z"));
    assert!(!scrub(&lake).is_whole());
    let then = |lake: &Lake| {
        let key = crate::sealed::OpeningKey::generate();
        let permit = crate::testing::permit(lake, person(1), cells(lake, &["all"]), &key);
        let asking = Asking { as_of: Some(before), shape: Shape::Tables };
        let part = crate::testing::opened(&key, &permit, &lake.read_as(&permit, &asking).unwrap());
        (lines(&part), part.incomplete, lake.damages().unwrap())
    };
    assert_eq!(then(&lake).1, ["letter"]);
    backup().unwrap();
    let keks = || Arc::new(Lake::keks_beside(&world.root(), &crate::testing::kek()));
    let restored = folder.path().join("restored");
    crate::restore(&folder.path().join("backup"), &restored, keks(), &mut |_| {}).unwrap();
    assert_eq!(then(&Lake::open_with_keks(&restored, keks()).unwrap()), then(&lake));
    let moved = crate::Place::folder(folder.path().join("moved"));
    let done = lake.migrate(&moved, &mut |_| {}).unwrap();
    assert_eq!(done.objects, done.copied + 1);
    assert_eq!(then(&Lake::open_at(&moved, keks()).unwrap()), then(&lake));
}
