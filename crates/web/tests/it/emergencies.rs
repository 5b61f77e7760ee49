//! Breaking the glass while the ledger cannot be reached.

use crate::support::{Network, User};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_without_a_quorum_is_served_from_the_own_lake_and_told_later() {
    let Outage { mut network, handle, patient, doctor, admin } = Outage::begin().await;

    let treatment = json!({ "patient": handle, "purpose": "treatment" });
    let (refused, _) = doctor.read(treatment).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "a decision is needed");
    let emergency =
        json!({ "patient": handle, "purpose": "emergency", "reason": "found unconscious" });
    for _ in 0..2 {
        let (reply, parts) = doctor.read(emergency.clone()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        let seen: Vec<_> = parts.iter().map(|(code, part)| (code.as_str(), part)).collect();
        assert!(seen.iter().any(|(code, part)| *code == "KHM" && part.is_none()));
        let own = seen.iter().find(|(code, _)| *code == "ZMC").unwrap().1.as_ref().unwrap();
        assert!(!own.tables.is_empty());
    }

    let reviewed = admin.get("/api/v1/emergencies").await.json;
    assert_eq!(on_ledger(&reviewed), [false, false]);
    assert_eq!(reviewed[0]["number"], 1, "newest first");
    assert_eq!(reviewed[0]["patient"], handle);
    assert_eq!(reviewed[0]["opened"]["reason"], "found unconscious");
    assert_eq!(reviewed[0]["opened"]["requester"]["professional"]["id"], "207");

    network.nodes[1].vote_again().await;
    while on_ledger(&admin.get("/api/v1/emergencies").await.json) != [true, true] {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = told(&patient).await;
    let asked: Vec<_> = events(&log, "asked").filter(|entry| !entry["late"].is_null()).collect();
    assert_eq!(asked.len(), 2, "each exactly once");
    for (entry, review) in asked.iter().zip(reviewed.as_array().unwrap().iter().rev()) {
        assert_eq!(entry["request"], review["request"], "in the order of the journal");
        assert_eq!((&entry["emergency"], &entry["decision"]), (&json!(true), &json!("permit")));
        assert_eq!(entry["late"], review["time"]);
    }
    assert_eq!(log["complete"], true);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_cut_or_altered_serves_nobody() {
    let Outage { network, handle, doctor, admin, .. } = Outage::begin().await;
    let emergency = json!({ "patient": handle, "purpose": "emergency", "reason": "unconscious" });
    assert_eq!(doctor.read(emergency.clone()).await.0.status, StatusCode::OK);
    let file = network.home("ZMC").join("emergencies.db");
    let journal = rusqlite::Connection::open(file).unwrap();
    let body: Vec<u8> = journal.query_row("SELECT body FROM entry", [], |row| row.get(0)).unwrap();
    let put = "UPDATE entry SET body = ?1";
    for place in [0, 100, body.len() / 2, body.len() - 1] {
        let mut altered = body.clone();
        altered[place] ^= 1;
        journal.execute(put, [altered]).unwrap();
        nobody_is_served(&doctor, &admin, &emergency).await;
    }
    journal.execute(put, [&body]).unwrap();
    assert_eq!(admin.get("/api/v1/emergencies").await.status, StatusCode::OK, "as it was");
    journal.execute("DELETE FROM entry", []).unwrap();
    nobody_is_served(&doctor, &admin, &emergency).await;
    network.stop().await;
}

async fn nobody_is_served(doctor: &User, admin: &User, emergency: &Value) {
    let (reply, parts) = doctor.read(emergency.clone()).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", reply.text);
    assert!(parts.is_empty());
    let reply = admin.get("/api/v1/emergencies").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// A patient, a doctor and an administrator of ZMC, and no quorum.
struct Outage {
    network: Network,
    handle: String,
    patient: User,
    doctor: User,
    admin: User,
}

impl Outage {
    async fn begin() -> Self {
        let mut network = Network::start(&["ZMC", "KHM"]).await;
        let (handle, patient) = network.nodes[0].enrol("patient", &network.number("ZMC", 0)).await;
        let doctor = network.nodes[0].add_doctor("doctor", "207").await;
        let admin = network.nodes[0].sign_in("admin").await;
        network.settled().await;
        network.nodes[1].abstain().await;
        while network.nodes[0].centre.agrees() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Self { network, handle, patient, doctor, admin }
    }
}

fn on_ledger(reviewed: &Value) -> Vec<bool> {
    reviewed.as_array().unwrap().iter().map(|one| one["on_ledger"].as_bool().unwrap()).collect()
}

/// The log, once what left in both emergencies stands in it.
async fn told(patient: &User) -> Value {
    loop {
        let log = patient.get("/api/v1/log").await.json;
        if events(&log, "delivered").count() == 2 {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn events<'a>(log: &'a Value, event: &'a str) -> impl Iterator<Item = &'a Value> {
    log["entries"].as_array().unwrap().iter().filter(move |entry| entry["event"] == event)
}
