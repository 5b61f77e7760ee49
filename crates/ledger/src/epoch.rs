//! Epochs: stretches of blocks of equal length, each with one set of validators.

use borsh::{BorshDeserialize, BorshSerialize};
use std::num::NonZeroU64;

/// How many blocks an epoch has. The first one counts block 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Epochs(pub NonZeroU64);

impl Epochs {
    /// What a network has when its founders do not say otherwise: an hour of an idle network.
    pub const DEFAULT: Self = Self(NonZeroU64::new(3_600).expect("it is not zero"));

    /// Epochs of `blocks`; none when that is less than 2.
    pub fn new(blocks: u64) -> Option<Self> {
        NonZeroU64::new(blocks).filter(|blocks| blocks.get() > 1).map(Self)
    }

    /// The epoch of the block at `height`.
    pub fn of(self, height: u64) -> u64 {
        height / self.0
    }

    /// The height of the last block of `epoch`.
    pub fn last(self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.0.get()).saturating_add(self.0.get() - 1)
    }

    /// Whether the block at `height` is the last of its epoch.
    pub fn ends(self, height: u64) -> bool {
        height == self.last(self.of(height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_follow_each_other_without_a_gap() {
        let epochs = Epochs::new(10).unwrap();
        let ends: Vec<u64> = (0..35).filter(|height| epochs.ends(*height)).collect();
        assert_eq!(ends, [9, 19, 29]);
        assert_eq!([0, 9, 10, 34].map(|height| epochs.of(height)), [0, 0, 1, 3]);
        assert_eq!([0, 1, 3].map(|epoch| epochs.last(epoch)), [9, 19, 39]);
    }

    #[test]
    fn heights_at_the_end_of_time_have_an_epoch() {
        for blocks in [2, 3_600, u64::MAX] {
            let epochs = Epochs::new(blocks).unwrap();
            assert!(epochs.last(epochs.of(u64::MAX)) >= u64::MAX - 1);
        }
        assert_eq!(Epochs::new(1), None);
    }
}
