//! A whole network in one thread: the engine of production on simulated clocks, disks and lines.

use super::{
    client::{self, Desk, Script},
    history::History,
    liar::{Line, Proposer},
    machine::{Disk, Hardware, Machine},
    plan::{Fault, GOOD, Lie, MENDED, Plan},
};
use crate::{
    client::{Ledger, Stopped},
    engine::{self, Network},
    fixture, node,
    orchestrator::Hooks,
    timing::Timing,
};
use aegle_ledger::{Certificate, Genesis};
use aegle_model::SigningKey;
use commonware_consensus::simplex::mocks::{conflicter, impersonator, nuller, outdated};
use commonware_consensus::types::ViewDelta;
use commonware_cryptography::{Sha256, ed25519::PublicKey};
use commonware_p2p::{
    Manager as _,
    simulated::{self, Link, Oracle, Receiver},
    utils::mux::Muxer,
};
use commonware_runtime::{
    Clock as _, Handle, Spawner as _, Supervisor as _,
    deterministic::{self, FaultConfig, PartialWriteMode, WriteConfig},
};
use commonware_utils::{NZUsize, TryCollect as _, ordered::Set, probability};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How often the world looks what is due.
const TICK: Duration = Duration::from_millis(5);
/// How long after a fault of its own making an engine starts again, in milliseconds.
const RESTART: u64 = 1_000;
/// How long a mended network may take until all is well, in milliseconds.
const PATIENCE: u64 = 180_000;
/// When the true clock starts, in seconds since 1970.
const BEGINNING: u64 = 1_800_000_000;

/// What a run went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// A hash over everything that happened.
    pub(super) state: String,
    pub(super) height: u64,
    pub(super) transactions: usize,
    pub(super) crashes: u64,
    /// How long it took in simulated milliseconds.
    pub(super) lasted: u64,
    /// The longest wait of each validator's client for a receipt, in simulated milliseconds.
    pub(super) waits: Vec<u64>,
    /// The most blocks that became final between a submission of each client and its receipt.
    pub(super) blocks: Vec<u64>,
}

/// What survives a power cut: what the outside world knows.
struct Outside {
    plan: Plan,
    genesis: Genesis,
    keys: Vec<SigningKey>,
    history: Mutex<History>,
    wrong: Mutex<Option<String>>,
    /// How many transactions of each client have their receipt.
    progress: Vec<AtomicU64>,
    waits: Vec<AtomicU64>,
    blocks: Vec<AtomicU64>,
    crashes: AtomicU64,
    /// How many of the plan's faults have struck.
    struck: AtomicU64,
}

impl Outside {
    fn wrong(&self, what: impl Into<String>) {
        self.wrong.lock().unwrap().get_or_insert(what.into());
    }

    fn honest(&self) -> impl Iterator<Item = usize> {
        (0..self.plan.size).filter(|number| !self.plan.liars.contains_key(number))
    }

    fn script(&self, number: usize) -> Script {
        Script { genesis: self.genesis.clone(), key: self.keys[number].clone() }
    }
}

enum End {
    Done(Report),
    PowerCut,
}

/// Runs a plan to its end; says what was violated, if anything was.
pub(super) fn run(plan: Plan) -> Result<Report, String> {
    let keys = fixture::keys(u8::try_from(plan.size).unwrap());
    let genesis = fixture::genesis(&keys);
    let zeros = || (0..plan.size).map(|_| AtomicU64::new(0)).collect();
    let outside = Arc::new(Outside {
        history: Mutex::new(History::new(&genesis)),
        wrong: Mutex::default(),
        progress: zeros(),
        waits: zeros(),
        blocks: zeros(),
        crashes: AtomicU64::new(0),
        struck: AtomicU64::new(0),
        genesis,
        keys,
        plan,
    });
    let config = deterministic::Config::new()
        .with_seed(outside.plan.seed)
        .with_start_time(UNIX_EPOCH + Duration::from_secs(BEGINNING))
        .with_storage_fault_config(power_cuts(&outside.plan));
    let mut runner = deterministic::Runner::new(config);
    loop {
        let outside = outside.clone();
        let (end, checkpoint) = runner.start_and_recover(|context| async move {
            World::start(context, outside).await.run().await
        });
        match end? {
            End::Done(report) => return Ok(report),
            End::PowerCut => runner = checkpoint.into(),
        }
    }
}

/// What of the unflushed writes a power cut leaves on the disks.
fn power_cuts(plan: &Plan) -> FaultConfig {
    if !plan.faults.iter().any(|(_, fault)| matches!(fault, Fault::PowerCut)) {
        return FaultConfig::default();
    }
    let mode = if plan.seed.is_multiple_of(2) {
        PartialWriteMode::Prefix
    } else {
        PartialWriteMode::Subset
    };
    let (failure_rate, retention_rate) = (probability!(0.0), probability!(0.5));
    FaultConfig::default().write(WriteConfig { failure_rate, retention_rate, mode })
}

/// One validator.
struct Member {
    hardware: Arc<Hardware>,
    desk: Desk,
    tasks: Vec<Handle<()>>,
    /// Up to which height the watcher has compared its blocks with the history.
    compared: Arc<AtomicU64>,
    /// When it starts by itself, in milliseconds.
    restarts: Option<u64>,
    disk: Disk,
    /// Whether its disk was bad since it started last.
    excused: bool,
}

impl Member {
    fn up(&self) -> bool {
        !self.tasks.is_empty()
    }

    fn ledger(&self) -> Option<Ledger> {
        self.desk.lock().unwrap().clone()
    }
}

struct World {
    context: deterministic::Context,
    outside: Arc<Outside>,
    oracle: Oracle<PublicKey, deterministic::Context>,
    peers: Arc<[PublicKey]>,
    members: Vec<Member>,
    at_height: BTreeMap<u64, (usize, u64)>,
    mended: bool,
}

impl World {
    async fn start(context: deterministic::Context, outside: Arc<Outside>) -> Self {
        let plan = &outside.plan;
        let config = simulated::Config {
            max_size: engine::message_bytes_max(plan.size),
            max_peers_per_set: NZUsize!(plan.size),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let (network, oracle) = simulated::Network::new(context.child("network"), config);
        network.start();
        let key = |key: &SigningKey| node::validator(&key.public()).unwrap();
        let peers: Arc<[PublicKey]> = outside.keys.iter().map(key).collect();
        let all: Set<PublicKey> = peers.iter().cloned().try_collect().unwrap();
        oracle.manager().track(0, all);
        let member = |number: usize| Member {
            hardware: Hardware::new(plan.seed ^ number as u64, plan.clocks[number]),
            desk: Desk::default(),
            tasks: Vec::new(),
            compared: Arc::default(),
            restarts: None,
            disk: Disk::Sound,
            excused: false,
        };
        let members = (0..plan.size).map(member).collect();
        let at_height = plan.at_height.clone();
        let mut world = Self { context, outside, oracle, peers, members, at_height, mended: false };
        let everybody: Vec<usize> = (0..world.members.len()).collect();
        world.lines(&everybody, &everybody, &GOOD).await;
        for number in everybody {
            world.start_member(number).await;
            world.start_client(number);
        }
        world
    }

    /// Milliseconds since the true clock started.
    fn now(&self) -> u64 {
        elapsed(self.context.current())
    }

    async fn run(mut self) -> Result<End, String> {
        loop {
            self.context.sleep(TICK).await;
            if let Some(wrong) = self.outside.wrong.lock().unwrap().take() {
                return Err(wrong);
            }
            self.bury_the_dead()?;
            if self.strike().await {
                return Ok(End::PowerCut);
            }
            self.raise().await;
            if !self.mended && self.now() >= MENDED {
                self.mend().await;
            }
            if self.is_done() {
                return self.finish().await.map(End::Done);
            }
            if self.now() > MENDED + PATIENCE {
                return Err(self.stuck());
            }
        }
    }

    /// Stops engines that panicked; those of honest validators may only when their disks are bad.
    fn bury_the_dead(&mut self) -> Result<(), String> {
        for number in 0..self.members.len() {
            let Some(why) = self.members[number].hardware.panicked() else { continue };
            let honest = !self.outside.plan.liars.contains_key(&number);
            if honest && !self.members[number].excused {
                return Err(format!("validator {number} stopped by itself: {why}"));
            }
            self.crash(number);
            self.members[number].restarts = Some(self.now() + RESTART);
        }
        Ok(())
    }

    /// Lets happen what is due; says whether the power goes.
    async fn strike(&mut self) -> bool {
        let outside = self.outside.clone();
        loop {
            let next = usize::try_from(outside.struck.load(Ordering::Relaxed)).unwrap();
            let Some((time, fault)) = outside.plan.faults.get(next) else { break };
            if *time > self.now() {
                break;
            }
            outside.struck.fetch_add(1, Ordering::Relaxed);
            if matches!(fault, Fault::PowerCut) {
                outside.crashes.fetch_add(outside.plan.size as u64, Ordering::Relaxed);
                return true;
            }
            self.suffer(fault).await;
        }
        self.strike_at_heights();
        false
    }

    async fn suffer(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash(these) => these.iter().for_each(|number| self.crash(*number)),
            Fault::Restart(these) => {
                let now = self.now();
                for number in these {
                    self.members[*number].restarts = Some(now);
                }
            }
            Fault::Lines(from, to, quality) => self.lines(from, to, &quality.link()).await,
            Fault::Disk(number, disk) => self.set_disk(*number, *disk),
            Fault::Flood(number, count) => self.flood(*number, *count),
            Fault::PowerCut => {}
        }
    }

    fn set_disk(&mut self, number: usize, disk: Disk) {
        let member = &mut self.members[number];
        member.hardware.set_disk(disk);
        member.disk = disk;
        member.excused |= disk != Disk::Sound;
    }

    fn flood(&self, number: usize, count: u64) {
        let Some(ledger) = self.members[number].ledger() else { return };
        let script = self.outside.script(number);
        let flood = self.context.child("flood");
        flood.spawn(move |_| async move { script.flood(&ledger, count).await });
    }

    fn strike_at_heights(&mut self) {
        let height = |member: &Member| member.ledger().map_or(0, |it| it.status().height);
        let due = |(at, (number, _)): &(&u64, &(usize, u64))| {
            self.members[*number].up() && height(&self.members[*number]) >= **at
        };
        let due: Vec<u64> = self.at_height.iter().filter(due).map(|(at, _)| *at).collect();
        for at in due {
            let (number, downtime) = self.at_height.remove(&at).expect("it is due");
            self.crash(number);
            self.members[number].restarts = Some(self.now() + downtime);
        }
    }

    /// Starts those whose time has come.
    async fn raise(&mut self) {
        for number in 0..self.members.len() {
            let member = &self.members[number];
            if member.restarts.is_some_and(|time| time <= self.now()) && !member.up() {
                self.start_member(number).await;
            }
        }
    }

    async fn mend(&mut self) {
        self.mended = true;
        self.at_height.clear();
        let everybody: Vec<usize> = (0..self.members.len()).collect();
        self.lines(&everybody, &everybody, &GOOD).await;
        for number in everybody {
            self.set_disk(number, Disk::Sound);
            let now = self.now();
            self.members[number].restarts.get_or_insert(now);
        }
    }

    fn crash(&mut self, number: usize) {
        let member = &mut self.members[number];
        member.restarts = None;
        if member.up() {
            member.tasks.drain(..).for_each(|task| task.abort());
            member.desk.lock().unwrap().take();
            self.outside.crashes.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn lines(&self, from: &[usize], to: &[usize], link: &Link) {
        let pairs = from.iter().flat_map(|one| to.iter().map(move |other| (*one, *other)));
        for (one, other) in pairs.filter(|(one, other)| one != other) {
            let (one, other) = (&self.peers[one], &self.peers[other]);
            // There is none before the first one.
            let _ = self.oracle.remove_link(one.clone(), other.clone()).await;
            self.oracle.add_link(one.clone(), other.clone(), link.clone()).await.unwrap();
        }
    }

    async fn start_member(&mut self, number: usize) {
        let lie = self.outside.plan.liars.get(&number).copied();
        let member = &mut self.members[number];
        (member.restarts, member.excused) = (None, member.disk != Disk::Sound);
        // A panic of the last engine that came after its end is no panic of this one.
        member.hardware.panicked();
        let tasks = match lie {
            Some(Lie::Silent) => Vec::new(),
            Some(Lie::Conflicter | Lie::Nuller | Lie::Outdated | Lie::Impersonator) => {
                vec![self.start_mock(number, lie).await]
            }
            _ => self.start_engines(number, lie).await,
        };
        self.members[number].tasks = tasks;
    }

    fn machine(&self, number: usize) -> Machine {
        let context = self.context.child("validator").with_attribute("number", number);
        Machine::new(context, self.members[number].hardware.clone())
    }

    async fn register(
        &self,
        number: usize,
    ) -> Vec<(u64, simulated::Sender<PublicKey, deterministic::Context>, Receiver<PublicKey>)> {
        let control = self.oracle.control(self.peers[number].clone());
        let mut lines = Vec::new();
        for (channel, quota) in engine::channels() {
            let (sender, receiver) = control.register(channel, quota).await.unwrap();
            lines.push((channel, sender, receiver));
        }
        lines
    }

    /// A liar that has nothing of an engine but its key.
    async fn start_mock(&self, number: usize, lie: Option<Lie>) -> Handle<()> {
        let key = node::identity(&self.outside.genesis, &self.outside.keys[number]).key;
        let validators: Set<PublicKey> = self.peers.iter().cloned().try_collect().unwrap();
        let domain = Certificate::namespace(self.outside.genesis.network());
        let scheme = engine::Scheme::signer(&domain, validators, key).unwrap();
        let (_, sender, receiver) = self.register(number).await.swap_remove(0);
        let machine = self.machine(number);
        // Votes of all epochs share a channel; a mock lies in the first one.
        let (muxer, mut epochs) = Muxer::new(machine.child("muxer"), sender, receiver);
        muxer.start();
        let votes = epochs.register(0).await.unwrap();
        let view_delta = ViewDelta::new(3);
        match lie {
            Some(Lie::Conflicter) => {
                let config = conflicter::Config { scheme };
                conflicter::Conflicter::<_, _, Sha256>::new(machine, config).start(votes)
            }
            Some(Lie::Nuller) => {
                let config = nuller::Config { scheme };
                nuller::Nuller::<_, _, Sha256>::new(machine, config).start(votes)
            }
            Some(Lie::Outdated) => {
                let config = outdated::Config { scheme, view_delta };
                outdated::Outdated::<_, _, Sha256>::new(machine, config).start(votes)
            }
            _ => {
                let config = impersonator::Config { scheme };
                impersonator::Impersonator::<_, _, Sha256>::new(machine, config).start(votes)
            }
        }
    }

    /// One engine; two with the same key for twins.
    async fn start_engines(&self, number: usize, lie: Option<Lie>) -> Vec<Handle<()>> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (channel, sender, receiver) in self.register(number).await {
            let wire = Line { channel, lie, peers: self.peers.clone() };
            let (one, other) = sender.split_with(wire.clone().forwarder());
            if lie.is_none() {
                first.push((one, receiver));
                continue;
            }
            let router = self.context.child("router");
            let (hears, overhears) = receiver.split_with(router, move |(from, _)| wire.hears(from));
            first.push((one, hears));
            second.push((other, overhears));
        }
        let desk = self.members[number].desk.clone();
        let mut tasks = vec![self.start_engine(number, "validator", lie, first, Some(desk))];
        if matches!(lie, Some(Lie::Twins(..))) {
            tasks.push(self.start_engine(number, "twin", lie, second, None));
        }
        if lie.is_none() {
            tasks.push(self.start_watcher(number));
        }
        tasks
    }

    fn start_engine<S>(
        &self,
        number: usize,
        name: &'static str,
        lie: Option<Lie>,
        channels: Vec<(S, Receiver<PublicKey>)>,
        desk: Option<Desk>,
    ) -> Handle<()>
    where
        S: commonware_p2p::Sender<PublicKey = PublicKey>,
    {
        let outside = self.outside.clone();
        let identity = node::identity(&outside.genesis, &outside.keys[number]);
        let network = Network {
            channels,
            blocker: self.oracle.control(self.peers[number].clone()),
            peers: self.oracle.manager(),
            hooks: Hooks { track: Box::new(drop), may_vote: Box::new(|_| true) },
        };
        let prefix = format!("{name}-{number}");
        self.machine(number).spawn(move |machine| async move {
            let context = machine.child("engine");
            let engine = engine::start(
                context,
                &prefix,
                identity,
                Timing::default(),
                network,
                |state| state,
                |it| Proposer::new(it, lie),
            )
            .await;
            if let Some(desk) = desk {
                *desk.lock().unwrap() = Some(engine.ledger(outside.genesis.clone(), String::new));
            }
            let _ = engine.handle.await;
        })
    }

    /// Compares every block of a validator with the history, as soon as it is final there.
    fn start_watcher(&self, number: usize) -> Handle<()> {
        let (outside, member) = (self.outside.clone(), &self.members[number]);
        let hardware = member.hardware.clone();
        let (desk, compared) = (member.desk.clone(), member.compared.clone());
        compared.store(0, Ordering::Relaxed);
        self.context.child("watcher").spawn(move |clock| async move {
            let ledger = loop {
                if let Some(ledger) = desk.lock().unwrap().clone() {
                    break ledger;
                }
                clock.sleep(TICK).await;
            };
            let watched = watch(&ledger, &outside, &compared).await;
            // An engine that is falling apart answers no more.
            if let Err(wrong) = watched.or_else(|wrong| hardware.excuse(wrong)) {
                outside.wrong(format!("validator {number}: {wrong}"));
            }
        })
    }

    fn start_client(&self, number: usize) {
        let (outside, desk) = (self.outside.clone(), self.members[number].desk.clone());
        if outside.plan.liars.contains_key(&number) {
            return;
        }
        self.context.child("client").spawn(move |clock| async move {
            if let Err(wrong) = work(&clock, &outside, &desk, number).await {
                outside.wrong(wrong);
            }
        });
    }

    /// Whether all is acknowledged and all honest validators stand at the same height.
    fn is_done(&self) -> bool {
        let plan = &self.outside.plan;
        let all_struck = self.outside.struck.load(Ordering::Relaxed) == plan.faults.len() as u64;
        let calm = self.mended || (plan.faults.is_empty() && plan.at_height.is_empty());
        if !all_struck || !calm {
            return false;
        }
        let history = self.outside.history.lock().unwrap();
        let expected = self.outside.honest().count() as u64 * plan.per_client;
        history.acknowledgements() as u64 == expected
            && self.outside.honest().all(|number| {
                let member = &self.members[number];
                member.compared.load(Ordering::Relaxed) == history.height()
                    && member.ledger().is_some_and(|it| it.status().waiting == 0)
            })
    }

    fn stuck(&self) -> String {
        let history = self.outside.history.lock().unwrap();
        let members = self.members.iter().enumerate().map(|(number, member)| {
            let status = member.ledger().map(|ledger| ledger.status());
            let (height, waiting) = status.map_or((0, 0), |it| (it.height, it.waiting));
            format!("{number}: up {}, height {height}, {waiting} wait", member.up())
        });
        let members: Vec<_> = members.collect();
        format!(
            "no end after everything was mended: {} acknowledged, height {}; {}",
            history.acknowledgements(),
            history.height(),
            members.join("; ")
        )
    }

    /// The last checks.
    async fn finish(&self) -> Result<Report, String> {
        self.check_blocks().await?;
        let height = self.outside.history.lock().unwrap().height();
        let mut anchors = Vec::new();
        for number in self.outside.honest() {
            let ledger = self.members[number].ledger().expect("all honest validators are up");
            anchors.extend(ledger.anchor(height).await.ok().flatten());
        }
        let history = self.outside.history.lock().unwrap();
        if anchors.is_empty() {
            return Err(format!("nobody has a certificate for height {height}"));
        }
        anchors.iter().try_for_each(|anchor| history.check_logs(anchor))?;
        history.check_acknowledged()?;
        let most = |counts: &[AtomicU64]| {
            counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
        };
        Ok(Report {
            state: self.context.auditor().state(),
            height: history.height(),
            transactions: history.transactions(),
            crashes: self.outside.crashes.load(Ordering::Relaxed),
            lasted: self.now(),
            waits: most(&self.outside.waits),
            blocks: most(&self.outside.blocks),
        })
    }

    /// No honest validator may take another for a liar.
    async fn check_blocks(&self) -> Result<(), String> {
        let lies = |peer: &PublicKey| {
            let number = self.peers.iter().position(|it| it == peer).expect("a validator");
            self.outside.plan.liars.contains_key(&number)
        };
        let blocked = self.oracle.blocked().await.map_err(|error| error.to_string())?;
        match blocked.iter().find(|(by, whom)| !lies(by) && !lies(whom)) {
            Some((by, whom)) => Err(format!("{by} blocked {whom}, and both are honest")),
            None => Ok(()),
        }
    }
}

fn elapsed(now: SystemTime) -> u64 {
    let beginning = UNIX_EPOCH + Duration::from_secs(BEGINNING);
    let since = now.duration_since(beginning).expect("time goes forward");
    u64::try_from(since.as_millis()).unwrap()
}

async fn watch(ledger: &Ledger, outside: &Outside, compared: &AtomicU64) -> Result<(), String> {
    let mut tips = ledger.finalised();
    loop {
        let tip = tips.borrow_and_update().height;
        for height in compared.load(Ordering::Relaxed) + 1..=tip {
            let block = match ledger.block(height).await {
                Ok(Some(block)) => block,
                Ok(None) => return Err(format!("the final block at {height} is missing")),
                Err(Stopped) => return Ok(()),
            };
            outside.history.lock().unwrap().see(&block)?;
            compared.store(height, Ordering::Relaxed);
        }
        if tips.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Submits what the script says, one after the other, spread over the time of the faults.
async fn work(
    clock: &deterministic::Context,
    outside: &Outside,
    desk: &Desk,
    number: usize,
) -> Result<(), String> {
    let (plan, script) = (&outside.plan, outside.script(number));
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed.wrapping_mul(31) + number as u64);
    let hurried = plan.faults.is_empty() && plan.at_height.is_empty();
    let pause = if hurried { 50 } else { 2 * MENDED / plan.per_client };
    loop {
        let next = outside.progress[number].load(Ordering::Relaxed);
        if next == plan.per_client {
            return Ok(());
        }
        clock.sleep(Duration::from_millis(rng.random_range(0..pause))).await;
        let (transaction, began) = (script.transaction(next), clock.current());
        let height = desk.lock().unwrap().as_ref().map(|ledger| ledger.status().height);
        let receipt = client::insist(clock, desk, &transaction).await?;
        let waited = elapsed(clock.current()) - elapsed(began);
        outside.waits[number].fetch_max(waited, Ordering::Relaxed);
        let blocks = receipt.anchor.header.height.saturating_sub(height.unwrap_or(u64::MAX));
        outside.blocks[number].fetch_max(blocks, Ordering::Relaxed);
        outside.history.lock().unwrap().acknowledge(transaction.id(), receipt)?;
        outside.progress[number].store(next + 1, Ordering::Relaxed);
    }
}
