//! The commands that look after a lake, as an operator gives them.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[path = "../../lake/src/testing/servers.rs"]
#[expect(dead_code, reason = "not all of the servers are for these tests")]
mod servers;

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"
[tags]
medication = { en = "Medication" }
results = { en = "Results" }
[tables.use]
patient = "patnr"
[tables.use.columns]
patnr   = { type = "text", key = true }
product = { type = "text", tags = ["medication"] }
dose    = { type = "decimal", tags = ["medication"] }
[tables.result]
patient = "patnr"
[tables.result.columns]
patnr   = { type = "text", key = true }
value   = { type = "decimal", tags = ["results"] }
"#;

/// One centre's node, which never runs, and a source.
struct Centre {
    folder: tempfile::TempDir,
}

impl Centre {
    fn new(rows: usize) -> Self {
        let centre = Self { folder: tempfile::tempdir().unwrap() };
        let home = centre.home();
        let key = centre.path("key");
        let (home, key) = (home.to_str().unwrap(), key.to_str().unwrap());
        let made = run(&["init", "--code", "ZMC", "--no-admin", "--key-file", key, home]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        fs::create_dir(centre.path("source")).unwrap();
        centre.write("catalogue.toml", CATALOGUE);
        let mut uses = "patnr,product,dose\n".to_owned();
        let mut results = "patnr,value\n".to_owned();
        for row in 0..rows {
            writeln!(uses, "P{},product {row},{row}.5", row % 97).unwrap();
            writeln!(results, "P{},{row}", row % 97).unwrap();
        }
        centre.write("use.csv", &uses);
        centre.write("result.csv", &results);
        centre
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.path("source").join(file), content).unwrap();
    }

    /// `aegle lake …` with this centre's configuration.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
        command.arg("lake").args(args).arg("--config").arg(self.home().join("aegle.toml"));
        command
    }

    fn lake(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ingest(&self) -> Output {
        self.lake(&["ingest", self.path("source").to_str().unwrap()])
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.lake(args);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    fn packs(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for folder in fs::read_dir(self.home().join("data/lake/raw/packs")).unwrap() {
            for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
        found.sort();
        found
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aegle")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_operator_finds_damage_and_has_it_repaired() {
    let centre = Centre::new(200);
    let ingested = centre.ingest();
    assert!(ingested.status.success(), "{}", text(&ingested.stderr));
    assert!(text(&ingested.stdout).starts_with("97 patients, 400 rows"));
    let whole = centre.packs();
    let (path, bytes) = &whole[0];
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    let looked = centre.lake(&["scrub", "--look-only"]);
    assert!(!looked.status.success());
    assert!(text(&looked.stdout).contains("was cut short: waits for repair"));
    let scrubbed = centre.lake(&["scrub", "--rate", "100"]);
    assert!(scrubbed.status.success(), "{}", text(&scrubbed.stderr));
    assert!(text(&scrubbed.stdout).contains("was cut short: repaired"));
    assert_eq!(centre.packs(), whole);
    let again = centre.json(&["scrub", "--json"]);
    assert_eq!(
        (again["objects"].as_u64(), again["damaged"].as_array().unwrap().len()),
        (Some(4), 0)
    );
}

#[test]
fn an_operator_looks_at_the_report_and_at_what_a_catalogue_changes() {
    let centre = Centre::new(200);
    centre.ingest();
    let report = centre.json(&["report", "--json"]);
    assert_eq!((report["patients"].as_u64(), report["rows"].as_u64()), (Some(97), Some(400)));
    assert!(text(&centre.lake(&["report"]).stdout).contains("nothing needs a look"));
    let page = centre.path("report.html");
    let page_name = page.to_str().unwrap();
    assert!(centre.lake(&["report", "--html", page_name]).status.success());
    assert!(fs::read_to_string(&page).unwrap().contains("The lake of ZMC"));
    let again = centre.lake(&["report", "--html", page_name]);
    assert!(text(&again.stderr).contains("no report was written"), "{}", text(&again.stderr));
    let grown = CATALOGUE.replace("version = 1", "version = 2");
    let grown = grown.replace(r#"tags = ["results"]"#, r#"tags = ["results", "medication@2"]"#);
    let (old, new) = (centre.path("source"), centre.path("grown.toml"));
    fs::write(&new, grown).unwrap();
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let told = text(&run(&["lake", "diff", old, new]).stdout);
    assert!(told.contains("+ tag medication grows by result.value"), "{told}");
    let difference = centre.json(&["diff", new, "--json"]);
    assert_eq!(difference["grown"][0]["columns"][0], "result.value");
    let refused = run(&["lake", "diff", new]);
    assert!(text(&refused.stderr).contains("give two catalogues"), "{}", text(&refused.stderr));
}

#[test]
fn an_operator_decides_about_what_broke_its_contract() {
    let centre = Centre::new(200);
    centre.ingest();
    let uses = fs::read_to_string(centre.path("source").join("use.csv")).unwrap();
    centre.write("use.csv", &format!("{uses}P1,ibuprofen,eighty\n"));
    let ingested = centre.ingest();
    assert!(!ingested.status.success());
    let told = text(&ingested.stderr);
    assert!(
        told.contains("use.csv, line 202: column `dose`") && !told.contains("eighty"),
        "{told}"
    );
    let listed = centre.json(&["quarantine", "list", "--json"]);
    let batch = listed[0]["batch"].as_str().unwrap().to_owned();
    let shown = text(&centre.lake(&["quarantine", "show", &batch]).stdout);
    assert!(shown.contains("201 rows, 1 of them wrong"), "{shown}");
    let released = centre.lake(&["quarantine", "release", &batch]);
    assert!(released.status.success(), "{}", text(&released.stderr));
    let listed = text(&centre.lake(&["quarantine", "list"]).stdout);
    assert_eq!(listed, "nothing in quarantine waits for a decision\n");
    let all = text(&centre.lake(&["quarantine", "list", "--all"]).stdout);
    assert!(all.contains("released: 201 rows, 1 of them wrong"), "{all}");
    let dropped = centre.lake(&["quarantine", "drop", &batch[..5]]);
    assert!(text(&dropped.stdout).contains("dropped"), "{}", text(&dropped.stderr));
}

#[test]
fn an_operator_moves_the_lake_to_servers_and_back() {
    let (Some(database), Some(store)) = (servers::postgres(), servers::s3()) else { return };
    database.sql("CREATE DATABASE zmc");
    let centre = Centre::new(200);
    assert!(centre.ingest().status.success());
    fs::write(
        centre.home().join("access.toml"),
        "access_key_id = \"anybody\"\nsecret_access_key = \"anything\"\n",
    )
    .unwrap();
    let (config, home) =
        (fs::read_to_string(centre.home().join("aegle.toml")).unwrap(), centre.home());
    let at = |file: &str, folder: &str, lake: &str| {
        let config = config.replace("data = \"data\"", &format!("data = \"{folder}\""));
        fs::write(home.join(file), config.replace("[lake]\n", &format!("[lake]\n{lake}"))).unwrap();
        home.join(file)
    };
    let servers = format!(
        "metadata = \"postgres://owner@127.0.0.1:{}/zmc\"\nobjects = \"s3://{}/zmc\"\n\
         endpoint = \"http://127.0.0.1:{}\"\nregion = \"eu-west-1\"\n\
         access_key_file = \"access.toml\"\n",
        database.port,
        servers::BUCKET,
        store.port
    );
    let (here, there) = (home.join("aegle.toml"), at("servers.toml", "there", &servers));
    let back = at("back.toml", "back", "");
    let on = |config: &PathBuf, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
        command.arg("lake").args(args).arg("--config").arg(config).output().unwrap()
    };
    let migrate = |from: &PathBuf, to: &PathBuf| {
        let moved = on(from, &["migrate", "--to", to.to_str().unwrap()]);
        assert!(moved.status.success(), "{}", text(&moved.stderr));
        text(&moved.stdout)
    };
    let report = |config: &PathBuf| {
        let output = on(config, &["report", "--json"]);
        let read = serde_json::from_slice::<Value>(&output.stdout);
        let mut report = read.unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        report["made"].take();
        report
    };
    let before = report(&here);
    let told = migrate(&here, &there);
    assert!(told.contains("4 objects, 4 new") && told.contains("remove the old place"), "{told}");
    assert!(told.contains("the key file of the old place was destroyed"), "{told}");
    assert!(!home.join("data/lake.keks").exists());
    assert!(migrate(&here, &there).contains("4 objects, 0 new"));
    let with_new_keys = at("again.toml", "data", "keks = \"there/lake.keks\"\n");
    assert_eq!((report(&there), report(&with_new_keys)), (before.clone(), before));
    assert!(!home.join("there/lake/index.db").exists() && !home.join("there/lake/raw").exists());
    // The lake goes on at its servers: it takes in, and looks after itself.
    centre.write("result.csv", "patnr,value\nP1,7\n");
    let ingested = on(&there, &["ingest", centre.path("source").to_str().unwrap()]);
    assert!(ingested.status.success(), "{}", text(&ingested.stderr));
    let scrubbed = on(&there, &["scrub", "--json"]);
    assert!(scrubbed.status.success(), "{}", text(&scrubbed.stderr));
    let scrubbed: Value = serde_json::from_slice(&scrubbed.stdout).unwrap();
    assert_eq!(
        (&scrubbed["objects"], &scrubbed["damaged"]),
        (&Value::from(6), &Value::from([0; 0]))
    );
    let other = on(&here, &["migrate", "--to", there.to_str().unwrap()]);
    assert!(text(&other.stderr).contains("another lake"), "{}", text(&other.stderr));
    let before = report(&there);
    assert!(migrate(&there, &back).contains("6 objects, 6 new"));
    assert_eq!(report(&back), before);
    assert_eq!(before["rows"], 201);
}

#[test]
fn an_operator_stops_an_ingest_and_takes_it_up_again() {
    let centre = Centre::new(20_000);
    let source = centre.path("source");
    let mut command = centre.command(&["ingest", source.to_str().unwrap()]);
    let mut ingest = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(ingest.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.starts_with("writing `")), "it was never seen at work");
    let interrupt = Command::new("kill").arg("-INT").arg(ingest.id().to_string()).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(ingest.wait().unwrap().code(), Some(130));
    let last = told.last().unwrap();
    assert!(last.contains("nothing is lost"), "{last}");
    let again = centre.ingest();
    assert!(again.status.success(), "{}", text(&again.stderr));
    let summary = text(&again.stdout);
    assert!(summary.starts_with("97 patients, 40000 rows"), "{summary}");
    assert_eq!(centre.json(&["report", "--json"])["rows"], 40_000);
    assert!(centre.lake(&["scrub"]).status.success());
}
