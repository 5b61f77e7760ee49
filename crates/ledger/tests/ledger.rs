//! The ledger's behaviour on a network in memory.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_access::{Effect, Purpose, Purposes, Rule, Scope};
use aegle_ledger::fixture::{Network, bytes, flip, name, vocabulary};
use aegle_ledger::*;
use aegle_model::*;

const GUARDIAN: usize = 0;
const REQUESTER: usize = 1;

fn patient() -> PatientId {
    PatientId::from_array([7; 16])
}

fn key() -> RecordKey {
    RecordKey::from_array([9; 32])
}

fn network() -> Network {
    Network::new(4).with_patient(GUARDIAN, patient(), &key())
}

fn doctor(network: &Network) -> Requester {
    Requester::Professional {
        centre: network.id(REQUESTER),
        id: name("207"),
        departments: vec![name("1")],
    }
}

fn opened(network: &Network, number: u64, tags: &[&str]) -> OpenedRequest {
    OpenedRequest {
        network: network.genesis.network(),
        request: RequestId::from_array(bytes(number)),
        patient: patient(),
        requester: doctor(network),
        purpose: Purpose::Treatment,
        reason: None,
        wishes: vec![Wish {
            centre: network.id(GUARDIAN),
            tags: tags.iter().map(|tag| name(tag)).collect(),
        }],
        recipient: [4; 65],
        asked: Timestamp(1_000),
    }
}

fn grant(network: &mut Network, effect: Effect, grantee: &Grantee, tag: &str) -> (RuleId, Outcome) {
    let centre = network.id(GUARDIAN);
    let token = match effect {
        Effect::Allow => key().tag_at(centre, &name(tag), 1),
        Effect::Deny => key().tag(centre, &name(tag)),
    };
    let rule = Rule {
        effect,
        grantee: key().grantee(grantee),
        scope: Scope::new(vec![token]).unwrap(),
        window: Window::ALWAYS,
        purposes: Purposes::ANY,
    };
    let transaction = network
        .sign(GUARDIAN, Body::Grant(Grant { patient: patient(), rule, sealed: vec![1; 80] }));
    let id = rule_id(&transaction.change_id().unwrap());
    (id, network.commit(&[transaction]).remove(0))
}

fn department(network: &Network) -> Grantee {
    Grantee::Department { centre: network.id(REQUESTER), id: name("1") }
}

/// Asks and returns the granted cells of the vocabulary, and the receipt.
fn ask(network: &mut Network, opened: &OpenedRequest) -> (Vec<u16>, Receipt) {
    let disclose = network.disclosure(opened, REQUESTER, &key());
    let transaction = network.sign(GUARDIAN, Body::Disclose(Box::new(disclose)));
    network.commit(std::slice::from_ref(&transaction));
    let receipt = network.receipt(&transaction.id());
    let verified = receipt.clone().verify(&network.genesis).unwrap();
    let now = receipt.anchor.header.time;
    let permit =
        admit(&verified, opened, &key(), (network.id(GUARDIAN), &vocabulary()), now).unwrap();
    (permit.cells().iter().map(|cell| cell.0).collect(), receipt)
}

fn cells_with(tags: &[&str], without: &[&str]) -> Vec<u16> {
    let vocabulary = vocabulary();
    let carries = |cell: &Cell, tag: &&str| cell.tags.contains_key(&name(tag));
    let chosen = vocabulary.cells.iter().zip(0..).filter(|(cell, _)| {
        tags.iter().any(|tag| carries(cell, tag)) && !without.iter().any(|tag| carries(cell, tag))
    });
    chosen.map(|(_, position)| position).collect()
}

#[test]
fn a_disclosure_walks_from_refusal_over_rules_to_revocation() {
    let mut network = network();
    let request = opened(&network, 1, &["all"]);
    assert_eq!(ask(&mut network, &request).0, [0_u16; 0], "no rule, no access");

    let department = department(&network);
    let (allow, outcome) = grant(&mut network, Effect::Allow, &department, "medication");
    assert_eq!(outcome, Outcome::Done);
    let request = opened(&network, 2, &["all"]);
    assert_eq!(ask(&mut network, &request).0, cells_with(&["medication"], &[]));

    let individual = Grantee::Professional { centre: network.id(REQUESTER), id: name("207") };
    grant(&mut network, Effect::Deny, &individual, "treatments");
    let request = opened(&network, 3, &["all"]);
    assert_eq!(ask(&mut network, &request).0, cells_with(&["medication"], &["treatments"]));

    let revoked =
        network.submit(GUARDIAN, Body::Revoke(Revoke { patient: patient(), rule: allow }));
    assert_eq!(revoked, Outcome::Done);
    let request = opened(&network, 4, &["all"]);
    assert_eq!(ask(&mut network, &request).0, [0_u16; 0]);
    let again = network.submit(GUARDIAN, Body::Revoke(Revoke { patient: patient(), rule: allow }));
    assert_eq!(again, Outcome::Rejected(Rejection::UnknownRule));
}

#[test]
fn thousands_of_rules_stand_on_pages_and_all_count() {
    let mut network = network();
    let department = department(&network);
    let someone = Grantee::Professional { centre: network.id(REQUESTER), id: name("1") };
    for _ in 0..200 {
        grant(&mut network, Effect::Allow, &someone, "treatments");
    }
    let (last, _) = grant(&mut network, Effect::Allow, &department, "medication");
    let record: PatientRecord = network.record(keys::patient(patient())).unwrap();
    assert_eq!((record.rules, record.pages), (201, 7));
    let request = opened(&network, 1, &["all"]);
    assert_eq!(ask(&mut network, &request).0, cells_with(&["medication"], &[]));
    let rule: RuleRecord = network.record(keys::rule(last)).unwrap();
    assert_eq!((rule.patient, rule.page), (patient(), 6));
}

#[test]
fn the_broken_glass_opens_and_only_a_speaker_asks_as_the_patient() {
    let mut network = network();
    let emergency = OpenedRequest {
        purpose: Purpose::Emergency,
        reason: Some("unconscious".into()),
        ..opened(&network, 1, &["all"])
    };
    assert_eq!(ask(&mut network, &emergency).0, [0, 1, 2, 3]);

    let own = OpenedRequest { requester: Requester::Patient, ..opened(&network, 2, &["all"]) };
    let by = |network: &mut Network, requester| {
        let disclose = network.disclosure(&own, requester, &key());
        network.submit(GUARDIAN, Body::Disclose(Box::new(disclose)))
    };
    assert_eq!(by(&mut network, REQUESTER), Outcome::Rejected(Rejection::NoAuthority));
    assert!(matches!(by(&mut network, GUARDIAN), Outcome::Decided(decision) if decision.permits()));
    assert_eq!(by(&mut network, GUARDIAN), Outcome::Rejected(Rejection::Decided));
}

#[test]
fn a_link_needs_both_sides_and_the_key() {
    let mut network = network();
    let (id, genesis) = (network.id(2), network.genesis.network());
    let link = |network: &Network, by: usize, commitment| {
        let by_patient = Attestation::of_link(
            genesis,
            (patient(), id, false),
            network.id(by),
            &network.keys[by],
        );
        Body::Link(Link { patient: patient(), speaks: false, commitment, by_patient })
    };
    let right = key().commitment();
    let try_link = |network: &mut Network, by, commitment| {
        let body = link(network, by, commitment);
        network.submit(2, body)
    };
    assert_eq!(try_link(&mut network, 1, right), Outcome::Rejected(Rejection::NoAuthority));
    assert_eq!(try_link(&mut network, 0, Hash::ZERO), Outcome::Rejected(Rejection::WrongKey));
    assert_eq!(try_link(&mut network, 0, right), Outcome::Done);
    assert_eq!(try_link(&mut network, 0, right), Outcome::Rejected(Rejection::LinkedAlready));
    let body = link(&network, 0, right);
    let stolen = network.sign(3, body);
    assert!(stolen.check(genesis).is_err(), "the patient's side named another centre");
    let (_, outcome) =
        grant(&mut network, Effect::Deny, &Grantee::Organisation { centre: id }, "all");
    assert_eq!(outcome, Outcome::Done);
    let record: PatientRecord = network.record(keys::patient(patient())).unwrap();
    assert!(!record.link(id).unwrap().speaks);
}

#[test]
fn nothing_stands_in_the_chain_twice_or_late_or_by_strangers() {
    let mut network = network();
    let body =
        Body::Enrol(Enrol { patient: PatientId::from_array([8; 16]), commitment: Hash::ZERO });
    let transaction = network.sign(1, body.clone());
    let twice = [transaction.clone(), transaction.clone()];
    assert_eq!(network.try_execute(&twice), Err(Stop::Invalid(1, Invalid::Replayed)));
    network.commit(&twice[..1]);
    assert_eq!(network.try_execute(&twice[..1]), Err(Stop::Invalid(0, Invalid::Replayed)));

    let (author, genesis) = ((network.id(1), network.keys[1].public()), network.genesis.network());
    let late = Draft::new(genesis, author, 1, 0, body.clone()).sign(&network.keys[1]);
    assert_eq!(network.try_execute(&[late]), Err(Stop::Invalid(0, Invalid::Expired)));
    let impostor =
        Draft::new(genesis, (network.id(1), network.keys[2].public()), 99, 0, body.clone());
    let impostor = impostor.sign(&network.keys[2]);
    assert!(impostor.check(genesis).is_ok());
    assert_eq!(network.try_execute(&[impostor]), Err(Stop::Invalid(0, Invalid::Author)));
    let elsewhere = NetworkId::from_array([1; 16]);
    let foreign = Draft::new(elsewhere, author, 99, 0, body.clone()).sign(&network.keys[1]);
    assert!(foreign.check(genesis).is_err());
    assert_eq!(network.try_execute(&[foreign]), Err(Stop::Invalid(0, Invalid::Network)));
    let forged = Draft::new(genesis, author, 99, 0, body).sign(&network.keys[2]);
    assert!(matches!(forged.check(genesis), Err(TransactionError::Signature("author"))));
}

#[test]
fn deliveries_are_reported_by_those_who_know() {
    let mut network = network();
    let request = opened(&network, 1, &["all"]);
    ask(&mut network, &request);
    let part = |result| vec![PartDelivery { centre: request.wishes[0].centre, result }];
    let delivered =
        Delivered { content: Hash::ZERO, rows: 3, columns: 2, steps: Bits::first(5).unwrap() };
    let report = |network: &mut Network, author, result| {
        let parts = part(result);
        network.submit(author, Body::Deliver(Deliver { request: request.request, parts }))
    };
    let rejected = Outcome::Rejected(Rejection::BadDelivery);
    assert_eq!(report(&mut network, 2, Err(Missing::Unreachable)), rejected);
    assert_eq!(report(&mut network, REQUESTER, Ok(delivered)), rejected);
    assert_eq!(report(&mut network, REQUESTER, Err(Missing::Unreachable)), Outcome::Done);
    assert_eq!(report(&mut network, REQUESTER, Err(Missing::Unreachable)), rejected);
    assert_eq!(report(&mut network, GUARDIAN, Ok(delivered)), Outcome::Done);
    assert_eq!(report(&mut network, GUARDIAN, Ok(delivered)), rejected);
}

#[test]
fn a_data_centre_catches_a_guardian_that_lies() {
    let mut network = network();
    let request = opened(&network, 1, &["medication"]);
    let me = (network.id(GUARDIAN), vocabulary());
    let verdict =
        |network: &mut Network, disclose: Disclose, opened: &OpenedRequest, requester: usize| {
            let transaction = network.sign(requester, Body::Disclose(Box::new(disclose)));
            let outcome = network.commit(std::slice::from_ref(&transaction)).remove(0);
            assert!(matches!(outcome, Outcome::Decided(_)), "{outcome:?}");
            let receipt = network.receipt(&transaction.id());
            let now = receipt.anchor.header.time;
            let verified = receipt.verify(&network.genesis).unwrap();
            admit(&verified, opened, &key(), (me.0, &me.1), now).map(|_| ())
        };
    let honest = |network: &Network| network.disclosure(&request, REQUESTER, &key());

    let other =
        OpenedRequest { request: RequestId::from_array(bytes(2)), ..opened(&network, 1, &["all"]) };
    let mut more = network.disclosure(&other, REQUESTER, &key());
    more.opened = request.hash();
    more.requester = honest(&network).requester;
    more.request = RequestId::from_array(bytes(2));
    let shifted = OpenedRequest { request: more.request, ..request.clone() };
    let attested =
        Attestation::of_request(&shifted, network.id(REQUESTER), &network.keys[REQUESTER]);
    (more.opened, more.requester) = (shifted.hash(), attested);
    assert_eq!(verdict(&mut network, more, &shifted, GUARDIAN), Err(PermitError::Tokens));

    let third = OpenedRequest { request: RequestId::from_array(bytes(3)), ..request.clone() };
    let mut self_made = network.disclosure(&third, REQUESTER, &key());
    self_made.requester = Attestation::of_request(&third, network.id(2), &network.keys[2]);
    assert_eq!(verdict(&mut network, self_made, &third, GUARDIAN), Err(PermitError::Requester));

    let fourth = OpenedRequest { request: RequestId::from_array(bytes(4)), ..request.clone() };
    let fine = network.disclosure(&fourth, REQUESTER, &key());
    let changed = OpenedRequest { recipient: [5; 65], ..fourth.clone() };
    assert_eq!(verdict(&mut network, fine, &changed, GUARDIAN), Err(PermitError::OtherRequest));
    let fifth = OpenedRequest { request: RequestId::from_array(bytes(5)), ..request.clone() };
    let fine = network.disclosure(&fifth, REQUESTER, &key());
    assert_eq!(verdict(&mut network, fine, &fifth, GUARDIAN), Ok(()));
}

#[test]
fn an_old_receipt_permits_nothing() {
    let mut network = network();
    let request = opened(&network, 1, &["all"]);
    let (_, receipt) = ask(&mut network, &request);
    let late = Timestamp(receipt.anchor.header.time.0 + 600_000);
    let verified = receipt.verify(&network.genesis).unwrap();
    let permit = admit(&verified, &request, &key(), (network.id(GUARDIAN), &vocabulary()), late);
    assert_eq!(permit, Err(PermitError::Stale));
}

#[test]
fn a_receipt_with_any_bit_changed_proves_nothing() {
    let mut network = network();
    let request = opened(&network, 1, &["all"]);
    let (_, receipt) = ask(&mut network, &request);
    let bytes = receipt.to_bytes();
    assert!(bytes.len() < 2_048, "{} bytes", bytes.len());
    let (mut decoded, mut caught) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        let Some(changed) = flip(&receipt, bit) else { continue };
        decoded += 1;
        caught += usize::from(changed.verify(&network.genesis).is_err());
    }
    assert!(decoded > 1_000);
    assert_eq!(caught, decoded);
    assert!(receipt.verify(&Network::new(5).genesis).is_err(), "another network");
}

#[test]
fn a_log_that_was_cheated_with_is_caught() {
    let mut network = network();
    let other = PatientId::from_array([8; 16]);
    network.submit(GUARDIAN, Body::Enrol(Enrol { patient: other, commitment: Hash::ZERO }));
    for number in 1..6 {
        let request = opened(&network, number, &["all"]);
        ask(&mut network, &request);
    }
    let log = network.log(patient());
    assert_eq!(log.entries.len(), 6);
    assert!(log.clone().verify(&network.genesis).is_ok());
    let cheat = |change: &dyn Fn(&mut PatientLog)| {
        let mut cheated = log.clone();
        change(&mut cheated);
        cheated.verify(&network.genesis).err()
    };
    for entry in 0..6 {
        assert_eq!(cheat(&|log| drop(log.entries.remove(entry))), Some(LogError::Missing));
        let twice = cheat(&|log| log.entries.insert(entry, log.entries[entry].clone()));
        assert_eq!(twice, Some(LogError::Repeated(entry + 1)));
        let swapped = cheat(&|log| log.entries.swap(entry, (entry + 1) % 6));
        assert!(matches!(swapped, Some(LogError::Reordered(_))));
        assert!(cheat(&|log| log.entries[entry].time.0 += 1).is_some());
        assert!(cheat(&|log| log.entries[entry].height += 1).is_some());
        let rejected = Outcome::Rejected(Rejection::Decided);
        let rewritten = cheat(&|log| log.entries[entry].outcome = rejected.clone());
        assert_eq!(rewritten, Some(LogError::Altered(entry)));
    }
    assert_eq!(cheat(&|log| log.patient = other), Some(LogError::Foreign(0)));
    let others = cheat(&|log| log.entries = network.log(other).entries);
    assert_eq!(others, Some(LogError::Foreign(0)));
    let few = |log: &mut PatientLog| log.anchor.certificate.signatures.truncate(2);
    assert!(matches!(cheat(&few), Some(LogError::Anchor(_))));
    let old = |log: &mut PatientLog| log.anchor = network.anchor(3);
    assert_eq!(cheat(&old), Some(LogError::Late(1)));
}

#[test]
fn build_leaves_out_what_execute_refuses() {
    let mut network = network();
    let fresh = |number: u8| {
        Body::Enrol(Enrol { patient: PatientId::from_array([number; 16]), commitment: Hash::ZERO })
    };
    let good = [network.sign(1, fresh(1)), network.sign(2, fresh(2))];
    let candidates = vec![good[0].clone(), good[0].clone(), good[1].clone()];
    let executed = network.try_execute(&good).unwrap();
    let mut loaded = Loaded::default();
    let built = loop {
        match build(&loaded, network.tip(), Timestamp(network.tip().time.0 + 10), &candidates) {
            Err(Stop::Needs(needs)) => {
                for key in needs {
                    loaded.add(key, network.bytes(&key));
                }
            }
            done => break done.unwrap(),
        }
    };
    assert_eq!(built, executed);
}
