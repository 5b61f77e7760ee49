//! Signing in with a pass phrase.

use crate::register::find;
use crate::throttle::{Accounts, Wait};
use crate::token::{self, Claims};
use crate::{Identity, Login, StoreError, User, passphrase};
use aegle_model::Timestamp;
use std::fmt;
use std::net::IpAddr;

/// A user with a new token. `Debug` does not print the token.
pub struct SignedIn {
    /// The access token; whoever holds it is the user.
    pub token: String,
    /// The first instant at which the token is not good any more.
    pub expires: Timestamp,
    /// The user.
    pub user: User,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedIn({:?}, until {})", self.user, self.expires.0)
    }
}

/// Why somebody was not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown login, wrong pass phrase or disabled user: which one is never told.
    #[error("login or pass phrase is wrong")]
    Refused,
    /// Too many failures for this login or from this address.
    #[error("too many attempts; try again in {retry_after_s} s")]
    Throttled {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// Too many sign-ins at the same time.
    #[error("too many people are signing in; try again in a moment")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Wait> for SignInError {
    fn from(Wait(retry_after_s): Wait) -> Self {
        Self::Throttled { retry_after_s }
    }
}

impl Identity {
    /// Signs somebody in. Every attempt counts as failed, for the login and for the address, until
    /// it has succeeded. Hashes once whenever it gets that far, whether there is such a user or not,
    /// so it takes tens of milliseconds.
    pub fn sign_in(
        &self,
        login: &str,
        passphrase: &str,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let login = Login::new(login).map_err(|_| SignInError::Refused)?;
        passphrase::check(passphrase).map_err(|_| SignInError::Refused)?;
        let accounts = Accounts { store: &self.store, key: self.keys.logins() };
        self.addresses.attempt(address, now)?;
        accounts.attempt(&login, now)?.inspect_err(|_| self.addresses.forgive(address))?;
        let (user, kept) = self.credentials(&login)?.unzip();
        let Ok(matches) = self.hasher.matches(passphrase, kept.as_deref()) else {
            self.addresses.forgive(address);
            accounts.forgive(&login)?;
            return Err(SignInError::Busy);
        };
        let user = user.filter(|user| matches && !user.disabled).ok_or(SignInError::Refused)?;
        self.addresses.forgive(address);
        accounts.forget(&login)?;
        Ok(self.admit(user, now))
    }

    /// The user and the hash of the pass phrase.
    fn credentials(&self, login: &Login) -> Result<Option<(User, String)>, StoreError> {
        self.store.read(|transaction| {
            let Some(user) = find(transaction, "login = ?1", login.as_str())? else {
                return Ok(None);
            };
            let query = "SELECT passphrase FROM users WHERE login = ?1";
            let hash = transaction.query_row(query, [login.as_str()], |row| row.get(0))?;
            Ok(Some((user, hash)))
        })
    }

    fn admit(&self, user: User, now: Timestamp) -> SignedIn {
        let claims = Claims::new(&self.issuer, user.id, user.role.name(), now);
        SignedIn { token: token::sign(&claims, &self.keys), expires: claims.expires(), user }
    }
}
