//! What waits here for the ledger, and since when: reports, changes of rules, emergencies.

use crate::{Centre, Error};
use aegle_model::Timestamp;

/// What waits here for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outbox {
    /// How many transactions.
    pub count: u64,
    /// Since when the oldest of them waits; none when nothing does.
    pub since: Option<Timestamp>,
}

impl Outbox {
    /// These and those.
    pub(crate) fn and(self, other: Self) -> Self {
        let since = [self.since, other.since].into_iter().flatten().min();
        Self { count: self.count + other.count, since }
    }

    /// How long the oldest has waited at `now`, in seconds; 0 when nothing waits.
    pub fn age_s(&self, now: Timestamp) -> u64 {
        self.since.map_or(0, |since| now.0.saturating_sub(since.0) / 1_000)
    }
}

impl Centre {
    /// What waits here for the ledger.
    pub async fn outbox(&self) -> Result<Outbox, Error> {
        let centre = self.clone();
        let look = move || -> Result<Outbox, Error> {
            Ok(centre.parts().store.waiting_for_ledger()?.and(centre.parts().journal.untold()?))
        };
        tokio::task::spawn_blocking(look).await.map_err(Error::internal)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_all_that_waits_counts() {
        let some = |count, since| Outbox { count, since: Some(Timestamp(since)) };
        let all = some(2, 9_000).and(Outbox::default()).and(some(1, 4_000));
        assert_eq!(all, some(3, 4_000));
        assert_eq!([4_000, 5_999, 6_000].map(|now| all.age_s(Timestamp(now))), [0, 1, 2]);
        assert_eq!(all.age_s(Timestamp(0)), 0, "a clock that was put back");
        assert_eq!(Outbox::default().age_s(Timestamp(9)), 0);
    }
}
