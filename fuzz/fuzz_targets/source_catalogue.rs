//! Catalogues: one that is read is read again to the same hash, one that is not names its holes.
#![no_main]

use aegle_lake::Catalogue;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Catalogue::parse(text) {
        Ok(catalogue) => assert_eq!(catalogue.vocabulary().check(), Ok(())),
        Err(error) => assert!(!error.0.is_empty()),
    }
});
