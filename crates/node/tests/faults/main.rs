//! Four `aegle node` processes under load lose machines, cables and disk space, and nothing that a
//! client was told: no rule that is in force, and no request for a record that was decided.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod disk;
mod ground;
mod load;
mod network;
mod wire;

use disk::Disk;
use ground::Ground;
use load::{Load, Told};
use network::{CODES, Network, PATIENCE, requests, rules};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::Quality;

/// How many rules have to come into force, and records to be answered, for the network to be well.
const SOME: usize = 5;

#[test]
fn nothing_that_a_client_was_told_is_lost() {
    // A thread that enters a namespace does not come back, so it is one of its own.
    let played = std::thread::spawn(|| {
        let ground = Arc::new(Ground::find(CODES.len()));
        ground.enter();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(ground));
    });
    if let Err(panic) = played.join() {
        std::panic::resume_unwind(panic);
    }
}

async fn play(ground: Arc<Ground>) {
    let mut network = Network::set_up(ground).await;
    let disk = Disk::under(&network.nodes[3].data());
    network.nodes.iter_mut().for_each(network::Node::start);
    network.ready().await;
    let load =
        Load::start(&[network.nodes[0].api(), network.nodes[1].api()], network.nodes[2].api())
            .await;
    load.goes_on(SOME, PATIENCE, "at first").await;

    one_is_killed(&mut network, &load).await;
    all_are_killed(&mut network, &load).await;
    cables_are_cut(&network, &load).await;
    cables_are_slow(&network, &load).await;
    match &disk {
        Some(disk) => a_disk_is_full(&mut network, &load, disk).await,
        None => println!("full disk: skipped, no small disk could be mounted (not root?)"),
    }

    let told = load.stop().await;
    network.level().await;
    for node in &mut network.nodes {
        let status = node.stop();
        assert!(status.success(), "{status}\n{}", node.log());
    }
    check(&network, &told);
    // Before the folder that it stands in.
    drop(disk);
}

async fn one_is_killed(network: &mut Network, load: &Load) {
    network.nodes[3].kill();
    load.goes_on(SOME, PATIENCE, "with one of four killed").await;
    network.nodes[3].start();
    network.nodes[3].ready().await;
    network.nodes[0].kill();
    load.goes_on(SOME, PATIENCE, "with the node of a client and a guardian killed").await;
    network.nodes[0].start();
    network.nodes[0].ready().await;
}

async fn all_are_killed(network: &mut Network, load: &Load) {
    network.nodes.iter_mut().for_each(network::Node::kill);
    network.nodes.iter_mut().for_each(network::Node::start);
    network.ready().await;
    load.goes_on(SOME, PATIENCE, "after all were killed").await;
}

async fn cables_are_cut(network: &Network, load: &Load) {
    network.around(&[3], Quality::Cut);
    load.goes_on(SOME, PATIENCE, "with one of four cut off").await;
    network.around(&[3], Quality::Good);
    network.around(&[0, 2], Quality::Cut);
    // What was decided when the cables were cut may still arrive: a record waits 5 s for a part that is
    // cut off.
    let end = Instant::now() + PATIENCE;
    loop {
        let before = load.count();
        tokio::time::sleep(Duration::from_secs(5)).await;
        if load.count() == before {
            break;
        }
        assert!(Instant::now() < end, "half a network is no quorum");
    }
    network.around(&[0, 2], Quality::Good);
    load.goes_on(SOME, PATIENCE, "after two halves met again").await;
}

async fn cables_are_slow(network: &Network, load: &Load) {
    network.everywhere(Quality::Slow { delay: Duration::from_millis(50), lost: 1 });
    load.goes_on(SOME, PATIENCE, "with 50 ms and 0.1 % loss each way").await;
    network.everywhere(Quality::Good);
}

async fn a_disk_is_full(network: &mut Network, load: &Load, disk: &Disk) {
    disk.fill();
    load.goes_on(4 * SOME, PATIENCE, "with a full disk at one").await;
    disk.clear();
    network.nodes[3].returns().await;
    load.goes_on(SOME, PATIENCE, "with room on that disk again").await;
}

/// All nodes have one chain, which holds all that a client was told of, once.
fn check(network: &Network, told: &Told) {
    let chains: Vec<_> = (0..network.nodes.len()).map(|number| network.blocks(number)).collect();
    for pair in chains.windows(2) {
        let common = pair[0].len().min(pair[1].len());
        assert_eq!(pair[0][..common], pair[1][..common], "two nodes have different chains");
    }
    for (number, chain) in chains.iter().enumerate() {
        holds(number, &rules(chain), &told.rules);
        holds(number, &requests(chain), &told.requests);
    }
    let (rules, requests) = (told.rules.len(), told.requests.len());
    println!("told of {rules} rules and {requests} requests: all at each of four nodes, once");
}

/// A node has applied all of these, and nothing twice.
fn holds(number: usize, applied: &[String], told: &BTreeSet<String>) {
    let once: BTreeSet<_> = applied.iter().cloned().collect();
    assert_eq!(once.len(), applied.len(), "node {number} applied something twice");
    let lost: Vec<_> = told.difference(&once).collect();
    assert!(lost.is_empty(), "node {number} lost {lost:?}");
}
