//! Runs the engine on a thread of its own, in the engine's own runtime.
//!
//! The engine stops itself on a fault that it must not survive (a disk that fails, a block that cannot
//! be reproduced). That never takes the process along: [`Consensus::ended`] says so, and the
//! node starts it again.

use crate::{
    client::Ledger,
    engine::{self, Identity},
    network,
    timing::Timing,
    voting::{self, Mark, Standing},
};
use aegle_ledger::{Genesis, GenesisError};
use aegle_model::{PublicKey, SigningKey, Timestamp};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{Signer as _, ed25519};
use commonware_p2p::Address;
use commonware_runtime::{Metrics as _, Runner as _, Supervisor as _, tokio as runtime};
use commonware_utils::ordered::Map;
use std::{
    any::Any,
    fs, io,
    net::{SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use tokio::sync::{oneshot, watch};
use tracing::error;

/// Where the engine's files are below the node's folder.
pub(crate) const STORAGE: &str = "engine";
/// They all begin with this.
pub(crate) const PREFIX: &str = "ledger";
/// Says which network and key a folder belongs to.
pub(crate) const MARK: &str = "network";
/// Threads for the engine's tasks.
pub(crate) const WORKERS: usize = 2;
/// Futures of the engine are large; debug builds need the room.
pub(crate) const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Another node.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its node key.
    pub key: PublicKey,
    /// `host:port`, where the host is an IP address or a name.
    pub address: String,
}

/// What an engine needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the engine keeps its files. One engine, one folder. It holds what this node has voted for:
    /// a key that has voted must never start with an older copy of it, or it may vote twice.
    pub dir: PathBuf,
    /// A file that says in which networks the key has voted. It belongs beside the key: with the mark
    /// and without the folder a node only follows.
    pub voted: PathBuf,
    /// The network's beginning.
    pub genesis: Genesis,
    /// This node's key. No second engine may ever run with it.
    pub key: SigningKey,
    /// Where to listen for the other validators.
    pub listen: SocketAddr,
    /// Every other founder, and whoever else this node should know from the start; the addresses of
    /// those who were admitted later stand in the ledger.
    pub peers: Vec<Peer>,
    /// How long to wait for what.
    pub timing: Timing,
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The genesis is not one.
    #[error("the genesis cannot start a network")]
    Genesis(#[from] GenesisError),
    /// A key of the genesis is no ed25519 key.
    #[error("the key {key} in the genesis or among the peers is not an ed25519 key")]
    BadKey {
        /// The key.
        key: PublicKey,
    },
    /// A peer's address cannot be read.
    #[error("the peer address `{address}` is not `host:port`")]
    Address {
        /// The address.
        address: String,
    },
    /// A peer is named twice.
    #[error("a peer is named twice")]
    DuplicatePeer,
    /// Nobody to talk to.
    #[error("the network has other founders and no peer is named; name at least one")]
    NoPeers,
    /// The waiting times contradict each other.
    #[error("the timing contradicts itself: {0}")]
    Timing(&'static str),
    /// The folder cannot be used.
    #[error("could not use the folder `{dir}`")]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder belongs to another network or key.
    #[error("the folder `{dir}` belongs to another network or node key; take an empty one")]
    Foreign {
        /// The folder.
        dir: PathBuf,
    },
    /// The address cannot be listened at.
    #[error("could not listen at {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The engine's thread could not be made.
    #[error("could not start the engine's thread")]
    Thread(#[source] io::Error),
    /// The folder does not hold the beginning of the chain.
    #[error(
        "the blocks before height {first} are not all in the folder yet; start the node and wait until \
         `aegle ledger status` says that none is missing"
    )]
    Incomplete {
        /// The first block that is there.
        first: u64,
    },
    /// The engine failed before it was up.
    #[error("the engine failed to start: {0}")]
    Engine(String),
}

/// How an engine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// It stopped itself; the folder is intact, start it again.
    Failed(String),
}

/// A running engine. Dropping it stops the engine without waiting.
pub struct Consensus {
    ledger: Ledger,
    stop: Option<oneshot::Sender<()>>,
    end: watch::Receiver<Option<End>>,
}

impl Consensus {
    /// The ledger, for everyone who uses it.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Waits until the engine has ended, and says how.
    pub async fn ended(&self) -> End {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await.map(|end| end.clone());
        ended.ok().flatten().unwrap_or(End::Stopped)
    }

    /// Stops the engine and waits until it has let go of its folder.
    pub async fn stop(mut self) -> End {
        self.stop.take();
        self.ended().await
    }
}

/// Starts an engine and blocks the calling thread until it is up, some tenths of a second; what it
/// missed it catches up by itself.
pub fn start(config: Config) -> Result<Consensus, StartError> {
    config.genesis.check()?;
    for founder in &config.genesis.centres {
        validator(&founder.key)?;
    }
    let identity = identity(&config.genesis, &config.key);
    if let Some(fault) = config.timing.fault() {
        return Err(StartError::Timing(fault));
    }
    let peers = config.peers.iter().map(|peer| Ok((validator(&peer.key)?, peer.address.clone())));
    let peers =
        network::addresses(&identity, config.listen, peers.collect::<Result<_, StartError>>()?)?;
    claim(&config.dir, &config.genesis, &config.key.public())?;
    let identity = Identity { joins: joins(&config)?, ..identity };
    let probe = TcpListener::bind(config.listen);
    drop(probe.map_err(|source| StartError::Listen { listen: config.listen, source })?);

    let (stop, stopped) = oneshot::channel();
    let (up, is_up) = std::sync::mpsc::sync_channel(1);
    let (ending, end) = watch::channel(None);
    let run = move || {
        let ran = catch_unwind(AssertUnwindSafe(|| run(&config, identity, peers, up, stopped)));
        ending.send_replace(Some(ran.unwrap_or_else(|panic| End::Failed(message(&*panic)))));
    };
    let builder = thread::Builder::new().name("aegle-consensus".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(run).map_err(StartError::Thread)?;
    match is_up.recv() {
        Ok(ledger) => Ok(Consensus { ledger, stop: Some(stop), end }),
        Err(_) => Err(StartError::Engine(failure(&end))),
    }
}

/// Runs the engine until it is told to stop or stops itself.
fn run(
    config: &Config,
    identity: Identity,
    peers: Map<ed25519::PublicKey, Address>,
    up: std::sync::mpsc::SyncSender<Ledger>,
    stopped: oneshot::Receiver<()>,
) -> End {
    let settings = runtime::Config::new()
        .with_storage_directory(config.dir.join(STORAGE))
        .with_worker_threads(WORKERS)
        .with_thread_stack_size(STACK_BYTES);
    runtime::Runner::new(settings).start(|context| async move {
        let may_vote = Box::new(may_vote(config));
        let network = network::start(&context, &identity, config.listen, peers, may_vote);
        let genesis = identity.genesis.clone();
        let engine = engine::start(
            context.child("engine"),
            PREFIX,
            identity,
            config.timing,
            network,
            |state| state,
            |proposer| proposer,
        )
        .await;
        let mut entered = engine.role.clone();
        // A context holds the folder: whoever keeps a ledger must not keep one.
        let context = Arc::new(context);
        let observed = Arc::downgrade(&context);
        let metrics = move || observed.upgrade().map_or_else(String::new, |it| it.encode());
        let ledger = engine.ledger(genesis, metrics);
        // The first answer comes when the chain stands where the last run left it; then the node
        // enters its epoch.
        if ledger.read(&[]).await.is_ok() && entered.changed().await.is_ok() {
            // Whoever started the engine may have gone meanwhile; then `stopped` resolves at once.
            let _ = up.send(ledger);
        }
        tokio::select! {
            _ = stopped => End::Stopped,
            ended = engine.handle => End::Failed(format!("agreement ended: {ended:?}")),
        }
    })
}

/// Whether the network has run without what this node has in its folder, as far as it can know.
fn joins(config: &Config) -> Result<bool, StartError> {
    let founder = config.genesis.validators().contains(&config.key.public());
    let voted = voting::has_voted(&config.voted, &config.genesis.hash().to_string());
    let unreadable = |source| StartError::Folder { dir: config.voted.clone(), source };
    Ok(!founder || voted.map_err(unreadable)?)
}

/// Looks, epoch by epoch, whether this node may vote, and notes that it does.
fn may_vote(config: &Config) -> impl FnMut(u64, Option<Timestamp>) -> bool + Send + use<> {
    let path = config.voted.clone();
    let storage = config.dir.join(STORAGE);
    let network = config.genesis.hash().to_string();
    let mark = Mark::open((&path, &network), &config.dir, voting::moment());
    move |epoch, began| {
        let journal = storage.join(engine::journal(PREFIX, epoch));
        let standing = match &mark {
            Ok(mark) => mark.standing(&journal, (epoch, began), voting::moment().1),
            Err(fault) => Err(io::Error::new(fault.kind(), fault.to_string())),
        };
        match &standing {
            Ok(Standing::Votes | Standing::Behind) => {}
            Ok(Standing::Lost) => error!(
                mark = %path.display(),
                epoch,
                "This node's key may have voted with another folder, so the node follows and votes \
                 again when the next epoch begins. If you can put back the very folder it voted \
                 with, not an older copy of it, do so and remove the line `since` from the mark"
            ),
            Err(fault) => error!(
                mark = %path.display(),
                epoch,
                "The mark of this node's votes cannot be read or written, so the node follows: \
                 {fault}"
            ),
        }
        matches!(standing, Ok(Standing::Votes))
    }
}

/// The engine's keys for this node.
pub(crate) fn identity(genesis: &Genesis, key: &SigningKey) -> Identity {
    let key =
        ed25519::PrivateKey::decode(Copying(key.seed().as_slice())).expect("every seed is a key");
    Identity { genesis: genesis.clone(), key, joins: false }
}

impl Identity {
    /// Whether a key is this node's.
    pub(crate) fn is(&self, key: &PublicKey) -> bool {
        self.key.public_key().as_ref() == key.as_bytes()
    }
}

/// The engine's type for a key.
pub(crate) fn validator(key: &PublicKey) -> Result<ed25519::PublicKey, StartError> {
    ed25519::PublicKey::decode(Copying(key.as_bytes()))
        .map_err(|_| StartError::BadKey { key: *key })
}

/// Makes the folder, or makes sure that it is this network's and this key's.
pub(crate) fn claim(dir: &Path, genesis: &Genesis, key: &PublicKey) -> Result<(), StartError> {
    let failed = |source| StartError::Folder { dir: dir.to_owned(), source };
    let mark = format!("{}\n{key}\n", genesis.hash());
    let path = dir.join(MARK);
    fs::create_dir_all(dir).map_err(failed)?;
    match fs::read_to_string(&path) {
        Ok(found) if found == mark => Ok(()),
        Ok(_) => Err(StartError::Foreign { dir: dir.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&path, mark).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn failure(end: &watch::Receiver<Option<End>>) -> String {
    match &*end.borrow() {
        Some(End::Failed(message)) => message.clone(),
        _ => "it ended at once".to_owned(),
    }
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown fault".to_owned())
}
