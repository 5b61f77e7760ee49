//! Bytes encrypted at rest under a pass phrase or a key file (`docs/formats.md`, section 18).
//!
//! Everything in the file is authenticated. Absent on purpose: where the key comes from.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// How every locked file begins, whatever its version.
const FAMILY: &[u8] = b"aegle secrets ";
/// How those of this version begin.
const MAGIC: [u8; 16] = *b"aegle secrets 1\n";
const SALT: usize = 16;
const TAG: usize = 16;
/// The part in front of the encrypted bytes: magic, kind, salt, nonce.
const HEAD: usize = MAGIC.len() + 1 + SALT + NONCE_LEN;

/// Memory in KiB, passes and lanes: the second recommendation of RFC 9106, section 4. They belong to
/// the version, so that no file can ask for more.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// Bytes of a key file.
pub const KEY_BYTES: usize = 32;

/// What opens a locked file.
#[derive(Clone)]
pub enum Key {
    /// Words that somebody remembers.
    Passphrase(Zeroizing<String>),
    /// Random bytes that somebody keeps elsewhere.
    File(Zeroizing<[u8; KEY_BYTES]>),
}

/// Which of the two a file needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words that somebody remembers.
    Passphrase = 0,
    /// A key file.
    File = 1,
}

/// Why a locked file does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockedError {
    #[error("the file is cut short; restore it from a backup")]
    /// It is not whole.
    Short,
    #[error("the file has a version that this program does not know; use a newer one")]
    /// Another program wrote it.
    Version,
    #[error("the file was altered; restore it from a backup")]
    /// It is not what was written.
    Altered,
    #[error(
        "the pass phrase is wrong, or the file was altered; if you are sure of the pass phrase, \
         restore the file from a backup"
    )]
    /// It does not open with the pass phrase.
    Passphrase,
    #[error(
        "the key file is not the one that it was locked with, or the file was altered; take the \
         right one, or restore the file from a backup"
    )]
    /// It does not open with the key file.
    KeyFile,
}

impl Key {
    /// Which of the two it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Passphrase(_) => Kind::Passphrase,
            Self::File(_) => Kind::File,
        }
    }

    /// The cipher for one file. A key file takes the same way: one way to get wrong, not two.
    fn cipher(&self, salt: &[u8]) -> LessSafeKey {
        let input = match self {
            Self::Passphrase(words) => words.as_bytes(),
            Self::File(bytes) => bytes.as_slice(),
        };
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants in range");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon.hash_password_into(input, salt, &mut *key).expect("lengths are in range");
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("the key has 32 bytes"))
    }
}

/// The locked file that holds `plain`.
pub fn lock(plain: &[u8], key: &Key) -> Vec<u8> {
    let (salt, nonce) = (random::<SALT>(), random::<NONCE_LEN>());
    let head = [MAGIC.as_slice(), &[key.kind() as u8], &salt, &nonce].concat();
    let mut body = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let sealing = key.cipher(&salt);
    let tag = sealing.seal_in_place_separate_tag(nonce, Aad::from(&head), &mut body);
    let tag = tag.expect("secrets are far below the limit of AES-GCM");
    [head.as_slice(), &body, tag.as_ref()].concat()
}

/// A locked file that was read, not yet opened.
#[derive(Debug)]
pub struct Locked<'a> {
    kind: Kind,
    head: &'a [u8; HEAD],
    body: &'a [u8],
}

impl<'a> Locked<'a> {
    /// Whether these bytes are a locked file of any version.
    pub fn is(bytes: &[u8]) -> bool {
        bytes.starts_with(FAMILY)
    }

    /// Takes the file apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LockedError> {
        let magic = bytes.first_chunk().ok_or(LockedError::Short)?;
        if *magic != MAGIC {
            return Err(LockedError::Version);
        }
        let (head, body) = bytes.split_first_chunk().ok_or(LockedError::Short)?;
        if body.len() < TAG {
            return Err(LockedError::Short);
        }
        let kind = match head[MAGIC.len()] {
            0 => Kind::Passphrase,
            1 => Kind::File,
            _ => return Err(LockedError::Altered),
        };
        Ok(Self { kind, head, body })
    }

    /// What opens it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was locked.
    pub fn open(&self, key: &Key) -> Result<Zeroizing<Vec<u8>>, LockedError> {
        let rest = &self.head[MAGIC.len() + 1..];
        let (salt, nonce) = rest.split_at(SALT);
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("the head holds a nonce");
        let mut plain = Zeroizing::new(self.body.to_vec());
        let opening = key.cipher(salt);
        let opened = opening.open_in_place(nonce, Aad::from(self.head), &mut plain);
        let length = opened.map_err(|_| self.refusal())?.len();
        plain.truncate(length);
        Ok(plain)
    }

    /// AES-GCM cannot tell a wrong key from altered bytes.
    fn refusal(&self) -> LockedError {
        match self.kind {
            Kind::Passphrase => LockedError::Passphrase,
            Kind::File => LockedError::KeyFile,
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"node = \"00\"";

    fn words(text: &str) -> Key {
        Key::Passphrase(Zeroizing::new(text.to_owned()))
    }

    fn file(byte: u8) -> Key {
        Key::File(Zeroizing::new([byte; KEY_BYTES]))
    }

    fn open(bytes: &[u8], key: &Key) -> Result<Vec<u8>, LockedError> {
        Locked::parse(bytes)?.open(key).map(|plain| plain.to_vec())
    }

    #[test]
    fn only_its_own_pass_phrase_opens_a_file() {
        let locked = lock(PLAIN, &words("four words that fit"));
        assert!(Locked::is(&locked) && !Locked::is(PLAIN));
        assert_eq!(open(&locked, &words("four words that fit")).unwrap(), PLAIN);
        assert_eq!(open(&locked, &words("four words that fir")), Err(LockedError::Passphrase));
        assert_eq!(open(&locked, &file(7)), Err(LockedError::Passphrase));
    }

    #[test]
    fn only_its_own_key_file_opens_a_file() {
        let locked = lock(PLAIN, &file(7));
        assert_eq!(Locked::parse(&locked).unwrap().kind(), Kind::File);
        assert_eq!(open(&locked, &file(7)).unwrap(), PLAIN);
        assert_eq!(open(&locked, &file(8)), Err(LockedError::KeyFile));
    }

    #[test]
    fn no_byte_can_be_altered() {
        let locked = lock(PLAIN, &file(7));
        for position in 0..locked.len() {
            let mut altered = locked.clone();
            altered[position] ^= 1;
            assert!(open(&altered, &file(7)).is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_does_not_open() {
        let locked = lock(PLAIN, &file(7));
        for length in [0, 15, 16, HEAD, HEAD + TAG - 1] {
            assert_eq!(open(&locked[..length], &file(7)), Err(LockedError::Short), "{length}");
        }
        assert_eq!(open(&locked[..locked.len() - 1], &file(7)), Err(LockedError::KeyFile));
    }

    #[test]
    fn an_unknown_version_or_kind_is_named() {
        let mut locked = lock(PLAIN, &file(7));
        locked[MAGIC.len()] = 2;
        assert_eq!(open(&locked, &file(7)), Err(LockedError::Altered));
        locked[14] = b'2';
        assert_eq!(open(&locked, &file(7)), Err(LockedError::Version));
    }

    #[test]
    fn two_files_of_one_text_share_nothing_but_the_head() {
        let [one, two] = [(); 2].map(|()| lock(PLAIN, &file(7)));
        assert_eq!(one[..=MAGIC.len()], two[..=MAGIC.len()]);
        assert_ne!(one[HEAD..], two[HEAD..]);
    }

    /// Files that were written once open for ever.
    #[test]
    fn a_file_of_version_1_opens() {
        let locked = hex::decode(include_str!("locked.v1.hex").trim()).unwrap();
        assert_eq!(open(&locked, &words("correct horse battery staple")).unwrap(), PLAIN);
    }
}
