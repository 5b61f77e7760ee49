//! Finished parts are claimed once, in time, or not at all.

use super::*;
use crate::consumer::CLAIM_MS;
use crate::sealed::OpeningKey;
use crate::testing::{World, cells, files, opened, permit, person, request};

const NOW: Timestamp = Timestamp(1_000_000);

fn later(ms: u64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

/// A filled lake, a permit for everything of person 1, and who asks.
fn waiting(world: &World) -> (Lake, Permit, OpeningKey) {
    let (lake, key) = (world.filled(), OpeningKey::generate());
    let permit = permit(&lake, person(1), cells(&lake, &["all"]), &key);
    lake.prepare_at(&permit, &Asking::default(), NOW).unwrap();
    (lake, permit, key)
}

fn bytes_in(world: &World, zone: &str) -> usize {
    files(&world.root().join(zone)).values().map(Vec::len).sum()
}

fn claim_error(result: Result<Delivery, ReadError>) -> ClaimError {
    match result {
        Err(ReadError::Claim(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_part_is_claimed_once() {
    let world = World::new();
    let (lake, permit, key) = waiting(&world);
    let again = lake.prepare_at(&permit, &Asking::default(), NOW);
    assert!(matches!(again, Err(ReadError::Claim(ClaimError::Waiting))));
    assert!(bytes_in(&world, "consumer") > 4096, "it waits there");
    let delivery = lake.consumer.claim(permit.request(), later(1)).unwrap();
    assert_eq!(opened(&key, &permit, &delivery).tables.len(), 3);
    assert_eq!(
        delivery.steps,
        [Step::Structured, Step::Curated, Step::Consumer, Step::Delivered, Step::Cleaned]
    );
    assert_eq!((bytes_in(&world, "consumer"), bytes_in(&world, "curated")), (0, 0));
    let second = claim_error(lake.consumer.claim(permit.request(), later(2)));
    assert_eq!(second, ClaimError::Claimed);
    assert_eq!(
        second.to_string(),
        "the part of this request was claimed before; ask again with a new request"
    );
    let again = lake.prepare_at(&permit, &Asking::default(), later(3));
    assert!(matches!(again, Err(ReadError::Claim(ClaimError::Claimed))));
    assert_eq!(claim_error(lake.consumer.claim(request(), NOW)), ClaimError::Unknown);
}

#[test]
fn what_nobody_claims_in_time_is_removed() {
    let world = World::new();
    let (lake, permit, _) = waiting(&world);
    assert_eq!(lake.consumer.sweep(later(CLAIM_MS - 1)), []);
    assert!(bytes_in(&world, "consumer") > 0);
    assert_eq!(lake.consumer.sweep(later(CLAIM_MS)), [permit.request()]);
    assert_eq!(lake.consumer.sweep(later(CLAIM_MS)), [], "it is told once");
    assert_eq!((bytes_in(&world, "consumer"), bytes_in(&world, "curated")), (16, 0), "its name");
    assert_eq!(
        world.copy().open().interrupted(),
        [permit.request()],
        "a crash before it is told on"
    );
    lake.forget(permit.request()).unwrap();
    assert_eq!(bytes_in(&world, "consumer"), 0);
    assert_eq!(world.copy().open().interrupted(), []);
    let error = claim_error(lake.consumer.claim(permit.request(), later(CLAIM_MS)));
    assert_eq!(error, ClaimError::Expired);
    let again = lake.prepare_at(&permit, &Asking::default(), later(CLAIM_MS));
    assert!(matches!(again, Err(ReadError::Claim(ClaimError::Expired))));
    // Also when who claims it finds out.
    let (lake, permit, _) = waiting(&World::new());
    let error = claim_error(lake.consumer.claim(permit.request(), later(CLAIM_MS)));
    assert_eq!(error, ClaimError::Expired);
    assert_eq!(lake.consumer.sweep(later(CLAIM_MS)), [permit.request()]);
}

#[test]
fn what_waits_when_the_process_dies_is_removed_and_named_until_it_is_told_on() {
    let world = World::new();
    let (_lake, permit, _) = waiting(&world);
    // The copy is what a process leaves that dies now.
    let copy = world.copy();
    assert!(bytes_in(&copy, "consumer") > 0);
    let lake = copy.open();
    assert_eq!(lake.interrupted(), [permit.request()]);
    assert_eq!((bytes_in(&copy, "consumer"), bytes_in(&copy, "curated")), (0, 0));
    drop(lake);
    let lake = copy.open();
    assert_eq!(lake.interrupted(), [permit.request()], "nobody was told");
    lake.forget(permit.request()).unwrap();
    drop(lake);
    assert_eq!(copy.open().interrupted(), []);
}

#[test]
fn what_was_claimed_and_not_told_on_yet_is_named_when_the_process_dies() {
    let world = World::new();
    let (lake, permit, _) = waiting(&world);
    lake.remember(permit.request()).unwrap();
    lake.consumer.claim(permit.request(), later(1)).unwrap();
    let copy = world.copy();
    assert_eq!(copy.open().interrupted(), [permit.request()]);
    assert_eq!((bytes_in(&copy, "consumer"), bytes_in(&copy, "curated")), (0, 0));
    lake.forget(permit.request()).unwrap();
    assert_eq!(world.copy().open().interrupted(), []);
}

#[test]
fn a_part_that_was_altered_while_it_waited_does_not_leave() {
    let world = World::new();
    let (lake, permit, _) = waiting(&world);
    for (path, mut bytes) in files(&world.root().join("consumer")) {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(world.root().join("consumer").join(path), bytes).unwrap();
    }
    let error = lake.consumer.claim(permit.request(), later(1)).unwrap_err();
    assert!(matches!(error, ReadError::Zone(ZoneError::Altered)), "{error:?}");
    assert_eq!(bytes_in(&world, "consumer"), 0);
}

#[test]
fn a_read_that_fails_does_not_use_the_request_up() {
    let world = World::new();
    let (lake, key) = (world.filled(), OpeningKey::generate());
    let permit = permit(&lake, person(1), cells(&lake, &["all"]), &key);
    let stored = world.raw();
    for path in stored.keys() {
        world.damage(path, None);
    }
    assert!(matches!(lake.read(&permit), Err(ReadError::Object(_))));
    for (path, bytes) in &stored {
        world.damage(path, Some(bytes));
    }
    assert_eq!(opened(&key, &permit, &lake.read(&permit).unwrap()).tables.len(), 3);
}
