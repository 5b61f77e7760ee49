//! Keeps an idle chain small: a proposer without transactions waits before it builds.
//!
//! The wait stands in front of the engine's state actor, not in its `propose`: that actor handles no
//! finalisation while it builds.

use crate::{
    application::Executor,
    block::{Block, Context as Round},
    pool::Pool,
};
use commonware_consensus::{Application, Handoff, marshal::ancestry::Ancestry};
use commonware_cryptography::Digested;
use commonware_glue::stateful::Mailbox;
use commonware_macros::select;
use commonware_runtime::Spawner;
use commonware_storage::Context;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// The engine's application with a pause before an empty block.
pub(crate) struct Paced<E: Context + Spawner> {
    pub(crate) inner: Mailbox<E, Executor>,
    pub(crate) executor: Executor,
    pub(crate) pool: Arc<Pool>,
    pub(crate) heartbeat: Duration,
}

impl<E: Context + Spawner> Clone for Paced<E> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            executor: self.executor.clone(),
            pool: self.pool.clone(),
            heartbeat: self.heartbeat,
        }
    }
}

impl<E: Context + Spawner> Paced<E> {
    /// Returns when a transaction waits that no pending block holds, or after the heartbeat.
    async fn wait(&self, clock: &E, ancestry: impl Ancestry<Block>) {
        let taken = self.executor.pending(ancestry).await;
        select! {
            () = self.transaction(&taken) => {},
            () = clock.sleep(self.heartbeat) => {},
        }
    }

    async fn transaction(&self, taken: &BTreeSet<aegle_ledger::TxId>) {
        let mut arrivals = self.pool.arrivals();
        while !self.pool.offers_more_than(taken) {
            arrivals.changed().await;
        }
    }
}

impl<E: Context + Spawner> Application<E> for Paced<E> {
    type SigningScheme = crate::engine::Scheme;
    type Context = Round;
    type Block = Block;
    type Input = ();

    async fn prepare(
        &mut self,
        context: (E, Round),
        ancestry: impl Ancestry<Block>,
        input: (),
    ) -> Handoff<Digested<Block>> {
        self.inner.prepare(context, ancestry, input).await
    }

    async fn propose(
        &mut self,
        context: (E, Round),
        ancestry: impl Ancestry<Block>,
        input: (),
    ) -> Option<Digested<Block>> {
        self.wait(&context.0, ancestry.clone()).await;
        self.inner.propose(context, ancestry, input).await
    }

    async fn verify(&mut self, context: (E, Round), ancestry: impl Ancestry<Block>) -> bool {
        self.inner.verify(context, ancestry).await
    }
}
