//! A whole network in one thread: the engine of production on simulated clocks, disks and lines.

use super::{
    client::{self, Desk, Script},
    council::{Council, Home},
    history::History,
    liar::{self, Line, Mouth, Proposer},
    machine::{Disk, Hardware, Machine},
    mock,
    plan::{Fault, GOOD, Lie, MENDED, Plan},
};
use crate::{
    client::{Ledger, Stopped},
    engine::{self, Identity, Network},
    fixture, node,
    orchestrator::Hooks,
    timing::Timing,
};
use aegle_ledger::{Epochs, Genesis, Outcome, Receipt, Transaction};
use aegle_model::SigningKey;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    Manager as _,
    simulated::{self, Link, Oracle, Receiver},
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
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How often the world looks what is due.
const TICK: Duration = Duration::from_millis(5);
/// How long after a fault of its own making an engine starts again, in milliseconds.
const RESTART: u64 = 1_000;
/// When the true clock starts, in seconds since 1970.
const BEGINNING: u64 = 1_800_000_000;

/// What a run went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// A hash over everything that happened.
    pub(super) state: String,
    pub(super) height: u64,
    /// How many epochs have ended.
    pub(super) epochs: u64,
    pub(super) transactions: usize,
    pub(super) acknowledged: usize,
    /// How often the log of a patient was checked.
    pub(super) logs: u64,
    pub(super) crashes: u64,
    /// How long it took in simulated milliseconds.
    pub(super) lasted: u64,
    /// The longest wait of each centre's client for a receipt, in simulated milliseconds.
    pub(super) waits: Vec<u64>,
    /// The most blocks that became final between a submission of each client and its receipt.
    pub(super) blocks: Vec<u64>,
}

/// What survives a power cut: what the outside world knows.
pub(super) struct Outside {
    pub(super) plan: Plan,
    pub(super) genesis: Genesis,
    /// The key of each node.
    pub(super) keys: Vec<SigningKey>,
    pub(super) history: Mutex<History>,
    council: Council,
    wrong: Mutex<Option<String>>,
    /// What became of the client of each centre, by the centre's first node.
    clients: Vec<Progress>,
    crashes: AtomicU64,
    logs: AtomicU64,
    /// How many of the plan's faults have struck.
    struck: AtomicU64,
}

/// How far a client is.
#[derive(Default)]
struct Progress {
    /// How many of its transactions have their receipt.
    receipts: AtomicU64,
    wait: AtomicU64,
    blocks: AtomicU64,
    /// It has nothing more to do.
    rests: AtomicBool,
}

impl Outside {
    fn new(plan: Plan) -> Self {
        let mut keys = fixture::keys(u8::try_from(plan.size).unwrap());
        let newcomers = u8::try_from(plan.nodes - plan.size).unwrap();
        keys.extend((0..newcomers).map(|seed| SigningKey::from_seed(&[seed + 100; 32])));
        let epochs = Epochs::new(plan.epoch).expect("an epoch has at least two blocks");
        let genesis = Genesis { epochs, ..fixture::genesis(&keys[..plan.size]) };
        Self {
            history: Mutex::new(History::new(&genesis)),
            council: Council::new(&plan, &genesis, &keys),
            wrong: Mutex::default(),
            clients: (0..plan.nodes).map(|_| Progress::default()).collect(),
            crashes: AtomicU64::new(0),
            logs: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            genesis,
            keys,
            plan,
        }
    }

    fn wrong(&self, what: impl Into<String>) {
        self.wrong.lock().unwrap().get_or_insert(what.into());
    }

    pub(super) fn lie(&self, number: usize) -> Option<Lie> {
        self.plan.liars.get(&number).copied()
    }

    fn is_honest(&self, number: usize) -> bool {
        !self.plan.liars.contains_key(&number)
    }

    /// The honest nodes that vote when all changes are in effect.
    fn last_voters(&self) -> Vec<usize> {
        self.plan.at_last().into_values().filter(|node| self.is_honest(*node)).collect()
    }

    fn home(&self, centre: usize) -> Home {
        self.council.home(&self.history.lock().unwrap(), centre)
    }

    /// What a centre says at this node.
    fn script(&self, centre: usize, node: usize) -> Script {
        let (centre, key) = (self.council.id(centre), self.keys[node].clone());
        Script { genesis: self.genesis.clone(), centre, key }
    }
}

enum End {
    Done(Report),
    PowerCut,
}

/// Runs a plan to its end; says what was violated, if anything was.
pub(super) fn run(plan: Plan) -> Result<Report, String> {
    let outside = Arc::new(Outside::new(plan));
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
            max_peers_per_set: NZUsize!(plan.nodes),
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
            restarts: plan.late.get(&number).copied(),
            disk: Disk::Sound,
            excused: false,
        };
        let members = (0..plan.nodes).map(member).collect();
        let at_height = plan.at_height.clone();
        let mut world = Self { context, outside, oracle, peers, members, at_height, mended: false };
        let everybody: Vec<usize> = (0..world.members.len()).collect();
        world.lines(&everybody, &everybody, &GOOD).await;
        for number in everybody {
            if world.members[number].restarts.is_none() {
                world.start_member(number).await;
            }
            world.start_people(number);
        }
        for centre in world.outside.plan.centres() {
            world.start_client(centre);
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
            if self.now() > MENDED + self.outside.plan.patience() {
                return Err(self.stuck());
            }
        }
    }

    /// Stops engines that panicked; those of honest validators may only when their disks are bad.
    fn bury_the_dead(&mut self) -> Result<(), String> {
        for number in 0..self.members.len() {
            let Some(why) = self.members[number].hardware.panicked() else { continue };
            if self.outside.is_honest(number) && !self.members[number].excused {
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
                outside.crashes.fetch_add(outside.plan.nodes as u64, Ordering::Relaxed);
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
        let script = self.outside.script(number, number);
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
        let lie = self.outside.lie(number);
        let member = &mut self.members[number];
        (member.restarts, member.excused) = (None, member.disk != Disk::Sound);
        // A panic of the last engine that came after its end is no panic of this one.
        member.hardware.panicked();
        let tasks = match lie {
            Some(Lie::Silent) => Vec::new(),
            Some(Lie::Conflicter | Lie::Nuller | Lie::Outdated | Lie::Impersonator) => {
                vec![self.start_mock(number).await]
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

    async fn start_mock(&self, number: usize) -> Handle<()> {
        let (_, sender, receiver) = self.register(number).await.swap_remove(0);
        let outside = self.outside.clone();
        self.machine(number)
            .spawn(move |machine| mock::lie(machine, outside, number, (sender, receiver)))
    }

    /// One engine; two with the same key for twins.
    async fn start_engines(&self, number: usize, lie: Option<Lie>) -> Vec<Handle<()>> {
        let (mut first, mut second, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        let ahead = self.outside.plan.clocks[number];
        for (channel, sender, receiver) in self.register(number).await {
            if lie == Some(Lie::Invents) && channel == liar::TRANSACTIONS {
                let (genesis, sender) = (self.outside.genesis.clone(), sender.clone());
                let inventor = self.machine(number).child("inventor");
                tasks.push(inventor.spawn(|clock| liar::invent(clock, genesis, sender)));
            }
            let wire = Line { channel, lie, peers: self.peers.clone() };
            let (one, other) = sender.split_with(wire.clone().forwarder());
            let [one, other] = [one, other].map(|it| Mouth::new(it, ahead, (channel, lie)));
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
        tasks.push(self.start_engine(number, "validator", lie, first, Some(desk)));
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
        let identity = Identity { joins: outside.plan.joins(number), ..identity };
        let network = Network {
            channels,
            blocker: self.oracle.control(self.peers[number].clone()),
            peers: self.oracle.manager(),
            hooks: Hooks { track: Box::new(drop), may_vote: Box::new(|_, _| true) },
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
            let joins = outside.plan.joins(number);
            let watched = watch((&clock, &ledger), &outside, &compared, joins).await;
            // An engine that is falling apart answers no more.
            if let Err(wrong) = watched.or_else(|wrong| hardware.excuse(wrong)) {
                outside.wrong(format!("validator {number}: {wrong}"));
            }
        })
    }

    fn start_client(&self, centre: usize) {
        let outside = self.outside.clone();
        let desks: Vec<Desk> = self.members.iter().map(|member| member.desk.clone()).collect();
        self.context.child("client").spawn(move |clock| async move {
            match work(&clock, &outside, &desks, centre).await {
                Ok(()) => outside.clients[centre].rests.store(true, Ordering::Relaxed),
                Err(wrong) => outside.wrong(wrong),
            }
        });
    }

    /// Those who decide about members at an honest node.
    fn start_people(&self, number: usize) {
        let outside = self.outside.clone();
        if outside.plan.changes.is_empty() || !outside.is_honest(number) {
            return;
        }
        let desk = self.members[number].desk.clone();
        self.context.child("people").spawn(move |clock| async move {
            if let Err(wrong) = govern(&clock, &outside, &desk, number).await {
                outside.wrong(wrong);
            }
        });
    }

    /// Whether all is acknowledged, every change in effect, and all honest validators stand at the same
    /// height.
    fn is_done(&self) -> bool {
        let plan = &self.outside.plan;
        let all_struck = self.outside.struck.load(Ordering::Relaxed) == plan.faults.len() as u64;
        let calm = self.mended || (plan.faults.is_empty() && plan.at_height.is_empty());
        let rest = |centre: &usize| self.outside.clients[*centre].rests.load(Ordering::Relaxed);
        if !all_struck || !calm || !plan.centres().iter().all(rest) {
            return false;
        }
        let history = self.outside.history.lock().unwrap();
        self.outside.council.is_through(&history)
            && self.outside.last_voters().iter().all(|number| {
                let member = &self.members[*number];
                member.compared.load(Ordering::Relaxed) == history.height()
                    && member.ledger().is_some_and(|it| it.status().waiting == 0)
            })
    }

    fn stuck(&self) -> String {
        let history = self.outside.history.lock().unwrap();
        let members = self.members.iter().enumerate().map(|(number, member)| {
            let status = member.ledger().map(|ledger| ledger.status());
            let told = status.map(|it| (it.epoch, it.height, it.waiting, it.missing, it.votes));
            let (epoch, height, waiting, missing, votes) = told.unwrap_or_default();
            let (up, compared) = (member.up(), member.compared.load(Ordering::Relaxed));
            format!(
                "{number}: up {up}, epoch {epoch}, height {height}, {compared} compared, {waiting} wait, \
                 {missing} missing, votes {votes}"
            )
        });
        let members: Vec<_> = members.collect();
        format!(
            "no end after everything was mended: {} acknowledged, height {}, changes in effect: {}, \
             clients rest: {:?}; {}",
            history.acknowledgements(),
            history.height(),
            self.outside.council.is_through(&history),
            self.outside.clients.iter().map(|it| &it.rests).collect::<Vec<_>>(),
            members.join("; ")
        )
    }

    /// The last checks.
    async fn finish(&self) -> Result<Report, String> {
        self.check_blocks().await?;
        let height = self.outside.history.lock().unwrap().height();
        let mut anchors = Vec::new();
        for number in self.outside.last_voters() {
            let ledger = self.members[number].ledger().expect("all honest validators are up");
            anchors.extend(ledger.anchor(height).await.ok().flatten());
        }
        let history = self.outside.history.lock().unwrap();
        if anchors.is_empty() {
            return Err(format!("nobody has a certificate for height {height}"));
        }
        anchors.iter().try_for_each(|anchor| history.check_logs(anchor))?;
        history.check_acknowledged()?;
        let most = |count: fn(&Progress) -> &AtomicU64| {
            self.outside.clients.iter().map(|it| count(it).load(Ordering::Relaxed)).collect()
        };
        Ok(Report {
            state: self.context.auditor().state(),
            height: history.height(),
            epochs: history.electorate().0,
            transactions: history.transactions(),
            acknowledged: history.acknowledgements(),
            logs: self.outside.logs.load(Ordering::Relaxed),
            crashes: self.outside.crashes.load(Ordering::Relaxed),
            lasted: self.now(),
            waits: most(|it| &it.wait),
            blocks: most(|it| &it.blocks),
        })
    }

    /// No honest validator may take another for a liar.
    async fn check_blocks(&self) -> Result<(), String> {
        let lies = |peer: &PublicKey| {
            let number = self.peers.iter().position(|it| it == peer).expect("a validator");
            !self.outside.is_honest(number)
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

/// Compares the final blocks with the history. Who joins fetches the past behind its newest blocks.
async fn watch(
    (clock, ledger): (&deterministic::Context, &Ledger),
    outside: &Outside,
    compared: &AtomicU64,
    joins: bool,
) -> Result<(), String> {
    let mut tips = ledger.finalised();
    loop {
        let tip = tips.borrow_and_update().height;
        while compared.load(Ordering::Relaxed) < tip {
            let height = compared.load(Ordering::Relaxed) + 1;
            let block = match ledger.block(height).await {
                Ok(Some(block)) => block,
                Ok(None) if joins => {
                    clock.sleep(TICK).await;
                    continue;
                }
                Ok(None) => return Err(format!("the final block at {height} is missing")),
                Err(Stopped) => return Ok(()),
            };
            let logs = outside.history.lock().unwrap().see(&block)?;
            compared.store(height, Ordering::Relaxed);
            if logs.is_empty() {
                continue;
            }
            let Ok(Some(anchor)) = ledger.anchor(height).await else { continue };
            for log in logs {
                log.check(anchor.clone(), &outside.genesis)?;
                outside.logs.fetch_add(1, Ordering::Relaxed);
            }
        }
        if tips.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Submits what a centre's script says, one after the other, spread over the time of the faults.
async fn work(
    clock: &deterministic::Context,
    outside: &Outside,
    desks: &[Desk],
    centre: usize,
) -> Result<(), String> {
    let (plan, progress) = (&outside.plan, &outside.clients[centre]);
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed.wrapping_mul(31) + centre as u64);
    let pause = if plan.is_undisturbed() { 50 } else { 2 * MENDED / plan.per_client };
    loop {
        let next = progress.receipts.load(Ordering::Relaxed);
        if next == plan.per_client {
            return Ok(());
        }
        clock.sleep(Duration::from_millis(rng.random_range(0..pause))).await;
        let (height, began) = (outside.history.lock().unwrap().height(), clock.current());
        let Some(receipt) = insist(clock, outside, desks, (centre, next)).await? else {
            return Ok(());
        };
        progress.wait.fetch_max(elapsed(clock.current()) - elapsed(began), Ordering::Relaxed);
        let blocks = receipt.anchor.header.height.saturating_sub(height);
        progress.blocks.fetch_max(blocks, Ordering::Relaxed);
        if let Outcome::Rejected(why) = &receipt.outcome {
            return Err(format!(
                "the transaction {} was rejected: {why}",
                receipt.transaction.id()
            ));
        }
        outside.history.lock().unwrap().acknowledge(receipt)?;
        progress.receipts.store(next + 1, Ordering::Relaxed);
    }
}

/// Submits a centre's transaction again and again until its receipt is there; none when the centre
/// has no honest node any more.
async fn insist(
    clock: &deterministic::Context,
    outside: &Outside,
    desks: &[Desk],
    (centre, number): (usize, u64),
) -> Result<Option<Receipt>, String> {
    let last = outside.plan.at_last().get(&centre).copied();
    let speaks_at_last = last.is_some_and(|node| outside.is_honest(node));
    loop {
        match outside.home(centre) {
            Home::At(node) if outside.is_honest(node) => {
                let transaction = to_submit(outside, centre, node, number);
                let receipt = client::attempt(clock, &desks[node], &transaction).await?;
                if receipt.is_some() {
                    return Ok(receipt);
                }
            }
            Home::Left => return Ok(None),
            Home::At(_) | Home::NotYet if !speaks_at_last => return Ok(None),
            Home::At(_) | Home::NotYet => {}
        }
        clock.sleep(Duration::from_millis(200)).await;
    }
}

/// The transaction as the centre signed it. What it signed with an earlier key is final, or will never
/// be: then it signs anew.
fn to_submit(outside: &Outside, centre: usize, node: usize, number: u64) -> Transaction {
    let signed = |node| outside.script(centre, node).transaction(number);
    let earlier = outside.plan.nodes_of(centre).into_iter().filter(|it| *it != node).map(signed);
    let history = outside.history.lock().unwrap();
    earlier.into_iter().find(|it| history.holds(&it.id())).unwrap_or_else(|| signed(node))
}

/// Proposes and votes until every change of members is in effect.
async fn govern(
    clock: &deterministic::Context,
    outside: &Outside,
    desk: &Desk,
    number: usize,
) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(outside.plan.seed.wrapping_mul(37) + number as u64);
    loop {
        clock.sleep(Duration::from_millis(rng.random_range(200..600))).await;
        let now = elapsed(clock.current());
        let word = {
            let history = outside.history.lock().unwrap();
            if outside.council.is_through(&history) {
                return Ok(());
            }
            outside.council.word(&history, number, now)
        };
        let Some((centre, body)) = word else { continue };
        let (genesis, key) = (outside.genesis.clone(), outside.keys[number].clone());
        let transaction = Script { genesis, centre, key }.sign(now, body);
        // What became of it stands in the history.
        if let Some(receipt) = client::attempt(clock, desk, &transaction).await? {
            outside.history.lock().unwrap().acknowledge(receipt)?;
        }
    }
}
