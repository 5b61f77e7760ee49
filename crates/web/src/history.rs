//! The history of the own rules, and the way back to earlier ones.

use crate::border;
use crate::json::Json;
use crate::problem::{Answer, Problem};
use crate::rule::Rule;
use crate::rules::{Name, Status};
use crate::signed::By;
use aegle_centre::{At, Centre, Changed, Fate, Names, Progress, RuleChange};
use aegle_ledger::OpenedRule;
use aegle_model::RuleId;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One change of the own rules.
#[derive(Serialize, ToSchema)]
pub(crate) struct PastChange {
    /// What it does.
    #[serde(flatten)]
    change: ChangeKind,
    /// What became of it.
    #[serde(flatten)]
    fate: ChangeFate,
}

/// What a change does.
#[derive(Serialize, ToSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
enum ChangeKind {
    /// A rule comes into force.
    Granted {
        /// The rule's id.
        id: String,
        /// The rule; null when it cannot be read here.
        rule: Option<Rule>,
    },
    /// A rule goes out of force.
    Revoked {
        /// The rule's id.
        id: String,
    },
    /// The rules of an earlier height come back into force.
    Restored {
        /// The height.
        to: u64,
    },
}

/// What became of a change.
#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
enum ChangeFate {
    /// The ledger has it.
    Made {
        /// The height of its block.
        height: u64,
        /// The block's time.
        #[schema(format = DateTime)]
        time: String,
        /// The code of the centre that brought it to the ledger.
        author: String,
    },
    /// Not in force yet: it waits at this centre for the ledger.
    Waiting,
    /// The ledger refused it after the patient had been told to wait.
    Refused {
        /// Why.
        why: String,
    },
}

/// The moment to return to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreRequest {
    /// A height of the ledger, such as `1204`, or a time, such as `2026-03-01T00:00:00Z`.
    at: String,
}

/// A return to earlier rules.
#[derive(Serialize, ToSchema)]
pub(crate) struct Restored {
    /// The height whose rules they are.
    height: u64,
    /// Whether they are in force.
    status: Status,
}

/// What a return would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreviewedRestore {
    /// The height whose rules they are.
    height: u64,
    /// The rules that would come back into force.
    comes: Vec<NamedRule>,
    /// The rules that would go out of force.
    goes: Vec<NamedRule>,
}

/// A rule with its id.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamedRule {
    /// The rule's id.
    id: String,
    /// The rule; null when it cannot be read here.
    rule: Option<Rule>,
}

/// Who changed which rule, and when.
#[utoipa::path(get, path = "/rules/history", tag = "rules", security(("token" = [])), responses(
    (status = 200, description = "every change, oldest first; then those that wait at this centre", body = Vec<PastChange>),
    (status = 403, description = "only a patient has rules", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    By(caller): By,
) -> Answer<axum::Json<Vec<PastChange>>> {
    let changes = centre.history(&caller).await?;
    let names = centre.names(&changes).await?;
    Ok(axum::Json(changes.into_iter().map(|change| PastChange::new(change, &names)).collect()))
}

/// Brings the rules of an earlier moment back into force, all at once.
#[utoipa::path(post, path = "/rules/restore", tag = "rules", security(("token" = [])), params(Name), request_body = RestoreRequest, responses(
    (status = 200, description = "in force at every centre", body = Restored),
    (status = 202, description = "kept until the ledger can be reached; not in force yet", body = Restored),
    (status = 403, description = "only a patient has rules", body = Problem),
    (status = 409, description = "the ledger refused it", body = Problem),
    (status = 422, description = "the moment is not past, or no moment", body = Problem),
    (status = 503, description = "a part that is needed does not answer", body = Problem),
))]
pub(crate) async fn restore(
    State(centre): State<Centre>,
    By(caller): By,
    name: Name,
    Json(request): Json<RestoreRequest>,
) -> Answer<(StatusCode, axum::Json<Restored>)> {
    let at = moment(&request.at)?;
    let (height, progress) = centre.restore(&caller, at, name.get()).await?;
    let code = match progress {
        Progress::Made => StatusCode::OK,
        Progress::Waiting => StatusCode::ACCEPTED,
    };
    Ok((code, axum::Json(Restored { height, status: progress.into() })))
}

/// What a return to the rules of an earlier moment would change.
#[utoipa::path(post, path = "/rules/restore/preview", tag = "rules", security(("token" = [])), request_body = RestoreRequest, responses(
    (status = 200, description = "the rules that would come and go", body = PreviewedRestore),
    (status = 403, description = "only a patient has rules", body = Problem),
    (status = 422, description = "the moment is not past, or no moment", body = Problem),
))]
pub(crate) async fn preview(
    State(centre): State<Centre>,
    By(caller): By,
    Json(request): Json<RestoreRequest>,
) -> Answer<axum::Json<PreviewedRestore>> {
    let preview = [centre.preview_restore(&caller, moment(&request.at)?).await?];
    let names = centre.names(&preview).await?;
    let [preview] = preview;
    let all = |rules: Vec<(RuleId, Option<OpenedRule>)>| {
        let one = |(id, rule): (RuleId, Option<OpenedRule>)| NamedRule {
            id: id.to_string(),
            rule: rule.map(|rule| Rule::shown(&rule, &names)),
        };
        rules.into_iter().map(one).collect()
    };
    let (comes, goes) = (all(preview.comes), all(preview.goes));
    Ok(axum::Json(PreviewedRestore { height: preview.height, comes, goes }))
}

/// A height in digits, or a time.
pub(crate) fn moment(text: &str) -> Answer<At> {
    match text.parse() {
        Ok(height) => Ok(At::Height(height)),
        Err(_) => Ok(At::Time(border::instant(text, "at")?)),
    }
}

impl PastChange {
    fn new(RuleChange { what, fate }: RuleChange, names: &Names) -> Self {
        let change = match what {
            Changed::Granted { rule, opened } => {
                let shown = opened.map(|opened| Rule::shown(&opened, names));
                ChangeKind::Granted { id: rule.to_string(), rule: shown }
            }
            Changed::Revoked { rule } => ChangeKind::Revoked { id: rule.to_string() },
            Changed::Restored { to } => ChangeKind::Restored { to },
        };
        let fate = match fate {
            Fate::Made(change) => ChangeFate::Made {
                height: change.at.height,
                time: border::time(change.time),
                author: names.code(change.by),
            },
            Fate::Waiting => ChangeFate::Waiting,
            Fate::Refused(why) => ChangeFate::Refused { why: why.to_string() },
        };
        Self { change, fate }
    }
}
