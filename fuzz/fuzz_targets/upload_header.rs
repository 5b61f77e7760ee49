//! What strangers write into the headers of an upload: metadata with a file's name, checksums.
#![no_main]

use aegle_upload::FileName;
use aegle_upload::header::{Checksum, Metadata};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(metadata) = Metadata::parse(bytes) {
        check_name(&metadata.filename);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_name(text);
    }
    let _ = Checksum::parse(bytes);
});

/// What is a name never leads out of a folder, and is hidden nowhere.
fn check_name(text: &str) {
    let Ok(name) = FileName::new(text) else { return };
    let inside = |part| matches!(part, std::path::Component::Normal(_));
    assert!(std::path::Path::new(name.as_str()).components().all(inside));
    assert!(name.as_str().split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
}
