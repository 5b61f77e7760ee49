//! What this node knows to be final, for those who wait for it.

use crate::block::Block;
use aegle_ledger::{Header, Position, TxId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::{oneshot, watch};

/// How many of the last blocks are kept in memory.
const BLOCKS: usize = 8;
/// How many callers may wait for a receipt at the same time.
const WAITERS: usize = 100_000;

/// The finalised chain's tip, and who waits for it to grow.
pub(crate) struct Chain {
    tip: watch::Sender<Header>,
    /// The same, for the engine itself: a watch wakes several who wait in any order, and a simulated
    /// network has to run the same way twice.
    inside: watch::Sender<Header>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    blocks: BTreeMap<u64, Arc<Block>>,
    waiters: BTreeMap<TxId, Vec<oneshot::Sender<Position>>>,
    waiting: usize,
}

impl Chain {
    pub(crate) fn new(genesis: Header) -> Self {
        let (tip, inside) = (watch::Sender::new(genesis.clone()), watch::Sender::new(genesis));
        Self { tip, inside, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the chain")
    }

    /// Follows the last finalised header.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Header> {
        self.tip.subscribe()
    }

    /// Follows the last finalised header, for the one task of the engine that does.
    pub(crate) fn subscribe_inside(&self) -> watch::Receiver<Header> {
        self.inside.subscribe()
    }

    /// The last finalised header.
    pub(crate) fn tip(&self) -> Header {
        self.tip.borrow().clone()
    }

    /// Keeps a block whose state is about to show.
    pub(crate) fn expect(&self, block: Arc<Block>) {
        let mut inner = self.lock();
        inner.blocks.insert(block.header().height, block);
        while inner.blocks.len() > BLOCKS {
            inner.blocks.pop_first();
        }
    }

    /// The block at `height`, if it is one of the last.
    pub(crate) fn block(&self, height: u64) -> Option<Arc<Block>> {
        self.lock().blocks.get(&height).cloned()
    }

    /// Starts from what an earlier run left.
    pub(crate) fn resume(&self, header: &Header) {
        for tip in [&self.inside, &self.tip] {
            tip.send_if_modified(|tip| {
                let newer = header.height > tip.height;
                if newer {
                    *tip = header.clone();
                }
                newer
            });
        }
    }

    /// Tells everyone that `header` is final and holds `ids`, in this order.
    pub(crate) fn advance(&self, header: &Header, ids: &[TxId]) {
        let mut inner = self.lock();
        for (index, id) in (0..).zip(ids) {
            let waiters = inner.waiters.remove(id).unwrap_or_default();
            inner.waiting -= waiters.len();
            for waiter in waiters {
                // Whoever no longer waits needs no answer.
                let _ = waiter.send(Position { height: header.height, index });
            }
        }
        drop(inner);
        self.inside.send_replace(header.clone());
        self.tip.send_replace(header.clone());
    }

    /// Lets go of those who wait for `ids`, which never become final.
    pub(crate) fn give_up(&self, ids: &[TxId]) {
        let mut inner = self.lock();
        for id in ids {
            let gone = inner.waiters.remove(id).map_or(0, |waiters| waiters.len());
            inner.waiting -= gone;
        }
    }

    /// Resolves when `id` becomes final after this call; `None` when too many wait already.
    pub(crate) fn wait(&self, id: TxId) -> Option<oneshot::Receiver<Position>> {
        let mut inner = self.lock();
        if inner.waiting >= WAITERS {
            inner.forget_gone();
        }
        if inner.waiting >= WAITERS {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        inner.waiters.entry(id).or_default().push(sender);
        inner.waiting += 1;
        Some(receiver)
    }
}

impl Inner {
    fn forget_gone(&mut self) {
        self.waiters.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        self.waiting = self.waiters.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block::Seal, fixture};
    use aegle_ledger as ledger;
    use aegle_model::Hash;

    fn header(height: u64) -> Header {
        Header { height, ..aegle_ledger::genesis_header(&fixture::genesis(&fixture::keys(1))) }
    }

    #[test]
    fn who_waits_hears_where_the_transaction_stands() {
        let (chain, ids) = (Chain::new(header(0)), [1, 2].map(|byte| Hash::from_array([byte; 32])));
        let mut heard = ids.map(|id| chain.wait(id).unwrap());
        chain.advance(&header(1), &ids);
        let positions = heard.each_mut().map(|heard| heard.try_recv().unwrap());
        assert_eq!(positions, [0, 1].map(|index| Position { height: 1, index }));
        assert_eq!(chain.tip().height, 1);
    }

    #[test]
    fn who_waits_for_what_never_comes_is_let_go() {
        let chain = Chain::new(header(0));
        let mut heard = chain.wait(Hash::ZERO).unwrap();
        chain.give_up(&[Hash::ZERO]);
        assert_eq!(heard.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn only_the_last_blocks_are_kept() {
        let chain = Chain::new(header(0));
        let genesis = Block::genesis(&fixture::genesis(&fixture::keys(1)));
        let block = |height| ledger::Block { header: header(height), ..genesis.block().clone() };
        let blocks = (1..=100).map(|height| Block::new(block(height), Seal::genesis()));
        blocks.for_each(|block| chain.expect(Arc::new(block)));
        assert_eq!(chain.block(92), None);
        assert!(chain.block(93).is_some());
    }

    #[test]
    fn a_resumed_chain_never_goes_back() {
        let chain = Chain::new(header(0));
        chain.advance(&header(5), &[]);
        chain.resume(&header(4));
        assert_eq!(chain.tip().height, 5);
    }
}
