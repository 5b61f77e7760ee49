//! Closed, empty, unknown and not linked look the same to a professional.

use crate::support::{Network, Node, User};
use axum::http::StatusCode;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_looks_like_what_is_not_there() {
    let network = Network::start(&["ZMC", "KHM"]).await;
    let [home, surgery] = &network.nodes[..] else { panic!("two nodes") };
    let doctor = surgery.add_doctor("doctor", "12").await;
    let (no_rule, _) = home.enrol("patient-a", &network.number("ZMC", 1)).await;
    let (denied, patient) = home.enrol("patient-b", &network.number("ZMC", 0)).await;
    grant(&patient, "allow", "medication").await;
    grant(&patient, "deny", "all").await;
    let (local, _) = surgery.enrol("patient-c", &network.number("KHM", 0)).await;
    let unknown = unknown_handles(&[&no_rule, &denied, &local]).next().unwrap();

    network.settled().await;
    let mut answers = Vec::new();
    for handle in [&no_rule, &denied, &local, &unknown] {
        answers.push(answer(&doctor, json!({ "patient": handle, "purpose": "treatment" })).await);
    }
    let parts = answers[0]["parts"].as_array().unwrap();
    assert!(parts.iter().all(|part| part["status"] == "answered"));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");

    // An open tag without rows: nothing to show, either.
    grant(&patient, "allow", "all").await;
    network.settled().await;
    let empty = surgery_tag(&doctor).await;
    let wishes = json!({ "KHM": [empty] });
    let mut answers = Vec::new();
    for handle in [&denied, &local, &unknown] {
        let question = json!({ "patient": handle, "purpose": "treatment", "wishes": wishes });
        answers.push(answer(&doctor, question).await);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    refusals(&doctor, &[&denied, &unknown]).await;

    a_silent_guardian(home, &doctor, [&denied, &local]).await;
    network.stop().await;
}

/// Some unknown handles fare as the patient whose only guardian is silent, some as the other one:
/// the outage tells nothing about a handle.
async fn a_silent_guardian(home: &Node, doctor: &User, [guarded, local]: [&String; 2]) {
    home.fall_silent();
    let question = |handle: &String| json!({ "patient": handle, "purpose": "treatment" });
    let unguarded = status(doctor, question(guarded)).await;
    assert_eq!(unguarded.0, StatusCode::SERVICE_UNAVAILABLE);
    let served = answer(doctor, question(local)).await;
    let parts = served["parts"].as_array().unwrap().iter();
    let parts =
        parts.map(|part| (part["centre"].as_str().unwrap(), part["status"].as_str().unwrap()));
    let parts: std::collections::BTreeMap<_, _> = parts.collect();
    assert_eq!(parts, [("KHM", "answered"), ("ZMC", "missing")].into());
    let mut met = std::collections::BTreeSet::new();
    for handle in unknown_handles(&[guarded, local]).take(12) {
        let first = status(doctor, question(&handle)).await;
        assert_eq!(first.0, status(doctor, question(&handle)).await.0, "the same every time");
        if first.0 == StatusCode::OK {
            assert_eq!(answer(doctor, question(&handle)).await, served);
        } else {
            assert_eq!(first, unguarded);
        }
        met.insert(first.0);
    }
    assert_eq!(met.len(), 2, "both happen to unknown handles");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_known_and_unknown_fail_alike() {
    let mut network = Network::start(&["ZMC", "KHM"]).await;
    let doctor = network.nodes[1].add_doctor("doctor", "12").await;
    let (known, _) = network.nodes[1].enrol("patient", &network.number("KHM", 0)).await;
    network.nodes[0].consensus.take().unwrap().stop().await;
    let question = |handle: &String| json!({ "patient": handle, "purpose": "treatment" });
    // The unknown one stands for the nobody of either centre.
    for unknown in unknown_handles(&[&known]).take(4) {
        let (known, unknown) =
            tokio::join!(status(&doctor, question(&known)), status(&doctor, question(&unknown)));
        assert_eq!(known.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(known, unknown);
    }
    network.stop().await;
}

/// The status, and what is said unless it is an answer.
async fn status(doctor: &User, question: Value) -> (StatusCode, String) {
    let (reply, _) = doctor.read(question).await;
    let text = if reply.status == StatusCode::OK { String::new() } else { reply.text };
    (reply.status, text)
}

/// The answer without what is random: ids, and the bytes of what is sealed (not how many).
async fn answer(doctor: &User, question: Value) -> Value {
    let (reply, parts) = doctor.read(question).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    assert!(parts.iter().flat_map(|(_, part)| part).all(|part| part.tables.is_empty()));
    let mut shape = reply.json;
    for id in ["request", "receipt"] {
        shape[id] = shape[id].as_str().unwrap().len().into();
    }
    for part in shape["parts"].as_array_mut().unwrap() {
        part["sealed"] = part["sealed"].as_str().map(str::len).into();
    }
    // The ledger's height goes on between two answers, whatever is asked; anybody can see it.
    for (name, value) in reply.headers.iter().filter(|(name, _)| *name != "aegle-height") {
        shape["headers"][name.as_str()] = value.to_str().unwrap().into();
    }
    shape
}

/// What is wrong with a question is told before it is looked whom it is about.
async fn refusals(doctor: &User, handles: &[&String]) {
    for wrong in [
        json!({ "recipient": "BAQE" }),
        json!({ "recipient": "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE" }),
        json!({ "purpose": "emergency" }),
        json!({ "wishes": { "ZMC": ["no such tag"] } }),
    ] {
        let mut answers = Vec::new();
        for handle in handles {
            let key = aegle_lake::sealed::OpeningKey::generate();
            let recipient =
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.recipient());
            let mut question =
                json!({ "patient": handle, "purpose": "treatment", "recipient": recipient });
            for (field, value) in wrong.as_object().unwrap() {
                question[field] = value.clone();
            }
            let reply = doctor.post("/api/v1/records", &question).await;
            assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong} {}", reply.text);
            answers.push(reply.text);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    }
}

async fn grant(patient: &User, effect: &str, tag: &str) {
    let rule = json!({
        "effect": effect,
        "grantee": { "department": { "centre": "KHM", "id": "1" } },
        "scope": [{ "centre": "ZMC", "tag": tag }],
    });
    let reply = patient.post("/api/v1/rules", &rule).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
}

/// Some tag of KHM that is not `all`.
async fn surgery_tag(doctor: &User) -> String {
    let centres = doctor.get("/api/v1/centres").await.json;
    let khm = centres.as_array().unwrap().iter().find(|centre| centre["code"] == "KHM").unwrap();
    let tags = khm["catalogue"]["tags"].as_array().unwrap();
    let named = tags.iter().map(|tag| tag["name"].as_str().unwrap());
    named.into_iter().find(|tag| *tag != "all").unwrap().to_owned()
}

/// Handles that no patient has.
fn unknown_handles(taken: &[&String]) -> impl Iterator<Item = String> {
    let patients = (0_u8..).map(|byte| aegle_model::PatientId::from_array([byte; 16]));
    let handles = patients.map(|patient| aegle_model::Handle::from(patient).to_string());
    handles.filter(|handle| !taken.contains(&handle))
}
