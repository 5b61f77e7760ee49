//! Rules have a history, change once, and wait when the ledger cannot be reached.

use crate::support::{Network, Reply, User};
use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

fn rule(effect: &str, tag: &str) -> Value {
    json!({
        "effect": effect,
        "grantee": { "department": { "centre": "ZMC", "id": "1" } },
        "scope": [{ "centre": "ZMC", "tag": tag }],
    })
}

/// Grants under a name.
async fn grant(patient: &User, name: &str, rule: &Value) -> Reply {
    patient.change("POST", "/api/v1/rules", name, rule).await
}

async fn granted(patient: &User, name: &str, rule: &Value) -> String {
    let reply = grant(patient, name, rule).await;
    assert_eq!((reply.status, &reply.json["status"]), (StatusCode::CREATED, &json!("in_force")));
    id(&reply)
}

fn id(reply: &Reply) -> String {
    reply.json["id"].as_str().unwrap().to_owned()
}

/// Ids and states of the rules that a path lists.
async fn listed(patient: &User, path: &str) -> Vec<(String, String)> {
    let reply = patient.get(path).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rules = reply.json.as_array().unwrap().iter();
    rules.map(|rule| (text(&rule["id"]), text(&rule["status"]))).collect()
}

fn in_force(ids: &[&String]) -> Vec<(String, String)> {
    ids.iter().map(|id| ((*id).clone(), "in_force".to_owned())).collect()
}

/// The height of the state that is read now. The status may be a moment behind it.
async fn height(user: &User) -> u64 {
    let reply = user.get("/api/v1/rules").await;
    reply.headers["aegle-height"].to_str().unwrap().parse().unwrap()
}

async fn history(patient: &User) -> Vec<Value> {
    patient.get("/api/v1/rules/history").await.json.as_array().unwrap().clone()
}

fn kinds(history: &[Value]) -> Vec<&str> {
    history.iter().map(|change| change["change"].as_str().unwrap()).collect()
}

fn fates(history: &[Value]) -> Vec<&str> {
    history.iter().map(|change| change["status"].as_str().unwrap()).collect()
}

/// How many entries of this kind are in the patient's log.
async fn logged(patient: &User, event: &str) -> usize {
    let log = patient.get("/api/v1/log").await.json;
    assert_eq!(log["complete"], true);
    log["entries"].as_array().unwrap().iter().filter(|entry| entry["event"] == event).count()
}

async fn restore(patient: &User, name: &str, at: &str) -> Reply {
    patient.change("POST", "/api/v1/rules/restore", name, &json!({ "at": at })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_sees_the_rules_of_any_moment_and_returns_to_them() {
    let network = Network::start(&["ZMC"]).await;
    let node = &network.nodes[0];
    let doctor = node.add_doctor("doctor", "1104").await;
    let (handle, patient) = node.enrol("patient", &network.number("ZMC", 0)).await;
    let (_, other) = node.enrol("other", &network.number("ZMC", 1)).await;
    let theirs = granted(&other, "1", &rule("allow", "all")).await;

    let first = granted(&patient, "1", &rule("allow", "medication")).await;
    let then = height(&patient).await;
    let second = granted(&patient, "2", &rule("deny", "treatments")).await;
    assert_eq!(patient.delete(&format!("/api/v1/rules/{first}")).await.status, 204);
    let question = json!({ "patient": handle, "purpose": "treatment" });
    let (_, closed) = doctor.read(question.clone()).await;
    assert!(closed[0].1.as_ref().unwrap().tables.is_empty());

    let at = |moment: &str| format!("/api/v1/rules?at={moment}");
    assert_eq!(listed(&patient, &at("0")).await, []);
    assert_eq!(listed(&patient, &at(&then.to_string())).await, in_force(&[&first]));
    assert_eq!(listed(&patient, "/api/v1/rules").await, in_force(&[&second]));
    let past = history(&patient).await;
    assert_eq!(kinds(&past), ["granted", "granted", "revoked"]);
    assert!(past.iter().all(|change| change["author"] == "ZMC" && change["status"] == "made"));
    assert_eq!(past[2]["id"], json!(first));
    let time = past[1]["time"].as_str().unwrap();
    assert_eq!(listed(&patient, &at(time)).await, in_force(&[&first, &second]));

    let body = json!({ "at": then.to_string() });
    let preview = patient.post("/api/v1/rules/restore/preview", &body).await.json;
    assert_eq!(preview["comes"][0]["id"], json!(first));
    assert_eq!(preview["goes"][0]["id"], json!(second));
    assert_eq!(preview["goes"][0]["rule"]["effect"], "deny");
    let back = restore(&patient, "3", &then.to_string()).await;
    assert_eq!(
        (back.status, &back.json),
        (StatusCode::OK, &json!({ "height": then, "status": "in_force" }))
    );
    assert_eq!(listed(&patient, "/api/v1/rules").await, in_force(&[&first]));
    let (_, open) = doctor.read(question).await;
    assert!(!open[0].1.as_ref().unwrap().tables.is_empty());

    // Back to where it was, by the time of the revocation.
    let back = restore(&patient, "4", past[2]["time"].as_str().unwrap()).await;
    assert_eq!(back.json["height"], past[2]["height"]);
    assert_eq!(listed(&patient, "/api/v1/rules").await, in_force(&[&second]));
    assert_eq!(logged(&patient, "restored").await, 2);

    for moment in ["99999999", "2999-01-01T00:00:00Z", "yesterday", "-1", ""] {
        let reply = restore(&patient, "5", moment).await;
        assert_eq!((reply.status.as_u16(), &reply.json["field"]), (422, &json!("at")), "{moment}");
    }
    // Nobody else sees any of it, and nobody else's rules were touched.
    assert_eq!(listed(&other, "/api/v1/rules").await, in_force(&[&theirs]));
    assert_eq!(history(&other).await.len(), 1);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_name_is_made_once() {
    let network = Network::start(&["ZMC"]).await;
    let node = &network.nodes[0];
    let (_, patient) = node.enrol("patient", &network.number("ZMC", 0)).await;
    let (allow, deny) = (rule("allow", "medication"), rule("deny", "treatments"));
    let first = granted(&patient, "a", &allow).await;
    assert_eq!(granted(&patient, "a", &allow).await, first);
    let at_once = join_all((0..6).map(|_| granted(&patient, "b", &deny))).await;
    assert!(at_once.iter().all(|id| *id == at_once[0] && *id != first));
    assert_eq!(logged(&patient, "granted").await, 2);
    let reused = grant(&patient, "a", &deny).await;
    assert_eq!(reused.status, StatusCode::CONFLICT, "{}", reused.text);
    let reused = restore(&patient, "a", "1").await;
    assert_eq!(reused.status, StatusCode::CONFLICT, "{}", reused.text);

    let then = height(&patient).await;
    let path = format!("/api/v1/rules/{first}");
    let revoke = async |name| patient.change("DELETE", &path, name, &Value::Null).await.status;
    assert_eq!(revoke("c").await, StatusCode::NO_CONTENT);
    assert_eq!(revoke("c").await, StatusCode::NO_CONTENT);
    assert_eq!(patient.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(logged(&patient, "revoked").await, 1);
    for _ in 0..2 {
        assert_eq!(restore(&patient, "d", &then.to_string()).await.status, StatusCode::OK);
    }
    assert_eq!(logged(&patient, "restored").await, 1);
    assert_eq!(revoke("c").await, StatusCode::NO_CONTENT, "it was made, before the return");
    assert_eq!(listed(&patient, "/api/v1/rules").await, in_force(&[&first, &at_once[0]]));

    for name in ["", " ", "with space", &"x".repeat(129)] {
        let reply = grant(&patient, name, &allow).await;
        assert_eq!(reply.json["field"], "idempotency-key", "{name:?}: {}", reply.text);
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_changes_wait_and_nothing_is_decided() {
    let codes = ["ZMC", "KHM", "FCRB", "USTAN"];
    let mut network = Network::silent(&codes, &codes[..3]).await;
    for node in &network.nodes {
        node.arrived().await;
    }
    let doctor = network.nodes[0].add_doctor("doctor", "1104").await;
    let (handle, patient) = network.nodes[0].enrol("patient", &network.number("ZMC", 0)).await;
    let (allow, deny) = (rule("allow", "medication"), rule("deny", "treatments"));
    let first = granted(&patient, "a", &allow).await;
    let then = height(&patient).await;
    network.nodes[1].abstain().await;

    let waits = grant(&patient, "b", &deny).await;
    assert_eq!((waits.status, &waits.json["status"]), (StatusCode::ACCEPTED, &json!("waiting")));
    let second = id(&waits);
    let again = grant(&patient, "b", &deny).await;
    assert_eq!((again.status, id(&again)), (StatusCode::ACCEPTED, second.clone()));
    for _ in 0..2 {
        let waits = patient.delete(&format!("/api/v1/rules/{first}")).await;
        assert_eq!(
            (waits.status, &waits.json["status"]),
            (StatusCode::ACCEPTED, &json!("revoking"))
        );
    }
    let state = |id: &String, state: &str| (id.clone(), state.to_owned());
    let expected = [state(&first, "revoking"), state(&second, "waiting")];
    assert_eq!(listed(&patient, "/api/v1/rules").await, expected);
    assert_eq!(restore(&patient, "c", &then.to_string()).await.status, StatusCode::ACCEPTED);
    // What the ledger will refuse: to revoke what the change before takes out of force.
    let path = format!("/api/v1/rules/{first}");
    let revoke = async || patient.change("DELETE", &path, "e", &Value::Null).await;
    assert_eq!(restore(&patient, "d", "0").await.status, StatusCode::ACCEPTED);
    assert_eq!(revoke().await.status, StatusCode::ACCEPTED);
    let past = history(&patient).await;
    let all = ["granted", "granted", "revoked", "restored", "restored", "revoked"];
    assert_eq!(
        (kinds(&past), fates(&past)),
        (all.to_vec(), [&["made"][..], &["waiting"; 5]].concat())
    );
    let (count, age_s) = outbox(&patient).await;
    assert!(count == 5 && age_s > 0, "{count} {age_s}");

    let (reply, parts) = doctor.read(json!({ "patient": handle, "purpose": "treatment" })).await;
    assert_eq!((reply.status.as_u16(), &reply.json["part"]), (503, &json!("ledger")));
    assert!(parts.is_empty());

    network.nodes[1].vote_again().await;
    while fates(&history(&patient).await).contains(&"waiting") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let past = history(&patient).await;
    assert_eq!(
        (kinds(&past), fates(&past)),
        (all.to_vec(), [&["made"; 5][..], &["refused"]].concat())
    );
    assert_eq!(past[5]["why"], "the patient has no such rule");
    assert_eq!(outbox(&patient).await, (0, 0));
    assert_eq!(revoke().await.status, StatusCode::NO_CONTENT, "it is out of force");
    assert_eq!(history(&patient).await.len(), 5, "the patient has heard of it");
    assert_eq!(listed(&patient, "/api/v1/rules").await, []);
    let then = past[3]["height"].to_string();
    assert_eq!(listed(&patient, &format!("/api/v1/rules?at={then}")).await, in_force(&[&first]));
    assert_eq!(granted(&patient, "b", &deny).await, second, "it was made");
    assert_eq!((logged(&patient, "granted").await, logged(&patient, "revoked").await), (2, 1));
    network.stop().await;
}

/// How much waits for the ledger and for how long, as people and machines are told alike.
async fn outbox(user: &User) -> (u64, u64) {
    let status = user.get("/api/v1/ledger").await.json;
    let metrics = user.get("/metrics").await.text;
    let metric = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {metrics}")).trim().parse().unwrap()
    };
    let told = (status["outbox"].as_u64().unwrap(), status["outbox_age_s"].as_u64().unwrap());
    let counted = (metric("aegle_ledger_outbox "), metric("aegle_ledger_outbox_age_seconds "));
    assert!(told.0 == counted.0 && counted.1.abs_diff(told.1) < 60, "{told:?} {counted:?}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_with_an_older_state_than_they_have_seen() {
    let network = Network::start(&["ZMC"]).await;
    let (_, patient) = network.nodes[0].enrol("patient", &network.number("ZMC", 0)).await;
    let reply = patient.get("/api/v1/rules").await;
    assert_eq!(reply.headers["aegle-network"], network.genesis.network().to_string());
    let seen: u64 = reply.headers["aegle-height"].to_str().unwrap().parse().unwrap();
    assert!(seen > 0);
    let up_to_date = User { seen: Some(seen), ..patient.clone() };
    assert_eq!(up_to_date.get("/api/v1/rules").await.status, StatusCode::OK);
    let ahead = User { seen: Some(seen + 1_000_000), ..patient };
    let behind = ahead.get("/api/v1/rules").await;
    assert_eq!((behind.status.as_u16(), &behind.json["part"]), (503, &json!("ledger")));
    network.stop().await;
}
