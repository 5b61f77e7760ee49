//! What the lake notes for itself: sealed under a key that follows from the naming secret.
//!
//! A note may name paths and columns, so it is never stored in the clear. The same note in the same
//! place makes the same bytes: its nonce is an HMAC over both. Two notes share a nonce with a chance
//! of 2⁻⁹⁶ per pair.

use crate::crypt::{Altered, Cipher, MacKey, NonceBytes};
use zeroize::Zeroizing;

const NONCE: usize = 12;

/// Where a note belongs: what kind of note it is, and what it is about.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// The manifest of a batch.
    Manifest(&'a [u8; 32]),
    /// Why a batch is in quarantine.
    Quarantine(&'a [u8; 32]),
}

impl Place<'_> {
    fn bytes(self) -> [u8; 33] {
        let (kind, about) = match self {
            Self::Manifest(batch) => (0, batch),
            Self::Quarantine(batch) => (1, batch),
        };
        let mut bytes = [kind; 33];
        bytes[1..].copy_from_slice(about);
        bytes
    }
}

/// The key of all notes.
pub(crate) struct NoteKey {
    cipher: Cipher,
    nonces: MacKey,
}

impl NoteKey {
    pub(crate) fn new(naming: &MacKey) -> Self {
        let key = Zeroizing::new(naming.mac("aegle lake note v1", &[]));
        let nonces = Zeroizing::new(naming.mac("aegle lake note nonce v1", &[]));
        Self { cipher: Cipher::new(&key), nonces: MacKey::new(&nonces) }
    }

    /// `nonce ‖ sealed ‖ tag`.
    pub(crate) fn seal(&self, place: Place<'_>, mut note: Vec<u8>) -> Vec<u8> {
        let place = place.bytes();
        let nonce: NonceBytes =
            *self.nonces.mac("nonce", &[&place, &note]).first_chunk().expect("32 bytes hold 12");
        self.cipher.seal(nonce, &place, &mut note);
        note.splice(0..0, nonce);
        note
    }

    /// The note that was [sealed](Self::seal) in this place.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Altered> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(Altered)?;
        let mut note = sealed.to_vec();
        let length = self.cipher.open(*nonce, &place.bytes(), &mut note)?.len();
        note.truncate(length);
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_opens_only_whole_and_in_its_place() {
        let key = NoteKey::new(&MacKey::new(&[1; 32]));
        let here = Place::Manifest(&[2; 32]);
        let sealed = key.seal(here, b"a path".to_vec());
        assert_eq!(key.open(here, &sealed).unwrap(), b"a path");
        assert_eq!(sealed, key.seal(here, b"a path".to_vec()));
        for elsewhere in [Place::Manifest(&[3; 32]), Place::Quarantine(&[2; 32])] {
            assert_eq!(key.open(elsewhere, &sealed), Err(Altered));
        }
        let other = NoteKey::new(&MacKey::new(&[2; 32]));
        assert_eq!(other.open(here, &sealed), Err(Altered));
        for byte in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[byte] ^= 1;
            assert_eq!(key.open(here, &altered), Err(Altered));
            assert_eq!(key.open(here, &sealed[..byte]), Err(Altered));
        }
    }
}
