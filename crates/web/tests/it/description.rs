//! What the API says of itself.

use crate::support::Network;
use axum::http::{StatusCode, header};

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself_without_any_other_server() {
    let network = Network::silent(&["KHM"], &["KHM"]).await;
    let nobody = network.nodes[0].nobody();
    let document = nobody.get("/openapi.json").await;
    insta::assert_json_snapshot!("openapi", document.json);

    let page = nobody.get("/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    for foreign in ["http://", "https://", "<script", "src="] {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
    for path in document.json["paths"].as_object().unwrap().keys() {
        assert!(page.text.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for schema in document.json["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.text.contains(&format!("id=\"{schema}\"")), "{schema}");
    }
    insta::assert_snapshot!("docs", page.text);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_learn_how_the_node_is_doing() {
    let mut network = Network::start(&["KHM"]).await;
    let nobody = network.nodes[0].nobody();
    assert_eq!(nobody.get("/livez").await.status, StatusCode::NO_CONTENT);
    insta::assert_json_snapshot!("readyz", nobody.get("/readyz").await.json);
    let keys = nobody.get("/.well-known/jwks.json").await;
    assert_eq!(keys.json["keys"][0]["alg"], "EdDSA");
    assert!(keys.json["keys"][0].get("d").is_none());
    assert_eq!(nobody.delete("/api/v1/rules/00112233445566778899aabbccddeeff").await.status, 401);

    let metrics = nobody.get("/metrics").await;
    let line =
        "aegle_api_requests_total{method=\"DELETE\",route=\"/api/v1/rules/{id}\",status=\"401\"} 1";
    assert!(metrics.text.contains(line), "{}", metrics.text);
    assert!(!metrics.text.contains("00112233445566778899aabbccddeeff"));
    assert!(metrics.text.lines().filter(|line| *line == "# EOF").count() == 1);
    assert!(metrics.text.contains("height"), "{}", metrics.text);

    network.nodes[0].consensus.take().unwrap().stop().await;
    insta::assert_json_snapshot!("readyz_down", nobody.get("/readyz").await.json);
    assert_eq!(nobody.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(nobody.get("/livez").await.status, StatusCode::NO_CONTENT);
}
