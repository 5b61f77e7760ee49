//! The ledger alone: four nodes, real disclosures, durable, every signature checked.
//!
//! Each node is a process of its own with nothing but the ledger in it; the client signs its
//! transactions before the clock starts and speaks to all nodes over loopback.

mod etcd;
mod load;
mod nodes;
mod protocol;
mod world;

pub(crate) use nodes::NodeArgs;

use crate::process;
use aegle_model::Canonical;
use anyhow::{Context, Result};
use clap::Parser;
use load::Load;
use nodes::Nodes;
use protocol::{Question, Reply};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use world::World;

/// How many centres validate.
const NODES: usize = 4;
/// The node that is killed.
const VICTIM: usize = NODES - 1;

#[derive(Parser)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How many patients there are
    #[arg(long, default_value_t = 1_000)]
    patients: u32,
    /// How many disclosures to commit as fast as possible
    #[arg(long, default_value_t = 60_000)]
    disclosures: u64,
    /// How many of them in flight
    #[arg(long, default_value_t = 1_000)]
    in_flight: usize,
    /// For how many seconds to submit 1,000 each
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// How many blocks a node misses before it comes back; 0 leaves killing and catching up out
    #[arg(long, default_value_t = 10_000)]
    missed: u64,
    /// How many disclosures to commit before the same load is measured again; 0 leaves that out
    #[arg(long, default_value_t = 0)]
    history: u64,
}

/// What was measured; none where it was not, with the reason in `not_measured`.
#[derive(Debug, Default, Serialize)]
struct Figures {
    per_second: f64,
    per_second_after_history: Option<f64>,
    cpu_ms_per_tx: f64,
    blocks_per_second: f64,
    submit_p50_ms: f64,
    submit_p99_ms: f64,
    recover_s: Option<f64>,
    catchup_10k_s: Option<f64>,
    state_sync_s: Option<f64>,
    node_rss_mb: f64,
    disk_bytes_per_tx: f64,
    transaction_bytes: usize,
    receipt_bytes: usize,
    receipt_verify_us: f64,
    etcd_per_second: Option<f64>,
    etcd_ratio: Option<f64>,
    not_measured: BTreeMap<&'static str, String>,
}

impl Figures {
    /// Says why something was not measured.
    fn without(&mut self, what: &'static str, why: &str) {
        self.not_measured.insert(what, why.to_owned());
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    crate::measured(args.json, measure(args))
}

pub(crate) fn run_node(args: &NodeArgs) -> Result<()> {
    nodes::serve(args)
}

async fn measure(args: &Args) -> Result<Figures> {
    let world = World::new(args.patients);
    let mut nodes = Nodes::start().await?;
    let mut figures = Figures::default();
    let load = Load::new(&world, args.in_flight);
    for stage in world.beginning() {
        load.flood(&nodes, stage).await.context("could not prepare the network")?;
    }
    sustained(args, &load, &nodes, &mut figures).await?;
    steady(args, &load, &nodes, &mut figures).await?;
    receipts(&load, &nodes, &mut figures).await?;
    match args.history {
        0 => {
            let why = "left out; --history says after how many transactions";
            figures.without("per_second_after_history", why);
        }
        history => {
            figures.per_second_after_history = Some(grown(args, &load, &nodes, history).await?);
        }
    }
    if args.missed == 0 {
        for what in ["recover_s", "catchup_10k_s", "state_sync_s"] {
            figures.without(what, "left out by --missed 0");
        }
    } else {
        killed(args, &load, &mut nodes, &mut figures).await?;
    }
    nodes.end().await;
    beside_etcd(args, &mut figures).await;
    Ok(figures)
}

/// As many as go through.
async fn sustained(
    args: &Args,
    load: &Load<'_>,
    nodes: &Nodes,
    figures: &mut Figures,
) -> Result<()> {
    let disclosures = load.disclosures(nodes, args.disclosures).await?;
    figures.transaction_bytes = disclosures.first().map_or(0, |one| bytes(&one.transaction));
    let (cpu, disk, height) = (nodes.cpu_ms()?, nodes.disk_bytes()?, nodes.height(0).await?);
    let started = Instant::now();
    load.flood(nodes, disclosures).await?;
    let seconds = started.elapsed().as_secs_f64();
    let number = count(args.disclosures);
    figures.per_second = number / seconds;
    figures.cpu_ms_per_tx = (nodes.cpu_ms()? - cpu) / number;
    figures.blocks_per_second = count(nodes.height(0).await? - height) / seconds;
    figures.node_rss_mb = nodes.largest_rss_mib()?;
    // What the engine writes behind, it has written a little later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    figures.disk_bytes_per_tx = (nodes.disk_bytes()? - disk) / number;
    Ok(())
}

/// As many as go through when the ledger has grown by `history` transactions.
async fn grown(args: &Args, load: &Load<'_>, nodes: &Nodes, history: u64) -> Result<f64> {
    let mut left = history;
    while left > 0 {
        let some = left.min(args.disclosures);
        load.flood(nodes, load.disclosures(nodes, some).await?).await?;
        left -= some;
    }
    let disclosures = load.disclosures(nodes, args.disclosures).await?;
    let started = Instant::now();
    load.flood(nodes, disclosures).await?;
    Ok(count(args.disclosures) / started.elapsed().as_secs_f64())
}

/// A thousand a second.
async fn steady(args: &Args, load: &Load<'_>, nodes: &Nodes, figures: &mut Figures) -> Result<()> {
    let disclosures = load.disclosures(nodes, args.seconds * 1_000).await?;
    let mut waited = load.steadily(nodes, disclosures, Duration::from_millis(1)).await?;
    figures.submit_p50_ms = crate::percentile(&mut waited, 50);
    figures.submit_p99_ms = crate::percentile(&mut waited, 99);
    figures.node_rss_mb = figures.node_rss_mb.max(nodes.largest_rss_mib()?);
    Ok(())
}

/// How large proofs are, and how long checking one takes.
async fn receipts(load: &Load<'_>, nodes: &Nodes, figures: &mut Figures) -> Result<()> {
    let disclosures = load.disclosures(nodes, 100).await?;
    let ids: Vec<_> = disclosures.iter().map(|one| one.transaction.id()).collect();
    load.flood(nodes, disclosures).await?;
    let mut times = Vec::new();
    for id in ids {
        let reply = nodes.ask(0, Question::Receipt(id)).await?;
        let Reply::Receipt(receipt) = reply else { anyhow::bail!("no receipt: {reply:?}") };
        figures.receipt_bytes = figures.receipt_bytes.max(bytes(&*receipt));
        let started = Instant::now();
        receipt.verify(&load.world.genesis).context("a receipt does not hold")?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    figures.receipt_verify_us = crate::percentile(&mut times, 50);
    Ok(())
}

/// As many puts as there were disclosures, each as large as one, when our own nodes have ended.
async fn beside_etcd(args: &Args, figures: &mut Figures) {
    let size = figures.transaction_bytes;
    let puts = etcd::puts_per_second(args.disclosures, size, args.in_flight).await;
    match puts {
        Ok(Some(etcd)) => {
            figures.etcd_per_second = Some(etcd);
            figures.etcd_ratio = Some(figures.per_second / etcd);
        }
        Ok(None) => figures.without("etcd_ratio", "`etcd` is not installed (Debian: etcd-server)"),
        Err(error) => figures.without("etcd_ratio", &format!("{error:#}")),
    }
}

fn bytes(value: &impl Canonical) -> usize {
    value.to_bytes().len()
}

/// One node is killed under load, misses blocks and comes back.
async fn killed(
    args: &Args,
    load: &Load<'_>,
    nodes: &mut Nodes,
    figures: &mut Figures,
) -> Result<()> {
    let disclosures = load.disclosures(nodes, args.disclosures).await?;
    let recovered = load.kill_one(nodes, VICTIM, disclosures).await?;
    if recovered.is_none() {
        let why = "throughput did not come back while the load lasted; raise --disclosures";
        figures.without("recover_s", why);
    }
    figures.recover_s = recovered;
    let from = nodes.height(0).await?;
    while nodes.height(0).await? < from + args.missed {
        let few = load.disclosures(nodes, 500).await?;
        load.steadily(nodes, few, Duration::from_millis(10)).await?;
    }
    figures.catchup_10k_s = comes_back(load, nodes).await?;
    nodes.kill(VICTIM).await?;
    nodes.forget(VICTIM).await;
    nodes.wipe(VICTIM)?;
    figures.state_sync_s = comes_back(load, nodes).await?;
    let behind = "the node was still behind when the load ended";
    for (what, seconds) in
        [("catchup_10k_s", figures.catchup_10k_s), ("state_sync_s", figures.state_sync_s)]
    {
        if seconds.is_none() {
            figures.without(what, behind);
        }
    }
    Ok(())
}

/// After how many seconds the victim, started under load, is as high as the others were then; none when
/// the load ended first.
async fn comes_back(load: &Load<'_>, nodes: &mut Nodes) -> Result<Option<f64>> {
    let load_on = load.disclosures(nodes, 20_000).await?;
    let behind = nodes.height(0).await?;
    let started = Instant::now();
    nodes.restart(VICTIM).await?;
    let nodes = &*nodes;
    let caught_up = async {
        while nodes.height(VICTIM).await.unwrap_or(0) < behind {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        started.elapsed().as_secs_f64()
    };
    tokio::select! {
        seconds = caught_up => Ok(Some(seconds)),
        ended = load.steadily(nodes, load_on, Duration::from_millis(2)) => ended.map(|_| None),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}
