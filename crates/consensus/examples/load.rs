//! Measures a network of four validators in this process: latency one at a time, throughput with many
//! in flight, CPU per transaction and memory.
//!
//! `cargo run --release -p aegle-consensus --example load [transactions]`

#[path = "../tests/support/mod.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the tests, where panics are failures"
)]
mod support;

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};
use support::Network;

#[tokio::main]
async fn main() {
    let count = std::env::args().nth(1).map_or(10_000, |count| count.parse().expect("a number"));
    let network = Arc::new(Network::start(4));
    network.finalise(0, network.enrol(0, 0)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    idle(&network).await;
    one_at_a_time(&network).await;
    in_flight(&network, count, 64).await;
    in_flight(&network, count, 1000).await;
    println!("resident memory, four validators and the client: {} MiB", resident_mib());
}

async fn idle(network: &Network) {
    let (cpu, height) = (cpu_ms(), network.ledger(0).status().height);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let blocks = network.ledger(0).status().height - height;
    println!("idle: {} ms of CPU and {blocks} blocks in 5 s", cpu_ms() - cpu);
}

async fn one_at_a_time(network: &Network) {
    let mut latencies = Vec::new();
    let cpu = cpu_ms();
    for (number, node) in (0..200).zip((0..4).cycle()) {
        let transaction = network.enrol(node, 1_000_000 + number);
        // A pause of no fixed rhythm, so that requests do not fall in step with the leaders.
        tokio::time::sleep(Duration::from_millis(20 + (number * 37) % 61)).await;
        let start = Instant::now();
        network.finalise(node, transaction).await;
        latencies.push(start.elapsed());
    }
    report("one at a time", latencies, cpu_ms() - cpu);
}

async fn in_flight(network: &Arc<Network>, count: u64, in_flight: u64) {
    let cpu = cpu_ms();
    let start = Instant::now();
    let clients = (0..in_flight).map(|client| {
        let network = network.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            for number in 0..count / in_flight {
                let node = usize::try_from(client % 4).expect("small");
                let number = (in_flight << 40) | (client << 20) | number;
                let transaction = network.enrol(node, number);
                let start = Instant::now();
                network.finalise(node, transaction).await;
                latencies.push(start.elapsed());
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        latencies.extend(client.await.expect("clients do not fail"));
    }
    let per_second = latencies.len() as u128 * 1000 / start.elapsed().as_millis();
    println!("{in_flight} in flight: {per_second} transactions per second");
    report(&format!("{in_flight} in flight"), latencies, cpu_ms() - cpu);
}

fn report(what: &str, mut latencies: Vec<Duration>, cpu: u64) {
    latencies.sort();
    let at = |percent| latencies[(latencies.len() - 1) * percent / 100];
    let each = cpu * 1000 / latencies.len() as u64;
    println!("{what}: p50 {:?}, p99 {:?}, {each} µs of CPU per transaction in all", at(50), at(99));
}

/// CPU time of this process so far; the kernel counts in hundredths of a second.
fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let after_name = stat.rsplit(')').next().expect("a name in parentheses");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number") * 10).sum()
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line for it");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") / 1024
}
