//! Opened requests as requesters' centres send them, blinded as a guardian does.
#![no_main]

use aegle_fuzz::decode;
use aegle_ledger::{OpenedRequest, fixture::vocabulary};
use aegle_model::RecordKey;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(opened) = decode::<OpenedRequest>(bytes) {
        let (vocabulary, key) = (vocabulary(), RecordKey::from_array([1; 32]));
        let _ = opened.question(&key, |_| Some(&vocabulary));
    }
});
