//! Members change the network by vote, and proofs follow them through every change.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_access::Policy;
use aegle_ledger::fixture::{Network, bytes, centre, flip};
use aegle_ledger::*;
use aegle_model::*;
use proptest::prelude::*;

const EPOCH: u64 = 10;

fn network() -> Network {
    Network::with_epochs(4, Epochs::new(EPOCH).unwrap())
}

fn member(seed: u8) -> (Member, SigningKey) {
    let key = SigningKey::from_seed(&[seed; 32]);
    (Member { centre: centre(&key, seed), address: format!("c{seed}.example:4000") }, key)
}

fn propose(network: &mut Network, author: usize, change: Amendment) -> (TxId, Outcome) {
    let transaction = network.sign(author, Body::Propose(Box::new(Propose { change })));
    let outcome = network.commit(std::slice::from_ref(&transaction)).remove(0);
    (transaction.id(), outcome)
}

/// Three of four founders agree.
fn agree(network: &mut Network, change: Amendment) -> TxId {
    let (proposal, outcome) = propose(network, 0, change);
    assert_eq!(outcome, Outcome::Done);
    for voter in [1, 2] {
        let vote = Body::Vote(Vote { proposal, agree: true });
        assert_eq!(network.submit(voter, vote), Outcome::Done);
    }
    assert_eq!(stage(network, proposal), Stage::Agreed);
    proposal
}

fn stage(network: &Network, proposal: TxId) -> Stage {
    network.record::<ProposalRecord>(keys::proposal(&proposal)).unwrap().stage
}

fn record(network: &Network) -> NetworkRecord {
    network.record(keys::network()).unwrap()
}

fn enrol(number: u64) -> Body {
    let patient = PatientId::from_array(bytes(number));
    Body::Enrol(Enrol { patient, commitment: Hash::ZERO })
}

/// Whether a transaction of `id` under `key` may stand in the next block.
fn may_author(network: &mut Network, id: CentreId, key: &SigningKey) -> bool {
    let number = network.tip().height;
    let transaction = network.sign_as(id, key, enrol(number));
    network.try_execute(&[transaction]).is_ok()
}

#[test]
fn a_centre_that_is_admitted_follows_for_an_epoch_and_then_votes() {
    let mut network = network();
    let (member, key) = member(50);
    let id = member.centre.id;
    network.keys.push(key.clone());
    let proposal = agree(&mut network, Amendment::Admit(member));
    assert!(!may_author(&mut network, id, &key), "not before the epoch ends");
    network.end_epoch();
    assert_eq!(stage(&network, proposal), Stage::Done(EPOCH - 1));
    assert!(may_author(&mut network, id, &key));
    assert_eq!((record(&network).newcomers, record(&network).validators.len()), (vec![id], 4));
    let vote = network.sign_as(id, &key, Body::Vote(Vote { proposal, agree: true }));
    assert_eq!(network.commit(&[vote]), [Outcome::Rejected(Rejection::NoVote)]);
    network.end_epoch();
    let record = record(&network);
    assert!(record.newcomers.is_empty() && record.validators.contains(&key.public()));
    assert_eq!(record.voters().len(), 5);
}

#[test]
fn a_centre_that_is_removed_says_nothing_more() {
    let mut network = network();
    let (id, key) = (network.id(3), network.keys[3].clone());
    let (orphan, _) = propose(&mut network, 3, Amendment::Policy(Policy { emergency: false }));
    agree(&mut network, Amendment::Remove(id));
    assert!(may_author(&mut network, id, &key));
    network.end_epoch();
    assert!(!may_author(&mut network, id, &key));
    assert_eq!(stage(&network, orphan), Stage::Withdrawn);
    assert!(!record(&network).validators.contains(&key.public()));
    // It serves those who lag for two epochs.
    for leavers in [1, 1, 0] {
        assert_eq!(record(&network).leavers.len(), leavers);
        network.end_epoch();
    }
    // It can come back, as who it was.
    let member = Member { centre: network.genesis.centres[3].clone(), address: "c:1".to_owned() };
    let (proposal, _) = propose(&mut network, 0, Amendment::Admit(member));
    for voter in [1, 2] {
        network.submit(voter, Body::Vote(Vote { proposal, agree: true }));
    }
    network.end_epoch();
    assert!(may_author(&mut network, id, &key));
}

#[test]
fn a_member_takes_new_keys() {
    let mut network = network();
    let (id, old, new) = (network.id(3), network.keys[3].clone(), member(50).1);
    let centre = Centre { key: new.public(), ..network.genesis.centres[3].clone() };
    agree(&mut network, Amendment::Rotate(Member { centre, address: "c:1".to_owned() }));
    network.end_epoch();
    assert!(!may_author(&mut network, id, &old) && may_author(&mut network, id, &new));
    assert!(record(&network).validators.contains(&new.public()));
    assert!(!record(&network).validators.contains(&old.public()));
}

#[test]
fn the_policy_and_the_version_of_the_protocol_change() {
    let mut network = network();
    agree(&mut network, Amendment::Policy(Policy { emergency: false }));
    let height = 2 * EPOCH + 5;
    agree(&mut network, Amendment::Protocol(Switch { version: 2, height }));
    assert!(record(&network).policy.emergency);
    network.end_epoch();
    assert!(!record(&network).policy.emergency);
    while network.tip().height + 1 < height {
        network.commit(&[]);
    }
    // This code knows version 1 and makes nothing of a block of version 2.
    assert_eq!(network.try_execute(&[]), Err(Stop::Protocol(2)));
}

#[test]
fn proposals_that_make_no_sense_change_nothing() {
    let mut network = network();
    let founder = |number: usize| network.genesis.centres[number].clone();
    let at = |centre, address: &str| Member { centre, address: address.to_owned() };
    let stranger = member(50).0.centre;
    let taken = Centre { code: founder(1).code, ..stranger.clone() };
    let same_key = Centre { key: founder(1).key, ..founder(0) };
    let other_id = Centre { id: CentreId::from_array([1; 16]), ..stranger.clone() };
    let everybodys = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    let everybodys = Centre { key: everybodys.parse().unwrap(), ..founder(0) };
    let no_key = Centre { key: PublicKey::from_array([2; 32]), ..founder(0) };
    let senseless = [
        Amendment::Admit(at(founder(1), "c:1")),
        Amendment::Rotate(at(everybodys, "c:1")),
        Amendment::Rotate(at(no_key, "c:1")),
        Amendment::Admit(at(taken, "c:1")),
        Amendment::Admit(at(other_id, "c:1")),
        Amendment::Admit(at(stranger.clone(), "no port")),
        Amendment::Admit(at(stranger.clone(), ":4000")),
        Amendment::Admit(at(stranger.clone(), &format!("{}:1", "c".repeat(ADDRESS_BYTES_MAX)))),
        Amendment::Remove(stranger.id),
        Amendment::Rotate(at(stranger, "c:1")),
        Amendment::Rotate(at(same_key, "c:1")),
        Amendment::Policy(Policy { emergency: true }),
        Amendment::Protocol(Switch { version: 3, height: 1_000 }),
        Amendment::Protocol(Switch { version: 2, height: 1 }),
    ];
    for change in senseless {
        let (_, outcome) = propose(&mut network, 0, change.clone());
        assert_eq!(outcome, Outcome::Rejected(Rejection::Impossible), "{change:?}");
    }
}

#[test]
fn votes_count_once_and_the_last_word_counts() {
    let mut network = network();
    let change = Amendment::Policy(Policy { emergency: false });
    let (proposal, _) = propose(&mut network, 0, change.clone());
    let say = |network: &mut Network, voter, agree| {
        network.submit(voter, Body::Vote(Vote { proposal, agree }))
    };
    for _ in 0..3 {
        assert_eq!(say(&mut network, 1, true), Outcome::Done);
    }
    say(&mut network, 1, false);
    say(&mut network, 2, true);
    assert_eq!(stage(&network, proposal), Stage::Open);
    say(&mut network, 3, false);
    assert_eq!(stage(&network, proposal), Stage::Declined);
    assert_eq!(say(&mut network, 3, true), Outcome::Rejected(Rejection::NotOpen));
    for _ in 0..4 {
        assert_eq!(propose(&mut network, 0, change.clone()).1, Outcome::Done);
    }
    let (_, outcome) = propose(&mut network, 0, change.clone());
    assert_eq!(outcome, Outcome::Rejected(Rejection::TooManyProposals));
    let open = network.record::<GovernanceRecord>(keys::governance()).unwrap().open;
    network.submit(0, Body::Vote(Vote { proposal: open[0], agree: false }));
    assert_eq!(stage(&network, open[0]), Stage::Withdrawn);
    assert_eq!(propose(&mut network, 0, change).1, Outcome::Done);
}

#[test]
fn changes_that_exclude_each_other_do_not_both_happen() {
    let mut network = network();
    let id = network.id(3);
    let first = agree(&mut network, Amendment::Remove(id));
    let second = agree(&mut network, Amendment::Remove(id));
    network.end_epoch();
    assert_eq!(stage(&network, first), Stage::Done(EPOCH - 1));
    assert_eq!(stage(&network, second), Stage::Lapsed);
}

/// A network that changed its validators three times, with a receipt of each epoch.
fn changed() -> (Network, Vec<Receipt>) {
    let mut network = network();
    let mut ids = Vec::new();
    let mut live = |network: &mut Network| {
        let transaction = network.sign(0, enrol(network.tip().height));
        ids.push(transaction.id());
        network.commit(&[transaction]);
    };
    live(&mut network);
    let (newcomer, key) = member(50);
    network.keys.push(key);
    agree(&mut network, Amendment::Admit(newcomer));
    network.end_epoch();
    live(&mut network);
    let leaving = network.id(3);
    agree(&mut network, Amendment::Remove(leaving));
    network.end_epoch();
    live(&mut network);
    let key = member(51).1;
    let centre = Centre { key: key.public(), ..network.genesis.centres[2].clone() };
    network.keys.push(key);
    agree(&mut network, Amendment::Rotate(Member { centre, address: "c:1".to_owned() }));
    network.end_epoch();
    for _ in 0..3 {
        live(&mut network);
        network.end_epoch();
    }
    let receipts = ids.iter().map(|id| network.receipt(id)).collect();
    (network, receipts)
}

#[test]
fn receipts_of_every_epoch_verify_from_the_genesis() {
    let (network, receipts) = changed();
    let handovers: Vec<usize> =
        receipts.iter().map(|receipt| receipt.anchor.handovers.len()).collect();
    assert_eq!(handovers, [0, 0, 1, 2, 2, 2]);
    for receipt in receipts {
        receipt.verify(&network.genesis).unwrap();
    }
    for height in 0..=network.tip().height {
        network.anchor(height).verify(&network.genesis).unwrap();
    }
}

#[track_caller]
fn caught(genesis: &Genesis, anchor: &Anchor, names: &[&str]) {
    let cheat = anchor.verify(genesis).expect_err("a cheat passed").cheat();
    assert!(names.contains(&cheat), "{cheat} instead of {names:?}");
}

#[test]
fn a_stale_set_of_validators_is_caught_by_name() {
    let (network, receipts) = changed();
    let genesis = &network.genesis;
    for (stale, receipt) in receipts.iter().enumerate().skip(2) {
        // Votes of validators that have handed over, with the handovers left out.
        for kept in 0..receipt.anchor.handovers.len() {
            let mut anchor = receipt.anchor.clone();
            anchor.handovers.truncate(kept);
            caught(genesis, &anchor, &["stale-validators"]);
            let old = network.validators(kept as u64);
            anchor.certificate = network.votes_of(&old, &anchor.header);
            caught(genesis, &anchor, &["stale-validators"]);
        }
        // The same with the handovers in place.
        for epoch in 0..network.validators(0).len().min(stale) {
            let mut anchor = receipt.anchor.clone();
            let old = network.validators(epoch as u64);
            if old != network.validators(anchor.header.epoch) {
                anchor.certificate = network.votes_of(&old, &anchor.header);
                caught(genesis, &anchor, &["bad-signature", "too-few-votes", "foreign-signer"]);
            }
        }
    }
    // Validators of a later epoch prove nothing about an earlier one.
    let mut early = receipts[0].anchor.clone();
    early.handovers = receipts[5].anchor.handovers.clone();
    caught(genesis, &early, &["stale-validators"]);
}

#[test]
fn handovers_that_are_not_the_networks_are_caught_by_name() {
    let (network, receipts) = changed();
    let genesis = &network.genesis;
    let honest = &receipts[5].anchor;
    let broken = ["broken-handover"];
    let with = |change: &dyn Fn(&mut Vec<Handover>)| {
        let mut anchor = honest.clone();
        change(&mut anchor.handovers);
        anchor
    };
    caught(genesis, &with(&|it| it.swap(0, 1)), &broken);
    caught(genesis, &with(&|it| drop(it.remove(0))), &broken);
    caught(genesis, &with(&|it| it.push(it[1].clone())), &broken);
    caught(genesis, &with(&|it| it.insert(0, it[0].clone())), &broken);
    for number in [0, 1] {
        caught(genesis, &with(&|it| it[number].validators.reverse()), &broken);
        caught(genesis, &with(&|it| it[number].validators.truncate(3)), &broken);
        caught(genesis, &with(&|it| it[number].validators.clear()), &broken);
        caught(genesis, &with(&|it| it[number].header.height -= 1), &broken);
        caught(genesis, &with(&|it| it[number].certificate.view += 1), &broken);
        // A quorum of liars that signs a handover in the middle of an epoch gets no further.
        let middle = network.anchor(network.genesis.epochs.last(1) - 1);
        let (header, certificate) = (middle.header, middle.certificate);
        let validators = network.validators(1);
        let forged = Handover { header, certificate, validators };
        caught(genesis, &with(&|it| it[number] = forged.clone()), &broken);
        for bit in (0..borsh::to_vec(&honest.handovers[number]).unwrap().len() * 8).step_by(7) {
            let mut altered = receipts[5].clone();
            let before: usize = honest.handovers[..number]
                .iter()
                .map(|handover| borsh::object_length(handover).unwrap())
                .sum();
            let Some(other) = flip(&altered, (4 + before) * 8 + bit) else { continue };
            altered = other;
            caught(genesis, &altered.anchor, &["broken-handover"]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever members propose and vote: those who vote are the members' keys, there is always
    /// one, and every block is proven from the genesis.
    #[test]
    fn any_course_of_votes_leaves_a_network_that_proves_itself(
        steps in prop::collection::vec((0..5_usize, 0..12_u8, any::<bool>()), 1..60),
    ) {
        let mut network = Network::with_epochs(4, Epochs::new(4).unwrap());
        network.keys.extend((0..12).map(|seed| member(seed + 100).1));
        let mut proposals = Vec::new();
        for (author, choice, agree) in steps {
            let body = match (choice, proposals.last()) {
                (0..4, _) | (_, None) => Body::Propose(Box::new(Propose { change: change(&network, choice) })),
                (_, Some(proposal)) => Body::Vote(Vote { proposal: *proposal, agree: agree || choice > 5 }),
            };
            let centres = record(&network).centres;
            let id = centres[author % centres.len()];
            let key = network.record::<CentreRecord>(keys::centre(id)).unwrap().centre.key;
            let key = network.keys.iter().find(|it| it.public() == key).unwrap().clone();
            let transaction = network.sign_as(id, &key, body);
            if matches!(transaction.body(), Body::Propose(_)) {
                proposals.push(transaction.id());
            }
            network.commit(&[transaction]);
            check(&network)?;
        }
    }
}

fn change(network: &Network, choice: u8) -> Amendment {
    let centres = record(network).centres;
    let some = centres[usize::from(choice) % centres.len()];
    let fresh = member(100 + (network.tip().height % 12) as u8).0;
    match choice % 4 {
        0 => Amendment::Admit(fresh),
        1 => Amendment::Remove(some),
        2 => {
            let old = network.record::<CentreRecord>(keys::centre(some)).unwrap().centre;
            let centre = Centre { key: fresh.centre.key, ..old };
            Amendment::Rotate(Member { centre, ..fresh })
        }
        _ => Amendment::Policy(Policy { emergency: network.tip().height.is_multiple_of(2) }),
    }
}

fn check(network: &Network) -> Result<(), TestCaseError> {
    let record = record(network);
    let key = |id| network.record::<CentreRecord>(keys::centre(id)).unwrap().centre.key;
    prop_assert!(!record.validators.is_empty());
    prop_assert!(record.validators.is_sorted_by(|one, other| one < other));
    let next = record.epochs.of(network.tip().height + 1);
    prop_assert_eq!(&record.validators, &network.validators(next));
    if network.genesis.epochs.ends(network.tip().height) {
        let mut voters: Vec<_> = record.voters().into_iter().map(key).collect();
        voters.sort();
        prop_assert_eq!(&voters, &record.validators);
    }
    network.anchor(network.tip().height).verify(&network.genesis).unwrap();
    Ok(())
}
