//! Credentials: who may deliver which files into which source folder, how much, until when.

use crate::name::FileName;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use glob::{MatchOptions, Pattern};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use zeroize::Zeroizing;

/// What an operator calls a credential, such as `laboratory`. It is the name of its file, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialName(String);

/// A text that names no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a credential's name has 1 to 40 small letters, digits and `-`")]
pub struct NotACredentialName;

impl CredentialName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialName {
    type Err = NotACredentialName;

    fn from_str(text: &str) -> Result<Self, NotACredentialName> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=40).contains(&text.len()) && text.bytes().all(fits);
        good.then(|| Self(text.to_owned())).ok_or(NotACredentialName)
    }
}

impl TryFrom<String> for CredentialName {
    type Error = NotACredentialName;

    fn try_from(text: String) -> Result<Self, NotACredentialName> {
        text.parse()
    }
}

impl From<CredentialName> for String {
    fn from(name: CredentialName) -> Self {
        name.0
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a credential allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The source folder, from the root.
    pub source: PathBuf,
    /// Patterns of file names; `*` stands for any text without `/`, `**` for any folders.
    pub allow: Vec<String>,
    /// How many bytes may be delivered in all, those included that lie in the area.
    pub bytes_max: u64,
    /// How many bytes one file may have.
    pub file_bytes_max: u64,
    /// How many uploads may be unfinished at once.
    pub open_max: u32,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

impl Scope {
    /// Whether a file may have this name.
    pub fn allows(&self, name: &FileName) -> bool {
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let mut patterns = self.allow.iter().filter_map(|pattern| Pattern::new(pattern).ok());
        patterns.any(|pattern| pattern.matches_with(name.as_str(), options))
    }
}

/// A credential as it is kept: never its secret, only the secret's hash. The secret is 256 random
/// bits, so nothing slower than a hash is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Its name.
    pub name: CredentialName,
    /// SHA-256 of the secret, in hex.
    pub(crate) secret_sha256: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
    /// Since when it is no longer good.
    pub revoked: Option<Timestamp>,
}

impl Credential {
    /// Whether it is good at this time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.scope.expires.is_none_or(|end| now < end)
    }

    /// Whether this secret is its own. It takes as long whatever the secret is.
    pub(crate) fn is_of(&self, secret: &Secret) -> bool {
        verify_slices_are_equal(self.secret_sha256.as_bytes(), secret.hash().as_bytes()).is_ok()
    }
}

/// What a system shows to deliver under a credential: `NAME.` and 64 hex digits.
pub struct Secret {
    /// Of the credential.
    pub name: CredentialName,
    digits: Zeroizing<String>,
}

impl Secret {
    /// A fresh one.
    pub(crate) fn generate(name: CredentialName) -> std::io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(std::io::Error::other)?;
        Ok(Self { name, digits: Zeroizing::new(hex::encode(bytes.as_slice())) })
    }

    /// The value of `Authorization`, if it is one.
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
        let (name, digits) = token.trim().split_once('.')?;
        let right = scheme.eq_ignore_ascii_case("bearer") && digits.len() == 64;
        let digits = Zeroizing::new(digits.to_owned());
        Some(Self { name: name.parse().ok().filter(|_| right)?, digits })
    }

    pub(crate) fn hash(&self) -> String {
        hex::encode(digest(&SHA256, self.digits.as_bytes()))
    }

    /// The secret itself, to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.name, *self.digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_do_not_cross_folders_unless_told() {
        let scope = |allow: &str| Scope {
            source: PathBuf::from("/source"),
            allow: vec![allow.to_owned()],
            bytes_max: 1,
            file_bytes_max: 1,
            open_max: 1,
            expires: None,
        };
        let allows = |allow, name| scope(allow).allows(&FileName::new(name).unwrap());
        assert!(allows("*.csv", "use.csv"));
        assert!(!allows("*.csv", "scans/use.csv"));
        assert!(!allows("*.csv", "use.pdf"));
        assert!(allows("scans/**/*.pdf", "scans/4711/2024/a.pdf"));
        assert!(!allows("scans/**/*.pdf", "other/4711/a.pdf"));
        assert!(!allows("[", "a"));
    }

    #[test]
    fn a_secret_is_read_back_from_its_header_only_whole() {
        let secret = Secret::generate("lab-1".parse().unwrap()).unwrap();
        let header = format!("Bearer {}", *secret.reveal());
        let read = Secret::parse(header.as_bytes()).unwrap();
        assert_eq!((read.hash(), &read.name), (secret.hash(), &secret.name));
        let digits = secret.digits.as_str();
        for bad in [
            format!("Basic lab-1.{digits}"),
            format!("Bearer {digits}"),
            format!("Bearer lab-1.{}", &digits[1..]),
            format!("Bearer ../lab.{digits}"),
            "Bearer".to_owned(),
        ] {
            assert!(Secret::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
