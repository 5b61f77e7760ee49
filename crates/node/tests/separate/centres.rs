//! Centres that are set up apart from each other, as their operators would, and their nodes.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

pub(crate) const CODES: [&str; 4] = ["USTAN", "ZMC", "FCRB", "KHM"];
pub(crate) const ADMINISTRATOR: &str = "the first one who may sign in";
/// How long four nodes may take until they agree, on a busy machine.
pub(crate) const READY: Duration = Duration::from_mins(3);
const STOP: Duration = Duration::from_secs(30);

/// `aegle init`, and what it must leave.
pub(crate) fn set_up(folder: &Path, code: &str) -> PathBuf {
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
pub(crate) fn make_genesis(folder: &Path, homes: &[PathBuf; 4], more: &[&str]) -> PathBuf {
    let mut cards: Vec<_> = homes.iter().map(|home| home.join("card.toml")).collect();
    let make = |cards: &[PathBuf], file: &str| {
        let file = folder.join(file);
        let mut words = vec!["genesis", "--name", "test", "--time", "2026-10-01T00:00:00Z"];
        words.extend(more);
        words.push("-o");
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
pub(crate) fn fill_in(home: &Path, number: usize, ports: &[Vec<SocketAddr>]) {
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

/// A node that ends with the test.
pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl Node {
    pub(crate) fn start(home: &Path) -> Self {
        let log = home.join("node.log");
        let file = File::options().append(true).create(true).open(&log).unwrap();
        let config = home.join("aegle.toml");
        let mut command = command(home, &["node", "--config", config.to_str().unwrap()]);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    /// Asks until there is an answer.
    pub(crate) fn wait<T>(
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

    pub(crate) fn stop(&mut self) -> ExitStatus {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        self.wait(STOP, "stopped", |child| child.try_wait().unwrap())
    }

    pub(crate) fn log(&self) -> String {
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

pub(crate) fn aegle(home: &Path, words: &[&str]) -> Output {
    command(home, words).output().unwrap()
}

/// `aegle` with the pass phrases of the centre in this folder.
pub(crate) fn command(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegle"));
    command
        .args(words)
        .env("AEGLE_PASSPHRASE", format!("the words that open {}", home.display()))
        .env("AEGLE_ADMIN_PASSPHRASE", ADMINISTRATOR);
    command
}

/// Addresses on this machine that nobody listens at now.
pub(crate) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
