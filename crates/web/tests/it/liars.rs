//! Centres that lie to other centres.

use crate::support::{Network, Node, columns};
use aegle_ledger::{Attestation, Body, Disclose, Draft, OpenedRequest, Receipt};
use aegle_model::Canonical;
use aegle_web::TlsListener;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use borsh::BorshDeserialize;
use serde_json::json;

/// A guardian that leaves the other centre out of the question would make its part look empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_guardian_that_leaves_a_centre_out_is_passed_over() {
    let mut network = Network::start(&["ZMC", "FCRB", "KHM"]).await;
    let (handle, patient) = network.nodes[0].enrol("patient", &network.number("ZMC", 0)).await;
    crate::between_nodes::link(&network, &handle, &patient).await;
    let doctor = network.nodes[2].add_doctor("doctor", "12").await;
    let rule = json!({
        "effect": "allow",
        "grantee": { "professional": { "centre": "KHM", "id": "12" } },
        "scope": [{ "centre": "FCRB", "tag": "all" }],
    });
    patient.post("/api/v1/rules", &rule).await;
    network.settled().await;
    let genesis = network.genesis.clone();
    begin_to_lie(&mut network.nodes[0], &genesis).await;

    let (reply, parts) = doctor.read(json!({ "patient": handle, "purpose": "treatment" })).await;
    let shown: Vec<_> = parts
        .into_iter()
        .filter(|(_, part)| part.as_ref().is_some_and(|part| !columns(part).is_empty()))
        .map(|(centre, _)| centre)
        .collect();
    assert_eq!(shown, ["FCRB"], "{}", reply.text);
    network.stop().await;
}

/// From now on the node's own guarding forgets every centre but itself.
async fn begin_to_lie(node: &mut Node, genesis: &aegle_ledger::Genesis) {
    node.fall_silent();
    let socket = loop {
        match tokio::net::TcpListener::bind(node.peer_address).await {
            Ok(socket) => break socket,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let listener = TlsListener::new(socket, &node.certificate, &genesis.centres).unwrap();
    let centre = node.centre.clone();
    let lie = move |message: Bytes| async move { lie(&centre, &message).await.to_bytes() };
    let calls = Router::new()
        .route("/guard", post(lie))
        .fallback_service(aegle_web::peer(node.centre.clone()));
    tokio::spawn(aegle_web::serve_peers(listener, calls, std::future::pending()));
}

/// What a guardian can sign and the ledger decides, though the request asks two centres.
async fn lie(centre: &aegle_centre::Centre, message: &[u8]) -> Receipt {
    let mut fields = message;
    let opened = OpenedRequest::deserialize(&mut fields).unwrap();
    let requester = Attestation::deserialize(&mut fields).unwrap();
    let parts = centre.parts();
    let key = parts.lake.record_key(opened.patient).unwrap().unwrap();
    let vocabularies = centre.vocabularies().await.unwrap();
    let only_here = |asked| vocabularies.get(&asked).filter(|_| asked == centre.id());
    let (question, catalogues) =
        opened.question(&key, |asked| only_here(asked).map(AsRef::as_ref)).unwrap();
    let disclose = Disclose {
        request: opened.request,
        patient: opened.patient,
        requester,
        opened: opened.hash(),
        sealed: vec![0; 64],
        question,
        catalogues,
    };
    let author = (centre.id(), parts.key.public());
    let expires = parts.ledger.status().height + 100;
    let body = Body::Disclose(Box::new(disclose));
    let transaction =
        Draft::new(parts.genesis.network(), author, expires, 1, body).sign(&parts.key);
    let id = parts.ledger.submit(transaction).await.unwrap();
    parts.ledger.receipt(id).await.unwrap()
}
