//! What this node knows to be final, for those who wait for it.

use aegle_ledger::{Header, Position, TxId};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use tokio::sync::{oneshot, watch};

/// How many of the last headers are kept in memory.
const HEADERS: usize = 64;
/// How many callers may wait for a receipt at the same time.
const WAITERS: usize = 100_000;

/// The finalised chain's tip, and who waits for it to grow.
pub(crate) struct Chain {
    tip: watch::Sender<Header>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    headers: BTreeMap<u64, Header>,
    waiters: BTreeMap<TxId, Vec<oneshot::Sender<Position>>>,
    waiting: usize,
}

impl Chain {
    pub(crate) fn new(genesis: Header) -> Self {
        Self { tip: watch::Sender::new(genesis), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the chain")
    }

    /// Follows the last finalised header.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Header> {
        self.tip.subscribe()
    }

    /// The last finalised header.
    pub(crate) fn tip(&self) -> Header {
        self.tip.borrow().clone()
    }

    /// Keeps a header whose state is about to show.
    pub(crate) fn expect(&self, header: &Header) {
        let mut inner = self.lock();
        inner.headers.insert(header.height, header.clone());
        while inner.headers.len() > HEADERS {
            inner.headers.pop_first();
        }
    }

    /// The header at `height`, if it is one of the last.
    pub(crate) fn header(&self, height: u64) -> Option<Header> {
        self.lock().headers.get(&height).cloned()
    }

    /// Starts from what an earlier run left.
    pub(crate) fn resume(&self, header: Header) {
        self.expect(&header);
        self.tip.send_if_modified(|tip| {
            let newer = header.height > tip.height;
            if newer {
                *tip = header;
            }
            newer
        });
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
