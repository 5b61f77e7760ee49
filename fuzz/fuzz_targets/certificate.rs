//! Quorum certificates.
#![no_main]

use aegle_fuzz::{GENESIS, decode};
use aegle_ledger::Certificate;
use aegle_model::Hash;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(certificate) = decode::<Certificate>(bytes) {
        let held = certificate.verify(GENESIS.network(), &Hash::ZERO, &GENESIS.validators());
        assert!(held.is_err(), "nobody signed this");
    }
});
