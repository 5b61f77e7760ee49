//! A backup and a restore that are killed at every step, and run again.

use super::*;
use crate::ScrubOptions;
use crate::testing::dying;
use std::sync::Arc;

/// Not a test by itself.
#[test]
#[ignore = "the process that a test below starts and lets die"]
fn a_backup_dies() {
    let Some((folder, step)) = dying::told() else { return };
    let lake = crate::testing::open(&folder).unwrap();
    let _ = lake.back_up(&folder.join("backup"), 7, &mut dying::at(step));
}

/// Not a test by itself.
#[test]
#[ignore = "the process that a test below starts and lets die"]
fn a_restore_dies() {
    let Some((folder, step)) = dying::told() else { return };
    let root = folder.join("restored/lake");
    let keks = Arc::new(Lake::keks_beside(&root, &kek()));
    let _ = restore(&folder.join("backup"), &root, keks, &mut dying::at(step));
}

fn dies(place: &Place, test: &str, step: usize) -> bool {
    let died = dying::dies(&format!("backup::tests::kill::{test}"), place.world.folder(), step);
    place.world.settle();
    died
}

/// A backup of what the lake shows first, and what it shows first and now.
fn changed() -> (Place, Vec<String>, Vec<String>) {
    let place = Place::new();
    let lake = place.world.open();
    let before = everything(&lake);
    place.back_up(&lake);
    place.world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    lake.ingest(&place.world.source()).unwrap();
    let now = everything(&lake);
    (place, before, now)
}

#[test]
fn a_backup_killed_at_any_step_leaves_the_one_before_it_or_itself() {
    let (place, before, now) = changed();
    let mut shown = Vec::new();
    while dies(&place, "a_backup_dies", shown.len()) {
        shown.push(everything(&place.restore().unwrap()));
    }
    assert_eq!(shown.len(), 11, "one is taken, nine objects, one is sealed");
    assert_eq!(shown.pop().unwrap(), now, "the snapshot is in its place before the last step");
    assert!(shown.iter().all(|one| *one == before));
    let lake = place.world.open();
    assert!(!place.world.root().join("backup.partial").exists());
    assert_eq!(place.back_up(&lake).copied, 0, "what was killed had copied them");
    assert_eq!(everything(&place.restore().unwrap()), now);
}

#[test]
fn a_restore_killed_at_any_step_leaves_no_lake_and_is_made_by_the_next() {
    let (place, _, now) = changed();
    place.back_up(&place.world.open());
    let keks = Lake::keks_beside(&place.root(), &kek());
    fs::create_dir(place.world.folder().join("restored")).unwrap();
    keks.import(&Lake::keks_beside(&place.world.root(), &kek()).export().unwrap()).unwrap();
    for step in 0..10 {
        assert!(dies(&place, "a_restore_dies", step), "step {step} was not reached");
        assert!(!place.root().exists(), "step {step}");
    }
    restore(&place.backup(), &place.root(), Arc::new(keks), &mut |_| {}).unwrap();
    let lake = Lake::open(&place.root(), &kek()).unwrap();
    assert_eq!(everything(&lake), now);
    assert!(lake.scrub(ScrubOptions::default(), &mut |_| {}).unwrap().is_whole());
}
