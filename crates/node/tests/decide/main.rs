//! `aegle decide` as it is called: arguments, standard input and output, exit codes.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod answers;
mod refusals;

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The question of the documentation, as it stands there.
const QUESTION: &str = include_str!("question.json");

fn aegle(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_aegle"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The child may refuse before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn answered(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    std::str::from_utf8(&output.stdout).unwrap()
}

fn check(question: &str, expected: &str) {
    assert_eq!(
        answered(&aegle(&["decide"], question.as_bytes())),
        format!("{expected}\n"),
        "{question}"
    );
}

/// A refused question prints nothing, ends with 2 and names every one of `named`.
fn check_refused(question: &[u8], named: &[&str]) {
    let output = aegle(&["decide", "--explain", "-"], question);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
    for text in named {
        assert!(message.contains(text), "`{text}` is not named in: {message}");
    }
}

/// The question with one thing changed that stands there once.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(QUESTION.matches(from).count(), 1, "{from}");
    QUESTION.replace(from, to)
}

const GRANTED: &str =
    r#"{"decision":"permit","granted":{"ZMC":{"medication_use":["product","use"]}}}"#;
const EVERYTHING: &str =
    r#"{"decision":"permit","granted":{"ZMC":{"medication_use":["product","use","reason"]}}}"#;
const NOTHING: &str = r#"{"decision":"deny","granted":{}}"#;
