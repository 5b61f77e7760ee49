//! Blocks as other nodes send them.
#![no_main]

use aegle_fuzz::decode;
use aegle_ledger::Block;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let plain = decode::<Block>(bytes);
    if let Ok(block) = Block::decode(bytes) {
        assert_eq!(Some(block), plain);
    }
});
