//! Who asks: the session behind a bearer token (RFC 6750).

use crate::border::blocking;
use crate::problem::{Answer, Problem};
use aegle_centre::{Caller, Centre, now};
use aegle_identity::{Role, Session, TokenError};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use std::sync::Arc;

/// A verified session.
pub(crate) struct Signed(pub(crate) Session);

/// The person of a verified session, in the role they act in.
pub(crate) struct By(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for Signed
where
    Centre: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let token = bearer(parts).ok_or_else(|| {
            let detail = "send `authorization: Bearer` with the token of `/api/v1/session`";
            Problem::unauthenticated(detail, "Bearer realm=\"aegle\"")
        })?;
        let (token, identity) =
            (token.to_owned(), Arc::clone(&Centre::from_ref(state).parts().identity));
        match blocking(move || identity.verify(&token, now())).await? {
            Ok(session) => Ok(Self(session)),
            Err(TokenError::Store(error)) => Err(Problem::failed(&error)),
            Err(error) => {
                tracing::debug!(%error, "A token was refused");
                let challenge = "Bearer realm=\"aegle\", error=\"invalid_token\"";
                Err(Problem::unauthenticated(
                    "the token is not good (any more); sign in again",
                    challenge,
                ))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for By
where
    Centre: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let Signed(session) = Signed::from_request_parts(parts, state).await?;
        let caller = match session.role {
            Role::Patient { patient: Some(patient) } => Caller::Patient(patient),
            Role::Patient { patient: None } => {
                return Err(Problem::conflict("your enrolment is not finished; ask again later"));
            }
            Role::Professional { id, departments } => Caller::Professional { id, departments },
            Role::Administrator => Caller::Administrator,
            Role::Auditor => Caller::Auditor,
        };
        Ok(Self(caller))
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
