//! Four validators on real sockets and disks, and one alone.

mod support;

use support::Network;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_submitted_at_any_node_is_final_at_all() {
    let network = Network::start(4);
    for node in 0..4 {
        let receipt = network.finalise(node, network.enrol(node, 1)).await;
        let id = receipt.transaction.id();
        receipt.verify(&network.genesis).unwrap();
        for other in 0..4 {
            network.await_receipt(other, id).await.verify(&network.genesis).unwrap();
        }
    }
}
