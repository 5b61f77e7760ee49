//! Receipts as requesters present them to a data centre.
#![no_main]

use aegle_fuzz::{GENESIS, decode};
use aegle_ledger::Receipt;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(receipt) = decode::<Receipt>(bytes) {
        let _ = receipt.verify(&GENESIS);
    }
});
