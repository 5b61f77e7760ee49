//! No client reads an older state than it has seen.
//!
//! Every answer says which network's ledger it stands on and at which height. A client sends the
//! height back, to whichever node it asks next; a node that is behind waits a moment, and then says so
//! instead of answering with old news.

use crate::problem::{Answer, Problem};
use aegle_centre::Centre;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use tokio::time::timeout;

const HEIGHT: HeaderName = HeaderName::from_static("aegle-height");
const NETWORK: HeaderName = HeaderName::from_static("aegle-network");
/// How long a node may take to catch up with its client.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Answers when the ledger here has what the client has seen.
pub(crate) async fn seen(State(centre): State<Centre>, request: Request, next: Next) -> Response {
    let mut response = match reached(&centre, request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    // Read after the answer was made, and from the state itself: what the answer shows is not newer.
    let ledger = &centre.parts().ledger;
    let height = ledger.read(&[]).await.map(|snapshot| snapshot.header.height);
    let height = height.unwrap_or_else(|_| ledger.status().height);
    let network = centre.parts().genesis.network().to_string();
    let headers = response.headers_mut();
    headers.insert(HEIGHT, height.into());
    if let Ok(network) = HeaderValue::try_from(network) {
        headers.insert(NETWORK, network);
    }
    response
}

async fn reached(centre: &Centre, headers: &HeaderMap) -> Answer<()> {
    let Some(least) = headers.get(HEIGHT) else { return Ok(()) };
    let least = least.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    let least = least.ok_or_else(|| Problem::malformed(HEIGHT.as_str(), "send a height"))?;
    let mut finalised = centre.parts().ledger.finalised();
    let reached = timeout(CATCH_UP, finalised.wait_for(|header| header.height >= least)).await;
    if matches!(reached, Ok(Ok(_))) {
        return Ok(());
    }
    let height = centre.parts().ledger.status().height;
    let detail = format!(
        "the ledger is at height {height} here, and you have seen {least}; ask another node, or later"
    );
    Err(Problem::unavailable("ledger", detail))
}
