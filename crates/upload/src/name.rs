//! Names of files in a source folder, as strangers may choose them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A path inside a source folder: a few plain parts with `/` between them. No part is hidden, none
/// leads up, and none has a sign that a shell, a terminal or another system reads in its own way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

/// A name that no upload may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAFileName {
    /// Too long or too deep.
    #[error(
        "the file name must have 1 to {PARTS} parts with `/` between them, each of 1 to {BYTES} bytes"
    )]
    Size,
    /// A sign or a form that could mean something else.
    #[error(
        "each part of the file name must begin with a letter, a digit or `_` and may hold `-_.,+=()@` and spaces besides"
    )]
    Form,
    /// The catalogue says who may see what; a delivery never changes it.
    #[error("a catalogue cannot be uploaded")]
    Catalogue,
}

/// How many parts a name may have.
const PARTS: usize = 8;
/// How long a part may be, in bytes.
const BYTES: usize = 200;

impl FileName {
    /// Checks a name.
    pub fn new(text: &str) -> Result<Self, NotAFileName> {
        let parts = || text.split('/');
        let sized = |part: &str| (1..=BYTES).contains(&part.len());
        if parts().count() > PARTS || !parts().all(sized) {
            return Err(NotAFileName::Size);
        }
        if !parts().all(is_plain) {
            return Err(NotAFileName::Form);
        }
        if text.eq_ignore_ascii_case(aegle_lake::catalogue::FILE) {
            return Err(NotAFileName::Catalogue);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_plain(part: &str) -> bool {
    let begins = |sign: char| sign.is_alphanumeric() || sign == '_';
    let goes_on = |sign: char| begins(sign) || "-.,+=()@ ".contains(sign);
    part.starts_with(begins) && part.chars().all(goes_on) && !part.ends_with(['.', ' '])
}

impl TryFrom<String> for FileName {
    type Error = NotAFileName;

    fn try_from(text: String) -> Result<Self, NotAFileName> {
        Self::new(&text)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_names() {
        for good in
            ["use.csv", "ndjson/Observation.ndjson", "4711/2024-01-01_foto (1).png", "ü.csv"]
        {
            assert_eq!(FileName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "../use.csv",
            "..",
            ".",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "a/",
            ".hidden",
            "a/.hidden",
            "a\\b",
            "a\0b",
            "a\nb",
            "C:a",
            "~root",
            "-rf",
            "a\u{202e}b",
            " a",
            "a.",
            "a\u{7f}",
            "*",
        ] {
            assert!(FileName::new(bad).is_err(), "{bad:?}");
        }
        let (long, deep) = ("a".repeat(BYTES + 1), ["a"; PARTS + 1].join("/"));
        for bad in ["", &long, &deep] {
            assert_eq!(FileName::new(bad), Err(NotAFileName::Size));
        }
        for catalogue in ["catalogue.toml", "Catalogue.TOML"] {
            assert_eq!(FileName::new(catalogue), Err(NotAFileName::Catalogue));
        }
    }
}
