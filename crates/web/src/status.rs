//! How this node is doing, for people and for machines.

use crate::border::{self, blocking};
use crate::problem::{Answer, Problem};
use crate::signed::Signed;
use crate::{App, metrics};
use aegle_centre::{Attendance, Centre, now};
use aegle_ledger::Certificate;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

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
    /// How many nodes agree on blocks, this one included.
    validators: usize,
    /// How many of the others this node is connected to.
    connected: usize,
    /// How many nodes are needed to agree.
    quorum: usize,
    /// How many transactions wait here.
    waiting: usize,
    /// Whether this node votes; one that lost the journal of its votes only follows.
    votes: bool,
    /// Whether the engine runs.
    running: bool,
    /// Of how many of the last blocks `members` tells.
    blocks: u32,
    /// Who took part in them.
    members: Vec<Member>,
}

/// What one member did for the last blocks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    /// The centre's code.
    centre: String,
    /// For how many blocks its vote is among those that made the block final. No more votes are
    /// kept than are needed, so that a healthy member lacks in some.
    signed: u32,
    /// How often it was its turn to propose a block and none came of it.
    missed: u32,
}

impl From<Attendance> for Member {
    fn from(member: Attendance) -> Self {
        let Attendance { centre, signed, missed } = member;
        Self { centre: centre.to_string(), signed, missed }
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
    let (blocks, members) = centre.attendance().await?;
    Ok(axum::Json(LedgerStatus {
        network: centre.parts().genesis.network().to_string(),
        height: status.height,
        time: border::time(status.time),
        validators: status.validators,
        connected: status.connected,
        quorum: Certificate::quorum(status.validators),
        waiting: status.waiting,
        votes: status.votes,
        running: status.running,
        blocks,
        members: members.into_iter().map(Member::from).collect(),
    }))
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
    let members = app.centre.attendance().await.map(|(_, members)| members).unwrap_or_default();
    app.metrics.ledger(status.waiting, status.votes, members);
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
