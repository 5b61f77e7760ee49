//! What a token proves, and how it ends before its time.

use crate::register::find_by_id;
use crate::{Identity, Role, StoreError, TokenError, UserId, token};
use aegle_model::Timestamp;

/// A verified token with what its user is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user: UserId,
    /// The role with live departments, from the database.
    pub role: Role,
    /// The first instant at which the token is not good any more.
    pub expires: Timestamp,
    /// Names the token.
    token: String,
}

impl Identity {
    /// Checks a token: ours, for us, of the right type, good at `now`, not signed out, and its user
    /// neither gone nor disabled nor in another role.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Session, TokenError> {
        let claims = token::read(token, &self.keys, &self.issuer, now)?;
        let (revoked, user) = self.store.read(|transaction| {
            let query = "SELECT EXISTS (SELECT 1 FROM revoked WHERE token = ?1)";
            let mut query = transaction.prepare_cached(query)?;
            let revoked: bool = query.query_row([claims.jti.as_bytes()], |row| row.get(0))?;
            Ok((revoked, find_by_id(transaction, claims.sub)?))
        })?;
        if revoked {
            return Err(TokenError::Revoked);
        }
        let user = user.filter(|user| !user.disabled && user.role.name() == claims.role);
        let user = user.ok_or(TokenError::User)?;
        let expires = claims.expires();
        Ok(Session { user: user.id, role: user.role, expires, token: claims.jti })
    }

    /// Ends a session: its token is refused from now on. Revocations are forgotten when their
    /// tokens have expired.
    pub fn sign_out(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        self.store.transact(|transaction| {
            transaction.execute("DELETE FROM revoked WHERE expires_ms <= ?1", [now.0])?;
            let insert = "INSERT OR IGNORE INTO revoked (token, expires_ms) VALUES (?1, ?2)";
            let token = session.token.as_bytes();
            transaction.execute(insert, rusqlite::params![token, session.expires.0])?;
            Ok(())
        })
    }

    /// The public keys that verify tokens at `now`, as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self, now: Timestamp) -> serde_json::Value {
        self.keys.published(now)
    }
}
