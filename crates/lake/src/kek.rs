//! Key-encryption keys: one per epoch, behind one narrow trait.
//!
//! Everything in `keys.db` is wrapped under the key of an epoch. A rotation wraps it all again under
//! a new one and destroys the old: what was wrapped before, in any copy, is noise from then on. So
//! these keys live apart from all that they wrap, in a place that forgets.
//!
//! Invariant: a key leaves its [`Keks`] only wrapped or not at all, so that a token (PKCS#11) or a
//! key service can stand behind the trait. [`FileKeks`](crate::FileKeks) is the one for a sealed file.

use std::path::PathBuf;
use zeroize::Zeroizing;

/// Counts the key-encryption keys of a lake from 1.
pub type KeyEpoch = u32;

/// The key-encryption keys of a lake, which work where they are.
pub trait Keks: Send + Sync {
    /// The epochs whose keys exist, oldest first; two or more while a rotation is under way.
    fn epochs(&self) -> Result<Vec<KeyEpoch>, KekError>;

    /// Makes the key of an epoch, unless it is there. It is durable when this returns.
    fn create(&self, epoch: KeyEpoch) -> Result<(), KekError>;

    /// Destroys the keys of all epochs before this one, for good. A later one may have been made by a
    /// process that took a rotation over.
    fn keep_only(&self, epoch: KeyEpoch) -> Result<(), KekError>;

    /// Wraps a key under the key of an epoch and binds it to its place.
    fn wrap(&self, epoch: KeyEpoch, place: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, KekError>;

    /// The key that was [wrapped](Self::wrap) for this place.
    fn unwrap(
        &self,
        epoch: KeyEpoch,
        place: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, KekError>;
}

/// What key-encryption keys could not do.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The key of this epoch was destroyed, or never was here.
    #[error(
        "the key of key epoch {0} is not here; if it was destroyed by a rotation, what is encrypted \
         under it can be read by nobody, else restore it with `aegle restore keys`"
    )]
    Gone(KeyEpoch),
    /// What was to be unwrapped is not what was wrapped.
    #[error("a wrapped key was altered or belongs elsewhere")]
    Altered,
    /// The file of keys does not open.
    #[error(
        "the key file `{}` does not open: it was altered, or sealed with the secrets of another \
         node; restore it with `aegle restore keys`", .0.display()
    )]
    Sealed(PathBuf),
    /// There is a file of keys where one is to be made.
    #[error("the key file `{}` is there already; nothing was written over it", .0.display())]
    Exists(PathBuf),
    /// The file that was to take another's place holds other keys.
    #[error(
        "the key file `{}` was kept, for the one that takes its place does not hold the same keys",
        .0.display()
    )]
    Differs(PathBuf),
    /// The file of keys cannot be used.
    #[error("could not use the key file `{}`", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        #[source]
        source: std::io::Error,
    },
    /// A token or a key service failed.
    #[error("could not use the key-encryption keys")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}
