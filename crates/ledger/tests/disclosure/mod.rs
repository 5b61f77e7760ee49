//! A disclosure as it is in practice, for what measures proofs: a doctor with one department asks
//! for everything at two of four centres.

use aegle_ledger::fixture::{Network, bytes, name};
use aegle_ledger::{
    Attestation, Body, Disclose, Enrol, Genesis, Link, OpenedRequest, Outcome, Publish, Receipt,
    Wish,
};
use aegle_model::{
    ALL, Canonical, Cell, Hash, PatientId, RecordKey, RequestId, Requester, Tag, TagName,
    Timestamp, Vocabulary,
};
use std::collections::BTreeMap;

const PATIENT: PatientId = PatientId::from_array([7; 16]);
/// Where the patient is linked: the guardian and a second centre with data.
const HOMES: [usize; 2] = [0, 2];
const DOCTORS: usize = 1;
/// What AES-256-GCM adds to the opened request: nonce and tag.
const SEALING_BYTES: usize = 12 + 16;

/// How much the two centres have.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Tags of each centre, `all` among them.
    pub(crate) tags: [u8; 2],
    /// Cells of each centre.
    pub(crate) cells: [u8; 2],
}

/// The genesis and the receipt of the disclosure, in a block of `entries` transactions.
pub(crate) fn receipt(shape: Shape, entries: u8) -> (Genesis, Receipt) {
    let key = RecordKey::from_array([9; 32]);
    let vocabularies = [0, 1].map(|centre| vocabulary(shape.tags[centre], shape.cells[centre]));
    let mut network = Network::new(4);
    for (home, vocabulary) in HOMES.iter().zip(&vocabularies) {
        network.submit(*home, Body::Publish(Publish { vocabulary: vocabulary.clone() }));
    }
    enrol(&mut network, &key);
    let opened = opened(&network);
    let disclose = blinded(&network, &opened, &vocabularies, &key);
    let mut block = vec![network.sign(HOMES[0], Body::Disclose(Box::new(disclose)))];
    for other in 1..entries {
        let patient = PatientId::from_array([100 + other; 16]);
        let enrol = Enrol { patient, commitment: Hash::ZERO };
        block.push(network.sign(HOMES[0], Body::Enrol(enrol)));
    }
    assert!(matches!(network.commit(&block)[0], Outcome::Decided(_)));
    let receipt = network.receipt(&block[0].id());
    (network.genesis, receipt)
}

fn vocabulary(tags: u8, cells: u8) -> Vocabulary {
    let names: Vec<TagName> = (1..tags).map(|tag| name(&format!("tag{tag:02}"))).collect();
    // Bits that differ from cell to cell say which tags it carries besides `all`.
    let cell = |number: u8| {
        let carried =
            names.iter().zip(0..).filter(|(_, bit)| ((u32::from(number) * 83) >> bit) & 1 == 1);
        let carried = carried.map(|(tag, _)| (tag.clone(), 1));
        Cell { tags: carried.chain([(name(ALL), 1)]).collect() }
    };
    let mut cells: Vec<_> = (1..=cells).map(cell).collect();
    cells.sort();
    let tag = |tag: &TagName| Tag { name: tag.clone(), labels: BTreeMap::new() };
    let tags = [name(ALL)].iter().chain(&names).map(tag).collect();
    Vocabulary { version: 1, catalogue: Hash::ZERO, tags, cells }
}

fn enrol(network: &mut Network, key: &RecordKey) {
    let (commitment, speaks) = (key.commitment(), false);
    network.submit(HOMES[0], Body::Enrol(Enrol { patient: PATIENT, commitment }));
    let by_patient = Attestation::of_link(
        network.genesis.network(),
        (PATIENT, network.id(HOMES[1]), speaks),
        network.id(HOMES[0]),
        &network.keys[HOMES[0]],
    );
    let link = Link { patient: PATIENT, speaks, commitment, by_patient };
    assert_eq!(network.submit(HOMES[1], Body::Link(link)), Outcome::Done);
}

fn opened(network: &Network) -> OpenedRequest {
    let mut homes = HOMES.map(|home| network.id(home));
    homes.sort();
    OpenedRequest {
        network: network.genesis.network(),
        request: RequestId::from_array(bytes(1)),
        patient: PATIENT,
        requester: Requester::Professional {
            centre: network.id(DOCTORS),
            id: name("207"),
            departments: vec![name("1")],
        },
        purpose: aegle_access::Purpose::Treatment,
        reason: None,
        wishes: homes.map(|centre| Wish { centre, tags: vec![name(ALL)] }).to_vec(),
        recipient: [4; 65],
        asked: Timestamp(1_000),
    }
}

fn blinded(
    network: &Network,
    opened: &OpenedRequest,
    vocabularies: &[Vocabulary; 2],
    key: &RecordKey,
) -> Disclose {
    let published = |centre| {
        let homes = HOMES.iter().zip(vocabularies);
        homes.filter(|(home, _)| network.id(**home) == centre).map(|(_, known)| known).next()
    };
    let (question, catalogues) = opened.question(key, published).expect("the tags are known");
    Disclose {
        request: opened.request,
        patient: PATIENT,
        requester: Attestation::of_request(opened, network.id(DOCTORS), &network.keys[DOCTORS]),
        opened: opened.hash(),
        sealed: vec![0; SEALING_BYTES + opened.to_bytes().len()],
        question,
        catalogues,
    }
}
