use super::*;
use crate::testing::{CATALOGUE, DOCTOR, SCAN, SECRETS, USE, World, everything};

/// A row that cannot be read, and one with a field too many.
const WRONG: &str = "PAT-4711,EPI-1,ibuprofen,pain,eighty,2024-01-01\nPAT-4711,EPI-1,x,y,1,,\n";

fn broken() -> String {
    format!("{USE}{WRONG}")
}

fn held(lake: &Lake) -> Vec<Quarantined> {
    let mut all = lake.quarantine().unwrap();
    all.retain(|one| one.standing == Standing::Held);
    all
}

fn kept(error: &IngestError) -> Vec<&str> {
    let IngestError::Quarantined(partly) = error else { panic!("{error:?}") };
    partly.kept.iter().map(aegle_model::Name::as_str).collect()
}

#[test]
fn a_broken_table_keeps_what_it_had_with_those_that_look_through_it_and_the_others_go_on() {
    let world = World::new();
    let lake = world.filled();
    let before = everything(&lake);
    world.write("use.csv", &broken());
    world.write("scan.csv", &SCAN.replace("false", "true"));
    world.write("doctor.csv", &DOCTOR.replace("Jansen", "Janssen"));
    let error = lake.ingest(&world.source()).unwrap_err();
    assert_eq!(kept(&error), ["use", "doctor"]);
    let text = error.to_string();
    for told in ["`use`, `doctor`", "use.csv, line 6: column `dose`", "aegle lake quarantine list"]
    {
        assert!(text.contains(told), "{told}\n{text}");
    }
    let expected: Vec<_> = before.iter().map(|line| line.replace("-3,false", "-3,true")).collect();
    assert_eq!(everything(&lake), expected);
    let state = lake.index.state().unwrap().unwrap();
    assert_eq!((state.rows, state.rows_without_patient), (8, 1), "as before");
    // Again the same: nothing is written, and it is told again.
    let error = lake.ingest(&world.source()).unwrap_err();
    assert_eq!(kept(&error), ["use", "doctor"]);
    assert_eq!((held(&lake).len(), everything(&lake)), (1, expected));
}

#[test]
fn what_is_in_quarantine_is_named_by_file_line_and_column_and_shows_no_value() {
    let world = World::new();
    let lake = world.filled();
    world.write("use.csv", &broken());
    lake.ingest(&world.source()).unwrap_err();
    let [one] = &held(&lake)[..] else { panic!() };
    assert_eq!((one.table.as_str(), one.rows, one.wrong_rows), ("use", 5, 2));
    assert_eq!(
        one.reasons,
        [
            "use.csv, line 6: column `dose` is not a decimal number of at most 28 digits",
            "use.csv, line 7: the record does not have the 6 fields of the header",
        ]
    );
    assert!(one.releasable && one.folder == world.source());
    let hidden = SECRETS.iter().copied().chain(["eighty", "use.csv, line"]);
    for secret in hidden {
        for (path, bytes) in world.stored() {
            let shown = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!shown, "{} shows {secret}", path.display());
        }
    }
}

#[test]
fn released_it_comes_in_without_the_wrong_rows_which_stay_counted() {
    let world = World::new();
    let lake = world.filled();
    world.write("use.csv", &broken().replace("aspirin", "naproxen"));
    lake.ingest(&world.source()).unwrap_err();
    let batch = held(&lake)[0].batch.clone();
    assert!(matches!(lake.release("ff00", &mut |_| {}), Err(QuarantineError::NotOne(0))));
    let report = lake.release(&batch, &mut |_| {}).unwrap();
    assert_eq!((report.rows, report.unchanged), (8, false));
    let shown = everything(&lake);
    assert!(shown.iter().any(|line| line.contains("naproxen")));
    assert!(!shown.iter().any(|line| line.contains("ibuprofen")));
    let all = lake.quarantine().unwrap();
    assert_eq!((all[0].standing, all[0].wrong_rows), (Standing::Released, 2));
    assert_eq!(lake.report().unwrap().tables[0].stats.wrong_rows, 2);
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    // What was released can be repaired like anything else.
    for path in world.raw().keys() {
        world.damage(path, None);
    }
    let scrubbed = lake.scrub(crate::ScrubOptions::default(), &mut |_| {}).unwrap();
    let lost = scrubbed.damaged.iter().filter(|one| one.fate == crate::Fate::Lost);
    assert_eq!(lost.count(), 1, "the row that was replaced is in no source any more");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(everything(&lake)), sorted(shown));
}

#[test]
fn dropped_it_stays_out_and_nobody_is_told_again() {
    let world = World::new();
    let lake = world.filled();
    let before = everything(&lake);
    world.write("use.csv", &broken());
    lake.ingest(&world.source()).unwrap_err();
    let batch = held(&lake)[0].batch.clone();
    assert_eq!(lake.drop_quarantined(&batch[..6]).unwrap().standing, Standing::Dropped);
    lake.ingest(&world.source()).unwrap();
    assert_eq!((held(&lake), everything(&lake)), (vec![], before));
}

#[test]
fn a_mended_source_comes_in_and_nobody_has_to_decide_any_more() {
    let world = World::new();
    let lake = world.filled();
    world.write("use.csv", &broken());
    lake.ingest(&world.source()).unwrap_err();
    world.write("use.csv", &USE.replace("aspirin", "naproxen"));
    lake.ingest(&world.source()).unwrap();
    assert_eq!(held(&lake), []);
    assert_eq!(lake.quarantine().unwrap()[0].standing, Standing::Replaced);
    assert!(everything(&lake).iter().any(|line| line.contains("naproxen")));
}

#[test]
fn without_an_older_batch_nothing_comes_in() {
    let world = World::new();
    world.write("use.csv", &broken());
    let lake = world.open();
    let error = lake.ingest(&world.source()).unwrap_err();
    assert!(matches!(error, IngestError::Source(_)), "{error:?}");
    assert!(lake.catalogue().unwrap().is_none());
    let batch = held(&lake)[0].batch.clone();
    assert_eq!(lake.release(&batch, &mut |_| {}).unwrap().rows, 8);
}

#[test]
fn a_file_that_is_wrong_as_a_whole_cannot_be_released_but_a_column_too_many_can() {
    let world = World::new();
    let lake = world.filled();
    let before = everything(&lake);
    world.write("use.csv", &USE.replace(",dose,", ",amount,"));
    lake.ingest(&world.source()).unwrap_err();
    let one = &held(&lake)[0];
    assert!(one.reasons.iter().any(|reason| reason.contains("`dose` of the catalogue")));
    assert!(matches!(lake.release(&one.batch, &mut |_| {}), Err(QuarantineError::Whole)));
    assert_eq!(everything(&lake), before);
    let room = |(line, text)| format!("{text},{}", if line == 0 { "room" } else { "7" });
    let wider: Vec<_> = SCAN.lines().enumerate().map(room).collect();
    let wider = wider.join("\n");
    world.write("use.csv", USE);
    world.write("scan.csv", &wider);
    lake.ingest(&world.source()).unwrap_err();
    let one = held(&lake).into_iter().find(|one| one.table == "scan").unwrap();
    assert_eq!(one.reasons, ["scan.csv, line 1: column 6 `room` is not in the catalogue"]);
    lake.release(&one.batch, &mut |_| {}).unwrap();
    assert_eq!(everything(&lake), before);
}

#[test]
fn a_contract_says_how_much_may_be_wrong() {
    let world = World::new();
    let patient = "[tables.use]\npatient = \"patnr\"";
    let bound = |contract: &str| CATALOGUE.replace(patient, &format!("{patient}\n{contract}"));
    world.write("catalogue.toml", &bound("contract = { wrong_rows = 2 }"));
    world.write("use.csv", &broken());
    let lake = world.open();
    assert_eq!(lake.ingest(&world.source()).unwrap().rows, 8);
    world.write("use.csv", &format!("{}{WRONG}", broken()));
    lake.ingest(&world.source()).unwrap_err();
    assert!(held(&lake)[0].reasons.contains(&"the contract allows 2 wrong rows".to_owned()));
    // A contract may be tightened without a new version; it is about what comes.
    world.write("catalogue.toml", &bound("contract = { orphans_percent = 20 }"));
    world.write("use.csv", &format!("{USE},EPI-1,x,x,1,2024-01-01\n"));
    lake.ingest(&world.source()).unwrap();
    world.write("use.csv", &format!("{USE}{}", ",EPI-1,x,x,1,2024-01-01\n".repeat(2)));
    let text = lake.ingest(&world.source()).unwrap_err().to_string();
    assert!(text.contains("use.csv, lines 6 and 7: the row belongs to no patient"), "{text}");
}
