//! Links: a patient offers, the other centre's administrator accepts.

use crate::border;
use crate::json::Json;
use crate::problem::{Answer, Problem};
use crate::signed::By;
use aegle_centre::{Centre, NewLogin, Offer};
use aegle_ledger::Linked;
use aegle_model::Handle;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A centre that is linked, or is to be.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkedCentre {
    /// The centre's code.
    centre: String,
    /// Whether it may speak for the patient, too.
    speaks: bool,
}

/// A patient's offer to be linked to this centre.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkOffer {
    /// The handle that the patient gives at the desk.
    handle: String,
    /// The code of the centre that the offer came through.
    from: String,
    /// Whether this centre would speak for the patient, too.
    speaks: bool,
}

/// Who a patient with an offer is at this centre. A login needs all three of its fields.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptLink {
    /// This centre's patient number.
    number: String,
    /// The login, if the patient gets one here.
    login: Option<String>,
    /// What the screens call the person.
    name: Option<String>,
    /// The pass phrase.
    #[schema(value_type = Option<String>, format = Password)]
    passphrase: Option<Zeroizing<String>>,
}

/// A new link.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkCreated {
    /// The patient's handle.
    handle: String,
    /// The code of this centre.
    centre: String,
}

/// Where the patient is linked.
#[utoipa::path(get, path = "/links", tag = "links", security(("token" = [])), responses(
    (status = 200, description = "the linked centres", body = Vec<LinkedCentre>),
    (status = 403, description = "only a patient has links", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    By(caller): By,
) -> Answer<axum::Json<Vec<LinkedCentre>>> {
    let links = centre.links(&caller).await?;
    let names = centre.names(&links).await?;
    let links = links
        .into_iter()
        .map(|Linked { centre, speaks }| LinkedCentre { centre: names.code(centre), speaks });
    Ok(axum::Json(links.collect()))
}

/// Offers a centre to be linked. Its administrator has to accept.
#[utoipa::path(post, path = "/links", tag = "links", security(("token" = [])), request_body = LinkedCentre, responses(
    (status = 202, description = "offered"),
    (status = 403, description = "only a patient offers", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
    (status = 503, description = "the other centre does not answer", body = Problem),
))]
pub(crate) async fn offer(
    State(centre): State<Centre>,
    By(caller): By,
    Json(LinkedCentre { centre: to, speaks }): Json<LinkedCentre>,
) -> Answer<StatusCode> {
    let to = border::centre(&centre.member_names(), &to, "centre")?;
    centre.offer_link(&caller, to, speaks).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The offers that wait for this centre.
#[utoipa::path(get, path = "/offers", tag = "links", security(("token" = [])), responses(
    (status = 200, description = "the offers, oldest first", body = Vec<LinkOffer>),
    (status = 403, description = "only an administrator sees offers", body = Problem),
))]
pub(crate) async fn offers(
    State(centre): State<Centre>,
    By(caller): By,
) -> Answer<axum::Json<Vec<LinkOffer>>> {
    let asked = centre.clone();
    let offers = border::blocking(move || asked.offers(&caller)).await??;
    let names = centre.names(&offers).await?;
    let offers = offers.into_iter().map(|Offer { handle, from, speaks }| LinkOffer {
        handle: handle.to_string(),
        from: names.code(from),
        speaks,
    });
    Ok(axum::Json(offers.collect()))
}

/// Accepts an offer: the patient is linked to this centre.
#[utoipa::path(post, path = "/offers/{handle}", tag = "links", security(("token" = [])), request_body = AcceptLink,
    params(("handle" = String, Path, description = "the patient's handle")),
    responses(
        (status = 201, description = "linked", body = LinkCreated),
        (status = 403, description = "only an administrator accepts", body = Problem),
        (status = 404, description = "no such offer or patient number", body = Problem),
        (status = 409, description = "number or login is taken, or linked already", body = Problem),
        (status = 422, description = "a value is wrong", body = Problem),
        (status = 503, description = "the ledger does not answer", body = Problem),
    ))]
pub(crate) async fn accept(
    State(centre): State<Centre>,
    By(caller): By,
    Path(handle): Path<String>,
    Json(accepted): Json<AcceptLink>,
) -> Answer<(StatusCode, axum::Json<LinkCreated>)> {
    let handle: Handle = handle.parse().map_err(|error| Problem::malformed("handle", error))?;
    let AcceptLink { number, login, name, passphrase } = accepted;
    let login = new_login(login, name, passphrase)?;
    centre.accept_link(&caller, handle, &number, login).await?;
    let here = centre.member_names().code(centre.id());
    Ok((StatusCode::CREATED, axum::Json(LinkCreated { handle: handle.to_string(), centre: here })))
}

fn new_login(
    login: Option<String>,
    name: Option<String>,
    passphrase: Option<Zeroizing<String>>,
) -> Answer<Option<NewLogin>> {
    match (login, name, passphrase) {
        (None, None, None) => Ok(None),
        (Some(login), Some(name), Some(passphrase)) => {
            Ok(Some(NewLogin { login, name, passphrase }))
        }
        _ => Err(Problem::malformed("login", "a login needs `login`, `name` and `passphrase`")),
    }
}
