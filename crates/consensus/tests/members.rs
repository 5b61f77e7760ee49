//! Members that change on real sockets and disks.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use aegle_consensus::Ledger;
use aegle_ledger::{
    Amendment, Body, Centre, Draft, Epochs, GovernanceRecord, Member, Propose, Record as _, Vote,
    keys,
};
use aegle_model::{CentreId, Hash, Name};
use std::time::Duration;
use support::Network;

/// The founders, and two nodes that come later.
fn network() -> Network {
    let mut network = Network::with(4, 2, Epochs::new(40).unwrap());
    network.heartbeat = Duration::from_millis(50);
    (0..4).for_each(|node| network.start_node(node));
    network
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        pause().await;
    }
}

async fn governance(ledger: &Ledger) -> GovernanceRecord {
    let snapshot = ledger.read(&[keys::governance()]).await.unwrap();
    GovernanceRecord::read(snapshot.values[0].as_ref().unwrap()).unwrap()
}

/// The centres at these nodes, which are enough, agree to a change; returns when it is in effect.
async fn agree(network: &Network, members: &[(CentreId, usize)], change: Amendment) {
    let (author, node) = members[0];
    let ledger = network.ledger(node);
    let propose = Body::Propose(Box::new(Propose { change }));
    let proposed = network.finalise(node, sign(network, author, node, propose)).await;
    let proposal = proposed.transaction.id();
    for (centre, node) in &members[1..] {
        let vote = Body::Vote(Vote { proposal, agree: true });
        network.finalise(*node, sign(network, *centre, *node, vote)).await;
    }
    while !governance(&ledger).await.closed.contains(&proposal) {
        pause().await;
    }
}

/// A transaction of `centre` with the key of `node`.
fn sign(network: &Network, centre: CentreId, node: usize, body: Body) -> aegle_ledger::Transaction {
    let key = &network.config(node).key;
    let height = network.ledger(0).status().height;
    let author = (centre, key.public());
    Draft::new(network.genesis.network(), author, height + 500, height, body).sign(key)
}

fn enrol(number: u8) -> Body {
    let patient = aegle_model::PatientId::from_array([number; 16]);
    Body::Enrol(aegle_ledger::Enrol { patient, commitment: Hash::ZERO })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_centre_joins_another_takes_new_keys_and_a_third_leaves() {
    let mut network = network();
    let founders = [0, 1, 2, 3].map(|node| (network.genesis.centres[node].id, node));
    let config = network.config(4);
    let id = Centre::id_of(&config.key.public());
    let centre = Centre {
        id,
        code: Name::new("NEW").unwrap(),
        key: config.key.public(),
        tls: Hash::ZERO,
        seal: [4; 65],
    };
    // The founders learn the address from the ledger.
    let admit = Amendment::Admit(Member { centre, address: config.listen.to_string() });
    agree(&network, &founders[..3], admit).await;
    network.start_node(4);
    until(|| network.ledger(4).status().votes).await;
    let first = network.ledger(4).block(1).await.unwrap();
    assert_eq!(first, network.ledger(0).block(1).await.unwrap(), "it has all blocks by then");
    let joined = id;
    let receipt = network.finalise(4, sign(&network, id, 4, enrol(1))).await;
    assert_eq!(receipt.anchor.handovers.len(), 1);
    receipt.verify(&network.genesis).unwrap();

    // The node at 5 is the same centre as the one at 3, with a new key and an empty folder.
    let config = network.config(5);
    let centre = Centre { key: config.key.public(), ..network.genesis.centres[3].clone() };
    let id = centre.id;
    let rotate = Amendment::Rotate(Member { centre, address: config.listen.to_string() });
    agree(&network, &founders, rotate).await;
    network.kill(3).await;
    network.start_node(5);
    until(|| network.ledger(5).status().votes).await;
    let receipt = network.finalise(5, sign(&network, id, 5, enrol(2))).await;
    receipt.verify(&network.genesis).unwrap();

    let leaving = network.genesis.centres[2].id;
    let voters = [founders[0], founders[1], founders[2], (joined, 4)];
    agree(&network, &voters, Amendment::Remove(leaving)).await;
    until(|| network.ledger(0).status().validators == 4).await;
    // Of the founders that are left, everyone restarts where the epochs are.
    for node in [0, 1] {
        network.kill(node).await;
        network.start_node(node);
        assert!(network.ledger(node).status().votes && network.ledger(node).status().epoch > 2);
    }
    let receipt = network.finalise(0, sign(&network, founders[0].0, 0, enrol(3))).await;
    assert_eq!(receipt.anchor.handovers.len(), 3);
    receipt.verify(&network.genesis).unwrap();
}

/// Its folder is gone, and the mark beside its key is from a backup that knows nothing of the last epochs.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_votes_votes_again_when_an_epoch_begins() {
    let mut network = network();
    let id = network.genesis.centres[3].id;
    network.finalise(3, sign(&network, id, 3, enrol(1))).await;
    let mark = network.config(3).voted;
    let backup = std::fs::read(&mark).unwrap();
    until(|| network.ledger(3).status().epoch > 1).await;
    network.kill(3).await;
    network.wipe(3);
    std::fs::write(&mark, backup).unwrap();
    network.start_node(3);
    let since = |text: &str| text.lines().any(|line| line.starts_with("since "));
    assert!(since(&std::fs::read_to_string(&mark).unwrap()));
    let (epoch, votes) = (network.ledger(3).status().epoch, network.ledger(3).status().votes);
    assert!(epoch > 0 && !votes);
    until(|| network.ledger(3).status().votes).await;
    assert!(network.ledger(3).status().epoch > epoch);
    assert!(!since(&std::fs::read_to_string(&mark).unwrap()));
    network.finalise(3, sign(&network, id, 3, enrol(2))).await.verify(&network.genesis).unwrap();
}
