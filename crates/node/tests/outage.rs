//! Too few nodes run: changes wait, also through kill -9, at two centres at once, and are made once.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_node::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The patient has a login at both, and lets both speak.
const HOME: &str = "ZMC";
const OTHER: &str = "FCRB";
const LOST: [&str; 2] = ["USTAN", "KHM"];
const PATIENT: &str = "patient";
const PASSPHRASE: &str = "correct horse battery staple";

#[tokio::test]
async fn changes_that_wait_survive_and_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("network");
    let played = aegle().args(["demo", "--once", "--json", "--dir"]).arg(&dir).output().unwrap();
    assert!(played.status.success(), "{}", text(&played.stderr));

    let mut lost: Vec<_> = LOST.iter().map(|code| Node::start(&dir, code)).collect();
    let (mut home, mut other) = (Node::start(&dir, HOME), Node::start(&dir, OTHER));
    for node in [&home, &other] {
        node.patient().await;
    }
    lost.clear();

    let rule = json!({
        "effect": "deny",
        "grantee": { "organisation": { "centre": "KHM" } },
        "scope": [{ "centre": HOME, "tag": "all" }],
    });
    let waits = home.patient().await.post_once("/rules", &rule, "once").await.unwrap();
    assert_eq!(waits["status"], "waiting");
    drop(home);
    let same = other.patient().await.post_once("/rules", &rule, "once").await.unwrap();
    assert_eq!(same, waits, "the same rule, whichever centre is asked");
    drop(other);

    lost = LOST.iter().map(|code| Node::start(&dir, code)).collect();
    (home, other) = (Node::start(&dir, HOME), Node::start(&dir, OTHER));
    for node in [&home, &other] {
        let patient = node.patient().await;
        while rules(&patient).await.iter().any(|rule| rule["status"] != "in_force") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let all = rules(&patient).await;
        let made: Vec<_> =
            all.iter().filter(|made| made["rule"]["grantee"] == rule["grantee"]).collect();
        assert_eq!(made.len(), 1, "{all:?}");
        assert_eq!(made[0]["id"], waits["id"]);
        let history = patient.get("/rules/history").await.unwrap();
        let history = history.as_array().unwrap().iter();
        let granted = history.filter(|change| change["id"] == waits["id"]).count();
        assert_eq!(granted, 1);
    }
    the_next_node_answers_and_none_with_old_news(folder.path(), &home, &waits);
    drop(lost);
}

/// `aegle rules` and `aegle log` with a node that nobody runs, then with one that is behind.
fn the_next_node_answers_and_none_with_old_news(folder: &Path, home: &Node, waits: &Value) {
    let state = folder.join("state");
    let ask = |words: &[&str]| -> Output {
        let nodes = format!("http://127.0.0.1:1,{}", home.url());
        let mut command = aegle();
        command.args([words[0], "--node", &nodes, "--login", PATIENT]).args(&words[1..]);
        command.env("AEGLE_PASSPHRASE", PASSPHRASE).env("XDG_STATE_HOME", &state);
        command.output().unwrap()
    };
    let listed = ask(&["rules", "list"]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    assert!(text(&listed.stderr).contains("asking the next node"), "{}", text(&listed.stderr));
    assert!(text(&listed.stdout).contains(waits["id"].as_str().unwrap()));
    assert!(ask(&["log"]).status.success());
    the_own_record_as_json_and_as_tables(&ask);
    let restored = ask(&["rules", "restore", "--at", "1"]);
    assert!(text(&restored.stdout).contains("height 1 are in force"), "{}", text(&restored.stderr));
    assert_eq!(text(&ask(&["rules", "list"]).stdout), "");

    let file = state.join("aegle/seen");
    let seen = fs::read_to_string(&file).unwrap();
    let (network, _) = seen.trim_end().split_once(' ').unwrap();
    fs::write(&file, format!("{network} 1000000\n")).unwrap();
    let old = ask(&["rules", "list"]);
    assert!(!old.status.success());
    assert!(text(&old.stderr).contains("1000000 was seen before"), "{}", text(&old.stderr));
}

/// `aegle record`: what both centres have of the patient.
fn the_own_record_as_json_and_as_tables(ask: &dyn Fn(&[&str]) -> Output) {
    let record = ask(&["record", "--format", "json", "--want", "ZMC=all", "--want", "FCRB=all"]);
    assert!(record.status.success(), "{}", text(&record.stderr));
    let record: Value = serde_json::from_slice(&record.stdout).unwrap();
    let record = record.as_array().unwrap();
    let centres: BTreeSet<_> = record.iter().map(|part| part["centre"].as_str().unwrap()).collect();
    assert_eq!(centres, BTreeSet::from([HOME, OTHER]));
    for part in record {
        assert_eq!(part["answered"], true);
        let rows = |table: &Value| table["rows"].as_array().unwrap().len();
        assert!(part["tables"].as_array().unwrap().iter().map(rows).sum::<usize>() > 0);
    }
    let tables = text(&ask(&["record", "--want", "ZMC=medication"]).stdout);
    assert!(tables.contains("ZMC") && tables.contains("medication_use"), "{tables}");
    let unknown = ask(&["record", "--want", "ZMC=nothing"]);
    assert!(!unknown.status.success() && unknown.stdout.is_empty());
}

/// A node that is killed with the test, or when it is dropped: without warning.
struct Node {
    child: Child,
    config: PathBuf,
}

impl Node {
    fn start(dir: &Path, code: &str) -> Self {
        let config = dir.join(code).join("aegle.toml");
        let log = File::options().append(true).create(true).open(dir.join(code).join("node.log"));
        let mut node = aegle();
        node.args(["node", "--config"]).arg(&config).stdout(Stdio::null()).stderr(log.unwrap());
        Self { child: node.spawn().unwrap(), config }
    }

    fn url(&self) -> String {
        let settings: toml::Value =
            toml::from_str(&fs::read_to_string(&self.config).unwrap()).unwrap();
        format!("http://{}", settings["api"]["listen"].as_str().unwrap())
    }

    /// The patient, signed in as soon as the node answers.
    async fn patient(&self) -> Client {
        let client = Client::new(&self.url()).unwrap();
        loop {
            if let Ok(patient) = client.sign_in(PATIENT, PASSPHRASE).await {
                return patient;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn rules(patient: &Client) -> Vec<Value> {
    patient.get("/rules").await.unwrap().as_array().unwrap().clone()
}

fn aegle() -> Command {
    Command::new(env!("CARGO_BIN_EXE_aegle"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
