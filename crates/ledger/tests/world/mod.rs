//! A network in which two patients live through the same: every kind of entry is in their logs.

use aegle_access::{Effect, Purpose, Purposes, Rule, Scope};
use aegle_ledger::fixture::{Network, bytes, name, vocabulary};
use aegle_ledger::*;
use aegle_model::*;

pub(crate) const MINE: PatientId = PatientId::from_array([7; 16]);
pub(crate) const OTHERS: PatientId = PatientId::from_array([8; 16]);
const GUARDIAN: usize = 0;
const REQUESTER: usize = 1;

/// What is cheated with.
pub(crate) struct World {
    pub(crate) network: Network,
    /// The log of [`MINE`] under a header that is certified itself.
    pub(crate) log: PatientLog,
    /// The same under a header that stands below the certified one.
    pub(crate) linked_log: PatientLog,
    /// A receipt under such a header.
    pub(crate) linked_receipt: Receipt,
    /// The receipts of the log's entries.
    pub(crate) receipts: Vec<Receipt>,
}

impl World {
    /// A network of `size` centres, in which both patients have thirteen entries.
    pub(crate) fn new(size: u8) -> Self {
        let mut network = Network::new(size).with_patient(GUARDIAN, MINE, &key());
        live(&mut network, MINE, 0);
        let commitment = key().commitment();
        network.submit(GUARDIAN, Body::Enrol(Enrol { patient: OTHERS, commitment }));
        live(&mut network, OTHERS, 100);
        let (log, height) = (network.log(MINE), network.tip().height);
        let receipts: Vec<_> =
            log.entries.iter().map(|entry| network.receipt(&entry.transaction.id())).collect();
        for number in [200, 201] {
            let patient = PatientId::from_array(bytes(number));
            network.submit(GUARDIAN, Body::Enrol(Enrol { patient, commitment }));
        }
        let linked_log = PatientLog { anchor: linked(&network, height), ..log.clone() };
        let asked = receipts[2].anchor.header.height;
        let linked_receipt = Receipt { anchor: linked(&network, asked), ..receipts[2].clone() };
        Self { network, log, linked_log, linked_receipt, receipts }
    }
}

pub(crate) fn key() -> RecordKey {
    RecordKey::from_array([9; 32])
}

/// The header at `height` and two more, the last of which is certified.
pub(crate) fn linked(network: &Network, height: u64) -> Anchor {
    let header = |height| network.anchor(height).header;
    Anchor {
        handovers: Vec::new(),
        header: header(height),
        links: vec![header(height + 1), header(height + 2)],
        certificate: network.anchor(height + 2).certificate,
    }
}

/// Twelve entries after the enrolment. The requests count up from `first`.
fn live(network: &mut Network, patient: PatientId, first: u64) {
    let allow = grant(network, patient, Effect::Allow, "medication");
    ask(network, patient, (first, Purpose::Treatment));
    deliver(network, first);
    grant(network, patient, Effect::Deny, "treatments");
    ask(network, patient, (first + 1, Purpose::Treatment));
    deliver(network, first + 1);
    link(network, patient);
    let height = network.tip().height;
    done(network, GUARDIAN, Body::Revoke(Revoke { patient, rule: allow }));
    done(network, GUARDIAN, Body::Restore(Restore { patient, height }));
    ask(network, patient, (first + 2, Purpose::Treatment));
    ask(network, patient, (first + 3, Purpose::Emergency));
    deliver(network, first + 3);
}

fn done(network: &mut Network, author: usize, body: Body) -> Transaction {
    let transaction = network.sign(author, body);
    let outcome = network.commit(std::slice::from_ref(&transaction)).remove(0);
    assert!(!matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
    transaction
}

fn grant(network: &mut Network, patient: PatientId, effect: Effect, tag: &str) -> RuleId {
    let centre = network.id(GUARDIAN);
    let token = match effect {
        Effect::Allow => key().tag_at(centre, &name(tag), 1),
        Effect::Deny => key().tag(centre, &name(tag)),
    };
    let department = Grantee::Department { centre: network.id(REQUESTER), id: name("1") };
    let rule = Rule {
        effect,
        grantee: key().grantee(&department),
        scope: Scope::new(vec![token]).unwrap(),
        window: Window::ALWAYS,
        purposes: Purposes::ANY,
    };
    let body = Body::Grant(Grant { patient, rule, sealed: vec![1; 80] });
    rule_id(&done(network, GUARDIAN, body).change_id().unwrap())
}

fn ask(network: &mut Network, patient: PatientId, (number, purpose): (u64, Purpose)) {
    let opened = OpenedRequest {
        network: network.genesis.network(),
        request: request(number),
        patient,
        requester: Requester::Professional {
            centre: network.id(REQUESTER),
            id: name("207"),
            departments: vec![name("1")],
        },
        purpose,
        reason: None,
        wishes: vec![Wish { centre: network.id(GUARDIAN), tags: vec![name(ALL)] }],
        recipient: [4; 65],
        asked: Timestamp(1_000),
    };
    let disclose = network.disclosure(&opened, REQUESTER, &key());
    assert_eq!(disclose.question.parts[0].cells().len(), vocabulary().cells.len());
    done(network, GUARDIAN, Body::Disclose(Box::new(disclose)));
}

fn request(number: u64) -> RequestId {
    RequestId::from_array(bytes(number))
}

fn deliver(network: &mut Network, number: u64) {
    let steps = Bits::first(5).unwrap();
    let delivered = Delivered { content: Hash::ZERO, rows: 3, columns: 2, steps };
    let parts = vec![PartDelivery { centre: network.id(GUARDIAN), result: Ok(delivered) }];
    done(network, GUARDIAN, Body::Deliver(Deliver { request: request(number), parts }));
}

fn link(network: &mut Network, patient: PatientId) {
    let linked = (patient, network.id(2), false);
    let (id, signer) = (network.id(GUARDIAN), &network.keys[GUARDIAN]);
    let by_patient = Attestation::of_link(network.genesis.network(), linked, id, signer);
    let commitment = key().commitment();
    done(network, 2, Body::Link(Link { patient, speaks: false, commitment, by_patient }));
}
