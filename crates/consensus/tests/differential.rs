//! Validators that agree, one that is restored from a backup, and one that fetches the state of the
//! others come to one state.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[expect(dead_code, reason = "other tests need more of it")]
mod support;

use aegle_consensus::{Config, KEYS_MAX, Ledger, Restore, SubmitError, restore};
use aegle_ledger::{CertifiedBlock, Key, LIFETIME_MAX, TxId, fixture::mix::Mix, keys};
use std::{io, time::Duration};
use support::Network;

/// Restored and compared with the others, then wiped and started on their state.
const RESTORED: usize = 3;
/// How much of the chain is in memory at once.
const STRETCH_BYTES: usize = 1024 * 1024;

/// Submits so many generated transactions at the first node, waits until all are final, and compares.
async fn compare(count: usize, seed: u64) {
    let mut network = Network::start(4);
    let ids = run(&network, count, seed).await;
    let source = network.ledger(0);
    network.kill(RESTORED).await;
    network.wipe(RESTORED);
    let Config { dir, voted, genesis, key, .. } = network.config(RESTORED);
    let target = Restore { dir, voted, genesis, key, votes: false };
    let stretches = stretches(source.clone());
    let restored = tokio::task::spawn_blocking(move || restore(&target, stretches)).await.unwrap();
    let restored = restored.unwrap();
    assert_eq!(restored.transactions, count as u64);
    let normal = source.block(restored.tip.height).await.unwrap().unwrap();
    assert_eq!(restored.tip, normal.header);
    network.start_node(RESTORED);
    let mut followed = network.ledger(RESTORED).finalised();
    followed.wait_for(|tip| tip.height >= restored.tip.height).await.unwrap();
    same_records(&source, &network.ledger(RESTORED), &ids).await;
    network.kill(RESTORED).await;
    network.wipe(RESTORED);
    network.start_node(RESTORED);
    let fetched = network.ledger(RESTORED);
    assert!(fetched.status().height >= restored.tip.height, "it executes from the beginning");
    same_records(&source, &fetched, &ids).await;
    // It goes on from there: a wrong root would stop it.
    let height = source.status().height + 2;
    for ledger in [&source, &fetched] {
        ledger.finalised().wait_for(|tip| tip.height >= height).await.unwrap();
    }
    println!("{count} transactions in {} blocks: one state", restored.tip.height);
}

/// Submits transactions and returns their ids when all of them are final.
async fn run(network: &Network, count: usize, seed: u64) -> Vec<TxId> {
    let ledger = network.ledger(0);
    let mut mix = Mix::new(&network.genesis, network.signers(), seed);
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let transaction = mix.next(LIFETIME_MAX);
        ids.push(transaction.id());
        while let Err(refused) = ledger.submit(transaction.clone()).await {
            assert!(matches!(refused, SubmitError::Quota | SubmitError::Full), "{refused}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for id in &ids {
        ledger.wait(*id).await.unwrap();
    }
    ids
}

/// The chain of a running node up to its last block with votes.
fn stretches(ledger: Ledger) -> impl Iterator<Item = io::Result<Vec<CertifiedBlock>>> + Send {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    // Whoever restores blocks a thread that drives tasks of its own.
    tokio::spawn(async move {
        let mut next = 1;
        loop {
            let blocks = ledger.blocks(next, STRETCH_BYTES).await.unwrap();
            let Some(last) = blocks.last() else { break };
            next = last.block.header.height + 1;
            tokio::task::block_in_place(|| sender.send(Ok(blocks))).unwrap();
        }
    });
    receiver.into_iter()
}

/// Compares what both have under the keys that the transactions wrote.
async fn same_records(one: &Ledger, other: &Ledger, ids: &[TxId]) {
    let written: Vec<Key> = ids.iter().map(keys::transaction).chain([keys::network()]).collect();
    for some in written.chunks(KEYS_MAX) {
        let (one, other) = (one.read(some).await.unwrap(), other.read(some).await.unwrap());
        assert!(one.values.iter().all(Option::is_some));
        assert_eq!(one.values, other.values);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_and_fetched_state_is_that_of_those_that_agreed() {
    compare(500, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes many minutes; run it after a change to execution or to a format"]
async fn restored_and_fetched_state_is_that_of_those_that_agreed_on_a_hundred_thousand() {
    compare(100_000, 2).await;
}
