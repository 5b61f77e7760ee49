//! An ingest that is stopped at every step, and run again.

use super::*;
use crate::Place;
use crate::objects::Objects;
use crate::testing::faulty::{Fails, Faulty};
use crate::testing::{LETTERS, SCAN, dying, keks, letter};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A lake with data, and a source in which every table changed since.
fn changed() -> World {
    let world = World::new();
    world.write("catalogue.toml", &(CATALOGUE.to_owned() + LETTERS));
    std::fs::create_dir(world.source().join("letters")).unwrap();
    world.write("letters/PAT-4711.pdf", &letter("a"));
    world.write("letters/PAT-4712.pdf", &letter("b"));
    drop(world.filled());
    world.write("letters/PAT-4712.pdf", &letter("c"));
    world.write("letters/PAT-4713.pdf", &letter("d"));
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    world.write("scan.csv", &SCAN.replace("false", "true"));
    world.write("doctor.csv", &DOCTOR.replace("Jansen", "Janssen"));
    world
}

/// What the lake is in the end: what it shows, what it holds, and every object byte by byte.
type End = (Vec<String>, IngestReport, BTreeMap<PathBuf, Vec<u8>>);

fn end(world: &World) -> End {
    let lake = world.open();
    let report = report(world, &lake);
    assert!(report.unchanged);
    (everything(&lake), report, objects(world, &lake))
}

/// Every object but manifests, which say where the source lies.
fn objects(world: &World, lake: &Lake) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = lake.index.look(|index| {
        let mut select = index.prepare_cached("SELECT name FROM manifest")?;
        let names = select.query_map([], |row| row.get::<[u8; 32]>(0))?;
        names.map(|name| name.map(hex::encode)).collect::<Result<Vec<_>, _>>()
    });
    let names = names.unwrap();
    let mut objects = world.raw();
    objects.retain(|path, _| !names.iter().any(|name| path.ends_with(name)));
    objects
}

/// The uninterrupted ingest: its end, what was shown before, and how many steps it has.
fn reference(world: &World) -> (Vec<String>, End, usize) {
    let copy = world.copy();
    let lake = copy.open();
    let before = everything(&lake);
    let mut steps = 0;
    lake.ingest_with(&copy.source(), &mut |_| steps += 1).unwrap();
    drop(lake);
    (before, end(&copy), steps)
}

/// Not a test by itself: ingests in a process that dies at one step, without any way to tidy up.
#[test]
#[ignore = "the process that the next test starts and lets die"]
fn dies_at_a_step() {
    let Some((folder, step)) = dying::told() else { return };
    let lake = crate::testing::open(&folder).unwrap();
    let _ = lake.ingest_with(&folder.join("source"), &mut dying::at(step));
}

#[test]
fn an_ingest_killed_at_any_step_ends_the_same_when_it_runs_again() {
    let world = changed();
    let (before, expected, steps) = reference(&world);
    assert_eq!(steps, 16);
    let mut frames = Vec::new();
    for step in 0..steps {
        let copy = world.copy();
        let died = dying::dies("ingest::tests::kill::dies_at_a_step", copy.folder(), step);
        assert!(died, "step {step} was not reached");
        copy.settle();
        let lake = copy.open();
        let shown = everything(&lake);
        if step + 1 < steps {
            assert_eq!(shown, before, "step {step}: what was there is still there");
            frames.push(lake.ingest(&copy.source()).unwrap().frames);
        } else {
            assert_eq!(shown, expected.0, "everything was current before the last step");
        }
        drop(lake);
        assert_eq!(end(&copy), expected, "step {step}");
    }
    // What is left after each step: tables that were whole are not written again.
    assert_eq!(frames, [7, 7, 7, 7, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2]);
}

#[test]
fn an_ingest_stopped_at_any_step_goes_on_after_its_last_whole_table() {
    let world = changed();
    let (before, expected, steps) = reference(&world);
    let mut frames = Vec::new();
    for stop in 0..steps {
        let copy = world.copy();
        let lake = copy.open();
        let mut step = 0;
        let done = lake.ingest_with(&copy.source(), &mut |_| {
            if step == stop {
                lake.interrupt();
            }
            step += 1;
        });
        let Err(error) = done else { break };
        assert!(matches!(error, IngestError::Interrupted(_)), "step {stop}: {error:?}");
        let lake = copy.open();
        assert_eq!(everything(&lake), before, "step {stop}: what was there is still there");
        frames.push(lake.ingest(&copy.source()).unwrap().frames);
        drop(lake);
        assert_eq!(end(&copy), expected, "step {stop}");
    }
    // As after a kill: tables that were whole are not written again.
    assert_eq!(frames, [7, 7, 4, 4, 4, 3, 3, 3, 2, 2, 2]);
}

#[test]
fn what_was_read_from_a_source_that_changed_does_not_stay_when_the_ingest_is_stopped() {
    let world = changed();
    let lake = world.open();
    let raw = world.raw();
    let done = lake.ingest_with(&world.source(), &mut |step| {
        if *step == Progress::Indexed {
            world.write("use.csv", USE);
            lake.interrupt();
        }
    });
    assert!(matches!(done, Err(IngestError::Interrupted(_))), "{done:?}");
    assert_eq!(world.raw(), raw);
}

#[test]
fn a_table_through_which_patients_are_found_must_be_there_to_its_end() {
    let world = changed();
    let (_, expected, _) = reference(&world);
    let lake = world.open();
    let (file, raw) =
        (std::fs::read_to_string(world.source().join("use.csv")).unwrap(), world.raw());
    let done = lake.ingest_with(&world.source(), &mut |step| {
        if matches!(step, Progress::Table(table) if table.as_str() == "doctor") {
            std::fs::remove_file(world.source().join("use.csv")).unwrap();
        }
    });
    assert!(matches!(done, Err(IngestError::Source(_))), "{done:?}");
    assert_eq!(world.raw(), raw);
    world.write("use.csv", &file);
    report(&world, &lake);
    drop(lake);
    assert_eq!(end(&world), expected);
}

#[test]
fn a_full_disk_at_any_write_is_a_clear_error_and_leaves_nothing() {
    let world = changed();
    let (before, expected, _) = reference(&world);
    let raw_before = world.raw();
    for good in 0..10 {
        for fails in [Fails::Before, Fails::After] {
            let copy = world.copy();
            let (store, local) = copy.store();
            let store = Arc::new(Faulty::new(store, good, fails));
            let objects = Objects::new(store, local);
            let lake = Lake::open_with(&copy.place(), keks(&copy), objects).unwrap();
            let error = lake.ingest(&copy.source()).unwrap_err();
            assert!(matches!(error, IngestError::Object(ObjectError::Full(_))), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("disk is full") && text.contains("free some space"), "{text}");
            assert_eq!(everything(&lake), before);
            assert_eq!(copy.raw(), raw_before, "what was written is removed again");
            drop(lake);
            report(&copy, &copy.open());
            assert_eq!(end(&copy), expected, "after {good} writes");
        }
    }
}

#[test]
fn a_store_that_is_no_folder_works_the_same() {
    let world = World::new();
    drop(world.filled());
    let local = everything(&world.open());
    let remote = World::new();
    std::fs::create_dir_all(remote.root()).unwrap();
    let store = Arc::new(object_store::memory::InMemory::new());
    let place = Place::folder(remote.root());
    let lake = Lake::open_with(&place, keks(&remote), Objects::new(store, None)).unwrap();
    report(&remote, &lake);
    for (byte, number) in [(1, "PAT-4711"), (2, "PAT-4712"), (3, "PAT-4713")] {
        lake.link(person(byte), number).unwrap();
    }
    assert_eq!(everything(&lake), local);
}
