//! The history sees every way in which a network could break its promises.

use super::*;
use aegle_ledger::{Enrol, Outcome, Rejection, fixture::Network};
use aegle_model::{RecordKey, Timestamp};

const PATIENT: PatientId = PatientId::from_array([7; 16]);
const KEY: RecordKey = RecordKey::from_array([9; 32]);

/// What is altered in a header, and how.
type Alteration = (&'static str, fn(&mut Header, Hash));

/// A network with a patient in its second block and an empty third one.
fn network() -> Network {
    let mut network = Network::new(4).with_patient(0, PATIENT, &KEY);
    network.commit(&[]);
    network
}

/// A history that has seen all blocks.
fn seen(network: &Network) -> History {
    let mut history = History::new(&network.genesis);
    for block in &network.blocks[1..] {
        history.see(block).unwrap();
    }
    history
}

/// What is said of an altered block in the place of the second one.
fn altered(alter: impl FnOnce(&mut Block)) -> String {
    let network = network();
    let mut history = History::new(&network.genesis);
    history.see(&network.blocks[1]).unwrap();
    let mut block = network.blocks[2].clone();
    alter(&mut block);
    history.see(&block).err().unwrap()
}

/// One more patient, in a block of its own.
fn grown(mut network: Network, number: u8) -> (Network, Receipt) {
    let patient = PatientId::from_array([number; 16]);
    let enrol = Body::Enrol(Enrol { patient, commitment: Hash::ZERO });
    let transaction = network.sign(1, enrol);
    network.commit(std::slice::from_ref(&transaction));
    let receipt = network.receipt(&transaction.id());
    (network, receipt)
}

#[test]
fn what_follows_the_rules_is_no_violation() {
    let (network, receipt) = grown(network(), 1);
    let mut history = seen(&network);
    history.acknowledge(receipt).unwrap();
    assert!(network.blocks[1..].iter().all(|block| history.see(block).is_ok()));
    history.check_acknowledged().unwrap();
    history.check_logs(&network.anchor(4)).unwrap();
    assert_eq!((history.height(), history.transactions()), (4, 3));
}

#[test]
fn a_fork_is_seen() {
    let network = network();
    let (other, _) = grown(Network::new(4).with_patient(0, PATIENT, &KEY), 1);
    let said = seen(&network).see(&other.blocks[3]).err().unwrap();
    assert_eq!(said, "the block at height 3 differs from another's");
}

#[test]
fn a_gap_is_seen() {
    let mut history = History::new(&network().genesis);
    let said = history.see(&network().blocks[2]).err().unwrap();
    assert_eq!(said, "the block at height 2 leaves a gap");
}

#[test]
fn a_header_that_does_not_follow_is_seen_field_by_field() {
    let wrong = Hash::of("wrong", &[]);
    let alterations: [Alteration; 8] = [
        ("parent", |it, wrong| it.parent = wrong),
        ("transactions", |it, wrong| it.transactions = wrong),
        ("heads", |it, wrong| it.heads = wrong),
        ("state", |it, wrong| it.state = wrong),
        ("validators", |it, wrong| it.validators = wrong),
        ("engine", |it, wrong| it.engine = wrong),
        ("epoch", |it, _| it.epoch += 1),
        ("time", |it, _| it.time = Timestamp(0)),
    ];
    for (field, alter) in alterations {
        let said = altered(|block| alter(&mut block.header, wrong));
        assert!(said.contains("does not follow") || said.contains("time"), "{field}: {said}");
    }
}

#[test]
fn a_transaction_left_out_invented_or_repeated_is_seen() {
    let said = altered(|block| block.entries.clear());
    assert_eq!(said, "the block at height 2 does not follow");
    let said = altered(|block| block.entries.push(block.entries[0].clone()));
    assert!(said.contains("invalid") || said.contains("follow"), "{said}");
    let first = network().blocks[1].entries[0].clone();
    let said = altered(|block| block.entries.insert(0, first));
    assert!(said.contains("invalid") || said.contains("follow"), "{said}");
}

#[test]
fn an_outcome_that_the_rules_do_not_give_is_seen() {
    let said = altered(|block| {
        block.entries[0].1 = Outcome::Rejected(Rejection::NoAuthority);
    });
    assert_eq!(said, "the block at height 2 does not follow");
}

/// Applied once more, after it was seen.
#[test]
fn a_transaction_that_is_applied_twice_is_seen() {
    let network = network();
    let mut history = seen(&network);
    let transaction = &network.blocks[2].entries[0].0;
    let said = history.enter(transaction, Position { height: 4, index: 0 }).unwrap_err();
    assert!(said.ends_with("is applied twice"), "{said}");
}

#[test]
fn an_acknowledged_transaction_that_is_lost_is_seen() {
    let (with, receipt) = grown(network(), 1);
    // Acknowledged before and after the block is seen, and never seen at all.
    let (without, _) = grown(network(), 2);
    let mut history = seen(&without);
    let said = history.acknowledge(receipt.clone()).unwrap_err();
    assert!(said.ends_with("was acknowledged and is lost"), "{said}");
    let mut history = seen(&network());
    history.acknowledge(receipt.clone()).unwrap();
    let said = history.see(&without.blocks[4]).err().unwrap();
    assert!(said.ends_with("was acknowledged and is lost"), "{said}");
    let mut history = seen(&network());
    history.acknowledge(receipt).unwrap();
    assert_eq!(history.check_acknowledged().unwrap_err(), "a block 4 was acknowledged and is lost");
    seen(&with).check_acknowledged().unwrap();
}

#[test]
fn a_receipt_that_proves_nothing_is_seen() {
    let (network, receipt) = grown(network(), 1);
    let mut history = seen(&network);
    let mut forged = receipt.clone();
    forged.anchor.certificate.signatures.pop();
    assert!(history.acknowledge(forged).unwrap_err().contains("proves nothing"));
    let mut forged = receipt;
    forged.outcome = Outcome::Rejected(Rejection::NoAuthority);
    assert!(history.acknowledge(forged).unwrap_err().contains("proves nothing"));
}

/// A log from which an entry was dropped, and one under the head of another state.
#[test]
fn a_log_that_is_not_complete_is_seen() {
    let (network, _) = grown(network(), 1);
    let history = seen(&network);
    let mut log = history.log(PATIENT);
    log.entries.pop();
    let said = log.check(network.anchor(4), &network.genesis).unwrap_err();
    assert!(said.contains("is broken"), "{said}");
    assert!(history.check_logs(&network.anchor(1)).unwrap_err().contains("is broken"));
}
