//! JSON bodies, parsed once, at the door.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

/// A body that is exactly one JSON value of type `T`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::media_type());
        }
        let body = Bytes::from_request(request, state).await.map_err(|_| Problem::slow())?;
        parse(&body).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = named.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Problem::malformed(place(error.path()), said(error.inner())))?;
    json.end().map_err(|error| Problem::malformed("body", said(&error)))?;
    Ok(value)
}

/// Where in the body; what has no name yet is part of what is around it.
fn place(path: &serde_path_to_error::Path) -> String {
    let path = path.to_string();
    match path.trim_end_matches(['.', '?']) {
        "" => "body".to_owned(),
        place => place.to_owned(),
    }
}

/// The parser's words without the value that it met: that may be a pass phrase.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let met = text.starts_with("invalid type:") || text.starts_with("invalid value:");
    match text.rfind("expected ").filter(|_| met) {
        Some(expected) => text[expected..].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::response::IntoResponse;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only whether it parses matters here")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only whether it parses matters here")]
        passphrase: String,
    }

    async fn check(body: &str, field: &str, detail: &str) {
        let problem = parse::<Outer>(body.as_bytes()).unwrap_err().into_response();
        let bytes = to_bytes(problem.into_body(), 10_000).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&problem["field"], &problem["detail"]), (&field.into(), &detail.into()));
    }

    #[tokio::test]
    async fn a_fault_is_named_with_its_place_and_without_its_value() {
        check(
            r#"{"inner":[{"passphrase":["secret"]}]}"#,
            "inner[0].passphrase",
            "expected a string at line 1 column 24",
        )
        .await;
        check(
            r#"{"inner":[{"passphrase":31415}]}"#,
            "inner[0].passphrase",
            "expected a string at line 1 column 29",
        )
        .await;
        check(r#"{"inner":[]}{"#, "body", "trailing characters at line 1 column 13").await;
        check(r#"{"inner":["#, "inner", "EOF while parsing a list at line 1 column 10").await;
        check(r"{}", "body", "missing field `inner` at line 1 column 2").await;
        check(
            r#"{"outer":1}"#,
            "outer",
            "unknown field `outer`, expected `inner` at line 1 column 8",
        )
        .await;
    }
}
