//! The users of one centre: who they are, how they sign in, what their tokens prove.
//!
//! Invariants: a pass phrase is kept only as an Argon2id hash; an unknown login, a disabled user and
//! a wrong pass phrase get the same answer after the same work; role and departments of a session
//! come from the database at the moment of asking, never from the token; neither pass phrases nor
//! tokens nor keys are ever printed. Absent on purpose: a clock (every operation takes `now`),
//! HTTP, the rules of access, the ledger. Operations that hash take tens of milliseconds and
//! block: an asynchronous caller runs them on a thread that may.

mod gate;
mod keys;
mod login;
mod passphrase;
mod register;
mod session;
mod sign_in;
mod staff;
mod store;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod user;

pub use keys::KeyError;
pub use login::{Login, LoginError};
pub use passphrase::{PASSPHRASE_CHARS_MAX, PASSPHRASE_CHARS_MIN, PassphraseError};
pub use session::Session;
pub use sign_in::{SignInError, SignedIn};
pub use staff::{Department, StaffMember};
pub use store::StoreError;
pub use token::{ACCESS_LIFE_S, AUDIENCE, Issuer, TYPE, TokenError};
pub use user::{NewUser, Role, User, UserError, UserId};

use aegle_model::Timestamp;
use keys::Keys;
use passphrase::Hasher;
use std::path::Path;
use store::Store;
use throttle::Addresses;
use zeroize::Zeroizing;

/// The users of one centre and the key that signs their tokens. Share it behind an `Arc`.
pub struct Identity {
    issuer: Issuer,
    store: Store,
    keys: Keys,
    hasher: Hasher,
    addresses: Addresses,
}

/// Why the users of a centre could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database did not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Identity {
    /// Opens the users in the database at `path`, making it first when it is not there (readable
    /// by its owner only). Tokens are signed with the Ed25519 key of `seed`. When the database
    /// was last opened with another key, tokens of that key are good until they would expire, and
    /// no longer than [`ACCESS_LIFE_S`] after `now`: open it with a new seed to rotate the key.
    pub fn open(
        path: &Path,
        issuer: Issuer,
        seed: &Zeroizing<[u8; 32]>,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let store = Store::open(path)?;
        let keys = Keys::open(&store, seed, now)?;
        let hasher = Hasher::new();
        Ok(Self { issuer, store, keys, hasher, addresses: Addresses::default() })
    }
}
