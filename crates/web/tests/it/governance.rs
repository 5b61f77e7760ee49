//! Administrators of two centres decide together.

use crate::support::Network;
use aegle_access::Policy;
use aegle_ledger::{Amendment, Anchor, Genesis, Switch};
use aegle_model::Canonical as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

fn draft(amendment: &Amendment) -> Value {
    json!({ "amendment": STANDARD.encode(amendment.to_bytes()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_centre_proposes_another_agrees_with() {
    let network = Network::start(&["ZMC", "KHM"]).await;
    let [one, other] = &network.nodes[..] else { panic!("two nodes") };
    let (one, other) = (one.sign_in("admin").await, other.sign_in("admin").await);
    assert_eq!(one.get("/api/v1/governance").await.json, json!([]));

    let strict = Amendment::Policy(Policy { emergency: false });
    let proposed = one.post("/api/v1/governance", &draft(&strict)).await;
    assert_eq!(proposed.status, 201, "{:?}", proposed.json);
    let id = proposed.json["id"].as_str().unwrap();
    let vote = format!("/api/v1/governance/{id}");
    // The other node may be a block behind.
    let mut voted = other.post(&vote, &json!({ "agree": true })).await;
    while voted.status == 404 {
        voted = other.post(&vote, &json!({ "agree": true })).await;
    }
    assert_eq!(voted.status, 204, "{:?}", voted.json);
    let mut listed = other.get("/api/v1/governance").await.json;
    let agreed = listed[0]["agreed"].as_array_mut().unwrap();
    agreed.sort_by_key(Value::to_string);
    assert_eq!(
        listed,
        json!([{
            "id": id, "sentence": "Let the rules hold in emergencies, too.", "by": "ZMC",
            "agreed": ["KHM", "ZMC"], "against": [], "stage": "agreed",
        }])
    );

    assert_eq!(other.post(&vote, &json!({ "agree": false })).await.status, 409);
    let lax = Amendment::Policy(Policy { emergency: true });
    assert_eq!(one.post("/api/v1/governance", &draft(&lax)).await.status, 409);
    let unknown = Amendment::Protocol(Switch { version: 2, height: 1_000_000 });
    assert_eq!(one.post("/api/v1/governance", &draft(&unknown)).await.status, 409);
    for garbage in ["", "AA==", "no base 64"] {
        let reply = one.post("/api/v1/governance", &json!({ "amendment": garbage })).await;
        assert_eq!(reply.status, 422);
    }
    let nowhere = format!("/api/v1/governance/{}", "00".repeat(32));
    assert_eq!(one.post(&nowhere, &json!({ "agree": true })).await.status, 404);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_height_that_a_node_answers_with_is_proven() {
    let network = Network::start(&["ZMC"]).await;
    let admin = network.nodes[0].sign_in("admin").await;
    let listed = admin.get("/api/v1/governance").await;
    let height: u64 = listed.headers["aegle-height"].to_str().unwrap().parse().unwrap();
    let proof = admin.get(&format!("/api/v1/ledger/proof?height={height}")).await.json;
    let bytes = |field: &str| STANDARD.decode(proof[field].as_str().unwrap()).unwrap();
    assert_eq!(Genesis::from_bytes(&bytes("genesis")).unwrap(), network.genesis);
    let anchor: Anchor = borsh::from_slice(&bytes("anchor")).unwrap();
    assert_eq!(anchor.header.height, height);
    anchor.verify(&network.genesis).unwrap();
    for (height, status) in [("18446744073709551615", 404), ("-1", 422), ("x", 422)] {
        let reply = admin.get(&format!("/api/v1/ledger/proof?height={height}")).await;
        assert_eq!(reply.status, status, "{height}");
    }
    network.stop().await;
}
