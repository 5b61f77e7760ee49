//! Lets few in at a time and keeps few waiting: hashing pass phrases takes memory on purpose.

use std::sync::{Condvar, Mutex, PoisonError};

/// Too many are waiting already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

#[derive(Default)]
struct Counts {
    inside: usize,
    waiting: usize,
}

/// A counting semaphore with a bounded queue.
pub(crate) struct Gate {
    counts: Mutex<Counts>,
    freed: Condvar,
    inside_max: usize,
    waiting_max: usize,
}

/// A place inside; given back when dropped.
pub(crate) struct Permit<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(inside_max: usize, waiting_max: usize) -> Self {
        Self { counts: Mutex::default(), freed: Condvar::new(), inside_max, waiting_max }
    }

    /// Waits for a place, unless too many wait already.
    pub(crate) fn enter(&self) -> Result<Permit<'_>, Busy> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.inside == self.inside_max {
            if counts.waiting == self.waiting_max {
                return Err(Busy);
            }
            counts.waiting += 1;
            let full = |counts: &mut Counts| counts.inside == self.inside_max;
            counts = self.freed.wait_while(counts, full).unwrap_or_else(PoisonError::into_inner);
            counts.waiting -= 1;
        }
        counts.inside += 1;
        Ok(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).inside -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn waiting(gate: &Gate) -> usize {
        gate.counts.lock().unwrap().waiting
    }

    #[test]
    fn whoever_finds_the_queue_full_is_sent_away_at_once() {
        let gate = Gate::new(1, 1);
        let inside = gate.enter().unwrap();
        thread::scope(|scope| {
            let queued = scope.spawn(|| gate.enter().map(drop));
            while waiting(&gate) == 0 {
                thread::yield_now();
            }
            assert!(gate.enter().is_err());
            drop(inside);
            assert_eq!(queued.join().unwrap(), Ok(()));
        });
        assert!(gate.enter().is_ok());
    }

    #[test]
    fn never_more_than_the_limit_are_inside() {
        let gate = Gate::new(2, 100);
        let [inside, most] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _permit = gate.enter().unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
    }
}
