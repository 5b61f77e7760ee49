//! Patients' logs as a node hands them out.
#![no_main]

use aegle_fuzz::{GENESIS, decode};
use aegle_ledger::PatientLog;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(log) = decode::<PatientLog>(bytes) {
        let _ = log.verify(&GENESIS);
    }
});
