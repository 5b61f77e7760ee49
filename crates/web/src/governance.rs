//! What members decide together: proposals and votes, for administrators.

use crate::json::Json;
use crate::problem::{Answer, Problem};
use crate::signed::By;
use aegle_centre::{Centre, Proposal};
use aegle_ledger::{Amendment, Stage, TxId};
use aegle_model::Canonical as _;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A proposal. Centres stand there by their codes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Proposed {
    /// The proposal's id.
    id: String,
    /// What is to change, in a sentence.
    sentence: String,
    /// Who proposed it.
    by: String,
    /// Who agrees.
    agreed: Vec<String>,
    /// Who is against it.
    against: Vec<String>,
    /// `open`, `agreed`, `done`, `declined`, `withdrawn` or `lapsed`.
    stage: &'static str,
}

impl From<Proposal> for Proposed {
    fn from(proposal: Proposal) -> Self {
        let Proposal { id, sentence, by, agreed, against, stage } = proposal;
        let stage = match stage {
            Stage::Open => "open",
            Stage::Agreed => "agreed",
            Stage::Done(_) => "done",
            Stage::Declined => "declined",
            Stage::Withdrawn => "withdrawn",
            Stage::Lapsed => "lapsed",
        };
        Self { id: id.to_string(), sentence, by, agreed, against, stage }
    }
}

/// A change of the network.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AmendmentDraft {
    /// The canonical bytes of an `Amendment` (`docs/formats.md`, section 8) in base 64.
    amendment: String,
}

/// What was proposed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProposalCreated {
    /// The proposal's id.
    id: String,
}

/// What this centre thinks of a proposal.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ballot {
    /// Whether it agrees. A proposer that does not withdraws.
    agree: bool,
}

/// The last closed proposals, then those that are agreed, then the open ones.
#[utoipa::path(get, path = "/governance", tag = "governance", security(("token" = [])), responses(
    (status = 200, description = "the proposals", body = Vec<Proposed>),
    (status = 403, description = "only administrators and auditors see proposals", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    By(caller): By,
) -> Answer<axum::Json<Vec<Proposed>>> {
    let proposals = centre.proposals(&caller).await?;
    Ok(axum::Json(proposals.into_iter().map(Proposed::from).collect()))
}

/// Proposes a change in the name of this centre.
#[utoipa::path(post, path = "/governance", tag = "governance", security(("token" = [])), request_body = AmendmentDraft, responses(
    (status = 201, description = "proposed", body = ProposalCreated),
    (status = 403, description = "only an administrator proposes", body = Problem),
    (status = 409, description = "the change does not fit the network as it is", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
    (status = 503, description = "the ledger does not answer", body = Problem),
))]
pub(crate) async fn propose(
    State(centre): State<Centre>,
    By(caller): By,
    Json(AmendmentDraft { amendment }): Json<AmendmentDraft>,
) -> Answer<(StatusCode, axum::Json<ProposalCreated>)> {
    let wrong = || Problem::malformed("amendment", "these are not the bytes of an amendment");
    let bytes = STANDARD.decode(amendment).map_err(|_| wrong())?;
    let change = Amendment::from_bytes(&bytes).map_err(|_| wrong())?;
    let id = centre.propose(&caller, change).await?.to_string();
    Ok((StatusCode::CREATED, axum::Json(ProposalCreated { id })))
}

/// Votes on a proposal in the name of this centre; the last word counts.
#[utoipa::path(post, path = "/governance/{id}", tag = "governance", security(("token" = [])), request_body = Ballot,
    params(("id" = String, Path, description = "the proposal's id")),
    responses(
        (status = 204, description = "noted"),
        (status = 403, description = "only an administrator votes", body = Problem),
        (status = 404, description = "no such proposal", body = Problem),
        (status = 409, description = "its vote is over, or this node could not follow it", body = Problem),
        (status = 422, description = "a value is wrong", body = Problem),
        (status = 503, description = "the ledger does not answer", body = Problem),
    ))]
pub(crate) async fn vote(
    State(centre): State<Centre>,
    By(caller): By,
    Path(id): Path<String>,
    Json(Ballot { agree }): Json<Ballot>,
) -> Answer<StatusCode> {
    let id: TxId = id.parse().map_err(|error| Problem::malformed("id", error))?;
    centre.vote(&caller, id, agree).await?;
    Ok(StatusCode::NO_CONTENT)
}
