//! What happens to a simulated network, drawn from one seed.
//!
//! Faults begin after [`QUIET`] and are mended at [`MENDED`]; a liar lies to the end.

use super::machine::Disk;
use commonware_p2p::simulated::Link;
use commonware_utils::{Probability, probability};
use rand::{Rng, SeedableRng as _, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, time::Duration};

/// When the first fault may strike.
const QUIET: u64 = 300;
/// When everything is mended, in milliseconds.
pub(super) const MENDED: u64 = 12_000;

/// A good line.
pub(super) const GOOD: Link = Link {
    latency: Duration::from_millis(10),
    jitter: Duration::from_millis(5),
    success_rate: probability!(1.0),
};

/// How a validator lies, from its first vote to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Runs twice with the same key, each half before another part of the network (sets of bits):
    /// proposes two blocks and votes twice.
    Twins(u8, u8),
    /// Signs a vote for what nobody proposed beside each honest one.
    Conflicter,
    /// Votes to leave a view and for its block.
    Nuller,
    /// Votes for views of long ago.
    Outdated,
    /// Signs in the name of another.
    Impersonator,
    /// Sends its blocks only to these.
    Withholds(u8),
    /// Knows no transaction that this validator submits.
    LeavesOut(usize),
    /// Alters each block that it proposes.
    Alters(Alteration),
    /// Says nothing at all.
    Silent,
}

/// What a liar changes about its own blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alteration {
    /// Another root of the state.
    State,
    /// Another root of the patients' heads.
    Heads,
    /// Another root of the transactions.
    Transactions,
    /// Other validators.
    Validators,
    /// The parent's time.
    Past,
    /// A time an hour ahead.
    Future,
    /// A transaction left out behind the roots' back.
    Drops,
    /// A transaction twice.
    Repeats,
    /// A transaction that was final long ago.
    Replays,
}

pub(super) const ALTERATIONS: [Alteration; 9] = [
    Alteration::State,
    Alteration::Heads,
    Alteration::Transactions,
    Alteration::Validators,
    Alteration::Past,
    Alteration::Future,
    Alteration::Drops,
    Alteration::Repeats,
    Alteration::Replays,
];

/// What goes wrong.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// These stop as by `kill -9`.
    Crash(Vec<usize>),
    /// These start again.
    Restart(Vec<usize>),
    /// The lines from these to those have this quality.
    Lines(Vec<usize>, Vec<usize>, Quality),
    /// A disk goes bad.
    Disk(usize, Disk),
    /// The power of the whole network fails for a moment: of what was not flushed, anything may be
    /// on the disks.
    PowerCut,
    /// A validator's client submits this many at once.
    Flood(usize, u64),
}

/// The quality of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    /// Milliseconds.
    pub(super) latency: u64,
    /// Milliseconds.
    pub(super) jitter: u64,
    /// Percent of messages that arrive; none: the line is cut.
    pub(super) arrives: u64,
}

impl Quality {
    pub(super) const CUT: Self = Self { latency: 10, jitter: 0, arrives: 0 };

    pub(super) fn link(self) -> Link {
        Link {
            latency: Duration::from_millis(self.latency),
            jitter: Duration::from_millis(self.jitter),
            success_rate: Probability::new(self.arrives, 100).expect("a percentage"),
        }
    }
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Validators.
    pub(super) size: usize,
    /// Transactions of each honest validator's client.
    pub(super) per_client: u64,
    /// How far each clock is ahead, in milliseconds.
    pub(super) clocks: Vec<i64>,
    pub(super) liars: BTreeMap<usize, Lie>,
    /// When (in milliseconds) what goes wrong, in order.
    pub(super) faults: Vec<(u64, Fault)>,
    /// A validator crashes when it reaches a height, for so many milliseconds.
    pub(super) at_height: BTreeMap<u64, (usize, u64)>,
}

impl Plan {
    /// A network in which nothing goes wrong.
    pub(super) fn quiet(seed: u64, size: usize) -> Self {
        Self {
            seed,
            size,
            per_client: 6,
            clocks: vec![0; size],
            liars: BTreeMap::new(),
            faults: Vec::new(),
            at_height: BTreeMap::new(),
        }
    }

    /// The same with faults.
    pub(super) fn with(mut self, faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        self.faults.extend(faults);
        self.faults.sort_by_key(|(time, _)| *time);
        self
    }

    /// The same with liars.
    pub(super) fn lying(mut self, liars: impl IntoIterator<Item = (usize, Lie)>) -> Self {
        self.liars.extend(liars);
        self
    }

    /// The run of a seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let size = *pick(&mut rng, &[4, 4, 4, 4, 4, 4, 4, 5, 7, 1]);
        let mut plan = Self::quiet(seed, size);
        plan.per_client = if size > 4 { 4 } else { 6 };
        if size > 1 && rng.random_ratio(1, 2) {
            plan.draw_liars(&mut rng);
        }
        if rng.random_ratio(1, 4) {
            plan.draw_clocks(&mut rng);
        }
        let kinds = rng.random_range(u32::from(plan.liars.is_empty())..=2);
        for _ in 0..kinds {
            let faults = plan.draw_faults(&mut rng);
            plan = plan.with(faults);
        }
        plan
    }

    /// How many may lie.
    fn liars_max(&self) -> usize {
        (self.size - 1) / 3
    }

    fn draw_liars(&mut self, rng: &mut impl Rng) {
        let count = rng.random_range(1..=self.liars_max());
        for liar in sample(rng, self.size, count) {
            let lie = self.draw_lie(rng);
            self.liars.insert(liar, lie);
        }
    }

    fn draw_lie(&self, rng: &mut impl Rng) -> Lie {
        let some = |rng: &mut dyn rand::RngCore| rng.random_range(0..1_u8 << self.size);
        match rng.random_range(0..10) {
            0..=2 => Lie::Twins(some(rng), some(rng)),
            3 => Lie::Conflicter,
            4 => *pick(rng, &[Lie::Nuller, Lie::Impersonator]),
            5 => Lie::Outdated,
            6 => Lie::Withholds(some(rng)),
            7 => Lie::LeavesOut(rng.random_range(0..self.size)),
            8 => Lie::Alters(*pick(rng, &ALTERATIONS)),
            _ => *pick(rng, &[Lie::Silent, Lie::Alters(Alteration::Replays)]),
        }
    }

    /// Clocks of a minority are off by up to ten minutes, the others by seconds.
    fn draw_clocks(&mut self, rng: &mut impl Rng) {
        for clock in &mut self.clocks {
            *clock = rng.random_range(-2_000..=2_000);
        }
        // A wrong clock is a lie about the time; both together stay within what may lie.
        let left = self.liars_max() - self.liars.len();
        for wrong in sample(rng, self.size, left) {
            if !self.liars.contains_key(&wrong) {
                self.clocks[wrong] = rng.random_range(-600_000..=600_000);
            }
        }
    }

    fn draw_faults(&mut self, rng: &mut impl Rng) -> Vec<(u64, Fault)> {
        let from = rng.random_range(QUIET..5_000);
        let until = rng.random_range(from + 100..MENDED);
        let all: Vec<usize> = (0..self.size).collect();
        let some = |rng: &mut dyn rand::RngCore, most: usize| {
            let count = rng.random_range(1..=most);
            sample(rng, all.len(), count).into_vec()
        };
        let one = rng.random_range(0..self.size);
        match rng.random_range(0..10) {
            0 => vec![(from, Fault::Crash(all.clone())), (until, Fault::Restart(all))],
            1 => self.draw_window(rng),
            2 => {
                let crashed = some(rng, self.size);
                vec![(from, Fault::Crash(crashed.clone())), (until, Fault::Restart(crashed))]
            }
            3 => (0..5).flat_map(|turn| restless(rng.random_range(0..self.size), turn)).collect(),
            4 if self.size > 1 => {
                let side = some(rng, self.size - 1);
                let rest: Vec<_> = all.iter().copied().filter(|it| !side.contains(it)).collect();
                let mut cut = vec![(from, Fault::Lines(side.clone(), rest.clone(), Quality::CUT))];
                if rng.random_ratio(2, 3) {
                    cut.push((from, Fault::Lines(rest, side, Quality::CUT)));
                }
                cut
            }
            5 => {
                let quality = Quality {
                    latency: rng.random_range(5..250),
                    jitter: rng.random_range(0..120),
                    arrives: rng.random_range(60..=100),
                };
                vec![(0, Fault::Lines(all.clone(), all, quality))]
            }
            6 => {
                let disk = *pick(rng, &[Disk::Full, Disk::BadFlushes(50), Disk::TornWrites(200)]);
                vec![(from, Fault::Disk(one, disk)), (until, Fault::Disk(one, Disk::Sound))]
            }
            7 => {
                let disk = *pick(rng, &[Disk::Full, Disk::BadFlushes(100), Disk::TornWrites(400)]);
                let each = |validator| {
                    [
                        (from, Fault::Disk(validator, disk)),
                        (until, Fault::Disk(validator, Disk::Sound)),
                    ]
                };
                all.into_iter().flat_map(each).collect()
            }
            8 => vec![(from, Fault::PowerCut)],
            _ => vec![(from, Fault::Flood(one, rng.random_range(50..150)))],
        }
    }

    /// A crash at each height of a window.
    fn draw_window(&mut self, rng: &mut impl Rng) -> Vec<(u64, Fault)> {
        let first = rng.random_range(1..20);
        for height in first..first + rng.random_range(3..10) {
            let downtime = rng.random_range(0..600);
            self.at_height.insert(height, (rng.random_range(0..self.size), downtime));
        }
        Vec::new()
    }
}

/// A short absence of a validator.
fn restless(validator: usize, turn: u64) -> [(u64, Fault); 2] {
    let from = QUIET + turn * 2_000;
    [(from, Fault::Crash(vec![validator])), (from + 1_000, Fault::Restart(vec![validator]))]
}

fn pick<'a, T>(rng: &mut impl Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}
