//! State transfer between nodes: not yet. A node that was away replays blocks.
//!
//! The engine asks for a source of state, so this is the place where one goes. Blocks carry all that it
//! takes (see `block::Seal`). The engine's own peer-to-peer source does not fit a database whose values
//! vary in length: it wants operations that decode without configuration.

use commonware_glue::stateful::db::{AttachableResolver, Shared};
use commonware_runtime::Spawner;
use commonware_storage::{
    Context, mmr,
    qmdb::{
        any::unordered::variable::Operation,
        sync::{Request, Source, source},
    },
};
use commonware_utils::sequence::FixedBytes;
use std::future::ready;

use crate::state::{Database, Value};

/// A source that nobody asks, because no start requests a state transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoSource;

/// No state can be had from peers.
#[derive(Debug, thiserror::Error)]
#[error("state transfer is not supported; blocks are replayed instead")]
pub(crate) struct Unsupported;

impl Source for NoSource {
    type Family = mmr::Family;
    type Digest = commonware_cryptography::sha256::Digest;
    type Op = Operation<mmr::Family, FixedBytes<32>, Value>;
    type Error = Unsupported;

    async fn serve(&self, _request: Request<mmr::Family>) -> source::Result<Self> {
        Err(Unsupported)
    }
}

impl<E: Context + Spawner> AttachableResolver<Database<E>> for NoSource {
    fn attach_database(&self, _database: Shared<Database<E>>) -> impl Future<Output = ()> + Send {
        ready(())
    }
}
