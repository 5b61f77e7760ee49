//! Bytes of any length, sealed piece by piece under a key that seals nothing else.
//!
//! A piece is AES-256-GCM of 1 MiB (the last may be shorter). Its nonce is its number and whether it
//! is the last, so no two pieces of a key share one, and pieces that are missing, moved or added
//! show, as does an end that is cut off.

use crate::crypt::{Altered, Cipher, NonceBytes, TAG};
use std::io::{self, Read, Write};

const PIECE: usize = 1 << 20;

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Altered(#[from] Altered),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Seals everything that `input` holds; `head` is bound to each piece.
pub(crate) fn seal(
    cipher: &Cipher,
    head: &[u8],
    mut input: impl Read,
    output: &mut impl Write,
) -> io::Result<()> {
    let mut next = piece(&mut input, PIECE)?;
    for number in 0_u64.. {
        let mut plain = next;
        next = piece(&mut input, PIECE)?;
        let last = next.is_empty();
        cipher.seal(nonce(number, last), head, &mut plain);
        output.write_all(&plain)?;
        if last {
            break;
        }
    }
    Ok(())
}

/// Opens what was [sealed](seal). Nothing of a piece is written that is not what it was.
pub(crate) fn open(
    cipher: &Cipher,
    head: &[u8],
    mut input: impl Read,
    output: &mut impl Write,
) -> Result<(), StreamError> {
    let mut next = piece(&mut input, PIECE + TAG)?;
    for number in 0_u64.. {
        let mut sealed = next;
        next = piece(&mut input, PIECE + TAG)?;
        let last = next.is_empty();
        output.write_all(cipher.open(nonce(number, last), head, &mut sealed)?)?;
        if last {
            break;
        }
    }
    Ok(())
}

fn piece(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length + TAG);
    input.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn nonce(number: u64, last: bool) -> NonceBytes {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce[8] = u8::from(last);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        seal(&Cipher::new(&[1; 32]), b"head", plain, &mut out).unwrap();
        out
    }

    fn opened(bytes: &[u8], head: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        open(&Cipher::new(&[1; 32]), head, bytes, &mut out).ok()?;
        Some(out)
    }

    #[test]
    fn a_stream_of_any_length_opens_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let plain: Vec<u8> = (0_u8..=250).cycle().take(length).collect();
            let bytes = sealed(&plain);
            assert_eq!(bytes.len(), length + length.div_ceil(PIECE).max(1) * TAG);
            assert!(opened(&bytes, b"head") == Some(plain), "{length} bytes");
            assert_eq!(opened(&bytes, b"tail"), None);
        }
    }

    #[test]
    fn pieces_that_are_cut_moved_doubled_or_altered_show() {
        let plain: Vec<u8> = (0_u8..=250).cycle().take(2 * PIECE + 5).collect();
        let bytes = sealed(&plain);
        let (one, rest) = bytes.split_at(PIECE + TAG);
        let (two, three) = rest.split_at(PIECE + TAG);
        let wrong = [
            vec![],
            [one, two].concat(),
            [one, three].concat(),
            [two, one, three].concat(),
            [one, two, two, three].concat(),
            [one, two, three, three].concat(),
            [one, two, &three[..three.len() - 1]].concat(),
        ];
        assert!(wrong.iter().all(|bytes| opened(bytes, b"head").is_none()));
        for byte in [0, PIECE, PIECE + TAG, bytes.len() - 1] {
            let mut altered = bytes.clone();
            altered[byte] ^= 1;
            assert_eq!(opened(&altered, b"head"), None);
        }
    }
}
