//! Everything that can be wrong with a request, and what its sender is told.

use crate::support::{Network, Node, PASSPHRASE, Reply, User};
use aegle_model::Timestamp;
use aegle_web::{Limits, Member};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::future::join_all;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tower::ServiceExt as _;

/// The shape of every problem.
fn check(reply: &Reply, status: u16, slug: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
    assert_eq!(reply.headers[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(reply.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let policy = "default-src 'none'; frame-ancestors 'none'";
    assert_eq!(reply.headers[header::CONTENT_SECURITY_POLICY], policy);
    assert_eq!(reply.json["status"], status);
    assert_eq!(reply.json["type"], format!("urn:aegle:problem:{slug}"));
    for text in ["title", "detail"] {
        assert!(!reply.json[text].as_str().unwrap().is_empty(), "{}", reply.text);
    }
    assert!(!reply.text.contains(PASSPHRASE));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_has_its_status_and_place() {
    let network = Network::start(&["KHM"]).await;
    let node = &network.nodes[0];
    strangers(node).await;
    shapes(node).await;
    let doctor = node.add_doctor("doctor", "12").await;
    let number = network.number("KHM", 0);
    half_an_enrolment_is_none(node, &number).await;
    let (handle, patient) = node.enrol("patient", &number).await;
    assert_eq!(node.enrol("patient", &number).await.0, handle, "twice is once");
    roles(node, &doctor, &patient).await;
    values(node, &doctor, &patient).await;
    conflicts(node, &number).await;
    network.stop().await;
}

/// 401.
async fn strangers(node: &Node) {
    let nobody = node.nobody();
    let reply = nobody.get("/api/v1/me").await;
    check(&reply, 401, "unauthenticated");
    assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"aegle\"");
    let wrong = json!({ "login": "admin", "passphrase": "wrong horse battery staple" });
    let unknown = json!({ "login": "nobody", "passphrase": "wrong horse battery staple" });
    let (wrong, unknown) = (
        nobody.post("/api/v1/session", &wrong).await,
        nobody.post("/api/v1/session", &unknown).await,
    );
    check(&wrong, 401, "unauthenticated");
    assert_eq!(wrong.text, unknown.text);
    let mut told = Vec::new();
    for token in bad_tokens(node).await {
        let user = User { token: Some(token), ..nobody.clone() };
        let reply = user.get("/api/v1/me").await;
        check(&reply, 401, "unauthenticated");
        let challenge = "Bearer realm=\"aegle\", error=\"invalid_token\"";
        assert_eq!(reply.headers[header::WWW_AUTHENTICATE], challenge);
        told.push(reply.text);
    }
    assert!(told.iter().all(|text| *text == told[0]), "nothing says what is wrong with a token");
}

/// Expired, without a signature, altered, of nobody.
async fn bad_tokens(node: &Node) -> Vec<String> {
    let good = node.sign_in("admin").await.token.unwrap();
    let identity = std::sync::Arc::clone(&node.centre.parts().identity);
    let expired = tokio::task::spawn_blocking(move || {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        identity.sign_in("admin", PASSPHRASE, address, Timestamp(1_000_000)).unwrap().token
    });
    let claims = good.split('.').nth(1).unwrap();
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    let mut altered = good.clone().into_bytes();
    let place = altered.len() - 10;
    altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
    vec![
        expired.await.unwrap(),
        format!("{unsigned}.{claims}."),
        String::from_utf8(altered).unwrap(),
        "nonsense".to_owned(),
        "a".repeat(5_000),
    ]
}

/// 404, 405, 413, 415, and bodies that are no JSON.
async fn shapes(node: &Node) {
    let nobody = node.nobody();
    check(&nobody.get("/nowhere").await, 404, "not-found");
    check(&nobody.get("/api/v1/nowhere").await, 404, "not-found");
    let reply = nobody.delete("/api/v1/me").await;
    check(&reply, 405, "method");
    assert_eq!(reply.headers[header::ALLOW], "GET,HEAD");
    let json = Some("application/json");
    let session = "/api/v1/session";
    let large = Body::from(vec![b' '; 256 * 1024 + 1]);
    check(&nobody.send("POST", session, json, large).await, 413, "too-large");
    let chunks = (0..300).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1024])));
    let streamed = Body::from_stream(futures::stream::iter(chunks));
    check(&nobody.send("POST", session, json, streamed).await, 413, "too-large");
    let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
    let broken = Body::from_stream(broken);
    check(&nobody.send("POST", session, json, broken).await, 408, "slow");
    for content_type in [None, Some("text/plain"), Some("application/xml")] {
        let reply = nobody.send("POST", session, content_type, Body::from("{}")).await;
        check(&reply, 415, "media-type");
    }
    for (body, field) in [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        (r#"{"login":"a"}"#, "body"),
        (r#"{"login":"a","passphrase":7}"#, "passphrase"),
        (r#"{"login":"a","passphrase":"b","more":1}"#, "more"),
        (r#"{"login":"a","passphrase":"b"} more"#, "body"),
        ("{\"login\":\"\u{0}\"}", "login"),
    ] {
        let reply = nobody.send("POST", session, json, Body::from(body)).await;
        check(&reply, 422, "malformed");
        assert_eq!(reply.json["field"], field, "{body} {}", reply.text);
    }
    let nested = "[".repeat(100_000);
    check(&nobody.send("POST", session, json, Body::from(nested)).await, 422, "malformed");
    let latin = Body::from(&b"{\"login\":\"\xe9\"}"[..]);
    check(&nobody.send("POST", session, json, latin).await, 422, "malformed");
}

/// 403: who may do what.
async fn roles(node: &Node, doctor: &User, patient: &User) {
    let admin = node.sign_in("admin").await;
    let auditor = node.sign_in("auditor").await;
    let users =
        [("patient", patient), ("doctor", doctor), ("admin", &admin), ("auditor", &auditor)];
    let mut grid = String::new();
    for (method, path, body) in actions() {
        write!(grid, "{:<46}", format!("{method} {path}")).unwrap();
        for (name, user) in users {
            let json = Some("application/json");
            let path = format!("/api/v1{path}");
            let reply = user.send(method, &path, json, Body::from(body.to_string())).await;
            if reply.status == StatusCode::FORBIDDEN {
                check(&reply, 403, "forbidden");
            }
            write!(grid, " {name}:{}", reply.status.as_u16()).unwrap();
        }
        grid.push('\n');
    }
    insta::assert_snapshot!("who_may_do_what", grid);
}

/// A patient whose login is refused can be enrolled with another.
async fn half_an_enrolment_is_none(node: &Node, number: &str) {
    let admin = node.sign_in("admin").await;
    for (field, value, status) in [
        ("login", "a b", 422),
        ("passphrase", "short", 422),
        ("name", "", 422),
        ("login", "doctor", 409),
    ] {
        let mut patient = json!({
            "number": number, "login": "patient", "name": "X", "passphrase": PASSPHRASE,
        });
        patient[field] = value.into();
        let reply = admin.post("/api/v1/patients", &patient).await;
        assert_eq!(reply.status.as_u16(), status, "{field} {}", reply.text);
    }
}

/// One call of every kind, with values that are wrong where they would change something.
fn actions() -> Vec<(&'static str, &'static str, Value)> {
    let login = json!({
        "login": "x", "name": "X", "passphrase": "too short", "number": "none",
    });
    let rule = json!({
        "effect": "allow", "grantee": { "organisation": { "centre": "KHM" } },
        "scope": [{ "centre": "KHM", "tag": "no such tag" }],
    });
    let requester = json!({ "centre": "KHM", "professional": "12" });
    vec![
        ("GET", "/me", Value::Null),
        ("GET", "/centres", Value::Null),
        ("GET", "/ledger", Value::Null),
        ("GET", "/ledger/proof?height=99999999", Value::Null),
        ("GET", "/staff", Value::Null),
        ("GET", "/departments", Value::Null),
        ("GET", "/rules", Value::Null),
        ("GET", "/rules?at=0", Value::Null),
        ("GET", "/rules/history", Value::Null),
        ("POST", "/rules/restore", json!({ "at": "99999999" })),
        ("POST", "/rules/restore/preview", json!({ "at": "99999999" })),
        ("GET", "/links", Value::Null),
        ("GET", "/log", Value::Null),
        ("GET", "/offers", Value::Null),
        ("GET", "/emergencies", Value::Null),
        ("POST", "/rules", rule),
        ("POST", "/rules/preview", json!({ "requester": requester, "purpose": "treatment" })),
        ("DELETE", "/rules/00112233445566778899aabbccddeeff", Value::Null),
        ("POST", "/links", json!({ "centre": "KHM", "speaks": false })),
        ("POST", "/patients", login),
        ("POST", "/offers/0000-0000-0000-0", json!({ "number": "none" })),
        (
            "POST",
            "/staff",
            json!({ "login": "x", "name": "X", "id": "9", "passphrase": "too short" }),
        ),
        ("POST", "/departments", json!({ "id": "2", "name": "Nursing" })),
    ]
}

/// 422 and 404: values that cannot be right.
async fn values(node: &Node, doctor: &User, patient: &User) {
    let good = json!({
        "effect": "allow", "grantee": { "department": { "centre": "KHM", "id": "1" } },
        "scope": [{ "centre": "KHM", "tag": "all" }],
    });
    for (pointer, value, field) in [
        ("/effect", json!("permit"), "effect"),
        ("/grantee", json!({ "nurse": {} }), "grantee"),
        ("/grantee/department/centre", json!("XYZ"), "grantee.centre"),
        ("/grantee/department/id", json!(""), "grantee.department.id"),
        ("/scope", json!([]), "scope"),
        ("/scope/0/tag", json!("no such tag"), "scope"),
        ("/scope/0/centre", json!("XYZ"), "scope[0].centre"),
        ("/from", json!("tomorrow"), "from"),
        ("/until", json!("1960-01-01T00:00:00Z"), "until"),
        ("/purposes", json!(["curiosity"]), "purposes[0]"),
        ("/other", json!(1), "other"),
    ] {
        let mut rule = good.clone();
        match rule.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => rule[&pointer[1..]] = value,
        }
        let reply = patient.post("/api/v1/rules", &rule).await;
        check(&reply, 422, "malformed");
        assert_eq!(reply.json["field"], field, "{pointer} {}", reply.text);
    }
    let mut backwards = good.clone();
    backwards["from"] = json!("2026-01-02T00:00:00Z");
    backwards["until"] = json!("2026-01-02T00:00:00Z");
    check(&patient.post("/api/v1/rules", &backwards).await, 422, "malformed");
    check(&patient.delete("/api/v1/rules/none").await, 422, "malformed");
    let unknown = patient.delete("/api/v1/rules/00112233445566778899aabbccddeeff").await;
    check(&unknown, 404, "not-found");
    check(&doctor.get("/api/v1/centres?reachable=maybe").await, 422, "malformed");
    questions(doctor).await;
    let mut half = json!({ "number": "none", "login": "x" });
    let admin = node.sign_in("admin").await;
    let handle = "/api/v1/offers/0000-0000-0000-0";
    check(&admin.post(handle, &half).await, 422, "malformed");
    half.as_object_mut().unwrap().remove("login");
    check(&admin.post(handle, &half).await, 404, "not-found");
    check(&admin.post("/api/v1/offers/0000-0000-0000-1", &half).await, 422, "malformed");
}

async fn questions(doctor: &User) {
    let good = json!({ "patient": "0000-0000-0000-0", "purpose": "treatment" });
    for (name, value, field) in [
        ("patient", json!("0000-0000-0000-1"), "patient"),
        ("purpose", json!("curiosity"), "purpose"),
        ("purpose", json!("emergency"), "reason"),
        ("reason", json!("x".repeat(501)), "reason"),
        ("wishes", json!({ "XYZ": ["all"] }), "wishes"),
        ("wishes", json!({ "KHM": ["no such tag"] }), "wishes"),
        ("wishes", json!({ "KHM": [] }), "wishes"),
        ("more", json!(1), "more"),
    ] {
        let mut question = good.clone();
        question[name] = value;
        let (reply, _) = doctor.read(question).await;
        check(&reply, 422, "malformed");
        assert_eq!(reply.json["field"], field, "{name} {}", reply.text);
    }
    for recipient in ["", "!", &STANDARD.encode([4; 64]), &STANDARD.encode([4; 65])] {
        let mut question = good.clone();
        question["recipient"] = recipient.into();
        let reply = doctor.post("/api/v1/records", &question).await;
        check(&reply, 422, "malformed");
        assert_eq!(reply.json["field"], "recipient");
    }
}

/// 404 and 409: numbers and logins that are not there or taken.
async fn conflicts(node: &Node, taken: &str) {
    let admin = node.sign_in("admin").await;
    let patient = |number: &str, login: &str, passphrase: &str| json!({ "number": number, "login": login, "name": "X", "passphrase": passphrase });
    let enrol = "/api/v1/patients";
    check(&admin.post(enrol, &patient("none", "p2", PASSPHRASE)).await, 404, "not-found");
    check(&admin.post(enrol, &patient(taken, "p2", PASSPHRASE)).await, 409, "conflict");
    let staff = |login: &str, id: &str, departments: &[&str]| {
        json!({
            "login": login, "name": "X", "id": id, "departments": departments,
            "passphrase": PASSPHRASE,
        })
    };
    let add = "/api/v1/staff";
    check(&admin.post(add, &staff("doctor", "99", &[])).await, 409, "conflict");
    check(&admin.post(add, &staff("other", "12", &[])).await, 409, "conflict");
    let reply = admin.post(add, &staff("other", "99", &["no such"])).await;
    check(&reply, 422, "malformed");
    assert_eq!(reply.json["field"], "departments");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_turned_away_with_a_time() {
    let network = Network::silent(&["KHM"], &["KHM"]).await;
    let node = &network.nodes[0];
    let two = NonZeroU32::new(2).unwrap();
    let slow = Limits { per_second: NonZeroU32::MIN, burst: two, ..Limits::default() };
    let nobody = User { api: aegle_web::api(node.centre.clone(), slow), ..node.nobody() };
    for _ in 0..2 {
        check(&nobody.get("/api/v1/me").await, 401, "unauthenticated");
    }
    let reply = nobody.get("/api/v1/me").await;
    check(&reply, 429, "too-many");
    assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    assert_eq!(nobody.get("/livez").await.status, StatusCode::NO_CONTENT);

    let full = Limits { in_flight: 0, ..Limits::default() };
    let nobody = User { api: aegle_web::api(node.centre.clone(), full), ..node.nobody() };
    let reply = nobody.get("/api/v1/me").await;
    check(&reply, 503, "unavailable");
    assert_eq!(
        (&reply.json["part"], &reply.headers[header::RETRY_AFTER]),
        (&json!("api"), &"1".parse().unwrap())
    );
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_socket_the_api_answers_until_it_is_told_to_stop() {
    let network = Network::silent(&["KHM"], &["KHM"]).await;
    let router = aegle_web::api(network.nodes[0].centre.clone(), Limits::default());
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let told = async { drop(stopped.await) };
    let serving = tokio::spawn(aegle_web::serve_api(socket, router, Limits::default(), told));
    let mut garbage = TcpStream::connect(address).await.unwrap();
    garbage.write_all(b"\x16\x03\x01 what is this\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    garbage.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut client = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        client.write_all(b"GET /api/v1/me HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 13];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 401 ");
        while !answer.ends_with(b"}") {
            answer.push(client.read_u8().await.unwrap());
        }
    }
    stop.send(()).unwrap();
    serving.await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
    network.stop().await;
}

/// Connects from this address of the machine and says whether a request is answered.
async fn answered(from: [u8; 4], to: SocketAddr) -> (bool, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut client = socket.connect(to).await.unwrap();
    // It may be hung up on before it has written.
    let _ = client.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.read(&mut [0; 512]).await;
    (answer.is_ok_and(|bytes| bytes > 0), client)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_every_connection() {
    let network = Network::silent(&["KHM"], &["KHM"]).await;
    let (person, proxy) = ([127, 0, 0, 1], [127, 0, 0, 3]);
    let limits =
        Limits { connections: 2, trusted_proxies: vec![proxy.into()], ..Limits::default() };
    let router = aegle_web::api(network.nodes[0].centre.clone(), limits.clone());
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = socket.local_addr().unwrap();
    let serving =
        tokio::spawn(aegle_web::serve_api(socket, router, limits, std::future::pending()));
    let (first, idle) = answered(person, to).await;
    let (second, _also_idle) = answered(person, to).await;
    assert_eq!((first, second, answered(person, to).await.0), (true, true, false));
    assert!(answered([127, 0, 0, 2], to).await.0, "another address");
    let through_proxy = join_all((0..4).map(|_| answered(proxy, to))).await;
    assert!(through_proxy.iter().all(|(answered, _)| *answered));
    drop(idle);
    while !answered(person, to).await.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    serving.abort();
    network.stop().await;
}

/// Calls the door for other centres as `member`.
async fn call_as(member: Member, door: &Router, body: Body) -> StatusCode {
    let request = Request::post("/ping").extension(ConnectInfo(member)).body(body).unwrap();
    door.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_cannot_take_every_place() {
    let network = Network::silent(&["KHM", "ZMC"], &["KHM"]).await;
    let door = aegle_web::peer(network.nodes[0].centre.clone());
    let address = SocketAddr::from(([127, 0, 0, 1], 4000));
    let [slow, other] = [0, 1].map(|n| Member { centre: network.genesis.centres[n].id, address });
    let silence = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let calls = join_all((0..600).map(|_| call_as(slow, &door, silence())));
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        call_as(other, &door, Body::empty()).await
    };
    let (statuses, answer) = tokio::join!(calls, others);
    assert_eq!(answer, StatusCode::OK);
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!(count(StatusCode::REQUEST_TIMEOUT), 128);
    assert_eq!(count(StatusCode::SERVICE_UNAVAILABLE), 600 - 128);
    network.stop().await;
}

/// Signs in through a proxy at 127.0.0.1 that says who its client is.
async fn sign_in_through(api: &Router, client: &str, login: &str, passphrase: &str) -> StatusCode {
    let body = json!({ "login": login, "passphrase": passphrase }).to_string();
    let proxy = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4000)));
    let request = Request::post("/api/v1/session")
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-forwarded-for", client)
        .extension(proxy);
    api.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap().status()
}

/// The status of something cheap, asked for through the same proxy.
async fn asked_through(api: &Router, client: &str) -> u16 {
    let proxy = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4000)));
    let request = Request::get("/api/v1/me").header("x-forwarded-for", client).extension(proxy);
    api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_nobody_is_taken_for_somebody_else() {
    let network = Network::silent(&["KHM"], &["KHM"]).await;
    let centre = &network.nodes[0].centre;
    let two = NonZeroU32::new(2).unwrap();
    let behind = Limits { trusted_proxies: vec![Ipv4Addr::LOCALHOST.into()], ..Limits::default() };
    let few = Limits { per_second: NonZeroU32::MIN, burst: two, ..behind.clone() };
    let (outsider, doctor) = ("192.0.2.66", "198.51.100.1, 192.0.2.7");
    let api = aegle_web::api(centre.clone(), behind);
    let mut guesses = 0;
    while sign_in_through(&api, outsider, &format!("guess-{guesses}"), "wrong horse battery").await
        != StatusCode::TOO_MANY_REQUESTS
    {
        guesses += 1;
    }
    assert_eq!(guesses, 50);
    let signed_in = sign_in_through(&api, doctor, "admin", PASSPHRASE).await;
    assert_eq!(signed_in, StatusCode::CREATED);

    let api = aegle_web::api(centre.clone(), few);
    let mut statuses = Vec::new();
    for client in [doctor, doctor, doctor, "192.0.2.8"] {
        statuses.push(asked_through(&api, client).await);
    }
    assert_eq!(statuses, [401, 401, 429, 401]);
    // Whoever is no trusted proxy gains nothing by the header.
    let api = aegle_web::api(
        centre.clone(),
        Limits { per_second: NonZeroU32::MIN, burst: two, ..Limits::default() },
    );
    let mut statuses = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        statuses.push(asked_through(&api, client).await);
    }
    assert_eq!(statuses, [401, 401, 429]);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_pass_phrases_waits() {
    let network = Network::silent(&["KHM"], &["KHM"]).await;
    let nobody = network.nodes[0].nobody();
    let wrong = json!({ "login": "admin", "passphrase": "wrong horse battery staple" });
    let reply = loop {
        let reply = nobody.post("/api/v1/session", &wrong).await;
        if reply.status != StatusCode::UNAUTHORIZED {
            break reply;
        }
    };
    check(&reply, 429, "too-many");
    assert!(reply.headers[header::RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap() > 0);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_the_part_that_is_down_is_named() {
    let mut network = Network::start(&["KHM"]).await;
    let number = network.number("KHM", 0);
    let node = &mut network.nodes[0];
    let (handle, patient) = node.enrol("patient", &number).await;
    let doctor = node.add_doctor("doctor", "12").await;
    node.consensus.take().unwrap().stop().await;
    let rule = json!({
        "effect": "deny", "grantee": { "organisation": { "centre": "KHM" } },
        "scope": [{ "centre": "KHM", "tag": "all" }],
    });
    let (asked, _) = doctor.read(json!({ "patient": handle, "purpose": "treatment" })).await;
    for reply in
        [patient.post("/api/v1/rules", &rule).await, patient.get("/api/v1/log").await, asked]
    {
        check(&reply, 503, "unavailable");
        assert_eq!(reply.json["part"], "ledger");
    }
    assert_eq!(patient.get("/api/v1/me").await.status, StatusCode::OK);
}
