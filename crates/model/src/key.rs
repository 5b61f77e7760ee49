//! Ed25519 keys and signatures (RFC 8032) of centres.
//!
//! RFC 8032 leaves open which malformed signatures hold. ZIP 215 does not, so that every node, a proof
//! checked offline, the engine's votes and signatures checked together say the same of any bytes.

use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::Signer;
use ed25519_zebra::batch;
use rand_core::CryptoRng;
use std::fmt;

/// A signature that does not hold, or a key that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the key and the signed bytes")]
pub struct BadSignature;

/// The public half of a [`SigningKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes; whether it is a point shows when it is used.
    pub const fn from_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it can be somebody's key: a point of the curve, and none of the few of small order, for
    /// which anybody can make signatures.
    pub fn is_sound(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0).is_ok_and(|key| !key.is_weak())
    }

    /// Checks that the owner of this key signed `message` for `domain`.
    pub fn verify(
        &self,
        domain: &str,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.verify_raw(&framed(domain, message), signature)
    }

    /// Checks a signature over exactly `bytes`: for formats that bring their own domain.
    pub fn verify_raw(&self, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = ed25519_zebra::VerificationKey::try_from(self.0).map_err(|_| BadSignature)?;
        key.verify(&signature.0.into(), bytes).map_err(|_| BadSignature)
    }
}

/// Signatures that are checked together, for about half of what each costs by itself.
#[derive(Default)]
pub struct Batch(batch::Verifier);

impl Batch {
    /// Adds what [`PublicKey::verify`] checks.
    pub fn add(&mut self, key: &PublicKey, domain: &str, message: &[u8], signature: &Signature) {
        let message = framed(domain, message);
        self.0.queue((key.0.into(), signature.0.into(), &message));
    }

    /// Whether all of them hold; when not, only checking each tells which does not. `random` must be
    /// unpredictable for whoever made the signatures.
    pub fn all_hold(self, random: impl CryptoRng) -> bool {
        self.0.verify(random).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signature([u8; 64]);

impl Signature {
    /// A signature that somebody else made.
    pub const fn from_array(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A secret key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key that this seed stands for.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for storing the key; the caller wipes it.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for `domain`, so that it can mean nothing else elsewhere.
    pub fn sign(&self, domain: &str, message: &[u8]) -> Signature {
        self.sign_raw(&framed(domain, message))
    }

    /// Signs exactly `bytes`: for formats that bring their own domain.
    pub fn sign_raw(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

fn framed(domain: &str, message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(domain.len()).expect("domains are short constants");
    [&[length], domain.as_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::{TryCryptoRng, TryRng};
    use std::convert::Infallible;

    #[test]
    fn a_signature_holds_for_its_key_domain_and_message_only() {
        let key = SigningKey::from_seed(&[7; 32]);
        let signature = key.sign("a", b"message");
        assert_eq!(key.public().verify("a", b"message", &signature), Ok(()));
        assert_eq!(key.public().verify("b", b"message", &signature), Err(BadSignature));
        assert_eq!(key.public().verify("a", b"massage", &signature), Err(BadSignature));
        let other = SigningKey::from_seed(&[8; 32]).public();
        assert_eq!(other.verify("a", b"message", &signature), Err(BadSignature));
    }

    /// Numbers that are good enough where nobody attacks.
    struct Counter(u64);

    impl TryRng for Counter {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            self.try_next_u64().map(|number| u32::try_from(number >> 32).unwrap())
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Ok(self.0)
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            for chunk in bytes.chunks_mut(8) {
                chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Counter {}

    fn random() -> impl CryptoRng {
        Counter(1)
    }

    #[test]
    fn a_batch_holds_when_each_of_its_signatures_does() {
        let keys = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let mut batches = [Batch::default(), Batch::default()];
        for number in 0..10_u8 {
            let key = &keys[usize::from(number % 2)];
            let signature = key.sign("a", &[number]);
            batches[0].add(&key.public(), "a", &[number], &signature);
            batches[1].add(&key.public(), "a", &[number.min(8)], &signature);
        }
        assert_eq!(batches.map(|batch| batch.all_hold(random())), [true, false]);
        assert!(Batch::default().all_hold(random()));
    }

    /// A point of order 8.
    const SMALL: &str = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";

    #[test]
    fn a_key_that_is_no_point_or_everybodys_is_not_sound() {
        assert!(SigningKey::from_seed(&[7; 32]).public().is_sound());
        assert!(!SMALL.parse::<PublicKey>().unwrap().is_sound());
        assert!(!PublicKey([2; 32]).is_sound());
    }

    /// A key and a signature of small order: the rules of RFC 8032 allow either answer.
    #[test]
    fn a_signature_on_which_opinions_differ_holds_everywhere() {
        let key: PublicKey = SMALL.parse().unwrap();
        let signature = Signature([*key.as_bytes(), [0; 32]].concat().try_into().unwrap());
        for message in 0..20_u8 {
            assert_eq!(key.verify("a", &[message], &signature), Ok(()));
            let mut batch = Batch::default();
            batch.add(&key, "a", &[message], &signature);
            assert!(batch.all_hold(random()));
        }
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        let key = SigningKey::from_seed(&[7; 32]);
        assert!(!format!("{key:?}").contains(&hex::encode([7; 32])));
    }
}
