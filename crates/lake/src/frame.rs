//! Frames: the encrypted form of one patient's rows of one table, cut by cell.
//!
//! An extent holds all rows of one patient in one batch: one frame per cell of the table, in the
//! order of the cells, so that a missing frame shows. Only the frames of permitted cells are ever
//! opened. A frame is `cell u16 ‖ length u32 ‖ nonce 12 ‖ AES-256-GCM(rows) ‖ tag 16`, little
//! endian; its rows are the stored bytes of the cell's values, row after row. The associated data
//! binds it to patient, batch (and so to table and source), cell and number of rows.
//!
//! The nonce is an HMAC over the associated data and the rows under a key derived from the
//! patient's data key: the same rows make the same bytes, so an ingest that was killed and runs
//! again writes the same objects. Two different frames of a patient share a nonce with a chance of
//! 2⁻⁹⁶ per pair.

use crate::crypt::{Altered, Cipher, MacKey, NonceBytes, TAG};
use crate::keys::PatientKey;
use zeroize::Zeroizing;

const HEADER: usize = 2 + 4 + 12;

/// Names a batch: a keyed hash of its table and its source's content.
pub(crate) type BatchName = [u8; 32];

/// Whose rows, of which batch, and how many.
pub(crate) struct Place<'a> {
    pub(crate) patient: &'a PatientKey,
    pub(crate) batch: &'a BatchName,
    pub(crate) rows: u32,
}

impl Place<'_> {
    fn bind(&self, cell: u16, name: &[u8; 32]) -> [u8; 102] {
        let mut bytes = [0; 102];
        bytes[..16].copy_from_slice(b"aegle frame v1\0\0");
        bytes[16..32].copy_from_slice(self.patient);
        bytes[32..64].copy_from_slice(self.batch);
        bytes[64..66].copy_from_slice(&cell.to_le_bytes());
        bytes[66..98].copy_from_slice(name);
        bytes[98..].copy_from_slice(&self.rows.to_le_bytes());
        bytes
    }
}

/// A patient's data key, ready for use.
pub(crate) struct FrameKey {
    cipher: Cipher,
    nonces: MacKey,
}

impl FrameKey {
    pub(crate) fn new(data_key: &[u8; 32]) -> Self {
        let nonces = Zeroizing::new(MacKey::new(data_key).mac("aegle frame nonce v1", &[]));
        Self { cipher: Cipher::new(data_key), nonces: MacKey::new(&nonces) }
    }

    fn nonce(&self, place: &[u8], rows: &[u8]) -> NonceBytes {
        let mac = self.nonces.mac("nonce", &[place, rows]);
        *mac.first_chunk().expect("32 bytes hold 12")
    }

    /// Appends the frame of the cell at position `cell` of its table; `name` names the cell's tags.
    pub(crate) fn seal(
        &self,
        place: &Place<'_>,
        (cell, name): (u16, &[u8; 32]),
        mut rows: Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        let aad = place.bind(cell, name);
        let nonce = self.nonce(&aad, &rows);
        self.cipher.seal(nonce, &aad, &mut rows);
        let length = u32::try_from(rows.len()).expect("an extent is bounded far below 4 GiB");
        out.extend_from_slice(&cell.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&rows);
    }

    /// Opens one frame in place and yields its rows.
    pub(crate) fn open<'a>(
        &self,
        place: &Place<'_>,
        (cell, name): (u16, &[u8; 32]),
        frame: Frame<'a>,
    ) -> Result<&'a [u8], Altered> {
        let Frame { nonce, sealed } = frame;
        self.cipher.open(nonce, &place.bind(cell, name), sealed)
    }
}

/// Whether an extent is what was written into its place, in every frame; `names` name the cells.
pub(crate) fn is_whole<'a>(
    key: &FrameKey,
    place: &Place<'_>,
    names: impl ExactSizeIterator<Item = &'a [u8; 32]>,
    extent: &mut [u8],
) -> bool {
    let Ok(frames) = split(extent, names.len()) else { return false };
    let mut cells = (0..).zip(frames).zip(names);
    cells.all(|((cell, frame), name)| key.open(place, (cell, name), frame).is_ok())
}

/// One sealed frame.
pub(crate) struct Frame<'a> {
    nonce: NonceBytes,
    sealed: &'a mut [u8],
}

/// Cuts an extent into exactly `cells` frames in order.
pub(crate) fn split(mut extent: &mut [u8], cells: usize) -> Result<Vec<Frame<'_>>, Altered> {
    let mut frames = Vec::with_capacity(cells);
    for cell in 0..cells {
        let (header, rest) = extent.split_at_mut_checked(HEADER).ok_or(Altered)?;
        let position = u16::from_le_bytes(header[..2].try_into().expect("two bytes"));
        let length = u32::from_le_bytes(header[2..6].try_into().expect("four bytes"));
        let length = usize::try_from(length).map_err(|_| Altered)?;
        if usize::from(position) != cell || length < TAG {
            return Err(Altered);
        }
        let nonce = header[6..].try_into().expect("twelve bytes");
        let (sealed, rest) = rest.split_at_mut_checked(length).ok_or(Altered)?;
        frames.push(Frame { nonce, sealed });
        extent = rest;
    }
    if extent.is_empty() { Ok(frames) } else { Err(Altered) }
}

#[cfg(test)]
impl Frame<'_> {
    /// Makes the frame one that nobody can open.
    pub(crate) fn spoil(self) {
        self.sealed.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [[u8; 32]; 2] = [[10; 32], [11; 32]];

    fn place<'a>(patient: &'a PatientKey, batch: &'a BatchName) -> Place<'a> {
        Place { patient, batch, rows: 3 }
    }

    fn sealed(key: &FrameKey, place: &Place<'_>) -> Vec<u8> {
        let mut extent = Vec::new();
        key.seal(place, (0, &NAMES[0]), b"first".to_vec(), &mut extent);
        key.seal(place, (1, &NAMES[1]), b"second".to_vec(), &mut extent);
        extent
    }

    fn opened(
        key: &FrameKey,
        place: &Place<'_>,
        mut extent: Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, Altered> {
        let frames = split(&mut extent, NAMES.len())?.into_iter().zip(0..).zip(&NAMES);
        frames
            .map(|((frame, cell), name)| Ok(key.open(place, (cell, name), frame)?.to_vec()))
            .collect()
    }

    #[test]
    fn a_frame_opens_only_in_its_place_and_whole() {
        let (patient, other, batch) = ([1; 16], [2; 16], [3; 32]);
        let key = FrameKey::new(&[5; 32]);
        let here = place(&patient, &batch);
        let extent = sealed(&key, &here);
        assert_eq!(
            opened(&key, &here, extent.clone()).unwrap(),
            [b"first".to_vec(), b"second".to_vec()]
        );
        let elsewhere = [
            Place { patient: &other, ..place(&patient, &batch) },
            Place { batch: &[4; 32], ..place(&patient, &batch) },
            Place { rows: 2, ..place(&patient, &batch) },
        ];
        for wrong in &elsewhere {
            assert_eq!(opened(&key, wrong, extent.clone()), Err(Altered));
        }
        assert_eq!(opened(&FrameKey::new(&[6; 32]), &here, extent.clone()), Err(Altered));
        for byte in 0..extent.len() {
            let mut altered = extent.clone();
            altered[byte] ^= 1;
            assert_eq!(opened(&key, &here, altered), Err(Altered), "byte {byte}");
            assert_eq!(opened(&key, &here, extent[..byte].to_vec()), Err(Altered), "cut at {byte}");
        }
        assert_eq!(opened(&key, &here, [extent, vec![0]].concat()), Err(Altered));
    }

    #[test]
    fn a_frame_of_one_cell_cannot_stand_for_another() {
        let (patient, batch) = ([1; 16], [3; 32]);
        let (key, here) = (FrameKey::new(&[5; 32]), place(&[1; 16], &[3; 32]));
        let mut swapped = Vec::new();
        key.seal(&place(&patient, &batch), (0, &NAMES[1]), b"second".to_vec(), &mut swapped);
        key.seal(&here, (1, &NAMES[0]), b"first".to_vec(), &mut swapped);
        assert_eq!(opened(&key, &here, swapped), Err(Altered));
    }

    #[test]
    fn the_same_rows_make_the_same_bytes_and_other_rows_another_nonce() {
        let (patient, batch) = ([1; 16], [3; 32]);
        let (key, here) = (FrameKey::new(&[5; 32]), place(&patient, &batch));
        assert_eq!(sealed(&key, &here), sealed(&key, &here));
        let nonce = |rows: &[u8]| {
            let mut extent = Vec::new();
            key.seal(&here, (0, &NAMES[0]), rows.to_vec(), &mut extent);
            extent[6..HEADER].to_vec()
        };
        assert_ne!(nonce(b"one"), nonce(b"two"));
    }
}
