//! Sealing under a patient's record key: AES-256-GCM, a random 96-bit nonce in front.
//!
//! A record key seals far fewer than 2³² texts, so random nonces do not meet.

use aegle_model::{Canonical, RecordKey};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The canonical bytes of `value`, readable by holders of the record key only.
pub(crate) fn seal<T: Canonical>(key: &RecordKey, value: &T) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).expect("the system's random source works");
    let mut bytes = value.to_bytes();
    cipher(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(T::NAME),
            &mut bytes,
        )
        .expect("texts are far below the limit of AES-GCM");
    [nonce.as_slice(), &bytes].concat()
}

/// How long a value is when sealed.
pub(crate) fn sealed_bytes<T: Canonical>(value: &T) -> usize {
    NONCE_LEN + value.to_bytes().len() + AES_256_GCM.tag_len()
}

/// The value; none when the bytes were altered or sealed under another key.
pub(crate) fn open<T: Canonical>(key: &RecordKey, sealed: &[u8]) -> Option<T> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = cipher(key).open_in_place(nonce, Aad::from(T::NAME), &mut body).ok()?;
    T::from_bytes(plain).ok()
}

fn cipher(key: &RecordKey) -> LessSafeKey {
    // A key of its own: the record key itself makes tokens.
    let derived = aegle_model::Hash::of("aegle.seal", &[key.as_bytes()]);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_bytes()).expect("32 bytes"))
}
