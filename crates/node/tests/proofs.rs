//! `aegle verify` and `aegle log` as they are called: arguments, files, standard input, exit codes.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_ledger::{Genesis, PatientLog, Receipt};
use aegle_model::Canonical;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

// One small network's genesis, a receipt and a log of it; `fuzz/examples/seeds.rs` makes them.
const GENESIS: &[u8] = include_bytes!("../../../fuzz/seeds/genesis/one");
const RECEIPT: &[u8] = include_bytes!("../../../fuzz/seeds/receipt/one");
const LOG: &[u8] = include_bytes!("../../../fuzz/seeds/patient_log/one");

/// A folder with the genesis and one proof in it.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.file("genesis", GENESIS);
        desk
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Checks `proof` from a file.
    fn verify(&self, kind: &str, proof: &[u8], more: &[&str]) -> Output {
        let file = self.file("proof", proof);
        aegle(self.verify_command(kind, &file).args(more), b"")
    }

    fn verify_command(&self, kind: &str, file: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
        command.args(["verify", kind]).arg(file);
        command.arg("--genesis").arg(self.folder.path().join("genesis"));
        command
    }
}

fn aegle(command: &mut Command, input: &[u8]) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // The child may refuse before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// What was printed, after an end with this code.
#[track_caller]
fn told(output: &Output, code: i32) -> (&str, &str) {
    let (out, err) = (&output.stdout, &output.stderr);
    let (out, err) = (std::str::from_utf8(out).unwrap(), std::str::from_utf8(err).unwrap());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (out, err)
}

#[track_caller]
fn check_cheat(output: &Output, cheat: &str) {
    let (out, err) = told(output, 1);
    assert!(out.is_empty() && err.starts_with(&format!("{cheat}: ")), "{err}");
}

fn network() -> String {
    Genesis::from_bytes(GENESIS).unwrap().network().to_string()
}

#[test]
fn a_receipt_holds_as_bytes_as_text_and_from_standard_input() {
    let (desk, network) = (Desk::new(), network());
    let genesis = Genesis::from_bytes(GENESIS).unwrap();
    let hash = Receipt::from_bytes(RECEIPT).unwrap().verify(&genesis).unwrap().hash();
    let expected = format!(
        "receipt holds: network {network}, height 4, 1970-01-01T00:00:01.04Z, disclose, decided: \
         2 of 4 cells granted, receipt {hash}\n"
    );
    let text = BASE64.encode(RECEIPT);
    let mut wrapped = text.clone();
    wrapped.insert_str(76, "\r\n");
    wrapped.push('\n');
    for proof in [RECEIPT, text.as_bytes(), wrapped.as_bytes()] {
        assert_eq!(told(&desk.verify("receipt", proof, &[]), 0), (expected.as_str(), ""));
        let piped = aegle(&mut desk.verify_command("receipt", Path::new("-")), proof);
        assert_eq!(told(&piped, 0), (expected.as_str(), ""));
    }
}

#[test]
fn a_log_holds_and_says_how_much_and_until_when_but_not_whose() {
    let (desk, network) = (Desk::new(), network());
    let output = desk.verify("log", BASE64.encode(LOG).as_bytes(), &[]);
    let expected = format!(
        "log holds: network {network}, 3 entries, complete as of height 4, \
         1970-01-01T00:00:01.04Z\n"
    );
    assert_eq!(told(&output, 0), (expected.as_str(), ""));
    let output = desk.verify("log", LOG, &["--json"]);
    let found: Value = serde_json::from_str(told(&output, 0).0).unwrap();
    let (height, time) = (4, "1970-01-01T00:00:01.04Z");
    let expected = json!({
        "holds": true, "network": network, "height": height, "time": time, "entries": 3,
    });
    assert_eq!(found, expected);
}

#[test]
fn a_program_is_told_the_outcome_of_a_receipt() {
    let output = Desk::new().verify("receipt", RECEIPT, &["--json"]);
    let found: Value = serde_json::from_str(told(&output, 0).0).unwrap();
    let told = ["transaction", "outcome", "granted", "asked"].map(|field| found[field].clone());
    assert_eq!(told, [json!("disclose"), json!("decided"), json!(2), json!(4)]);
}

#[test]
fn cheats_end_with_one_and_their_name() {
    let desk = Desk::new();
    let mut log = PatientLog::from_bytes(LOG).unwrap();
    log.entries.remove(1);
    check_cheat(&desk.verify("log", &log.to_bytes(), &[]), "missing-entry");
    let mut receipt = Receipt::from_bytes(RECEIPT).unwrap();
    receipt.anchor.certificate.signatures.pop();
    check_cheat(&desk.verify("receipt", &receipt.to_bytes(), &[]), "too-few-votes");
    let output = desk.verify("receipt", &receipt.to_bytes(), &["--json"]);
    let found: Value = serde_json::from_str(told(&output, 1).0).unwrap();
    assert_eq!((&found["holds"], &found["cheat"]), (&json!(false), &json!("too-few-votes")));
    assert!(found["why"].as_str().unwrap().contains("2 votes; 3 are needed"), "{found}");
}

#[test]
fn what_is_no_proof_is_malformed() {
    let desk = Desk::new();
    let longer = [RECEIPT, b"\0"].concat();
    for proof in [b"".as_slice(), b"abc", b"no proof!", LOG, &RECEIPT[..100], &longer] {
        check_cheat(&desk.verify("receipt", proof, &[]), "malformed");
    }
    check_cheat(&desk.verify("log", RECEIPT, &[]), "malformed");
}

#[test]
fn another_genesis_is_another_network() {
    let desk = Desk::new();
    let mut other = Genesis::from_bytes(GENESIS).unwrap();
    other.time.0 += 1;
    desk.file("genesis", &other.to_bytes());
    check_cheat(&desk.verify("receipt", RECEIPT, &[]), "foreign-network");
    check_cheat(&desk.verify("log", LOG, &[]), "foreign-network");
}

#[test]
fn without_something_to_check_it_ends_with_two() {
    let desk = Desk::new();
    let missing = desk.folder.path().join("none");
    let output = aegle(&mut desk.verify_command("log", &missing), b"");
    let (out, err) = told(&output, 2);
    assert!(out.is_empty() && err.contains("could not read the proof"), "{err}");
    for genesis in [b"no genesis".as_slice(), RECEIPT] {
        desk.file("genesis", genesis);
        let output = desk.verify("log", LOG, &[]);
        assert!(told(&output, 2).1.contains("genesis"));
    }
}

/// A node with one patient's log, which answers a sign-in and one question.
fn node(page: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = [json!({ "token": "token" }), page.clone()];
    thread::spawn(move || {
        for answer in answers {
            answer_one(listener.accept().unwrap().0, &answer);
        }
    });
    format!("http://{address}")
}

fn answer_one(mut stream: TcpStream, answer: &Value) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let (body, head) = (answer.to_string(), "HTTP/1.1 200 OK\r\nconnection: close\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
}

fn page() -> Value {
    let entry = |number: u64, event: Value| {
        let mut entry = json!({
            "number": number, "height": number, "time": "2026-10-01T00:00:00Z", "author": "ZMC",
        });
        entry.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        entry
    };
    let grantee = json!({ "department": { "centre": "USTAN", "id": "1" } });
    let scope = json!([{ "centre": "ZMC", "tag": "medication" }]);
    let rule = json!({ "effect": "allow", "grantee": grantee, "scope": scope });
    let requester =
        json!({ "professional": { "centre": "USTAN", "id": "207", "departments": ["1"] } });
    let asked = json!({
        "event": "asked", "centre": "USTAN", "decision": "permit", "emergency": true,
        "cells": [{ "centre": "ZMC", "granted": 2, "asked": 4 }],
        "opened": { "requester": requester, "purpose": "emergency", "reason": "un\u{1b}[2Jwell" },
    });
    json!({
        "complete": true, "height": 4, "proof": BASE64.encode(LOG),
        "entries": [
            entry(0, json!({ "event": "enrolled" })),
            entry(1, json!({ "event": "granted", "id": "ab", "rule": rule })),
            entry(2, asked),
        ],
    })
}

fn log(page: &Value, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
    command.args(["log", "--url", &node(page), "--login", "patient"]).args(more);
    aegle(command.env("AEGLE_PASSPHRASE", "correct horse battery staple"), b"")
}

#[test]
fn the_own_log_is_a_table_and_its_proof_holds() {
    let desk = Desk::new();
    let proof = desk.folder.path().join("log.proof");
    let output = log(&page(), &["--proof", proof.to_str().unwrap()]);
    let expected = "
   time                  centre  event     details
0  2026-10-01T00:00:00Z  ZMC     enrolled
1  2026-10-01T00:00:00Z  ZMC     granted   allow department USTAN 1 ZMC=medication, rule ab
2  2026-10-01T00:00:00Z  ZMC     asked     EMERGENCY permit: professional USTAN 207 for emergency \
         (un [2Jwell), cells ZMC 2/4

Complete as of height 4, says the node; `aegle verify log` proves it.
";
    assert_eq!(told(&output, 0), (&expected[1..], ""));
    told(&aegle(&mut desk.verify_command("log", &proof), b""), 0);
    let again = log(&page(), &["--proof", proof.to_str().unwrap()]);
    assert!(told(&again, 1).1.contains("could not create"), "nothing is written over");
}

#[test]
fn the_own_log_as_json_is_the_nodes_without_the_proof() {
    let output = log(&page(), &["--json"]);
    let found: Value = serde_json::from_str(told(&output, 0).0).unwrap();
    let mut expected = page();
    expected.as_object_mut().unwrap().remove("proof");
    assert_eq!(found, expected);
}

#[test]
fn a_node_that_lists_less_than_it_proves_is_not_believed() {
    let mut less = page();
    less["entries"].as_array_mut().unwrap().pop();
    let output = log(&less, &[]);
    let (out, err) = told(&output, 1);
    assert!(out.is_empty() && err.contains("lists 2 entries and proves 3"), "{err}");
}
