//! kill -9 at any moment: what is on the disk is the offset, and nothing unverified is.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod ground;

use aegle_upload::{Area, Limits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ground::Ground;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const FOLDER: &str = "AEGLE_TEST_UPLOADS";
const ADDRESS: &str = "address";

/// The process that the tests below kill.
#[tokio::test]
#[ignore = "the others start it"]
async fn serves_until_killed() {
    let folder = std::env::var(FOLDER).unwrap();
    let folder = Path::new(&folder);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (new, place) = (folder.join("address.new"), folder.join(ADDRESS));
    std::fs::write(&new, listener.local_addr().unwrap().to_string()).unwrap();
    std::fs::rename(new, place).unwrap();
    let area = Area::open(folder).unwrap();
    aegle_upload::serve(listener, area, Limits::default(), std::future::pending()).await;
}

struct Process(Child);

impl Process {
    async fn start(ground: &mut Ground) -> Self {
        let place = ground.folder().join(ADDRESS);
        drop(std::fs::remove_file(&place));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "serves_until_killed", "--ignored"])
            .env(FOLDER, ground.folder())
            .stdout(Stdio::null());
        let process = Self(command.spawn().unwrap());
        let address = async {
            loop {
                if let Ok(text) = std::fs::read_to_string(&place) {
                    return text.parse::<SocketAddr>().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        ground.address = tokio::time::timeout(Duration::from_mins(1), address).await.unwrap();
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn an_upload_survives_kills_at_any_moment() {
    let mut ground = Ground::new().await;
    ground.stop().await;
    ground.secret = ground.credential("large", |scope| {
        (scope.bytes_max, scope.file_bytes_max) = (100_000_000, 10_000_000);
    });
    let content = ["patnr,product\n", &"4711,aspirin\n".repeat(300_000)].concat().into_bytes();
    let mut process = Process::start(&mut ground).await;
    let upload = ground.begin("use.csv", &content).await;
    let mut at = 0;
    for (round, verified) in [false, true, false, true].into_iter().enumerate() {
        let left = content.len() - at;
        let sum = STANDARD.encode(ground::digest("sha256", &content[at..]));
        let sum =
            if verified { format!("upload-checksum: sha256 {sum}\r\n") } else { String::new() };
        let mut chunk = ground.raw(&upload, at, &format!("content-length: {left}\r\n{sum}")).await;
        chunk.write_all(&content[at..at + left / 3]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(7 * round as u64)).await;
        drop(process);
        process = Process::start(&mut ground).await;
        let offset = ground.offset(&upload).await;
        assert!(offset >= at && offset <= at + left / 3, "{at} {offset}");
        assert!(!verified || offset == at, "what was not verified counts: {at} {offset}");
        at = offset;
    }
    assert_eq!(ground.patch(&upload, at, &content[at..at + 1000]).await.status(), 204);
    drop(process);
    let _process = Process::start(&mut ground).await;
    assert_eq!(ground.offset(&upload).await, at + 1000, "what was confirmed is there");
    at += 1000;
    assert_eq!(ground.patch(&upload, at, &content[at..]).await.status(), 204);
    assert_eq!(ground.ended(&upload).await["state"], "accepted");
    assert!(ground.source_file("use.csv").unwrap() == content);
}

#[tokio::test]
async fn a_whole_upload_is_looked_at_after_a_kill() {
    let mut ground = Ground::new().await;
    ground.stop().await;
    for _ in 0..2 {
        let process = Process::start(&mut ground).await;
        let upload = ground.deliver("use.csv", ground::SOUND).await;
        drop(process);
        let _process = Process::start(&mut ground).await;
        assert_eq!(ground.ended(&upload).await["state"], "accepted");
    }
    let name = "laboratory".parse().unwrap();
    let delivered = ground.area.credentials.delivered(&name).unwrap();
    assert_eq!(delivered, 2 * ground::SOUND.len() as u64);
}
