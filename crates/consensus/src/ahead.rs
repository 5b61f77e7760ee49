//! Blocks and votes that were put into the archives and have not been passed on yet, kept in memory.
//!
//! A node that catches up fetches blocks faster than it executes them. Each would be read from disk
//! again, with a turn to another thread for every file, which cost it a quarter of its time. The engine
//! reads a block once, when it passes it on, and the votes for it once, when it was executed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

/// Votes `V` and blocks `B` by height; the lowest are kept, which are passed on next.
pub(crate) struct Ahead<V, B> {
    limits: Limits,
    inner: Mutex<Inner<V, B>>,
}

/// How much is kept.
pub(crate) struct Limits {
    /// How many votes.
    pub(crate) votes: usize,
    /// How many bytes of encoded blocks.
    pub(crate) bytes: usize,
}

struct Inner<V, B> {
    votes: BTreeMap<u64, V>,
    blocks: BTreeMap<u64, (B, usize)>,
    bytes: usize,
}

impl<V, B> Ahead<V, B> {
    pub(crate) fn new(limits: Limits) -> Self {
        let inner = Inner { votes: BTreeMap::new(), blocks: BTreeMap::new(), bytes: 0 };
        Self { limits, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V, B>> {
        self.inner.lock().expect("no thread panics while it holds what is ahead")
    }

    pub(crate) fn put_votes(&self, height: u64, votes: V) {
        let mut inner = self.lock();
        inner.votes.insert(height, votes);
        if inner.votes.len() > self.limits.votes {
            inner.votes.pop_last();
        }
    }

    /// Keeps a block of so many bytes.
    pub(crate) fn put_block(&self, height: u64, block: B, bytes: usize) {
        let mut inner = self.lock();
        inner.remove(height);
        inner.blocks.insert(height, (block, bytes));
        inner.bytes += bytes;
        while inner.bytes > self.limits.bytes
            && let Some(last) = inner.blocks.last_key_value().map(|(height, _)| *height)
        {
            inner.remove(last);
        }
    }

    /// The votes at a height. What is there up to it was passed on. Who asks for a later one from outside
    /// makes this node read the ones before it from disk, and no more.
    pub(crate) fn take_votes(&self, height: u64) -> Option<V> {
        let mut inner = self.lock();
        let votes = inner.votes.remove(&height)?;
        inner.votes = inner.votes.split_off(&height);
        while let Some(first) = inner.blocks.first_key_value().map(|(height, _)| *height)
            && first <= height
        {
            inner.remove(first);
        }
        Some(votes)
    }

    /// The block at a height.
    pub(crate) fn take_block(&self, height: u64) -> Option<B> {
        self.lock().remove(height)
    }
}

impl<V, B> Inner<V, B> {
    fn remove(&mut self, height: u64) -> Option<B> {
        let (block, bytes) = self.blocks.remove(&height)?;
        self.bytes -= bytes;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With blocks of three bytes at these heights, and votes for each.
    fn ahead(heights: &[u64]) -> Ahead<u64, u64> {
        let ahead = Ahead::new(Limits { votes: 3, bytes: 10 });
        for height in heights {
            ahead.put_votes(*height, *height);
            ahead.put_block(*height, *height, 3);
        }
        ahead
    }

    /// The heights of the votes and of the blocks that are there, and the bytes of these.
    fn there(ahead: &Ahead<u64, u64>) -> (Vec<u64>, Vec<u64>, usize) {
        let inner = ahead.lock();
        (inner.votes.keys().copied().collect(), inner.blocks.keys().copied().collect(), inner.bytes)
    }

    #[test]
    fn the_lowest_stay() {
        assert_eq!(there(&ahead(&[5, 3, 4, 6])), (vec![3, 4, 5], vec![3, 4, 5], 9));
        assert_eq!(there(&ahead(&[5, 5, 5])), (vec![5], vec![5], 3), "counted once");
        let large = ahead(&[1]);
        large.put_block(2, 2, 11);
        assert_eq!(there(&large).1, [1]);
    }

    #[test]
    fn each_is_taken_once() {
        let ahead = ahead(&[3, 4]);
        assert_eq!((ahead.take_block(3), ahead.take_block(3)), (Some(3), None));
        assert_eq!((ahead.take_votes(3), ahead.take_votes(3)), (Some(3), None));
        assert_eq!(there(&ahead), (vec![4], vec![4], 3));
    }

    #[test]
    fn what_is_passed_on_goes_with_the_votes_above_it() {
        let ahead = ahead(&[3, 4, 6]);
        assert_eq!(ahead.take_votes(5), None);
        assert_eq!(ahead.take_votes(u64::MAX), None, "what was never put takes nothing with it");
        assert_eq!(there(&ahead), (vec![3, 4, 6], vec![3, 4, 6], 9));
        assert_eq!(ahead.take_votes(4), Some(4));
        assert_eq!(there(&ahead), (vec![6], vec![6], 3));
    }
}
