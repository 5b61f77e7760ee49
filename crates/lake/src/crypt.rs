//! The few operations on keys that the lake needs: AES-256-GCM, HMAC-SHA-256, randomness.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

/// Bytes that a sealed text is longer than its plain text.
pub(crate) const TAG: usize = 16;

/// A 256-bit secret, wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// A nonce of AES-GCM: must never meet another plain text under the same key.
pub(crate) type NonceBytes = [u8; NONCE_LEN];

/// A sealed text that was altered, or sealed under another key or for another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes were altered or belong elsewhere")]
pub(crate) struct Altered;

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// A fresh random secret.
pub(crate) fn random_secret() -> Secret {
    Zeroizing::new(random())
}

/// AES-256-GCM under one key.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes")))
    }

    /// Seals `plain` in place and appends the tag.
    pub(crate) fn seal(&self, nonce: NonceBytes, aad: &[u8], plain: &mut Vec<u8>) {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_append_tag(nonce, Aad::from(aad), plain);
        sealed.expect("texts are far below the limit of AES-GCM");
    }

    /// Opens `sealed` in place.
    pub(crate) fn open<'a>(
        &self,
        nonce: NonceBytes,
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], Altered> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = self.0.open_in_place(nonce, Aad::from(aad), sealed).map_err(|_| Altered)?;
        Ok(plain)
    }

    /// `nonce ‖ sealed ‖ tag` of a secret, under a random nonce.
    pub(crate) fn wrap(&self, aad: &[u8], secret: &[u8; 32]) -> Vec<u8> {
        let nonce = random();
        let mut sealed = Vec::with_capacity(NONCE_LEN + secret.len() + TAG);
        sealed.extend_from_slice(secret);
        self.seal(nonce, aad, &mut sealed);
        sealed.splice(0..0, nonce);
        sealed
    }

    /// The secret that was [wrapped](Self::wrap).
    pub(crate) fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Result<Secret, Altered> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>().ok_or(Altered)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let plain = self.open(*nonce, aad, &mut buffer)?;
        Ok(Zeroizing::new(plain.try_into().map_err(|_| Altered)?))
    }
}

/// HMAC-SHA-256 under one key. Every use names its domain, so that no two uses ever agree.
#[derive(Clone)]
pub(crate) struct MacKey(hmac::Key);

impl MacKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// `HMAC(len(domain) ‖ domain ‖ parts…)`. The parts of one domain must be of fixed length, or
    /// only the last one may vary.
    pub(crate) fn mac(&self, domain: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = self.context(domain);
        for part in parts {
            context.update(part);
        }
        tag(context.sign())
    }

    /// A [`mac`](Self::mac) whose only part comes piece by piece.
    pub(crate) fn context(&self, domain: &str) -> hmac::Context {
        let length = u8::try_from(domain.len()).expect("domains are short constants");
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[length]);
        context.update(domain.as_bytes());
        context
    }
}

/// The 32 bytes of an HMAC-SHA-256.
pub(crate) fn tag(tag: hmac::Tag) -> [u8; 32] {
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_secret_opens_only_whole_and_in_its_place() {
        let (cipher, secret) = (Cipher::new(&[1; 32]), [7; 32]);
        let wrapped = cipher.wrap(b"here", &secret);
        assert_eq!(*cipher.unwrap(b"here", &wrapped).unwrap(), secret);
        assert_eq!(cipher.unwrap(b"there", &wrapped), Err(Altered));
        assert_eq!(Cipher::new(&[2; 32]).unwrap(b"here", &wrapped), Err(Altered));
        for cut in 0..wrapped.len() {
            assert_eq!(cipher.unwrap(b"here", &wrapped[..cut]), Err(Altered));
        }
        for place in 0..wrapped.len() {
            let mut altered = wrapped.clone();
            altered[place] ^= 1;
            assert_eq!(cipher.unwrap(b"here", &altered), Err(Altered));
        }
    }

    #[test]
    fn a_mac_depends_on_key_domain_and_parts() {
        let key = MacKey::new(&[1; 32]);
        let mut macs = vec![
            key.mac("a", &[b"x"]),
            key.mac("b", &[b"x"]),
            key.mac("a", &[b"y"]),
            MacKey::new(&[2; 32]).mac("a", &[b"x"]),
        ];
        macs.sort_unstable();
        macs.dedup();
        assert_eq!(macs.len(), 4);
    }
}
