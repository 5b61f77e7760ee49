//! A node's secrets: one file that only its owner can read, encrypted except in demonstrations.

use crate::files::{self, PRIVATE};
use crate::locked::{self, Key, Kind};
use crate::unlock;
use aegle_centre::{Certificate, keybox};
use aegle_lake::Kek;
use aegle_ledger::Centre;
use aegle_model::{Name, SigningKey};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// All keys of one node, in hex.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    /// Seed of the key that votes, signs transactions and attests.
    node: String,
    /// PKCS#8 key of the certificate for calls between nodes.
    tls_key: String,
    /// That certificate, DER.
    tls_certificate: String,
    /// P-256 secret that opens what other centres seal to this one.
    seal: String,
    /// The matching point.
    seal_point: String,
    /// The lake's key-encryption key.
    kek: String,
    /// Seed of the key that signs the users' tokens.
    tokens: String,
}

impl Secrets {
    /// Fresh ones.
    pub(crate) fn generate() -> Result<Self> {
        let certificate =
            Certificate::generate().context("could not make the node's certificate")?;
        let (seal, point) = keybox::generate();
        Ok(Self {
            node: hex::encode(random()?),
            tls_key: hex::encode(certificate.key()),
            tls_certificate: hex::encode(certificate.der()),
            seal: hex::encode(&seal),
            seal_point: hex::encode(point),
            kek: hex::encode(random()?),
            tokens: hex::encode(random()?),
        })
    }

    /// The same with another node key and certificate. What is stored here, what was sealed to this
    /// centre and the users' tokens open as before.
    pub(crate) fn renewed(&self) -> Result<Self> {
        let mut renewed = Self::generate()?;
        for (new, old) in [
            (&mut renewed.seal, &self.seal),
            (&mut renewed.seal_point, &self.seal_point),
            (&mut renewed.kek, &self.kek),
            (&mut renewed.tokens, &self.tokens),
        ] {
            new.zeroize();
            new.clone_from(old);
        }
        Ok(renewed)
    }

    /// Writes the file in plain text, for networks that are thrown away; fails when there is one
    /// already.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        files::write_new(path, self.text()?.as_bytes(), PRIVATE)
    }

    /// Writes the file encrypted; fails when there is one already.
    pub(crate) fn save_locked(&self, path: &Path, key: &Key) -> Result<()> {
        files::write_new(path, &locked::lock(self.text()?.as_bytes(), key), PRIVATE)
    }

    /// Reads the file, encrypted or not; `key_file` is the configuration's.
    pub(crate) fn load(path: &Path, key_file: Option<&Path>) -> Result<Self> {
        Self::unlock(path, |kind| unlock::key(kind, key_file)).map(|(secrets, _)| secrets)
    }

    /// Reads the file, with what `key` says opens it, and says what did; nothing when it is not
    /// encrypted.
    pub(crate) fn unlock(
        path: &Path,
        key: impl FnOnce(Kind) -> Result<Key>,
    ) -> Result<(Self, Option<Key>)> {
        let (bytes, key) = aegle_secrets::open(path, key)?;
        let secrets = Self::parse(&bytes)
            .with_context(|| format!("`{}` is not a file of node secrets", path.display()))?;
        Ok((secrets, key))
    }

    /// The file's bytes, encrypted under `key` if there is one.
    pub(crate) fn bytes(&self, key: Option<&Key>) -> Result<Zeroizing<Vec<u8>>> {
        let text = self.text()?;
        Ok(Zeroizing::new(match key {
            Some(key) => locked::lock(text.as_bytes(), key),
            None => text.as_bytes().to_vec(),
        }))
    }

    /// All of it in plain text.
    pub(crate) fn text(&self) -> Result<Zeroizing<String>> {
        Ok(Zeroizing::new(toml::to_string(self)?))
    }

    /// None rather than the parser's message, which would quote the line.
    fn parse(bytes: &[u8]) -> Option<Self> {
        toml::from_str(std::str::from_utf8(bytes).ok()?).ok()
    }

    /// The node's key.
    pub(crate) fn node(&self) -> Result<SigningKey> {
        Ok(SigningKey::from_seed(&*seed(&self.node)?))
    }

    /// The certificate for calls between nodes.
    pub(crate) fn certificate(&self) -> Result<Certificate> {
        let key = Zeroizing::new(hex::decode(&self.tls_key)?);
        Ok(Certificate::from_der(hex::decode(&self.tls_certificate)?, key))
    }

    /// Opens what other centres seal.
    pub(crate) fn seal(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(hex::decode(&self.seal)?))
    }

    /// The lake's key-encryption key.
    pub(crate) fn kek(&self) -> Result<Kek> {
        Ok(Kek::from_array(*seed(&self.kek)?))
    }

    /// Signs the users' tokens.
    pub(crate) fn tokens(&self) -> Result<Zeroizing<[u8; 32]>> {
        seed(&self.tokens)
    }

    /// What the network may know of this centre.
    pub(crate) fn card(&self, code: Name) -> Result<Centre> {
        let key = self.node()?.public();
        let mut point = [0; 65];
        hex::decode_to_slice(&self.seal_point, &mut point)?;
        Ok(Centre {
            id: Centre::id_of(&key),
            code,
            key,
            tls: self.certificate()?.pin(),
            seal: point,
        })
    }
}

fn seed(text: &str) -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, &mut *bytes).context("a key is not 64 hex digits")?;
    Ok(bytes)
}

fn random() -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(key: &Key) -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::generate().unwrap();
        secrets.save(&folder.path().join("plain")).unwrap();
        secrets.save_locked(&folder.path().join("locked"), key).unwrap();
        (folder, secrets)
    }

    #[test]
    fn plain_and_locked_secrets_are_told_apart() {
        let (folder, secrets) = folder_with(&Key::File(Zeroizing::new([7; 32])));
        let key_file = folder.path().join("key");
        std::fs::write(&key_file, [7; 32]).unwrap();
        for name in ["plain", "locked"] {
            let loaded = Secrets::load(&folder.path().join(name), Some(&key_file)).unwrap();
            assert_eq!(loaded.node, secrets.node, "{name}");
        }
        let stored = std::fs::read(folder.path().join("locked")).unwrap();
        let seed = secrets.node.as_bytes();
        assert!(!stored.windows(seed.len()).any(|window| window == seed));
    }

    #[test]
    fn each_mistake_has_a_message_of_its_own() {
        let (folder, _) = folder_with(&Key::File(Zeroizing::new([7; 32])));
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("other"), [8; 32]).unwrap();
        std::fs::write(place("text"), "node = 1").unwrap();
        let other = Some(place("other"));
        let cases = [
            ("missing", None, "could not read"),
            ("text", None, "is not a file of node secrets"),
            ("locked", None, "locked with a key file; name it"),
            ("locked", other, "not the one that it was locked with"),
        ];
        for (name, key_file, said) in cases {
            let loaded = Secrets::load(&place(name), key_file.as_deref());
            let error = format!("{:#}", loaded.err().unwrap());
            assert!(error.contains(said) && error.contains(name), "{error}");
        }
    }
}
