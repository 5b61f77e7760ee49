//! Enrolling patients of this centre.

use crate::json::Json;
use crate::problem::{Answer, Problem};
use crate::signed::By;
use aegle_centre::{Centre, NewLogin};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A patient who comes into the network.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPatient {
    /// This centre's patient number.
    number: String,
    /// The login.
    login: String,
    /// What the screens call the person.
    name: String,
    /// The pass phrase.
    #[schema(value_type = String, format = Password)]
    passphrase: Zeroizing<String>,
}

/// An enrolled patient.
#[derive(Serialize, ToSchema)]
pub(crate) struct Enrolled {
    /// The handle that the patient gives at a desk.
    #[schema(example = "K7QF-2M9X-4TBA-Z")]
    handle: String,
}

/// Enrols a patient of this centre.
#[utoipa::path(post, path = "/patients", tag = "patients", security(("token" = [])), request_body = NewPatient, responses(
    (status = 201, description = "enrolled", body = Enrolled),
    (status = 403, description = "only an administrator enrols", body = Problem),
    (status = 404, description = "no such patient number", body = Problem),
    (status = 409, description = "number or login is taken", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
    (status = 503, description = "the ledger does not answer", body = Problem),
))]
pub(crate) async fn enrol(
    State(centre): State<Centre>,
    By(caller): By,
    Json(patient): Json<NewPatient>,
) -> Answer<(StatusCode, axum::Json<Enrolled>)> {
    let NewPatient { number, login, name, passphrase } = patient;
    let handle = centre.enrol(&caller, &number, NewLogin { login, name, passphrase }).await?;
    Ok((StatusCode::CREATED, axum::Json(Enrolled { handle: handle.to_string() })))
}
