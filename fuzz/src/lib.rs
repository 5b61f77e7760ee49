//! What the fuzz targets share.
//!
//! Every target reads bytes that strangers could have sent. The law: bytes that decode are exactly
//! the bytes that the decoded value encodes to. What is decoded is then checked the way a node
//! checks it, which must end in a verdict and never in a panic.

pub mod source;

use aegle_ledger::Genesis;
use aegle_ledger::fixture::Network;
use aegle_model::Canonical;
use std::sync::LazyLock;

/// The genesis of a network of four, for verifying proofs against.
pub static GENESIS: LazyLock<Genesis> = LazyLock::new(|| Network::new(4).genesis);

/// The value that `bytes` encode, if they do.
///
/// # Panics
///
/// When the value has other bytes than those it was read from.
pub fn decode<T: Canonical>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes, "`{}` has two byte strings", T::NAME);
    Some(value)
}
