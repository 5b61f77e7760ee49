//! What other centres ask of this one: decide, hand out a part, take an offer, say how far it is. And what its
//! own operator does: its blocks.
//!
//! Bodies are canonical bytes. Who calls is known from the certificate of the connection, never
//! from the message.

use crate::border::blocking;
use crate::limits::{self, Gate, Limits};
use crate::metrics::Metrics;
use crate::problem::Answer;
use crate::tls_listener::Member;
use aegle_centre::Centre;
use aegle_model::Canonical;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, middleware};
use std::sync::Arc;
use std::time::Duration;

/// Requests of one member at once: what its one connection carries.
const SHARE: usize = 128;

/// The calls between nodes. [`serve_peers`](crate::serve_peers) serves them; whatever else does
/// brings `ConnectInfo<Member>`.
pub fn peer(centre: Centre) -> Router {
    let limits = Limits {
        share: SHARE,
        // Three members that lie leave the share of an honest one.
        in_flight: 4 * SHARE,
        body_bytes: 1024 * 1024,
        arrive_within: Duration::from_secs(5),
        answer_within: Duration::from_secs(20),
        ..Limits::default()
    };
    Router::new()
        .route("/guard", post(guard))
        .route("/part", post(part))
        .route("/offer", post(offer))
        .route("/blocks", post(blocks))
        .route("/ping", post(ping))
        .layer(middleware::from_fn_with_state(Arc::new(Gate::new(limits)), limits::admit_member))
        .layer(middleware::from_fn_with_state(None::<Arc<Metrics>>, limits::observe))
        .with_state(centre)
}

type Caller = ConnectInfo<Member>;

async fn guard(
    State(centre): State<Centre>,
    ConnectInfo(from): Caller,
    message: Bytes,
) -> Answer<Vec<u8>> {
    Ok(centre.guard(from.centre, &message).await?.to_bytes())
}

async fn part(
    State(centre): State<Centre>,
    ConnectInfo(from): Caller,
    message: Bytes,
) -> Answer<Vec<u8>> {
    Ok(centre.hand_out(from.centre, &message).await?)
}

async fn offer(
    State(centre): State<Centre>,
    ConnectInfo(from): Caller,
    message: Bytes,
) -> Answer<StatusCode> {
    blocking(move || centre.receive_offer(from.centre, &message)).await??;
    Ok(StatusCode::NO_CONTENT)
}

async fn blocks(
    State(centre): State<Centre>,
    ConnectInfo(from): Caller,
    message: Bytes,
) -> Answer<Vec<u8>> {
    Ok(centre.back_up(from.centre, &message).await?)
}

/// How far this node is, as eight bytes, the lowest first.
async fn ping(State(centre): State<Centre>, _: Caller) -> Vec<u8> {
    centre.height().to_le_bytes().to_vec()
}
