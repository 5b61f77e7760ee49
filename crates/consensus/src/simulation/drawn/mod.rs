//! Whole networks in one thread, from one seed: the engine of production on simulated clocks, disks
//! and lines, with faults and liars.
//!
//! Checked after every block of every honest node: it is the block that all others have, and it
//! follows from the genesis by the ledger's rules (executed once more, without the engine); the log of
//! each patient it concerns verifies under the node's own certificate. Checked for every receipt, as
//! soon as both are there: it proves itself and is what stands in that history. Checked at the end:
//! everything is acknowledged, stands there once, every change of members is in effect, the log of
//! every patient verifies under each validator's own certificate; no honest node stopped by itself
//! or was taken for a liar.
//!
//! `cargo xtask sim` runs many seeds; the tests below pin one scenario each.

mod client;
mod council;
mod history;
mod liar;
mod machine;
mod mock;
mod plan;
mod world;

use machine::Disk;
use plan::{Alteration, Change, Fault, Lie, Plan, Quality};
use std::panic::catch_unwind;
use world::{Report, run};

/// Runs a plan that must hold.
fn holds(plan: Plan) -> Report {
    let told = format!("{plan:?}");
    run(plan).unwrap_or_else(|wrong| panic!("{wrong}\n{told}"))
}

const CUT: Quality = Quality::CUT;

/// The validators of a network of four.
const ALL: [usize; 4] = [0, 1, 2, 3];

#[test]
fn validators_agree() {
    for size in [1, 4, 7] {
        let report = holds(Plan::quiet(size as u64, size));
        assert_eq!((report.transactions, report.acknowledged), (6 * size, 6 * size));
        assert_eq!((report.crashes, report.epochs), (0, 0));
        assert!(report.logs >= 5 * size as u64, "{report:?}");
    }
}

#[test]
fn the_same_seed_runs_the_same_way() {
    let crash = [(500, Fault::Crash(vec![1])), (900, Fault::Restart(vec![1]))];
    let plan = Plan::quiet(7, 4).with(crash).lying([(2, Lie::Twins(3, 9))]);
    assert_eq!(holds(plan.clone()), holds(plan));
}

#[test]
fn the_same_seed_runs_the_same_way_while_members_change() {
    let crash = [(500, Fault::Crash(vec![1])), (900, Fault::Restart(vec![1]))];
    let plan = changing(7).with(crash).lying([(2, Lie::Twins(3, 9))]);
    let report = holds(plan.clone());
    assert!(report.epochs > 5, "{report:?}");
    assert_eq!(report, holds(plan));
}

/// Four founders with epochs of four blocks, one of whom gets another node, which let a fifth in
/// and a founder go.
fn changing(seed: u64) -> Plan {
    let plan = Plan::quiet(seed, 4).epochs_of(4);
    plan.then(Change::Rotate(0, 4)).then(Change::Admit(5)).then(Change::Remove(1))
}

#[test]
fn members_change_whatever_breaks() {
    let all: Vec<usize> = (0..6).collect();
    let cut = |one: &[usize], other: &[usize]| {
        let way = |from: &[usize], to: &[usize]| Fault::Lines(from.to_vec(), to.to_vec(), CUT);
        [(500, way(one, other)), (500, way(other, one))]
    };
    let bad = Quality { latency: 100, jitter: 80, arrives: 80 };
    let disk = |disk| (600, Fault::Disk(1, disk));
    let plans = [
        changing(1),
        changing(2).with([(800, Fault::Crash(all.clone())), (2_000, Fault::Restart(all.clone()))]),
        changing(3).with([(1_500, Fault::PowerCut), (4_000, Fault::PowerCut)]),
        changing(4).with(cut(&[0, 1, 4], &[2, 3, 5])),
        changing(5).with(cut(&[2], &[0, 1, 3, 4, 5])),
        changing(6).with([(500, Fault::Lines(vec![2], vec![0, 1, 3, 4, 5], CUT))]),
        changing(7).with([(0, Fault::Lines(all.clone(), all, bad))]),
        changing(8).with([disk(Disk::Full)]),
        changing(9).with([disk(Disk::BadFlushes(20))]),
        changing(10).with([disk(Disk::TornWrites(50))]),
        Plan {
            at_height: (2..20).zip((2..6).chain(0..2).cycle().map(|node| (node, 300))).collect(),
            ..changing(11)
        },
        Plan { clocks: vec![0, 0, 600_000, 0, 0, 0], ..changing(12) },
        Plan { clocks: vec![0, 0, -600_000, 0, 0, 0], ..changing(13) },
    ];
    for plan in plans {
        let report = holds(plan);
        assert!(report.epochs > 5, "{report:?}");
    }
}

#[test]
fn members_change_whoever_lies() {
    let lies = [
        Lie::Twins(0b00_0011, 0b11_1110),
        Lie::Conflicter,
        Lie::Nuller,
        Lie::Outdated,
        Lie::Impersonator,
        Lie::Withholds(0b01_0010),
        Lie::LeavesOut(2),
        Lie::Garbles,
        Lie::Silent,
    ];
    let altered = plan::ALTERATIONS.into_iter().map(Lie::Alters);
    for (seed, lie) in (0..).zip(lies.into_iter().chain(altered)) {
        let plan = Plan::quiet(seed, 4).epochs_of(5);
        // The liar itself gets a new node, which is honest; what it says until then is a lie.
        let plan = plan.then(Change::Admit(4)).then(Change::Remove(1)).then(Change::Rotate(3, 5));
        holds(plan.lying([(3, lie)]));
    }
}

#[test]
fn a_node_that_lies_from_its_admission_on_changes_nothing() {
    for (seed, lie) in (0..).zip([Lie::Twins(0b0_0110, 0b1_1001), Lie::Conflicter, Lie::Silent]) {
        let plan = Plan::quiet(seed, 4).epochs_of(4).then(Change::Admit(4));
        holds(plan.then(Change::Rotate(0, 5)).lying([(4, lie)]));
    }
}

/// It asks everybody for the state and for the blocks before; two founders garble what they answer, and
/// it stops in the middle of it.
#[test]
fn a_latecomer_fetches_the_past_whoever_lies_and_whenever_it_stops() {
    for (seed, stop) in (0..).zip([100, 400, 700, 1_000, 1_500]) {
        let mut plan = Plan::quiet(seed, 7).epochs_of(5).then(Change::Admit(7));
        plan.per_client = 12;
        plan.late = [(7, 6_000)].into();
        let stops = [(6_000 + stop, Fault::Crash(vec![7])), (9_000, Fault::Restart(vec![7]))];
        holds(plan.with(stops).lying([(1, Lie::Garbles), (5, Lie::Garbles)]));
    }
}

/// Each who comes asks more than may lie, and those who lie name what was final long ago.
#[test]
fn who_names_an_old_end_of_the_chain_stops_nobody() {
    for seed in 0..4 {
        let mut plan = Plan::quiet(seed, 7).epochs_of(5);
        plan = plan.then(Change::Admit(7)).then(Change::Admit(8));
        (plan.per_client, plan.late) = (12, [(7, 2_000), (8, 8_000)].into());
        let stops = [(3_000, Fault::Crash(vec![7])), (9_000, Fault::Restart(vec![7]))];
        holds(plan.with(stops).lying([(1, Lie::Stale), (5, Lie::Stale)]));
    }
}

/// Two of two must vote, and the second has yet to fetch what was before it came.
#[test]
fn a_newcomer_whose_vote_is_needed_votes_as_soon_as_it_has_all_blocks() {
    for (seed, late) in (0..).zip([0, 1_000, 3_000, 6_000, 9_000]) {
        let mut plan = Plan::quiet(seed, 1).epochs_of(4).then(Change::Admit(1));
        (plan.per_client, plan.late) = (12, [(1, late)].into());
        holds(plan);
    }
}

/// Nodes may also execute all that was before they came, as those do who are restored from a backup.
#[test]
fn latecomers_execute_the_past() {
    for seed in 0..2 {
        let mut plan = Plan::quiet(seed, 4).epochs_of(4).then(Change::Admit(4));
        (plan.fetches, plan.late) = (false, [(4, 4_000)].into());
        holds(plan.then(Change::Rotate(1, 5)));
    }
}

/// A node that missed the votes for the last block of an epoch proves the change of validators with
/// what others have; without it, no receipt of a later epoch can be given there.
#[test]
fn who_missed_the_end_of_an_epoch_gives_receipts_nevertheless() {
    let mut plan = Plan::quiet(1_758, 7).epochs_of(4);
    plan = plan.then(Change::Rotate(3, 7)).then(Change::Rotate(2, 8));
    for (change, time) in plan.changes.iter_mut().zip([2_129, 5_546]) {
        change.0 = time;
    }
    plan.per_client = 4;
    plan.clocks = vec![1_488, -337_909, 444_741, -1_785, 66, 532, 1_541, -666, -1_643];
    plan.late = [(7, 10_450), (8, 7_375)].into();
    let disks = |time, disk| (0..9).map(move |node| (time, Fault::Disk(node, disk)));
    holds(plan.with(disks(1_982, Disk::TornWrites(400))).with(disks(9_569, Disk::Sound)));
}

/// Nobody votes in the new epoch who could tell the only one who may that it has begun.
#[test]
fn a_network_waits_for_its_only_validator() {
    let mut plan = Plan::quiet(1, 1).epochs_of(2).then(Change::Rotate(0, 1));
    plan.late = [(1, 9_000)].into();
    holds(plan);
}

#[test]
fn a_single_validator_lets_others_in_and_leaves() {
    let mut plan = Plan::quiet(1, 1).epochs_of(3);
    for change in [Change::Admit(1), Change::Admit(2), Change::Admit(3), Change::Remove(0)] {
        plan = plan.then(change);
    }
    plan.late = [(1, 900), (2, 4_000)].into();
    holds(plan);
}

#[test]
fn a_network_survives_the_crash_of_all() {
    let crash = [(800, Fault::Crash(ALL.to_vec())), (2_000, Fault::Restart(ALL.to_vec()))];
    assert_eq!(holds(Plan::quiet(1, 4).with(crash)).crashes, 4);
}

#[test]
fn a_network_survives_a_power_cut() {
    for seed in 0..4 {
        holds(Plan::quiet(seed, 4).with([(1_000 + 31 * seed, Fault::PowerCut)]));
    }
}

#[test]
fn a_validator_survives_a_crash_at_each_height_of_a_window() {
    for victim in ALL {
        let mut plan = Plan::quiet(victim as u64, 4);
        plan.at_height = (2..10).map(|height| (height, (victim, 100 * height))).collect();
        assert!(holds(plan).crashes > 3);
    }
}

#[test]
fn partitions_wait_for_each_other() {
    let halves = [
        (500, Fault::Lines(vec![0, 1], vec![2, 3], CUT)),
        (500, Fault::Lines(vec![2, 3], vec![0, 1], CUT)),
    ];
    let alone = [
        (500, Fault::Lines(vec![0], vec![1, 2, 3], CUT)),
        (500, Fault::Lines(vec![1, 2, 3], vec![0], CUT)),
    ];
    let one_way = [(500, Fault::Lines(vec![0], vec![1, 2, 3], CUT))];
    holds(Plan::quiet(1, 4).with(halves));
    holds(Plan::quiet(2, 4).with(alone));
    holds(Plan::quiet(3, 4).with(one_way));
}

#[test]
fn a_slow_network_that_loses_messages_agrees() {
    let bad = Quality { latency: 100, jitter: 80, arrives: 80 };
    holds(Plan::quiet(1, 4).with([(0, Fault::Lines(ALL.to_vec(), ALL.to_vec(), bad))]));
}

#[test]
fn bad_disks_stop_their_validators_and_lose_nothing() {
    for disk in [Disk::Full, Disk::BadFlushes(20), Disk::TornWrites(50)] {
        let of_one = [(600, Fault::Disk(1, disk))];
        assert!(holds(Plan::quiet(1, 4).with(of_one)).crashes > 0, "{disk:?}");
        let of_all = ALL.map(|number| (600, Fault::Disk(number, disk)));
        assert!(holds(Plan::quiet(2, 4).with(of_all)).crashes > 0, "{disk:?}");
    }
}

#[test]
fn clocks_off_by_minutes_stop_nothing() {
    for minutes in [-10, -1, 1, 10] {
        let mut plan = Plan::quiet(1, 4);
        plan.clocks[2] = minutes * 60_000;
        holds(plan);
    }
}

#[test]
fn one_liar_of_four_changes_nothing() {
    let lies = [
        Lie::Twins(0b0011, 0b1110),
        Lie::Twins(0b1111, 0b1111),
        Lie::Conflicter,
        Lie::Nuller,
        Lie::Outdated,
        Lie::Impersonator,
        Lie::Withholds(0b0010),
        Lie::Silent,
    ];
    for lie in lies {
        holds(Plan::quiet(1, 4).lying([(3, lie)]));
    }
}

#[test]
fn a_leader_that_leaves_out_an_author_cannot_keep_the_author_out() {
    for liar in [0, 3] {
        let report = holds(Plan::quiet(1, 4).lying([(liar, Lie::LeavesOut(1))]));
        // As many as there are leaders: all others take it along.
        assert!(report.blocks[1] <= 4, "{report:?}");
    }
}

/// The others wait for as many blocks as without the flood. Those are full, and simulated time passes
/// with every read from a disk, so that each takes longer here.
#[test]
fn who_floods_delays_only_themselves() {
    let mut plan = Plan::quiet(1, 4);
    plan.per_client = 60;
    let quiet = holds(plan.clone());
    let flooded = holds(plan.with([(1_000, Fault::Flood(0, 3_000))]));
    assert!(flooded.transactions > 3_000);
    assert!(flooded.blocks[1..].iter().all(|blocks| *blocks <= 3), "{flooded:?}");
    for (wait, usual) in flooded.waits.iter().zip(&quiet.waits).skip(1) {
        assert!(*wait < usual + 4_000, "{flooded:?} {quiet:?}");
    }
}

#[test]
fn who_invents_authors_delays_nobody() {
    let mut plan = Plan::quiet(1, 4);
    plan.per_client = 40;
    let report = holds(plan.lying([(3, Lie::Invents)]));
    assert!(report.blocks[..3].iter().all(|blocks| *blocks <= 3), "{report:?}");
}

/// A transaction that its author signed with a key that does not hold any more leaves every pool.
#[test]
fn what_was_signed_with_an_old_key_is_forgotten() {
    let plan = Plan::quiet(1, 4).epochs_of(4).then(Change::Rotate(0, 4));
    holds(plan.with([(12_000, Fault::Flood(0, 20)), (12_000, Fault::Flood(4, 20))]));
}

#[test]
fn altered_blocks_get_no_votes() {
    for alteration in plan::ALTERATIONS {
        holds(Plan::quiet(1, 4).lying([(1, Lie::Alters(alteration))]));
    }
}

#[test]
fn two_liars_of_seven_change_nothing() {
    let twins = Lie::Twins(0b000_1111, 0b111_1000);
    let others = [
        twins,
        Lie::Conflicter,
        Lie::Withholds(0b101),
        Lie::Alters(Alteration::State),
        Lie::Alters(Alteration::Block),
        Lie::Alters(Alteration::Future),
    ];
    for other in others {
        holds(Plan::quiet(1, 7).lying([(0, twins), (4, other)]));
        let changing = Plan::quiet(2, 7).epochs_of(5).then(Change::Rotate(1, 7));
        holds(changing.lying([(0, twins), (4, other)]));
    }
}

/// Runs the seeds of `AEGLE_SIM_SEEDS` (`first..end`), until one fails or `AEGLE_SIM_SECONDS` are
/// over. A line per failure and one at the end; `cargo xtask sim` reads them. With `AEGLE_SIM_TELL` a
/// line for each seed that holds, too.
#[test]
#[ignore = "driven by `cargo xtask sim`"]
fn seeds() {
    let seeds = std::env::var("AEGLE_SIM_SEEDS").unwrap_or_else(|_| "0..20".to_owned());
    let (first, end) = seeds.split_once("..").expect("`AEGLE_SIM_SEEDS` is `first..end`");
    let seeds = first.parse::<u64>().unwrap()..end.parse().unwrap();
    let seconds = std::env::var("AEGLE_SIM_SECONDS").ok().map(|it| it.parse::<u64>().unwrap());
    let began = std::time::Instant::now();
    std::panic::set_hook(Box::new(|_| {}));
    let tell = std::env::var_os("AEGLE_SIM_TELL").is_some();
    let mut ran = 0;
    for seed in seeds {
        if seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds) {
            break;
        }
        let outcome = catch_unwind(|| run(Plan::draw(seed)));
        let outcome = outcome.unwrap_or_else(|panic| Err(machine::message(&*panic)));
        match outcome {
            Ok(report) if tell => println!("{seed}: {report:?}"),
            Ok(_) => {}
            Err(wrong) => println!("FAILED {seed}: {wrong}\n  {:?}", Plan::draw(seed)),
        }
        ran += 1;
    }
    println!("RAN {ran}");
}
