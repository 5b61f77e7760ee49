//! A client of a node's API: signs in, asks, opens what was sealed to it.

use aegle_lake::Part;
use aegle_lake::sealed::{Answer, OpeningKey};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::time::Duration;

/// A signed-in user at one node.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
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
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http, token: None })
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

    async fn send(&self, mut request: reqwest::RequestBuilder, path: &str) -> Result<Value> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer =
            request.send().await.with_context(|| format!("could not reach {}", self.base))?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        if !status.is_success() {
            let detail =
                body["detail"].as_str().or(body["title"].as_str()).unwrap_or("no reason given");
            bail!("{path}: {status}: {detail}");
        }
        Ok(body)
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
