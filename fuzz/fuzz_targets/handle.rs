//! Handles as people type them.
#![no_main]

use aegle_model::Handle;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(handle) = text.parse::<Handle>() {
        assert_eq!(handle.to_string().parse(), Ok(handle));
        assert!(handle.bits() < 1 << 60);
    }
});
