//! Segments of a backup as anybody could have written them: the hash at the end is made right first.
#![no_main]

use aegle_fuzz::GENESIS;
use aegle_ledger::{ChainCheck, read_segment, write_segment};
use aegle_model::Hash;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut segment = bytes[..bytes.len().saturating_sub(32)].to_vec();
    segment.extend_from_slice(Hash::sha256(&[&segment]).as_bytes());
    if let Ok(blocks) = read_segment(&segment) {
        assert_eq!(write_segment(blocks.clone()), Some(segment));
        let _ = ChainCheck::new(&GENESIS).take(&blocks);
    }
});
