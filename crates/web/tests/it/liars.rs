//! Centres that lie to other centres.

use crate::support::{Network, Node, columns};
use aegle_ledger::{
    Attestation, Body, Disclose, Draft, OpenedRequest, PatientRecord, Receipt, Record as _, keys,
};
use aegle_model::Canonical;
use aegle_web::TlsListener;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use borsh::BorshDeserialize;
use serde_json::json;

/// What a guardian does not do as it should.
#[derive(Clone, Copy)]
enum Lie {
    /// It asks no centre but itself.
    LeavesOut,
    /// The patient cannot read what was asked, nor by whom.
    Hides,
}

/// A guardian that leaves the other centre out of the question would make its part look empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_guardian_that_leaves_a_centre_out_is_passed_over() {
    assert_eq!(shown_by_a_guardian_that(Lie::LeavesOut).await, ["FCRB"]);
}

/// The decision holds, but a centre hands out nothing that the patient could not read of.
#[tokio::test(flavor = "multi_thread")]
async fn a_guardian_that_hides_who_asks_opens_nothing_at_others() {
    assert_eq!(shown_by_a_guardian_that(Lie::Hides).await, Vec::<String>::new());
}

/// The centres of which a doctor sees something that a lying guardian had decided.
async fn shown_by_a_guardian_that(lies: Lie) -> Vec<String> {
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
    begin_to_lie(&mut network.nodes[0], &genesis, lies).await;

    let (_, parts) = doctor.read(json!({ "patient": handle, "purpose": "treatment" })).await;
    let shown = parts
        .into_iter()
        .filter(|(_, part)| part.as_ref().is_some_and(|part| !columns(part).is_empty()))
        .map(|(centre, _)| centre);
    let shown = shown.collect();
    network.stop().await;
    shown
}

/// From now on the node guards like this.
async fn begin_to_lie(node: &mut Node, genesis: &aegle_ledger::Genesis, lies: Lie) {
    node.fall_silent();
    let socket = loop {
        match tokio::net::TcpListener::bind(node.peer_address).await {
            Ok(socket) => break socket,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let listener = TlsListener::new(socket, &node.certificate, &genesis.centres).unwrap();
    let centre = node.centre.clone();
    let lie = move |message: Bytes| async move { lie(&centre, &message, lies).await.to_bytes() };
    let calls = Router::new()
        .route("/guard", post(lie))
        .fallback_service(aegle_web::peer(node.centre.clone()));
    tokio::spawn(aegle_web::serve_peers(listener, calls, std::future::pending()));
}

/// What a guardian can sign and the ledger decides, though the request asks two centres.
async fn lie(centre: &aegle_centre::Centre, message: &[u8], lies: Lie) -> Receipt {
    let mut fields = message;
    let opened = OpenedRequest::deserialize(&mut fields).unwrap();
    let requester = Attestation::deserialize(&mut fields).unwrap();
    let parts = centre.parts();
    let key = parts.lake.record_key(opened.patient).unwrap().unwrap();
    let vocabularies = centre.vocabularies().await.unwrap();
    let snapshot = parts.ledger.read(&[keys::patient(opened.patient)]).await.unwrap();
    let record = PatientRecord::read(snapshot.values[0].as_ref().unwrap()).unwrap();
    let is_asked = |asked| match lies {
        Lie::LeavesOut => asked == centre.id(),
        Lie::Hides => record.link(asked).is_some(),
    };
    let known = |asked| vocabularies.get(&asked).filter(|_| is_asked(asked)).map(AsRef::as_ref);
    let (question, catalogues) = opened.question(&key, known).unwrap();
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
