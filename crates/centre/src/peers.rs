//! Calls to other centres: mutual TLS, bounded in time and size, with retries and a breaker each.

use crate::tls::{Certificate, NAME, TlsError};
use aegle_model::CentreId;
use backon::{ExponentialBuilder, Retryable};
use failsafe::futures::CircuitBreaker;
use failsafe::{Config, StateMachine, backoff, failure_policy};
use reqwest::dns::{Name, Resolve, Resolving};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where a centre's node listens for other nodes.
#[derive(Debug, Clone)]
pub struct PeerAddress {
    centre: CentreId,
    host: Host,
    port: u16,
}

impl PeerAddress {
    /// The centre's `host:port`, where the host is an IP address or a name; none when it is not so.
    pub fn new(centre: CentreId, address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':').filter(|(host, _)| !host.is_empty())?;
        Some(Self { centre, host: Host(host.to_owned()), port: port.parse().ok()? })
    }
}

/// Looked up for each connection: a name that is not known now, or moves, costs that centre's part.
#[derive(Debug, Clone)]
struct Host(String);

impl Resolve for Host {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        // The port of the URL is used.
        Box::pin(
            async move { Ok(Box::new(tokio::net::lookup_host(format!("{host}:0")).await?) as _) },
        )
    }
}

/// The other centres of the network.
pub struct Peers(BTreeMap<CentreId, Peer>);

struct Peer {
    base: String,
    client: reqwest::Client,
    breaker: Breaker,
}

type Breaker = StateMachine<failure_policy::ConsecutiveFailures<backoff::Exponential>, ()>;

/// Why another centre gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No address is configured.
    #[error("no address of the other centre is configured")]
    Unknown,
    /// It does not answer, or not in time.
    #[error("the other centre does not answer")]
    Unreachable(#[source] Option<reqwest::Error>),
    /// It answered that it will not.
    #[error("the other centre refused with status {0}")]
    Refused(u16),
    /// It answered that it cannot now.
    #[error("the other centre cannot answer now, status {0}")]
    Failed(u16),
    /// The answer is too large.
    #[error("the answer of the other centre is too large")]
    TooLarge,
}

impl Peers {
    /// Clients for every address, each pinned to the centre's certificate among `members`.
    pub fn new(
        members: &[aegle_ledger::Centre],
        mine: &Certificate,
        addresses: &[PeerAddress],
    ) -> Result<Self, TlsError> {
        let mut peers = BTreeMap::new();
        for address in addresses {
            let Some(member) = members.iter().find(|it| it.id == address.centre) else { continue };
            peers.insert(address.centre, Peer::new(mine.client(member.tls)?, address));
        }
        Ok(Self(peers))
    }

    /// Posts `body` to a centre's `path` and returns its answer.
    pub async fn call(
        &self,
        centre: CentreId,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let peer = self.0.get(&centre).ok_or(PeerError::Unknown)?;
        let called = peer.breaker.call_with(counts, peer.send(path, body, within)).await;
        called.map_err(|error| match error {
            failsafe::Error::Inner(error) => error,
            failsafe::Error::Rejected => PeerError::Unreachable(None),
        })
    }
}

/// Only silence opens the breaker; a centre that answers "no" is well.
fn counts(error: &PeerError) -> bool {
    matches!(error, PeerError::Unreachable(_))
}

impl Peer {
    fn new(tls: rustls::ClientConfig, address: &PeerAddress) -> Self {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(address.host.clone()))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_mins(1))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .http2_keep_alive_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the settings are constants");
        let pause = backoff::exponential(Duration::from_secs(1), Duration::from_secs(15));
        let policy = failure_policy::consecutive_failures(3, pause);
        let breaker = Config::new().failure_policy(policy).build();
        Self { base: format!("https://{NAME}:{}", address.port), client, breaker }
    }

    /// Retries only what never reached the other side: nothing is done twice.
    async fn send(
        &self,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let retry = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_times(2)
            .with_jitter();
        let once = || self.once(path, body.clone(), within);
        once.retry(retry).when(never_arrived).await
    }

    async fn once(
        &self,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let silent = |error| PeerError::Unreachable(Some(error));
        let request = self.client.post(format!("{}{path}", self.base)).timeout(within).body(body);
        let mut answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        if status.is_server_error() {
            return Err(PeerError::Failed(status.as_u16()));
        }
        if !status.is_success() {
            return Err(PeerError::Refused(status.as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(PeerError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn never_arrived(error: &PeerError) -> bool {
    matches!(error, PeerError::Unreachable(Some(cause)) if cause.is_connect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let parsed = |address| {
            let address = PeerAddress::new(CentreId::from_array([1; 16]), address)?;
            Some((address.host.0, address.port))
        };
        let host = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parsed("zmc.example:7443"), host("zmc.example", 7443));
        assert_eq!(parsed("[::1]:7443"), host("[::1]", 7443));
        for wrong in ["zmc.example", ":7443", "zmc.example:", "zmc.example:99999"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_host_is_looked_up_when_it_is_called() {
        let name = || "peer".parse().unwrap();
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            let mut found = Host(host.to_owned()).resolve(name()).await.unwrap();
            assert!(found.all(|address| address.ip().is_loopback()), "{host}");
        }
        assert!(Host("nobody.invalid".to_owned()).resolve(name()).await.is_err());
    }
}
