//! Four centres of the demonstration as processes of their own, with cables between their ledgers.

use crate::ground::{Ground, Sites};
use crate::wire::{Quality, Wire};
use aegle_ledger::{Block, Body, Outcome, read_segment, rule_id};
use aegle_node::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
/// The centres of the demonstration; its patient is at the first two.
pub(crate) const CODES: [&str; 4] = ["ZMC", "FCRB", "USTAN", "KHM"];

/// One centre's node.
pub(crate) struct Node {
    home: PathBuf,
    listens: Sites<SocketAddr>,
    /// What starts it where it stands.
    command: Box<dyn Fn() -> Command + Send>,
    child: Option<Child>,
}

/// The network. Nodes end before the ground and the folder go that they stand in.
pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    /// The cable from one node to another.
    wires: BTreeMap<(usize, usize), Wire>,
    ground: Arc<Ground>,
    folder: tempfile::TempDir,
}

impl Network {
    /// Plays the demonstration once, so that there are data and a patient; then lays cables.
    pub(crate) async fn set_up(ground: Arc<Ground>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("network");
        let words =
            ["demo", "--once", "--json", "--patients", "30", "--dir", dir.to_str().unwrap()];
        let played = aegle(&words).output().unwrap();
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
        let node = |number: usize| Node::new(&dir.join(CODES[number]), number, &ground);
        let nodes: Vec<_> = (0..CODES.len()).map(node).collect();
        let mut wires = BTreeMap::new();
        for from in 0..nodes.len() {
            for to in (0..nodes.len()).filter(|to| *to != from) {
                let target = nodes[to].listens.ledger;
                wires.insert((from, to), ground.lay(from, to, target).await);
            }
        }
        let network = Self { nodes, wires, ground, folder };
        for from in 0..network.nodes.len() {
            network.connect(from);
        }
        network
    }

    /// Writes the configuration of a node: where it listens, the cables as its peers.
    fn connect(&self, from: usize) {
        let path = self.nodes[from].config();
        let mut config = read(&path);
        let Sites { ledger, peer, api } = self.nodes[from].listens;
        for (service, address) in [("ledger", ledger), ("peer", peer), ("api", api)] {
            config[service]["listen"] = address.to_string().into();
        }
        let code = |peer: &toml::Value| {
            CODES.iter().position(|code| peer["centre"].as_str() == Some(code)).unwrap()
        };
        for peer in config["ledger"]["peers"].as_array_mut().unwrap() {
            peer["address"] = self.wires[&(from, code(peer))].address.to_string().into();
        }
        for peer in config["peer"]["peers"].as_array_mut().unwrap() {
            if let Some(address) = self.ground.lake(from, code(peer)) {
                peer["address"] = address.to_string().into();
            }
        }
        fs::write(path, config.to_string()).unwrap();
    }

    /// Sets the quality of every cable between `these` and the others, both ways.
    pub(crate) fn around(&self, these: &[usize], quality: Quality) {
        self.set(quality, |(from, to)| these.contains(&from) != these.contains(&to));
    }

    /// Sets the quality of every cable.
    pub(crate) fn everywhere(&self, quality: Quality) {
        self.set(quality, |_| true);
    }

    fn set(&self, quality: Quality, of: impl Fn((usize, usize)) -> bool) {
        let wires = self.wires.iter().filter(|(ends, _)| of(**ends));
        wires.for_each(|(ends, wire)| self.ground.set(*ends, wire, quality));
    }

    /// Waits until all nodes are ready.
    pub(crate) async fn ready(&mut self) {
        for node in &mut self.nodes {
            node.ready().await;
        }
    }

    /// Waits until all nodes are at the height of the first or beyond, and nothing waits.
    pub(crate) async fn level(&self) {
        let height = self.nodes[0].height().await.expect("the first node answers");
        let began = Instant::now();
        for node in &self.nodes {
            while node.height().await.is_none_or(|other| other < height) {
                assert!(began.elapsed() < PATIENCE, "a node stays behind\n{}", node.log());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// The blocks of a stopped node, after `aegle verify chain` found no fault in them.
    pub(crate) fn blocks(&self, number: usize) -> Vec<Block> {
        let node = &self.nodes[number];
        let backup = self.folder.path().join(format!("backup-{number}"));
        let (backup_text, config) = (backup.to_str().unwrap(), node.config());
        let genesis = self.folder.path().join("network/genesis");
        let run = |words: &[&str]| {
            let ended = aegle(words).output().unwrap();
            assert!(
                ended.status.success(),
                "{words:?}: {}",
                String::from_utf8_lossy(&ended.stderr)
            );
        };
        run(&["backup", "ledger", backup_text, "--config", config.to_str().unwrap()]);
        run(&["verify", "chain", backup_text, "--genesis", genesis.to_str().unwrap()]);
        let paths = fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "segment")).collect();
        segments.sort();
        let blocks = segments.iter().flat_map(|path| {
            let blocks = read_segment(&fs::read(path).unwrap()).unwrap();
            blocks.into_iter().map(|certified| certified.block)
        });
        blocks.collect()
    }
}

/// The ids of all rules that these blocks hold, in order.
pub(crate) fn rules(blocks: &[Block]) -> Vec<String> {
    let entries = blocks.iter().flat_map(|block| &block.entries);
    let granted = entries.filter(|(entry, _)| matches!(entry.body(), Body::Grant(_)));
    granted.map(|(entry, _)| rule_id(&entry.change_id().unwrap()).to_string()).collect()
}

/// The ids of all requests for a record that these blocks decided, in order.
pub(crate) fn requests(blocks: &[Block]) -> Vec<String> {
    let entries = blocks.iter().flat_map(|block| &block.entries);
    let decided = entries.filter(|(_, outcome)| matches!(outcome, Outcome::Decided(_)));
    let requests = decided.filter_map(|(entry, _)| match entry.body() {
        Body::Disclose(disclose) => Some(disclose.request.to_string()),
        _ => None,
    });
    requests.collect()
}

impl Node {
    fn new(home: &Path, number: usize, ground: &Arc<Ground>) -> Self {
        let config = read(&home.join("aegle.toml"));
        let now = |service: &str| -> SocketAddr {
            config[service]["listen"].as_str().unwrap().parse().unwrap()
        };
        let Sites { ledger, peer, api } = ground.listens(number);
        let listens = Sites {
            ledger: ledger.unwrap_or_else(|| now("ledger")),
            peer: peer.unwrap_or_else(|| now("peer")),
            api: api.unwrap_or_else(|| now("api")),
        };
        let ground = Arc::clone(ground);
        let command = Box::new(move || ground.command(number, AEGLE));
        Self { home: home.to_owned(), listens, command, child: None }
    }

    /// Where the node's API is.
    pub(crate) fn api(&self) -> SocketAddr {
        self.listens.api
    }

    fn config(&self) -> PathBuf {
        self.home.join("aegle.toml")
    }

    /// Where the node keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(crate) fn start(&mut self) {
        let log = File::options().append(true).create(true).open(self.home.join("faults.log"));
        let log = log.unwrap();
        let mut command = (self.command)();
        command.args(["node", "--config", self.config().to_str().unwrap()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks the node to stop and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let asked = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(asked.success());
        child.wait().unwrap()
    }

    /// Waits until the node says that all its parts work.
    pub(crate) async fn ready(&mut self) {
        let client = Client::new(&format!("http://{}", self.api())).unwrap();
        let began = Instant::now();
        while !client.ready().await {
            assert!(began.elapsed() < PATIENCE, "the node is not ready\n{}", self.log());
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the node ended: {ended:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the node is ready; starts it again when it has given up, as whoever looks after its
    /// machine would.
    pub(crate) async fn returns(&mut self) {
        let client = Client::new(&format!("http://{}", self.api())).unwrap();
        let began = Instant::now();
        while !client.ready().await {
            assert!(began.elapsed() < PATIENCE, "the node does not return\n{}", self.log());
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                println!("a node gave up: {}", self.log().lines().last().unwrap_or_default());
                self.start();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn height(&self) -> Option<u64> {
        let client = Client::new(&format!("http://{}", self.api())).unwrap();
        let client = client.sign_in("admin", "correct horse battery staple").await.ok()?;
        client.get("/ledger").await.ok()?.get("height").and_then(Value::as_u64)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.join("faults.log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const AEGLE: &str = env!("CARGO_BIN_EXE_aegle");

fn read(config: &Path) -> toml::Table {
    fs::read_to_string(config).unwrap().parse().unwrap()
}

fn aegle(words: &[&str]) -> Command {
    let mut command = Command::new(AEGLE);
    command.args(words);
    command
}
