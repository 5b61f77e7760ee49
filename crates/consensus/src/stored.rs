//! Reads the blocks of a node that does not run, for a backup.

use crate::{
    archive::{self, Bodies, Certificates},
    backfill::{self, Heights},
    certificate,
    engine::{PAGE_BYTES, PAGES},
    node::{self, PREFIX, STACK_BYTES, STORAGE, StartError},
};
use aegle_ledger::{CertifiedBlock, Genesis};
use aegle_model::SigningKey;
use commonware_runtime::{
    Runner as _, Supervisor as _,
    buffer::paged::CacheRef,
    tokio::{self as runtime, Context},
};
use commonware_storage::archive::{Archive as _, Identifier};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
};

/// The blocks of the folder `dir` ([`crate::Config::dir`]), like [`crate::Ledger::blocks`] of a running node.
/// Waits while one runs on the folder.
pub fn stored_blocks(
    dir: &Path,
    genesis: &Genesis,
    key: &SigningKey,
    from: u64,
    bytes: usize,
) -> Result<Vec<CertifiedBlock>, StartError> {
    Ok(stored(dir, genesis, key, (from, bytes))?.1)
}

/// The height of the last block in the folder that votes cover, like [`crate::Status::height`] of a
/// running node. Waits while one runs on the folder.
pub fn stored_height(dir: &Path, genesis: &Genesis, key: &SigningKey) -> Result<u64, StartError> {
    Ok(stored(dir, genesis, key, (u64::MAX, 0))?.0)
}

/// The last height, and blocks.
fn stored(
    dir: &Path,
    genesis: &Genesis,
    key: &SigningKey,
    (from, bytes): (u64, usize),
) -> Result<(u64, Vec<CertifiedBlock>), StartError> {
    let missing = |source| StartError::Folder { dir: dir.to_owned(), source };
    let storage = dir.join(STORAGE);
    if !storage.is_dir() {
        return Err(missing(io::ErrorKind::NotFound.into()));
    }
    node::claim(dir, genesis, &key.public())?;
    let read = || {
        let settings = runtime::Config::new()
            .with_storage_directory(&storage)
            .with_worker_threads(1)
            .with_thread_stack_size(STACK_BYTES);
        runtime::Runner::new(settings).start(|context| async move {
            let (context, pages) = (context.child("stored"), CacheRef::new(PAGE_BYTES, PAGES));
            let files = archive::files(&context, PREFIX, &pages).await;
            let last = files.0.last_index().unwrap_or(0);
            let here: Vec<_> = files.1.ranges().collect();
            are_whole(&here, (from, last))?;
            Ok((last, blocks(&files, from, bytes).await))
        })
    };
    let read = || {
        let read = catch_unwind(AssertUnwindSafe(read));
        read.unwrap_or_else(|panic| Err(StartError::Engine(node::message(&*panic))))
    };
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, read);
        let ended = builder.map_err(StartError::Thread)?.join();
        ended.unwrap_or_else(|panic| Err(StartError::Engine(node::message(&*panic))))
    })
}

/// Refuses to read what has a gap: the blocks would be no chain.
fn are_whole(here: &[Heights], (from, last): (u64, u64)) -> Result<(), StartError> {
    // The highest gap comes first.
    match backfill::gaps(here, last).first() {
        Some((_, high)) if from <= *high => Err(StartError::Incomplete { first: high + 1 }),
        _ => Ok(()),
    }
}

async fn blocks(
    (votes, bodies): &(Certificates<Context>, Bodies<Context>),
    from: u64,
    bytes: usize,
) -> Vec<CertifiedBlock> {
    let (mut blocks, mut taken) = (Vec::new(), 0);
    // Block 0 is everybody's own.
    for height in from.max(1)..=votes.last_index().unwrap_or(0) {
        let body = bodies.get(Identifier::Index(height)).await;
        let body = body.expect("the archive of blocks cannot be read");
        let Some(body) = body.filter(|_| taken < bytes) else { break };
        let block = body.block().clone();
        let vote = votes.get(Identifier::Index(height)).await;
        let vote = vote.expect("the archive of certificates cannot be read");
        let same = |vote: &_| certificate::is_for(vote, &block.header.digest());
        let certificate = vote.filter(same).map(|vote| certificate::convert(&vote));
        let certified = CertifiedBlock { block, certificate };
        taken += borsh::object_length(&certified).expect("measuring cannot fail");
        blocks.push(certified);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_refused_while_some_above_them_are_missing() {
        let first = |here: &[Heights], from| match are_whole(here, (from, 20)) {
            Err(StartError::Incomplete { first }) => Some(first),
            _ => None,
        };
        assert_eq!(first(&[(0, 20)], 1), None);
        assert_eq!(first(&[(12, 20)], 1), Some(12));
        assert_eq!(first(&[(12, 20)], 11), Some(12));
        assert_eq!(first(&[(12, 20)], 12), None);
        // A backup that has the first blocks already must not go on over a gap.
        assert_eq!(first(&[(0, 4), (8, 9), (15, 20)], 2), Some(15));
        assert_eq!(first(&[], 1), Some(20));
    }
}
