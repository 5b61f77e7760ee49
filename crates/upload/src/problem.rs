//! What a client is told when something is wrong: problem details (RFC 9457), as the API's.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;

/// Problem details.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind of problem in words.
    title: &'static str,
    /// The status code.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: Cow<'static, str>,
    #[serde(skip)]
    header: Option<(HeaderName, &'static str)>,
}

/// Status, type and title of every kind of problem.
const KINDS: [(u16, &str, &str); 15] = [
    (400, "urn:aegle:problem:malformed", "a header is wrong"),
    (401, "urn:aegle:problem:unauthenticated", "a credential is needed"),
    (403, "urn:aegle:problem:forbidden", "not allowed"),
    (404, "urn:aegle:problem:not-found", "not found"),
    (405, "urn:aegle:problem:method", "method not allowed"),
    (408, "urn:aegle:problem:slow", "the request took too long to arrive"),
    (409, "urn:aegle:problem:conflict", "the state does not allow it"),
    (410, "urn:aegle:problem:gone", "the upload has expired"),
    (412, "urn:aegle:problem:version", "another version of the protocol"),
    (413, "urn:aegle:problem:too-large", "the upload is too large"),
    (415, "urn:aegle:problem:media-type", "unsupported media type"),
    (423, "urn:aegle:problem:locked", "somebody else is at it"),
    (429, "urn:aegle:problem:too-many", "too many uploads"),
    (460, "urn:aegle:problem:checksum", "the checksum does not match"),
    (507, "urn:aegle:problem:full", "the disk is full"),
];

const FAILED: (u16, &str, &str) = (500, "urn:aegle:problem:failed", "this node failed");

impl Problem {
    /// A problem with this status; statuses without a kind of their own become 500.
    pub(crate) fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        let known = KINDS.iter().find(|(known, ..)| *known == status);
        let (status, kind, title) = *known.unwrap_or(&FAILED);
        Self { kind, title, status, detail: detail.into(), header: None }
    }

    pub(crate) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }
}

/// The cause goes to the log, never to the client; it holds no names.
impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            tracing::error!("The disk of the upload area is full");
            return Self::new(507, "there is no room on the disk; go on later");
        }
        tracing::error!(%error, "A request to the upload area failed");
        Self::new(500, "this node failed; its log says why")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("the kinds have valid statuses");
        let media_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, media_type, Json(&self)).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
