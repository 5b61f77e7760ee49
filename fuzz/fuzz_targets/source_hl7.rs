//! HL7 v2 messages. Whatever they hold, a check ends in a report.
#![no_main]

use aegle_fuzz::source::{Folder, catalogue};
use std::sync::LazyLock;

static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let catalogue = catalogue("hl7", "data.hl7", "select = \"ORU^R01/OBX\"", "PID-3[5=PI].1", "OBX-5");
    Folder::new(&catalogue, "data.hl7")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(FOLDER.check(bytes).tables.len() == 1, "the catalogue is sound");
});
