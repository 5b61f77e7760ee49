//! FHIR in JSON: a Bundle of resources. Whatever it holds, a check ends in a report.
#![no_main]

use aegle_fuzz::source::{Folder, catalogue};
use std::sync::LazyLock;

static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let catalogue = catalogue("fhir", "data.json", "select = \"Observation\"", "subject.reference", "code.coding[system=x].code");
    Folder::new(&catalogue, "data.json")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(FOLDER.check(bytes).tables.len() == 1, "the catalogue is sound");
});
