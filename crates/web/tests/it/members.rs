//! Centres that came by vote and centres that left have names, like the founders.

use crate::support::{Network, User};
use aegle_consensus::Timing;
use aegle_ledger::{Amendment, Centre, Epochs, Member};
use aegle_model::{Canonical as _, Hash, Name, SigningKey};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;

/// A centre that was no founder. Nobody runs it.
fn newcomer() -> Member {
    let key = SigningKey::from_seed(&[99; 32]).public();
    let (id, code) = (Centre::id_of(&key), Name::new("NEW").unwrap());
    let centre = Centre { id, code, key, tls: Hash::ZERO, seal: [4; 65] };
    Member { centre, address: "127.0.0.1:1".to_owned() }
}

async fn propose(admin: &User, amendment: &Amendment) {
    let draft = json!({ "amendment": STANDARD.encode(amendment.to_bytes()) });
    let reply = admin.post("/api/v1/governance", &draft).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.json);
}

/// Waits until NEW is among the centres, or is not any more.
async fn until_member(admin: &User, wanted: bool) {
    let is = |centres: &Value| centres.as_array().unwrap().iter().any(|it| it["code"] == "NEW");
    while is(&admin.get("/api/v1/centres").await.json) != wanted {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A rule for everybody at NEW.
fn rule() -> Value {
    json!({
        "effect": "allow", "grantee": { "organisation": { "centre": "NEW" } },
        "scope": [{ "centre": "ZMC", "tag": "all" }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_came_by_vote_or_left_has_a_name() {
    let timing = Timing { heartbeat: Duration::from_millis(100), ..Timing::default() };
    let pace = (Epochs::new(120).unwrap(), timing);
    let network = Network::with(&["ZMC"], &["ZMC"], pace).await;
    let node = &network.nodes[0];
    node.arrived().await;
    let admin = node.sign_in("admin").await;
    let (_, patient) = node.enrol("patient", &network.number("ZMC", 0)).await;
    let unknown = patient.post("/api/v1/rules", &rule()).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY, "{:?}", unknown.json);

    propose(&admin, &Amendment::Admit(newcomer())).await;
    until_member(&admin, true).await;
    // It has no vote yet, and leaves before it has: nobody runs it.
    let leaves = Amendment::Remove(newcomer().centre.id);
    propose(&admin, &leaves).await;
    let granted = patient.post("/api/v1/rules", &rule()).await;
    assert_eq!(granted.status, StatusCode::CREATED, "{:?}", granted.json);
    named(&patient).await;

    until_member(&admin, false).await;
    named(&patient).await;
    let gone = patient.post("/api/v1/rules", &rule()).await;
    assert_eq!(gone.status, StatusCode::UNPROCESSABLE_ENTITY, "it can be named in nothing new");
    let sentences = admin.get("/api/v1/governance").await.json;
    assert_eq!(sentences[1]["sentence"], "Remove the centre NEW.");
    network.stop().await;
}

/// The grantee has its name wherever the rule is shown.
async fn named(patient: &User) {
    let everybody = json!({ "organisation": { "centre": "NEW" } });
    let rules = patient.get("/api/v1/rules").await.json;
    assert_eq!(rules[0]["rule"]["grantee"], everybody, "{rules}");
    let history = patient.get("/api/v1/rules/history").await.json;
    assert_eq!(history[0]["rule"]["grantee"], everybody, "{history}");
    let log = patient.get("/api/v1/log").await.json;
    let entries = log["entries"].as_array().unwrap();
    let granted = entries.iter().find(|entry| entry["event"] == "granted").unwrap();
    assert_eq!(granted["rule"]["grantee"], everybody, "{log}");
    let restore = json!({ "at": "1" });
    let preview = patient.post("/api/v1/rules/restore/preview", &restore).await.json;
    assert_eq!(preview["goes"][0]["rule"]["grantee"], everybody, "{preview}");
}
