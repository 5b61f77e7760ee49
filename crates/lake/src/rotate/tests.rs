use super::*;
use crate::testing::token::Token;
use crate::testing::{World, dying, everything, keks, person};
use crate::{Keks, OpenError};
use aegle_model::RecordKey;
use std::fs;
use std::sync::Arc;

const RECORD_KEY: [u8; 32] = [9; 32];

/// A lake with data and a record key.
fn filled() -> World {
    let world = World::new();
    let lake = world.filled();
    lake.put_record_key(person(1), &RecordKey::from_array(RECORD_KEY)).unwrap();
    world
}

/// What keys open: everything that is shown, and the record key.
fn opened(lake: &Lake) -> (Vec<String>, Option<[u8; 32]>) {
    let key = lake.record_key(person(1)).unwrap();
    (everything(lake), key.map(|key| *key.as_bytes()))
}

#[test]
fn a_rotation_changes_nothing_but_what_older_copies_tell() {
    let world = filled();
    let lake = world.open();
    let before = opened(&lake);
    let copy = world.copy();
    let mut steps = Vec::new();
    let rotation = lake.rotate_keys(&mut |step| steps.push(*step)).unwrap();
    // Two secrets, three data keys, a record key, three pseudonyms.
    assert_eq!(rotation, Rotation { epoch: 2, keys: 9 });
    let [first, second, .., last] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!([*first, *second], [RotationStep::Created(2), RotationStep::Current { keys: 9 }]);
    assert_eq!(*last, RotationStep::Destroyed);
    assert_eq!(opened(&lake), before);
    assert_eq!(opened(&world.open()), before);
    assert_eq!(keks(&world).epochs().unwrap(), [2]);
    assert_eq!(lake.rotate_keys(&mut |_| {}).unwrap(), Rotation { epoch: 3, keys: 9 });
    assert_eq!(opened(&lake), before);
    drop(lake);
    let keks = |world: &World| world.root().with_extension("keks");
    fs::copy(keks(&world), keks(&copy)).unwrap();
    let refused = copy.try_open().err().unwrap();
    assert!(matches!(refused, OpenError::Keys(KeyError::Kek(KekError::Gone(1)))), "{refused}");
}

#[test]
fn whoever_has_the_lake_open_goes_on_and_writes_under_the_new_key() {
    let world = filled();
    let (node, operator) = (world.open(), world.open());
    let before = opened(&node);
    operator.rotate_keys(&mut |_| {}).unwrap();
    // The first thing that the node does is to write.
    let made = node.record_key_or_new(person(7)).unwrap();
    assert_eq!(opened(&node), before);
    operator.rotate_keys(&mut |_| {}).unwrap();
    assert_eq!(opened(&node), before);
    let kept = world.open().record_key(person(7)).unwrap().unwrap();
    assert_eq!(kept.as_bytes(), made.as_bytes());
    let left = node.keys.change(|database| left_behind(database, 2)).unwrap();
    assert_eq!(left, 10, "all are of epoch 3");
}

#[test]
fn reads_go_on_while_keys_are_rotated() {
    let world = filled();
    let lake = world.open();
    let before = opened(&lake);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let node = world.open();
            (0..40).for_each(|_| assert_eq!(opened(&node), before));
        });
        while !reader.is_finished() {
            lake.rotate_keys(&mut |_| {}).unwrap();
        }
        reader.join().unwrap();
    });
}

#[test]
fn keys_that_never_leave_their_token_work_the_same_also_when_it_fails() {
    let world = World::new();
    let token = Arc::new(Token::new());
    let open = || Lake::open_at(&world.place(), token.clone()).unwrap();
    let lake = open();
    lake.ingest(&world.source()).unwrap();
    for (byte, number) in [(1, "PAT-4711"), (2, "PAT-4712"), (3, "PAT-4713")] {
        lake.link(person(byte), number).unwrap();
    }
    let before = everything(&lake);
    // Two secrets, three data keys, three pseudonyms: each attempt comes a table further.
    for wraps in 0..4 {
        token.allow(wraps);
        let error = lake.rotate_keys(&mut |_| {}).unwrap_err();
        assert!(matches!(error, KeyError::Kek(KekError::Other(_))), "{error}");
        assert_eq!(token.epochs().unwrap(), [1, 2], "the old key is kept while it is needed");
        assert_eq!(everything(&lake), before);
    }
    token.allow(u64::MAX);
    assert_eq!(everything(&open()), before, "opening the lake ended the rotation");
    assert_eq!(token.epochs().unwrap(), [2]);
}

/// Not a test by itself: rotates in a process that dies at one step, without any way to tidy up.
#[test]
#[ignore = "the process that the next test starts and lets die"]
fn dies_at_a_step() {
    let Some((folder, step)) = dying::told() else { return };
    let lake = crate::testing::open(&folder).unwrap();
    let _ = lake.rotate_keys(&mut dying::at(step));
}

#[test]
fn a_rotation_killed_at_any_step_is_ended_by_whoever_opens_the_lake() {
    let world = filled();
    let before = opened(&world.open());
    let mut steps = 0;
    let copy = world.copy();
    copy.open().rotate_keys(&mut |_| steps += 1).unwrap();
    assert_eq!(steps, 7, "created, current, four tables with keys, destroyed");
    for step in 0..steps {
        let copy = world.copy();
        let died = dying::dies("rotate::tests::dies_at_a_step", copy.folder(), step);
        assert!(died, "step {step} was not reached");
        copy.settle();
        let lake = copy.open();
        assert_eq!(opened(&lake), before, "step {step}");
        assert_eq!(keks(&copy).epochs().unwrap(), [2], "step {step}");
        let left = lake.keys.change(|database| left_behind(database, 2)).unwrap();
        assert_eq!(left, 0, "step {step}");
    }
}
