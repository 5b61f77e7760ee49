//! Transactions as clients and other nodes send them.
#![no_main]

use aegle_fuzz::decode;
use aegle_ledger::Transaction;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(transaction) = decode::<Transaction>(bytes) {
        let _ = transaction.check(transaction.network());
        let _ = transaction.id();
    }
});
