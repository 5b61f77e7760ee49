//! Where the key of a node's secrets comes from: the environment, a key file, or the terminal.

use crate::locked::{KEY_BYTES, Key, Kind};
use anyhow::{Context, Result, bail};
use std::env::{self, VarError};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The pass phrase of the secrets comes from here when nobody is at a terminal.
pub const PASSPHRASE: &str = "AEGLE_PASSPHRASE";
/// A key file that goes before the one of the configuration: a service manager chooses the place.
const KEY_FILE: &str = "AEGLE_KEY_FILE";

/// The key that opens secrets of this kind; `configured` is the configuration's key file.
pub fn key(kind: Kind, configured: Option<&Path>) -> Result<Key> {
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
pub fn known(variable: &str, prompt: &str) -> Result<Zeroizing<String>> {
    match given(variable)? {
        Some(words) => Ok(words),
        None => ask(variable, prompt),
    }
}

/// What the environment variable says, if it is set.
pub fn given(variable: &str) -> Result<Option<Zeroizing<String>>> {
    match env::var(variable) {
        Ok(words) => Ok(Some(Zeroizing::new(words))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{variable} is not UTF-8"),
    }
}

/// Asks at the terminal; the variable is what could be set instead.
pub fn ask(variable: &str, prompt: &str) -> Result<Zeroizing<String>> {
    let asked = rpassword::prompt_password(format!("{prompt}: "));
    Ok(Zeroizing::new(asked.with_context(|| {
        format!("could not ask for the {}; set {variable}", prompt.to_lowercase())
    })?))
}

/// The key in this file, which must hold exactly that.
pub fn read_key_file(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
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
