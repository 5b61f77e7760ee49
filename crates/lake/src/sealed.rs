//! Sealed parts: HPKE (RFC 9180) in base mode to the requester's one-time key.
//!
//! DHKEM(P-256, HKDF-SHA-256), HKDF-SHA-256, AES-256-GCM: what a browser can open with `WebCrypto`.
//! Format: encapsulated key (65 bytes, an uncompressed point) ‖ ciphertext. Info is
//! `aegle part v1`; the associated data is request id (16 bytes) ‖ receipt hash (32 bytes), so that
//! a part opens only as the answer to the request it was made for.
//!
//! The implementation is that of `rustls`, which computes with `aws-lc`: sealing costs a fraction
//! of what the `hpke` crate needs in pure Rust. The tests hold the two against each other.

use aegle_model::{Hash, RequestId};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_P256_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

/// Bytes of an uncompressed P-256 point: a recipient's key, and the head of a sealed part.
pub const POINT: usize = 65;

const INFO: &[u8] = b"aegle part v1";

/// Why a part could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The requester's key is no point of the curve.
    #[error("the requester's one-time key is no P-256 point; make a new one and ask again")]
    Recipient,
    /// The part is for another key, request or receipt, or was altered.
    #[error("the sealed part does not open with this key for this request and receipt")]
    Unopened,
}

/// What a sealed part answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The request.
    pub request: RequestId,
    /// The hash of the receipt that permitted it.
    pub receipt: Hash,
}

impl Answer {
    fn bind(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(self.request.as_bytes());
        bytes[16..].copy_from_slice(self.receipt.as_bytes());
        bytes
    }
}

/// Seals the bytes of a part to `recipient`, an uncompressed P-256 point.
pub fn seal(recipient: &[u8; POINT], answer: &Answer, part: &[u8]) -> Result<Vec<u8>, SealError> {
    let recipient = HpkePublicKey(recipient.to_vec());
    let (EncapsulatedSecret(head), ciphertext) =
        SUITE.seal(INFO, &answer.bind(), part, &recipient).map_err(|_| SealError::Recipient)?;
    Ok([head, ciphertext].concat())
}

/// The one-time key of a requester; wiped when dropped.
pub struct OpeningKey {
    private: HpkePrivateKey,
    public: [u8; POINT],
}

impl OpeningKey {
    /// A fresh random key.
    pub fn generate() -> Self {
        let (HpkePublicKey(public), private) =
            SUITE.generate_key_pair().expect("the system's random source works");
        let public = public.try_into().expect("an uncompressed point has 65 bytes");
        Self { private, public }
    }

    /// The key to put into a request.
    pub fn recipient(&self) -> &[u8; POINT] {
        &self.public
    }

    /// Opens what was [sealed](seal) to this key as the answer to this request.
    pub fn open(&self, answer: &Answer, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, ciphertext) = sealed.split_at_checked(POINT).ok_or(SealError::Unopened)?;
        let head = EncapsulatedSecret(head.to_vec());
        let part = SUITE.open(&head, INFO, &answer.bind(), ciphertext, &self.private);
        part.map(Zeroizing::new).map_err(|_| SealError::Unopened)
    }
}

impl std::fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpeningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Answer =
        Answer { request: RequestId::from_array([1; 16]), receipt: Hash::from_array([2; 32]) };

    #[test]
    fn a_part_opens_with_its_key_for_its_answer_only() {
        let (key, other) = (OpeningKey::generate(), OpeningKey::generate());
        let sealed = seal(key.recipient(), &ANSWER, b"part").unwrap();
        assert_eq!(sealed.len(), POINT + 4 + 16);
        assert_eq!(**key.open(&ANSWER, &sealed).unwrap(), *b"part");
        assert_eq!(other.open(&ANSWER, &sealed), Err(SealError::Unopened));
        let request = Answer { request: RequestId::from_array([3; 16]), ..ANSWER };
        let receipt = Answer { receipt: Hash::from_array([3; 32]), ..ANSWER };
        assert_eq!(key.open(&request, &sealed), Err(SealError::Unopened));
        assert_eq!(key.open(&receipt, &sealed), Err(SealError::Unopened));
        for byte in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[byte] ^= 1;
            assert_eq!(key.open(&ANSWER, &altered), Err(SealError::Unopened), "byte {byte}");
            assert_eq!(key.open(&ANSWER, &sealed[..byte]), Err(SealError::Unopened));
        }
    }

    #[test]
    fn another_implementation_opens_what_we_seal_and_seals_what_we_open() {
        use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
        use hpke::{single_shot_open, single_shot_seal};
        type Aead = hpke::aead::AesGcm256;
        type Kdf = hpke::kdf::HkdfSha256;
        type Kem = hpke::kem::DhP256HkdfSha256;
        let (private, public) = Kem::gen_keypair();
        let sealed = seal(&public.to_bytes().into(), &ANSWER, b"part").unwrap();
        let (head, ciphertext) = sealed.split_at(POINT);
        let head = <Kem as hpke::Kem>::EncappedKey::from_bytes(head).unwrap();
        let (mode, aad) = (OpModeR::Base, ANSWER.bind());
        let opened =
            single_shot_open::<Aead, Kdf, Kem>(&mode, &private, &head, INFO, ciphertext, &aad);
        assert_eq!(opened.unwrap(), b"part");
        let key = OpeningKey::generate();
        let recipient = Deserializable::from_bytes(key.recipient()).unwrap();
        let (head, ciphertext) =
            single_shot_seal::<Aead, Kdf, Kem>(&OpModeS::Base, &recipient, INFO, b"part", &aad)
                .unwrap();
        let sealed = [head.to_bytes().as_slice(), &ciphertext].concat();
        assert_eq!(**key.open(&ANSWER, &sealed).unwrap(), *b"part");
    }

    #[test]
    fn a_key_that_is_no_point_is_refused() {
        let mut key = *OpeningKey::generate().recipient();
        key[1] ^= 1;
        assert_eq!(seal(&key, &ANSWER, b"part"), Err(SealError::Recipient));
        assert_eq!(seal(&[0; POINT], &ANSWER, b"part"), Err(SealError::Recipient));
    }

    #[test]
    fn a_one_time_key_is_never_printed() {
        assert_eq!(format!("{:?}", OpeningKey::generate()), "OpeningKey(…)");
    }
}
