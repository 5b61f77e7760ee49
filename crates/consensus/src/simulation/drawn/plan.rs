//! What happens to a simulated network, drawn from one seed.
//!
//! Faults begin after [`QUIET`] and are mended at [`MENDED`]; a liar lies to the end. Most networks have
//! short epochs, and many change their members meanwhile. However they change, those who lie or
//! whose clocks are wrong stay below a third of those who vote.

use super::machine::Disk;
use commonware_p2p::simulated::Link;
use commonware_utils::{Probability, probability};
use rand::{Rng, SeedableRng as _, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// When the first fault may strike.
const QUIET: u64 = 300;
/// When everything is mended, in milliseconds.
pub(super) const MENDED: u64 = 12_000;

/// How long a mended network may take until all is well, in milliseconds, without changes of members.
const PATIENCE: u64 = 180_000;
/// How long a block may take beside liars and on bad lines, in milliseconds.
const BLOCK: u64 = 2_000;

/// How many blocks an epoch may have, if it is a short one.
const SHORT: [u64; 10] = [2, 3, 4, 5, 6, 7, 8, 12, 16, 24];
/// The most changes of members.
const CHANGES: usize = 3;
/// How far the clock of an honest validator may be off, in milliseconds, without being a lie.
const SLOPPY: i64 = 2_000;

/// A set of nodes, a bit for each.
pub(super) type Nodes = u16;

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
    Twins(Nodes, Nodes),
    /// Signs a vote for what nobody proposed beside each honest one.
    Conflicter,
    /// Votes to leave a view and for its block.
    Nuller,
    /// Votes for views of long ago.
    Outdated,
    /// Signs in the name of another.
    Impersonator,
    /// Sends its blocks only to these.
    Withholds(Nodes),
    /// Knows no transaction that this validator submits.
    LeavesOut(usize),
    /// Alters each block that it proposes.
    Alters(Alteration),
    /// Tells the others of transactions whose authors it has invented, each with a key of its own.
    Invents,
    /// Alters each answer to those who fetch state or blocks of the past.
    Garbles,
    /// Names as the end of the chain what it named first, whoever asks.
    Stale,
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
    /// An earlier block in its place, as it was.
    Block,
    /// The next epoch.
    Epoch,
    /// Another version of the protocol.
    Version,
}

pub(super) const ALTERATIONS: [Alteration; 12] = [
    Alteration::State,
    Alteration::Heads,
    Alteration::Transactions,
    Alteration::Validators,
    Alteration::Past,
    Alteration::Future,
    Alteration::Drops,
    Alteration::Repeats,
    Alteration::Replays,
    Alteration::Block,
    Alteration::Epoch,
    Alteration::Version,
];

/// What the honest members agree to change. A centre is named by its first node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// This node's centre becomes a member.
    Admit(usize),
    /// This centre leaves.
    Remove(usize),
    /// This centre has that node from then on, with a key of its own.
    Rotate(usize, usize),
}

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
    /// This many transactions are submitted at a validator at once.
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
    const SOUND: Self = Self { latency: 10, jitter: 5, arrives: 100 };

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
    /// Founders, numbered from 0.
    pub(super) size: usize,
    /// Founders and those whom the changes bring.
    pub(super) nodes: usize,
    /// Blocks of an epoch.
    pub(super) epoch: u64,
    /// Whether nodes that are no founders fetch the state, as in production, or execute all.
    pub(super) fetches: bool,
    /// Transactions of each honest centre's client.
    pub(super) per_client: u64,
    /// How far each clock is ahead, in milliseconds.
    pub(super) clocks: Vec<i64>,
    pub(super) liars: BTreeMap<usize, Lie>,
    /// The first time (in milliseconds) at which each change may be proposed, one after the other.
    pub(super) changes: Vec<(u64, Change)>,
    /// When (in milliseconds) nodes start that are not there from the beginning.
    pub(super) late: BTreeMap<usize, u64>,
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
            nodes: size,
            epoch: aegle_ledger::Epochs::DEFAULT.0.get(),
            fetches: true,
            per_client: 6,
            clocks: vec![0; size],
            liars: BTreeMap::new(),
            changes: Vec::new(),
            late: BTreeMap::new(),
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

    /// The same with epochs of `blocks`.
    pub(super) fn epochs_of(mut self, blocks: u64) -> Self {
        self.epoch = blocks;
        self
    }

    /// The same with a change of members, proposed as soon as those before it are in effect.
    pub(super) fn then(mut self, change: Change) -> Self {
        if let Change::Admit(node) | Change::Rotate(_, node) = change {
            self.nodes = self.nodes.max(node + 1);
            self.clocks.resize(self.nodes, 0);
        }
        self.changes.push((QUIET, change));
        self
    }

    /// How long this network may take once it is mended, in milliseconds: each change of members waits
    /// for the end of an epoch.
    pub(super) fn patience(&self) -> u64 {
        PATIENCE + BLOCK * self.epoch * self.changes.len() as u64
    }

    /// Nothing disturbs this run, so nobody has to wait for a disturbance.
    pub(super) fn is_undisturbed(&self) -> bool {
        self.faults.is_empty() && self.at_height.is_empty() && self.changes.is_empty()
    }

    /// Whether a node fetches the state of a network that has run instead of executing all of it.
    pub(super) fn joins(&self, node: usize) -> bool {
        self.fetches && node >= self.size
    }

    /// The centres that there are at any time, by their first nodes.
    pub(super) fn centres(&self) -> Vec<usize> {
        let admitted = self.changes.iter().filter_map(|(_, change)| match change {
            Change::Admit(node) => Some(*node),
            _ => None,
        });
        (0..self.size).chain(admitted).collect()
    }

    /// The node of each centre that votes, by the centre: at first, and after each change.
    pub(super) fn electorates(&self) -> Vec<BTreeMap<usize, usize>> {
        let mut homes: BTreeMap<usize, usize> = (0..self.size).map(|node| (node, node)).collect();
        let mut all = vec![homes.clone()];
        for (_, change) in &self.changes {
            match *change {
                Change::Admit(node) => drop(homes.insert(node, node)),
                Change::Remove(centre) => drop(homes.remove(&centre)),
                Change::Rotate(centre, node) => drop(homes.insert(centre, node)),
            }
            all.push(homes.clone());
        }
        all
    }

    /// The nodes that a centre has one after the other.
    pub(super) fn nodes_of(&self, centre: usize) -> Vec<usize> {
        let later = self.changes.iter().filter_map(|(_, change)| match change {
            Change::Rotate(of, node) if *of == centre => Some(*node),
            _ => None,
        });
        std::iter::once(centre).chain(later).collect()
    }

    /// The node of each centre that votes when all changes are in effect, by the centre.
    pub(super) fn at_last(&self) -> BTreeMap<usize, usize> {
        self.electorates().pop().expect("there are founders")
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
        if rng.random_ratio(5, 6) {
            plan.epoch = *pick(&mut rng, &SHORT);
            plan.draw_changes(&mut rng);
        }
        let kinds = rng.random_range(u32::from(plan.liars.is_empty())..=2);
        for _ in 0..kinds {
            let faults = plan.draw_faults(&mut rng);
            plan = plan.with(faults);
        }
        plan
    }

    /// Whether those who lie or whose clocks are wrong are few enough at any time.
    fn is_bearable(&self) -> bool {
        let wrong =
            |node: &&usize| self.liars.contains_key(node) || self.clocks[**node].abs() > SLOPPY;
        self.electorates().iter().all(|homes| {
            let voters: BTreeSet<&usize> = homes.values().collect();
            !voters.is_empty()
                && voters.iter().filter(|node| wrong(node)).count() * 3 < voters.len()
        })
    }

    fn draw_changes(&mut self, rng: &mut impl Rng) {
        for _ in 0..rng.random_range(0..=CHANGES) {
            let before = self.clone();
            let time = rng.random_range(QUIET..MENDED / 2);
            let change = self.draw_change(rng);
            self.changes.push((time, change));
            if !self.is_bearable() {
                *self = before;
            }
        }
    }

    fn draw_change(&mut self, rng: &mut impl Rng) -> Change {
        let centres: Vec<usize> = self.at_last().into_keys().collect();
        match rng.random_range(0..3) {
            0 => Change::Admit(self.draw_newcomer(rng)),
            1 => Change::Remove(*pick(rng, &centres)),
            _ => Change::Rotate(*pick(rng, &centres), self.draw_newcomer(rng)),
        }
    }

    /// A node that is there from the beginning or comes later.
    fn draw_newcomer(&mut self, rng: &mut impl Rng) -> usize {
        let node = self.nodes;
        self.nodes += 1;
        self.clocks.push(rng.random_range(-SLOPPY..=SLOPPY));
        if rng.random_ratio(1, 2) {
            self.late.insert(node, rng.random_range(0..MENDED));
        }
        if rng.random_ratio(1, 4) {
            let lie = self.draw_lie(rng);
            self.liars.insert(node, lie);
        }
        node
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
        let some = |rng: &mut dyn rand::RngCore| rng.random_range(0..1 << (self.size + CHANGES));
        match rng.random_range(0..10) {
            0..=2 => Lie::Twins(some(rng), some(rng)),
            3 => Lie::Conflicter,
            4 => *pick(rng, &[Lie::Nuller, Lie::Impersonator]),
            5 => Lie::Outdated,
            6 => Lie::Withholds(some(rng)),
            7 => Lie::LeavesOut(rng.random_range(0..self.size)),
            8 => Lie::Alters(*pick(rng, &ALTERATIONS)),
            _ => {
                let replays = Lie::Alters(Alteration::Replays);
                *pick(rng, &[Lie::Silent, Lie::Invents, Lie::Garbles, Lie::Stale, replays])
            }
        }
    }

    /// Clocks of a minority are off by up to ten minutes, the others by seconds.
    fn draw_clocks(&mut self, rng: &mut impl Rng) {
        for clock in &mut self.clocks {
            *clock = rng.random_range(-SLOPPY..=SLOPPY);
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
        let all: Vec<usize> = (0..self.nodes).collect();
        let some = |rng: &mut dyn rand::RngCore, most: usize| {
            let count = rng.random_range(1..=most);
            sample(rng, all.len(), count).into_vec()
        };
        let one = rng.random_range(0..self.nodes);
        match rng.random_range(0..10) {
            0 => vec![(from, Fault::Crash(all.clone())), (until, Fault::Restart(all))],
            1 => self.draw_window(rng),
            2 => {
                let crashed = some(rng, self.nodes);
                vec![(from, Fault::Crash(crashed.clone())), (until, Fault::Restart(crashed))]
            }
            3 => (0..5).flat_map(|turn| restless(rng.random_range(0..self.nodes), turn)).collect(),
            4 if self.nodes > 1 => {
                let side = some(rng, self.nodes - 1);
                let rest: Vec<_> = all.iter().copied().filter(|it| !side.contains(it)).collect();
                let mut cut = vec![(from, Fault::Lines(side.clone(), rest.clone(), Quality::CUT))];
                if rng.random_ratio(2, 3) {
                    cut.push((from, Fault::Lines(rest, side, Quality::CUT)));
                }
                if rng.random_ratio(1, 2) {
                    cut.push((until, Fault::Lines(all.clone(), all, Quality::SOUND)));
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
            self.at_height.insert(height, (rng.random_range(0..self.nodes), downtime));
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
