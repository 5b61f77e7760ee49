//! Closed, empty, unknown and not linked look the same to a professional.

use crate::support::{Network, User};
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
    let unknown = unknown_handle(&[&no_rule, &denied, &local]);

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

    home.fall_silent();
    let mut answers = Vec::new();
    for handle in [&local, &unknown] {
        answers.push(answer(&doctor, json!({ "patient": handle, "purpose": "treatment" })).await);
    }
    let parts = answers[0]["parts"].as_array().unwrap().iter();
    let status =
        parts.map(|part| (part["centre"].as_str().unwrap(), part["status"].as_str().unwrap()));
    let status: std::collections::BTreeMap<_, _> = status.collect();
    assert_eq!(status, [("KHM", "answered"), ("ZMC", "missing")].into());
    assert_eq!(answers[0], answers[1]);
    network.stop().await;
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
    for (name, value) in &reply.headers {
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

/// A handle that nobody has.
fn unknown_handle(taken: &[&String]) -> String {
    let patients = (0_u8..).map(|byte| aegle_model::PatientId::from_array([byte; 16]));
    let mut handles = patients.map(|patient| aegle_model::Handle::from(patient).to_string());
    handles.find(|handle| !taken.contains(&handle)).unwrap()
}
