//! Access tokens: JSON Web Tokens (RFC 7519, RFC 9068) signed with Ed25519 (RFC 8037).
//!
//! A token says who, for whom, by whom and until when. What the user may do is looked up when the
//! token is used. Times are checked here against the caller's `now`; the library's own check would
//! read the clock.

use crate::UserId;
use crate::keys::Keys;
use aegle_model::{CentreId, Timestamp};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

/// How long a token is good, in seconds.
pub const ACCESS_LIFE_S: u64 = 15 * 60;
/// For whom tokens are.
pub const AUDIENCE: &str = "aegle";
/// The type in a token's header (RFC 9068, section 2.1): nothing else that this key may sign can
/// be taken for an access token.
pub const TYPE: &str = "at+jwt";

/// Longer texts are no tokens of ours.
const TOKEN_BYTES_MAX: usize = 2048;
/// Clocks of the machines of one centre differ by so much at most.
const SKEW_S: u64 = 5;

/// Who signs the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The centre.
    pub centre: CentreId,
    /// The centre's address or name, the readable part of the `iss` claim.
    pub name: String,
}

impl Issuer {
    /// The `iss` claim: unlike any other centre's, whatever it calls itself.
    fn claim(&self) -> String {
        format!("{}#{}", self.name, self.centre)
    }
}

/// Why a token proves nothing. For logs and tests: whoever shows it learns only that it is not
/// good.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not a token, or one with missing or odd claims.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with another algorithm.
    #[error("the token's algorithm is not EdDSA")]
    Algorithm,
    /// The key that it names is unknown or no longer good.
    #[error("the token's key is unknown or retired")]
    Key,
    /// The signature does not fit.
    #[error("the token's signature does not match")]
    Signature,
    /// Of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Not an access token.
    #[error("the token is of another type")]
    Type,
    /// Too old.
    #[error("the token has expired; sign in again")]
    Expired,
    /// From the future.
    #[error("the token is not good yet; compare the clocks of the centre's machines")]
    Early,
    /// Its user signed out.
    #[error("the token was signed out; sign in again")]
    Revoked,
    /// Its user is gone, disabled, or has another role by now.
    #[error("the token's user may not use it any more")]
    User,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] crate::StoreError),
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidAlgorithm => Self::Algorithm,
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            _ => Self::Malformed,
        }
    }
}

/// What a token says. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: UserId,
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    /// Names this one token, so that it can be signed out.
    pub(crate) jti: String,
    pub(crate) role: String,
}

impl Claims {
    /// The claims of a token given at `now`.
    pub(crate) fn new(issuer: &Issuer, user: UserId, role: &str, now: Timestamp) -> Self {
        let now_s = now.0 / 1000;
        Self {
            iss: issuer.claim(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            iat: now_s,
            nbf: now_s,
            exp: now_s.saturating_add(ACCESS_LIFE_S),
            jti: hex::encode(crate::register::random()),
            role: role.to_owned(),
        }
    }

    /// The first instant at which the token is not good any more.
    pub(crate) fn expires(&self) -> Timestamp {
        Timestamp(self.exp.saturating_mul(1000))
    }
}

/// Signs claims.
pub(crate) fn sign(claims: &Claims, keys: &Keys) -> String {
    let (id, key) = keys.signing();
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(id.to_owned());
    jsonwebtoken::encode(&header, claims, key).expect("the key was used before, claims are JSON")
}

/// The claims of a token that is ours, for us and good at `now`; whether its user still is, is
/// another question.
pub(crate) fn read(
    token: &str,
    keys: &Keys,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token)?;
    if header.alg != Algorithm::EdDSA {
        return Err(TokenError::Algorithm);
    }
    let id = header.kid.ok_or(TokenError::Key)?;
    let key = keys.verifying(&id, now).ok_or(TokenError::Key)?;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &expected(issuer))?.claims;
    if header.typ.as_deref() != Some(TYPE) {
        return Err(TokenError::Type);
    }
    if claims.expires() <= now {
        return Err(TokenError::Expired);
    }
    if claims.nbf.max(claims.iat) > now.0 / 1000 + SKEW_S {
        return Err(TokenError::Early);
    }
    Ok(claims)
}

fn expected(issuer: &Issuer) -> Validation {
    let mut expected = Validation::new(Algorithm::EdDSA);
    expected.set_issuer(&[issuer.claim()]);
    expected.set_audience(&[AUDIENCE]);
    expected.set_required_spec_claims(&["aud", "exp", "iss", "nbf", "sub"]);
    expected.validate_exp = false;
    expected.validate_nbf = false;
    expected
}
