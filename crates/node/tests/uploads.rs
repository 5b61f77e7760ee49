//! The upload area of a real node: it serves while nothing else of the node does.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const CATALOGUE: &str = r#"
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

/// `filename` `use.csv`.
const USE: &str = "filename dXNlLmNzdg==";

/// How long a busy machine may take for one step.
const PATIENCE: Duration = Duration::from_mins(2);

fn aegle(words: &[&str], config: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
    command.args(words).arg("--config").arg(config).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

struct Node {
    _folder: tempfile::TempDir,
    config: PathBuf,
    source: PathBuf,
    uploads: String,
    process: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Node {
    /// A node with uploads; `rest` is the rest of its configuration.
    async fn start(rest: &str) -> Self {
        // Nothing here is encrypted, but the client wants to be able to.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("catalogue.toml"), CATALOGUE).unwrap();
        let home = folder.path().join("node");
        let key = folder.path().join("key");
        let mut init = Command::new(env!("CARGO_BIN_EXE_aegle"));
        init.args(["init", "--code", "ZMC", "--no-admin", "--key-file"]).arg(&key).arg(&home);
        said(&init.output().unwrap());
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = home.join("aegle.toml");
        fs::write(&config, format!("{rest}\n[upload]\nlisten = \"{free}\"\n")).unwrap();
        let mut node = Command::new(env!("CARGO_BIN_EXE_aegle"));
        node.arg("node").arg("--config").arg(&config).stderr(Stdio::null());
        let process = node.spawn().unwrap();
        let uploads = format!("http://{free}");
        let node = Self { _folder: folder, config, source, uploads, process };
        let answers = async {
            while reqwest::get(format!("{}/uploads", node.uploads)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.unwrap();
        node
    }

    fn credential(&self) -> String {
        let source = self.source.to_str().unwrap();
        let words = ["upload-credential", "create", "laboratory", "--source", source];
        said(&aegle(&words, &self.config)).trim().to_owned()
    }

    /// Delivers a file and waits for what becomes of it.
    async fn deliver(&self, secret: &str, content: &'static [u8]) -> Value {
        let client = reqwest::Client::new();
        let request = client.post(format!("{}/uploads", self.uploads)).bearer_auth(secret);
        let request = request.header("tus-resumable", "1.0.0").header("upload-metadata", USE);
        let begun = request.header("upload-length", content.len()).send().await.unwrap();
        assert_eq!(begun.status(), 201);
        let url = format!("{}{}", self.uploads, begun.headers()["location"].to_str().unwrap());
        let request = client.patch(&url).bearer_auth(secret).header("tus-resumable", "1.0.0");
        let request = request.header("content-type", "application/offset+octet-stream");
        let sent = request.header("upload-offset", 0).body(content).send().await.unwrap();
        assert_eq!(sent.status(), 204);
        let ends = async {
            loop {
                let told = client.get(&url).bearer_auth(secret).send().await.unwrap();
                let told: Value = told.json().await.unwrap();
                if told["state"] == "accepted" || told["state"] == "quarantined" {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ends).await.unwrap()
    }
}

#[tokio::test]
async fn a_node_with_uploads_only_takes_files_and_its_operator_sees_to_them() {
    let mut node = Node::start("data = \"data\"").await;
    let secret = node.credential();
    let told = node.deliver(&secret, b"patnr,product\n4711,aspirin\n").await;
    assert_eq!(told["state"], "accepted", "{told}");
    assert!(node.source.join("use.csv").exists());

    let told = node.deliver(&secret, b"patnr,product,dose\n4711,aspirin,5\n").await;
    assert_eq!(told["state"], "quarantined", "{told}");
    let id = told["id"].as_str().unwrap();
    let listed = said(&aegle(&["uploads", "list"], &node.config));
    assert!(listed.contains("  laboratory  use.csv  27 of 27 bytes  accepted"), "{listed}");
    assert!(listed.contains("column 3 `dose` is not in the catalogue"), "{listed}");
    let refused = aegle(&["uploads", "release", id], &node.config);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("column 3 `dose` is not in the catalogue"), "{error}");
    let dose = "dose = { type = \"integer\", tags = [\"medication\"] }\n";
    fs::write(node.source.join("catalogue.toml"), format!("{CATALOGUE}{dose}")).unwrap();
    said(&aegle(&["uploads", "release", id], &node.config));
    assert!(fs::read_to_string(node.source.join("use.csv")).unwrap().contains("dose"));
    said(&aegle(&["uploads", "drop", id], &node.config));

    said(&aegle(&["upload-credential", "revoke", "laboratory"], &node.config));
    assert!(said(&aegle(&["upload-credential", "list"], &node.config)).contains("revoked at"));
    let closed = reqwest::Client::new().get(format!("{}/uploads/{id}", node.uploads));
    assert_eq!(closed.bearer_auth(&secret).send().await.unwrap().status(), 401);

    let id = rustix::process::Pid::from_child(&node.process);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(node.process.wait().unwrap().success());
}

#[tokio::test]
async fn a_ledger_that_cannot_start_stops_no_upload() {
    // No genesis, and so no ledger and no API.
    let ports: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [ledger, peer, api] = [0, 1, 2].map(|at| ports[at].local_addr().unwrap());
    drop(ports);
    let rest = format!(
        "data = \"data\"\ngenesis = \"genesis\"\nsecrets = \"secrets\"\nkey_file = \"../key\"\n\
         [ledger]\nlisten = \"{ledger}\"\npeers = []\n[peer]\nlisten = \"{peer}\"\npeers = []\n\
         [api]\nlisten = \"{api}\"\n"
    );
    let mut node = Node::start(&rest).await;
    let secret = node.credential();
    let told = node.deliver(&secret, b"patnr,product\n4711,aspirin\n").await;
    assert_eq!(told["state"], "accepted", "{told}");
    assert!(node.process.try_wait().unwrap().is_none(), "it goes on");
    assert!(reqwest::get(format!("http://{api}/livez")).await.is_err(), "the API does not run");
}
