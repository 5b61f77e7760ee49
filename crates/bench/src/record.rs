//! One patient's record from two centres, asked by a doctor of a third; sign-in excluded.

use crate::{decide, percentile, process};
use aegle_node::demo::Rehearsal;
use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::StreamExt;
use futures::stream::{self, TryStreamExt};
use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Parser)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How many records to ask for one at a time
    #[arg(long, default_value_t = 200)]
    single: usize,
    /// How many records to ask for with many in flight
    #[arg(long, default_value_t = 3000)]
    many: u32,
    /// How many in flight
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
}

#[derive(Debug, Serialize)]
struct Figures {
    rows: usize,
    p50_ms: f64,
    p99_ms: f64,
    in_flight: usize,
    per_second: f64,
    loaded_p50_ms: f64,
    loaded_p99_ms: f64,
    cpu_ms_per_disclosure: f64,
    node_rss_mb: f64,
    node_rss_loaded_mb: f64,
    decide_20_rules_us: f64,
    decide_10k_rules_us: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    crate::measured(args.json, measure(args))
}

async fn measure(args: &Args) -> Result<Figures> {
    let network = Rehearsal::new(60).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let node_rss_mb = largest(&network)?;
    let rows = once(&network).await?.0;
    ensure!(rows > 0, "the doctor sees nothing");
    let mut single = Vec::new();
    for _ in 0..args.single {
        single.push(once(&network).await?.1);
    }
    let (cpu, started) = (cpu_ms(&network)?, Instant::now());
    let asked = stream::iter(0..args.many).map(|_| once(&network)).buffer_unordered(args.in_flight);
    let loaded: Vec<(usize, f64)> = asked.try_collect().await?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(loaded.iter().all(|(seen, _)| *seen == rows), "an answer under load differs");
    let cpu = cpu_ms(&network)? - cpu;
    let node_rss_loaded_mb = largest(&network)?;
    network.end().await;
    let mut loaded: Vec<f64> = loaded.into_iter().map(|(_, ms)| ms).collect();
    Ok(Figures {
        rows,
        p50_ms: percentile(&mut single, 50),
        p99_ms: percentile(&mut single, 99),
        in_flight: args.in_flight,
        per_second: f64::from(args.many) / seconds,
        loaded_p50_ms: percentile(&mut loaded, 50),
        loaded_p99_ms: percentile(&mut loaded, 99),
        cpu_ms_per_disclosure: cpu / f64::from(args.many),
        node_rss_mb,
        node_rss_loaded_mb,
        decide_20_rules_us: decide::microseconds(20),
        decide_10k_rules_us: decide::microseconds(10_000),
    })
}

/// One record: how many rows came back, and after how many milliseconds.
async fn once(network: &Rehearsal) -> Result<(usize, f64)> {
    let started = Instant::now();
    let parts = network.doctor.record(&network.question()).await?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    let mut rows = 0;
    for part in parts {
        let part = part.part.with_context(|| format!("{} did not answer", part.centre))?;
        rows += part.tables.iter().map(|table| table.rows.len()).sum::<usize>();
    }
    Ok((rows, ms))
}

fn cpu_ms(network: &Rehearsal) -> Result<f64> {
    network.processes().into_iter().map(process::cpu_ms).sum()
}

fn largest(network: &Rehearsal) -> Result<f64> {
    let sizes: Result<Vec<f64>> = network.processes().into_iter().map(process::rss_mib).collect();
    Ok(sizes?.into_iter().fold(0.0, f64::max))
}
