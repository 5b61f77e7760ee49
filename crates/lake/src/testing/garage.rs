//! A real object store of three nodes, as a hospital may have one: Garage, which each object lies in
//! three times. It is not part of the suite: `cargo install garage` takes a quarter of an hour.

use super::servers::BUCKET;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Of the access key that every cluster gets.
pub(crate) const KEY: (&str, &str) = (
    "GK00112233445566778899aabb",
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
);
pub(crate) const REGION: &str = "garage";

/// Three nodes that run; the last one may be dead.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    child: Child,
    config: PathBuf,
    /// Where it answers S3.
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [rpc, port] = free_ports();
        let config = folder.path().join("garage.toml");
        let place = folder.path().display();
        let secret = "7".repeat(64);
        let text = format!(
            "metadata_dir = \"{place}/meta\"\ndata_dir = \"{place}/data\"\ndb_engine = \"lmdb\"\n\
             replication_factor = 3\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n\
             [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"127.0.0.1:{port}\"\n"
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = garage(&config);
        let child = command.arg("server").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let node = Self { child, config, port, _folder: folder };
        until("it answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        node
    }

    /// What a command of this node prints.
    fn run(&self, words: &[&str]) -> String {
        let output = garage(&self.config).args(words).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn garage(config: &Path) -> Command {
    let mut command = Command::new("garage");
    command.arg("-c").arg(config).env("RUST_LOG", "garage=warn");
    command
}

fn free_ports() -> [u16; 2] {
    let listeners = [0; 2].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "not yet: {what}");
        sleep(Duration::from_millis(200));
    }
}

impl Cluster {
    /// Three nodes that know each other, with one bucket and one access key.
    pub(crate) fn start() -> Self {
        let cluster = Self { nodes: (0..3).map(|_| Node::start()).collect() };
        let first = &cluster.nodes[0];
        let ids: Vec<_> =
            cluster.nodes.iter().map(|node| node.run(&["node", "id", "-q"])).collect();
        for id in &ids[1..] {
            first.run(&["node", "connect", id.trim()]);
        }
        for (number, id) in ids.iter().enumerate() {
            let (id, _) = id.split_once('@').unwrap();
            let zone = format!("zone{number}");
            first.run(&["layout", "assign", "-z", &zone, "-c", "1G", id]);
        }
        first.run(&["layout", "apply", "--version", "1"]);
        first.run(&["key", "import", "--yes", "-n", "lake", KEY.0, KEY.1]);
        first.run(&["bucket", "create", BUCKET]);
        first.run(&["bucket", "allow", "--read", "--write", BUCKET, "--key", KEY.0]);
        cluster
    }

    /// Where the first node answers.
    pub(crate) fn port(&self) -> u16 {
        self.nodes[0].port
    }

    /// Kills the last node without warning.
    pub(crate) fn kill_one(&mut self) {
        drop(self.nodes.pop());
    }
}
