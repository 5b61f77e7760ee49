//! The node processes: only the ledger, and a socket for the client.

use super::protocol::{Connection, Question, Reply, frame, framed, unframe};
use super::{NODES, process, world};
use aegle_consensus::{Config, Ledger, Peer, Timing};
use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use futures::SinkExt;
use futures::stream::{SplitSink, StreamExt};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The name of the hidden command.
pub(crate) const COMMAND: &str = "ledger-node";
/// How often a node that starts is asked whether it is there, ten times a second.
const READY_TRIES: u32 = 300;

#[derive(Parser)]
pub(crate) struct NodeArgs {
    /// Which of the nodes
    #[arg(long)]
    index: usize,
    /// Its folder
    #[arg(long)]
    dir: PathBuf,
    /// Where each node listens for the others
    #[arg(long, value_delimiter = ',')]
    peers: Vec<SocketAddr>,
    /// Where it listens for the client
    #[arg(long)]
    serve: SocketAddr,
}

/// Runs one node until it is killed.
pub(super) fn serve(args: &NodeArgs) -> Result<()> {
    let keys = world::keys();
    let genesis = world::genesis(&keys);
    let others = keys.iter().zip(&args.peers).enumerate().filter(|(peer, _)| *peer != args.index);
    let config = Config {
        dir: args.dir.join("ledger"),
        voted: args.dir.join("voted"),
        genesis,
        key: keys[args.index].clone(),
        listen: args.peers[args.index],
        peers: others
            .map(|(_, (key, address))| Peer { key: key.public(), address: address.to_string() })
            .collect(),
        timing: Timing::default(),
    };
    let consensus = aegle_consensus::start(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.serve).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer_all(stream, consensus.ledger()));
        }
    })
}

type Sink = Arc<Mutex<SplitSink<Framed<TcpStream, LengthDelimitedCodec>, bytes::Bytes>>>;

async fn answer_all(stream: TcpStream, ledger: Ledger) {
    let (sink, mut source) = framed(stream).split();
    let sink = Sink::new(Mutex::new(sink));
    while let Some(Ok(bytes)) = source.next().await {
        let Ok((number, question)) = unframe(&bytes) else { return };
        let (ledger, sink) = (ledger.clone(), sink.clone());
        tokio::spawn(async move {
            let reply = answer(&ledger, question).await;
            if let Ok(frame) = frame(number, &reply) {
                // A client that is gone needs no answer.
                let _ = sink.lock().await.send(frame).await;
            }
        });
    }
}

async fn answer(ledger: &Ledger, question: Question) -> Reply {
    let refused = |error: &dyn std::fmt::Display| Reply::Refused(error.to_string());
    match question {
        Question::Submit(transaction) => match ledger.submit(*transaction).await {
            Err(error) => refused(&error),
            Ok(id) => ledger.wait(id).await.map_or_else(|error| refused(&error), |_| Reply::Final),
        },
        Question::Receipt(id) => match ledger.receipt(id).await {
            Ok(receipt) => Reply::Receipt(Box::new(receipt)),
            Err(error) => refused(&error),
        },
        Question::Height => Reply::Height(ledger.status().height),
    }
}

/// Four running nodes in a temporary folder.
pub(super) struct Nodes {
    folder: TempDir,
    peers: Vec<SocketAddr>,
    running: Vec<Option<(Child, Connection)>>,
}

impl Nodes {
    /// Starts all.
    pub(super) async fn start() -> Result<Self> {
        let peers = free_addresses(NODES)?;
        let running = (0..NODES).map(|_| None).collect();
        let mut nodes = Self { folder: tempfile::tempdir()?, peers, running };
        for index in 0..NODES {
            nodes.restart(index).await?;
        }
        Ok(nodes)
    }

    /// Starts one, for the first time or again.
    pub(super) async fn restart(&mut self, index: usize) -> Result<()> {
        let client = free_addresses(1)?[0];
        let peers: Vec<String> = self.peers.iter().map(ToString::to_string).collect();
        let child = Command::new(std::env::current_exe()?)
            .args([COMMAND, "--index", &index.to_string(), "--peers", &peers.join(",")])
            .args(["--serve", &client.to_string(), "--dir"])
            .arg(self.dir(index))
            .kill_on_drop(true)
            .spawn()
            .context("could not start a node")?;
        for _ in 0..READY_TRIES {
            if let Ok(connection) = Connection::open(client).await {
                self.running[index] = Some((child, connection));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("node {index} does not answer")
    }

    /// Kills one without warning, also while it is asked.
    pub(super) async fn kill(&self, index: usize) -> Result<()> {
        let (child, _) = self.running[index].as_ref().context("the node does not run")?;
        let id = child.id().context("the node has ended")?.to_string();
        let killed = Command::new("kill").args(["-9", &id]).status().await?;
        ensure!(killed.success(), "could not kill node {index}");
        Ok(())
    }

    /// Puts away one that was killed, when it has let go of its address and its folder.
    pub(super) async fn forget(&mut self, index: usize) {
        if let Some((mut child, _)) = self.running[index].take() {
            child.wait().await.ok();
        }
    }

    /// Takes the ledger of one that does not run; its key and the mark that it has voted stay.
    pub(super) fn wipe(&self, index: usize) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.dir(index).join("ledger"))?)
    }

    pub(super) fn is_up(&self, index: usize) -> bool {
        self.running[index].is_some()
    }

    /// Asks one.
    pub(super) async fn ask(&self, index: usize, question: Question) -> Result<Reply> {
        let (_, connection) = self.running[index].as_ref().context("the node does not run")?;
        connection.ask(question).await
    }

    /// The last final height that a node knows.
    pub(super) async fn height(&self, index: usize) -> Result<u64> {
        match self.ask(index, Question::Height).await? {
            Reply::Height(height) => Ok(height),
            other => bail!("not a height: {other:?}"),
        }
    }

    fn processes(&self) -> impl Iterator<Item = u32> + '_ {
        self.running.iter().flatten().filter_map(|(child, _)| child.id())
    }

    pub(super) fn cpu_ms(&self) -> Result<f64> {
        self.processes().map(process::cpu_ms).sum()
    }

    pub(super) fn largest_rss_mib(&self) -> Result<f64> {
        let sizes: Result<Vec<f64>> = self.processes().map(process::rss_mib).collect();
        Ok(sizes?.into_iter().fold(0.0, f64::max))
    }

    /// What one node has on disk, in whole blocks of the file system.
    pub(super) fn disk_bytes(&self) -> Result<f64> {
        process::disk_bytes(&self.dir(0))
    }

    fn dir(&self, index: usize) -> PathBuf {
        Path::new(self.folder.path()).join(format!("node-{index}"))
    }

    /// Stops all.
    pub(super) async fn end(mut self) {
        for (child, _) in self.running.iter_mut().flatten() {
            child.kill().await.ok();
        }
    }
}

/// Addresses that no other program on this machine connects from: a node that was killed must find its
/// own free again.
pub(super) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, high.max(1), low, 1);
    let listeners: std::io::Result<Vec<_>> =
        (0..count).map(|_| TcpListener::bind((host, 0))).collect();
    Ok(listeners?.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?)
}
