//! etcd beside it, for scale: three members on this machine that take puts of the same size from as
//! many clients. It survives crashes but no lies, and checks no signatures.
//!
//! The client is generated nowhere: a put is one message of the interface `etcdserverpb.KV`, and
//! `protoc` is not needed for two fields.

use super::nodes::free_addresses;
use anyhow::{Context, Result, bail};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// How many members.
const MEMBERS: usize = 3;
/// How often members that start are asked whether they are there, ten times a second.
const READY_TRIES: u32 = 300;

/// `etcdserverpb.PutRequest`, without the options that are not used.
#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`, of which nothing is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Done {}

/// How many puts of `bytes` go through in a second; none when etcd is not installed.
pub(super) async fn puts_per_second(
    puts: u64,
    bytes: usize,
    in_flight: usize,
) -> Result<Option<f64>> {
    let Some(members) = Members::start().await? else { return Ok(None) };
    let value = vec![0x5a; bytes];
    let numbers = |range: std::ops::Range<u64>| stream::iter(range.map(anyhow::Ok));
    let put = |number| members.put(number, value.clone());
    // The first puts open the connections.
    numbers(0..100).try_for_each_concurrent(in_flight, put).await?;
    let started = Instant::now();
    numbers(100..100 + puts).try_for_each_concurrent(in_flight, put).await?;
    Ok(Some(super::count(puts) / started.elapsed().as_secs_f64()))
}

/// Running members in a temporary folder; they end with it.
struct Members {
    channels: Vec<Channel>,
    _running: Vec<Child>,
    _folder: TempDir,
}

impl Members {
    async fn start() -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        // All at once, so that none is given twice.
        let mut peers = free_addresses(2 * MEMBERS)?;
        let clients = peers.split_off(MEMBERS);
        let named = peers.iter().enumerate().map(|(index, peer)| format!("{index}=http://{peer}"));
        let cluster = named.collect::<Vec<_>>().join(",");
        let mut running = Vec::new();
        for (index, (peer, client)) in peers.iter().zip(&clients).enumerate() {
            let (peer, client) = (format!("http://{peer}"), format!("http://{client}"));
            let mut etcd = Command::new("etcd");
            etcd.args(["--name", &index.to_string(), "--initial-cluster", &cluster]);
            etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            etcd.arg("--data-dir").arg(folder.path().join(index.to_string()));
            etcd.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
            match etcd.spawn() {
                Ok(child) => running.push(child),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error).context("could not start etcd"),
            }
        }
        let channels = clients.iter().map(channel).collect::<Result<_>>()?;
        let members = Self { channels, _running: running, _folder: folder };
        members.ready().await?;
        Ok(Some(members))
    }

    /// Waits until every member takes a put.
    async fn ready(&self) -> Result<()> {
        for _ in 0..READY_TRIES {
            let each = stream::iter(0..MEMBERS as u64).map(|number| self.put(number, Vec::new()));
            if each.buffer_unordered(MEMBERS).all(|put| async move { put.is_ok() }).await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("etcd does not answer")
    }

    async fn put(&self, number: u64, value: Vec<u8>) -> Result<()> {
        let member = usize::try_from(number)? % self.channels.len();
        let mut client = Grpc::new(self.channels[member].clone());
        client.ready().await?;
        let put = tonic::Request::new(Put { key: number.to_be_bytes().to_vec(), value });
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let done = client.unary(put, path, ProstCodec::<Put, Done>::default()).await;
        done.map(drop).context("etcd did not take a put")
    }
}

fn channel(address: &SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy())
}
