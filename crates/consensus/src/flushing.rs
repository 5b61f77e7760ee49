//! The set of databases that the engine writes to, which spares the disk.
//!
//! The engine applies one block after the other and lets a flush of the state run beside, one at a time. A
//! flush syncs five files, and takes less time than a small block: each block had its own, and a node
//! that caught up spent much of its time on them. Here a flush counts as ended only when it has, and
//! either [`BLOCKS`] more were applied or [`PAUSE`] has passed; the next one covers all of them. Invariant:
//! a block counts as durable here only after a flush that began when it was applied. What a crash takes is
//! replayed from the archive of blocks.

use crate::{archive, state::Database};
use commonware_cryptography::Digest;
use commonware_glue::stateful::db::{
    Anchor, Barrier, DatabaseSet, ReadGuard, Shared, StateSyncDb, StateSyncSet, SyncEngineConfig,
    TipUpdate,
};
use commonware_macros::select;
use commonware_runtime::{Handle, Spawner};
use commonware_storage::Context;
use commonware_utils::channel::ring;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How many blocks are applied before the next flush begins, unless there are none for a [`PAUSE`]. Less
/// than the engine delivers without hearing that one of them is durable.
const BLOCKS: u64 = 8;
const _: () = assert!(BLOCKS < archive::DELIVERED.get() as u64);
/// How long until the next flush begins at the latest.
const PAUSE: Duration = Duration::from_millis(20);

type Inner<E> = Shared<Database<E>>;

/// The one database, which is flushed now and then.
pub(crate) struct Flushing<E: Context> {
    database: Inner<E>,
    clock: Arc<E>,
    /// How many blocks were applied since the start.
    applied: watch::Sender<u64>,
}

impl<E: Context> Clone for Flushing<E> {
    fn clone(&self) -> Self {
        let Self { database, clock, applied } = self;
        Self { database: database.clone(), clock: clock.clone(), applied: applied.clone() }
    }
}

impl<E: Context + Spawner> Flushing<E> {
    fn new(database: Inner<E>, clock: E) -> Self {
        Self { database, clock: Arc::new(clock), applied: watch::Sender::new(0) }
    }

    /// The database, shared.
    pub(crate) fn shared(&self) -> &Inner<E> {
        &self.database
    }

    /// Shared access to the database; see [`Shared::read`].
    pub(crate) async fn read(&self) -> ReadGuard<'_, Database<E>> {
        self.database.read().await
    }

    /// Resolves when it is time for the next flush.
    fn next_flush(&self) -> impl Future<Output = ()> + Send + use<E> {
        let mut applied = self.applied.subscribe();
        let enough = *applied.borrow() + BLOCKS;
        let pause = self.clock.sleep(PAUSE);
        async move {
            select! {
                _ = applied.wait_for(|applied| *applied >= enough) => {},
                () = pause => {},
            }
        }
    }
}

impl<E: Context + Spawner> DatabaseSet<E> for Flushing<E> {
    type Unmerkleized = <Inner<E> as DatabaseSet<E>>::Unmerkleized;
    type Merkleized = <Inner<E> as DatabaseSet<E>>::Merkleized;
    type Readers = <Inner<E> as DatabaseSet<E>>::Readers;
    type Config = <Inner<E> as DatabaseSet<E>>::Config;
    type SyncTargets = <Inner<E> as DatabaseSet<E>>::SyncTargets;

    async fn init(context: E, config: Self::Config, expected: Option<Self::SyncTargets>) -> Self {
        let clock = context.child("flushing");
        Self::new(Inner::init(context, config, expected).await, clock)
    }

    fn initial_sync_targets() -> Self::SyncTargets {
        Inner::<E>::initial_sync_targets()
    }

    async fn new_batches(&self) -> Self::Unmerkleized {
        DatabaseSet::<E>::new_batches(&self.database).await
    }

    fn fork_batches(parent: &Self::Merkleized) -> Self::Unmerkleized {
        <Inner<E> as DatabaseSet<E>>::fork_batches(parent)
    }

    fn matches_sync_targets(batches: &Self::Merkleized, targets: &Self::SyncTargets) -> bool {
        <Inner<E> as DatabaseSet<E>>::matches_sync_targets(batches, targets)
    }

    fn readers(&self) -> Self::Readers {
        DatabaseSet::<E>::readers(&self.database)
    }

    async fn apply(&self, batches: Self::Merkleized) {
        DatabaseSet::<E>::apply(&self.database, batches).await;
        self.applied.send_modify(|applied| *applied += 1);
    }

    async fn finalize(&self) -> Barrier {
        let next = self.next_flush();
        let flushed = DatabaseSet::<E>::finalize(&self.database).await;
        Barrier::from_handles::<Self>([Handle::from_future(async move {
            // What failed panics here, as it would in the engine.
            let durable = flushed.durable().await;
            next.await;
            if durable { Ok(()) } else { Err(commonware_runtime::Error::Closed) }
        })])
    }

    async fn prune(&self, targets: &Self::SyncTargets) {
        DatabaseSet::<E>::prune(&self.database, targets).await;
    }

    async fn committed_targets(&self) -> Self::SyncTargets {
        DatabaseSet::<E>::committed_targets(&self.database).await
    }
}

impl<E, R> StateSyncSet<E, R> for Flushing<E>
where
    E: Context + Spawner,
    Database<E>: StateSyncDb<E, R>,
    R: Send + 'static,
{
    type Error = <Inner<E> as StateSyncSet<E, R>>::Error;

    async fn sync<D: Digest>(
        context: E,
        config: Self::Config,
        sources: R,
        anchor: Anchor<D>,
        targets: Self::SyncTargets,
        tip_updates: ring::Receiver<TipUpdate<D, Self::SyncTargets>>,
        sync_config: SyncEngineConfig,
    ) -> Result<(Self, Anchor<D>), Self::Error> {
        let clock = context.child("flushing");
        let (database, anchor) =
            Inner::sync(context, config, sources, anchor, targets, tip_updates, sync_config)
                .await?;
        Ok((Self::new(database, clock), anchor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{self, Value};
    use commonware_glue::stateful::db::Unmerkleized as _;
    use commonware_runtime::{
        Clock as _, Runner as _, Supervisor as _, buffer::paged::CacheRef, deterministic,
    };
    use commonware_utils::NZUsize;

    type Set = Flushing<deterministic::Context>;

    async fn open(context: &deterministic::Context) -> Set {
        let cache = CacheRef::new(crate::engine::PAGE_BYTES, NZUsize!(16));
        Set::init(context.child("set"), state::layout("test", cache), None).await
    }

    async fn apply(set: &Set, blocks: u8) {
        for number in 0..blocks {
            let batch = set.new_batches().await;
            let batch = batch.write(state::key(&[number; 32]), Some(Value(vec![7])));
            let sealed = Box::pin(batch.merkleize()).await.unwrap();
            Box::pin(set.apply(sealed)).await;
        }
    }

    /// After how many milliseconds a flush ends that began after one block, with `more` blocks at once.
    fn flush(more: u8) -> u128 {
        deterministic::Runner::default().start(|context| async move {
            let set = open(&context).await;
            apply(&set, 1).await;
            let begun = context.current();
            let flush = set.finalize().await;
            apply(&set, more).await;
            assert!(flush.durable().await);
            context.current().duration_since(begun).unwrap().as_millis()
        })
    }

    #[test]
    fn the_next_flush_waits_for_more_blocks_or_for_a_pause() {
        let few = u8::try_from(BLOCKS).unwrap() - 1;
        assert!(flush(0) >= PAUSE.as_millis());
        assert!(flush(few) >= PAUSE.as_millis());
        assert!(flush(few + 1) < PAUSE.as_millis(), "eight more are enough");
    }

    #[test]
    fn what_was_flushed_is_there_after_a_crash() {
        let ((), crashed) =
            deterministic::Runner::default().start_and_recover(|context| async move {
                let set = open(&context).await;
                apply(&set, 3).await;
                assert!(set.finalize().await.durable().await);
            });
        deterministic::Runner::from(crashed).start(|context| async move {
            let set = open(&context).await;
            let value = set.read().await.get(&state::key(&[2; 32])).await.unwrap();
            assert_eq!(value, Some(Value(vec![7])));
        });
    }
}
