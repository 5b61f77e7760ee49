//! Vocabularies as centres publish them; every request for one that passes its checks can be made.
#![no_main]

use aegle_access::{Part, Purpose};
use aegle_fuzz::decode;
use aegle_ledger::{OpenedRequest, Wish};
use aegle_model::{
    CentreId, NetworkId, PatientId, RecordKey, RequestId, Requester, Timestamp, Vocabulary,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(vocabulary) = decode::<Vocabulary>(bytes) else { return };
    if vocabulary.check().is_err() {
        return;
    }
    for tag in &vocabulary.tags {
        if vocabulary.tag_version(&tag.name).is_ok() {
            let (part, cells) =
                part(&vocabulary, &Wish { centre: CENTRE, tags: vec![tag.name.clone()] });
            assert_eq!(part.cells().len(), cells.len());
        }
    }
});

const CENTRE: CentreId = CentreId::from_array([1; 16]);

fn part(vocabulary: &Vocabulary, wish: &Wish) -> (Part, Vec<aegle_model::CellId>) {
    let opened = OpenedRequest {
        network: NetworkId::from_array([0; 16]),
        request: RequestId::from_array([0; 16]),
        patient: PatientId::from_array([0; 16]),
        requester: Requester::Patient,
        purpose: Purpose::Treatment,
        reason: None,
        wishes: Vec::new(),
        recipient: [0; 65],
        asked: Timestamp(0),
    };
    let key = RecordKey::from_array([1; 32]);
    opened.part(wish, &key, vocabulary).expect("a checked vocabulary fits into a request")
}
