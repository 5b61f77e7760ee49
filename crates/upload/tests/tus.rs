//! The upload area over HTTP, as clients meet it: what arrives, what is refused, what survives.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod ground;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ground::{Ground, SOUND, sha256};
use reqwest::{Method, StatusCode};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn length(bytes: usize) -> String {
    format!("content-length: {bytes}\r\n")
}

#[tokio::test]
async fn a_sound_file_arrives_in_pieces_and_moves_into_the_source() {
    let ground = Ground::new().await;
    let upload = ground.begin("use.csv", SOUND).await;
    for (at, piece) in [(0, &SOUND[..10]), (10, &SOUND[10..])] {
        assert_eq!(ground.offset(&upload).await, at);
        let answer = ground.patch(&upload, at, piece).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()["upload-offset"], *(at + piece.len()).to_string());
        assert!(answer.headers().contains_key("upload-expires"));
    }
    let told = ground.ended(&upload).await;
    assert_eq!(told["state"], "accepted", "{told}");
    assert_eq!((&told["rows"], &told["rows_without_patient"]), (&2.into(), &0.into()));
    assert_eq!(ground.source_file("use.csv"), Some(SOUND.to_vec()));
    assert_eq!(ground.offset(&upload).await, SOUND.len());
    // Who judged the file may not have let go of it yet.
    let late = loop {
        let late = ground.patch(&upload, SOUND.len(), b"x").await;
        if late.status() != StatusCode::LOCKED {
            break late;
        }
    };
    assert_eq!(late.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_the_server_can_is_told_without_a_credential() {
    let ground = Ground::new().await;
    let answer =
        ground.client.request(Method::OPTIONS, ground.url("/uploads")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    for (header, value) in [
        ("tus-resumable", "1.0.0"),
        ("tus-version", "1.0.0"),
        ("tus-extension", "creation,expiration,checksum,termination"),
        ("tus-max-size", "10000000"),
        ("tus-checksum-algorithm", "sha1,sha256"),
    ] {
        assert_eq!(answer.headers()[header], value, "{header}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_sound_stays_in_quarantine_with_its_reasons() {
    let ground = Ground::new().await;
    let cases: [(&str, &[u8], &str); 4] = [
        ("use.csv", b"patnr,product\n4711,aspirin\n4712,SECRET,x\n", "line 3: the record does not"),
        ("use.csv", b"patnr\n4711\n", "column `product` of the catalogue is not in the file"),
        ("use.csv", b"\xff\xfe\x00\x01", "the header row is missing"),
        ("other.csv", b"patnr,product\n", "no table of the catalogue reads a file of this name"),
    ];
    for (name, content, reason) in cases {
        let upload = ground.deliver(name, content).await;
        let told = ground.ended(&upload).await;
        assert_eq!(told["state"], "quarantined", "{told}");
        let text = told["reasons"].to_string();
        assert!(text.contains(reason), "{text}");
        assert!(!text.contains("SECRET") && !text.contains(name), "{text}");
        assert_eq!(ground.source_file(name), None);
        let mut ended = StatusCode::LOCKED;
        while ended == StatusCode::LOCKED {
            ended = ground.request(Method::DELETE, &upload).send().await.unwrap().status();
        }
        assert_eq!(ended, StatusCode::NO_CONTENT);
        let gone = ground.request(Method::HEAD, &upload).send().await.unwrap();
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_wrong_checksum_of_the_whole_keeps_the_file_out() {
    let ground = Ground::new().await;
    for (sum, state) in [(sha256(b"something else"), "quarantined"), (sha256(SOUND), "accepted")] {
        let metadata = format!("{},sha256 {}", ground::named("use.csv"), STANDARD.encode(sum));
        let upload = ground.begin_with(&metadata, SOUND.len()).await;
        ground.patch(&upload, 0, SOUND).await;
        assert_eq!(ground.ended(&upload).await["state"], state);
    }
}

#[tokio::test]
async fn a_chunk_that_was_changed_on_its_way_does_not_count() {
    let ground = Ground::new().await;
    let upload = ground.begin("use.csv", SOUND).await;
    let send = async |algorithm: &str, sum: &[u8]| {
        let sum = format!("{algorithm} {}", STANDARD.encode(sum));
        let chunk = ground.chunk(&upload, 0, &SOUND[..9]).header("upload-checksum", sum);
        chunk.send().await.unwrap().status().as_u16()
    };
    let right = ground::digest("sha256", &SOUND[..9]);
    assert_eq!(send("sha256", &ground::digest("sha256", b"other")).await, 460);
    assert_eq!(ground.offset(&upload).await, 0);
    assert_eq!(send("crc32", &right).await, 400);
    assert_eq!(send("sha1", &right).await, 400);
    assert_eq!(ground.offset(&upload).await, 0);
    assert_eq!(send("sha1", &ground::digest("sha1", &SOUND[..9])).await, 204);
    assert_eq!(ground.offset(&upload).await, 9);
}

#[tokio::test]
async fn only_the_next_chunk_is_taken() {
    let ground = Ground::new().await;
    let upload = ground.begin("use.csv", SOUND).await;
    assert_eq!(ground.patch(&upload, 5, b"x").await.status(), StatusCode::CONFLICT);
    let long = [SOUND, b"x"].concat();
    assert_eq!(ground.patch(&upload, 0, &long).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // The same without a `Content-Length` to tell it beforehand.
    let mut chunked = ground.raw(&upload, 0, "transfer-encoding: chunked\r\n").await;
    chunked.write_all(format!("{:x}\r\n", long.len()).as_bytes()).await.unwrap();
    chunked.write_all(&[&long, &b"\r\n0\r\n\r\n"[..]].concat()).await.unwrap();
    assert_eq!(ground::status(&mut chunked).await, 413);
    assert_eq!(ground.offset(&upload).await, 0);
    let request = ground.request(Method::PATCH, &upload).header("upload-offset", 0);
    let json = request.header("content-type", "application/json").body("x").send().await.unwrap();
    assert_eq!(json.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let request = ground.request(Method::PATCH, &upload).header("content-type", ground::CHUNK);
    let nowhere = request.header("upload-offset", "-1").body("x").send().await.unwrap();
    assert_eq!(nowhere.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused() {
    let ground = Ground::new().await;
    let plain = ground.client.post(ground.url("/uploads")).bearer_auth(&ground.secret);
    for request in [plain.try_clone().unwrap(), plain.header("tus-resumable", "0.2.2")] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED);
        assert_eq!(answer.headers()["tus-version"], "1.0.0");
    }
}

#[tokio::test]
async fn a_method_may_come_in_a_header() {
    let ground = Ground::new().await;
    let upload = ground.begin("use.csv", SOUND).await;
    let request = ground.request(Method::POST, &upload).header("x-http-method-override", "PATCH");
    let request = request.header("upload-offset", 0).header("content-type", ground::CHUNK);
    let answer = request.body(SOUND).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn only_a_good_credential_opens_and_only_its_own_uploads() {
    let ground = Ground::new().await;
    let upload = ground.begin("use.csv", SOUND).await;
    let other = ground.credential("other", |_| {});
    let asked = async |secret: &str, url: &str| {
        let request = ground.client.head(ground.url(url)).header("tus-resumable", "1.0.0");
        request.bearer_auth(secret).send().await.unwrap().status().as_u16()
    };
    assert_eq!(asked(&ground.secret, &upload).await, 200);
    assert_eq!(asked(&other, &upload).await, 404);
    let mut wrong = ground.secret.clone();
    wrong.pop();
    for secret in [format!("{wrong}g"), wrong, "laboratory".to_owned(), String::new()] {
        assert_eq!(asked(&secret, &upload).await, 401, "{secret}");
    }
    let expired = ground.credential("expired", |scope| scope.expires = Some(ground::past()));
    assert_eq!(asked(&expired, &upload).await, 401);
    let name = "laboratory".parse().unwrap();
    ground.area.credentials.revoke(&name, jiff::Timestamp::now()).unwrap();
    assert_eq!(asked(&ground.secret, &upload).await, 401);
    for path in ["/uploads/..", "/uploads/%2e%2e%2fcredentials", "/uploads/0", "/"] {
        let answer = ground.request(Method::HEAD, path).bearer_auth(&other).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
    }
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let ground = Ground::new().await;
    for (name, status) in [
        ("../use.csv", 400),
        ("/etc/passwd", 400),
        (".hidden.csv", 400),
        ("a/../../use.csv", 400),
        ("use.csv\0", 400),
        ("catalogue.toml", 400),
        ("use.exe", 403),
        ("deep/use.csv", 403),
    ] {
        let answer = ground.try_begin(&ground::named(name), 1).await;
        assert_eq!(answer.status().as_u16(), status, "{name}");
    }
    let answer = ground.try_begin("filename !", 1).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_credential_has_bounds() {
    let ground = Ground::new().await;
    let named = ground::named("use.csv");
    let status = async |length| ground.try_begin(&named, length).await.status().as_u16();
    assert_eq!(status(1_001).await, 413, "larger than a file may be");
    assert_eq!(status(1_000).await, 201);
    assert_eq!(status(1_000).await, 201);
    assert_eq!(status(501).await, 413, "more than is left of 2500");
    assert_eq!(status(100).await, 201);
    assert_eq!(status(100).await, 429, "three are open");
}

#[tokio::test]
async fn what_was_delivered_counts_for_good() {
    let ground = Ground::new().await;
    let thick = [SOUND, "4712,aspirin\n".repeat(70).as_bytes()].concat();
    for _ in 0..2 {
        let upload = ground.deliver("use.csv", &thick).await;
        assert_eq!(ground.ended(&upload).await["state"], "accepted");
    }
    let name = "laboratory".parse().unwrap();
    assert_eq!(ground.area.credentials.delivered(&name).unwrap(), 2 * thick.len() as u64);
    let answer = ground.try_begin(&ground::named("use.csv"), thick.len()).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_upload_has_one_writer_and_keeps_what_a_cut_connection_brought() {
    let mut ground = Ground::new().await;
    // The slow one is not cut off, however long the others take here.
    ground.restart(|limits| limits.silence = Duration::from_mins(5)).await;
    let upload = ground.begin("use.csv", SOUND).await;
    let mut slow = ground.raw(&upload, 0, &length(SOUND.len())).await;
    slow.write_all(&SOUND[..7]).await.unwrap();
    ground.wait_until(&upload, 7).await;
    assert_eq!(ground.patch(&upload, 7, b"x").await.status(), StatusCode::LOCKED);
    let end = ground.request(Method::DELETE, &upload).send().await.unwrap();
    assert_eq!(end.status(), StatusCode::LOCKED);
    drop(slow);
    let mut answer = StatusCode::LOCKED;
    while answer == StatusCode::LOCKED {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = ground.patch(&upload, 7, &SOUND[7..]).await.status();
    }
    assert_eq!(answer, StatusCode::NO_CONTENT);
    assert_eq!(ground.ended(&upload).await["state"], "accepted");
    assert_eq!(ground.source_file("use.csv"), Some(SOUND.to_vec()));
}

#[tokio::test]
async fn a_silent_client_loses_its_place_but_not_its_bytes() {
    let ground = Ground::new().await;
    let upload = ground.begin("use.csv", SOUND).await;
    let mut silent = ground.raw(&upload, 0, &length(SOUND.len())).await;
    silent.write_all(&SOUND[..7]).await.unwrap();
    assert_eq!(ground::status(&mut silent).await, 408);
    assert_eq!(ground.offset(&upload).await, 7);
    // Of a chunk with a checksum nothing counts that is not whole.
    let sum = format!("{}upload-checksum: sha256 {}\r\n", length(10), STANDARD.encode([7; 32]));
    let mut silent = ground.raw(&upload, 7, &sum).await;
    silent.write_all(&SOUND[7..9]).await.unwrap();
    assert_eq!(ground::status(&mut silent).await, 408);
    assert_eq!(ground.offset(&upload).await, 7);
}

#[tokio::test]
async fn an_unfinished_upload_ends_when_nothing_comes() {
    let mut ground = Ground::new().await;
    let upload = ground.begin("use.csv", SOUND).await;
    ground.restart(|limits| limits.idle = jiff::SignedDuration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let status = ground.patch(&upload, 0, SOUND).await.status();
    assert!([StatusCode::GONE, StatusCode::NOT_FOUND].contains(&status), "{status}");
    ground.restart(|limits| limits.idle = jiff::SignedDuration::from_millis(1)).await;
    ground.wait_until_empty().await;
}

#[tokio::test]
async fn an_operator_releases_what_is_sound_by_now_or_as_it_is() {
    let ground = Ground::new().await;
    let wide = b"patnr,product,dose\n4711,aspirin,5\n";
    for (mend, as_it_is) in [(true, false), (false, true)] {
        let upload = ground.deliver("use.csv", wide).await;
        assert_eq!(ground.ended(&upload).await["state"], "quarantined");
        let held = ground.area.list().unwrap().pop().unwrap();
        let release = |as_it_is| loop {
            let now = jiff::Timestamp::now();
            // Who told the outcome may still be about to let go.
            if let Some(released) =
                aegle_upload::release(&ground.area, &held, as_it_is, now).unwrap()
            {
                break released;
            }
        };
        assert!(release(false).is_err());
        if mend {
            let more = "dose = { type = \"integer\", tags = [\"medication\"] }\n";
            ground.write_catalogue(&format!("{}{more}", ground::CATALOGUE));
        }
        assert!(release(as_it_is).is_ok());
        assert_eq!(ground.ended(&upload).await["state"], "accepted");
        assert_eq!(ground.source_file("use.csv"), Some(wide.to_vec()));
        assert!(release(true).is_err(), "it is released once");
        ground.write_catalogue(ground::CATALOGUE);
        assert!(ground.area.remove(&held).unwrap());
    }
}

/// More tables than one: some find their patients elsewhere, some come from a folder of exports.
const MORE: &str = r#"
[sources.export]
type = "fhir"
path = "fhir"
[tables.doctor]
patient = { through = "use", on = "product" }
[tables.doctor.columns]
product = { type = "text", key = true }
name    = { type = "text", tags = ["medication"] }
[tables.laboratory]
from = "export"
select = "Observation"
patient = "patient"
[tables.laboratory.columns]
patient = { type = "text", path = "subject.reference", key = true }
code    = { type = "text", path = "code.text", tags = ["medication"] }
"#;

#[tokio::test]
async fn a_file_is_checked_beside_the_others_and_where_its_folder_says() {
    let mut ground = Ground::new().await;
    let sources = MORE.find("[tables.doctor]").unwrap();
    let (sources, tables) = MORE.split_at(sources);
    ground.write_catalogue(&format!("{}{tables}{sources}", ground::CATALOGUE));
    ground.secret = ground.credential("more", |scope| {
        scope.allow = ["*.csv", "fhir/**/*.ndjson"].map(str::to_owned).to_vec();
        scope.open_max = 9;
    });
    let doctor = b"product,name\naspirin,Jansen\nother,Bakker\n";
    let observation = br#"{"resourceType":"Observation","subject":{"reference":"Patient/1"},"code":{"text":"x"}}"#;
    for (name, content, rows, of_nobody) in [
        ("doctor.csv", &doctor[..], 2, 2),
        ("use.csv", SOUND, 2, 0),
        ("doctor.csv", doctor, 2, 1),
        ("fhir/ward/one.ndjson", observation, 1, 0),
    ] {
        let upload = ground.deliver(name, content).await;
        let told = ground.ended(&upload).await;
        assert_eq!(told["state"], "accepted", "{told}");
        assert_eq!(
            (&told["rows"], &told["rows_without_patient"]),
            (&rows.into(), &of_nobody.into())
        );
        assert_eq!(ground.source_file(name).as_deref(), Some(content));
    }
    let nothing = ground.deliver("fhir/two.ndjson", b"{\"resourceType\":\"Patient\"}\n").await;
    let reasons = ground.ended(&nothing).await["reasons"].to_string();
    assert!(reasons.contains("finds a row"), "{reasons}");

    let (link, elsewhere) = (ground.source().join("fhir/link"), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), link).unwrap();
    let upload = ground.deliver("fhir/link/one.ndjson", observation).await;
    let reasons = ground.ended(&upload).await["reasons"].to_string();
    assert!(reasons.contains("something else than a file"), "{reasons}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn files_are_for_their_owner_only_and_hold_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let ground = Ground::new().await;
    ground.begin("use.csv", SOUND).await;
    let digits = ground.secret.split_once('.').unwrap().1;
    let mut folders = vec![ground.folder()];
    while let Some(folder) = folders.pop() {
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
            let text = std::fs::read(&path).unwrap();
            assert!(!text.windows(digits.len()).any(|window| window == digits.as_bytes()));
        }
    }
}
