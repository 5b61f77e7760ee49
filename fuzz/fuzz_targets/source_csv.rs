//! CSV files. Whatever they hold, a check ends in a report.
#![no_main]

use aegle_fuzz::source::Folder;
use std::sync::LazyLock;

/// A CSV file lies beside the catalogue, is called like its table, and has no source of its own.
const CATALOGUE: &str = "\
    centre = \"ZMC\"\nversion = 1\nlanguage = \"en\"\n[tags]\nt = { en = \"T\" }\n\
    [tables.one]\npatient = \"p\"\n[tables.one.columns]\np = { type = \"text\", key = true }\n\
    c = { type = \"text\", tags = [\"t\"] }\n";

static FOLDER: LazyLock<Folder> = LazyLock::new(|| Folder::new(CATALOGUE, "one.csv"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(FOLDER.check(bytes).tables.len() == 1, "the catalogue is sound");
});
