use super::*;
use crate::sealed::OpeningKey;
use crate::testing::{
    SECRETS, USE, World, cells, files, kek, lines, pack_files, permit, person, read, shared,
};
use crate::{Kek, Value};
use std::fs;

#[test]
fn the_permitted_columns_of_the_patients_rows_come_typed_and_in_order() {
    let world = World::new();
    let lake = world.filled();
    let part = read(&lake, person(1), cells(&lake, &["all"])).unwrap();
    assert_eq!((part.centre.as_str(), part.catalogue), ("ZMC", 1));
    assert_eq!(
        lines(&part),
        [
            "use: product reason dose start",
            r#"["aspirin","angina","80.0","2024-01-01"]"#,
            "[null,null,null,null]",
            r#"["losartan, \"low\"","pressure","50","2024-02-29"]"#,
            "scan: at count normal image",
            r#"["2024-01-01T10:00:00+01:00",-3,false,"AAEC"]"#,
            "doctor: name",
            r#"["Jansen"]"#,
            r#"["Pietersen"]"#,
        ]
    );
    assert_eq!(part.tables[0].columns[2].unit.as_deref(), Some("mg"));
    assert_eq!(part.tables[0].columns[0].labels["en"], "Product");
}

#[test]
fn only_permitted_cells_come_and_a_row_of_nulls_is_a_row() {
    let world = World::new();
    let lake = world.filled();
    let shown = |cells| lines(&read(&lake, person(1), cells).unwrap());
    let (medication, treatments) = (cells(&lake, &["medication"]), cells(&lake, &["treatments"]));
    let only = medication.difference(&treatments).copied().collect();
    assert_eq!(
        shown(only),
        [
            "use: product dose",
            r#"["aspirin","80.0"]"#,
            "[null,null]",
            r#"["losartan, \"low\"","50"]"#
        ]
    );
    assert_eq!(
        shown(treatments)[..2],
        ["use: reason start".to_owned(), r#"["angina","2024-01-01"]"#.to_owned()]
    );
    assert_eq!(shown(BTreeSet::new()), Vec::<String>::new());
}

#[test]
fn a_patient_gets_the_own_rows_and_nobody_elses() {
    let world = World::new();
    let lake = world.filled();
    let shown = |byte| lines(&read(&lake, person(byte), cells(&lake, &["all"])).unwrap());
    assert_eq!(
        shown(2),
        [
            "use: product reason dose start",
            r#"["metformin","diabetes","500","2023-05-05"]"#,
            "doctor: name",
            r#"["Pietersen"]"#,
        ]
    );
    assert_eq!(
        shown(3),
        ["scan: at count normal image", r#"["2024-01-02T10:00:00Z",7,true,null]"#]
    );
}

#[test]
fn what_is_delivered_is_told_as_it_is() {
    let world = World::new();
    let lake = world.filled();
    let key = OpeningKey::generate();
    let delivery = lake.read(&permit(&lake, person(1), cells(&lake, &["all"]), &key)).unwrap();
    assert_eq!((delivery.rows, delivery.columns), (6, 9));
    assert_eq!(delivery.content, Hash::sha256(&[&delivery.sealed]));
    assert_eq!(delivery.lineage().steps.len(), 5);
}

#[test]
fn a_part_of_nothing_looks_like_a_small_one() {
    let world = World::new();
    let lake = world.filled();
    let key = OpeningKey::generate();
    let permit = permit(&lake, person(1), cells(&lake, &["medication"]), &key);
    let full = lake.read(&permit).unwrap();
    let (answer, shape) = ((crate::testing::request(), permit.receipt()), Shape::Tables);
    let empty = lake.empty_part(key.recipient(), answer, shape).unwrap();
    let (request, receipt) = answer;
    let part = key.open(&Answer { request, receipt }, &empty.sealed).unwrap();
    assert_eq!(Part::from_bytes(&part).unwrap().tables, []);
    assert_eq!(empty.sealed.len(), full.sealed.len());
    assert_eq!(empty.steps, full.steps);
}

#[test]
fn without_a_link_or_with_another_catalogue_nothing_is_read() {
    let world = World::new();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    assert!(matches!(read(&lake, person(7), all.clone()), Err(ReadError::NotLinked)));
    lake.unlink(person(1)).unwrap();
    assert!(matches!(read(&lake, person(1), all.clone()), Err(ReadError::NotLinked)));
    let request = RequestId::from_array([9; 16]);
    let key = OpeningKey::generate();
    let stale = aegle_ledger::fixture::permit(request, person(2), all, *key.recipient(), 2);
    let error = lake.read(&stale).unwrap_err();
    assert!(matches!(error, ReadError::OtherCatalogue { permit: 2, lake: 1 }));
}

#[test]
fn an_empty_lake_says_so() {
    let world = World::new();
    let lake = world.open();
    assert!(lake.catalogue().unwrap().is_none());
    let request = RequestId::from_array([9; 16]);
    let key = OpeningKey::generate();
    let permit =
        aegle_ledger::fixture::permit(request, person(1), BTreeSet::new(), *key.recipient(), 1);
    assert!(matches!(lake.read(&permit), Err(ReadError::Layout(LayoutError::Empty))));
}

#[test]
fn a_recipient_that_is_no_key_gets_nothing_and_leaves_nothing() {
    let world = World::new();
    let lake = world.filled();
    let request = RequestId::from_array([9; 16]);
    let all = cells(&lake, &["all"]);
    let permit = aegle_ledger::fixture::permit(request, person(1), all, [4; POINT], 1);
    assert!(matches!(lake.read(&permit), Err(ReadError::Seal(SealError::Recipient))));
    assert_eq!(filled_places(&world), 0);
}

#[test]
fn the_curated_and_consumer_zones_are_empty_after_a_read() {
    let world = World::new();
    let lake = world.filled();
    read(&lake, person(1), cells(&lake, &["all"])).unwrap();
    assert_eq!(filled_places(&world), 0);
    assert_eq!(lake.interrupted(), []);
}

#[test]
fn what_a_crash_left_in_the_zones_is_gone_and_named_when_the_lake_opens() {
    let world = World::new();
    let lake = world.filled();
    let stay = lake.zones.stay(RequestId::from_array([8; 16])).unwrap();
    stay.curate(Zeroizing::new(b"aspirin".to_vec())).unwrap();
    stay.die();
    drop(lake);
    assert_eq!(filled_places(&world), 1);
    let lake = world.open();
    assert_eq!(lake.interrupted(), [RequestId::from_array([8; 16])]);
    assert_eq!(filled_places(&world), 0);
}

fn filled_places(world: &World) -> usize {
    let mut files = files(&world.root());
    files.retain(|path, _| path.starts_with("curated") || path.starts_with("consumer"));
    files.values().filter(|bytes| !bytes.is_empty()).count()
}

#[test]
fn no_file_of_the_lake_shows_a_name_a_number_or_a_value() {
    let world = World::new();
    let lake = world.filled();
    let key = aegle_model::RecordKey::from_array(*b"a record key that must be hidden");
    lake.put_record_key(person(1), &key).unwrap();
    read(&lake, person(1), cells(&lake, &["all"])).unwrap();
    let person = person(1);
    let secrets = SECRETS.iter().map(|secret| secret.as_bytes());
    let hidden: Vec<&[u8]> =
        secrets.chain([key.as_bytes().as_slice(), person.as_bytes()]).collect();
    let stored = world.stored();
    assert!(stored.len() > 5);
    for (path, bytes) in &stored {
        let shown = |secret: &&[u8]| bytes.windows(secret.len()).any(|window| window == *secret);
        let found: Vec<_> = hidden.iter().filter(|secret| shown(secret)).collect();
        assert!(found.is_empty(), "{} shows {found:?}", path.display());
    }
}

#[test]
fn another_kek_does_not_open_the_lake() {
    let world = World::new();
    drop(world.filled());
    let wrong = Kek::from_array([1; 32]);
    let wrong = std::sync::Arc::new(Lake::keks_beside(&world.root(), &wrong));
    let refused = Lake::open_at(&world.place(), wrong);
    assert!(matches!(refused, Err(crate::OpenError::Keys(KeyError::WrongKek))));
    drop(world.open());
}

#[test]
fn an_object_that_is_missing_cut_or_altered_is_named_and_nothing_is_shown() {
    let world = World::new();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    let shown = |lake: &Lake| {
        let part = read(lake, person(1), all.clone());
        part.map(|part| part.tables.len()).map_err(|error| error.to_string())
    };
    for (path, bytes) in pack_files(&world, &lake) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let lake = world.open();
        let mine = own_bytes(&lake, &name);
        for byte in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[byte] ^= 0x10;
            world.damage(&path, Some(&altered));
            let expected = if mine.contains(&byte) {
                Err(format!("object {name} of the lake was altered; `aegle lake scrub` repairs it"))
            } else {
                Ok(3) // The frames of other patients, and the head of the pack.
            };
            assert_eq!(shown(&lake), expected, "byte {byte}");
        }
        world.damage(&path, Some(&bytes[..mine.end - 1]));
        assert!(shown(&lake).unwrap_err().contains(&format!("{name} of the lake is cut")));
        assert!(shown(&world.open()).unwrap_err().contains(&format!("{name} of the lake is cut")));
        world.damage(&path, None);
        assert!(
            shown(&world.open()).unwrap_err().contains(&format!("{name} of the lake is missing"))
        );
        world.damage(&path, Some(&bytes));
        assert_eq!(shown(&world.open()), Ok(3));
    }
}

/// Where the frames of patient 4711 lie in a pack.
fn own_bytes(lake: &Lake, pack: &str) -> std::ops::Range<usize> {
    let found = own(lake, pack);
    let start = usize::try_from(found.start).unwrap();
    start..start + usize::try_from(found.length).unwrap()
}

fn own(lake: &Lake, pack: &str) -> Found {
    let patient = lake.keys.patient(b"PAT-4711");
    let find = |index: &Connection| lookup::find(index, &patient, None).map_err(ReadError::from);
    let found = lake.lookup.read(find).unwrap();
    found.into_iter().find(|found| hex::encode(found.pack) == pack).unwrap()
}

#[test]
fn frames_of_cells_that_are_not_permitted_are_never_opened() {
    let world = World::new();
    let lake = world.filled();
    let (staff, treatments) = (cells(&lake, &["staff"]), cells(&lake, &["treatments"]));
    let before = lines(&read(&lake, person(1), staff.clone()).unwrap());
    let layout = lake.current_layout().unwrap();
    // Noise in every frame of the other cells: whoever opened one would fail.
    for (path, mut bytes) in pack_files(&world, &lake) {
        let found = own(&lake, path.file_name().unwrap().to_str().unwrap());
        let (_, cuts) =
            layout.tables().find(|(table, _)| table.name.as_str() == found.table).unwrap();
        let range = own_bytes(&lake, path.file_name().unwrap().to_str().unwrap());
        for (frame, cut) in
            crate::frame::split(&mut bytes[range], cuts.len()).unwrap().into_iter().zip(cuts)
        {
            if !staff.contains(&cut.cell) {
                frame.spoil();
            }
        }
        world.damage(&path, Some(&bytes));
    }
    assert_eq!(lines(&read(&lake, person(1), staff).unwrap()), before);
    assert!(matches!(
        read(&lake, person(1), treatments),
        Err(ReadError::Object(ObjectError::Altered(_)))
    ));
}

#[test]
fn a_link_that_somebody_else_wrote_is_not_followed() {
    let world = World::new();
    let lake = world.filled();
    lake.unlink(person(2)).unwrap();
    let (one, two) = (lake.keys.person(person(1)), lake.keys.patient(b"PAT-4712"));
    let forge = "UPDATE link SET patient = ?2 WHERE person = ?1";
    lake.keys.change(|keys| keys.execute(forge, [one, two])).unwrap();
    let error = read(&lake, person(1), cells(&lake, &["all"])).unwrap_err();
    assert!(matches!(error, ReadError::Link(LinkError::Altered)));
}

#[test]
fn a_destroyed_data_key_makes_the_rows_unreadable() {
    let world = World::new();
    let lake = world.filled();
    let patient = lake.keys.patient(b"PAT-4711");
    lake.keys
        .change(|keys| keys.execute("DELETE FROM patient WHERE patient = ?1", [patient]))
        .unwrap();
    let all = cells(&lake, &["all"]);
    assert!(matches!(read(&lake, person(1), all.clone()), Err(ReadError::Erased)));
    assert!(read(&lake, person(2), all).is_ok());
}

#[test]
fn reads_go_on_while_an_ingest_replaces_the_data() {
    let world = World::new();
    let lake = world.filled();
    let mut seen = Vec::new();
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    lake.ingest_with(&world.source(), &mut |_| {
        let part = read(&lake, person(1), cells(&lake, &["all"])).unwrap();
        seen.extend(part.tables[0].rows.iter().map(|row| row[0].clone()).filter(|product| {
            matches!(product, Value::Text(text) if ["aspirin", "ibuprofen"].contains(&text.as_str()))
        }));
    })
    .unwrap();
    let (old, new) = (Value::Text("aspirin".to_owned()), Value::Text("ibuprofen".to_owned()));
    let (last, before) = seen.split_last().unwrap();
    assert!(before.len() >= 4 && before.iter().all(|value| *value == old));
    assert_eq!(*last, new);
}

#[test]
fn many_reads_at_once_share_a_few_connections() {
    let world = World::new();
    let lake = world.filled();
    let all = cells(&lake, &["all"]);
    std::thread::scope(|scope| {
        for turn in 0..32_u8 {
            let (lake, all) = (&lake, all.clone());
            scope.spawn(move || {
                let who = turn % 4 + 1;
                let shown = read(lake, person(who), all).map(|part| part.tables.len());
                let expected = [Some(3), Some(2), Some(1), None][usize::from(who - 1)];
                assert_eq!(shown.ok(), expected, "a read that fails gives its turn back");
            });
        }
    });
    assert_eq!(filled_places(&world), 0);
}

#[test]
fn a_damaged_database_is_named() {
    if shared::is_used() {
        return; // A server looks after its files.
    }
    let world = World::new();
    drop(world.filled());
    for file in ["index.db", "keys.db"] {
        let path = world.root().join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, vec![b'x'; 20_000]).unwrap();
        let error = Lake::open(&world.root(), &kek()).err().unwrap().to_string();
        assert_eq!(error, "a database of the lake is damaged; restore it from a backup");
        fs::write(&path, whole).unwrap();
    }
    assert!(Lake::open(&world.root(), &kek()).is_ok());
}
