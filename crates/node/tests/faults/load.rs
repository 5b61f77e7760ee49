//! Clients that change rules all the time and note what they were told is in force.

use aegle_node::Client;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The login and pass phrase of the demonstration's patient.
const PATIENT: (&str, &str) = ("patient", "correct horse battery staple");

/// Clients at work.
pub(crate) struct Load {
    told: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// A client of the patient at each of these nodes.
    pub(crate) fn start(nodes: &[SocketAddr]) -> Self {
        let (told, stop) = (Arc::<Mutex<BTreeSet<_>>>::default(), Arc::<AtomicBool>::default());
        let client = |node: &SocketAddr| tokio::spawn(work(*node, told.clone(), stop.clone()));
        let clients = nodes.iter().map(client).collect();
        Self { told, stop, clients }
    }

    /// How many rules the clients were told are in force.
    pub(crate) fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// Waits until the clients were told of `more` rules.
    pub(crate) async fn goes_on(&self, more: usize, within: Duration, when: &str) {
        let (wanted, began) = (self.count() + more, Instant::now());
        while self.count() < wanted {
            assert!(began.elapsed() < within, "no rule comes into force {when}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{when}: {more} rules more in {:.1} s", began.elapsed().as_secs_f32());
    }

    /// Stops the clients; returns the ids of all rules that they were told are in force.
    pub(crate) async fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

async fn work(node: SocketAddr, told: Arc<Mutex<BTreeSet<String>>>, stop: Arc<AtomicBool>) {
    let anonymous = Client::new(&format!("http://{node}")).unwrap();
    let rule = json!({
        "effect": "allow",
        "grantee": { "organisation": { "centre": "USTAN" } },
        "scope": [{ "centre": "ZMC", "tag": "medication" }],
    });
    let mut signed = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(client) = &signed else {
            signed = anonymous.sign_in(PATIENT.0, PATIENT.1).await.ok();
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        if let Ok(answer) = client.post("/rules", &rule).await {
            let id = answer["id"].as_str().unwrap().to_owned();
            assert!(told.lock().unwrap().insert(id), "two rules with one id");
        } else {
            // The node is down or does not know the session any more.
            signed = None;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
