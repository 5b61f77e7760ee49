//! Clients that change rules and ask for records all the time, and note what they were told is done.

use aegle_lake::sealed::OpeningKey;
use aegle_node::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The logins and the pass phrase of the demonstration's patient and doctor.
const PATIENT: &str = "patient";
const DOCTOR: &str = "doctor";
const PASSPHRASE: &str = "correct horse battery staple";
/// How long a client waits after it was answered with an error.
const PAUSE: Duration = Duration::from_millis(200);

/// What clients were told is done, by its id.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Rules that are in force.
    pub(crate) rules: BTreeSet<String>,
    /// Requests for a record that were decided.
    pub(crate) requests: BTreeSet<String>,
}

/// Clients at work.
pub(crate) struct Load {
    told: Arc<Mutex<Told>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// A client of the patient at each of these nodes, and of the doctor at this one.
    pub(crate) async fn start(patients: &[SocketAddr], doctor: SocketAddr) -> Self {
        let (told, stop) = (Arc::<Mutex<Told>>::default(), Arc::<AtomicBool>::default());
        let at = |node: &SocketAddr| Client::new(&format!("http://{node}")).unwrap();
        let signed = at(&patients[0]).sign_in(PATIENT, PASSPHRASE).await.unwrap();
        let me = signed.get("/me").await.unwrap();
        let handle = me["handle"].as_str().unwrap().to_owned();
        let grants = patients.iter().map(|node| (at(node), PATIENT, "/rules", rule()));
        let asks = (at(&doctor), DOCTOR, "/records", question(&handle));
        let clients = grants.chain([asks]).map(|(client, login, path, body)| {
            let (told, stop) = (told.clone(), stop.clone());
            tokio::spawn(work(client, login, (path, body), told, stop))
        });
        Self { clients: clients.collect(), told, stop }
    }

    /// How many rules and how many requests the clients were told of.
    pub(crate) fn count(&self) -> (usize, usize) {
        let told = self.told.lock().unwrap();
        (told.rules.len(), told.requests.len())
    }

    /// Waits until the clients were told of `more` rules and as many requests.
    pub(crate) async fn goes_on(&self, more: usize, within: Duration, when: &str) {
        let (before, began) = (self.count(), Instant::now());
        loop {
            let now = self.count();
            if now.0 >= before.0 + more && now.1 >= before.1 + more {
                break;
            }
            assert!(began.elapsed() < within, "{before:?} are not much less than {now:?} {when}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = began.elapsed().as_secs_f32();
        println!("{when}: {more} rules and {more} records more in {took:.1} s");
    }

    /// Stops the clients; returns all that they were told of.
    pub(crate) async fn stop(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

fn rule() -> Value {
    json!({
        "effect": "allow",
        "grantee": { "organisation": { "centre": "USTAN" } },
        "scope": [{ "centre": "ZMC", "tag": "medication" }],
    })
}

fn question(handle: &str) -> Value {
    let recipient = BASE64.encode(OpeningKey::generate().recipient());
    json!({ "patient": handle, "purpose": "treatment", "recipient": recipient })
}

/// Posts the same again and again, and notes what came of it.
async fn work(
    anonymous: Client,
    login: &str,
    (path, body): (&str, Value),
    told: Arc<Mutex<Told>>,
    stop: Arc<AtomicBool>,
) {
    let mut signed = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(client) = &signed else {
            signed = anonymous.sign_in(login, PASSPHRASE).await.ok();
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if let Ok(answer) = client.post(path, &body).await {
            // A rule that is only kept until the ledger can be reached is not in force.
            let mut told = told.lock().unwrap();
            let new = match (&answer["request"], &answer["status"]) {
                (Value::String(request), _) => told.requests.insert(request.clone()),
                (_, status) if status == "in_force" => {
                    told.rules.insert(answer["id"].as_str().unwrap().to_owned())
                }
                _ => true,
            };
            assert!(new, "two of one id");
        } else {
            // The node is down or does not know the session any more.
            signed = None;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
