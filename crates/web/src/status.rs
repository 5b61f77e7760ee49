//! How this node is doing, for people and for machines.

use crate::border::{self, blocking};
use crate::metrics::Now;
use crate::problem::{Answer, Problem};
use crate::signed::Signed;
use crate::{App, metrics};
use aegle_centre::{Attendance, Centre, Outbox, chain, now};
use aegle_ledger::Certificate;
use aegle_model::Canonical as _;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How the ledger is doing, as seen from this node.
#[derive(Serialize, ToSchema)]
pub(crate) struct LedgerStatus {
    /// The network's id.
    network: String,
    /// The height of the last final block.
    height: u64,
    /// That block's time.
    #[schema(format = DateTime)]
    time: String,
    /// The epoch that this node is in.
    epoch: u64,
    /// How many nodes agree on blocks, this one included.
    validators: usize,
    /// How many of the others this node is connected to.
    connected: usize,
    /// How many nodes are needed to agree.
    quorum: usize,
    /// How many transactions wait here for a block.
    waiting: usize,
    /// The bytes of those.
    waiting_bytes: usize,
    /// How many transactions of this centre are kept until the ledger has them.
    outbox: u64,
    /// How many seconds the oldest of those has waited; 0 when none waits.
    outbox_age_s: u64,
    /// Whether this node votes; one that lost the journal of its votes, or misses blocks, only follows.
    votes: bool,
    /// How many blocks from the beginning are not here yet, after the state was fetched from others.
    missing: u64,
    /// Whether the engine runs.
    running: bool,
    /// Of how many of the last blocks `members` tells.
    blocks: u32,
    /// How many rounds before them ended without a block.
    round_changes: u32,
    /// Who took part in them.
    members: Vec<Participant>,
}

/// What one member did for the last blocks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Participant {
    /// The centre's code.
    centre: String,
    /// Whether it votes; one that was just admitted only follows.
    votes: bool,
    /// For how many blocks its vote is among those that made the block final. No more votes are
    /// kept than are needed, so that a healthy member lacks in some.
    signed: u32,
    /// How often it was its turn to propose a block and none came of it.
    missed: u32,
    /// How many blocks its node says it is behind this one; null when it says nothing.
    behind: Option<u64>,
}

impl From<Attendance> for Participant {
    fn from(member: Attendance) -> Self {
        let Attendance { centre, votes, signed, missed, behind } = member;
        Self { centre: centre.to_string(), votes, signed, missed, behind }
    }
}

/// Whether this node can serve.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether every part is up.
    ready: bool,
    /// The parts.
    parts: Vec<PartReadiness>,
}

/// Whether one part is up.
#[derive(Serialize, ToSchema)]
pub(crate) struct PartReadiness {
    /// `ledger`, `lake` or `identity`.
    part: &'static str,
    /// Whether it is up.
    up: bool,
}

/// The ledger as seen from this node.
#[utoipa::path(get, path = "/ledger", tag = "status", security(("token" = [])), responses(
    (status = 200, description = "the status", body = LedgerStatus),
    (status = 401, description = "not signed in", body = Problem),
))]
pub(crate) async fn ledger(
    State(centre): State<Centre>,
    _: Signed,
) -> Answer<axum::Json<LedgerStatus>> {
    let status = centre.parts().ledger.status();
    let (rounds, outbox) = (centre.rounds().await?, centre.outbox().await?);
    Ok(axum::Json(LedgerStatus {
        network: centre.parts().genesis.network().to_string(),
        height: status.height,
        time: border::time(status.time),
        epoch: status.epoch,
        validators: status.validators,
        connected: status.connected,
        quorum: Certificate::quorum(status.validators),
        waiting: status.waiting,
        waiting_bytes: status.waiting_bytes,
        outbox: outbox.count,
        outbox_age_s: outbox.age_s(now()),
        votes: status.votes,
        missing: status.missing,
        running: status.running,
        blocks: rounds.blocks,
        round_changes: rounds.changes,
        members: rounds.members.into_iter().map(Participant::from).collect(),
    }))
}

/// Which height is to be proven.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProofQuery {
    /// A height that a node has answered with.
    height: u64,
}

/// What proves that the ledger has reached a height: a client that wants no older state later believes
/// nothing less.
#[derive(Serialize, ToSchema)]
pub(crate) struct LedgerProof {
    /// The network's genesis as canonical bytes in base 64; its hash begins with the network's id.
    genesis: String,
    /// The header of that height with the votes for it, and every change of validators since the
    /// genesis: an `Anchor` (`docs/formats.md`, section 12) as canonical bytes in base 64.
    anchor: String,
}

/// Proof that the ledger has reached a height.
#[utoipa::path(get, path = "/ledger/proof", tag = "status", security(("token" = [])), params(ProofQuery), responses(
    (status = 200, description = "the proof", body = LedgerProof),
    (status = 401, description = "not signed in", body = Problem),
    (status = 404, description = "the ledger has not reached that height", body = Problem),
    (status = 422, description = "no height", body = Problem),
    (status = 503, description = "the votes are not at hand", body = Problem),
))]
pub(crate) async fn proof(
    State(centre): State<Centre>,
    _: Signed,
    Query(ProofQuery { height }): Query<ProofQuery>,
) -> Answer<axum::Json<LedgerProof>> {
    let anchor = centre.header_proof(height).await?;
    let anchor = borsh::to_vec(&anchor).map_err(|error| Problem::failed(&error))?;
    let genesis = border::base64(&centre.parts().genesis.to_bytes());
    Ok(axum::Json(LedgerProof { genesis, anchor: border::base64(&anchor) }))
}

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "status", responses((status = 204, description = "it does")))]
pub(crate) async fn livez() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether this node can serve, and if not, which part is down.
#[utoipa::path(get, path = "/readyz", tag = "status", responses(
    (status = 200, description = "every part is up", body = Readiness),
    (status = 503, description = "a part is down", body = Problem),
))]
pub(crate) async fn readyz(State(centre): State<Centre>) -> Answer<axum::Json<Readiness>> {
    let parts = [
        PartReadiness { part: "ledger", up: centre.agrees() },
        PartReadiness { part: "lake", up: lake(&centre).await },
        PartReadiness { part: "identity", up: identity(&centre).await },
    ];
    let down: Vec<_> = parts.iter().filter(|part| !part.up).map(|part| part.part).collect();
    match down.first() {
        Some(first) => {
            let detail = format!("down: {}; the node's log says why", down.join(", "));
            Err(Problem::unavailable(first, detail))
        }
        None => Ok(axum::Json(Readiness { ready: true, parts: parts.into() })),
    }
}

/// Counters in the text format of Prometheus (`OpenMetrics`).
#[utoipa::path(get, path = "/metrics", tag = "status", responses(
    (status = 200, description = "counters of the consensus engine and of the API", content_type = "application/openmetrics-text", body = String),
))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let ledger = &app.centre.parts().ledger;
    let status = ledger.status();
    // Without the engine there is nobody to tell of, and its other counters are wanted all the more.
    let rounds = app.centre.rounds().await.ok();
    let outbox = app.centre.outbox().await.unwrap_or_else(|error| {
        tracing::error!(error = chain(&error), "Could not look at the outbox");
        Outbox::default()
    });
    app.metrics.ledger(&Now {
        height: status.height,
        epoch: status.epoch,
        connected: status.connected,
        waiting: status.waiting,
        waiting_bytes: status.waiting_bytes,
        votes: status.votes,
        missing: status.missing,
        outbox: (outbox.count, outbox.age_s(now())),
        rounds,
    });
    let engine = ledger.metrics();
    let text = app.metrics.text(&engine, app.gate.in_flight());
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response()
}

/// The public keys that verify this centre's tokens: a JSON Web Key Set (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "session", responses(
    (status = 200, description = "the keys", body = serde_json::Value),
))]
pub(crate) async fn jwks(State(centre): State<Centre>) -> axum::Json<serde_json::Value> {
    axum::Json(centre.parts().identity.jwks(now()))
}

async fn lake(centre: &Centre) -> bool {
    let lake = Arc::clone(&centre.parts().lake);
    blocking(move || lake.catalogue().is_ok()).await.unwrap_or(false)
}

async fn identity(centre: &Centre) -> bool {
    let identity = Arc::clone(&centre.parts().identity);
    blocking(move || identity.departments().is_ok()).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use aegle_ledger::Certificate;

    #[test]
    fn a_quorum_is_more_than_two_thirds() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 10].map(Certificate::quorum), [1, 2, 3, 3, 4, 5, 5, 7]);
    }
}
