//! The key that signs tokens, and those that signed the last ones.

use crate::store::{Store, StoreError};
use crate::token::ACCESS_LIFE_S;
use aegle_model::Timestamp;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use rusqlite::params;
use std::collections::BTreeMap;
use zeroize::{Zeroize, Zeroizing};

/// Why a signing key could not be used. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The library refused the seed.
    #[error("could not make the token signing key from its seed; give 32 random bytes")]
    Seed,
    /// The keys of earlier runs could not be read or the new one not kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A public key and when it stops; the one without an end signs.
struct Verifying {
    key: DecodingKey,
    /// The public key, base64url, as the published set writes it.
    x: String,
    until: Option<Timestamp>,
}

/// One key signs, it and the one before verify.
pub(crate) struct Keys {
    id: String,
    signing: EncodingKey,
    logins: hmac::Key,
    verifying: BTreeMap<String, Verifying>,
}

impl Keys {
    /// Makes the key of `seed` the one that signs.
    pub(crate) fn open(
        store: &Store,
        seed: &Zeroizing<[u8; 32]>,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).map_err(|_| KeyError::Seed)?;
        let public = pair.public_key().as_ref();
        let (id, _) = published(public);
        Ok(Self {
            id,
            signing: signing(&pair)?,
            logins: derived(seed),
            verifying: rotate(store, public, now)?,
        })
    }

    /// The id and the key that sign.
    pub(crate) fn signing(&self) -> (&str, &EncodingKey) {
        (&self.id, &self.signing)
    }

    /// The key with this id, if tokens that it signed are good at `now`.
    pub(crate) fn verifying(&self, id: &str, now: Timestamp) -> Option<&DecodingKey> {
        let found = self.verifying.get(id)?;
        found.until.is_none_or(|until| now < until).then_some(&found.key)
    }

    /// Hashes logins in the list of failed attempts.
    pub(crate) fn logins(&self) -> &hmac::Key {
        &self.logins
    }

    /// The JSON Web Key Set (RFC 7517, RFC 8037) of the keys that verify at `now`.
    pub(crate) fn published(&self, now: Timestamp) -> serde_json::Value {
        let good = self.verifying.iter().filter(|(id, _)| self.verifying(id, now).is_some());
        let keys = good.map(|(id, key)| {
            serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": key.x,
            })
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

/// Gives every other key an end, drops those whose end has come, keeps the new one.
fn rotate(
    store: &Store,
    public: &[u8],
    now: Timestamp,
) -> Result<BTreeMap<String, Verifying>, StoreError> {
    let end = now.0.saturating_add(ACCESS_LIFE_S * 1000);
    store.transact(|transaction| {
        let retire = "UPDATE keys SET until_ms = ?1 WHERE until_ms IS NULL AND public <> ?2";
        transaction.execute(retire, params![end, public])?;
        transaction.execute("DELETE FROM keys WHERE until_ms <= ?1", [now.0])?;
        let insert = "INSERT INTO keys (public) VALUES (?1)
                      ON CONFLICT (public) DO UPDATE SET until_ms = NULL";
        transaction.execute(insert, [public])?;
        let mut query = transaction.prepare("SELECT public, until_ms FROM keys")?;
        let rows = query.query_map([], |row| {
            let public: Vec<u8> = row.get(0)?;
            let until = row.get::<_, Option<u64>>(1)?.map(Timestamp);
            let (id, x) = published(&public);
            Ok((id, Verifying { key: DecodingKey::from_ed_der(&public), x, until }))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// Id (RFC 7638 thumbprint) and base64url of a public key.
fn published(public: &[u8]) -> (String, String) {
    let x = URL_SAFE_NO_PAD.encode(public);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let print = digest::digest(&digest::SHA256, members.as_bytes());
    (URL_SAFE_NO_PAD.encode(print), x)
}

fn signing(pair: &Ed25519KeyPair) -> Result<EncodingKey, KeyError> {
    // The document wipes itself, the copy inside the key too.
    let document = pair.to_pkcs8v1().map_err(|_| KeyError::Seed)?;
    Ok(EncodingKey::from_ed_der(document.as_ref()))
}

/// A key for another purpose, from the same seed.
fn derived(seed: &[u8; 32]) -> hmac::Key {
    let parent = hmac::Key::new(hmac::HMAC_SHA256, seed);
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&parent, b"aegle identity: logins that failed").as_ref());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &tag);
    tag.zeroize();
    key
}
