//! Rules: granting, listing, revoking, and seeing what a rule would do before it is made.

use crate::border;
use crate::history::moment;
use crate::json::Json;
use crate::problem::{Answer, Problem};
use crate::rule::{Purpose, Rule};
use crate::signed::By;
use aegle_centre::{Centre, GrantedRule, Names, PreviewCell, PreviewPart, Progress, Standing};
use aegle_model::{self as model, RuleId};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A rule that is in the ledger, or waits to be.
#[derive(Serialize, ToSchema)]
pub(crate) struct KnownRule {
    /// The rule's id.
    id: String,
    /// The rule; null when it cannot be read here.
    rule: Option<Rule>,
    /// Whether it is in force.
    status: Status,
    /// Why the ledger refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Whether a rule, or a change of rules, is in force.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// At every centre.
    InForce,
    /// Not in force yet: it waits at this centre for the ledger.
    Waiting,
    /// Still in force: its revocation waits at this centre for the ledger.
    Revoking,
    /// Never in force: the ledger refused it after the patient had been told to wait.
    Refused,
}

/// A change of rules.
#[derive(Serialize, ToSchema)]
pub(crate) struct RuleChanged {
    /// The rule's id.
    id: String,
    /// Whether the change is in force.
    status: Status,
}

/// The moment of the rules to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Moment {
    /// A height of the ledger, such as `1204`, or a time, such as `2026-03-01T00:00:00Z`; now, if not
    /// given.
    at: Option<String>,
}

/// What the client calls a change: a change of the same name is made once, however often it is sent.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Name {
    /// What the client calls this change, 1 to 128 visible ASCII characters, such as a UUID. A change
    /// of the same name is made once, however often and to whichever centre it is sent.
    #[param(rename = "Idempotency-Key")]
    name: Option<String>,
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
    professional: model::Name,
    /// The numbers of the departments there.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    departments: Vec<model::Name>,
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

/// The own rules: those of now, also those that wait; or those of an earlier moment.
#[utoipa::path(get, path = "/rules", tag = "rules", security(("token" = [])), params(Moment), responses(
    (status = 200, description = "the rules, oldest first", body = Vec<KnownRule>),
    (status = 403, description = "only a patient has rules", body = Problem),
    (status = 422, description = "the moment is not past, or no moment", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    By(caller): By,
    Query(Moment { at }): Query<Moment>,
) -> Answer<axum::Json<Vec<KnownRule>>> {
    let at = at.as_deref().map(moment).transpose()?;
    let rules = centre.rules(&caller, at).await?;
    let names = centre.names(&rules).await?;
    Ok(axum::Json(rules.into_iter().map(|rule| KnownRule::new(rule, &names)).collect()))
}

/// Puts a rule into force.
#[utoipa::path(post, path = "/rules", tag = "rules", security(("token" = [])), params(Name), request_body = Rule, responses(
    (status = 201, description = "in force at every centre", body = RuleChanged),
    (status = 202, description = "kept until the ledger can be reached; not in force yet", body = RuleChanged),
    (status = 403, description = "only a patient makes rules", body = Problem),
    (status = 409, description = "the ledger refused it", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
    (status = 503, description = "a part that is needed does not answer", body = Problem),
))]
pub(crate) async fn grant(
    State(centre): State<Centre>,
    By(caller): By,
    name: Name,
    Json(rule): Json<Rule>,
) -> Answer<(StatusCode, axum::Json<RuleChanged>)> {
    let draft = rule.checked(&centre.member_names())?;
    let (id, progress) = centre.grant(&caller, draft, name.get()).await?;
    let code = match progress {
        Progress::Made => StatusCode::CREATED,
        Progress::Waiting => StatusCode::ACCEPTED,
    };
    Ok((code, axum::Json(RuleChanged { id: id.to_string(), status: progress.into() })))
}

/// Takes a rule out of force. One that is out of force already stays so.
#[utoipa::path(delete, path = "/rules/{id}", tag = "rules", security(("token" = [])),
    params(("id" = String, Path, description = "the rule's id"), Name),
    responses(
        (status = 202, description = "kept until the ledger can be reached; the rule is still in force", body = RuleChanged),
        (status = 204, description = "out of force at every centre"),
        (status = 404, description = "the patient never had such a rule", body = Problem),
        (status = 409, description = "the ledger refused it", body = Problem),
        (status = 503, description = "a part that is needed does not answer", body = Problem),
    ))]
pub(crate) async fn revoke(
    State(centre): State<Centre>,
    By(caller): By,
    Path(id): Path<String>,
    name: Name,
) -> Answer<Response> {
    let id: RuleId = id.parse().map_err(|error| Problem::malformed("id", error))?;
    Ok(match centre.revoke(&caller, id, name.get()).await? {
        Progress::Made => StatusCode::NO_CONTENT.into_response(),
        Progress::Waiting => {
            let waits = RuleChanged { id: id.to_string(), status: Status::Revoking };
            (StatusCode::ACCEPTED, axum::Json(waits)).into_response()
        }
    })
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
    let names = centre.member_names();
    let extra = request.rule.map(|rule| rule.checked(&names)).transpose()?;
    let PreviewRequester { centre: employer, professional, departments } = request.requester;
    let employer = border::centre(&names, &employer, "requester.centre")?;
    let requester =
        model::Requester::Professional { centre: employer, id: professional, departments };
    let parts = centre.preview(&caller, (requester, request.purpose.into()), extra).await?;
    let names = centre.names(&parts).await?;
    let shown = parts.into_iter().map(|PreviewPart { centre, cells }| PreviewedCentre {
        centre: names.code(centre),
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

impl KnownRule {
    fn new(GrantedRule { id, rule, standing }: GrantedRule, names: &Names) -> Self {
        let (status, why) = match standing {
            Standing::InForce => (Status::InForce, None),
            Standing::Waiting => (Status::Waiting, None),
            Standing::Revoking => (Status::Revoking, None),
            Standing::Refused(why) => (Status::Refused, Some(why.to_string())),
        };
        Self { id: id.to_string(), rule: rule.map(|rule| Rule::shown(&rule, names)), status, why }
    }
}

impl From<Progress> for Status {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Made => Self::InForce,
            Progress::Waiting => Self::Waiting,
        }
    }
}

impl Name {
    /// The name, if there is one.
    pub(crate) fn get(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        const FIELD: &str = "idempotency-key";
        let mut values = parts.headers.get_all(FIELD).iter();
        let (Some(value), others) = (values.next(), values.next()) else {
            return Ok(Self { name: None });
        };
        let name = value.to_str().ok().filter(|name| {
            (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
        });
        match (name, others) {
            (Some(name), None) => Ok(Self { name: Some(name.to_owned()) }),
            _ => Err(Problem::malformed(FIELD, "send one, of 1 to 128 visible ASCII characters")),
        }
    }
}
