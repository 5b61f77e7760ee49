//! Staff and departments of this centre.

use crate::border::blocking;
use crate::json::Json;
use crate::problem::{Answer, Problem};
use crate::signed::{By, Signed};
use aegle_centre::{Caller, Centre, Error};
use aegle_identity::{self as identity, NewUser, Role, UserError};
use aegle_model::Name;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A department of this centre.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Department {
    /// The centre's own number.
    #[schema(value_type = String)]
    id: Name,
    /// What people call it.
    #[schema(value_type = String)]
    name: Name,
}

/// Somebody who works at this centre.
#[derive(Serialize, ToSchema)]
pub(crate) struct StaffMember {
    /// The staff number.
    #[schema(value_type = String)]
    id: Name,
    /// How the person is called.
    name: String,
    /// The numbers of the person's departments.
    #[schema(value_type = Vec<String>)]
    departments: Vec<Name>,
}

/// A new staff member with a login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStaff {
    /// The login.
    login: String,
    /// How the person is called.
    name: String,
    /// The staff number.
    #[schema(value_type = String)]
    id: Name,
    /// The numbers of the person's departments.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    departments: Vec<Name>,
    /// The pass phrase.
    #[schema(value_type = String, format = Password)]
    passphrase: Zeroizing<String>,
}

/// What was made or changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Numbered {
    /// Its number at this centre.
    #[schema(value_type = String)]
    id: Name,
}

/// Everybody who works here.
#[utoipa::path(get, path = "/staff", tag = "staff", security(("token" = [])), responses(
    (status = 200, description = "the staff, by number", body = Vec<StaffMember>),
    (status = 401, description = "not signed in", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    _: Signed,
) -> Answer<axum::Json<Vec<StaffMember>>> {
    let identity = Arc::clone(&centre.parts().identity);
    let staff =
        blocking(move || identity.staff()).await?.map_err(|error| Problem::failed(&error))?;
    let staff = staff.into_iter().map(|identity::StaffMember { id, name, departments }| {
        StaffMember { id, name, departments }
    });
    Ok(axum::Json(staff.collect()))
}

/// The departments of this centre.
#[utoipa::path(get, path = "/departments", tag = "staff", security(("token" = [])), responses(
    (status = 200, description = "the departments, by number", body = Vec<Department>),
    (status = 401, description = "not signed in", body = Problem),
))]
pub(crate) async fn departments(
    State(centre): State<Centre>,
    _: Signed,
) -> Answer<axum::Json<Vec<Department>>> {
    let identity = Arc::clone(&centre.parts().identity);
    let departments =
        blocking(move || identity.departments()).await?.map_err(|error| Problem::failed(&error))?;
    let departments =
        departments.into_iter().map(|identity::Department { id, name }| Department { id, name });
    Ok(axum::Json(departments.collect()))
}

/// Adds a staff member.
#[utoipa::path(post, path = "/staff", tag = "staff", security(("token" = [])), request_body = NewStaff, responses(
    (status = 201, description = "added", body = Numbered),
    (status = 403, description = "only an administrator adds staff", body = Problem),
    (status = 409, description = "number or login is taken", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
))]
pub(crate) async fn add(
    State(centre): State<Centre>,
    By(caller): By,
    Json(staff): Json<NewStaff>,
) -> Answer<(StatusCode, axum::Json<Numbered>)> {
    administrator(&caller)?;
    let identity = Arc::clone(&centre.parts().identity);
    let id = staff.id.clone();
    let create = move || {
        let NewStaff { login, name, id, departments, passphrase } = &staff;
        let role = Role::Professional { id: id.clone(), departments: departments.clone() };
        identity.create_user(&NewUser { login, name, passphrase, role }).map(|_| ())
    };
    blocking(create).await?.map_err(refused)?;
    Ok((StatusCode::CREATED, axum::Json(Numbered { id })))
}

/// Adds a department, or gives the one with this number another name.
#[utoipa::path(post, path = "/departments", tag = "staff", security(("token" = [])), request_body = Department, responses(
    (status = 201, description = "it is there with this name", body = Numbered),
    (status = 403, description = "only an administrator adds departments", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
))]
pub(crate) async fn set_department(
    State(centre): State<Centre>,
    By(caller): By,
    Json(Department { id, name }): Json<Department>,
) -> Answer<(StatusCode, axum::Json<Numbered>)> {
    administrator(&caller)?;
    let identity = Arc::clone(&centre.parts().identity);
    let department = identity::Department { id: id.clone(), name };
    let set = blocking(move || identity.set_department(&department)).await?;
    set.map_err(|error| Problem::failed(&error))?;
    Ok((StatusCode::CREATED, axum::Json(Numbered { id })))
}

fn administrator(caller: &Caller) -> Answer<()> {
    match caller {
        Caller::Administrator => Ok(()),
        _ => Err(Error::Forbidden { who: "an administrator of this centre" }.into()),
    }
}

fn refused(error: UserError) -> Problem {
    match error {
        UserError::Login(why) => Problem::malformed("login", why),
        UserError::Passphrase(why) => Problem::malformed("passphrase", why),
        why @ UserError::Name => Problem::malformed("name", why),
        why @ UserError::Department(_) => Problem::malformed("departments", why),
        why @ UserError::Taken(_) => Problem::conflict(why),
        why @ UserError::Busy => Problem::unavailable("identity", why.to_string()),
        other => Problem::failed(&other),
    }
}
