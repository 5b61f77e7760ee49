//! Everything that a node could try with a receipt or a log, each try caught and called by its name.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod chain;
mod world;

use aegle_access::Decision;
use aegle_ledger::fixture::{Network, bytes, flip};
use aegle_ledger::*;
use aegle_model::*;
use world::{MINE, OTHERS, World, key, linked};

/// Who catches cheats, and how many so far.
struct Checker {
    genesis: Genesis,
    caught: usize,
}

impl Checker {
    #[track_caller]
    fn receipt(&mut self, receipt: Receipt, names: &[&str]) {
        let error = receipt.verify(&self.genesis).expect_err("a cheat passed");
        self.named(error.cheat(), names);
    }

    #[track_caller]
    fn log(&mut self, log: PatientLog, names: &[&str]) {
        let error = log.verify(&self.genesis).expect_err("a cheat passed");
        self.named(error.cheat(), names);
    }

    /// The log with its entries changed.
    #[track_caller]
    fn entries(
        &mut self,
        log: &PatientLog,
        names: &[&str],
        change: impl FnOnce(&mut Vec<LogEntry>),
    ) {
        let mut cheated = log.clone();
        change(&mut cheated.entries);
        self.log(cheated, names);
    }

    /// A receipt and a log with their anchor changed.
    #[track_caller]
    fn anchor(&mut self, world: &World, names: &[&str], change: impl Fn(&mut Anchor)) {
        let mut receipt = world.receipts[3].clone();
        change(&mut receipt.anchor);
        self.receipt(receipt, names);
        let mut log = world.log.clone();
        change(&mut log.anchor);
        self.log(log, names);
    }

    #[track_caller]
    fn named(&mut self, cheat: &str, names: &[&str]) {
        assert!(names.contains(&cheat), "{cheat} instead of {names:?}");
        self.caught += 1;
    }
}

#[test]
fn what_is_honest_passes() {
    let world = World::new(4);
    for receipt in &world.receipts {
        receipt.clone().verify(&world.network.genesis).unwrap();
    }
    for patient in [MINE, OTHERS] {
        let verified = world.network.log(patient).verify(&world.network.genesis).unwrap();
        assert_eq!(verified.log().entries.len(), 13);
    }
    world.linked_log.clone().verify(&world.network.genesis).unwrap();
    world.linked_receipt.clone().verify(&world.network.genesis).unwrap();
}

#[test]
fn a_thousand_cheats_and_more_are_caught_by_name() {
    let world = World::new(4);
    let mut checker = Checker { genesis: world.network.genesis.clone(), caught: 0 };
    let families: [fn(&World, &mut Checker); 10] =
        [dropped, repeated, reordered, altered, strangers, paths, receipts, votes, headers, forks];
    for family in families {
        family(&world, &mut checker);
    }
    println!("{} cheats, all caught", checker.caught);
    assert!(checker.caught >= 1_000, "{}", checker.caught);
}

fn dropped(world: &World, checker: &mut Checker) {
    for from in 0..13 {
        for until in from + 1..=13 {
            checker.entries(&world.log, &["missing-entry"], |entries| {
                drop(entries.drain(from..until));
            });
        }
    }
}

fn repeated(world: &World, checker: &mut Checker) {
    for entry in 0..13 {
        for place in 0..=13 {
            checker.entries(&world.log, &["repeated-entry"], |entries| {
                entries.insert(place, entries[entry].clone());
            });
        }
    }
}

fn reordered(world: &World, checker: &mut Checker) {
    for one in 0..13 {
        for other in 0..one {
            checker.entries(&world.log, &["reordered-entry"], |entries| entries.swap(one, other));
            checker.entries(&world.log, &["reordered-entry"], |entries| {
                entries[other..=one].rotate_left(1);
            });
        }
    }
    checker.entries(&world.log, &["reordered-entry"], |entries| entries.reverse());
}

fn altered(world: &World, checker: &mut Checker) {
    for entry in 0..13 {
        for bit in (0..world.log.entries[entry].transaction.to_bytes().len() * 8).step_by(97) {
            let Some(changed) = flip(&world.log.entries[entry].transaction, bit) else { continue };
            checker.entries(&world.log, &["altered-entry"], |entries| {
                entries[entry].transaction = changed;
            });
        }
        for outcome in other_outcomes(&world.log.entries[entry].outcome) {
            checker.entries(&world.log, &["altered-entry"], |entries| {
                entries[entry].outcome = outcome;
            });
        }
        // No author signs these two, and the blocks between two entries are not at hand.
        let places = ["altered-entry", "reordered-entry", "late-entry", "missing-entry"];
        for by in [1, 2, 5, 1_000, u64::MAX / 2] {
            checker.entries(&world.log, &places, |entries| entries[entry].height += by);
            checker.entries(&world.log, &places, |entries| entries[entry].time.0 += by);
            checker.entries(&world.log, &places, |entries| {
                entries[entry].height += by;
                entries[entry].time.0 += by;
            });
        }
    }
}

/// All kinds of outcome but the given one.
fn other_outcomes(given: &Outcome) -> Vec<Outcome> {
    let granted = |cells| Outcome::Decided(Decision { granted: vec![Bits::first(cells).unwrap()] });
    let mut outcomes: Vec<_> = (0..6).map(granted).collect();
    outcomes.push(Outcome::Decided(Decision { granted: Vec::new() }));
    outcomes.push(Outcome::Done);
    outcomes.push(Outcome::Rejected(Rejection::Decided));
    outcomes.retain(|outcome| outcome != given);
    outcomes
}

fn strangers(world: &World, checker: &mut Checker) {
    let elsewhere = World::new(5);
    for foreign in [world.network.log(OTHERS), elsewhere.log.clone()] {
        for entry in &foreign.entries {
            for place in 0..=13 {
                checker.entries(&world.log, &["foreign-entry"], |entries| {
                    entries.insert(place, entry.clone());
                });
            }
            // A delivery names only its request: in the place of another entry it gives away no more
            // than that it is not the one.
            let replaced: &[&str] = match entry.transaction.body() {
                Body::Deliver(_) => &["missing-entry", "reordered-entry", "foreign-entry"],
                _ => &["foreign-entry"],
            };
            for place in 0..13 {
                checker.entries(&world.log, replaced, |entries| entries[place] = entry.clone());
            }
        }
    }
    let mut renamed = world.log.clone();
    renamed.patient = OTHERS;
    checker.log(renamed, &["foreign-entry"]);
    checker.entries(&world.log, &["foreign-entry"], |entries| {
        *entries = world.network.log(OTHERS).entries;
    });
    let catalogue = world.network.blocks[1].entries[0].0.clone();
    checker.entries(&world.log, &["foreign-entry"], |entries| entries[0].transaction = catalogue);
    checker.log(elsewhere.log.clone(), &["foreign-network"]);
    for receipt in &elsewhere.receipts {
        checker.receipt(receipt.clone(), &["foreign-network"]);
    }
}

fn paths(world: &World, checker: &mut Checker) {
    let mut path = |names: &[&str], change: &dyn Fn(&mut HeadProof)| {
        let mut log = world.log.clone();
        change(&mut log.head);
        checker.log(log, names);
    };
    for sibling in 0..4 {
        path(&["broken-path"], &|head| {
            head.siblings.remove(sibling);
        });
        path(&["broken-path"], &|head| head.siblings.insert(sibling, Hash::ZERO));
        path(&["missing-entry"], &|head| head.siblings[sibling] = Hash::sha256(&[b"other"]));
    }
    path(&["broken-path"], &|head| head.patients = 0);
    path(&["broken-path"], &|head| head.patients = 17);
    path(&["broken-path"], &|head| head.index = head.patients);
    path(&["missing-entry"], &|head| head.patients += 1);
    path(&["missing-entry"], &|head| head.index = 1);
    path(&["missing-entry"], &|head| *head = world.network.log(OTHERS).head);
}

fn receipts(world: &World, checker: &mut Checker) {
    let receipts = &world.receipts;
    for (number, receipt) in receipts.iter().enumerate() {
        let mut cheat = |change: &dyn Fn(&mut Receipt)| {
            let mut cheated = receipt.clone();
            change(&mut cheated);
            checker.receipt(cheated, &["not-in-block"]);
        };
        for other in receipts[..number].iter().chain(&receipts[number + 1..]) {
            cheat(&|cheated| cheated.transaction = other.transaction.clone());
            cheat(&|cheated| cheated.anchor = other.anchor.clone());
        }
        for outcome in other_outcomes(&receipt.outcome) {
            cheat(&|cheated| cheated.outcome = outcome.clone());
        }
        for bit in (0..receipt.transaction.to_bytes().len() * 8).step_by(331) {
            let Some(changed) = flip(&receipt.transaction, bit) else { continue };
            cheat(&|cheated| cheated.transaction = changed.clone());
        }
        cheat(&|cheated| cheated.proof.index += 1);
        cheat(&|cheated| cheated.proof.size += 1);
        cheat(&|cheated| cheated.proof.size = 0);
        cheat(&|cheated| cheated.proof.path.push(Hash::ZERO));
        cheat(&|cheated| cheated.proof.size = u32::MAX);
    }
}

fn votes(world: &World, checker: &mut Checker) {
    for count in 0..3 {
        checker.anchor(world, &["too-few-votes"], |anchor| {
            anchor.certificate.signatures.truncate(count);
        });
        checker.anchor(world, &["too-few-votes"], |anchor| {
            anchor.certificate.signers = Bits::first(count).unwrap();
        });
    }
    for foreign in [4, 5, 100, 255] {
        checker.anchor(world, &["foreign-signer"], |anchor| {
            anchor.certificate.signers = Bits::from_iter([0, 1, foreign]);
        });
    }
    checker.anchor(world, &["unpaired-votes"], |anchor| {
        anchor.certificate.signers = Bits::first(4).unwrap();
    });
    for vote in 0..3 {
        let stranger = SigningKey::from_seed(&[99; 32]);
        checker.anchor(world, &["bad-signature"], |anchor| {
            let digest = anchor.header.digest();
            let signed = anchor.certificate.vote(world.network.genesis.network(), &digest);
            anchor.certificate.signatures[vote] = stranger.sign_raw(&signed);
        });
        checker.anchor(world, &["bad-signature"], |anchor| {
            anchor.certificate.signatures[vote] = anchor.certificate.signatures[(vote + 1) % 3];
        });
        checker.anchor(world, &["unpaired-votes"], |anchor| {
            let again = anchor.certificate.signatures[vote];
            anchor.certificate.signatures.push(again);
        });
        checker.anchor(world, &["bad-signature"], |anchor| {
            anchor.certificate.signers = (0..4).filter(|signer| *signer != vote).collect();
        });
    }
    checker.anchor(world, &["bad-signature"], |anchor| anchor.certificate.epoch += 1);
    checker.anchor(world, &["bad-signature"], |anchor| anchor.certificate.view += 1);
    checker.anchor(world, &["bad-signature"], |anchor| anchor.certificate.parent_view += 1);
    checker.anchor(world, &["bad-signature"], |anchor| {
        anchor.certificate = world.network.anchor(1).certificate;
    });
}

/// What an altered header is caught by: it names its epoch and its validators, too.
const ALTERED: [&str; 3] = ["bad-signature", "broken-chain", "stale-validators"];

/// Every way to change a header but its network.
const HEADER_CHANGES: [fn(&mut Header); 10] = [
    |header| header.version += 1,
    |header| header.epoch += 1,
    |header| header.height += 1,
    |header| header.parent = Hash::ZERO,
    |header| header.time.0 += 1,
    |header| header.transactions = Hash::ZERO,
    |header| header.heads = Hash::ZERO,
    |header| header.state = Hash::ZERO,
    |header| header.validators = Hash::ZERO,
    |header| header.engine = Hash::ZERO,
];

fn headers(world: &World, checker: &mut Checker) {
    let foreign = |header: &mut Header| header.network = NetworkId::from_array(bytes(1));
    checker.anchor(world, &["foreign-network"], |anchor| foreign(&mut anchor.header));
    for change in HEADER_CHANGES {
        checker.anchor(world, &ALTERED, |anchor| change(&mut anchor.header));
    }
    let mut linked = |names: &[&str], change: &dyn Fn(&mut Anchor)| {
        let (mut log, mut receipt) = (world.linked_log.clone(), world.linked_receipt.clone());
        change(&mut log.anchor);
        checker.log(log, names);
        change(&mut receipt.anchor);
        checker.receipt(receipt, names);
    };
    for change in HEADER_CHANGES {
        linked(&["broken-chain"], &|anchor| change(&mut anchor.header));
        linked(&["broken-chain"], &|anchor| change(&mut anchor.links[0]));
        // The parent and the height of the last header are what makes it follow.
        linked(&ALTERED, &|anchor| change(&mut anchor.links[1]));
    }
    linked(&["foreign-network"], &|anchor| foreign(&mut anchor.header));
    linked(&["broken-chain"], &|anchor| foreign(&mut anchor.links[0]));
    linked(&["broken-chain"], &|anchor| {
        anchor.links.remove(0);
    });
    linked(&["bad-signature"], &|anchor| {
        anchor.links.remove(1);
    });
    linked(&["broken-chain"], &|anchor| anchor.links.swap(0, 1));
    linked(&["broken-chain"], &|anchor| anchor.links.push(anchor.links[1].clone()));
    linked(&["broken-chain"], &|anchor| anchor.links.insert(0, anchor.header.clone()));
    linked(&["bad-signature"], &|anchor| anchor.links.clear());
    // Votes for an older header prove nothing about a newer log.
    for height in 1..world.log.anchor.header.height {
        let mut old = world.log.clone();
        old.anchor = world.network.anchor(height);
        checker.log(old, &["late-entry", "missing-entry"]);
    }
}

/// The same centres with another history, in which nobody ever asked: fewer than a quorum signs it.
fn forks(world: &World, checker: &mut Checker) {
    let mut fork = Network::new(4).with_patient(0, MINE, &key());
    while fork.tip().height < world.log.anchor.header.height {
        let patient = PatientId::from_array(bytes(fork.tip().height));
        fork.submit(0, Body::Enrol(Enrol { patient, commitment: Hash::ZERO }));
    }
    let honest = &world.log.anchor.certificate;
    let forged = |change: &dyn Fn(&mut Certificate)| {
        let mut log = fork.log(MINE);
        change(&mut log.anchor.certificate);
        let mut receipt = fork.receipt(&log.entries[0].transaction.id());
        change(&mut receipt.anchor.certificate);
        (log, receipt)
    };
    let mut try_with = |names: &[&str], change: &dyn Fn(&mut Certificate)| {
        let (log, receipt) = forged(change);
        checker.log(log, names);
        checker.receipt(receipt, names);
    };
    for liars in 0..3 {
        try_with(&["too-few-votes"], &|votes| {
            votes.signers = Bits::first(liars).unwrap();
            votes.signatures.truncate(liars);
        });
        try_with(&["bad-signature"], &|votes| {
            votes.signatures[liars..].clone_from_slice(&honest.signatures[liars..]);
        });
        try_with(&["unpaired-votes", "too-few-votes"], &|votes| votes.signatures.truncate(liars));
        try_with(&["foreign-signer"], &|votes| {
            votes.signers = (0..liars).chain(10..13 - liars).collect();
        });
    }
    try_with(&["bad-signature"], &|votes| *votes = honest.clone());
    // Liars who put headers of their own on top of a final one.
    let mut log = world.linked_log.clone();
    log.anchor.links[1] = fork.tip().clone();
    checker.log(log, &["broken-chain"]);
    // Headers of the fork under the honest log's votes.
    let mut log = fork.log(MINE);
    log.anchor = linked(&fork, log.anchor.header.height - 2);
    log.anchor.certificate = honest.clone();
    checker.log(log, &["bad-signature"]);
}

#[test]
fn a_flipped_bit_anywhere_is_caught() {
    let world = World::new(4);
    let genesis = &world.network.genesis;
    let (receipt, log) = (world.linked_receipt.to_bytes(), world.linked_log.to_bytes());
    let receipts = damaged(&receipt)
        .filter(|bytes| Receipt::from_bytes(bytes).is_ok_and(|it| it.verify(genesis).is_ok()));
    assert_eq!(receipts.count(), 0);
    let logs = damaged(&log)
        .filter(|bytes| PatientLog::from_bytes(bytes).is_ok_and(|it| it.verify(genesis).is_ok()));
    assert_eq!(logs.count(), 0);
}

/// The bytes with one bit of each flipped, each time another one; cut short; and with one more.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..bytes.len()).map(|place| {
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 1 << (place % 8);
        flipped
    });
    let cut = (0..bytes.len()).step_by(50).map(|length| bytes[..length].to_vec());
    flipped.chain(cut).chain([[bytes, &[0]].concat()])
}
