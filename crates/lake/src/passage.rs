//! The way of one disclosure through the zones, as a state machine.
//!
//! ```text
//! raw → structured → curated → consumer → delivered → cleaned
//!                       └──────────┴─────────────────────┘   (failed or expired: nothing left)
//! ```
//!
//! Invariant: no stage is left out and none is entered twice; the lineage that goes to the ledger
//! is what was passed through, never what should have been.

use aegle_ledger::Step;

/// Where a disclosure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Only permitted; the rows lie encrypted in the raw zone.
    Raw,
    /// The structured zone told where they lie.
    Structured,
    /// The permitted rows lie in the curated zone, under a key of this disclosure.
    Curated,
    /// The finished part lies in the consumer zone, sealed to the requester.
    Consumer,
    /// The part was claimed.
    Delivered,
    /// The curated and the consumer zone hold nothing of it any more.
    Cleaned,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 6] = [
        Self::Raw,
        Self::Structured,
        Self::Curated,
        Self::Consumer,
        Self::Delivered,
        Self::Cleaned,
    ];

    /// The stages that may follow.
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Raw => &[Self::Structured],
            Self::Structured => &[Self::Curated],
            Self::Curated => &[Self::Consumer, Self::Cleaned],
            Self::Consumer => &[Self::Delivered, Self::Cleaned],
            Self::Delivered => &[Self::Cleaned],
            Self::Cleaned => &[],
        }
    }

    /// The name that messages and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Structured => "structured",
            Self::Curated => "curated",
            Self::Consumer => "consumer",
            Self::Delivered => "delivered",
            Self::Cleaned => "cleaned",
        }
    }

    /// What the ledger is told; none for the stage before everything.
    const fn step(self) -> Option<Step> {
        match self {
            Self::Raw => None,
            Self::Structured => Some(Step::Structured),
            Self::Curated => Some(Step::Curated),
            Self::Consumer => Some(Step::Consumer),
            Self::Delivered => Some(Step::Delivered),
            Self::Cleaned => Some(Step::Cleaned),
        }
    }
}

/// A stage that may not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a disclosure cannot go from `{}` to `{}`", .from.name(), .to.name())]
pub struct IllegalStage {
    /// Where it stands.
    pub from: Stage,
    /// Where it cannot go.
    pub to: Stage,
}

/// One disclosure on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    stage: Stage,
    steps: Vec<Step>,
}

impl Passage {
    /// At the beginning.
    pub(crate) fn begin() -> Self {
        Self { stage: Stage::Raw, steps: Vec::new() }
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Goes on to a stage.
    pub(crate) fn enter(&mut self, to: Stage) -> Result<(), IllegalStage> {
        if !self.stage.next().contains(&to) {
            return Err(IllegalStage { from: self.stage, to });
        }
        self.stage = to;
        self.steps.extend(to.step());
        Ok(())
    }

    /// The lineage so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(stages: &[Stage]) -> Passage {
        let mut passage = Passage::begin();
        for stage in stages {
            passage.enter(*stage).unwrap();
        }
        passage
    }

    #[test]
    fn only_the_drawn_ways_can_be_gone() {
        let mut drawn = Vec::new();
        for from in Stage::ALL {
            for to in Stage::ALL {
                let mut passage = Passage { stage: from, steps: Vec::new() };
                match passage.enter(to) {
                    Ok(()) => drawn.push(format!("{} → {}", from.name(), to.name())),
                    Err(error) => {
                        assert_eq!(error, IllegalStage { from, to });
                        assert_eq!((passage.stage(), passage.steps()), (from, [].as_slice()));
                    }
                }
            }
        }
        assert_eq!(
            drawn,
            [
                "raw → structured",
                "structured → curated",
                "curated → consumer",
                "curated → cleaned",
                "consumer → delivered",
                "consumer → cleaned",
                "delivered → cleaned"
            ]
        );
    }

    #[test]
    fn the_lineage_is_what_was_passed_through() {
        assert_eq!(passage(&Stage::ALL[1..]).steps().len(), 5);
        let failed = passage(&[Stage::Structured, Stage::Curated, Stage::Cleaned]);
        assert_eq!(failed.steps(), [Step::Structured, Step::Curated, Step::Cleaned]);
    }
}
