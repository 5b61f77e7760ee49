//! Calls between nodes: who is let in, and what a message is worth in other hands.

use crate::support::{Network, Node, PASSPHRASE, columns};
use aegle_centre::{Certificate, PeerAddress, PeerError, Peers};
use aegle_ledger::Attestation;
use aegle_model::{CentreId, PatientId};
use axum::http::StatusCode;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const WITHIN: Duration = Duration::from_mins(1);

/// Calls `node` with `certificate`.
async fn call(
    network: &Network,
    certificate: &Certificate,
    node: &Node,
    path: &str,
    body: Vec<u8>,
) -> Result<Vec<u8>, PeerError> {
    let address = PeerAddress::new(node.centre.id(), &node.peer_address.to_string()).unwrap();
    let peers = Peers::new(&network.genesis.centres, certificate, &[address]).unwrap();
    peers.call(node.centre.id(), path, body, WITHIN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_are_let_in() {
    let network = Network::silent(&["ZMC", "KHM"], &["ZMC", "KHM"]).await;
    let [home, other] = &network.nodes[..] else { panic!("two nodes") };
    let pinged = call(&network, &other.certificate, home, "/ping", Vec::new()).await;
    let height = u64::from_le_bytes(pinged.unwrap().try_into().unwrap());
    assert!(height <= home.centre.height());

    let foreign = Certificate::generate().unwrap();
    let refused = call(&network, &foreign, home, "/ping", Vec::new()).await;
    assert!(matches!(refused, Err(PeerError::Unreachable(_))), "{refused:?}");
    // The client is as picky: a foreign server gets no request.
    let mut pinned_wrong = network.genesis.clone();
    for centre in &mut pinned_wrong.centres {
        centre.tls = foreign.pin();
    }
    let address = PeerAddress::new(home.centre.id(), &home.peer_address.to_string()).unwrap();
    let peers = Peers::new(&pinned_wrong.centres, &other.certificate, &[address]).unwrap();
    let refused = peers.call(home.centre.id(), "/ping", Vec::new(), WITHIN).await;
    assert!(matches!(refused, Err(PeerError::Unreachable(_))), "{refused:?}");

    without_certificate(home).await;
    slow_ones_hold_up_nobody(&network, home, other).await;
    network.stop().await;
}

/// A caller without a certificate gets as far as the handshake: no byte of an answer.
async fn without_certificate(node: &Node) {
    let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .dangerous()
    .with_custom_certificate_verifier(std::sync::Arc::new(anyone::Anyone))
    .with_no_client_auth();
    let stream = TcpStream::connect(node.peer_address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = "node.aegle".try_into().unwrap();
    let mut answer = Vec::new();
    if let Ok(mut stream) = connector.connect(name, stream).await {
        let request = b"POST /ping HTTP/1.1\r\nhost: node.aegle\r\ncontent-length: 0\r\n\r\n";
        // In TLS 1.3 the client learns of the refusal only when it reads.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, request).await;
        assert!(stream.read_to_end(&mut answer).await.is_err());
    }
    assert!(answer.is_empty());
    // Neither is plain HTTP answered.
    let mut plain = TcpStream::connect(node.peer_address).await.unwrap();
    let request = b"POST /ping HTTP/1.1\r\nhost: a\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut plain, request).await.unwrap();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"));
}

async fn slow_ones_hold_up_nobody(network: &Network, home: &Node, other: &Node) {
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(home.peer_address).await.unwrap());
    }
    call(network, &other.certificate, home, "/ping", Vec::new()).await.unwrap();
    // They are cut off in the end.
    let mut byte = [0];
    assert!(!matches!(silent[0].read(&mut byte).await, Ok(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_comes_from_two_centres_and_its_messages_serve_nobody_else() {
    let network = Network::start(&["ZMC", "FCRB", "KHM"]).await;
    let [home, second, surgery] = &network.nodes[..] else { panic!("three nodes") };
    let (handle, patient) = home.enrol("patient", &network.number("ZMC", 0)).await;
    link(&network, &handle, &patient).await;
    let doctor = surgery.add_doctor("doctor", "12").await;
    let rule = json!({
        "effect": "allow",
        "grantee": { "professional": { "centre": "KHM", "id": "12" } },
        "scope": [{ "centre": "ZMC", "tag": "all" }, { "centre": "FCRB", "tag": "all" }],
    });
    // Through the other centre: it may speak for the patient.
    let reply = second.sign_in("patient-here").await.post("/api/v1/rules", &rule).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    network.settled().await;
    let (reply, parts) = doctor.read(json!({ "patient": handle, "purpose": "treatment" })).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    for (centre, part) in parts {
        let shown = !columns(&part.unwrap()).is_empty();
        assert_eq!(shown, centre != "KHM", "{centre}");
    }
    messages_are_bound(&network, [home, second, surgery]).await;
    network.stop().await;
}

/// Links the patient of the first centre to the second, against what the third tries.
pub(crate) async fn link(network: &Network, handle: &str, patient: &crate::support::User) {
    let [home, second, liar] = &network.nodes[..] else { panic!("three nodes") };
    let offer = json!({ "centre": "FCRB", "speaks": true });
    let reply = patient.post("/api/v1/links", &offer).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.text);
    a_false_offer(network, [home, second, liar]).await;
    let admin = second.sign_in("admin").await;
    let offers = admin.get("/api/v1/offers").await.json;
    let from = |centre| json!({ "handle": handle, "from": centre, "speaks": true });
    assert_eq!(offers, json!([from("ZMC"), from("KHM")]));
    let accept = json!({
        "number": network.number("FCRB", 0), "login": "patient-here", "name": "Some Patient",
        "passphrase": PASSPHRASE,
    });
    let reply = admin.post(&format!("/api/v1/offers/{handle}"), &accept).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    assert_eq!(reply.json, json!({ "handle": handle, "centre": "FCRB" }));
    assert_eq!(admin.get("/api/v1/offers").await.json, json!([]));
    let expected = json!([
        { "centre": "ZMC", "speaks": true }, { "centre": "FCRB", "speaks": true },
    ]);
    network.settled().await;
    let links = patient.get("/api/v1/links").await.json;
    assert_eq!(links, expected);
}

/// A member that nobody asked makes an offer for the same patient: it takes the true one's place
/// neither in the list nor when the administrator accepts.
async fn a_false_offer(network: &Network, [home, second, liar]: [&Node; 3]) {
    let (_, mut offer) = second.received("/offer").await;
    let patient: [u8; 16] = offer[..16].try_into().unwrap();
    let link = (PatientId::from_array(patient), second.centre.id(), true);
    let signed = |node: &Node| {
        let (id, key) = (node.centre.id(), &node.centre.parts().key);
        borsh::to_vec(&Attestation::of_link(network.genesis.network(), link, id, key)).unwrap()
    };
    let (theirs, own) = (signed(home), signed(liar));
    let place = offer.windows(theirs.len()).position(|bytes| bytes == theirs).unwrap();
    offer[place..place + own.len()].copy_from_slice(&own);
    let unsigned = offer.clone();
    *offer.last_mut().unwrap() ^= 1;
    call(network, &liar.certificate, second, "/offer", offer).await.unwrap();
    let mut foreign = unsigned;
    foreign[0] ^= 1;
    let refused = call(network, &liar.certificate, second, "/offer", foreign).await;
    assert!(matches!(refused, Err(PeerError::Refused(403))), "{refused:?}");
}

/// What the doctor's centre sent, sent again: by itself, by another member, altered.
async fn messages_are_bound(network: &Network, [home, second, surgery]: [&Node; 3]) {
    let status = |answer: Result<Vec<u8>, PeerError>| match answer {
        Ok(_) => 200,
        Err(PeerError::Refused(status) | PeerError::Failed(status)) => status,
        Err(error) => panic!("{error:?}"),
    };
    let (from, message) = home.received("/part").await;
    assert_eq!(from, surgery.centre.id());
    let by_other = call(network, &second.certificate, home, "/part", message.clone()).await;
    assert_eq!(status(by_other), 403);
    let again = call(network, &surgery.certificate, home, "/part", message.clone()).await;
    assert_eq!(status(again), 409);
    let elsewhere = call(network, &surgery.certificate, second, "/part", message.clone()).await;
    assert_eq!(status(elsewhere), 409);
    for place in [0, message.len() / 3, message.len() - 1] {
        let mut altered = message.clone();
        altered[place] ^= 1;
        let answer = status(call(network, &surgery.certificate, home, "/part", altered).await);
        assert!([403, 422].contains(&answer), "byte {place}: {answer}");
    }
    let (from, message) = guarded(home, second).await;
    assert_eq!(from, surgery.centre.id());
    let by_other = call(network, &second.certificate, home, "/guard", message).await;
    assert_eq!(status(by_other), 403);
    let large = vec![0; 1024 * 1024 + 1];
    assert_eq!(status(call(network, &surgery.certificate, home, "/part", large).await), 413);
    let nothing = call(network, &surgery.certificate, home, "/offer", Vec::new()).await;
    assert_eq!(status(nothing), 422);
    assert_eq!(status(call(network, &surgery.certificate, home, "/other", Vec::new()).await), 404);
}

/// The message that one of the guardians got.
async fn guarded(home: &Node, second: &Node) -> (CentreId, Vec<u8>) {
    tokio::select! {
        message = home.received("/guard") => message,
        message = second.received("/guard") => message,
    }
}

mod anyone {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    /// Believes every server: the question is whether the server believes the client.
    #[derive(Debug)]
    pub(super) struct Anyone;

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not offered".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
}
