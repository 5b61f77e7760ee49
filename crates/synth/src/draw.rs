//! Chance, from a seed: the only source of variety in this crate.

use jiff::{ToSpan, civil::Date};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The day on which all data ends.
pub(crate) const LAST_DAY: Date = Date::constant(2026, 10, 1);

/// A stream of choices. Every person has streams of their own, so that one person's data never
/// depends on how many others there are.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// Stream number `stream` of this seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high)
    }

    /// A whole number around the middle of `low..=high`, where most people are.
    pub(crate) fn around(&mut self, low: i64, high: i64) -> i64 {
        (self.between(low, high) + self.between(low, high) + self.between(low, high)) / 3
    }

    /// True this often in a hundred times.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.0.random_ratio(percent, 100)
    }

    /// One of these, all as likely.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.random_range(0..choices.len())]
    }

    /// The value this often in a hundred times, otherwise nothing.
    pub(crate) fn maybe<T>(&mut self, percent: u32, value: T) -> Option<T> {
        self.chance(percent).then_some(value)
    }
}

/// The day so many days later (earlier when negative).
pub(crate) fn days_after(date: Date, days: i64) -> Date {
    date.saturating_add(days.days())
}

/// Days from one day to another.
pub(crate) fn days_between(from: Date, until: Date) -> i64 {
    i64::from((until - from).get_days())
}
