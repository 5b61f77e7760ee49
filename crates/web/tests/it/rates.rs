//! Nobody fills a patient's log, and whoever is turned away learns nothing.

use crate::support::{Network, User};
use aegle_model::{Handle, PatientId};
use aegle_web::{Limits, Rate};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::time::Duration;

fn rate(burst: u32) -> Rate {
    Rate { burst: NonZeroU32::new(burst).unwrap(), every: Duration::from_hours(1) }
}

/// The status of a request, what is said, and when to come again.
async fn asked(user: &User, handle: Option<&str>, emergency: bool) -> (StatusCode, String, String) {
    let mut question = if emergency {
        json!({ "purpose": "emergency", "reason": "not conscious" })
    } else {
        json!({ "purpose": "treatment" })
    };
    if let Some(handle) = handle {
        question["patient"] = handle.into();
    }
    let (reply, _) = user.read(question).await;
    let said = if reply.status == StatusCode::OK { String::new() } else { reply.text };
    let again = reply.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (reply.status, said, again.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_turned_away_alike_whether_or_not_there_is_a_patient() {
    let network = Network::start(&["ZMC"]).await;
    let node = &network.nodes[0];
    let limits = Limits { record: rate(2), records: rate(7), ..Limits::default() };
    let api = aegle_web::api(node.centre.clone(), limits);
    let doctor = User { api: api.clone(), ..node.add_doctor("doctor", "12").await };
    let (handle, patient) = node.enrol("patient", &network.number("ZMC", 0)).await;
    let patient = User { api, ..patient };
    let unknown = Handle::from(PatientId::from_array([7; 16])).to_string();
    assert_ne!(handle, unknown);

    let mut refusals = Vec::new();
    for handle in [&handle, &unknown] {
        for _ in 0..2 {
            assert_eq!(asked(&doctor, Some(handle), false).await.0, StatusCode::OK);
        }
        refusals.push(asked(&doctor, Some(handle), false).await);
    }
    assert_eq!(refusals[0].0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refusals[0], refusals[1]);
    let before = entries(&patient).await;
    asked(&doctor, Some(&handle), false).await;
    assert_eq!(entries(&patient).await, before, "what was turned away is in no log");
    // Written otherwise, it is the same handle.
    let lower = handle.to_lowercase();
    assert_eq!(asked(&doctor, Some(&lower), false).await.0, StatusCode::TOO_MANY_REQUESTS);

    assert_eq!(asked(&doctor, Some(&handle), true).await.0, StatusCode::OK, "danger goes first");
    for _ in 0..2 {
        assert_eq!(asked(&patient, None, false).await.0, StatusCode::OK);
    }
    assert_eq!(asked(&patient, None, false).await.0, StatusCode::TOO_MANY_REQUESTS);
    network.stop().await;
}

async fn entries(patient: &User) -> usize {
    let log: Value = patient.get("/api/v1/log").await.json;
    log["entries"].as_array().unwrap().len()
}
