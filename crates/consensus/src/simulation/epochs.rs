//! Members that change while the network runs, and epochs that end whatever happens.

use super::{
    GOOD,
    cluster::{Acknowledged, Validator},
    links,
    property::OneHistory,
    schedule, seeds,
};
use crate::{
    client::{Ledger, ReceiptError, SubmitError},
    engine::{self, Network},
    fixture, node,
    orchestrator::Hooks,
    timing::Timing,
};
use aegle_ledger::{
    Amendment, Body, Centre, CentreRecord, Draft, Epochs, Genesis, GovernanceRecord, Member,
    Propose, Record, Transaction, Vote, keys,
};
use aegle_model::{CentreId, Hash, Name, SigningKey};
use commonware_cryptography::ed25519::PublicKey;
use commonware_glue::simulate::{
    action::{Action, Crash},
    engine::{EngineDefinition, InitContext},
    exit::ExitCondition,
    plan::{PlanBuilder, PlanResult},
    reporter::MonitorReporter,
    tracker::ProgressTracker,
};
use commonware_macros::select;
use commonware_p2p::simulated::Link;
use commonware_runtime::{Clock as _, Handle, Quota, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::probability;
use std::{collections::BTreeSet, pin::Pin, time::Duration};

const EPOCH: u64 = 24;
const FOUNDERS: u8 = 4;

/// A network in which the founders agree to every change that the first of them proposes.
#[derive(Clone)]
struct Course {
    genesis: Genesis,
    /// One per node; those after the founders start with the network, too, and wait.
    keys: Vec<SigningKey>,
    changes: Vec<Amendment>,
    acknowledged: Acknowledged,
}

impl Course {
    /// The founders and `more` nodes.
    fn new(more: u8) -> Self {
        let mut keys = fixture::keys(FOUNDERS);
        keys.extend((0..more).map(|seed| SigningKey::from_seed(&[seed + 100; 32])));
        let epochs = Epochs::new(EPOCH).unwrap();
        let genesis = Genesis { epochs, ..fixture::genesis(&keys[..usize::from(FOUNDERS)]) };
        Self { genesis, keys, changes: Vec::new(), acknowledged: Acknowledged::default() }
    }

    fn with(mut self, change: Amendment) -> Self {
        self.changes.push(change);
        self
    }

    /// The card of a centre of its own for a node after the founders.
    fn newcomer(&self, node: usize) -> Member {
        let key = self.keys[node].public();
        let code = Name::new(format!("N{node}")).unwrap();
        let id = Centre::id_of(&key);
        member(Centre { id, code, key, tls: Hash::ZERO, seal: [4; 65] })
    }

    /// The card of a founder with the key of another node.
    fn rotated(&self, founder: usize, node: usize) -> Member {
        let key = self.keys[node].public();
        member(Centre { key, ..self.genesis.centres[founder].clone() })
    }

    fn participant(&self, node: usize) -> PublicKey {
        node::validator(&self.keys[node].public()).unwrap()
    }

    /// Runs until every change took effect, every running node has entered `epoch` after that, and
    /// exactly the nodes in `voters` vote.
    fn run(
        self,
        seed: u64,
        (epoch, voters): (u64, &[usize]),
        scenario: impl FnOnce(PlanBuilder<Self>) -> PlanBuilder<Self>,
    ) -> PlanResult<Self> {
        let voters = voters.iter().map(|node| self.participant(*node)).collect::<BTreeSet<_>>();
        let goal = Goal { changes: self.changes.len(), epoch, voters: voters.len() };
        let plan = PlanBuilder::new(self)
            .seed(seed)
            .link(GOOD)
            .timeout(Duration::from_mins(30))
            .exit_condition(goal)
            .property(OneHistory);
        scenario(plan).run().unwrap().pop().expect("one result for one seed")
    }

    /// What the people at a node do, again and again until the node ends.
    async fn live(self, clock: deterministic::Context, ledger: Ledger, node: usize) {
        let key = &self.keys[node];
        for number in 0.. {
            clock.sleep(Duration::from_secs(1)).await;
            let Some(centre) = author(&ledger, key).await else { continue };
            let draft = |body| {
                let expires = ledger.status().height + 1_000;
                let author = (centre, key.public());
                let nonce = expires * 1_000 + number;
                Draft::new(self.genesis.network(), author, expires, nonce, body).sign(key)
            };
            let Some(governance) = read::<GovernanceRecord>(&ledger, keys::governance()).await
            else {
                continue;
            };
            let proposed =
                governance.open.len() + governance.agreed.len() + governance.closed.len();
            let body = match (governance.open.first(), self.changes.get(proposed)) {
                (Some(proposal), _) => Body::Vote(Vote { proposal: *proposal, agree: true }),
                (None, Some(change)) if node == 0 => {
                    Body::Propose(Box::new(Propose { change: change.clone() }))
                }
                _ => continue,
            };
            self.finalise(&clock, &ledger, draft(body)).await;
        }
    }

    /// Submits and waits a while for the receipt, which must verify from the genesis.
    async fn finalise(
        &self,
        clock: &deterministic::Context,
        ledger: &Ledger,
        transaction: Transaction,
    ) {
        let id = transaction.id();
        match ledger.submit(transaction).await {
            Ok(_) | Err(SubmitError::Waiting(_) | SubmitError::Final(_)) => {}
            Err(_) => return,
        }
        select! {
            receipt = ledger.receipt(id) => match receipt {
                Ok(receipt) => {
                    receipt.verify(&self.genesis).unwrap();
                    self.acknowledged.lock().unwrap().insert(id);
                },
                Err(ReceiptError::Uncertified { .. } | ReceiptError::Stopped(_) | ReceiptError::Expired) => {},
                Err(error) => panic!("{error}"),
            },
            () = clock.sleep(Duration::from_secs(20)) => {},
        }
    }
}

fn member(centre: Centre) -> Member {
    Member { centre, address: "node.example:4000".to_owned() }
}

async fn read<T: Record>(ledger: &Ledger, key: aegle_ledger::Key) -> Option<T> {
    let snapshot = ledger.read(&[key]).await.ok()?;
    T::read(snapshot.values[0].as_deref()?)
}

/// The member that has this key.
async fn author(ledger: &Ledger, key: &SigningKey) -> Option<CentreId> {
    let network: aegle_ledger::NetworkRecord = read(ledger, keys::network()).await?;
    for centre in network.voters() {
        let record: CentreRecord = read(ledger, keys::centre(centre)).await?;
        if record.centre.key == key.public() {
            return Some(centre);
        }
    }
    None
}

/// What a course runs towards.
#[derive(Clone)]
struct Goal {
    changes: usize,
    epoch: u64,
    voters: usize,
}

impl ExitCondition<PublicKey, Validator> for Goal {
    fn name(&self) -> &'static str {
        "every change in effect"
    }

    fn requires_polling(&self) -> bool {
        true
    }

    fn reached<'a>(
        &'a self,
        _tracker: &'a ProgressTracker<PublicKey>,
        validators: &'a [&'a Validator],
        target_count: usize,
    ) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>> {
        Box::pin(async move {
            let statuses: Vec<_> =
                validators.iter().map(|validator| validator.ledger.status()).collect();
            let there = validators.len() == target_count
                && statuses.iter().all(|status| status.epoch >= self.epoch);
            if !there || statuses.iter().filter(|status| status.votes).count() != self.voters {
                return Ok(false);
            }
            for validator in validators {
                let governance: Option<GovernanceRecord> =
                    read(&validator.ledger, keys::governance()).await;
                if governance.is_none_or(|governance| governance.closed.len() < self.changes) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

impl EngineDefinition for Course {
    type PublicKey = PublicKey;
    type Engine = Handle<()>;
    type State = Validator;

    fn participants(&self) -> Vec<PublicKey> {
        (0..self.keys.len()).map(|node| self.participant(node)).collect()
    }

    fn channels(&self) -> Vec<(u64, Quota)> {
        engine::channels()
    }

    fn max_message_size(&self) -> u32 {
        engine::message_bytes_max(self.keys.len())
    }

    async fn init(&self, init: InitContext<'_, PublicKey>) -> (Handle<()>, Validator) {
        let InitContext { context, index, public_key, oracle, channels, monitor, .. } = init;
        let network = Network {
            channels,
            blocker: oracle.control(public_key.clone()),
            peers: oracle.manager(),
            hooks: Hooks { track: Box::new(drop), may_vote: Box::new(|_, _| true) },
        };
        let observe = |state| MonitorReporter::new(public_key.clone(), monitor, state);
        let identity = node::identity(&self.genesis, &self.keys[index]);
        let prefix = format!("validator-{index}");
        let timing = Timing::default();
        let engine = engine::start(
            context.child("engine"),
            &prefix,
            identity,
            timing,
            network,
            observe,
            |it| it,
        )
        .await;
        let ledger = engine.ledger(self.genesis.clone(), String::new);
        let (course, client) = (self.clone(), ledger.clone());
        context.child("people").spawn(move |clock| course.live(clock, client, index));
        let acknowledged = self.acknowledged.clone();
        (engine.handle, Validator { ledger, acknowledged, submitted: 0 })
    }

    fn start(engine: Handle<()>) -> Handle<()> {
        engine
    }
}

#[test]
fn epochs_pass_with_the_same_members() {
    for seed in seeds() {
        Course::new(0).run(seed, (3, &[0, 1, 2, 3]), |plan| plan);
    }
}

#[test]
fn the_same_seed_runs_the_same_way_across_epochs() {
    let state = || Course::new(0).run(7, (2, &[0, 1, 2, 3]), |plan| plan).state;
    assert_eq!(state(), state());
}

#[test]
fn a_centre_is_admitted_follows_and_votes() {
    for seed in seeds() {
        let course = Course::new(1);
        let admit = Amendment::Admit(course.newcomer(4));
        course.with(admit).run(seed, (3, &[0, 1, 2, 3, 4]), |plan| plan);
    }
}

#[test]
fn a_newcomer_that_comes_late_catches_up_epoch_by_epoch() {
    for seed in seeds() {
        let course = Course::new(1);
        let (admit, late) = (Amendment::Admit(course.newcomer(4)), course.participant(4));
        let away =
            schedule([(1, vec![Action::Crash(late.clone())]), (150, vec![Action::Restart(late)])]);
        course.with(admit).run(seed, (7, &[0, 1, 2, 3, 4]), |plan| plan.crash(away));
    }
}

#[test]
fn a_centre_is_removed_and_the_others_go_on() {
    for seed in seeds() {
        let course = Course::new(0);
        let remove = Amendment::Remove(course.genesis.centres[3].id);
        course.with(remove).run(seed, (3, &[0, 1, 2]), |plan| plan);
    }
}

#[test]
fn a_centre_votes_again_with_its_new_key() {
    for seed in seeds() {
        let course = Course::new(1);
        let rotate = Amendment::Rotate(course.rotated(3, 4));
        course.with(rotate).run(seed, (3, &[0, 1, 2, 4]), |plan| plan);
    }
}

#[test]
fn one_after_the_other_is_exchanged_until_no_founder_is_left_but_the_first() {
    for seed in seeds() {
        let mut course = Course::new(3);
        for (founder, node) in [(1, 4), (2, 5), (3, 6)] {
            let change = Amendment::Rotate(course.rotated(founder, node));
            course = course.with(change);
        }
        course.run(seed, (4, &[0, 4, 5, 6]), |plan| plan);
    }
}

#[test]
fn epochs_end_while_one_is_down_and_it_comes_back() {
    for seed in seeds() {
        let course = Course::new(1);
        let admit = Amendment::Admit(course.newcomer(4));
        let down = course.participant(2);
        let outage =
            schedule([(10, vec![Action::Crash(down.clone())]), (100, vec![Action::Restart(down)])]);
        course.with(admit).run(seed, (5, &[0, 1, 2, 3, 4]), |plan| plan.crash(outage));
    }
}

#[test]
fn epochs_end_under_a_partition_and_one_history_remains() {
    for seed in seeds() {
        let course = Course::new(1);
        let admit = Amendment::Admit(course.newcomer(4));
        let nodes = course.participants();
        let cut = Link { success_rate: probability!(0.0), ..GOOD };
        let (alone, others) = nodes.split_at(1);
        let (left, right) = nodes.split_at(2);
        let partition = schedule([
            (15, links(alone, others, &cut)),
            (50, vec![Action::Heal(GOOD)]),
            (65, links(left, right, &cut)),
            (80, vec![Action::Heal(GOOD)]),
        ]);
        course.with(admit).run(seed, (5, &[0, 1, 2, 3, 4]), |plan| plan.crash(partition));
    }
}

#[test]
fn epochs_end_while_nodes_crash_at_random() {
    for seed in seeds() {
        let course = Course::new(1);
        let admit = Amendment::Admit(course.newcomer(4));
        let crash = Crash::Random {
            frequency: Duration::from_secs(7),
            downtime: Duration::from_secs(3),
            count: 1,
        };
        let ran = course.with(admit).run(seed, (4, &[0, 1, 2, 3, 4]), |plan| plan.crash(crash));
        assert!(ran.crashes > 3);
    }
}

#[test]
fn all_crash_again_and_again_and_epochs_end() {
    for seed in seeds() {
        let course = Course::new(0);
        let all = |action: fn(PublicKey) -> Action<PublicKey>| {
            course.participants().into_iter().map(action).collect::<Vec<_>>()
        };
        let outages = (0..12).flat_map(|number| {
            let at = 17 + number * 7 + seed % 5;
            [(at, all(Action::Crash)), (at + 1, all(Action::Restart))]
        });
        let outages = schedule(outages);
        course.run(seed, (4, &[0, 1, 2, 3]), |plan| plan.crash(outages));
    }
}
