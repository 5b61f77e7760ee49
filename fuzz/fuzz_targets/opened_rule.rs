//! Rules in the clear, as they are unsealed, blinded again.
#![no_main]

use aegle_fuzz::decode;
use aegle_ledger::OpenedRule;
use aegle_model::RecordKey;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(rule) = decode::<OpenedRule>(bytes) {
        let _ = rule.blind(&RecordKey::from_array([1; 32]));
    }
});
