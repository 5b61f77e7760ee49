//! Where the key of a node's secrets comes from: the environment, a key file, or the terminal.

use crate::files::{self, PRIVATE};
use crate::locked::{KEY_BYTES, Key, Kind};
use aegle_identity::{PASSPHRASE_CHARS_MAX, PASSPHRASE_CHARS_MIN, PassphraseError};
use anyhow::{Context, Result, bail};
use std::env::{self, VarError};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The pass phrase of the secrets comes from here when nobody is at a terminal.
pub(crate) const PASSPHRASE: &str = "AEGLE_PASSPHRASE";
/// A key file that goes before the one of the configuration: a service manager chooses the place.
pub(crate) const KEY_FILE: &str = "AEGLE_KEY_FILE";

/// The key that opens secrets of this kind; `configured` is the configuration's key file.
pub(crate) fn key(kind: Kind, configured: Option<&Path>) -> Result<Key> {
    let file = env::var_os(KEY_FILE).map(PathBuf::from);
    match (kind, file.as_deref().or(configured)) {
        (Kind::File, Some(path)) => Ok(Key::File(read_key_file(path)?)),
        (Kind::File, None) => bail!(
            "they were locked with a key file; name it as `key_file` in the configuration, or in \
             {KEY_FILE}"
        ),
        (Kind::Passphrase, None) => Ok(Key::Passphrase(known(PASSPHRASE, "Pass phrase")?)),
        (Kind::Passphrase, Some(path)) => bail!(
            "they were locked with a pass phrase, not with the key file `{}`; remove it from the \
             configuration or from {KEY_FILE}",
            path.display()
        ),
    }
}

/// A pass phrase that exists: from the environment variable, else asked once.
pub(crate) fn known(variable: &str, prompt: &str) -> Result<Zeroizing<String>> {
    match given(variable)? {
        Some(words) => Ok(words),
        None => ask(variable, prompt),
    }
}

/// A pass phrase that is chosen now: from the environment variable, else asked twice.
pub(crate) fn chosen(variable: &str, prompt: &str) -> Result<Zeroizing<String>> {
    let words = match given(variable)? {
        Some(words) => words,
        None => ask_twice(variable, prompt)?,
    };
    check(&words).with_context(|| format!("could not take the {}", prompt.to_lowercase()))?;
    Ok(words)
}

fn given(variable: &str) -> Result<Option<Zeroizing<String>>> {
    match env::var(variable) {
        Ok(words) => Ok(Some(Zeroizing::new(words))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{variable} is not UTF-8"),
    }
}

fn ask(variable: &str, prompt: &str) -> Result<Zeroizing<String>> {
    let asked = rpassword::prompt_password(format!("{prompt}: "));
    Ok(Zeroizing::new(asked.with_context(|| {
        format!("could not ask for the {}; set {variable}", prompt.to_lowercase())
    })?))
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

/// The key in this file, which must hold exactly that.
pub(crate) fn read_key_file(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
    let opened = File::open(path);
    let mut file =
        opened.with_context(|| format!("could not read the key file `{}`", path.display()))?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let whole = file.read_exact(&mut *key).is_ok() && matches!(file.read(&mut [0]), Ok(0));
    if !whole {
        bail!("`{}` is no key file: those have exactly {KEY_BYTES} bytes", path.display());
    }
    Ok(key)
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
