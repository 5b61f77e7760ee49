use crate::sealed::{Answer, OpeningKey};
use crate::testing::{CATALOGUE, DOCTOR, USE, World, cells, permit, person};
use crate::{Asking, Lake, Shape};
use serde_json::Value as Json;

/// Episodes, medicines, doctors and days are hubs; the episode may be shown to who sees treatments.
fn world() -> World {
    let world = World::new();
    let text = CATALOGUE
        .replacen(
            r#"episode = { type = "text", key = true }"#,
            r#"episode = { type = "text", tags = ["treatments"], hub = "event:episode" }"#,
            1,
        )
        .replace(
            r#"episode = { type = "text", key = true }"#,
            r#"episode = { type = "text", tags = ["staff"], hub = "event:episode" }"#,
        )
        .replace(
            r#"name    = { type = "text","#,
            r#"name    = { type = "text", hub = "person:professional","#,
        )
        .replace(
            r#"product = { type = "text","#,
            r#"product = { type = "text", hub = "object:medicine","#,
        )
        .replace(r#"start   = { type = "date","#, r#"start   = { type = "date", hub = "time","#)
        .replace(r#"at     = { type = "time","#, r#"at     = { type = "time", hub = "time","#);
    world.write("catalogue.toml", &text);
    world.write("doctor.csv", &format!("{DOCTOR}EPI-1,Pietersen\n"));
    world
}

fn view(lake: &Lake, byte: u8, tags: &[&str]) -> Json {
    let key = OpeningKey::generate();
    let permit = permit(lake, person(byte), cells(lake, tags), &key);
    let asking = Asking { shape: Shape::Vault, ..Asking::default() };
    let delivery = lake.read_as(&permit, &asking).unwrap();
    let answer = Answer { request: permit.request(), receipt: permit.receipt() };
    serde_json::from_slice(&key.open(&answer, &delivery.sealed).unwrap()).unwrap()
}

/// The business keys of a hub.
fn keys(view: &Json, hub: &str) -> Vec<String> {
    let rows = view["hubs"][hub].as_array().unwrap();
    let mut keys: Vec<_> = rows.iter().map(|row| row["business_key"].to_string()).collect();
    keys.sort();
    keys
}

#[test]
fn a_vault_has_one_row_per_business_key_and_one_link_per_tuple() {
    let world = world();
    let view = view(&world.filled(), 1, &["all"]);
    assert_eq!(keys(&view, "event"), ["[\"EPI-1\"]", "[\"EPI-2\"]", "[]"]);
    assert_eq!(keys(&view, "object"), ["[\"aspirin\"]", "[\"losartan, \\\"low\\\"\"]"]);
    assert_eq!(keys(&view, "person"), ["[\"Jansen\"]", "[\"Pietersen\"]", "[]"]);
    assert_eq!(
        keys(&view, "time"),
        ["[\"2024-01-01\"]", "[\"2024-01-01T09:00:00Z\"]", "[\"2024-02-29\"]"]
    );
    assert_eq!(keys(&view, "location"), Vec::<String>::new());
    // Three rows of `use`, one of `scan`, three of `doctor`; every one is joined to the patient.
    let links = view["links"].as_array().unwrap();
    assert_eq!(links.len(), 7);
    let patient = &links[0]["ends"][0]["key"];
    assert!(links.iter().all(|link| link["ends"][0]["key"] == *patient));
    let tables: Vec<_> =
        view["satellites"].as_array().unwrap().iter().map(|table| &table["source"]).collect();
    assert_eq!(tables, ["doctor", "scan", "use"]);
    let used = &view["satellites"][2];
    let columns: Vec<_> =
        used["columns"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(columns, ["reason", "dose", "start"], "keys are in the hubs, times stay too");
    assert_eq!(used["rows"][0]["values"].to_string(), r#"["angina","80.0","2024-01-01"]"#);
    assert!(used["rows"][0]["loaded"].is_string() && used["rows"][0]["ended"].is_null());
}

#[test]
fn a_business_key_that_may_not_be_shown_leaves_no_trace() {
    let world = world();
    let lake = world.filled();
    let view = view(&lake, 1, &["medication"]);
    let text = view.to_string();
    for hidden in ["EPI-", "2024-01-01", "Jansen", "Pietersen", "PAT-"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    assert_eq!(keys(&view, "person"), ["[]"], "the patient");
    let events: Vec<_> = view["hubs"]["event"].as_array().unwrap().iter().collect();
    let names: Vec<_> = events.iter().map(|event| event["key"].as_str().unwrap()).collect();
    assert_eq!(names, ["use#1", "use#2", "use#3"], "two rows of one episode do not show it");
    let rows = view["satellites"][0]["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["loaded"].is_null()));
    assert!(events.iter().all(|event| event["loaded"].is_null()));
}

#[test]
fn a_change_of_what_is_not_shown_does_not_show() {
    let world = world();
    let lake = world.filled();
    let before = view(&lake, 1, &["staff"]);
    // What is shown of `use` is the reason and the product; the day is hidden.
    let medication = view(&lake, 1, &["medication"]);
    world.write("use.csv", &USE.replace("2024-02-29", "2024-03-01"));
    lake.ingest(&world.source()).unwrap();
    assert_eq!(view(&lake, 1, &["staff"]), before);
    assert_eq!(view(&lake, 1, &["medication"]), medication);
}

#[test]
fn keys_are_the_same_in_every_answer_about_a_patient_and_differ_between_patients() {
    let world = world();
    let lake = world.filled();
    let pietersen = |byte| {
        let view = view(&lake, byte, &["all"]);
        let rows = view["hubs"]["person"].as_array().unwrap().clone();
        let named = |row: &&Json| row["business_key"][0] == "Pietersen";
        rows.iter().find(named).unwrap()["key"].clone()
    };
    assert_eq!(pietersen(1), pietersen(1));
    assert_ne!(pietersen(1), pietersen(2));
    // The number under which the index knows the patient is in no answer.
    let index = hex::encode(lake.keys.patient(b"PAT-4711"));
    assert!(!view(&lake, 1, &["all"]).to_string().contains(&index));
}

#[test]
fn a_vault_of_nothing_has_every_hub_and_no_row() {
    let world = world();
    let view = view(&world.filled(), 1, &[]);
    assert_eq!(view["links"].as_array().unwrap().len(), 0);
    assert_eq!(view["satellites"].as_array().unwrap().len(), 0);
    for hub in ["time", "person", "object", "location", "event"] {
        assert_eq!(view["hubs"][hub].as_array().unwrap().len(), 0);
    }
}
