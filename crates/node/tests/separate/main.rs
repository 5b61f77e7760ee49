//! Four centres, each set up by itself as its operator would, become one network; two of them take new
//! keys.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod centres;
mod rotate;

use aegle_node::Client;
use centres::{
    ADMINISTRATOR, CODES, Node, READY, command, fill_in, free_addresses, make_genesis, set_up, text,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::fs;
use std::path::Path;
use std::process::Child;

#[test]
fn four_centres_set_up_apart_become_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let homes = CODES.map(|code| set_up(folder.path(), code));
    let genesis = make_genesis(folder.path(), &homes, &[]);
    let ports: Vec<_> = free_addresses(3 * CODES.len()).chunks(3).map(<[_]>::to_vec).collect();
    for (number, home) in homes.iter().enumerate() {
        fs::copy(&genesis, home.join("genesis")).unwrap();
        fill_in(home, number, &ports);
    }
    nothing_starts_with_a_wrong_pass_phrase(&homes[0]);
    let mut nodes: Vec<_> = homes.iter().map(|home| Node::start(home)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (node, ports) in nodes.iter_mut().zip(&ports) {
        let client = Client::new(&format!("http://{}", ports[2])).unwrap();
        node.wait(READY, "ready", |_| runtime.block_on(client.ready()).then_some(()));
        runtime.block_on(client.sign_in("admin", ADMINISTRATOR)).unwrap();
    }
    let client = Client::new(&format!("http://{}", ports[0][2])).unwrap();
    run_out_of_files(&mut nodes[0]);
    nodes[0].wait(READY, "ready again", |_| runtime.block_on(client.ready()).then_some(()));
    for node in &mut nodes {
        let status = node.stop();
        assert!(status.success(), "{status}\n{}", node.log());
    }
}

fn nothing_starts_with_a_wrong_pass_phrase(home: &Path) {
    let config = home.join("aegle.toml");
    let refused = command(home, &["node", "--config", config.to_str().unwrap()])
        .env("AEGLE_PASSPHRASE", "what somebody else has chosen")
        .output()
        .unwrap();
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && told.contains("the pass phrase is wrong"), "{told}");
}

/// The engine stops itself when it cannot open its journal; the node is to start again, in the
/// same process.
fn run_out_of_files(node: &mut Node) {
    let pid = Pid::from_child(&node.child);
    let usual = getrlimit(Resource::Nofile);
    let none_more = Rlimit { current: Some(3), ..usual };
    prlimit(Some(pid), Resource::Nofile, none_more).unwrap();
    let log = node.log.clone();
    let again = |_: &mut Child| {
        let told = fs::read_to_string(&log).unwrap();
        told.contains("the node starts again").then_some(())
    };
    node.wait(READY, "failing", again);
    prlimit(Some(pid), Resource::Nofile, usual).unwrap();
}
