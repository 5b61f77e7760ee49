//! Fills an empty folder from a backup: blocks and votes for them, never the journal of votes.
//!
//! Invariants: nothing is kept that a [`ChainCheck`] did not accept; the folder shows up whole or not at
//! all; the engine itself has executed every block and reached the same header before it does; the
//! restored key only follows, unless its operator says that the whole network begins again.

use crate::{
    archive,
    block::{Block, digest},
    certificate, engine,
    engine::{Identity, PAGE_BYTES, PAGES},
    network,
    node::{self, PREFIX, STACK_BYTES, STORAGE, StartError, WORKERS},
    timing::Timing,
    voting::{self, Mark},
};
use aegle_ledger::{CertifiedBlock, ChainCheck, ChainError, CheckedChain, Genesis, Header};
use aegle_model::{Canonical as _, SigningKey};
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_runtime::{
    Runner as _, Supervisor as _,
    buffer::paged::CacheRef,
    tokio::{self as runtime, Context},
};
use commonware_storage::archive::Archive as _;
use std::{
    error::Error,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

/// Where a restored ledger goes.
#[derive(Debug, Clone)]
pub struct Restore {
    /// [`crate::Config::dir`]; must not be there yet, or be empty.
    pub dir: PathBuf,
    /// [`crate::Config::voted`].
    pub voted: PathBuf,
    /// The network's beginning: the only thing that is believed.
    pub genesis: Genesis,
    /// The node's key.
    pub key: SigningKey,
    /// Whether the key may vote on from the last block. Safe only when no node of the network runs and
    /// none will start with anything else than these very blocks; else the key may vote twice, and
    /// what was final after these blocks may be contradicted.
    pub votes: bool,
}

/// Why nothing was restored. The folder is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder holds something.
    #[error("the folder `{dir}` is not empty; move it away, or start the node with it")]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder or the mark cannot be used.
    #[error("could not use `{path}`")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key or the genesis is not one to start with.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The blocks could not be read.
    #[error("could not read the backup")]
    Blocks(#[source] Box<dyn Error + Send + Sync>),
    /// The blocks are no chain of this network.
    #[error("the backup does not hold")]
    Chain(#[from] ChainError),
    /// There is nothing in it.
    #[error("the backup holds no block")]
    Empty,
    /// A block that holds, but that this version's engine cannot use.
    #[error("the engine cannot use block {height}; restore with the version that wrote it")]
    Unusable {
        /// Its height.
        height: u64,
    },
    /// The engine came to another end than the check.
    #[error("the engine executed the blocks and came to another state at height {height}")]
    Differs {
        /// The last block.
        height: u64,
    },
    /// The engine failed.
    #[error("the engine failed while it executed the blocks: {0}")]
    Engine(String),
}

/// Checks every block of `stretches` (in order, from block 1), executes them in the engine, and leaves a
/// folder to start from. Blocks the calling thread for as long as that takes.
pub fn restore<E>(
    target: &Restore,
    stretches: impl Iterator<Item = Result<Vec<CertifiedBlock>, E>> + Send,
) -> Result<CheckedChain, RestoreError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let identity = node::identity(&target.genesis, &target.key);
    vacant(&target.dir)?;
    let beside = target.dir.with_extension("restoring");
    remove(&beside)?;
    node::claim(&beside, &target.genesis, &target.key.public())?;
    let filled = thread::scope(|scope| {
        let fill = || {
            let ran = catch_unwind(AssertUnwindSafe(|| run(&beside, identity, stretches)));
            ran.unwrap_or_else(|panic| Err(RestoreError::Engine(node::message(&*panic))))
        };
        let builder = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, fill);
        let ended = builder.map_err(StartError::Thread)?.join();
        ended.unwrap_or_else(|panic| Err(RestoreError::Engine(node::message(&*panic))))
    });
    match filled.and_then(|chain| install(target, &beside, &chain).map(|()| chain)) {
        Ok(chain) => Ok(chain),
        Err(error) => {
            remove(&beside)?;
            Err(error)
        }
    }
}

/// Makes sure that there is nothing in the folder.
fn vacant(dir: &Path) -> Result<(), RestoreError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::NotEmpty { dir: dir.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RestoreError::File { path: dir.to_owned(), source }),
    }
}

fn remove(dir: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RestoreError::File { path: dir.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Puts the filled folder in its place. The mark comes first: a stop in between leaves a key that follows.
fn install(target: &Restore, beside: &Path, chain: &CheckedChain) -> Result<(), RestoreError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::File { path, source }
    };
    let storage = beside.join(STORAGE);
    let next = target.genesis.epochs.of(chain.tip.height + 1);
    // The engine that executed the blocks left journals of what it heard.
    for epoch in 0..=next {
        remove(&storage.join(engine::heard(PREFIX, epoch)))?;
    }
    if target.votes {
        let journal = storage.join(engine::journal(PREFIX, next));
        fs::create_dir(&journal).map_err(at(&journal))?;
    }
    let network = target.genesis.hash().to_string();
    let now = voting::moment();
    let mark = Mark::open((&target.voted, &network), beside, now);
    let noted = mark.and_then(|mark| mark.restored(next, target.votes, now.1));
    noted.map_err(at(&target.voted))?;
    let renamed = fs::rename(beside, &target.dir);
    renamed.and_then(|()| voting::sync_folder(&target.dir)).map_err(at(&target.dir))
}

/// Fills the folder and lets the engine execute what is in it.
fn run<E>(
    dir: &Path,
    identity: Identity,
    stretches: impl Iterator<Item = Result<Vec<CertifiedBlock>, E>>,
) -> Result<CheckedChain, RestoreError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let settings = runtime::Config::new()
        .with_storage_directory(dir.join(STORAGE))
        .with_worker_threads(WORKERS)
        .with_thread_stack_size(STACK_BYTES);
    runtime::Runner::new(settings).start(|context| async move {
        let chain = fill(&context, &identity, stretches).await?;
        let height = chain.tip.height;
        if execute(&context, identity, height).await? == chain.tip {
            Ok(chain)
        } else {
            Err(RestoreError::Differs { height })
        }
    })
}

/// Puts checked blocks and the votes for them where the engine looks for final ones.
async fn fill<E>(
    context: &Context,
    identity: &Identity,
    stretches: impl Iterator<Item = Result<Vec<CertifiedBlock>, E>>,
) -> Result<CheckedChain, RestoreError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let pages = CacheRef::new(PAGE_BYTES, PAGES);
    let context = context.child("restore");
    let (mut votes, mut bodies) = archive::files(&context, PREFIX, &pages).await;
    let mut check = ChainCheck::new(&identity.genesis);
    for stretch in stretches {
        let stretch = stretch.map_err(|error| RestoreError::Blocks(error.into()))?;
        check.take(&stretch)?;
        for CertifiedBlock { block, certificate } in stretch {
            let (height, hash) = (block.header.height, block.header.digest());
            let unusable = || RestoreError::Unusable { height };
            let block = Block::decode(block.to_bytes().encode()).map_err(|_| unusable())?;
            if let Some(certificate) = certificate {
                let validators = check.validators_at(height).len();
                let finalization = certificate::revert(&certificate, &hash, validators);
                let finalization = finalization.ok_or_else(unusable)?;
                let put = votes.put(height, digest(&hash), &finalization).await;
                votes = put.expect("the archive of certificates cannot be written");
            }
            let put = bodies.put(height, digest(&hash), &Arc::new(block)).await;
            bodies = put.expect("the archive of blocks cannot be written");
        }
    }
    votes.sync().await.expect("the archive of certificates cannot be written");
    bodies.sync().await.expect("the archive of blocks cannot be written");
    let chain = check.finish()?;
    if chain.tip.height == 0 { Err(RestoreError::Empty) } else { Ok(chain) }
}

/// Starts the engine on the filled folder, alone and without a vote, and waits until it stands at `height`.
async fn execute(
    context: &Context,
    identity: Identity,
    height: u64,
) -> Result<Header, RestoreError> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let network = network::alone(context, &identity, listen);
    let context = context.child("engine");
    let engine = engine::start(
        context,
        PREFIX,
        identity,
        Timing::default(),
        network,
        |state| state,
        |it| it,
    )
    .await;
    let mut tip = engine.chain.subscribe();
    ::tokio::select! {
        reached = tip.wait_for(|tip| tip.height >= height) => {
            Ok(reached.expect("the engine keeps the chain for as long as it runs").clone())
        }
        ended = engine.handle => Err(RestoreError::Engine(format!("agreement ended: {ended:?}"))),
    }
}
