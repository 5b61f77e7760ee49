//! Rules: granting, listing, revoking, and seeing what a rule would do before it is made.

use crate::border;
use crate::json::Json;
use crate::problem::{Answer, Problem};
use crate::rule::{Purpose, Rule};
use crate::signed::By;
use aegle_centre::{Centre, GrantedRule, PreviewCell, PreviewPart};
use aegle_model::{self as model, Name, RuleId};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A rule that is in the ledger.
#[derive(Serialize, ToSchema)]
pub(crate) struct KnownRule {
    /// The rule's id.
    id: String,
    /// The rule; null when it cannot be read here.
    rule: Option<Rule>,
}

/// A new rule's id.
#[derive(Serialize, ToSchema)]
pub(crate) struct RuleCreated {
    /// The rule's id.
    id: String,
}

/// Who would ask, for what, and with which further rule.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewRequest {
    /// Who would ask.
    requester: PreviewRequester,
    /// What for.
    purpose: Purpose,
    /// A rule that is tried before it is made.
    rule: Option<Rule>,
}

/// A professional who would ask.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewRequester {
    /// The employing centre's code.
    centre: String,
    /// The staff number there.
    #[schema(value_type = String)]
    professional: Name,
    /// The numbers of the departments there.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    departments: Vec<Name>,
}

/// What could be seen of one centre.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreviewedCentre {
    /// The centre's code.
    centre: String,
    /// Its cells.
    cells: Vec<PreviewedCell>,
}

/// Whether a cell would be open, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreviewedCell {
    /// The cell's tags.
    tags: Vec<String>,
    /// Whether it would be open.
    open: bool,
    /// Ids of the rules that open it; `draft` is the rule being tried.
    opened_by: Vec<String>,
    /// Ids of the rules that close it; `draft` is the rule being tried.
    closed_by: Vec<String>,
}

/// The own rules that are not revoked.
#[utoipa::path(get, path = "/rules", tag = "rules", security(("token" = [])), responses(
    (status = 200, description = "the rules, oldest first", body = Vec<KnownRule>),
    (status = 403, description = "only a patient has rules", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    By(caller): By,
) -> Answer<axum::Json<Vec<KnownRule>>> {
    let genesis = &centre.parts().genesis;
    let rules = centre.rules(&caller).await?.into_iter().map(|GrantedRule { id, rule }| {
        KnownRule { id: id.to_string(), rule: rule.map(|rule| Rule::shown(&rule, genesis)) }
    });
    Ok(axum::Json(rules.collect()))
}

/// Puts a rule into force.
#[utoipa::path(post, path = "/rules", tag = "rules", security(("token" = [])), request_body = Rule, responses(
    (status = 201, description = "in force at every centre", body = RuleCreated),
    (status = 403, description = "only a patient makes rules", body = Problem),
    (status = 409, description = "the ledger refused it", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
    (status = 503, description = "the ledger does not answer", body = Problem),
))]
pub(crate) async fn grant(
    State(centre): State<Centre>,
    By(caller): By,
    Json(rule): Json<Rule>,
) -> Answer<(StatusCode, axum::Json<RuleCreated>)> {
    let draft = rule.checked(&centre.parts().genesis)?;
    let id = centre.grant(&caller, draft).await?.to_string();
    Ok((StatusCode::CREATED, axum::Json(RuleCreated { id })))
}

/// Takes a rule out of force.
#[utoipa::path(delete, path = "/rules/{id}", tag = "rules", security(("token" = [])),
    params(("id" = String, Path, description = "the rule's id")),
    responses(
        (status = 204, description = "out of force at every centre"),
        (status = 404, description = "the patient has no such rule", body = Problem),
        (status = 503, description = "the ledger does not answer", body = Problem),
    ))]
pub(crate) async fn revoke(
    State(centre): State<Centre>,
    By(caller): By,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let id: RuleId = id.parse().map_err(|error| Problem::malformed("id", error))?;
    centre.revoke(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What somebody could see now, with one more rule if one is given.
#[utoipa::path(post, path = "/rules/preview", tag = "rules", security(("token" = [])), request_body = PreviewRequest, responses(
    (status = 200, description = "every cell of every linked centre", body = Vec<PreviewedCentre>),
    (status = 403, description = "only a patient sees this", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
))]
pub(crate) async fn preview(
    State(centre): State<Centre>,
    By(caller): By,
    Json(request): Json<PreviewRequest>,
) -> Answer<axum::Json<Vec<PreviewedCentre>>> {
    let genesis = &centre.parts().genesis;
    let extra = request.rule.map(|rule| rule.checked(genesis)).transpose()?;
    let PreviewRequester { centre: employer, professional, departments } = request.requester;
    let employer = border::centre(genesis, &employer, "requester.centre")?;
    let requester =
        model::Requester::Professional { centre: employer, id: professional, departments };
    let parts = centre.preview(&caller, (requester, request.purpose.into()), extra).await?;
    let shown = parts.into_iter().map(|PreviewPart { centre, cells }| PreviewedCentre {
        centre: border::code(genesis, centre),
        cells: cells.into_iter().map(PreviewedCell::from).collect(),
    });
    Ok(axum::Json(shown.collect()))
}

impl From<PreviewCell> for PreviewedCell {
    fn from(PreviewCell { cell, why }: PreviewCell) -> Self {
        let named = |ids: Vec<Option<RuleId>>| {
            let names =
                ids.into_iter().map(|id| id.map_or("draft".to_owned(), |id| id.to_string()));
            names.collect()
        };
        Self {
            tags: cell.tags.keys().map(ToString::to_string).collect(),
            open: why.open,
            opened_by: named(why.opened_by),
            closed_by: named(why.closed_by),
        }
    }
}
