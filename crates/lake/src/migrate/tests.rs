use super::*;
use crate::remote::wait;
use crate::testing::{self, DOCTOR, USE, World, everything, files, kek, servers, shared};
use crate::{
    Erasure, IngestError, KekError, OpenError, Progress, RestoreError, ScrubOptions, ScrubReport,
    restore,
};
use aegle_model::RecordKey;
use object_store::ObjectStoreExt as _;
use object_store::path::Path as Location;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Servers, and what is made there.
struct Servers {
    database: servers::Running,
    store: servers::Running,
}

impl Servers {
    fn start() -> Option<Self> {
        Some(Self { database: servers::postgres()?, store: servers::s3()? })
    }

    fn place(&self, name: &str, folder: &TempDir) -> Place {
        self.database.sql(&format!("CREATE DATABASE {name}"));
        self.again(name, folder)
    }

    fn again(&self, name: &str, folder: &TempDir) -> Place {
        shared::at((self.database.port, self.store.port), name, folder.path().join("lake"))
    }
}

/// Opens a lake at a place with the keys of a world.
fn open(world: &World, place: &Place) -> Lake {
    Lake::open_at(place, Arc::new(Lake::keks_beside(&world.root(), &kek()))).unwrap()
}

/// A lake with data of two loads, an erasure, a repaired object, and a table in quarantine.
fn filled() -> World {
    let world = World::new();
    let lake = world.filled();
    world.damage(world.raw().keys().next().unwrap(), None);
    assert!(scrub(&lake).is_whole());
    world.write("use.csv", &USE.replace("80.0", "eighty"));
    lake.ingest(&world.source()).unwrap_err();
    let held = lake.quarantine().unwrap().remove(0);
    lake.drop_quarantined(&held.batch).unwrap();
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    lake.ingest(&world.source()).unwrap();
    lake.erase(&lake.subject("PAT-4713").unwrap(), &mut |_| {}).unwrap();
    world
}

fn scrub(lake: &Lake) -> ScrubReport {
    lake.scrub(ScrubOptions::default(), &mut |_| {}).unwrap()
}

/// What the lake says of itself, with what is in quarantine and what was damaged.
fn report(lake: &Lake) -> serde_json::Value {
    let mut report = serde_json::to_value(lake.report().unwrap()).unwrap();
    report["made"].take();
    report
}

fn shown(lake: &Lake) -> (Vec<String>, Vec<Erasure>) {
    let all = |byte| {
        let cells = testing::cells(lake, &["all"]);
        testing::lines(&testing::read(lake, testing::person(byte), cells).unwrap())
    };
    ([1, 2].into_iter().flat_map(all).collect(), lake.erasures().unwrap())
}

fn migrate(lake: &Lake, to: &Place) -> Result<Migration, MigrateError> {
    lake.migrate(to, &mut |_| {})
}

#[test]
fn a_lake_moves_to_servers_and_back_and_goes_on() {
    if shared::is_used() {
        return;
    }
    let Some(servers) = Servers::start() else { return };
    let (world, folder) = (filled(), tempfile::tempdir().unwrap());
    let lake = world.open();
    let (before, raw, told) = (shown(&lake), world.raw(), report(&lake));
    assert_eq!((told["quarantine"].as_array().unwrap().len(), &told["lost"]), (1, &0.into()));
    assert_eq!(told["damages"].as_array().unwrap().len(), 1);
    let there = servers.place("one", &folder);
    let done = migrate(&lake, &there).unwrap();
    assert_eq!((done.objects, done.copied), (9, 9));
    assert_eq!(done.bytes, raw.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    // Run again, it finds everything there.
    assert_eq!(migrate(&lake, &there).unwrap(), Migration { copied: 0, bytes: 0, ..done });
    assert_eq!((shown(&lake), world.raw()), (before.clone(), raw));
    drop(lake);

    let moved = open(&world, &there);
    assert_eq!((shown(&moved), report(&moved)), (before, told));
    // Each object is there, and can be brought again from its source as before.
    let looked = scrub(&moved);
    assert!(looked.is_whole() && looked.damaged.is_empty() && looked.strays == 0, "{looked:?}");
    assert_eq!(looked.objects, done.objects);
    let store = there.objects.as_ref().unwrap().store().unwrap();
    let scans = "SELECT pack.name FROM pack JOIN batch ON batch.id = batch WHERE of_table = 'scan'";
    let scans = moved.index.look(|index| index.query_row(scans, [], |row| row.get(0))).unwrap();
    let scans = hex::encode::<ObjectName>(scans);
    wait(store.delete(&Location::from(format!("packs/{}/{scans}", &scans[..2])))).unwrap();
    assert_eq!(scrub(&moved).damaged.len(), 1);
    assert!(scrub(&moved).damaged.is_empty());
    assert!(moved.ingest(&world.source()).unwrap().unchanged);
    world.write("doctor.csv", &DOCTOR.replace("Jansen", "Janssen"));
    assert!(!moved.ingest(&world.source()).unwrap().unchanged);
    // The new place has another state now.
    assert!(matches!(migrate(&world.open(), &there), Err(MigrateError::NotEmpty)));
    moved.erase(&moved.subject("PAT-4712").unwrap(), &mut |_| {}).unwrap();
    assert_eq!(moved.erasures().unwrap().len(), 2, "numbers go on after those that came along");
    // The old place is a copy like any other, of which an erasure makes noise.
    let gone = world.try_open().err().unwrap();
    assert!(matches!(gone, OpenError::Keys(KeyError::Kek(KekError::Gone(2)))), "{gone}");

    let back = tempfile::tempdir().unwrap();
    let place = Place::folder(back.path().join("lake"));
    migrate(&moved, &place).unwrap();
    let back = open(&world, &place);
    assert_eq!(back.erasures().unwrap(), moved.erasures().unwrap());
    let person = testing::person(1);
    let read = |lake: &Lake| {
        testing::lines(&testing::read(lake, person, testing::cells(lake, &["all"])).unwrap())
    };
    assert_eq!(read(&back), read(&moved));
    assert!(back.ingest(&world.source()).unwrap().unchanged);
}

#[test]
fn a_migration_that_fails_is_run_again_and_nothing_is_there_before() {
    if shared::is_used() {
        return;
    }
    let Some(servers) = Servers::start() else { return };
    let (world, folder) = (filled(), tempfile::tempdir().unwrap());
    let lake = world.open();
    let before = shown(&lake);
    let there = servers.place("two", &folder);
    let (path, whole) = world.raw().pop_last().unwrap();
    let path: PathBuf = world.root().join("raw").join(path);
    let mut altered = whole.clone();
    altered[9] ^= 1;
    std::fs::write(&path, altered).unwrap();
    let error = migrate(&lake, &there).unwrap_err();
    assert!(matches!(error, MigrateError::Object(ObjectError::Altered(_))), "{error}");
    std::fs::write(&path, whole).unwrap();
    // What changes while it is copied is noticed.
    let mut is_first = true;
    let error = lake.migrate(&there, &mut |step| {
        if *step == MigrateStep::Keys && std::mem::take(&mut is_first) {
            lake.unlink(testing::person(2)).unwrap();
        }
    });
    assert!(matches!(error, Err(MigrateError::Changed)), "{error:?}");
    lake.link(testing::person(2), "PAT-4712").unwrap();
    let busy = lake.migrate(&there, &mut |_| {
        let refused = world.open().ingest(&world.source());
        assert!(matches!(refused, Err(IngestError::Busy)), "{refused:?}");
    });
    assert_eq!(busy.unwrap().copied, 0);
    assert_eq!(shown(&open(&world, &servers.again("two", &folder))), before);
    assert!(!files(&world.root()).is_empty());
}

#[test]
fn several_processes_share_a_lake() {
    if shared::is_used() {
        return;
    }
    let Some(servers) = Servers::start() else { return };
    let world = World::new();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = open(&world, &servers.place("three", &folders[0]));
    let second = open(&world, &servers.again("three", &folders[1]));
    let mut refused = 0;
    first
        .ingest_with(&world.source(), &mut |_| {
            let busy = second.ingest(&world.source());
            refused += usize::from(matches!(busy, Err(IngestError::Busy)));
        })
        .unwrap();
    assert!(refused > 5, "{refused}");
    for (byte, number) in [(1, "PAT-4711"), (2, "PAT-4712"), (3, "PAT-4713")] {
        second.link(testing::person(byte), number).unwrap();
    }
    let before = everything(&first);
    assert_eq!(everything(&second), before);
    // Reads go on while another process ingests and rotates, and see all or nothing of it.
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    std::thread::scope(|scope| {
        let ingest = scope.spawn(|| {
            second.ingest(&world.source()).unwrap();
            second.rotate_keys(&mut |_| {}).unwrap();
            everything(&second)
        });
        let mut seen = vec![everything(&first)];
        while !ingest.is_finished() {
            seen.push(everything(&first));
        }
        let after = ingest.join().unwrap();
        assert_ne!(before, after);
        assert!(seen.iter().all(|seen| [&before, &after].contains(&seen)));
        assert_eq!(everything(&first), after);
    });
    // Two rotations at once wait for each other.
    std::thread::scope(|scope| {
        for lake in [&first, &second] {
            scope.spawn(|| lake.rotate_keys(&mut |_| {}).unwrap());
        }
    });
    assert_eq!(everything(&first), everything(&second));
    let epochs = testing::keks(&world).epochs().unwrap();
    assert_eq!(epochs, [4]);
}

#[test]
fn whoever_loses_the_session_loses_the_lock_and_writes_nothing_and_goes_on_later() {
    if shared::is_used() {
        return;
    }
    let Some(servers) = Servers::start() else { return };
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let lake = open(&world, &servers.place("four", &folder));
    lake.ingest(&world.source()).unwrap();
    for (byte, number) in [(1, "PAT-4711"), (2, "PAT-4712"), (3, "PAT-4713")] {
        lake.link(testing::person(byte), number).unwrap();
    }
    let lose = || {
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'four'";
        servers.database.sql(all);
    };
    let before = everything(&lake);
    lose();
    assert_eq!(everything(&lake), before, "a read begins anew");
    lose();
    lake.put_record_key(testing::person(1), &RecordKey::from_array([9; 32])).unwrap();
    world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    let failed = lake.ingest_with(&world.source(), &mut |step| {
        if matches!(step, Progress::Stored { .. }) {
            lose();
        }
    });
    assert!(matches!(failed, Err(IngestError::Index(DatabaseError::Unreachable(_)))), "{failed:?}");
    assert_eq!(everything(&lake), before);
    assert!(!lake.ingest(&world.source()).unwrap().unchanged);
    assert_ne!(everything(&lake), before);
}

#[test]
fn a_page_that_the_server_cannot_read_any_more_is_told_by_a_scrub() {
    if shared::is_used() {
        return;
    }
    let Some(servers) = Servers::start() else { return };
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let lake = open(&world, &servers.place("five", &folder));
    lake.ingest(&world.source()).unwrap();
    let text = |sql: &str| -> String {
        lake.index.look(|index| index.query_row(sql, [], |row| row.get(0))).unwrap()
    };
    let file = text("SELECT CAST(pg_relation_filenode('facts') AS TEXT)");
    let data = text("SELECT current_setting('data_directory')");
    let newer = text("SELECT CAST(current_setting('server_version_num') >= '150000' AS TEXT)");
    let strategy = if newer == "true" { "STRATEGY FILE_COPY" } else { "" };
    servers.database.sql("ALTER DATABASE five ALLOW_CONNECTIONS false");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'five'";
    servers.database.sql(end);
    // The server has no page of the copy in memory yet.
    servers.database.sql(&format!("CREATE DATABASE six TEMPLATE five {strategy}"));
    servers.database.sql("ALTER DATABASE five ALLOW_CONNECTIONS true");
    let id = text("SELECT CAST(oid AS TEXT) FROM pg_database WHERE datname = 'six'");
    let file = PathBuf::from(data).join("base").join(id).join(file);
    let mut pages = std::fs::read(&file).unwrap();
    pages[..24].fill(0xff);
    std::fs::write(&file, pages).unwrap();
    let mut place = servers.again("five", &folder);
    place.metadata = servers.again("six", &folder).metadata;
    let found = scrub(&open(&world, &place)).databases;
    assert_eq!(found, ["the schema `lake` of the database is damaged; restore it from a backup"]);
    assert!(scrub(&lake).is_whole());
}

#[test]
fn what_was_left_behind_is_noise_after_an_erasure_at_the_new_place() {
    if shared::is_used() {
        return;
    }
    let (world, folder) = (filled(), tempfile::tempdir().unwrap());
    let (here, there) = (world.root(), folder.path().join("lake"));
    let backup = folder.path().join("backup");
    let [old_keks, new_keks] = [&here, &there].map(|root| Lake::keks_beside(root, &kek()));
    let lake = world.open();
    lake.back_up(&backup, 7, &mut |_| {}).unwrap();
    new_keks.import(&old_keks.export().unwrap()).unwrap();
    migrate(&lake, &Place::folder(&there)).unwrap();
    drop(lake);
    assert!(old_keks.give_way_to(&new_keks).unwrap());
    // Whoever keeps the old place for a while opens it with the keys of the new one, and moves again.
    let gone = |opened: Result<Lake, OpenError>| match opened.err().unwrap() {
        OpenError::Keys(KeyError::Kek(KekError::Gone(epoch))) => epoch,
        other => panic!("{other}"),
    };
    let with_new = || Lake::open_with_keks(&here, Arc::new(Lake::keks_beside(&there, &kek())));
    assert_eq!(gone(world.try_open()), 2);
    assert_eq!(migrate(&with_new().unwrap(), &Place::folder(&there)).unwrap().copied, 0);
    let moved = Lake::open(&there, &kek()).unwrap();
    moved.erase(&moved.subject("PAT-4712").unwrap(), &mut |_| {}).unwrap();
    assert_eq!((gone(world.try_open()), gone(with_new())), (2, 2));
    for root in [&here, &there] {
        let keks = Arc::new(Lake::keks_beside(root, &kek()));
        let restored = restore(&backup, &folder.path().join("restored"), keks, &mut |_| {});
        assert!(matches!(restored, Err(RestoreError::Epoch(2))), "{restored:?}");
    }
}

#[test]
fn keys_that_came_to_the_new_place_since_are_not_written_over() {
    if shared::is_used() {
        return;
    }
    let (world, folder) = (filled(), tempfile::tempdir().unwrap());
    let lake = world.open();
    let there = Place::folder(folder.path().join("lake"));
    migrate(&lake, &there).unwrap();
    let moved = open(&world, &there);
    assert!(moved.unlink(testing::person(2)).unwrap());
    moved.link(testing::person(9), "PAT-4712").unwrap();
    assert!(matches!(migrate(&lake, &there), Err(MigrateError::NotEmpty)));
    assert!(moved.subject("PAT-4712").unwrap().is_linked());
    // Another lake that has keys and no rows is another lake, too.
    let other = Place::folder(folder.path().join("other"));
    let begun = Lake::open(&other.folder, &kek()).unwrap();
    begun.put_record_key(testing::person(1), &RecordKey::from_array([7; 32])).unwrap();
    assert!(matches!(migrate(&lake, &other), Err(MigrateError::NotEmpty)));
}
