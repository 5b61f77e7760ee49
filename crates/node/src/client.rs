//! A client of a node's API: signs in, asks, opens what was sealed to it.

use crate::seen::{Before, Seen};
use aegle_lake::Part;
use aegle_lake::sealed::{Answer, OpeningKey};
use aegle_ledger::{Anchor, Genesis};
use aegle_model::Canonical as _;
use anyhow::{Context, Result, anyhow, ensure};
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
        self.note(&headers, &before).await?;
        Ok(body)
    }

    /// Takes note of the height of an answer that says one, when the node proves it.
    async fn note(&self, headers: &HeaderMap, before: &Before) -> Result<()> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(network), Some(height)) = (text(NETWORK), text(HEIGHT)) else { return Ok(()) };
        let height = height.parse().context("the node's height is no number")?;
        let Some(token) = &self.token else {
            return self.seen.meet(&self.base, (network, height), before);
        };
        if self.seen.needs_proof((network, height)) {
            let why = format!("{} does not prove that the ledger is at height {height}", self.base);
            let proven = self.prove(token, (network, height)).await;
            proven.map_err(|error| error.context(Elsewhere::new(why)))?;
        }
        self.seen.note(&self.base, (network, height), before)
    }

    /// Has the node prove a height: a header under the votes of validators that lead back to the
    /// genesis, which the network's id names.
    async fn prove(&self, token: &str, (network, height): (&str, u64)) -> Result<()> {
        let request = self.http.get(self.url(&format!("/ledger/proof?height={height}")));
        let answer = request.bearer_auth(token).send().await?.error_for_status()?;
        let proof: Value = answer.json().await?;
        let bytes = |field: &str| {
            let text = proof[field].as_str().with_context(|| format!("there is no `{field}`"))?;
            BASE64.decode(text).with_context(|| format!("`{field}` is not base 64"))
        };
        let genesis = Genesis::from_bytes(&bytes("genesis")?)?;
        ensure!(genesis.network().to_string() == network, "the genesis is another network's");
        let anchor: Anchor = borsh::from_slice(&bytes("anchor")?)?;
        ensure!(anchor.header.height == height, "the header is that of another height");
        Ok(anchor.verify(&genesis)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_ledger::fixture::Network;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A node that says it is at this height, and shows this as proof. All else it answers with
    /// nothing.
    async fn node(network: &Network, height: u64, proof: Option<Value>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = network.genesis.network();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let count = stream.read(&mut request).await.unwrap();
                let asked = String::from_utf8_lossy(&request[..count]).into_owned();
                let (status, body) = match &proof {
                    _ if asked.contains("/session") => ("201 Created", json!({ "token": "t" })),
                    Some(proof) if asked.contains("/ledger/proof") => ("200 OK", proof.clone()),
                    None if asked.contains("/ledger/proof") => ("404 Not Found", json!({})),
                    _ => ("200 OK", json!({})),
                };
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\
                     {HEIGHT}: {height}\r\n{NETWORK}: {network}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        format!("http://{address}")
    }

    fn proof(network: &Network, anchor: &Anchor) -> Value {
        let anchor = BASE64.encode(borsh::to_vec(anchor).unwrap());
        json!({ "genesis": BASE64.encode(network.genesis.to_bytes()), "anchor": anchor })
    }

    /// What a signed-in user of the node is answered.
    async fn ask(node: &str, seen: &Arc<Seen>) -> Result<Value> {
        let client = Client::new(node)?.remembering(Arc::clone(seen));
        client.sign_in("login", "pass phrase").await?.get("/rules").await
    }

    #[tokio::test]
    async fn a_node_that_lies_about_its_height_locks_nobody_out() {
        let mut network = Network::new(4);
        for _ in 0..6 {
            network.commit(&[]);
        }
        let folder = tempfile::tempdir().unwrap();
        let open = || Arc::new(Seen::open(folder.path().join("seen")).unwrap());
        let (honest, forged) = (network.anchor(5), {
            let mut forged = network.anchor(5);
            forged.header.height = 1_000_000;
            forged
        });
        let other = Network::new(7);
        let foreign = json!({
            "genesis": BASE64.encode(other.genesis.to_bytes()),
            "anchor": BASE64.encode(borsh::to_vec(&forged).unwrap()),
        });
        let lies = [
            None,
            Some(json!({ "genesis": "", "anchor": "" })),
            Some(proof(&network, &honest)),
            Some(proof(&network, &forged)),
            Some(foreign),
        ];
        for lie in lies {
            let liar = node(&network, 1_000_000, lie).await;
            let error = ask(&liar, &open()).await.unwrap_err();
            assert!(
                error.downcast_ref::<Elsewhere>().is_some(),
                "another node is asked: {error:#}"
            );
            assert!(format!("{error:#}").contains("does not prove"), "{error:#}");
        }
        let seen = open();
        let at_5 = node(&network, 5, Some(proof(&network, &honest))).await;
        ask(&at_5, &seen).await.unwrap();
        let kept = std::fs::read_to_string(folder.path().join("seen")).unwrap();
        assert!(kept.ends_with(" 5\n"), "{kept}");
        // It needs no proof again, and nothing older is accepted, with or without one.
        let silent = node(&network, 5, None).await;
        ask(&silent, &seen).await.unwrap();
        let old = node(&network, 4, Some(proof(&network, &network.anchor(4)))).await;
        for seen in [seen, open()] {
            let error = format!("{:#}", ask(&old, &seen).await.unwrap_err());
            assert!(error.contains("5 was seen before"), "{error}");
        }
    }
}
