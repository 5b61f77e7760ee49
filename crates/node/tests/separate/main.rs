//! Four centres, each set up by itself as its operator would, become one network.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_node::Client;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

const CODES: [&str; 4] = ["USTAN", "ZMC", "FCRB", "KHM"];
const ADMINISTRATOR: &str = "the first one who may sign in";
/// How long four nodes may take until they agree, on a busy machine.
const READY: Duration = Duration::from_mins(3);
const STOP: Duration = Duration::from_secs(30);

#[test]
fn four_centres_set_up_apart_become_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let homes = CODES.map(|code| set_up(folder.path(), code));
    let genesis = make_genesis(folder.path(), &homes);
    let ports: Vec<_> = free_addresses(3 * CODES.len()).chunks(3).map(<[_]>::to_vec).collect();
    for (number, home) in homes.iter().enumerate() {
        fs::copy(&genesis, home.join("genesis")).unwrap();
        fill_in(home, number, &ports);
    }
    nothing_starts_with_a_wrong_pass_phrase(&homes[0]);
    let mut nodes: Vec<_> = homes.iter().map(|home| Node::start(home)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (node, ports) in nodes.iter_mut().zip(&ports) {
        let client = Client::new(&format!("http://{}", ports[2])).unwrap();
        node.wait(READY, "ready", |_| runtime.block_on(client.ready()).then_some(()));
        runtime.block_on(client.sign_in("admin", ADMINISTRATOR)).unwrap();
    }
    let client = Client::new(&format!("http://{}", ports[0][2])).unwrap();
    nodes[0].run_out_of_files();
    nodes[0].wait(READY, "ready again", |_| runtime.block_on(client.ready()).then_some(()));
    for node in &mut nodes {
        let status = node.stop();
        assert!(status.success(), "{status}\n{}", node.log());
    }
}

/// `aegle init`, and what it must leave.
fn set_up(folder: &Path, code: &str) -> PathBuf {
    let home = folder.join(code);
    let first = aegle(&home, &["init", "--code", code, home.to_str().unwrap()]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let mode = |name: &str| fs::metadata(home.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("secrets"), mode("data")), (0o600, 0o700));
    let again = aegle(&home, &["init", "--code", code, home.to_str().unwrap()]);
    assert!(text(&again.stderr).contains("there is a node already"), "{}", text(&again.stderr));
    home
}

/// `aegle genesis` twice, with the cards in another order.
fn make_genesis(folder: &Path, homes: &[PathBuf; 4]) -> PathBuf {
    let mut cards: Vec<_> = homes.iter().map(|home| home.join("card.toml")).collect();
    let make = |cards: &[PathBuf], file: &str| {
        let file = folder.join(file);
        let mut words = vec!["genesis", "--name", "test", "--time", "2026-10-01T00:00:00Z", "-o"];
        words.extend([&file].into_iter().chain(cards).map(|path| path.to_str().unwrap()));
        let made = aegle(folder, &words);
        assert!(made.status.success(), "{}", text(&made.stderr));
        (file, made.stdout)
    };
    let (one, said) = make(&cards, "genesis");
    cards.reverse();
    let (other, said_again) = make(&cards, "genesis.again");
    assert_eq!(fs::read(&one).unwrap(), fs::read(other).unwrap());
    assert_eq!(said, said_again);
    assert!(text(&said).contains("1 of 4 centres may fail or lie"), "{}", text(&said));
    one
}

/// Edits the configuration as a person would: own addresses, the other centres as peers. The
/// ledgers find each other by name.
fn fill_in(home: &Path, number: usize, ports: &[Vec<SocketAddr>]) {
    let path = home.join("aegle.toml");
    let mut config = fs::read_to_string(&path).unwrap();
    let defaults = ["0.0.0.0:7401", "0.0.0.0:7402", "127.0.0.1:7403"];
    for (default, port) in defaults.iter().zip(&ports[number]) {
        config = config.replace(&format!("{default:?}"), &format!("\"{port}\""));
    }
    for (service, host) in [(0, "localhost"), (1, "127.0.0.1")] {
        let example = format!(
            "# {{ centre = \"FCRB\", address = \"aegle.fcrb.example:{}\" }},",
            7401 + service
        );
        assert!(config.contains(&example), "{config}");
        let others = (0..CODES.len()).filter(|other| *other != number).map(|other| {
            let (code, port) = (CODES[other], ports[other][service].port());
            format!("{{ centre = \"{code}\", address = \"{host}:{port}\" }},\n")
        });
        config = config.replace(&example, &others.collect::<String>());
    }
    fs::write(path, config).unwrap();
}

fn nothing_starts_with_a_wrong_pass_phrase(home: &Path) {
    let config = home.join("aegle.toml");
    let refused = command(home, &["node", "--config", config.to_str().unwrap()])
        .env("AEGLE_PASSPHRASE", "what somebody else has chosen")
        .output()
        .unwrap();
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && told.contains("the pass phrase is wrong"), "{told}");
}

/// A node that ends with the test.
struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    fn start(home: &Path) -> Self {
        let log = home.join("node.log");
        let file = File::create(&log).unwrap();
        let config = home.join("aegle.toml");
        let mut command = command(home, &["node", "--config", config.to_str().unwrap()]);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    /// Asks until there is an answer.
    fn wait<T>(
        &mut self,
        within: Duration,
        what: &str,
        mut ask: impl FnMut(&mut Child) -> Option<T>,
    ) -> T {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask(&mut self.child) {
                return answer;
            }
            assert!(began.elapsed() < within, "the node is not {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The engine stops itself when it cannot open its journal; the node is to start again, in the
    /// same process.
    fn run_out_of_files(&mut self) {
        let pid = Pid::from_child(&self.child);
        let usual = getrlimit(Resource::Nofile);
        let none_more = Rlimit { current: Some(3), ..usual };
        prlimit(Some(pid), Resource::Nofile, none_more).unwrap();
        let log = self.log.clone();
        let again = |_: &mut Child| {
            let told = fs::read_to_string(&log).unwrap();
            told.contains("the node starts again").then_some(())
        };
        self.wait(READY, "failing", again);
        prlimit(Some(pid), Resource::Nofile, usual).unwrap();
    }

    fn stop(&mut self) -> ExitStatus {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        self.wait(STOP, "stopped", |child| child.try_wait().unwrap())
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

fn aegle(home: &Path, words: &[&str]) -> Output {
    command(home, words).output().unwrap()
}

/// `aegle` with the pass phrases of the centre in this folder.
fn command(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
    command
        .args(words)
        .env("AEGLE_PASSPHRASE", format!("the words that open {}", home.display()))
        .env("AEGLE_ADMIN_PASSPHRASE", ADMINISTRATOR);
    command
}

/// Addresses on this machine that nobody listens at now.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
