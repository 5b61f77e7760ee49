//! Documents: values too large to stand in their row, as objects of their own in the raw zone.
//!
//! A document is sealed under the data key of the patient it belongs to, in frames of 1 MiB:
//! `nonce 12 ‖ AES-256-GCM(content) ‖ tag 16`, the last one shorter. The associated data binds each
//! to the patient, its place and the length of the whole. The nonce is an HMAC over that and the
//! content, as for [frames](crate::frame), so that the same document of the same patient is the same
//! object, stored once however many batches speak of it. Its name is a keyed hash of the sealed
//! bytes and stands in the row, so that no object can take the place of another.

use crate::crypt::{Altered, Cipher, MacKey, TAG};
use crate::keys::PatientKey;
use crate::objects::OBJECT_DOMAIN;
use crate::value::Reference;
use zeroize::Zeroizing;

/// The largest document, in bytes; a part of nothing else could just carry it.
pub(crate) const DOCUMENT_MAX: u64 = crate::read::PART_MAX - (1 << 20);

/// Bytes that are longer than this become a document.
pub(crate) const INLINE_MAX: usize = 64 << 10;

const FRAME: usize = 1 << 20;
const NONCE: usize = 12;

/// A patient's data key, ready for documents.
pub(crate) struct DocumentKey<'a> {
    patient: &'a PatientKey,
    cipher: Cipher,
    nonces: MacKey,
}

impl<'a> DocumentKey<'a> {
    pub(crate) fn new(patient: &'a PatientKey, data_key: &[u8; 32]) -> Self {
        let nonces = Zeroizing::new(MacKey::new(data_key).mac("aegle document nonce v1", &[]));
        Self { patient, cipher: Cipher::new(data_key), nonces: MacKey::new(&nonces) }
    }

    /// The sealed bytes of a document, and what stands for it in its row.
    pub(crate) fn seal(&self, naming: &MacKey, content: &[u8]) -> (Reference, Vec<u8>) {
        let length = content.len() as u64;
        let mut sealed = Vec::with_capacity(sealed_length(content.len()));
        for (frame, place) in content.chunks(FRAME).zip(0..) {
            let aad = self.bind(place, length);
            let mac = self.nonces.mac("nonce", &[&aad, frame]);
            let nonce = *mac.first_chunk::<NONCE>().expect("32 bytes hold 12");
            let mut bytes = frame.to_vec();
            self.cipher.seal(nonce, &aad, &mut bytes);
            sealed.extend_from_slice(&nonce);
            sealed.extend_from_slice(&bytes);
        }
        (Reference { object: name(naming, &sealed), length }, sealed)
    }

    /// Appends the content of a sealed document.
    pub(crate) fn open(
        &self,
        naming: &MacKey,
        reference: &Reference,
        sealed: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Altered> {
        if name(naming, sealed) != reference.object {
            return Err(Altered);
        }
        let before = out.len() as u64;
        for (frame, place) in sealed.chunks_mut(NONCE + FRAME + TAG).zip(0..) {
            let (nonce, frame) = frame.split_first_chunk_mut::<NONCE>().ok_or(Altered)?;
            let aad = self.bind(place, reference.length);
            out.extend_from_slice(self.cipher.open(*nonce, &aad, frame)?);
        }
        if out.len() as u64 - before == reference.length { Ok(()) } else { Err(Altered) }
    }

    fn bind(&self, place: u32, length: u64) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..20].copy_from_slice(b"aegle document v1\0\0\0");
        bytes[20..36].copy_from_slice(self.patient);
        bytes[36..40].copy_from_slice(&place.to_le_bytes());
        bytes[40..].copy_from_slice(&length.to_le_bytes());
        bytes
    }
}

impl Reference {
    /// The length of the object.
    pub(crate) fn sealed_length(&self) -> Option<usize> {
        usize::try_from(self.length).ok().filter(|_| self.length <= DOCUMENT_MAX).map(sealed_length)
    }
}

fn sealed_length(content: usize) -> usize {
    content + content.div_ceil(FRAME) * (NONCE + TAG)
}

fn name(naming: &MacKey, sealed: &[u8]) -> [u8; 32] {
    naming.mac(OBJECT_DOMAIN, &[sealed])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(content: &[u8], spoil: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, Altered> {
        let (naming, patient) = (MacKey::new(&[1; 32]), [7; 16]);
        let key = DocumentKey::new(&patient, &[2; 32]);
        let (reference, mut sealed) = key.seal(&naming, content);
        assert_eq!(reference.sealed_length(), Some(sealed.len()));
        spoil(&mut sealed);
        let mut out = Vec::new();
        key.open(&naming, &reference, &mut sealed, &mut out).map(|()| out)
    }

    #[test]
    fn a_document_of_any_length_opens_as_it_was() {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            assert_eq!(round(&content, |_| {}).unwrap(), content, "{length}");
        }
    }

    #[test]
    fn a_document_that_was_cut_or_altered_or_reordered_is_refused() {
        let content = vec![5; 2 * FRAME + 10];
        let frame = NONCE + FRAME + TAG;
        assert_eq!(round(&content, |sealed| sealed.truncate(2 * frame)), Err(Altered));
        assert_eq!(round(&content, |sealed| sealed[0] ^= 1), Err(Altered));
        assert_eq!(round(&content, |sealed| sealed[frame + 100] ^= 1), Err(Altered));
        assert_eq!(round(&content, |sealed| sealed[..2 * frame].rotate_left(frame)), Err(Altered));
    }

    #[test]
    fn a_frame_does_not_open_in_another_place_even_under_its_right_name() {
        let (naming, patient, other) = (MacKey::new(&[1; 32]), [7; 16], [8; 16]);
        let content = [vec![0; FRAME], vec![1; FRAME]].concat();
        let key = DocumentKey::new(&patient, &[2; 32]);
        let (reference, sealed) = key.seal(&naming, &content);
        let mut turned = sealed.clone();
        turned.rotate_left(NONCE + FRAME + TAG);
        let forged = Reference { object: name(&naming, &turned), length: reference.length };
        assert_eq!(key.open(&naming, &forged, &mut turned, &mut Vec::new()), Err(Altered));
        let stranger = DocumentKey::new(&other, &[2; 32]);
        let opened = stranger.open(&naming, &reference, &mut sealed.clone(), &mut Vec::new());
        assert_eq!(opened, Err(Altered));
    }
}
