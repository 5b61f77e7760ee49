//! Signing in and out.

use crate::border::{self, blocking};
use crate::json::Json;
use crate::limits::Client;
use crate::problem::{Answer, Problem};
use crate::signed::Signed;
use aegle_centre::{Centre, now};
use aegle_identity::{Role, SignInError};
use aegle_model::{Handle, Name};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The login.
    login: String,
    /// The pass phrase.
    #[schema(value_type = String, format = Password)]
    passphrase: Zeroizing<String>,
}

/// A new session.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewSession {
    /// Send it as `authorization: Bearer`.
    token: String,
    /// The first instant at which the token is not good any more.
    #[schema(format = DateTime)]
    expires: String,
    /// `patient`, `professional`, `administrator` or `auditor`.
    role: &'static str,
    /// A patient's handle, once enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The code of this centre.
    centre: String,
    /// `patient`, `professional`, `administrator` or `auditor`.
    role: &'static str,
    /// A patient's handle, once enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    /// A professional's staff number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    professional: Option<Name>,
    /// The numbers of a professional's departments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    departments: Option<Vec<Name>>,
    /// The first instant at which the token is not good any more.
    #[schema(format = DateTime)]
    expires: String,
}

/// Signs in.
#[utoipa::path(post, path = "/session", tag = "session", request_body = SignIn, responses(
    (status = 201, description = "signed in", body = NewSession),
    (status = 401, description = "login or pass phrase is wrong", body = Problem),
    (status = 429, description = "too many attempts", body = Problem),
))]
pub(crate) async fn sign_in(
    State(centre): State<Centre>,
    Extension(Client(address)): Extension<Client>,
    Json(SignIn { login, passphrase }): Json<SignIn>,
) -> Answer<(StatusCode, axum::Json<NewSession>)> {
    let identity = Arc::clone(&centre.parts().identity);
    let signing = move || identity.sign_in(&login, &passphrase, address, now());
    let signed = blocking(signing).await?.map_err(refused)?;
    let session = NewSession {
        token: signed.token,
        expires: border::time(signed.expires),
        role: signed.user.role.name(),
        handle: handle(&signed.user.role),
    };
    Ok((StatusCode::CREATED, axum::Json(session)))
}

/// Signs out: the token is refused from now on.
#[utoipa::path(delete, path = "/session", tag = "session", security(("token" = [])), responses(
    (status = 204, description = "signed out"),
    (status = 401, description = "not signed in", body = Problem),
))]
pub(crate) async fn sign_out(
    State(centre): State<Centre>,
    Signed(session): Signed,
) -> Answer<StatusCode> {
    let identity = Arc::clone(&centre.parts().identity);
    let out = blocking(move || identity.sign_out(&session, now())).await?;
    out.map_err(|error| Problem::failed(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is signed in.
#[utoipa::path(get, path = "/me", tag = "session", security(("token" = [])), responses(
    (status = 200, description = "who is signed in", body = Me),
    (status = 401, description = "not signed in", body = Problem),
))]
pub(crate) async fn me(State(centre): State<Centre>, Signed(session): Signed) -> axum::Json<Me> {
    let (role, handle) = (session.role.name(), handle(&session.role));
    let (professional, departments) = match session.role {
        Role::Professional { id, departments } => (Some(id), Some(departments)),
        _ => (None, None),
    };
    let expires = border::time(session.expires);
    let centre = centre.member_names().code(centre.id());
    axum::Json(Me { centre, role, handle, professional, departments, expires })
}

fn handle(role: &Role) -> Option<String> {
    match role {
        Role::Patient { patient } => patient.map(|patient| Handle::from(patient).to_string()),
        _ => None,
    }
}

fn refused(error: SignInError) -> Problem {
    match error {
        SignInError::Refused => {
            Problem::unauthenticated("login or pass phrase is wrong", "Bearer realm=\"aegle\"")
        }
        SignInError::Throttled { retry_after_s } => {
            Problem::too_many(retry_after_s, error.to_string())
        }
        SignInError::Busy => Problem::unavailable("identity", error.to_string()),
        SignInError::Store(error) => Problem::failed(&error),
    }
}
