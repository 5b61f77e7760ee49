//! Genesis files.
#![no_main]

use aegle_fuzz::decode;
use aegle_ledger::{Genesis, genesis_header, genesis_state};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(genesis) = decode::<Genesis>(bytes)
        && genesis.check().is_ok()
    {
        let _ = (genesis_header(&genesis), genesis_state(&genesis));
    }
});
