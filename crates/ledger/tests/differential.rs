//! Three ways to one state: blocks as they are proposed, as they are checked, and as a backup is replayed.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_ledger::fixture::{Network, mix::Mix};
use aegle_ledger::*;
use std::collections::BTreeSet;

/// The names of all outcomes that so many generated transactions have, after a comparison of the ways.
fn compare(count: usize, seed: u64) -> BTreeSet<String> {
    let mut network = Network::new(4);
    let mut mix = Mix::new(&network.genesis, &network.keys, seed);
    let mut outcomes = BTreeSet::new();
    let (mut left, mut size) = (count, 1);
    while left > 0 {
        size = (size * 7 % 101).min(left);
        let transactions: Vec<_> = (0..size).map(|_| mix.next(LIFETIME_MAX)).collect();
        let proposed = propose(&network, &transactions);
        let checked = network.try_execute(&transactions).unwrap();
        assert_eq!(proposed, checked);
        let committed = network.commit(&transactions);
        outcomes.extend(transactions.iter().zip(&committed).map(|(transaction, outcome)| {
            let kind = kind(transaction.body());
            match outcome {
                Outcome::Decided(decision) => format!("{kind}: decided, {}", decision.permits()),
                other => format!("{kind}: {other:?}"),
            }
        }));
        left -= size;
    }
    replay(&network, count);
    outcomes
}

/// What a body is called.
fn kind(body: &Body) -> String {
    let name = format!("{body:?}");
    name.split(|letter: char| !letter.is_alphabetic()).next().unwrap().to_owned()
}

/// The execution of the next block as its proposer does it.
fn propose(network: &Network, candidates: &[Transaction]) -> Execution {
    let (parent, mut loaded) = (network.tip(), Loaded::default());
    let time = aegle_model::Timestamp(parent.time.0 + 10);
    loop {
        match build(&loaded, parent, time, candidates) {
            Err(Stop::Needs(keys)) => {
                for key in keys {
                    loaded.add(key, network.bytes(&key));
                }
            }
            done => return done.unwrap(),
        }
    }
}

/// Writes a backup and replays it.
fn replay(network: &Network, count: usize) {
    let mut check = ChainCheck::new(&network.genesis);
    for blocks in network.blocks[1..].chunks(10) {
        let certified = |block: &Block| {
            let certificate = Some(network.anchor(block.header.height).certificate);
            CertifiedBlock { block: block.clone(), certificate }
        };
        let segment = write_segment(blocks.iter().map(certified).collect()).unwrap();
        check.take(&read_segment(&segment).unwrap()).unwrap();
    }
    let replayed = check.finish().unwrap();
    assert_eq!(replayed.tip, *network.tip());
    assert_eq!(replayed.transactions, count as u64);
}

#[test]
fn a_thousand_transactions_lead_to_one_state_whatever_the_way() {
    let outcomes = compare(1_500, 1);
    let reasons = outcomes.iter().filter_map(|outcome| outcome.split_once(": Rejected"));
    let reasons: BTreeSet<_> = reasons.map(|(_, why)| why).collect();
    // All but too many rules, returns and proposals, which take a test of their own, and newcomers.
    assert_eq!(reasons.len(), 19, "{reasons:?}");
    let applied = outcomes.iter().filter(|outcome| !outcome.contains("Rejected"));
    let applied: Vec<_> = applied.map(String::as_str).collect();
    assert_eq!(
        applied,
        [
            "Deliver: Done",
            "Disclose: decided, false",
            "Disclose: decided, true",
            "Enrol: Done",
            "Erase: Done",
            "Grant: Done",
            "Late: decided, true",
            "Link: Done",
            "Propose: Done",
            "Publish: Done",
            "Restore: Done",
            "Revoke: Done",
            "Vote: Done",
        ]
    );
}

#[test]
#[ignore = "takes minutes; run it after a change to execution or to a format"]
fn a_hundred_thousand_transactions_lead_to_one_state_whatever_the_way() {
    compare(100_000, 2);
}
