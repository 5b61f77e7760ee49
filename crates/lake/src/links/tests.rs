use super::*;
use crate::testing::{World, person};
use aegle_model::RecordKey;

#[test]
fn one_person_is_one_patient_and_the_other_way_round() {
    let world = World::new();
    let lake = world.open();
    assert!(matches!(lake.link(person(1), "PAT-4711"), Err(LinkError::NoSuchPatient)));
    lake.ingest(&world.source()).unwrap();
    assert!(!lake.is_linked(person(1)).unwrap());
    lake.link(person(1), "PAT-4711").unwrap();
    lake.link(person(1), "PAT-4711").unwrap();
    assert!(lake.is_linked(person(1)).unwrap());
    assert!(matches!(lake.link(person(1), "PAT-4712"), Err(LinkError::PersonTaken)));
    assert!(matches!(lake.link(person(2), "PAT-4711"), Err(LinkError::NumberTaken)));
    assert!(matches!(lake.link(person(2), "pat-4711"), Err(LinkError::NoSuchPatient)));
    assert!(matches!(lake.link(person(2), ""), Err(LinkError::NoSuchPatient)));
    assert!(lake.unlink(person(1)).unwrap());
    assert!(!lake.unlink(person(1)).unwrap());
    lake.link(person(2), "PAT-4711").unwrap();
    assert!(world.open().is_linked(person(2)).unwrap());
}

#[test]
fn a_record_key_is_kept_and_replaced() {
    let world = World::new();
    let lake = world.open();
    assert!(lake.record_key(person(1)).unwrap().is_none());
    for byte in [5, 6] {
        lake.put_record_key(person(1), &RecordKey::from_array([byte; 32])).unwrap();
        let kept = world.open().record_key(person(1)).unwrap().unwrap();
        assert_eq!(kept.as_bytes(), &[byte; 32]);
    }
}
