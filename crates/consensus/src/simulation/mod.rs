//! Whole networks in one thread, from one seed: the engine of production on a simulated clock, disk
//! and network.
//!
//! `AEGLE_SEEDS` sets how many seeds each scenario runs with.

mod cluster;
mod drawn;
mod epochs;
mod property;

use cluster::Cluster;
use commonware_consensus::types::{Epoch, Round, View};
use commonware_cryptography::ed25519::PublicKey;
use commonware_glue::simulate::{
    action::{Action, Crash, Schedule},
    engine::EngineDefinition as _,
    plan::{PlanBuilder, PlanResult},
};
use commonware_p2p::simulated::Link;
use commonware_runtime::deterministic;
use commonware_utils::probability;
use property::{AllAcknowledged, OneHistory};
use std::{sync::atomic::Ordering, time::Duration};

const GOOD: Link = Link {
    latency: Duration::from_millis(10),
    jitter: Duration::from_millis(5),
    success_rate: probability!(1.0),
};

fn seeds() -> std::ops::Range<u64> {
    let seeds = std::env::var("AEGLE_SEEDS").ok();
    0..seeds.map_or(2, |seeds| seeds.parse().expect("`AEGLE_SEEDS` is a number"))
}

/// Runs a network of `size` validators until all is acknowledged, and checks its history.
fn run(
    seed: u64,
    size: u8,
    scenario: impl FnOnce(PlanBuilder<Cluster>) -> PlanBuilder<Cluster>,
) -> PlanResult<Cluster> {
    run_on(Cluster::new(size), seed, scenario)
}

/// The same with a network of one's own.
fn run_on(
    cluster: Cluster,
    seed: u64,
    scenario: impl FnOnce(PlanBuilder<Cluster>) -> PlanBuilder<Cluster>,
) -> PlanResult<Cluster> {
    let plan = PlanBuilder::new(cluster)
        .seed(seed)
        .link(GOOD)
        .timeout(Duration::from_mins(10))
        .exit_condition(AllAcknowledged)
        .property(OneHistory);
    let mut results = scenario(plan).run().unwrap();
    results.pop().expect("one result for one seed")
}

fn validators(size: u8) -> Vec<PublicKey> {
    Cluster::new(size).participants()
}

/// Both ways between every validator of `left` and every one of `right` get `link`.
fn links(left: &[PublicKey], right: &[PublicKey], link: &Link) -> Vec<Action<PublicKey>> {
    let pairs = left.iter().flat_map(|one| right.iter().map(move |other| (one, other)));
    let update = |from: &PublicKey, to: &PublicKey| Action::UpdateLink {
        from: from.clone(),
        to: to.clone(),
        link: link.clone(),
    };
    pairs.flat_map(|(one, other)| [update(one, other), update(other, one)]).collect()
}

fn schedule(events: impl IntoIterator<Item = (u64, Vec<Action<PublicKey>>)>) -> Crash<PublicKey> {
    let actions = events.into_iter().flat_map(|(second, actions)| {
        actions.into_iter().map(move |action| (Duration::from_secs(second), action))
    });
    let empty = Schedule::new();
    Crash::Schedule(actions.fold(empty, |schedule, (time, action)| schedule.at(time, action)))
}

#[test]
fn four_validators_agree() {
    for seed in seeds() {
        run(seed, 4, |plan| plan);
    }
}

#[test]
fn one_validator_is_a_network_too() {
    for seed in seeds() {
        run(seed, 1, |plan| plan);
    }
}

#[test]
fn the_same_seed_runs_the_same_way() {
    let state = || run(7, 4, |plan| plan).state;
    assert_eq!(state(), state());
}

#[test]
fn validators_that_crash_one_at_a_time_come_back() {
    for seed in seeds() {
        let crash = Crash::Random {
            frequency: Duration::from_secs(2),
            downtime: Duration::from_secs(1),
            count: 1,
        };
        assert!(run(seed, 4, |plan| plan.crash(crash)).crashes > 0);
    }
}

#[test]
fn a_network_survives_the_crash_of_all() {
    for seed in seeds() {
        let all = |action: fn(PublicKey) -> Action<PublicKey>| {
            validators(4).into_iter().map(action).collect()
        };
        let outage = schedule([(1, all(Action::Crash)), (3, all(Action::Restart))]);
        assert_eq!(run(seed, 4, |plan| plan.crash(outage)).crashes, 4);
    }
}

#[test]
fn disks_that_fail_to_write_stop_their_validators_and_lose_nothing() {
    for seed in seeds() {
        let failing = deterministic::FaultConfig::default().sync(probability!(0.01));
        let faults = |config| vec![Action::SetStorageFault(config)];
        let restart = validators(4).into_iter().map(Action::Restart).collect();
        let sound = deterministic::FaultConfig::default();
        let outage = schedule([(1, faults(failing)), (2, faults(sound)), (3, restart)]);
        run(seed, 4, |plan| plan.crash(outage));
    }
}

#[test]
fn a_latecomer_fetches_the_state_and_then_the_blocks_from_before() {
    for seed in seeds() {
        let cluster = Cluster::new(4);
        let (late, transferred) = (validators(4).split_off(3), cluster.transferred.clone());
        let late = Crash::DelayRound {
            participants: late,
            round: Round::new(Epoch::zero(), View::new(40)),
        };
        run_on(cluster, seed, |plan| plan.crash(late));
        assert!(transferred.load(Ordering::Relaxed), "the blocks were executed from the beginning");
    }
}

#[test]
fn halves_that_are_cut_off_wait_for_each_other() {
    for seed in seeds() {
        let cut = Link { success_rate: probability!(0.0), ..GOOD };
        let validators = validators(4);
        let (left, right) = validators.split_at(2);
        let partition = schedule([(1, links(left, right, &cut)), (8, vec![Action::Heal(GOOD)])]);
        run(seed, 4, |plan| plan.crash(partition));
    }
}

#[test]
fn a_slow_network_that_loses_messages_still_agrees() {
    for seed in seeds() {
        let bad = Link {
            latency: Duration::from_millis(100),
            jitter: Duration::from_millis(80),
            success_rate: probability!(0.8),
        };
        run(seed, 4, |plan| plan.link(bad));
    }
}
