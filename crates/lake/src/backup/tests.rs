mod kill;

use super::*;
use crate::ReadError;
use crate::testing::{
    SECRETS, USE, World, cells, everything, files, is_first, kek, keks, person, read,
};
use std::collections::BTreeSet;

/// A lake with data, beside it its backup and a lake that is restored from that.
struct Place {
    world: World,
}

impl Place {
    fn new() -> Self {
        let world = World::new();
        drop(world.filled());
        Self { world }
    }

    fn backup(&self) -> PathBuf {
        self.world.folder().join("backup")
    }

    fn root(&self) -> PathBuf {
        self.world.folder().join("restored/lake")
    }

    fn back_up(&self, lake: &Lake) -> BackupReport {
        lake.back_up(&self.backup(), 7, &mut |_| {}).unwrap()
    }

    /// Restores with the keys that the lake has now, as a new machine does.
    fn restore(&self) -> Result<Lake, RestoreError> {
        let _ = fs::remove_dir_all(self.world.folder().join("restored"));
        fs::create_dir(self.world.folder().join("restored")).unwrap();
        let exported = Lake::keks_beside(&self.world.root(), &kek()).export().unwrap();
        let keks = Lake::keks_beside(&self.root(), &kek());
        keks.import(&exported).unwrap();
        restore(&self.backup(), &self.root(), std::sync::Arc::new(keks), &mut |_| {})?;
        Ok(Lake::open(&self.root(), &kek()).unwrap())
    }

    fn names(&self) -> BTreeSet<PathBuf> {
        files(&self.backup()).into_keys().filter(|path| path != Path::new("lock")).collect()
    }
}

#[test]
fn a_restored_lake_shows_what_the_last_backup_held() {
    let place = Place::new();
    let lake = place.world.open();
    let before = everything(&lake);
    let first = place.back_up(&lake);
    assert_eq!((first.height, first.epoch, first.objects, first.copied), (7, 1, 6, 6));
    assert!(first.bytes > 0);
    assert_eq!(everything(&place.restore().unwrap()), before);
    assert_eq!(place.back_up(&lake).copied, 0, "objects are copied once");

    place.world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    lake.ingest(&place.world.source()).unwrap();
    let after = everything(&lake);
    assert_ne!(before, after);
    assert_eq!(everything(&place.restore().unwrap()), before, "what is new is not in it yet");
    let second = place.back_up(&lake);
    // `doctor` is looked up through `use`; nothing is new in it.
    assert_eq!((second.objects, second.copied), (9, 3));
    let restored = place.restore().unwrap();
    assert_eq!(everything(&restored), after);
    // It goes on like the one that it was copied from.
    assert!(restored.ingest(&place.world.source()).unwrap().unchanged);
    place.world.write("use.csv", USE);
    let back = restored.ingest(&place.world.source()).unwrap();
    assert!(!back.unchanged);
    // A row that begins again stands after those that went on.
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(everything(&restored)), sorted(before));
    assert!(!place.world.root().join("backup.partial").exists());
}

#[test]
fn a_backup_at_any_step_of_an_ingest_holds_what_was_before_or_after_it() {
    let place = Place::new();
    let lake = place.world.open();
    let before = everything(&lake);
    place.world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
    let mut shown = Vec::new();
    lake.ingest_with(&place.world.source(), &mut |_| {
        place.back_up(&place.world.open());
        shown.push(everything(&place.restore().unwrap()));
    })
    .unwrap();
    assert_eq!(shown.pop().unwrap(), everything(&lake), "the last step is the commit");
    assert!(shown.len() > 4 && shown.iter().all(|one| *one == before));
}

#[test]
fn a_file_that_is_missing_cut_or_altered_is_refused_by_name_and_written_again() {
    let place = Place::new();
    let lake = place.world.open();
    place.back_up(&lake);
    let before = everything(&lake);
    assert_eq!(place.names().len(), 7);
    for name in place.names() {
        let path = place.backup().join(&name);
        let whole = fs::read(&path).unwrap();
        let mut altered = whole.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        for bytes in [Some(altered), Some(whole[..middle].to_vec()), Some(vec![]), None] {
            match &bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let error = place.restore().err().unwrap();
            let text = error.to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
            match (bytes, error) {
                (Some(_), RestoreError::Damaged(_)) | (None, RestoreError::Missing(_)) => {}
                (_, other) => panic!("{other}"),
            }
            assert!(!place.root().exists() && !place.root().with_extension("partial").exists());
            place.back_up(&lake);
            assert_eq!(everything(&place.restore().unwrap()), before);
        }
    }
}

#[test]
fn no_byte_of_a_snapshot_can_be_altered() {
    let place = Place::new();
    place.back_up(&place.world.open());
    let path = place.backup().join(SNAPSHOT);
    let whole = fs::read(&path).unwrap();
    let head = MAGIC.len() + 8 + 2 + 4 + 60;
    for byte in (0..head + 20).chain([whole.len() - 1]) {
        let mut altered = whole.clone();
        altered[byte] ^= 1;
        fs::write(&path, &altered).unwrap();
        let error = place.restore().err().unwrap();
        let epoch = byte >= head - 60 - 4 && byte < head - 60;
        let expected = if epoch {
            matches!(error, RestoreError::Epoch(_))
        } else {
            matches!(error, RestoreError::Damaged(_))
        };
        assert!(expected, "byte {byte}: {error}");
        fs::write(&path, &whole[..byte]).unwrap();
        let error = place.restore().err().unwrap();
        assert!(matches!(error, RestoreError::Damaged(_)), "cut at {byte}: {error}");
    }
}

#[test]
fn a_backup_shows_nobody() {
    let place = Place::new();
    let lake = place.world.open();
    place.back_up(&lake);
    let patient = lake.keys.patient(b"PAT-4711");
    let exported = Lake::keks_beside(&place.world.root(), &kek()).export().unwrap();
    let hidden: Vec<&[u8]> = SECRETS
        .iter()
        .map(|text| text.as_bytes())
        .chain([patient.as_slice(), &exported[4..], b"CREATE TABLE"])
        .collect();
    for (path, bytes) in files(&place.backup()) {
        let shown = |secret: &&&[u8]| bytes.windows(secret.len()).any(|window| window == **secret);
        assert_eq!(hidden.iter().filter(shown).count(), 0, "{}", path.display());
    }
}

#[test]
fn after_an_erasure_no_older_backup_opens_and_a_newer_one_does_not_hold_the_patient() {
    let place = Place::new();
    let lake = place.world.open();
    place.back_up(&lake);
    lake.erase(&lake.subject("PAT-4711").unwrap(), &mut |_| {}).unwrap();
    let error = place.restore().err().unwrap();
    assert!(matches!(error, RestoreError::Epoch(1)), "{error}");
    assert!(error.to_string().contains("nobody can read it"), "{error}");
    assert_eq!(place.back_up(&lake).copied, 0, "the objects of before serve");
    let restored = place.restore().unwrap();
    let shown = |byte| read(&restored, person(byte), cells(&restored, &["all"]));
    assert!(matches!(shown(1), Err(ReadError::NotLinked)));
    assert!(shown(2).is_ok() && shown(3).is_ok());
    let report = restored.ingest(&place.world.source()).unwrap();
    assert_eq!((report.patients, report.rows_of_erased), (2, 6), "the tombstone came along");
    assert_eq!(restored.erasures().unwrap(), lake.erasures().unwrap());
}

#[test]
fn keys_that_are_rotated_meanwhile_and_damaged_objects_are_told() {
    let place = Place::new();
    let lake = place.world.open();
    let mut rotated = false;
    let error = lake
        .back_up(&place.backup(), 7, &mut |step| {
            if let BackupStep::Taken { .. } = step {
                lake.rotate_keys(&mut |_| {}).unwrap();
                rotated = true;
            }
        })
        .unwrap_err();
    assert!(rotated && matches!(error, BackupError::Rotated), "{error}");
    assert_eq!(place.back_up(&lake).epoch, 2);
    let everything_before = everything(&place.restore().unwrap());

    let (path, bytes) = place.world.raw().pop_first().unwrap();
    let mut altered = bytes.clone();
    altered[9] ^= 1;
    place.world.damage(&path, Some(&altered));
    place.back_up(&lake);
    assert_eq!(everything(&place.restore().unwrap()), everything_before, "the good copy stays");
    let name = path.file_name().unwrap().to_str().unwrap();
    fs::remove_file(place.backup().join(OBJECTS).join(&name[..2]).join(name)).unwrap();
    let error = lake.back_up(&place.backup(), 7, &mut |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::Object(ObjectError::Altered(_))), "{error}");
    assert!(error.to_string().contains(name), "{error}");
}

#[test]
fn a_lake_is_restored_to_an_empty_place_only_and_two_backups_wait_for_each_other() {
    let place = Place::new();
    let lake = place.world.open();
    place.back_up(&lake);
    let keks = keks(&place.world);
    let error = restore(&place.backup(), &place.world.root(), keks, &mut |_| {}).err().unwrap();
    assert!(matches!(error, RestoreError::NotEmpty(_)), "{error}");
    let mut seen = Vec::new();
    lake.back_up(&place.backup(), 7, &mut |step| {
        if is_first(&mut seen, step) {
            let error = lake.back_up(&place.backup(), 7, &mut |_| {}).unwrap_err();
            assert!(matches!(error, BackupError::Busy(_)), "{error}");
        }
    })
    .unwrap();
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_second_backup_into_another_folder_is_refused_and_the_first_is_whole() {
    let place = Place::new();
    let lake = place.world.open();
    let before = everything(&lake);
    let other = place.world.folder().join("other");
    let mut seen = Vec::new();
    lake.back_up(&place.backup(), 7, &mut |step| {
        if !is_first(&mut seen, step) {
            return;
        }
        // By the same process, and by another one, which removes nothing on the way.
        for lake in [&lake, &place.world.open()] {
            let error = lake.back_up(&other, 7, &mut |_| {}).unwrap_err();
            assert!(matches!(error, BackupError::LakeBusy(_)), "{error}");
            assert!(error.to_string().ends_with("is running; wait for its end"), "{error}");
        }
    })
    .unwrap();
    assert_eq!(everything(&place.restore().unwrap()), before);
    assert_eq!(lake.back_up(&other, 7, &mut |_| {}).unwrap().copied, 6);
}

#[test]
fn what_a_killed_backup_left_is_removed_when_the_lake_is_opened_and_by_an_erasure() {
    let place = Place::new();
    let left = place.world.root().join("backup.partial");
    let leave = || {
        fs::create_dir(&left).unwrap();
        fs::write(left.join("index.db"), b"rows").unwrap();
    };
    leave();
    let lake = place.world.open();
    assert!(!left.exists());
    leave();
    lake.erase(&lake.subject("PAT-4711").unwrap(), &mut |_| {}).unwrap();
    assert!(!left.exists());
}
