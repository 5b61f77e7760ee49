//! A node's secrets: one file that only its owner can read.

use aegle_centre::{Certificate, keybox};
use aegle_lake::Kek;
use aegle_ledger::Centre;
use aegle_model::{Name, SigningKey};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
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

    /// Writes the file; fails when there is one already.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = Zeroizing::new(toml::to_string(self)?);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = opened.with_context(|| format!("could not create `{}`", path.display()))?;
        file.write_all(text.as_bytes())?;
        Ok(file.sync_all()?)
    }

    /// Reads the file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let read = std::fs::read_to_string(path);
        let text =
            Zeroizing::new(read.with_context(|| format!("could not read `{}`", path.display()))?);
        // The parser's message would quote the line.
        toml::from_str(&text)
            .map_err(|_| anyhow::anyhow!("`{}` is not a file of node secrets", path.display()))
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
