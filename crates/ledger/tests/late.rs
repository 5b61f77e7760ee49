//! Emergencies that the ledger is told of afterwards.

use aegle_access::Purpose;
use aegle_ledger::fixture::{Network, bytes, name, vocabulary};
use aegle_ledger::*;
use aegle_model::*;

const CENTRE: usize = 0;
const PATIENT: PatientId = PatientId::from_array([7; 16]);

fn key() -> RecordKey {
    RecordKey::from_array([9; 32])
}

fn network() -> Network {
    Network::new(4).with_patient(CENTRE, PATIENT, &key())
}

fn opened(network: &Network, number: u64) -> OpenedRequest {
    OpenedRequest {
        network: network.genesis.network(),
        request: RequestId::from_array(bytes(number)),
        patient: PATIENT,
        requester: Requester::Professional {
            centre: network.id(CENTRE),
            id: name("207"),
            departments: vec![name("1")],
        },
        purpose: Purpose::Emergency,
        reason: Some("unconscious".to_owned()),
        wishes: vec![Wish { centre: network.id(CENTRE), tags: vec![name("all")] }],
        recipient: [4; 65],
        asked: Timestamp(1_000),
    }
}

/// A journal of so many entries.
fn journal(network: &Network, entries: u64) -> Vec<Late> {
    let mut previous = Hash::ZERO;
    let entry = |number| {
        let disclose = network.disclosure(&opened(network, 100 + number), CENTRE, &key());
        let late = Late { disclose, at: Timestamp(2_000), number, previous };
        previous = late.link();
        late
    };
    (0..entries).map(entry).collect()
}

fn tell(network: &mut Network, author: usize, late: &Late) -> Outcome {
    network.submit(author, Body::Late(Box::new(late.clone())))
}

const BROKEN: Outcome = Outcome::Rejected(Rejection::BrokenJournal);
const NOT_FOR_JOURNAL: Outcome = Outcome::Rejected(Rejection::NotForJournal);

#[test]
fn what_left_is_told_in_order_each_once_and_stands_in_a_log_that_holds() {
    let mut network = network();
    let journal = journal(&network, 3);
    assert_eq!(tell(&mut network, CENTRE, &journal[1]), BROKEN, "not the first");
    for entry in &journal {
        let outcome = tell(&mut network, CENTRE, entry);
        assert!(
            matches!(&outcome, Outcome::Decided(decision) if decision.permits()),
            "{outcome:?}"
        );
        let again = tell(&mut network, CENTRE, entry);
        assert_eq!(again, Outcome::Rejected(Rejection::Decided));
    }
    let log = network.log(PATIENT);
    assert_eq!(log.entries.len(), 4, "enrolled, and three emergencies");
    assert!(log.verify(&network.genesis).is_ok());
}

#[test]
fn a_journal_that_was_cut_or_altered_is_refused() {
    let mut network = network();
    let journal = journal(&network, 3);
    tell(&mut network, CENTRE, &journal[0]);
    assert_eq!(tell(&mut network, CENTRE, &journal[2]), BROKEN, "the second was cut out");
    let mut moved = journal[1].clone();
    moved.number = 2;
    assert_eq!(tell(&mut network, CENTRE, &moved), BROKEN);
    let mut forked = journal[1].clone();
    forked.previous = Hash::ZERO;
    assert_eq!(tell(&mut network, CENTRE, &forked), BROKEN);
    let mut later = journal[1].clone();
    later.at = Timestamp(3_000);
    assert!(matches!(tell(&mut network, CENTRE, &later), Outcome::Decided(_)));
    assert_eq!(tell(&mut network, CENTRE, &journal[2]), BROKEN, "the second was altered");
}

#[test]
fn only_an_emergency_of_the_own_staff_over_the_own_data_is_for_the_journal() {
    let mut network = network();
    let entry = journal(&network, 1).remove(0);
    assert_eq!(tell(&mut network, 1, &entry), NOT_FOR_JOURNAL, "another centre's");
    let with = |change: &dyn Fn(&mut OpenedRequest)| {
        let mut request = opened(&network, 200);
        change(&mut request);
        Late { disclose: network.disclosure(&request, CENTRE, &key()), ..entry.clone() }
    };
    let refused = [
        with(&|request| request.purpose = Purpose::Treatment),
        with(&|request| request.requester = Requester::Patient),
        with(&|request| request.wishes.clear()),
    ];
    for late in refused {
        assert_eq!(tell(&mut network, CENTRE, &late), NOT_FOR_JOURNAL);
    }
    let foreign = network.disclosure(&opened(&network, 201), 1, &key());
    let late = Late { disclose: foreign, ..entry };
    assert_eq!(tell(&mut network, CENTRE, &late), NOT_FOR_JOURNAL, "another centre's staff");
}

#[test]
fn an_entry_of_the_own_journal_permits_what_it_asks_for() {
    let mut network = network();
    let entry = journal(&network, 1).remove(0);
    let request = opened(&network, 100);
    let transaction = network.sign(CENTRE, Body::Late(Box::new(entry.clone())));
    let vocabulary = vocabulary();
    let admit = |transaction: &Transaction, request: &OpenedRequest, me: usize| {
        let me = &network.genesis.centres[me];
        admit_late(transaction, request, &key(), (me, &vocabulary))
    };
    let permit = admit(&transaction, &request, CENTRE).unwrap();
    assert_eq!(permit.cells().len(), vocabulary.cells.len());
    assert_eq!((permit.request(), permit.receipt()), (request.request, transaction.id()));
    assert_eq!(admit(&transaction, &request, 1), Err(PermitError::Requester));
    let other = opened(&network, 101);
    assert_eq!(admit(&transaction, &other, CENTRE), Err(PermitError::OtherRequest));
    let disclose = Body::Disclose(Box::new(entry.disclose));
    let transaction = {
        let author = (network.id(CENTRE), network.keys[CENTRE].public());
        Draft::new(network.genesis.network(), author, 100, 1, disclose).sign(&network.keys[CENTRE])
    };
    assert_eq!(admit(&transaction, &request, CENTRE), Err(PermitError::NotADisclosure));
}
