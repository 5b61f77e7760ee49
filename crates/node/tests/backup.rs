//! `aegle backup`, `aegle verify chain`, `aegle restore` and `aegle lake erase` as an operator calls
//! them, with a real node.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_node::{Client, Question};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

const ADMIN_PASSPHRASE: &str = "the first one who may sign in";
const PATIENT_PASSPHRASE: &str = "one who was given a medicine";

/// A network of one centre, and a folder for its backup.
struct Place {
    folder: tempfile::TempDir,
    api: SocketAddr,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses = free_addresses();
        let place = Self { folder, api: addresses[2] };
        let home = place.home();
        well(&Place::aegle(&["init", "--code", "ZMC", home.to_str().unwrap()]));
        let (genesis, card) = (home.join("genesis"), home.join("card.toml"));
        let made = ["genesis", "--name", "test", "--time", "2026-10-01T00:00:00Z", "-o"];
        let made = made.into_iter().chain([genesis.to_str().unwrap(), card.to_str().unwrap()]);
        well(&Place::aegle(&made.collect::<Vec<_>>()));
        let mut config = fs::read_to_string(place.config()).unwrap();
        let defaults = ["0.0.0.0:7401", "0.0.0.0:7402", "127.0.0.1:7403"];
        for (default, address) in defaults.iter().zip(addresses) {
            config = config.replace(&format!("{default:?}"), &format!("\"{address}\""));
        }
        fs::write(place.config(), config).unwrap();
        place
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn config(&self) -> PathBuf {
        self.home().join("aegle.toml")
    }

    fn ledger(&self) -> PathBuf {
        self.home().join("data/ledger")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.backup()).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "segment")).collect();
        paths.sort();
        paths
    }

    fn command(words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
        command.args(words);
        command.env("AEGLE_PASSPHRASE", "the words that open this centre");
        command.env("AEGLE_ADMIN_PASSPHRASE", ADMIN_PASSPHRASE);
        command.env("AEGLE_BACKUP_PASSPHRASE", "the words that open the keys");
        command
    }

    fn aegle(words: &[&str]) -> Output {
        Self::command(words).output().unwrap()
    }

    /// A command about this backup and this node, with more words.
    fn about(&self, command: &str, more: &[&str]) -> Output {
        let paths = [self.backup(), self.config()];
        let [dir, config] = paths.each_ref().map(|path| path.to_str().unwrap());
        Self::aegle(&[&[command, "ledger", dir, "--config", config], more].concat())
    }

    #[track_caller]
    fn restore(&self, more: &[&str]) -> String {
        well(&self.about("restore", more))
    }

    #[track_caller]
    fn back_up(&self) -> String {
        well(&self.about("backup", &[]))
    }

    /// What `aegle verify chain` says, in JSON, and its exit code.
    fn verify(&self) -> (Value, Option<i32>) {
        let (dir, genesis) = (self.backup(), self.home().join("genesis"));
        let [dir, genesis] = [&dir, &genesis].map(|path| path.to_str().unwrap());
        let output = Self::aegle(&["verify", "chain", dir, "--genesis", genesis, "--json"]);
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
    }

    /// The height up to which the backup holds.
    #[track_caller]
    fn verified(&self) -> u64 {
        let (found, code) = self.verify();
        assert_eq!((&found["holds"], code), (&Value::Bool(true), Some(0)), "{found}");
        found["height"].as_u64().unwrap()
    }

    /// The largest object of the lake.
    fn largest_object(&self) -> PathBuf {
        let files = |folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let objects = files(self.home().join("data/lake/raw/packs")).flat_map(files);
        objects.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A command about this node, with words before its configuration.
    fn with_config(&self, words: &[&str]) -> Output {
        let config = self.config();
        Self::aegle(&[words, &["--config", config.to_str().unwrap()]].concat())
    }

    /// Two patients with a medicine each, in a folder to ingest.
    fn source(&self) -> String {
        let folder = self.folder.path().join("source");
        fs::create_dir_all(&folder).unwrap();
        let catalogue = "centre = \"ZMC\"\nversion = 1\nlanguage = \"en\"\n\
            [tags]\nmedication = { en = \"Medication\" }\n\
            [tables.use]\npatient = \"patnr\"\n[tables.use.columns]\n\
            patnr = { type = \"text\", key = true }\n\
            product = { type = \"text\", tags = [\"medication\"] }\n";
        fs::write(folder.join("catalogue.toml"), catalogue).unwrap();
        let rows = "patnr,product\nP-1,aspirin\nP-2,metformin\nP-1,losartan\n";
        fs::write(folder.join("use.csv"), rows).unwrap();
        folder.to_str().unwrap().to_owned()
    }

    /// Somebody who signs in at the node.
    fn signed_in<T>(&self, login: &str, passphrase: &str, ask: impl AsyncFnOnce(Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::new(&format!("http://{}", self.api)).unwrap();
            ask(client.sign_in(login, passphrase).await.unwrap()).await
        })
    }

    /// Brings the patient with a number into the network; the handle, or why not.
    fn enrol(&self, number: &str) -> Result<String, String> {
        let patient = json!({
            "number": number, "login": number, "name": number, "passphrase": PATIENT_PASSPHRASE,
        });
        let enrolled = self.signed_in("admin", ADMIN_PASSPHRASE, async |admin| {
            admin.post("/patients", &patient).await
        });
        let enrolled = enrolled.map_err(|error| format!("{error:#}"))?;
        Ok(enrolled["handle"].as_str().unwrap().to_owned())
    }

    /// What a patient is shown of the own record, once the node lets the patient ask again.
    fn shown(&self, number: &str) -> String {
        let began = Instant::now();
        self.signed_in(number, PATIENT_PASSPHRASE, async |patient| {
            loop {
                let shown = format!("{:?}", patient.record(&Question::default()).await);
                if !shown.contains("429 Too Many Requests") {
                    return shown;
                }
                assert!(began.elapsed() < PATIENCE, "{shown}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    }

    fn start(&self) -> Node {
        let log = self.home().join("node.log");
        let file = File::create(&log).unwrap();
        let mut command = Self::command(&["node", "--config", self.config().to_str().unwrap()]);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let node = Node { child: command.spawn().unwrap(), log };
        let client = aegle_node::Client::new(&format!("http://{}", self.api)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        node.wait("ready", || runtime.block_on(client.ready()));
        node
    }
}

/// A node that ends with the test.
struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    #[track_caller]
    fn wait(&self, what: &str, mut ask: impl FnMut() -> bool) {
        let began = Instant::now();
        while !ask() {
            let log = || fs::read_to_string(&self.log).unwrap();
            assert!(began.elapsed() < PATIENCE, "the node is not {what}\n{}", log());
            sleep(Duration::from_millis(100));
        }
    }

    fn stop(mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success() && self.child.wait().unwrap().success());
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn well(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn free_addresses() -> Vec<SocketAddr> {
    let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cut(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn a_ledger_is_backed_up_verified_and_restored() {
    let place = Place::new();
    let node = place.start();
    node.wait("at its first block", || place.about("backup", &[]).status.success());
    assert_eq!(place.segments().len(), 1);
    let height = place.verified();
    node.wait("going on", || {
        place.back_up();
        place.segments().len() == 2
    });
    assert!(place.verified() > height);

    // A running node keeps its folder for itself, and what is cut is noticed and written again.
    let runs = refused(&place.about("restore", &[]));
    assert!(runs.contains("stop it first"), "{runs}");
    let segment = &place.segments()[0];
    let whole = fs::read(segment).unwrap();
    cut(segment);
    let (found, code) = place.verify();
    assert_eq!((&found["cheat"], code), (&Value::from("damaged-segment"), Some(1)));
    place.back_up();
    assert_eq!(fs::read(segment).unwrap(), whole);
    fs::remove_file(segment).unwrap();
    assert_eq!(place.verify().0["cheat"], "missing-block");
    place.back_up();
    node.stop();

    // The same from the folder of a node that does not run.
    let stopped = place.back_up();
    let height = place.verified();
    assert!(stopped.contains(&format!("blocks 1 to {height},")), "{stopped}");
    let again = place.back_up();
    assert!(again.contains("0 new in 0 segments"), "{again}");
    let none_of_it = fs::read_dir(place.backup()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut others: Vec<_> = none_of_it.filter_map(|name| name.into_string().ok()).collect();
    others.retain(|name| !name.ends_with(".segment"));
    others.sort();
    assert_eq!(others, ["genesis", "lock"], "no keys, no journal, nothing half written");

    let full = refused(&place.about("restore", &[]));
    assert!(full.contains("is not empty"), "{full}");
    fs::remove_dir_all(place.ledger()).unwrap();
    let restored = place.restore(&[]);
    assert!(restored.contains("does not vote"), "{restored}");
    let voted = fs::read_to_string(place.home().join("secrets.voted")).unwrap();
    assert!(voted.contains("since "), "{voted}");

    // It is alone, so nobody else can go on: the whole network begins again.
    fs::remove_dir_all(place.ledger()).unwrap();
    let restored = place.restore(&["--all-stopped"]);
    assert!(restored.contains(&format!("blocks 1 to {height},")), "{restored}");
    let node = place.start();
    node.wait("going on", || {
        place.back_up();
        place.verified() > height
    });
    assert!(!node.log().contains("ERROR"), "{}", node.log());
    node.stop();
}

#[test]
fn a_patient_is_erased_for_good_and_the_lake_comes_back_without() {
    let place = Place::new();
    let node = place.start();
    let (source, backup) = (place.source(), place.path("lake-backup"));
    well(&place.with_config(&["lake", "ingest", &source]));
    // The node brings its catalogue to the ledger first.
    node.wait("serving records", || place.enrol("P-1").is_ok());
    let (one, _two) = (place.enrol("P-1").unwrap(), place.enrol("P-2").unwrap());
    node.wait("showing", || place.shown("P-2").contains("metformin"));
    assert!(place.shown("P-1").contains("aspirin"));
    well(&place.with_config(&["backup", "keys", &place.path("keys-1")]));
    let first = well(&place.with_config(&["backup", "lake", &backup]));
    assert!(first.contains("2 objects, 2 new") && first.contains("of key epoch 1"), "{first}");
    assert!(!first.contains("height 0"), "{first}");

    // Nothing happens to who is not confirmed, and all of it to who is, beside the running node.
    let asked = refused(&place.with_config(&["lake", "erase", &one]));
    assert!(asked.contains("nothing was erased"), "{asked}");
    assert!(place.shown("P-1").contains("aspirin"));
    let erased = well(&place.with_config(&["lake", "erase", &one, "--yes"]));
    assert!(
        erased.contains("2 rows of one patient") && erased.contains("since key epoch 2"),
        "{erased}"
    );
    let (_, receipt) = erased.split_once("the receipt is `").unwrap();
    let (receipt, _) = receipt.split_once('`').unwrap();
    let genesis = place.home().join("genesis");
    let genesis = ["--genesis", genesis.to_str().unwrap(), "--json"];
    let held = well(&Place::aegle(&[["verify", "receipt", receipt].as_slice(), &genesis].concat()));
    let held: Value = serde_json::from_str(&held).unwrap();
    assert_eq!((&held["holds"], &held["transaction"]), (&json!(true), &json!("erase")), "{held}");
    let log = place.signed_in("P-1", PATIENT_PASSPHRASE, async |it| it.get("/log").await.unwrap());
    let last = log["entries"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["event"], &last["epoch"]), (&json!("erased"), &json!(2)), "{last}");
    assert_eq!(log["complete"], true);
    let (erased, other) = (place.shown("P-1"), place.shown("P-2"));
    assert!(!erased.contains("aspirin"), "{erased}");
    assert!(other.contains("metformin"), "{other}");
    let again = well(&place.with_config(&["lake", "ingest", &source]));
    assert!(again.contains("2 rows of patients who were erased here"), "{again}");
    let twice = refused(&place.with_config(&["lake", "erase", "P-1", "--yes"]));
    assert!(twice.contains("was erased here before"), "{twice}");
    let runs = refused(&place.with_config(&["restore", "lake", &backup]));
    assert!(runs.contains("stop it first"), "{runs}");
    node.stop();

    // The backup of before is noise, whatever is left on this machine.
    let lake = place.home().join("data/lake");
    fs::rename(&lake, place.path("lost")).unwrap();
    let noise = refused(&place.with_config(&["restore", "lake", &backup]));
    assert!(noise.contains("key epoch 1") && noise.contains("nobody can read it"), "{noise}");
    fs::rename(place.path("lost"), &lake).unwrap();
    // A new one serves on an empty machine that has the keys.
    let second = well(&place.with_config(&["backup", "lake", &backup]));
    assert!(second.contains("2 objects, 0 new") && second.contains("of key epoch 2"), "{second}");
    well(&place.with_config(&["backup", "keys", &place.path("keys-2")]));
    fs::remove_dir_all(&lake).unwrap();
    fs::remove_file(place.home().join("data/lake.keks")).unwrap();
    let keyless = refused(&place.with_config(&["restore", "lake", &backup]));
    assert!(keyless.contains("key epoch 2, whose key is not here"), "{keyless}");
    let back = well(&place.with_config(&["restore", "keys", &place.path("keys-2")]));
    assert!(back.contains("key epoch 2 are back"), "{back}");
    let there = refused(&place.with_config(&["restore", "keys", &place.path("keys-1")]));
    assert!(there.contains("is there already"), "{there}");
    let restored = well(&place.with_config(&["restore", "lake", &backup]));
    assert!(restored.contains("lake restored: 2 objects"), "{restored}");
    let scrubbed = well(&place.with_config(&["lake", "scrub", "--json"]));
    let scrubbed: Value = serde_json::from_str(&scrubbed).unwrap();
    assert_eq!((&scrubbed["objects"], &scrubbed["damaged"]), (&json!(2), &json!([])), "{scrubbed}");
    let node = place.start();
    node.wait("showing", || place.shown("P-2").contains("metformin"));
    assert!(!place.shown("P-1").contains("aspirin"));
    assert!(!node.log().contains("ERROR"), "{}", node.log());
    node.stop();
}

#[test]
fn a_running_node_repairs_what_a_read_found_missing() {
    let place = Place::new();
    let node = place.start();
    let source = place.source();
    let mut rows = fs::read_to_string(place.path("source/use.csv")).unwrap();
    rows.extend((0..1000).map(|row| format!("P-3,product {row}\n")));
    fs::write(place.path("source/use.csv"), rows).unwrap();
    well(&place.with_config(&["lake", "ingest", &source]));
    node.wait("serving records", || place.enrol("P-1").is_ok());
    // Nothing was read yet, so the node does not hold it open.
    let pack = place.largest_object();
    let whole = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    node.wait("showing", || place.shown("P-1").contains("aspirin"));
    assert_eq!(fs::read(&pack).unwrap(), whole);
    assert!(node.log().contains("Damage in the lake"), "{}", node.log());
    node.stop();
}
