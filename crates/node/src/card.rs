//! A centre's card: what the other centres may know of it, as text that people send each other
//! (`docs/formats.md`, section 17).
//!
//! The centre's own key signs it, so a card that was changed on its way is noticed. A card that was
//! replaced as a whole is not: people compare the centre's id by another way.

use crate::files::{self, PUBLIC};
use aegle_ledger::Centre;
use aegle_model::{Name, Signature, SigningKey};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::path::Path;

const VERSION: u8 = 1;
/// What the signature is for.
const DOMAIN: &str = "aegle.card";
/// Cards come from other people; none is longer.
const BYTES_MAX: u64 = 4096;

const HEAD: &str = "\
# The card of a medical centre for `aegle genesis`. Nothing in it is secret: send it to everybody
# who takes part. The centre's key signs it, so nothing in it can be changed.
";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u8,
    code: String,
    key: String,
    tls: String,
    seal: String,
    signature: String,
}

/// Writes the card of `centre`, whose node key is `key`.
pub(crate) fn save(path: &Path, centre: &Centre, key: &SigningKey) -> Result<()> {
    files::write_new(path, text(centre, key)?.as_bytes(), PUBLIC)
}

/// Writes the card whole or not at all; for a card that goes with secrets which are there already.
pub(crate) fn save_whole(path: &Path, centre: &Centre, key: &SigningKey) -> Result<()> {
    files::write_whole(path, text(centre, key)?.as_bytes(), PUBLIC)
}

/// Reads a card and checks its signature.
pub(crate) fn load(path: &Path) -> Result<Centre> {
    let read = || {
        ensure!(path.metadata()?.len() <= BYTES_MAX, "it is longer than any card");
        parse(&std::fs::read_to_string(path)?)
    };
    read().with_context(|| format!("could not use the card `{}`", path.display()))
}

fn text(centre: &Centre, key: &SigningKey) -> Result<String> {
    let file = File {
        version: VERSION,
        code: centre.code.to_string(),
        key: centre.key.to_string(),
        tls: centre.tls.to_string(),
        seal: hex::encode(centre.seal),
        signature: hex::encode(key.sign(DOMAIN, &signed(centre)?).as_bytes()),
    };
    Ok(format!("{HEAD}{}", toml::to_string(&file)?))
}

fn parse(text: &str) -> Result<Centre> {
    let file: File = toml::from_str(text)?;
    if file.version != VERSION {
        bail!("it has version {}; this program knows version {VERSION}", file.version);
    }
    let key = file.key.parse().context("`key` is not 64 hex digits")?;
    let centre = Centre {
        id: Centre::id_of(&key),
        code: Name::new(file.code).context("`code` cannot be a centre's code")?,
        key,
        tls: file.tls.parse().context("`tls` is not 64 hex digits")?,
        seal: digits(&file.seal).context("`seal` is not 130 hex digits")?,
    };
    let signature = digits(&file.signature).context("`signature` is not 128 hex digits")?;
    let verified = key.verify(DOMAIN, &signed(&centre)?, &Signature::from_array(signature));
    verified.context("it was changed after its centre signed it; ask the centre for it again")?;
    Ok(centre)
}

/// The bytes that are signed: the centre as it will stand in the genesis.
fn signed(centre: &Centre) -> Result<Vec<u8>> {
    Ok(borsh::to_vec(centre)?)
}

fn digits<const N: usize>(text: &str) -> Result<[u8; N], hex::FromHexError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aegle_model::Hash;

    /// The card of a centre that this seed stands for.
    pub(crate) fn sample(code: &str, seed: u8) -> (Centre, SigningKey) {
        let signing = SigningKey::from_seed(&[seed; 32]);
        let key = signing.public();
        let code = Name::new(code).unwrap();
        let tls = Hash::from_array([seed; 32]);
        (Centre { id: Centre::id_of(&key), code, key, tls, seal: [seed; 65] }, signing)
    }

    #[test]
    fn a_card_comes_back_as_it_was_written() {
        let (centre, key) = sample("Zürich \"M\" # 1", 7);
        assert_eq!(parse(&text(&centre, &key).unwrap()).unwrap(), centre);
    }

    #[test]
    fn a_card_of_version_1_never_changes() {
        let (centre, key) = sample("ZMC", 7);
        assert_eq!(text(&centre, &key).unwrap(), include_str!("card.v1.toml"));
    }

    #[test]
    fn every_change_of_a_card_is_noticed() {
        let (centre, key) = sample("ZMC", 7);
        let card = text(&centre, &key).unwrap();
        let other = sample("ZMC", 8).0;
        let changes = [
            ("ZMC", "ZMD".to_owned()),
            (&centre.key.to_string(), other.key.to_string()),
            (&centre.tls.to_string(), other.tls.to_string()),
            (&hex::encode(centre.seal), hex::encode(other.seal)),
        ];
        for (from, to) in changes {
            let error = parse(&card.replacen(from, &to, 1)).unwrap_err();
            assert!(error.to_string().contains("changed after"), "{from}: {error:#}");
        }
        let version = parse(&card.replace("version = 1", "version = 2")).unwrap_err();
        assert!(version.to_string().contains("version 2"), "{version:#}");
        assert!(parse(&format!("{card}more = 1\n")).is_err());
        assert!(parse(&card[..card.len() / 2]).is_err());
    }

    #[test]
    fn the_card_at_fault_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.toml");
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("card.toml"), "{error}");
        std::fs::write(&path, vec![b'#'; 5000]).unwrap();
        let error = format!("{:#}", load(&path).unwrap_err());
        assert!(error.contains("card.toml") && error.contains("longer than any card"), "{error}");
    }
}
