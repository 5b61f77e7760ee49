//! Pass phrases: long rather than odd, kept as Argon2id hashes.

use crate::gate::{Busy, Gate};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::sync::atomic::{AtomicU64, Ordering};

/// The shortest pass phrase, in characters (NIST SP 800-63B-4, section 3.1.1.2).
pub const PASSPHRASE_CHARS_MIN: usize = 15;
/// The longest pass phrase, in characters.
pub const PASSPHRASE_CHARS_MAX: usize = 256;

/// A pass phrase that cannot be taken. Never holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pass phrase has {PASSPHRASE_CHARS_MIN} to {PASSPHRASE_CHARS_MAX} characters; a few words do well"
)]
pub struct PassphraseError;

/// Memory in KiB, passes and lanes: the first choice of the OWASP Password Storage Cheat Sheet.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// At most this many hashes at a time (19 MiB each), and this many callers waiting for one.
const HASHING_MAX: usize = 4;
const WAITING_MAX: usize = 64;

/// Hashes and compares pass phrases, a few at a time.
pub(crate) struct Hasher {
    argon: Argon2<'static>,
    gate: Gate,
    /// Compared with when there is no user, so that it takes as long as when there is one.
    nobody: String,
    computed: AtomicU64,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self::with(Gate::new(HASHING_MAX, WAITING_MAX))
    }

    /// Hashes as many at a time as `gate` lets in.
    pub(crate) fn with(gate: Gate) -> Self {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants in range");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash(&argon, "nobody has this pass phrase");
        Self { argon, gate, nobody, computed: AtomicU64::new(0) }
    }

    /// The hash to keep, as a PHC string with its parameters and a random salt.
    pub(crate) fn hash(&self, passphrase: &str) -> Result<String, Busy> {
        let _permit = self.gate.enter()?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        Ok(hash(&self.argon, passphrase))
    }

    /// Whether the pass phrase is the one of `kept`; never for nobody, after the same work.
    pub(crate) fn matches(&self, passphrase: &str, kept: Option<&str>) -> Result<bool, Busy> {
        let _permit = self.gate.enter()?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        let against = kept.unwrap_or(&self.nobody);
        let verified = self.argon.verify_password(passphrase.as_bytes(), against);
        Ok(verified.is_ok() && kept.is_some())
    }

    /// How many hashes were computed so far.
    #[cfg(test)]
    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// Checks the length of a pass phrase; any characters will do.
pub(crate) fn check(passphrase: &str) -> Result<(), PassphraseError> {
    // Four bytes are the longest character: bounded before anything is counted.
    let bounded = passphrase.len() <= 4 * PASSPHRASE_CHARS_MAX;
    let range = PASSPHRASE_CHARS_MIN..=PASSPHRASE_CHARS_MAX;
    let fits = bounded && range.contains(&passphrase.chars().count());
    if fits { Ok(()) } else { Err(PassphraseError) }
}

fn hash(argon: &Argon2<'_>, passphrase: &str) -> String {
    let hash = argon.hash_password(passphrase.as_bytes());
    hash.expect("checked lengths, and the operating system gives random bytes").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_states_its_parameters_and_fits_its_pass_phrase_only() {
        let hasher = Hasher::new();
        let [one, two] = [(); 2].map(|()| hasher.hash("correct horse battery").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two, "each hash has a salt of its own");
        assert_eq!(hasher.matches("correct horse battery", Some(&one)), Ok(true));
        assert_eq!(hasher.matches("correct horse batterz", Some(&one)), Ok(false));
        assert_eq!(hasher.matches("nobody has this pass phrase", None), Ok(false));
        assert_eq!(hasher.computed(), 5);
    }

    #[test]
    fn length_is_the_only_rule() {
        let signs = |count| "é".repeat(count);
        for (count, fits) in [(0, false), (14, false), (15, true), (256, true), (257, false)] {
            assert_eq!(check(&signs(count)).is_ok(), fits, "{count}");
        }
        assert!(check(&"a".repeat(50_000_000)).is_err());
        assert!(check("               ").is_ok(), "spaces are characters, too");
    }
}
