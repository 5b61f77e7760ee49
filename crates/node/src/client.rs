//! A client of a node's API: signs in, asks, opens what was sealed to it.

use crate::seen::{Before, Seen};
use aegle_lake::Part;
use aegle_lake::sealed::{Answer, OpeningKey};
use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The height of the ledger: of an answer, and what a request wants at least.
const HEIGHT: &str = "aegle-height";
/// The network that an answer's height is of.
const NETWORK: &str = "aegle-network";

/// A signed-in user at one node.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
    seen: Arc<Seen>,
}

/// Why another node may do better: this one cannot be reached, is behind, or has a part that is down.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Elsewhere(String);

impl Elsewhere {
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

/// What one centre answered to a request for a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The centre's code.
    pub centre: String,
    /// None when the centre did not answer.
    pub part: Option<Part>,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Question<'a> {
    /// The patient's handle; none for the own record.
    pub patient: Option<&'a str>,
    /// Tags by centre; everything everywhere when empty.
    pub wishes: Vec<(&'a str, Vec<&'a str>)>,
    /// What for; treatment if not said.
    pub purpose: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
}

impl Client {
    /// A client of the node at `base`, such as `http://127.0.0.1:8080`. Nobody is signed in.
    pub fn new(base: &str) -> Result<Self> {
        // A second client finds the provider installed; that is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let seen = Arc::default();
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http, token: None, seen })
    }

    /// Accepts no older state of the ledger than what was seen before, here or by others that share
    /// `seen`. A new client remembers for itself.
    pub(crate) fn remembering(self, seen: Arc<Seen>) -> Self {
        Self { seen, ..self }
    }

    /// Signs in.
    pub async fn sign_in(&self, login: &str, passphrase: &str) -> Result<Self> {
        let body = json!({ "login": login, "passphrase": passphrase });
        let answer = self.post("/session", &body).await.context("could not sign in")?;
        let token = answer["token"].as_str().context("the node gave no token")?.to_owned();
        Ok(Self { token: Some(token), ..self.clone() })
    }

    /// Gets a resource below `/api/v1`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(self.http.get(self.url(path)), path).await
    }

    /// Posts to a resource below `/api/v1`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(self.http.post(self.url(path)).json(body), path).await
    }

    /// Posts a change that is made once, however often it is sent under this name, and to whichever
    /// node.
    pub async fn post_once(&self, path: &str, body: &Value, name: &str) -> Result<Value> {
        let request = self.http.post(self.url(path)).json(body);
        self.send(request.header("idempotency-key", name), path).await
    }

    /// Deletes a resource below `/api/v1`.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.send(self.http.delete(self.url(path)), path).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }

    /// Whether the node says that all its parts work.
    pub async fn ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.base)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The height of the node's ledger; none when the node does not say.
    pub(crate) async fn height(&self) -> Option<u64> {
        let url = format!("{}/.well-known/jwks.json", self.base);
        let answer = self.http.get(url).send().await.ok()?;
        answer.headers().get(HEIGHT)?.to_str().ok()?.parse().ok()
    }

    async fn send(&self, mut request: reqwest::RequestBuilder, path: &str) -> Result<Value> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let before = self.seen.now();
        if let Some(least) = self.seen.least() {
            request = request.header(HEIGHT, least);
        }
        let unreachable = |error: reqwest::Error| {
            let why = format!("could not reach {}", self.base);
            anyhow!(error).context(Elsewhere::new(why))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.map_err(unreachable)?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        if !status.is_success() {
            let detail =
                body["detail"].as_str().or(body["title"].as_str()).unwrap_or("no reason given");
            let why = format!("{path}: {status}: {detail}");
            let elsewhere = status.is_server_error();
            return Err(if elsewhere { Elsewhere::new(why).into() } else { anyhow!(why) });
        }
        self.note(&headers, &before)?;
        Ok(body)
    }

    /// Takes note of the height of an answer that says one.
    fn note(&self, headers: &HeaderMap, before: &Before) -> Result<()> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(network), Some(height)) = (text(NETWORK), text(HEIGHT)) else { return Ok(()) };
        let height = height.parse().context("the node's height is no number")?;
        self.seen.note(&self.base, (network, height), before)
    }

    /// Asks for a record and opens the parts.
    pub async fn record(&self, question: &Question<'_>) -> Result<Vec<Opened>> {
        let key = OpeningKey::generate();
        let mut body = json!({
            "purpose": question.purpose.unwrap_or("treatment"),
            "recipient": BASE64.encode(key.recipient()),
        });
        if let Some(patient) = question.patient {
            body["patient"] = patient.into();
        }
        if let Some(reason) = question.reason {
            body["reason"] = reason.into();
        }
        for (centre, tags) in &question.wishes {
            body["wishes"][centre] = json!(tags);
        }
        let answer = self.post("/records", &body).await?;
        let bound =
            Answer { request: parse(&answer["request"])?, receipt: parse(&answer["receipt"])? };
        let parts = answer["parts"].as_array().context("the answer has no parts")?;
        parts.iter().map(|part| open(part, &key, &bound)).collect()
    }
}

fn parse<T: std::str::FromStr>(value: &Value) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(value.as_str().context("an id is missing in the answer")?.parse()?)
}

fn open(part: &Value, key: &OpeningKey, bound: &Answer) -> Result<Opened> {
    let centre = part["centre"].as_str().context("a part names no centre")?.to_owned();
    let Some(sealed) = part["sealed"].as_str() else { return Ok(Opened { centre, part: None }) };
    let plain = key.open(bound, &BASE64.decode(sealed)?)?;
    Ok(Opened { centre, part: Some(Part::from_bytes(&plain)?) })
}
