//! Erasures that the ledger is told of.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_ledger::fixture::Network;
use aegle_ledger::*;
use aegle_model::*;

const HOME: usize = 0;
const OTHER: usize = 1;
const PATIENT: PatientId = PatientId::from_array([7; 16]);

fn key() -> RecordKey {
    RecordKey::from_array([9; 32])
}

/// A patient of two centres.
fn network() -> Network {
    let mut network = Network::new(4).with_patient(HOME, PATIENT, &key());
    link(&mut network);
    network
}

fn link(network: &mut Network) {
    let (linked, home) = ((PATIENT, network.id(OTHER), true), network.id(HOME));
    let by_patient =
        Attestation::of_link(network.genesis.network(), linked, home, &network.keys[HOME]);
    let (patient, commitment) = (PATIENT, key().commitment());
    let body = Body::Link(Link { patient, speaks: true, commitment, by_patient });
    assert_eq!(network.submit(OTHER, body), Outcome::Done);
}

fn erase(network: &mut Network, author: usize, patient: PatientId) -> Outcome {
    let erase = Erase { patient, epoch: 2, commitment: Hash::from_array([5; 32]) };
    network.submit(author, Body::Erase(erase))
}

const NOT_LINKED: Outcome = Outcome::Rejected(Rejection::NotLinked);

fn linked(network: &Network) -> Vec<CentreId> {
    let record = network.record::<PatientRecord>(keys::patient(PATIENT)).unwrap();
    record.links.iter().map(|link| link.centre).collect()
}

#[test]
fn an_erasure_ends_the_link_of_its_centre_only_and_stands_in_the_log() {
    let mut network = network();
    let before = network.log(PATIENT).entries.len();
    assert_eq!(erase(&mut network, OTHER, PATIENT), Outcome::Done);
    assert_eq!(linked(&network), [network.id(HOME)]);
    let log = network.log(PATIENT).verify(&network.genesis).unwrap();
    let entries = &log.log().entries;
    assert_eq!(entries.len(), before + 1);
    let last = entries.last().unwrap().transaction.clone();
    assert!(matches!(last.body(), Body::Erase(erase) if erase.patient == PATIENT));
    let receipt = network.receipt(&last.id()).verify(&network.genesis).unwrap();
    assert_eq!(receipt.receipt().transaction, last);
}

#[test]
fn only_a_linked_centre_erases_and_only_once() {
    let mut network = network();
    let nobody = PatientId::from_array([8; 16]);
    let unknown = Outcome::Rejected(Rejection::UnknownPatient);
    assert_eq!(erase(&mut network, OTHER, nobody), unknown);
    assert_eq!(erase(&mut network, 2, PATIENT), NOT_LINKED);
    assert_eq!(erase(&mut network, OTHER, PATIENT), Outcome::Done);
    assert_eq!(erase(&mut network, OTHER, PATIENT), NOT_LINKED);
    // Who comes back by a new link can be erased again.
    link(&mut network);
    assert_eq!(erase(&mut network, OTHER, PATIENT), Outcome::Done);
}

#[test]
fn who_was_erased_is_asked_about_no_more() {
    let mut network = network();
    erase(&mut network, OTHER, PATIENT);
    let grant = |network: &mut Network, author| {
        let revoke = Revoke { patient: PATIENT, rule: RuleId::from_array([1; 16]) };
        network.submit(author, Body::Revoke(revoke))
    };
    let unknown_rule = Outcome::Rejected(Rejection::UnknownRule);
    let no_authority = Outcome::Rejected(Rejection::NoAuthority);
    assert_eq!(grant(&mut network, HOME), unknown_rule, "the other centre still speaks");
    assert_eq!(grant(&mut network, OTHER), no_authority);
    assert_eq!(erase(&mut network, HOME, PATIENT), Outcome::Done, "also the last one");
    assert_eq!(linked(&network), []);
    assert_eq!(grant(&mut network, HOME), no_authority);
    network.log(PATIENT).verify(&network.genesis).unwrap();
}

#[test]
fn an_erasure_that_is_hidden_or_altered_is_noticed() {
    let mut network = network();
    erase(&mut network, OTHER, PATIENT);
    let log = network.log(PATIENT);
    let mut hidden = log.clone();
    hidden.entries.pop();
    assert_eq!(hidden.verify(&network.genesis).unwrap_err(), LogError::Missing);
    let mut refused = log.clone();
    refused.entries.last_mut().unwrap().outcome = NOT_LINKED;
    let last = refused.entries.len() - 1;
    assert_eq!(refused.verify(&network.genesis).unwrap_err(), LogError::Altered(last));
    let mut foreign = log;
    let other = Erase { patient: PatientId::from_array([8; 16]), epoch: 2, commitment: Hash::ZERO };
    foreign.entries.last_mut().unwrap().transaction = network.sign(OTHER, Body::Erase(other));
    assert_eq!(foreign.verify(&network.genesis).unwrap_err(), LogError::Foreign(last));
}
