//! One centre, from the first sign-in to the log.

use crate::support::{Network, User, columns};
use axum::http::StatusCode;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_shares_watches_and_takes_back() {
    let network = Network::start(&["ZMC"]).await;
    let node = &network.nodes[0];
    let doctor = node.add_doctor("doctor", "1104").await;
    let (handle, patient) = node.enrol("patient", &network.number("ZMC", 0)).await;
    let everything = json!({ "patient": handle, "purpose": "treatment" });

    let before = doctor.read(everything.clone()).await.1;
    assert!(columns(before[0].1.as_ref().unwrap()).is_empty());

    let rule = grant(&patient, "allow", "medication").await;
    let (_, allowed) = doctor.read(everything.clone()).await;
    let allowed = columns(allowed[0].1.as_ref().unwrap());
    assert!(!allowed.is_empty());

    grant(&patient, "deny", "treatments").await;
    let (_, narrowed) = doctor.read(everything.clone()).await;
    let narrowed = columns(narrowed[0].1.as_ref().unwrap());
    let count = |tables: &[(String, Vec<String>)]| tables.iter().map(|t| t.1.len()).sum::<usize>();
    assert!(count(&narrowed) < count(&allowed));

    let (_, own) = patient.read(json!({ "purpose": "treatment" })).await;
    assert!(count(&columns(own[0].1.as_ref().unwrap())) > count(&allowed));

    let emergency =
        json!({ "patient": handle, "purpose": "emergency", "reason": "unconscious, no history" });
    let (_, broken) = doctor.read(emergency).await;
    assert_eq!(columns(broken[0].1.as_ref().unwrap()), columns(own[0].1.as_ref().unwrap()));

    let revoked = patient.delete(&format!("/api/v1/rules/{rule}")).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let (_, after) = doctor.read(everything).await;
    assert!(columns(after[0].1.as_ref().unwrap()).is_empty());

    log_is_whole(&patient).await;
    snapshots(&patient, &doctor).await;

    assert_eq!(patient.delete("/api/v1/session").await.status, StatusCode::NO_CONTENT);
    assert_eq!(patient.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
    network.stop().await;
}

async fn grant(patient: &User, effect: &str, tag: &str) -> String {
    let rule = json!({
        "effect": effect,
        "grantee": { "department": { "centre": "ZMC", "id": "1" } },
        "scope": [{ "centre": "ZMC", "tag": tag }],
        "from": "2020-01-01T00:00:00Z",
        "purposes": ["treatment", "emergency"],
    });
    let reply = patient.post("/api/v1/rules", &rule).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.json);
    reply.json["id"].as_str().unwrap().to_owned()
}

/// Every step is in the log, in order. Deliveries follow when they are on the ledger.
async fn log_is_whole(patient: &User) {
    let log = loop {
        let log = patient.get("/api/v1/log").await;
        let deliveries = events(&log.json).iter().filter(|event| **event == "delivered").count();
        if deliveries == 6 {
            break log.json;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(log["complete"], true);
    let steps: Vec<_> = events(&log).into_iter().filter(|event| event != "delivered").collect();
    let story = [
        "enrolled", "asked", "granted", "asked", "granted", "asked", "asked", "asked", "revoked",
        "asked",
    ];
    assert_eq!(steps, story);
    let asked: Vec<_> = log["entries"].as_array().unwrap().iter().filter(is("asked")).collect();
    let decisions: Vec<_> = asked.iter().map(|entry| entry["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["deny", "permit", "permit", "permit", "permit", "deny"]);
    let broken: Vec<_> = asked.iter().map(|entry| entry["emergency"].as_bool().unwrap()).collect();
    assert_eq!(broken, [false, false, false, false, true, false]);
    assert_eq!(asked[4]["opened"]["reason"], "unconscious, no history");
}

fn events(log: &Value) -> Vec<String> {
    let entries = log["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["event"].as_str().unwrap().to_owned()).collect()
}

fn is(event: &str) -> impl Fn(&&Value) -> bool {
    move |entry| entry["event"] == event
}

/// What the answers look like.
async fn snapshots(patient: &User, doctor: &User) {
    let log = patient.get("/api/v1/log").await.json;
    let one_of_each: Vec<_> = ["enrolled", "asked", "granted", "revoked", "delivered"]
        .into_iter()
        .map(|event| log["entries"].as_array().unwrap().iter().rfind(is(event)).unwrap())
        .collect();
    insta::assert_json_snapshot!("log_entries", one_of_each, {
        "[].time" => "[time]", "[].height" => "[height]", "[].number" => "[number]",
        "[].id" => "[id]", "[].request" => "[id]", "[].opened.asked" => "[time]",
        "[].parts[].content" => "[hash]", "[].parts[].rows" => "[count]",
        "[].parts[].columns" => "[count]", "[].cells[].granted" => "[count]",
        "[].cells[].asked" => "[count]",
    });
    insta::assert_json_snapshot!("rules", patient.get("/api/v1/rules").await.json, {
        "[].id" => "[id]",
    });
    insta::assert_json_snapshot!("me_patient", patient.get("/api/v1/me").await.json, {
        ".expires" => "[time]", ".handle" => "[handle]",
    });
    insta::assert_json_snapshot!("me_doctor", doctor.get("/api/v1/me").await.json, {
        ".expires" => "[time]",
    });
    insta::assert_json_snapshot!("staff", doctor.get("/api/v1/staff").await.json);
    insta::assert_json_snapshot!("departments", doctor.get("/api/v1/departments").await.json);
    insta::assert_json_snapshot!("links", patient.get("/api/v1/links").await.json);
    let reachable = "/api/v1/centres?reachable=true";
    insta::assert_json_snapshot!("centres", doctor.get(reachable).await.json);
    let ledger = doctor.get("/api/v1/ledger").await.json;
    insta::assert_json_snapshot!("ledger", ledger, {
        ".network" => "[id]", ".time" => "[time]", ".height" => "[height]",
        ".waiting" => "[count]", ".waiting_bytes" => "[count]", ".blocks" => "[count]",
        ".outbox" => "[count]", ".outbox_age_s" => "[seconds]", ".round_changes" => "[count]",
        ".members[].signed" => "[count]", ".members[].missed" => "[count]",
    });
    preview(patient).await;
}

async fn preview(patient: &User) {
    let request = json!({
        "requester": { "centre": "ZMC", "professional": "1104", "departments": ["1"] },
        "purpose": "treatment",
        "rule": {
            "effect": "allow",
            "grantee": { "professional": { "centre": "ZMC", "id": "1104" } },
            "scope": [{ "centre": "ZMC", "tag": "all" }],
        },
    });
    let reply = patient.post("/api/v1/rules/preview", &request).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.json);
    insta::assert_json_snapshot!("preview", reply.json, { "[].cells[].closed_by[]" => "[id]" });
    let cells = reply.json[0]["cells"].as_array().unwrap();
    let carries =
        |cell: &Value, tag: &str| cell["tags"].as_array().unwrap().iter().any(|t| t == tag);
    for cell in cells {
        assert_eq!(cell["open"], !carries(cell, "treatments"), "{cell}");
        assert_eq!(cell["opened_by"], json!(["draft"]), "{cell}");
    }
}
