//! What a client is told when something is wrong: problem details (RFC 9457).
//!
//! Every answer with an error status is one, whoever made it: [`complete`] turns what the routing
//! library says into the same shape.

use aegle_centre::{Error, chain};
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Problem>;

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
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
    /// Where in the request the fault lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<Box<str>>,
    /// The part that is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'static str>,
    /// A header that belongs to the answer.
    #[serde(skip)]
    header: Option<Header>,
}

/// A header that belongs to a problem.
#[derive(Debug)]
enum Header {
    Challenge(&'static str),
    RetryAfter(u64),
}

/// Status, type and title of every kind of problem.
const KINDS: [(StatusCode, &str, &str); 12] = [
    (StatusCode::UNAUTHORIZED, "urn:aegle:problem:unauthenticated", "sign in first"),
    (StatusCode::FORBIDDEN, "urn:aegle:problem:forbidden", "not allowed"),
    (StatusCode::NOT_FOUND, "urn:aegle:problem:not-found", "not found"),
    (StatusCode::METHOD_NOT_ALLOWED, "urn:aegle:problem:method", "method not allowed"),
    (StatusCode::REQUEST_TIMEOUT, "urn:aegle:problem:slow", "the request took too long to arrive"),
    (StatusCode::CONFLICT, "urn:aegle:problem:conflict", "the state does not allow it"),
    (StatusCode::PAYLOAD_TOO_LARGE, "urn:aegle:problem:too-large", "the request is too large"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "urn:aegle:problem:media-type", "unsupported media type"),
    (StatusCode::UNPROCESSABLE_ENTITY, "urn:aegle:problem:malformed", "a value is wrong"),
    (StatusCode::TOO_MANY_REQUESTS, "urn:aegle:problem:too-many", "too many requests"),
    (StatusCode::SERVICE_UNAVAILABLE, "urn:aegle:problem:unavailable", "a part does not answer"),
    (StatusCode::INTERNAL_SERVER_ERROR, "urn:aegle:problem:failed", "this node failed"),
];

impl Problem {
    /// A problem with this status; statuses without a kind of their own become 500.
    fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let known = KINDS.iter().find(|(known, ..)| *known == status);
        let (status, kind, title) = *known.unwrap_or(&KINDS[KINDS.len() - 1]);
        let detail = detail.into();
        Self { kind, title, status: status.as_u16(), detail, field: None, part: None, header: None }
    }

    /// Nobody is signed in, or not any more.
    pub(crate) fn unauthenticated(detail: &'static str, challenge: &'static str) -> Self {
        let header = Some(Header::Challenge(challenge));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// A value of the request is wrong.
    pub(crate) fn malformed(field: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let (field, detail) = (field.into(), why.to_string());
        Self {
            field: Some(field.into_boxed_str()),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// The body has another type than JSON.
    pub(crate) fn media_type() -> Self {
        let detail = "the body must be JSON; send `content-type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// The body is too large.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("a request has at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// The body did not arrive in time, or not whole.
    pub(crate) fn slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive; send the request again")
    }

    /// Too many requests of one caller.
    pub(crate) fn too_many(retry_after_s: u64, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(retry_after_s)
    }

    /// A part is down.
    pub(crate) fn unavailable(part: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        Self { part: Some(part), ..problem }.retry_after(1)
    }

    /// The state does not allow it.
    pub(crate) fn conflict(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, detail.to_string())
    }

    /// A fault of this node. The cause goes to the log, never to the client.
    pub(crate) fn failed(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = chain(cause), "A request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "this node failed; its log says why")
    }

    /// A fault of this node that is in its log already.
    pub(crate) fn crashed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "this node failed; its log says why")
    }

    fn retry_after(self, seconds: u64) -> Self {
        Self { header: Some(Header::RetryAfter(seconds)), ..self }
    }

    /// What a bare status means.
    fn bare(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the path or the query cannot be read")
            }
            StatusCode::NOT_FOUND => {
                Self::new(status, "there is nothing under this path; see `/docs`")
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "the path has other methods; the header `allow` names them")
            }
            other => Self::new(other, other.canonical_reason().unwrap_or("the request failed")),
        }
    }
}

impl Header {
    fn line(self) -> (HeaderName, HeaderValue) {
        match self {
            Self::Challenge(challenge) => {
                (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
            }
            Self::RetryAfter(seconds) => (header::RETRY_AFTER, seconds.into()),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Internal(cause) => Self::failed(&*cause),
            Error::Invalid { field, why } => Self::malformed(field, why),
            Error::Unavailable { part } => Self::unavailable(part, error.to_string()),
            Error::Unconfirmed => Self::unavailable("ledger", error.to_string()),
            Error::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, error.to_string()),
            Error::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            Error::Conflict(why) => Self::conflict(why),
            Error::Expired => Self::conflict(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("the kinds have valid statuses");
        let media_type = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        let mut response = (status, media_type, Json(&self)).into_response();
        response.extensions_mut().insert(Complete);
        if let Some(header) = self.header {
            let (name, value) = header.line();
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Marks a response that is a problem already.
#[derive(Clone)]
struct Complete;

/// Gives an error that the routing library made the shape of a problem.
pub(crate) fn complete(response: Response) -> Response {
    let status = response.status();
    let error = status.is_client_error() || status.is_server_error();
    if !error || response.extensions().get::<Complete>().is_some() {
        return response;
    }
    let mut problem = Problem::bare(status).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}
