//! Validators on real sockets and disks: four, and one alone.

#[expect(clippy::unwrap_used, reason = "a panic is a failed test")]
mod support;

use aegle_consensus::{
    Config, ReadError, Restore, RestoreError, StartError, SubmitError, restore, start,
};
use aegle_ledger::{CertifiedBlock, CheckedChain, Position, Record as _, keys};
use aegle_model::Hash;
use std::{fs, io, time::Duration};
use support::Network;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_submitted_at_any_node_is_final_at_all() {
    let network = Network::start(4);
    for node in 0..4 {
        let receipt = network.finalise(node, network.enrol(node, 1)).await;
        let id = receipt.transaction.id();
        receipt.verify(&network.genesis).unwrap();
        for other in 0..4 {
            network.ledger(other).receipt(id).await.unwrap().verify(&network.genesis).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_four_go_on_and_the_fourth_catches_up() {
    let mut network = Network::start(4);
    network.finalise(0, network.enrol(0, 1)).await;
    network.kill(3).await;
    let mut ids = Vec::new();
    for number in 2..12 {
        ids.push(network.finalise(1, network.enrol(1, number)).await.transaction.id());
    }
    network.start_node(3);
    for id in ids {
        network.ledger(3).receipt(id).await.unwrap().verify(&network.genesis).unwrap();
    }
    network.finalise(3, network.enrol(3, 1)).await.verify(&network.genesis).unwrap();
}

/// Its key has voted: with another memory it might vote otherwise for the same view.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_votes_follows_under_load_and_votes_no_more() {
    let mut network = Network::start(4);
    network.finalise(3, network.enrol(3, 1)).await;
    assert!(network.ledger(3).status().votes);
    network.kill(3).await;
    network.wipe(3);
    network.start_node(3);
    assert!(!network.ledger(3).status().votes);
    for number in 2..40 {
        let receipt = network.finalise(0, network.enrol(0, number)).await;
        assert!(!receipt.anchor.certificate.signers.iter().any(|signer| signer == 3));
        let followed = network.ledger(3).receipt(receipt.transaction.id()).await.unwrap();
        followed.verify(&network.genesis).unwrap();
    }
    // It still takes what its own people submit.
    network.finalise(3, network.enrol(3, 2)).await.verify(&network.genesis).unwrap();
    // What it learned as a follower makes it no voter.
    network.kill(3).await;
    network.start_node(3);
    assert!(!network.ledger(3).status().votes);
    // The others restart as voters.
    network.kill(0).await;
    network.start_node(0);
    assert!(network.ledger(0).status().votes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_keeps_the_ledger() {
    let mut network = Network::start(4);
    let before = network.finalise(2, network.enrol(2, 1)).await;
    for node in 0..4 {
        network.kill(node).await;
    }
    (0..4).for_each(|node| network.start_node(node));
    assert!(network.ledger(2).status().height >= before.anchor.header.height);
    let id = before.transaction.id();
    for node in 0..4 {
        let after = network.ledger(node).receipt(id).await.unwrap();
        assert_eq!(after.anchor.header, before.anchor.header);
    }
    let next = network.finalise(0, network.enrol(0, 2)).await;
    assert!(next.anchor.header.height > before.anchor.header.height);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_alone_is_a_network_and_keeps_its_ledger() {
    let mut network = Network::start(1);
    let receipt = network.finalise(0, network.enrol(0, 1)).await;
    let id = receipt.transaction.id();
    receipt.verify(&network.genesis).unwrap();
    network.kill(0).await;
    network.start_node(0);
    network.ledger(0).receipt(id).await.unwrap().verify(&network.genesis).unwrap();
    network.finalise(0, network.enrol(0, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_read_with_the_header_that_covers_it() {
    let network = Network::start(1);
    let genesis = network.ledger(0).read(&[keys::network()]).await.unwrap();
    assert!(genesis.values[0].is_some(), "the state before the first block can be read");
    let receipt = network.finalise(0, network.enrol(0, 1)).await;
    let key = keys::transaction(&receipt.transaction.id());
    let snapshot = network.ledger(0).read(&[[0; 32], key]).await.unwrap();
    let position = Position::read(snapshot.values[1].as_ref().unwrap()).unwrap();
    assert_eq!(snapshot.values[0], None);
    assert_eq!(position.height, receipt.anchor.header.height);
    let block = network.ledger(0).block(snapshot.header.height).await.unwrap().unwrap();
    assert_eq!(block.header, snapshot.header);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_is_kept() {
    let network = Network::start(1);
    let ledger = network.ledger(0);
    let receipt = network.finalise(0, network.enrol(0, 1)).await;
    let again = ledger.submit(receipt.transaction.clone()).await;
    assert!(matches!(again, Err(SubmitError::Final(id)) if id == receipt.transaction.id()));
    let late = ledger.submit(network.enrol_until(0, 2, 0)).await;
    assert!(matches!(late, Err(SubmitError::Expired { expires: 0, .. })));
    let lasting = ledger.submit(network.enrol_until(0, 3, u64::MAX)).await;
    assert!(matches!(lasting, Err(SubmitError::LivesTooLong { .. })));
    let foreign = Network::new(2).enrol(1, 1);
    assert!(matches!(ledger.submit(foreign).await, Err(SubmitError::Door(_))));
    let many = vec![[0; 32]; aegle_consensus::KEYS_MAX + 1];
    assert!(matches!(ledger.read(&many).await, Err(ReadError::TooMany { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_says_so_and_frees_its_folder() {
    let mut network = Network::start(1);
    let ledger = network.ledger(0);
    network.kill(0).await;
    assert!(!ledger.status().running);
    assert!(matches!(ledger.submit(network.enrol(0, 1)).await, Err(SubmitError::Stopped(_))));
    network.start_node(0);
    network.finalise(0, network.enrol(0, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_know_who_is_connected() {
    let network = Network::start(4);
    network.finalise(0, network.enrol(0, 1)).await;
    while network.ledger(0).status().connected < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(network.ledger(0).metrics().contains("finalized_height"));
}

#[test]
fn a_wrong_configuration_does_not_start() {
    let network = Network::new(4);
    let refused = |change: fn(&mut Config)| {
        let mut config = network.config(0);
        change(&mut config);
        start(config).err().expect("it must not start")
    };
    let lonely = refused(|config| config.peers.clear());
    assert!(matches!(lonely, StartError::NoPeers));
    let nowhere = refused(|config| config.peers[0].address = "nowhere".to_owned());
    assert!(matches!(nowhere, StartError::Address { .. }));
    let hasty = refused(|config| config.timing.leader = Duration::ZERO);
    assert!(matches!(hasty, StartError::Timing(_)));
    let empty = refused(|config| config.genesis.centres.clear());
    assert!(matches!(empty, StartError::Genesis(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_another_network_is_left_alone() {
    let mut network = Network::start(1);
    network.kill(0).await;
    let mut config = network.config(0);
    config.genesis.time.0 += 1;
    assert!(matches!(start(config), Err(StartError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_fails_says_why_and_leaves_the_process_alone() {
    let mut network = Network::start(1);
    let config = network.config(0);
    network.kill(0).await;
    let engine = config.dir.join("engine");
    fs::remove_dir_all(&engine).unwrap();
    fs::write(&engine, "a file where a folder should be").unwrap();
    assert!(matches!(start(config), Err(StartError::Engine(_))));
}

/// What a backup of `node` holds.
async fn backup(network: &Network, node: usize) -> Vec<CertifiedBlock> {
    let ledger = network.ledger(node);
    let mut blocks: Vec<CertifiedBlock> = Vec::new();
    loop {
        let next = blocks.last().map_or(1, |last| last.block.header.height + 1);
        let more = ledger.blocks(next, 64 * 1024).await.expect("the engine runs");
        if more.is_empty() {
            break;
        }
        blocks.extend(more);
    }
    blocks
}

/// Restores `blocks` in two stretches into the empty folder of `node`.
fn restore_node(
    network: &Network,
    node: usize,
    blocks: &[CertifiedBlock],
    votes: bool,
) -> Result<CheckedChain, RestoreError> {
    let Config { dir, voted, genesis, key, .. } = network.config(node);
    let target = Restore { dir, voted, genesis, key, votes };
    let stretches = [0..blocks.len() / 2, blocks.len() / 2..blocks.len()];
    restore(&target, stretches.into_iter().map(|range| io::Result::Ok(blocks[range].to_vec())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restored_from_anothers_backup_follows_catches_up_and_votes_no_more() {
    let mut network = Network::start(4);
    let early = network.finalise(3, network.enrol(3, 1)).await;
    network.kill(3).await;
    let before = network.finalise(0, network.enrol(0, 1)).await;
    let blocks = backup(&network, 0).await;
    let after = network.finalise(0, network.enrol(0, 2)).await;
    let full = restore_node(&network, 3, &blocks, false);
    assert!(matches!(full, Err(RestoreError::NotEmpty { .. })));
    network.wipe(3);
    let restored = restore_node(&network, 3, &blocks, false).unwrap();
    assert!(restored.tip.height >= before.anchor.header.height);
    network.start_node(3);
    assert!(!network.ledger(3).status().votes);
    for receipt in [early, before, after] {
        let id = receipt.transaction.id();
        network.ledger(3).receipt(id).await.unwrap().verify(&network.genesis).unwrap();
    }
    for number in 3..10 {
        let receipt = network.finalise(3, network.enrol(3, number)).await;
        assert!(!receipt.anchor.certificate.signers.iter().any(|signer| signer == 3));
    }
}

/// All folders are gone; one backup and the keys are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_network_restored_from_one_backup_goes_on_as_the_same() {
    let mut network = Network::start(4);
    let mut receipts = Vec::new();
    for node in 0..4 {
        receipts.push(network.finalise(node, network.enrol(node, 1)).await);
    }
    let blocks = backup(&network, 1).await;
    for node in 0..4 {
        network.kill(node).await;
        network.wipe(node);
        let restored = restore_node(&network, node, &blocks, true).unwrap();
        assert_eq!(restored.tip, blocks.last().unwrap().block.header);
    }
    (0..4).for_each(|node| network.start_node(node));
    for node in 0..4 {
        assert!(network.ledger(node).status().votes);
        for receipt in &receipts {
            let again = network.ledger(node).receipt(receipt.transaction.id()).await.unwrap();
            assert_eq!(again.anchor.header, receipt.anchor.header);
        }
        let next = network.finalise(node, network.enrol(node, 2)).await;
        assert!(next.anchor.header.height > blocks.last().unwrap().block.header.height);
        next.verify(&network.genesis).unwrap();
    }
    // They restart like any other network, and one that loses its votes now is one that lost them.
    network.kill(2).await;
    network.start_node(2);
    assert!(network.ledger(2).status().votes);
    network.kill(2).await;
    network.wipe(2);
    network.start_node(2);
    assert!(!network.ledger(2).status().votes);
    network.finalise(2, network.enrol(2, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_hold_restores_nothing() {
    let mut network = Network::start(1);
    for number in 1..4 {
        network.finalise(0, network.enrol(0, number)).await;
    }
    let blocks = backup(&network, 0).await;
    network.kill(0).await;
    network.wipe(0);
    let refused = |change: fn(&mut Vec<CertifiedBlock>)| {
        let mut changed = blocks.clone();
        change(&mut changed);
        let Err(error) = restore_node(&network, 0, &changed, true) else { panic!("it passed") };
        assert!(!network.config(0).dir.exists(), "nothing is left");
        match error {
            RestoreError::Chain(error) => error.cheat(),
            RestoreError::Empty => "empty",
            error => panic!("{error}"),
        }
    };
    assert_eq!(refused(|blocks| drop(blocks.remove(0))), "missing-block");
    assert_eq!(refused(|blocks| blocks.last_mut().unwrap().certificate = None), "uncovered-end");
    assert_eq!(refused(|blocks| blocks[0].block.header.state = Hash::ZERO), "altered-block");
    assert_eq!(refused(Vec::clear), "empty");
    restore_node(&network, 0, &blocks, true).unwrap();
    network.start_node(0);
    network.finalise(0, network.enrol(0, 5)).await;
}
