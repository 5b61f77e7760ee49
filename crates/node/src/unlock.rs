//! What new secrets are locked with: a pass phrase or a key file that is chosen now.

use crate::files::{self, PRIVATE};
use aegle_identity::{PASSPHRASE_CHARS_MAX, PASSPHRASE_CHARS_MIN, PassphraseError};
use aegle_secrets::locked::KEY_BYTES;
pub(crate) use aegle_secrets::unlock::{PASSPHRASE, key, known, read_key_file};
use aegle_secrets::unlock::{ask, given};
use anyhow::{Context, Result, bail};
use std::path::Path;
use zeroize::Zeroizing;

/// A pass phrase that is chosen now: from the environment variable, else asked twice.
pub(crate) fn chosen(variable: &str, prompt: &str) -> Result<Zeroizing<String>> {
    let words = match given(variable)? {
        Some(words) => words,
        None => ask_twice(variable, prompt)?,
    };
    check(&words).with_context(|| format!("could not take the {}", prompt.to_lowercase()))?;
    Ok(words)
}

fn ask_twice(variable: &str, prompt: &str) -> Result<Zeroizing<String>> {
    let words = ask(variable, prompt)?;
    if ask(variable, "The same again")? != words {
        bail!("the two are not alike; start again");
    }
    Ok(words)
}

/// Holds all pass phrases to what sign-in demands of those of users.
fn check(words: &str) -> Result<(), PassphraseError> {
    let range = PASSPHRASE_CHARS_MIN..=PASSPHRASE_CHARS_MAX;
    if range.contains(&words.chars().count()) { Ok(()) } else { Err(PassphraseError) }
}

/// The key in this file; makes the file when there is none.
pub(crate) fn chosen_key_file(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
    if !path.exists() {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *key).context("the system gives no random bytes")?;
        files::write_new(path, &*key, PRIVATE)?;
    }
    read_key_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = chosen_key_file(&path).unwrap();
        assert_ne!(*made, [0; KEY_BYTES]);
        assert_eq!(chosen_key_file(&path).unwrap(), made);
        assert_eq!(read_key_file(&path).unwrap(), made);
    }

    #[test]
    fn a_file_of_another_length_is_no_key_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for length in [0, KEY_BYTES - 1, KEY_BYTES + 1] {
            std::fs::write(&path, vec![7; length]).unwrap();
            let error = read_key_file(&path).unwrap_err().to_string();
            assert!(error.contains("exactly 32 bytes"), "{error}");
        }
        let missing = read_key_file(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("could not read the key file"), "{missing}");
    }

    #[test]
    fn a_chosen_pass_phrase_is_as_long_as_a_users() {
        assert!(check("fourteen signs").is_err());
        assert!(check("fifteen letters").is_ok());
        assert!(check(&"a".repeat(257)).is_err());
    }
}
