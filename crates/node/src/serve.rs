//! `aegle node`: opens everything, serves until told to stop.

use crate::erase;
use crate::lake::upkeep::Caretaker;
use crate::rotate::Keys;
use crate::secrets::Secrets;
use crate::settings::{Address, Settings};
use crate::upload::{Service, Uploads};
use aegle_centre::{Centre, Journal, Parts, PeerAddress, Peers, Store, chain, now};
use aegle_consensus::{Config, Consensus, End, Ledger, Members, Peer, Timing};
use aegle_identity::{Identity, Issuer};
use aegle_lake::{FileKeks, Lake};
use aegle_ledger::Genesis;
use aegle_model::{Canonical, PublicKey};
use aegle_web::TlsListener;
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// Run one node until SIGTERM or Ctrl-C
#[derive(Parser)]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// How often the lake is asked for a newer catalogue.
const CATALOGUE_AGAIN: Duration = Duration::from_secs(10);

/// How often parts that nobody claimed are removed.
const SWEEP_AGAIN: Duration = Duration::from_secs(30);
/// How long requests in flight may take after the signal to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// A node that fails again within this time has failed in a row.
const STEADY: Duration = Duration::from_mins(1);
/// How often in a row a node is started again.
const RESTARTS: u32 = 5;
/// How long a node that gave up rests while its uploads go on.
const FAILED_AGAIN: Duration = Duration::from_mins(1);
/// How long a failed node rests.
const REST: Duration = Duration::from_secs(1);

/// Runs the node. Its uploads go on whatever becomes of the rest, which is tried again then.
pub(crate) fn run(args: &Args) -> Result<()> {
    let uploads = Uploads::load(&args.config)?;
    if let Some(uploads) = uploads.as_ref().filter(|uploads| uploads.alone) {
        let _serving = Service::start(uploads)?;
        return told_within(None).map(drop);
    }
    let settings = Settings::load(&args.config)?;
    let mut keys = Keys::load(&settings)?;
    let Some(uploads) = uploads else { return run_rest(&settings, &mut keys) };
    let _serving = Service::start(&uploads)?;
    while let Err(error) = run_rest(&settings, &mut keys) {
        error!("The node fails and is tried again soon; uploads go on: {error:#}");
        if told_within(Some(FAILED_AGAIN))? {
            return Err(error);
        }
    }
    Ok(())
}

/// Waits for a signal to stop, or for this long. Whether it came.
fn told_within(time: Option<Duration>) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(time) = time else {
            signalled().await;
            return Ok(true);
        };
        Ok(tokio::time::timeout(time, signalled()).await.is_ok())
    })
}

/// Runs all but the uploads, and runs it again when its engine stops itself: an engine does so on a
/// fault that it must not survive, and comes back from its journals.
fn run_rest(settings: &Settings, keys: &mut Keys) -> Result<()> {
    let mut in_a_row = 0;
    loop {
        let started = Instant::now();
        // A runtime of its own, so that nothing of a failed run goes on.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(serve(settings, keys));
        runtime.shutdown_timeout(DRAIN);
        let reason = match served? {
            Served::Stopped => return Ok(()),
            Served::MembersChanged => {
                info!("The members of the network changed; the node starts again among them");
                // Perhaps to keys that were made while the node ran.
                if let Err(error) = keys.look(settings) {
                    error!("Could not use the new secrets that wait for the members: {error:#}");
                }
                in_a_row = 0;
                continue;
            }
            Served::KeysAccepted => {
                keys.accepted(settings)?;
                continue;
            }
            Served::Failed(reason) => reason,
        };
        in_a_row = if started.elapsed() > STEADY { 1 } else { in_a_row + 1 };
        if in_a_row > RESTARTS {
            bail!("the consensus engine failed {in_a_row} times in a row: {reason}");
        }
        error!(reason, "The consensus engine failed; the node starts again");
        std::thread::sleep(REST);
    }
}

/// Why a node no longer serves.
enum Served {
    /// It was told to stop.
    Stopped,
    /// Whom it lets in and calls stands in the ledger, and that is other centres now.
    MembersChanged,
    /// The key that waited for the members' vote is a member's now.
    KeysAccepted,
    /// Its engine stopped itself.
    Failed(String),
}

impl From<End> for Served {
    fn from(end: End) -> Self {
        match end {
            End::Stopped => Self::Stopped,
            End::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// Serves until told to stop, until the engine fails, or until the members are others.
async fn serve(settings: &Settings, keys: &Keys) -> Result<Served> {
    let secrets = &keys.now;
    let genesis = load_genesis(&settings.genesis)?;
    let api = listen(settings.api.listen).await?;
    let peer = listen(settings.peer.listen).await?;
    let consensus = start_ledger(settings, secrets, &genesis)?;
    let ledger = consensus.ledger();
    let (key, next) = keys.pair()?;
    let joined = tokio::select! {
        members = joined(&ledger, &key, next.as_ref()) => members,
        end = until_told(&consensus) => return end_of(consensus, end).await,
    };
    let Some(members) = joined else {
        return Ok(match consensus.stop().await {
            End::Stopped => Served::KeysAccepted,
            failed @ End::Failed(_) => failed.into(),
        });
    };
    let lake = Arc::new(open_lake(settings, secrets)?);
    let _caretaker = Caretaker::start(Arc::clone(&lake), &settings.lake)?;
    let centre = open(settings, secrets, (genesis, &members), (lake, &consensus))?;
    centre.resume().await?;
    tokio::spawn(arrive(centre.clone()));
    tokio::spawn(sweep(centre.clone()));
    tokio::spawn(erase::tell(centre.clone(), erase::folder(settings)));
    let (stop, stopped) = watch::channel(false);
    let peer = TlsListener::new(peer, &secrets.certificate()?, &members.centres)?;
    let limits = settings.api.limits();
    let router = aegle_web::api(centre.clone(), limits.clone());
    let serving_api =
        tokio::spawn(aegle_web::serve_api(api, router, limits, told(stopped.clone())));
    let serving_peers =
        tokio::spawn(aegle_web::serve_peers(peer, aegle_web::peer(centre), told(stopped)));
    info!("The node serves at http://{}", settings.api.listen);
    let (end, others) = tokio::select! {
        end = until_told(&consensus) => (end, false),
        () = changed(&ledger, &members) => (None, true),
    };
    stop.send_replace(true);
    for server in [serving_api, serving_peers] {
        if tokio::time::timeout(DRAIN, server).await.is_err() {
            warn!("Some requests did not end in time");
        }
    }
    let served = end_of(consensus, end).await?;
    Ok(if others { Served::MembersChanged } else { served })
}

/// Lets the engine end, if it has not by itself.
async fn end_of(consensus: Consensus, end: Option<End>) -> Result<Served> {
    if let Some(end) = end {
        return Ok(end.into());
    }
    consensus.stop().await;
    Ok(Served::Stopped)
}

/// Waits until this node's key is a member's. Until then it follows the ledger and serves nobody.
/// None when the key that waits to be the `next` one is.
async fn joined(
    ledger: &Ledger,
    key: &PublicKey,
    next: Option<&PublicKey>,
) -> Option<Arc<Members>> {
    loop {
        let members = ledger.members();
        if next.is_some_and(|next| members.with_key(next).is_some()) {
            return None;
        }
        if members.with_key(key).is_some() {
            return Some(members);
        }
        warn!(%key, "This node's key is no member's (yet); it follows the ledger and serves nobody");
        changed(ledger, &members).await;
    }
}

/// Waits until the members are others. An engine that has ended says so itself, with its reason.
async fn changed(ledger: &Ledger, members: &Members) {
    if ledger.members_change(members).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the node is to stop.
async fn told(mut stopped: watch::Receiver<bool>) {
    // A dropped sender means the same.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Waits for a signal or for the engine's end.
async fn until_told(consensus: &Consensus) -> Option<End> {
    tokio::select! {
        end = consensus.ended() => Some(end),
        () = signalled() => None,
    }
}

/// Waits for SIGTERM or Ctrl-C.
async fn signalled() {
    let mut terminate = signal(SignalKind::terminate()).expect("the process may handle SIGTERM");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Reads a genesis file and checks it.
pub(crate) fn load_genesis(path: &Path) -> Result<Genesis> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("could not read the genesis `{}`", path.display()))?;
    let genesis = Genesis::from_bytes(&bytes)?;
    genesis.check()?;
    Ok(genesis)
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("could not listen at {address}; is another node running?"))
}

fn start_ledger(settings: &Settings, secrets: &Secrets, genesis: &Genesis) -> Result<Consensus> {
    let peers = settings.ledger.peers.iter().map(|peer| {
        let key = member(&genesis.centres, peer)?.key;
        Ok(Peer { key, address: peer.address.clone() })
    });
    let config = Config {
        dir: settings.data.join("ledger"),
        voted: settings.secrets.with_extension("voted"),
        genesis: genesis.clone(),
        key: secrets.node()?,
        listen: settings.ledger.listen,
        peers: peers.collect::<Result<_>>()?,
        timing: Timing::default(),
    };
    Ok(aegle_consensus::start(config)?)
}

fn member<'a>(
    centres: &'a [aegle_ledger::Centre],
    peer: &Address,
) -> Result<&'a aegle_ledger::Centre> {
    let found = centres.iter().find(|centre| centre.code.as_str() == peer.centre);
    found.with_context(|| format!("the centre `{}` is no member", peer.centre))
}

fn open(
    settings: &Settings,
    secrets: &Secrets,
    (genesis, members): (Genesis, &Members),
    (lake, consensus): (Arc<Lake>, &Consensus),
) -> Result<Centre> {
    let mut addresses = Vec::new();
    for peer in &settings.peer.peers {
        let Ok(member) = member(&members.centres, peer) else {
            warn!(centre = peer.centre, "A centre of the configuration is no member (any more)");
            continue;
        };
        let address = PeerAddress::new(member.id, &peer.address);
        addresses.push(address.with_context(|| format!("`{}` is no `host:port`", peer.address))?);
    }
    let peers = Peers::new(&members.centres, &secrets.certificate()?, &addresses)?;
    let key = secrets.node()?;
    let me = members.with_key(&key.public());
    let me = me.context("this node's key is no member's")?.clone();
    Ok(Centre::new(Parts {
        key,
        seal: secrets.seal()?,
        ledger: consensus.ledger(),
        lake,
        identity: Arc::new(open_identity(settings, secrets, &me)?),
        peers,
        store: Store::open(&settings.data.join("centre.db"))?,
        journal: Journal::open(&settings.data.join("emergencies.db"))?,
        genesis,
    }))
}

pub(crate) fn open_lake(settings: &Settings, secrets: &Secrets) -> Result<Lake> {
    Ok(settings.lake.open(&settings.data.join("lake"), &secrets.kek()?)?)
}

/// The key-encryption keys of the lake.
pub(crate) fn keks(settings: &Settings, secrets: &Secrets) -> Result<FileKeks> {
    Ok(settings.lake.keks(&settings.data.join("lake"), &secrets.kek()?))
}

pub(crate) fn open_identity(
    settings: &Settings,
    secrets: &Secrets,
    centre: &aegle_ledger::Centre,
) -> Result<Identity> {
    let issuer = Issuer { centre: centre.id, name: centre.code.to_string() };
    Ok(Identity::open(&settings.data.join("users.db"), issuer, &secrets.tokens()?, now())?)
}

/// Keeps on the ledger what this centre's node brings with it, also when an ingest beside the
/// running node changes the catalogue.
async fn arrive(centre: Centre) {
    let mut told = String::new();
    loop {
        let pause = match centre.arrive().await {
            Ok(()) => CATALOGUE_AGAIN,
            Err(error) => {
                let error = chain(&error);
                if error != told {
                    warn!(error, "The centre's catalogue is not on the ledger");
                    told = error;
                }
                Duration::from_secs(1)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Empties the lake's consumer zone of what nobody claims.
async fn sweep(centre: Centre) {
    loop {
        tokio::time::sleep(SWEEP_AGAIN).await;
        if let Err(error) = centre.sweep().await {
            warn!(error = chain(&error), "The lake's consumer zone could not be swept");
        }
    }
}
