//! Canonical bytes: the encoding of everything that is hashed, signed, stored or sent.
//!
//! The encoding is Borsh (little-endian integers, `u32` length prefixes, one tag byte per variant).
//! It is canonical: decoding accepts exactly the bytes that encoding produces.

use borsh::{BorshDeserialize, BorshSerialize};

/// Bytes that are not the canonical encoding of the expected value.
#[derive(Debug, thiserror::Error)]
#[error("could not decode `{what}` from {length} bytes")]
pub struct Malformed {
    what: &'static str,
    length: usize,
    #[source]
    source: std::io::Error,
}

/// A value with exactly one byte string.
pub trait Canonical: BorshSerialize + BorshDeserialize {
    /// What the value is called in errors.
    const NAME: &'static str;

    /// The canonical bytes.
    fn to_bytes(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("writing to memory cannot fail")
    }

    /// The value that `bytes` are the canonical encoding of. Bytes left over are an error.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::try_from_slice(bytes).map_err(|source| Malformed {
            what: Self::NAME,
            length: bytes.len(),
            source,
        })
    }
}
