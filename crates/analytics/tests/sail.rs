//! Another engine reads the same tables: Sail of the Python index, as a cluster on this machine.
//!
//! Where `python3` or the packages cannot be had the test prints that it is skipped, but fails in CI.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod common;

use aegle_analytics::query::query;
use aegle_analytics::refresh::refresh;
use common::World;
use datafusion::arrow::csv::WriterBuilder;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: [&str; 2] = ["pysail==0.7.2", "pyspark-client==4.2.0"];

/// A Python that has the packages; made once per target folder.
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sail");
    let python = venv.join("bin/python");
    let runs = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let has_packages = || runs(Command::new(&python).args(["-c", "import pysail.spark, pyspark"]));
    let mut install = Command::new(&python);
    // A registry may fail now and then.
    install.args(["-m", "pip", "install", "--quiet", "--retries", "10"]).args(PACKAGES);
    let made = has_packages()
        || (runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && runs(&mut install)
            && has_packages());
    if !made {
        let text =
            format!("`python3 -m venv` and `pip install {}` do not work here", PACKAGES.join(" "));
        assert!(std::env::var_os("CI").is_none(), "{text}");
        println!("skipped: {text}");
    }
    made.then_some(python)
}

/// What Sail answers to each question.
fn sail(python: &Path, tables: &Path, questions: &[&str]) -> Vec<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sail.py");
    let output = Command::new(python).arg(script).arg(tables).args(questions).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(answers.lines().last().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sail_counts_what_we_count() {
    let Some(python) = python() else { return };
    let world = World::new();
    let lake = world.filled();
    refresh(&lake, &world.project, None).await.unwrap();
    // A second time, so that there is a commit that replaces.
    refresh(&lake, &world.project, None).await.unwrap();
    let questions = [
        "SELECT count(*), count(DISTINCT patient) FROM medication",
        "SELECT product, count(*), sum(dose), sum(days) FROM medication
         WHERE product IN ('aspirin', 'metformin') GROUP BY product",
        "SELECT sex, count(*), sum(birth) FROM person GROUP BY sex",
        "SELECT p.sex, count(*) FROM person p JOIN medication m ON p.patient = m.patient
         WHERE m.repeat AND m.product = 'aspirin' GROUP BY p.sex",
        "SELECT count(*) FROM medication WHERE start < stop AND at >= TIMESTAMP '2000-01-01 00:00:00'",
    ];
    let theirs = sail(&python, world.project.tables(), &questions);
    assert_eq!(theirs.len(), questions.len());
    for (question, theirs) in questions.iter().zip(theirs) {
        let mut bytes = Vec::new();
        let mut writer = WriterBuilder::new().with_header(false).build(&mut bytes);
        let ours = query(&world.project, question).await.unwrap();
        ours.batches.iter().for_each(|batch| writer.write(batch).unwrap());
        drop(writer);
        let text = String::from_utf8(bytes).unwrap();
        let mut ours: Vec<_> = text.lines().map(str::to_owned).collect();
        ours.sort();
        assert!(!ours.is_empty());
        assert_eq!(theirs, ours, "{question}");
    }
}
