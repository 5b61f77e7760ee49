//! Where the nodes stand: each in a network namespace of its own, with a real cable to every other, when
//! this machine lets us make them (root, Debian's `iproute2`); else on addresses of the loopback
//! interface.
//!
//! The clients stand in a namespace, too, so nothing is made in the machine's own and two runs never
//! meet. Everything made goes when [`Ground`] is dropped, also by a test that fails.
//! `AEGLE_FAULTS=loopback` makes no namespaces.

use crate::wire::{Quality, Wire};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Where a node's services listen in its namespace.
const PORTS: Sites<u16> = Sites { ledger: 7401, peer: 7402, api: 7403 };

/// One value for each service of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sites<T> {
    pub(crate) ledger: T,
    pub(crate) peer: T,
    pub(crate) api: T,
}

/// Where the nodes stand.
pub(crate) enum Ground {
    /// In namespaces.
    Namespaces(Namespaces),
    /// On addresses of the loopback interface, with proxies for cables.
    Loopback,
}

/// Namespaces: the clients' with a hub, and one for each node, wired to the hub and to each other.
pub(crate) struct Namespaces {
    /// How the names of all begin.
    prefix: String,
    /// Those that were made.
    made: Vec<String>,
    /// A place in each node's namespace.
    places: Vec<Place>,
    /// Whether the kernel can slow a cable down.
    netem: bool,
}

impl Ground {
    /// The best ground that this machine has for so many nodes; says which.
    pub(crate) fn find(nodes: usize) -> Self {
        let wanted = std::env::var_os("AEGLE_FAULTS").is_none_or(|words| words != "loopback");
        let made = if wanted { Namespaces::make(nodes) } else { Err("not wanted".to_owned()) };
        match made {
            Ok(made) => {
                let slow = if made.netem { "tc netem" } else { "proxies: no netem in the kernel" };
                println!("ground: network namespaces, real cables, slowed down by {slow}");
                Self::Namespaces(made)
            }
            Err(why) => {
                println!("ground: 127.0.0.x, proxies for cables; no namespaces: {why}");
                Self::Loopback
            }
        }
    }

    /// Moves the calling thread, and whatever it starts, to where the clients stand.
    pub(crate) fn enter(&self) {
        if let Self::Namespaces(spaces) = self {
            enter(&spaces.name("c"));
        }
    }

    /// A node's command, in its place.
    pub(crate) fn command(&self, node: usize, program: &str) -> Command {
        match self {
            Self::Loopback => Command::new(program),
            Self::Namespaces(spaces) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &spaces.name(node), program]);
                command
            }
        }
    }

    /// Where a node listens, if that is not where its configuration says already.
    pub(crate) fn listens(&self, node: usize) -> Sites<Option<SocketAddr>> {
        match self {
            // Each ledger at an address of its own.
            Self::Loopback => {
                let own = TcpListener::bind(format!("127.0.0.{}:0", node + 11)).unwrap();
                Sites { ledger: own.local_addr().ok(), peer: None, api: None }
            }
            Self::Namespaces(_) => {
                let all = |port| Some((Ipv4Addr::UNSPECIFIED, port).into());
                let api = Some((hub_address(node), PORTS.api).into());
                Sites { ledger: all(PORTS.ledger), peer: all(PORTS.peer), api }
            }
        }
    }

    /// Where node `from` reaches the lake of node `to`, if that is not where its configuration says.
    pub(crate) fn lake(&self, from: usize, to: usize) -> Option<SocketAddr> {
        matches!(self, Self::Namespaces(_)).then(|| (cable_address(to, from), PORTS.peer).into())
    }

    /// Lays a cable from the ledger of node `from` to that of node `to`, which listens at `target`.
    pub(crate) async fn lay(&self, from: usize, to: usize, target: SocketAddr) -> Wire {
        match self {
            Self::Loopback => Wire::to(target).await,
            Self::Namespaces(spaces) => {
                let target = (cable_address(to, from), PORTS.ledger).into();
                spaces.places[from].handle.spawn(Wire::to(target)).await.unwrap()
            }
        }
    }

    /// Sets how good the way from one node to another is.
    pub(crate) fn set(&self, (from, to): (usize, usize), wire: &Wire, quality: Quality) {
        let Self::Namespaces(spaces) = self else { return wire.set(quality) };
        let (space, cable) = (spaces.name(from), cable(to));
        match quality {
            Quality::Cut => ip(&["-n", &space, "link", "set", &cable, "down"]).unwrap(),
            Quality::Good => {
                ip(&["-n", &space, "link", "set", &cable, "up"]).unwrap();
                if spaces.netem {
                    // There may be nothing to take away.
                    let _ = tc(&space, &["del", "dev", &cable, "root"]);
                }
                wire.set(quality);
            }
            Quality::Slow { delay, lost } if spaces.netem => {
                let (delay, lost) =
                    (format!("{}ms", delay.as_millis()), format!("{}%", f64::from(lost) / 10.0));
                let words = ["replace", "dev", &cable, "root", "netem", "delay", &delay];
                tc(&space, &[&words[..], &["loss", &lost]].concat()).unwrap();
            }
            Quality::Slow { .. } => wire.set(quality),
        }
    }
}

impl Namespaces {
    /// Makes all of them, or none and says why.
    fn make(nodes: usize) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("aegle-{}-{number}", std::process::id());
        let mut spaces = Self { prefix, made: Vec::new(), places: Vec::new(), netem: false };
        // What was made of one that fails goes with it.
        spaces.build(nodes)?;
        let probe = spaces.name(0);
        spaces.netem = tc(&probe, &["add", "dev", "lo", "root", "netem", "delay", "1ms"]).is_ok()
            && tc(&probe, &["del", "dev", "lo", "root"]).is_ok();
        spaces.places = (0..nodes).map(|node| Place::within(spaces.name(node))).collect();
        Ok(spaces)
    }

    fn build(&mut self, nodes: usize) -> Result<(), String> {
        let hub = self.add("c")?;
        ip(&["-n", &hub, "link", "add", "hub", "type", "bridge"])?;
        plug(&hub, "hub", Ipv4Addr::new(10, 9, 0, 1), 24)?;
        for node in 0..nodes {
            let (own, port) = (self.add(node)?, format!("port{node}"));
            pair((&hub, &port), (&own, "hub"))?;
            ip(&["-n", &hub, "link", "set", &port, "master", "hub", "up"])?;
            plug(&own, "hub", hub_address(node), 24)?;
            for other in 0..node {
                let far = self.name(other);
                pair((&own, &cable(other)), (&far, &cable(node)))?;
                plug(&own, &cable(other), cable_address(node, other), 30)?;
                plug(&far, &cable(node), cable_address(other, node), 30)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, what: impl std::fmt::Display) -> Result<String, String> {
        let name = self.name(what);
        ip(&["netns", "add", &name])?;
        self.made.push(name.clone());
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(name)
    }

    fn name(&self, what: impl std::fmt::Display) -> String {
        format!("{}-{what}", self.prefix)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // A namespace lives as long as a thread in it.
        self.places.clear();
        for name in &self.made {
            if let Err(why) = ip(&["netns", "del", name]) {
                eprintln!("could not remove the network namespace {name}: {why}");
            }
        }
    }
}

/// A thread in a namespace: tasks that are spawned on it have their sockets there.
struct Place {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Place {
    fn within(name: String) -> Self {
        let (up, is_up) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            enter(&name);
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            up.send(runtime.handle().clone()).unwrap();
            // Dropping the sender is the word to stop.
            let _ = runtime.block_on(stopped);
        });
        Self { handle: is_up.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Moves the calling thread to a namespace.
fn enter(name: &str) {
    let space = File::open(format!("/run/netns/{name}")).unwrap();
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// How a node calls its end of the cable to another.
fn cable(to: usize) -> String {
    format!("to{to}")
}

/// Where a node is for the clients.
fn hub_address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, u8::try_from(node).unwrap() + 2)
}

/// A node's address on its cable to another.
fn cable_address(node: usize, other: usize) -> Ipv4Addr {
    let number = |one: usize| u8::try_from(one).unwrap();
    let (low, high) = (number(node.min(other)), number(node.max(other)));
    Ipv4Addr::new(10, 9, 1 + 16 * low + high, if node < other { 1 } else { 2 })
}

/// A cable between two namespaces.
fn pair((near, near_end): (&str, &str), (far, far_end): (&str, &str)) -> Result<(), String> {
    let words = ["-n", near, "link", "add", near_end, "type", "veth"];
    ip(&[&words[..], &["peer", "name", far_end, "netns", far]].concat())
}

/// Gives an end an address and puts it into use.
fn plug(space: &str, end: &str, address: Ipv4Addr, bits: u8) -> Result<(), String> {
    ip(&["-n", space, "addr", "add", &format!("{address}/{bits}"), "dev", end])?;
    ip(&["-n", space, "link", "set", end, "up"])
}

fn tc(space: &str, words: &[&str]) -> Result<(), String> {
    run("tc", &[&["-n", space, "qdisc"][..], words].concat())
}

fn ip(words: &[&str]) -> Result<(), String> {
    run("ip", words)
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let ended = Command::new(program).args(words).output();
    let ended = ended.map_err(|error| format!("`{program}` does not run: {error}"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let told = || format!("`{program} {}`: {}", words.join(" "), said.trim());
    ended.status.success().then_some(()).ok_or_else(told)
}

/// The names of this process's namespaces that there are.
fn left(prefix: &str) -> Vec<String> {
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    names.lines().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn what_was_made_goes_also_when_a_test_fails() {
    let Ground::Namespaces(spaces) = Ground::find(2) else { return };
    let prefix = spaces.prefix.clone();
    assert_eq!(left(&prefix).len(), 3);
    let failed = thread::spawn(move || {
        let _held = spaces;
        panic!("as a test does that fails");
    });
    assert!(failed.join().is_err());
    assert_eq!(left(&prefix), [""; 0]);
}
