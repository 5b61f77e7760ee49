//! Record keys and the tokens they blind.
//!
//! `token(x) = HMAC-SHA-256(record key, kind ‖ canonical bytes of x)`, cut to 128 bit. Without the
//! key a token says nothing; destroying the key turns every token of the patient into noise.

use crate::{CentreId, Grantee, Hash, RequestId, TagName};
use borsh::{BorshDeserialize, BorshSerialize};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A blinded value: 128 bits that only holders of the patient's record key can recompute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Token([u8; 16]);

impl Token {
    /// The token with these bytes.
    pub const fn from_array(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A patient's 256-bit secret, held by the centres where the patient is linked.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecordKey([u8; 32]);

/// What a token stands for; part of the blinded bytes, so that kinds never collide. Append only.
#[repr(u8)]
enum Kind {
    Grantee = 1,
    Tag = 2,
    TagAtVersion = 3,
    CellOrder = 4,
    Commitment = 5,
}

impl RecordKey {
    /// The key with these bytes, which must be random.
    pub const fn from_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for sealing and storing.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The token of a grantee, as rules and requests carry it.
    pub fn grantee(&self, grantee: &Grantee) -> Token {
        self.token(Kind::Grantee, grantee)
    }

    /// The token of a tag at any version of the catalogue: what a deny rule names.
    pub fn tag(&self, centre: CentreId, tag: &TagName) -> Token {
        self.token(Kind::Tag, &(centre, tag))
    }

    /// The token of a tag as it was at one version: what an allow rule names, so that consent does
    /// not grow with the tag.
    pub fn tag_at(&self, centre: CentreId, tag: &TagName, version: u32) -> Token {
        self.token(Kind::TagAtVersion, &(centre, tag, version))
    }

    /// Where a cell stands among the cells of one request: an order that tells outsiders nothing
    /// about which cell is which.
    pub fn cell_order(&self, request: RequestId, centre: CentreId, cell: u16) -> Token {
        self.token(Kind::CellOrder, &(request, centre, cell))
    }

    /// Binds the key without showing it: the ledger keeps it, so that every centre can tell that
    /// it was given the right key.
    pub fn commitment(&self) -> Hash {
        Hash::from_array(self.mac(Kind::Commitment, &[]))
    }

    fn token(&self, kind: Kind, value: &impl BorshSerialize) -> Token {
        let bytes = borsh::to_vec(value).expect("writing to memory cannot fail");
        let mac = self.mac(kind, &bytes);
        Token(mac[..16].try_into().expect("half of 32"))
    }

    fn mac(&self, kind: Kind, bytes: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        mac.update(&[kind as u8]);
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn tokens_differ_by_key_kind_centre_and_version() {
        let (key, other) = (RecordKey::from_array([1; 32]), RecordKey::from_array([2; 32]));
        let (here, there) = (CentreId::from_array([1; 16]), CentreId::from_array([2; 16]));
        let tag = TagName::new("medication").unwrap();
        let id = Name::new("medication").unwrap();
        let tokens = [
            key.tag(here, &tag),
            other.tag(here, &tag),
            key.tag(there, &tag),
            key.tag_at(here, &tag, 1),
            key.tag_at(here, &tag, 2),
            key.grantee(&Grantee::Professional { centre: here, id: id.clone() }),
            key.grantee(&Grantee::Department { centre: here, id }),
        ];
        let distinct: std::collections::BTreeSet<_> = tokens.iter().collect();
        assert_eq!(distinct.len(), tokens.len());
    }
}
