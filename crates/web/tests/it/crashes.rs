//! What is begun and not ended is taken up again.

use crate::support::{Network, PASSPHRASE, User};
use aegle_centre::{Caller, NewLogin};
use aegle_model::RequestId;
use axum::http::StatusCode;
use serde_json::json;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use zeroize::Zeroizing;

/// An enrolment that ends at any of its pauses, as in a crash, neither loses the patient's number
/// nor makes two patients of one.
#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_that_was_cut_short_anywhere_is_taken_up() {
    let network = Network::start(&["ZMC"]).await;
    let centre = &network.nodes[0].centre;
    for pauses in 0.. {
        let number = network.number("ZMC", pauses);
        let login = || NewLogin {
            login: format!("patient-{pauses}"),
            name: "Some Patient".to_owned(),
            passphrase: Zeroizing::new(PASSPHRASE.to_owned()),
        };
        let ended = {
            let mut enrolling = pin!(centre.enrol(&Caller::Administrator, &number, login()));
            let mut left = pauses;
            // It is only asked again when it can go on, so this counts its own pauses.
            poll_fn(|context| match enrolling.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await
        };
        let handle = centre.enrol(&Caller::Administrator, &number, login()).await.unwrap();
        let again = centre.enrol(&Caller::Administrator, &number, login()).await.unwrap();
        assert_eq!(handle, again, "after {pauses} pauses");
        if ended {
            break;
        }
    }
    network.stop().await;
}

/// What a process left in the lake that died between making a part and telling of it is told to the
/// ledger by the next one, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_a_crash_interrupted_is_told_to_the_ledger() {
    let network = Network::start(&["ZMC", "KHM"]).await;
    let [data, home] = &network.nodes[..] else { panic!("two nodes") };
    let (handle, patient) = home.enrol("patient", &network.number("KHM", 0)).await;
    let offer = json!({ "centre": "ZMC", "speaks": false });
    let offered = patient.post("/api/v1/links", &offer).await;
    assert_eq!(offered.status, StatusCode::ACCEPTED, "{}", offered.text);
    let taken = json!({
        "number": network.number("ZMC", 0), "login": "patient", "name": "Some Patient",
        "passphrase": PASSPHRASE,
    });
    let admin = data.sign_in("admin").await;
    let taken = admin.post(&format!("/api/v1/offers/{handle}"), &taken).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.text);
    data.fall_silent();
    let (asked, _) = patient.read(json!({ "purpose": "treatment" })).await;
    let request: RequestId = asked.json["request"].as_str().unwrap().parse().unwrap();
    assert_eq!(said(&patient, "ZMC", 1).await, ["unreachable"]);

    let folder = network.home("ZMC");
    let left = folder.join("lake/consumer/left");
    std::fs::write(&left, [request.as_bytes().as_slice(), b"a part that was sealed"].concat())
        .unwrap();
    let again = data.again(&folder);
    assert!(!left.exists(), "emptied before anything else");
    assert_eq!(again.parts().lake.interrupted(), [request]);
    again.resume().await.unwrap();
    assert_eq!(said(&patient, "ZMC", 2).await, ["unreachable", "interrupted"]);

    let third = data.again(&folder);
    assert!(third.parts().lake.interrupted().is_empty(), "told once");
    network.stop().await;
}

/// Why a centre's part is missing, as the patient's log tells it, when it tells of so many.
async fn said(patient: &User, centre: &str, count: usize) -> Vec<String> {
    loop {
        let log = patient.get("/api/v1/log").await.json;
        assert_eq!(log["complete"], true);
        let parts = log["entries"].as_array().unwrap().iter();
        let parts = parts.flat_map(|entry| entry["parts"].as_array().into_iter().flatten());
        let of_centre = parts.filter(|part| part["centre"] == centre);
        let said: Vec<_> =
            of_centre.filter_map(|part| part["why"].as_str().map(str::to_owned)).collect();
        if said.len() >= count {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
