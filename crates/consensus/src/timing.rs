//! How long the engine waits for what.

use std::time::Duration;

/// The engine's patience. The defaults suit centres of one continent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a leader without transactions waits before it proposes an empty block. Less than
    /// `leader`.
    pub heartbeat: Duration,
    /// How long the others wait for a leader's proposal.
    pub leader: Duration,
    /// How long a view may take until its block is certified. More than `leader`.
    pub certification: Duration,
    /// How long until a vote to leave a view is repeated.
    pub retry: Duration,
    /// After how long a silent leader's views are skipped at once. More than `certification`.
    pub skip: Duration,
    /// How long a peer may take to answer a request.
    pub fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            leader: Duration::from_millis(1500),
            certification: Duration::from_secs(3),
            retry: Duration::from_secs(2),
            skip: Duration::from_secs(5),
            fetch: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// What contradicts itself, if anything does.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match () {
            () if self.retry.is_zero() || self.fetch.is_zero() => {
                Some("`retry` and `fetch` must not be zero")
            }
            () if self.heartbeat >= self.leader => Some("`heartbeat` must be less than `leader`"),
            () if self.leader >= self.certification => {
                Some("`leader` must be less than `certification`")
            }
            () if self.certification >= self.skip || self.retry >= self.skip => {
                Some("`certification` and `retry` must be less than `skip`")
            }
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_does_not_contradict_itself() {
        assert_eq!(Timing::default().fault(), None);
    }

    #[test]
    fn an_idle_leader_must_not_look_dead() {
        let timing = Timing { heartbeat: Duration::from_secs(2), ..Timing::default() };
        assert_eq!(timing.fault(), Some("`heartbeat` must be less than `leader`"));
    }
}
