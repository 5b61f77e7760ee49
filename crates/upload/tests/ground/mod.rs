//! A source with a catalogue, an upload area that is served, and a client.

#![allow(dead_code, reason = "each test binary uses its part")]

use aegle_upload::{Area, Limits, Scope};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::{Client, Method, RequestBuilder, Response};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const CHUNK: &str = "application/offset+octet-stream";

pub(crate) const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"
[tags]
medication = { en = "Medication" }
[tables.use]
patient = "patnr"
[tables.use.columns]
patnr   = { type = "text", key = true }
product = { type = "text", tags = ["medication"] }
"#;

pub(crate) const SOUND: &[u8] = b"patnr,product\n4711,aspirin\n4712,metformin\n";

pub(crate) struct Ground {
    root: tempfile::TempDir,
    pub(crate) area: Area,
    pub(crate) secret: String,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        // Nothing here is encrypted, but the client wants to be able to.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("source")).unwrap();
        let area = Area::open(&root.path().join("uploads")).unwrap();
        let (client, address) = (Client::new(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut ground = Self { root, area, secret: String::new(), client, address, serving: None };
        ground.write_catalogue(CATALOGUE);
        ground.secret = ground.credential("laboratory", |_| {});
        ground.restart(|_| {}).await;
        ground
    }

    /// Serves again, with other limits.
    pub(crate) async fn restart(&mut self, change: impl FnOnce(&mut Limits)) {
        self.stop().await;
        let mut limits = Limits {
            file_bytes_max: 10_000_000,
            silence: Duration::from_secs(2),
            ..Limits::default()
        };
        change(&mut limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let serving = aegle_upload::serve(listener, self.area.clone(), limits, stopped);
        self.serving = Some((stop, tokio::spawn(serving)));
    }

    /// Serves no longer.
    pub(crate) async fn stop(&mut self) {
        if let Some((stop, served)) = self.serving.take() {
            drop(stop);
            served.await.unwrap();
        }
    }

    pub(crate) fn credential(&self, name: &str, change: impl FnOnce(&mut Scope)) -> String {
        let mut scope = Scope {
            source: self.root.path().join("source"),
            allow: vec!["*.csv".to_owned()],
            bytes_max: 2_500,
            file_bytes_max: 1_000,
            open_max: 3,
            expires: None,
        };
        change(&mut scope);
        let made = self.area.credentials.create(name.parse().unwrap(), scope, Timestamp::now());
        made.unwrap().reveal().to_string()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("uploads")
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.root.path().join("source")
    }

    pub(crate) fn write_catalogue(&self, text: &str) {
        std::fs::write(self.root.path().join("source/catalogue.toml"), text).unwrap();
    }

    pub(crate) fn source_file(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root.path().join("source").join(name)).ok()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path)).bearer_auth(&self.secret);
        request.header("tus-resumable", "1.0.0")
    }

    pub(crate) async fn try_begin(&self, metadata: &str, length: usize) -> Response {
        let request = self.request(Method::POST, "/uploads").header("upload-length", length);
        request.header("upload-metadata", metadata).send().await.unwrap()
    }

    pub(crate) async fn begin_with(&self, metadata: &str, length: usize) -> String {
        let answer = self.try_begin(metadata, length).await;
        assert_eq!(answer.status(), 201);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    pub(crate) async fn begin(&self, name: &str, content: &[u8]) -> String {
        self.begin_with(&named(name), content.len()).await
    }

    /// A whole upload in one chunk.
    pub(crate) async fn deliver(&self, name: &str, content: &[u8]) -> String {
        let upload = self.begin(name, content).await;
        assert_eq!(self.patch(&upload, 0, content).await.status(), 204);
        upload
    }

    pub(crate) fn chunk(&self, upload: &str, at: usize, bytes: &[u8]) -> RequestBuilder {
        let request = self.request(Method::PATCH, upload).header("upload-offset", at);
        request.header("content-type", CHUNK).body(bytes.to_vec())
    }

    pub(crate) async fn patch(&self, upload: &str, at: usize, bytes: &[u8]) -> Response {
        self.chunk(upload, at, bytes).send().await.unwrap()
    }

    /// The head of a chunk whose body the test sends itself.
    pub(crate) async fn raw(&self, upload: &str, at: usize, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "PATCH {upload} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {}\r\n\
             tus-resumable: 1.0.0\r\nupload-offset: {at}\r\ncontent-type: {CHUNK}\r\n\
             {headers}\r\n",
            self.secret
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn offset(&self, upload: &str) -> usize {
        let answer = self.request(Method::HEAD, upload).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers()["upload-offset"].to_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn wait_until(&self, upload: &str, offset: usize) {
        let arrives = async {
            while self.offset(upload).await < offset {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), arrives).await.unwrap();
    }

    /// What became of an upload, once it was looked at.
    pub(crate) async fn ended(&self, upload: &str) -> serde_json::Value {
        let ends = async {
            loop {
                let answer = self.request(Method::GET, upload).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let told: serde_json::Value = answer.json().await.unwrap();
                if told["state"] == "accepted" || told["state"] == "quarantined" {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), ends).await.unwrap()
    }

    pub(crate) async fn wait_until_empty(&self) {
        let empties = async {
            while !self.area.list().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), empties).await.unwrap();
    }
}

pub(crate) fn named(name: &str) -> String {
    format!("filename {}", STANDARD.encode(name))
}

pub(crate) fn digest(algorithm: &str, bytes: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        _ => &digest::SHA256,
    };
    digest::digest(algorithm, bytes).as_ref().to_vec()
}

/// The status of the answer that comes.
pub(crate) async fn status(stream: &mut TcpStream) -> u16 {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

/// The checksum of a whole file, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest("sha256", bytes))
}

pub(crate) fn past() -> Timestamp {
    Timestamp::UNIX_EPOCH
}
