//! FHIR in JSON: lines of resources. Whatever they hold, a check ends in a report.
#![no_main]

use aegle_fuzz::source::{Folder, catalogue};
use std::sync::LazyLock;

static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let catalogue = catalogue("fhir", "data.ndjson", "select = \"Observation\"", "subject.reference", "code.coding[system=x].code");
    Folder::new(&catalogue, "data.ndjson")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(FOLDER.check(bytes).tables.len() == 1, "the catalogue is sound");
});
