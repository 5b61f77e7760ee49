//! `aegle lake ingest --follow`, as an operator runs it.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
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

/// How long a busy machine may take for one step.
const PATIENCE: Duration = Duration::from_mins(2);

fn aegle() -> Command {
    Command::new(env!("CARGO_BIN_EXE_aegle"))
}

/// A node that was set up, and its configuration.
fn set_up(home: &Path) {
    let key = home.with_extension("key");
    let mut init = aegle();
    init.args(["init", "--code", "ZMC", "--no-admin", "--key-file"]).arg(&key).arg(home);
    let made = init.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next line with this text.
fn wait_for(lines: &Receiver<String>, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line has `{text}`"));
        if line.contains(text) {
            return line;
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_changes_at_the_source_is_in_the_lake_soon_and_holes_are_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (home, source) = (folder.path().join("node"), folder.path().join("source"));
    set_up(&home);
    fs::create_dir(&source).unwrap();
    fs::write(source.join("catalogue.toml"), CATALOGUE).unwrap();
    fs::write(source.join("use.csv"), "patnr,product\n4711,aspirin\n").unwrap();
    let mut follow = aegle();
    follow.args(["lake", "ingest", "--follow", "--every", "1", "--config"]);
    follow.arg(home.join("aegle.toml")).arg(&source);
    let piped = follow.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Killed(piped.spawn().unwrap());
    let said = lines(child.0.stdout.take().unwrap());
    let complained = lines(child.0.stderr.take().unwrap());
    assert!(wait_for(&said, "patients").starts_with("1 patients, 1 rows, 1 frames"));

    fs::write(source.join("use.csv"), "patnr,product\n4711,aspirin\n4712,secret,x\n").unwrap();
    let told = wait_for(&complained, "use.csv");
    assert!(told.starts_with("use.csv, line 3: the record does not have the 2 fields"), "{told}");
    wait_for(&complained, "it will be tried again");
    thread::sleep(Duration::from_secs(3));
    let more: Vec<_> = complained.try_iter().collect();
    assert!(more.is_empty(), "it is told once: {more:?}");

    fs::write(source.join("use.csv"), "patnr,product\n4711,aspirin\n4712,metformin\n").unwrap();
    assert!(wait_for(&said, "patients").starts_with("2 patients, 2 rows, 1 frames"));
    drop(child);
    let mut again = aegle();
    again.args(["lake", "ingest", "--config"]).arg(home.join("aegle.toml")).arg(&source);
    let output = again.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("(unchanged)"));
}
