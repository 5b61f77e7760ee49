//! What tus clients write into headers. Pure; whatever the bytes are, an answer and no panic.

use aws_lc_rs::digest::{self, Algorithm};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest `Upload-Metadata`, in bytes.
pub const METADATA_MAX: usize = 4096;

/// The checksum algorithms, as `Tus-Checksum-Algorithm` lists them.
pub const ALGORITHMS: &str = "sha1,sha256";

/// A header that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Longer than [`METADATA_MAX`].
    #[error("`Upload-Metadata` is longer than {METADATA_MAX} bytes")]
    TooLong,
    /// Not pairs of keys and base64.
    #[error(
        "`Upload-Metadata` must be pairs of a key and its value in base64, with commas between"
    )]
    Pairs,
    /// A key that stands twice.
    #[error("`Upload-Metadata` has a key twice")]
    Twice,
    /// No file name.
    #[error("`Upload-Metadata` must hold `filename`, in UTF-8")]
    NoName,
    /// A whole-file checksum of another form.
    #[error("`sha256` in `Upload-Metadata` must be 64 hex digits")]
    Sha256,
    /// A checksum of another form.
    #[error("`Upload-Checksum` must be an algorithm, a space and the checksum in base64")]
    Checksum,
    /// An algorithm that is not known here.
    #[error("`Upload-Checksum` names an algorithm other than {ALGORITHMS}")]
    Algorithm,
}

/// What an upload says about its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Where the file is to lie in the source folder; not checked yet.
    pub filename: String,
    /// The checksum of the whole file, if one is given.
    pub sha256: Option<[u8; 32]>,
}

impl Metadata {
    /// Reads `Upload-Metadata`. Keys besides `filename` and `sha256` are left alone.
    pub fn parse(header: &[u8]) -> Result<Self, BadHeader> {
        if header.len() > METADATA_MAX {
            return Err(BadHeader::TooLong);
        }
        let text = std::str::from_utf8(header).map_err(|_| BadHeader::Pairs)?;
        let pairs: Vec<_> = text.split(',').map(pair).collect::<Result<_, _>>()?;
        let mut keys: Vec<_> = pairs.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|two| two[0] == two[1]) {
            return Err(BadHeader::Twice);
        }
        let value = |wanted| pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value);
        let filename = value("filename").ok_or(BadHeader::NoName)?;
        let filename = String::from_utf8(filename.clone()).map_err(|_| BadHeader::NoName)?;
        let sha256 = value("sha256").map(|hex| {
            let mut hash = [0; 32];
            hex::decode_to_slice(hex, &mut hash).map_err(|_| BadHeader::Sha256).map(|()| hash)
        });
        Ok(Self { filename, sha256: sha256.transpose()? })
    }
}

fn pair(text: &str) -> Result<(&str, Vec<u8>), BadHeader> {
    let text = text.trim_matches(' ');
    let (key, value) = text.split_once(' ').unwrap_or((text, ""));
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let value = STANDARD.decode(value).ok().filter(|_| is_key);
    value.map(|value| (key, value)).ok_or(BadHeader::Pairs)
}

/// The checksum of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    pub(crate) algorithm: &'static Algorithm,
    pub(crate) value: Vec<u8>,
}

impl Checksum {
    /// Reads `Upload-Checksum`.
    pub fn parse(header: &[u8]) -> Result<Self, BadHeader> {
        let text = std::str::from_utf8(header).map_err(|_| BadHeader::Checksum)?;
        let (name, value) = text.split_once(' ').ok_or(BadHeader::Checksum)?;
        let algorithm = match name {
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &digest::SHA256,
            _ => return Err(BadHeader::Algorithm),
        };
        let value = STANDARD.decode(value).map_err(|_| BadHeader::Checksum)?;
        let fits = value.len() == algorithm.output_len();
        fits.then_some(Self { algorithm, value }).ok_or(BadHeader::Checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn metadata_is_read_as_the_protocol_writes_it() {
        let read = |text: &str| Metadata::parse(text.as_bytes());
        let named = |name: &str, sha256| Ok(Metadata { filename: name.to_owned(), sha256 });
        let zeros = STANDARD.encode("0".repeat(64));
        let cases = [
            ("filename dXNlLmNzdg==", named("use.csv", None)),
            ("is_confidential,filename dXNlLmNzdg==", named("use.csv", None)),
            ("a , filename dXNlLmNzdg==, b YQ==", named("use.csv", None)),
            (&format!("filename YQ==,sha256 {zeros}"), named("a", Some([0; 32]))),
            ("filename YQ==,sha256 YQ==", Err(BadHeader::Sha256)),
            ("filename YQ==,filename YQ==", Err(BadHeader::Twice)),
            ("filename YQ", Err(BadHeader::Pairs)),
            ("filename /w==", Err(BadHeader::NoName)),
            ("name YQ==", Err(BadHeader::NoName)),
            ("", Err(BadHeader::Pairs)),
            (",filename YQ==", Err(BadHeader::Pairs)),
            (&"a".repeat(METADATA_MAX + 1), Err(BadHeader::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_checksum_is_of_a_known_algorithm_and_its_length() {
        let read = |text: &str| Checksum::parse(text.as_bytes()).map(|sum| sum.value.len());
        let of = |length| STANDARD.encode(vec![7; length]);
        let cases = [
            (format!("sha1 {}", of(20)), Ok(20)),
            (format!("sha256 {}", of(32)), Ok(32)),
            (format!("sha256 {}", of(20)), Err(BadHeader::Checksum)),
            (format!("sha256  {}", of(32)), Err(BadHeader::Checksum)),
            (format!("md5 {}", of(16)), Err(BadHeader::Algorithm)),
            ("sha256".to_owned(), Err(BadHeader::Checksum)),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Metadata::parse(&bytes), Checksum::parse(&bytes));
        }
    }
}
