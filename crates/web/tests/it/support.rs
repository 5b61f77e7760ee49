//! Whole networks of centres in one process, and callers of their doors.

use aegle_access::Policy;
use aegle_centre::{Centre, Certificate, Journal, Parts, PeerAddress, Peers, Store, keybox};
use aegle_consensus::{Config, Consensus, Peer, Timing};
use aegle_identity::{Identity, Issuer, NewUser, Role};
use aegle_lake::sealed::{Answer, OpeningKey};
use aegle_lake::{Kek, Lake, Part};
use aegle_ledger::{Epochs, Genesis};
use aegle_model::{CentreId, Name, SigningKey, Timestamp};
use aegle_web::{Limits, Member, TlsListener};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Request, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
const PATIENTS: usize = 40;

/// Centres that run in this process.
pub(crate) struct Network {
    pub(crate) genesis: Genesis,
    pub(crate) nodes: Vec<Node>,
    pub(crate) synthetic: aegle_synth::Network,
    dir: TempDir,
}

/// One centre with its doors.
pub(crate) struct Node {
    pub(crate) code: String,
    pub(crate) centre: Centre,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) peer_address: SocketAddr,
    pub(crate) api: Router,
    pub(crate) consensus: Option<Consensus>,
    config: Config,
    received: Received,
    peers: JoinHandle<()>,
}

/// What other centres sent: who, to which path, what.
type Received = Arc<Mutex<Vec<(CentreId, String, Vec<u8>)>>>;

struct Card {
    code: String,
    key: SigningKey,
    certificate: Certificate,
    seal: Zeroizing<Vec<u8>>,
    member: aegle_ledger::Centre,
    ledger: SocketAddr,
    peer: TcpListener,
}

impl Card {
    fn new(number: u8, code: &str) -> Self {
        let key = SigningKey::from_seed(&[number; 32]);
        let certificate = Certificate::generate().unwrap();
        let (seal, point) = keybox::generate();
        let member = aegle_ledger::Centre {
            id: aegle_ledger::Centre::id_of(&key.public()),
            code: Name::new(code).unwrap(),
            key: key.public(),
            tls: certificate.pin(),
            seal: point,
        };
        let ledger = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { code: code.to_owned(), key, certificate, seal, member, ledger, peer }
    }
}

impl Network {
    /// Starts a centre for each of these codes of the synthetic network, with data.
    pub(crate) async fn start(codes: &[&str]) -> Self {
        let network = Self::silent(codes, codes).await;
        for node in &network.nodes {
            node.arrived().await;
        }
        network
    }

    /// Starts the centres `running` of a network of `codes`, and waits for nothing.
    pub(crate) async fn silent(codes: &[&str], running: &[&str]) -> Self {
        Self::with(codes, running, (Epochs::DEFAULT, Timing::default())).await
    }

    /// The same with epochs of another length, and another pace.
    pub(crate) async fn with(
        codes: &[&str],
        running: &[&str],
        (epochs, timing): (Epochs, Timing),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let synthetic = aegle_synth::generate(&dir.path().join("synth"), 7, PATIENTS).unwrap();
        let mut cards: Vec<_> =
            codes.iter().zip(1..).map(|(code, number)| Card::new(number, code)).collect();
        cards.sort_by_key(|card| card.key.public());
        let genesis = Genesis {
            name: Name::new("test").unwrap(),
            time: Timestamp(0),
            policy: Policy { emergency: true },
            epochs,
            centres: cards.iter().map(|card| card.member.clone()).collect(),
        };
        let addresses = Addresses::of(&cards);
        let mut nodes = Vec::new();
        for card in cards.into_iter().filter(|card| running.contains(&card.code.as_str())) {
            nodes.push(Node::start(card, (&genesis, timing), &addresses, dir.path()).await);
        }
        nodes.sort_by_key(|node| running.iter().position(|code| *code == node.code));
        Self { genesis, nodes, synthetic, dir }
    }

    /// A centre's folder.
    pub(crate) fn home(&self, code: &str) -> PathBuf {
        self.dir.path().join("nodes").join(code)
    }

    /// This patient's number at a centre; patient 0 of ZMC is the one with rows everywhere.
    pub(crate) fn number(&self, code: &str, patient: usize) -> String {
        let hospital = self.synthetic.centres.iter().find(|hospital| hospital.code == code);
        hospital.unwrap().patients[patient].clone()
    }

    /// Waits until every centre knows what any centre knows now: what became final through one
    /// reaches the others a moment later.
    pub(crate) async fn settled(&self) {
        let height = |node: &Node| node.centre.parts().ledger.status().height;
        let newest = self.nodes.iter().map(height).max();
        while self.nodes.iter().map(height).min() < newest {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes {
            if let Some(consensus) = node.consensus {
                consensus.stop().await;
            }
        }
    }
}

async fn engine(config: Config) -> Consensus {
    let started = tokio::task::spawn_blocking(|| aegle_consensus::start(config));
    started.await.unwrap().unwrap()
}

struct Addresses {
    ledger: Vec<Peer>,
    peer: Vec<PeerAddress>,
}

impl Addresses {
    fn of(cards: &[Card]) -> Self {
        let ledger = cards
            .iter()
            .map(|card| Peer { key: card.key.public(), address: card.ledger.to_string() });
        let peer = cards.iter().map(|card| {
            let address = card.peer.local_addr().unwrap().to_string();
            PeerAddress::new(card.member.id, &address).unwrap()
        });
        Self { ledger: ledger.collect(), peer: peer.collect() }
    }
}

impl Node {
    async fn start(
        card: Card,
        (genesis, timing): (&Genesis, Timing),
        addresses: &Addresses,
        dir: &Path,
    ) -> Self {
        let home = dir.join("nodes").join(&card.code);
        std::fs::create_dir_all(&home).unwrap();
        let others = addresses.ledger.iter().filter(|peer| peer.key != card.key.public());
        let config = Config {
            dir: home.join("ledger"),
            voted: home.join("voted"),
            genesis: genesis.clone(),
            key: card.key.clone(),
            listen: card.ledger,
            peers: others.cloned().collect(),
            timing,
        };
        let consensus = engine(config.clone()).await;
        let source = dir.join("synth").join(&card.code);
        let (lake, identity) =
            tokio::task::spawn_blocking(move || (lake(&home, &source), users(&home, &card.member)))
                .await
                .unwrap();
        let centre = Centre::new(Parts {
            genesis: genesis.clone(),
            key: card.key,
            seal: card.seal,
            ledger: consensus.ledger(),
            lake: Arc::new(lake),
            identity: Arc::new(identity),
            peers: Peers::new(&genesis.centres, &card.certificate, &addresses.peer).unwrap(),
            store: Store::open(&dir.join("nodes").join(&card.code).join("centre.db")).unwrap(),
            journal: Journal::open(&dir.join("nodes").join(&card.code).join("emergencies.db"))
                .unwrap(),
        });
        let peer_address = card.peer.local_addr().unwrap();
        card.peer.set_nonblocking(true).unwrap();
        let socket = tokio::net::TcpListener::from_std(card.peer).unwrap();
        let listener = TlsListener::new(socket, &card.certificate, &genesis.centres).unwrap();
        let received = Received::default();
        let record = middleware::from_fn_with_state(Arc::clone(&received), record);
        let calls = aegle_web::peer(centre.clone()).layer(record);
        let peers = tokio::spawn(aegle_web::serve_peers(listener, calls, std::future::pending()));
        let api = aegle_web::api(centre.clone(), Limits::default());
        let certificate = Arc::new(card.certificate);
        let consensus = Some(consensus);
        let code = card.code;
        Self { code, centre, certificate, peer_address, api, consensus, config, received, peers }
    }

    /// The same centre as a process has it that starts now, on the same files and the running ledger.
    pub(crate) fn again(&self, home: &Path) -> Centre {
        let parts = self.centre.parts();
        Centre::new(Parts {
            genesis: parts.genesis.clone(),
            key: parts.key.clone(),
            seal: parts.seal.clone(),
            ledger: parts.ledger.clone(),
            lake: Arc::new(open_lake(home)),
            identity: parts.identity.clone(),
            peers: Peers::new(&parts.genesis.centres, &self.certificate, &[]).unwrap(),
            store: Store::open(&home.join("centre.db")).unwrap(),
            journal: Journal::open(&home.join("emergencies.db")).unwrap(),
        })
    }

    /// Stops the engine: the node votes no more.
    pub(crate) async fn abstain(&mut self) {
        self.consensus.take().unwrap().stop().await;
    }

    /// Starts the engine again: the node votes, for others.
    pub(crate) async fn vote_again(&mut self) {
        self.consensus = Some(engine(self.config.clone()).await);
    }

    /// Waits until the ledger has what this centre brings.
    pub(crate) async fn arrived(&self) {
        while let Err(error) = self.centre.arrive().await {
            eprintln!("not yet: {error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits for a call of this path and tells who sent what.
    pub(crate) async fn received(&self, path: &str) -> (CentreId, Vec<u8>) {
        loop {
            let received = self.received.lock().unwrap().clone();
            if let Some((from, _, body)) = received.into_iter().find(|(_, to, _)| to == path) {
                return (from, body);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Answers no other centre any more.
    pub(crate) fn fall_silent(&self) {
        self.peers.abort();
    }

    /// Calls the API as nobody.
    pub(crate) fn nobody(&self) -> User {
        User { api: self.api.clone(), token: None, name: None, seen: None }
    }

    /// Signs in.
    pub(crate) async fn sign_in(&self, login: &str) -> User {
        let body = json!({ "login": login, "passphrase": PASSPHRASE });
        let reply = self.nobody().post("/api/v1/session", &body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.json);
        let token = reply.json["token"].as_str().unwrap().to_owned();
        User { token: Some(token), ..self.nobody() }
    }

    /// Adds a doctor with a login of the same name, in department 1.
    pub(crate) async fn add_doctor(&self, login: &str, id: &str) -> User {
        let admin = self.sign_in("admin").await;
        let department = json!({ "id": "1", "name": "Oncology" });
        let reply = admin.post("/api/v1/departments", &department).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.json);
        let staff = json!({
            "login": login, "name": "Dr Example", "id": id, "departments": ["1"],
            "passphrase": PASSPHRASE,
        });
        let reply = admin.post("/api/v1/staff", &staff).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.json);
        self.sign_in(login).await
    }

    /// Enrols a patient with a login of this name; the handle and the signed-in patient.
    pub(crate) async fn enrol(&self, login: &str, number: &str) -> (String, User) {
        let patient = json!({
            "number": number, "login": login, "name": "Some Patient", "passphrase": PASSPHRASE,
        });
        let admin = self.sign_in("admin").await;
        let reply = admin.post("/api/v1/patients", &patient).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.json);
        (reply.json["handle"].as_str().unwrap().to_owned(), self.sign_in(login).await)
    }
}

/// Keeps a copy of what other centres send.
async fn record(
    State(received): State<Received>,
    ConnectInfo(from): ConnectInfo<Member>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(parts.version, Version::HTTP_2, "calls share one connection");
    let path = parts.uri.path().to_owned();
    received.lock().unwrap().push((from.centre, path, bytes.to_vec()));
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

fn lake(home: &Path, source: &Path) -> Lake {
    let lake = open_lake(home);
    lake.ingest(source).unwrap();
    lake
}

fn open_lake(home: &Path) -> Lake {
    Lake::open(&home.join("lake"), &Kek::from_array([5; 32])).unwrap()
}

fn users(home: &Path, member: &aegle_ledger::Centre) -> Identity {
    let issuer = Issuer { centre: member.id, name: member.code.to_string() };
    let seed = Zeroizing::new([9; 32]);
    let identity = Identity::open(&home.join("users.db"), issuer, &seed, now()).unwrap();
    for (login, role) in [("admin", Role::Administrator), ("auditor", Role::Auditor)] {
        let new = NewUser { login, name: "Somebody", passphrase: PASSPHRASE, role };
        identity.create_user(&new).unwrap();
    }
    identity
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

/// Somebody who calls the API.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) api: Router,
    pub(crate) token: Option<String>,
    /// What a change is called.
    pub(crate) name: Option<String>,
    /// The height that was seen.
    pub(crate) seen: Option<u64>,
}

/// What the API answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null when the answer is no JSON.
    pub(crate) json: Value,
}

impl User {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None, Body::empty()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, None, Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, Some("application/json"), Body::from(body.to_string())).await
    }

    /// Sends a change under a name.
    pub(crate) async fn change(&self, method: &str, path: &str, name: &str, body: &Value) -> Reply {
        let user = User { name: Some(name.to_owned()), ..self.clone() };
        user.send(method, path, Some("application/json"), Body::from(body.to_string())).await
    }

    /// Sends anything.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(name) = &self.name {
            request = request.header("idempotency-key", name);
        }
        if let Some(height) = self.seen {
            request = request.header("aegle-height", height);
        }
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let caller = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4000)));
        let request = request.extension(caller).body(body).unwrap();
        let response = self.api.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status, headers, text, json }
    }

    /// Asks for a record; adds a one-time key and opens the parts with it.
    pub(crate) async fn read(&self, mut question: Value) -> (Reply, Vec<(String, Option<Part>)>) {
        let key = OpeningKey::generate();
        question["recipient"] = STANDARD.encode(key.recipient()).into();
        let reply = self.post("/api/v1/records", &question).await;
        let mut parts = Vec::new();
        for part in reply.json["parts"].as_array().into_iter().flatten() {
            let answer = Answer {
                request: reply.json["request"].as_str().unwrap().parse().unwrap(),
                receipt: reply.json["receipt"].as_str().unwrap().parse().unwrap(),
            };
            let opened = part["sealed"].as_str().map(|sealed| {
                let sealed = STANDARD.decode(sealed).unwrap();
                Part::from_bytes(&key.open(&answer, &sealed).unwrap()).unwrap()
            });
            parts.push((part["centre"].as_str().unwrap().to_owned(), opened));
        }
        (reply, parts)
    }
}

/// The tables and columns of a part, in order.
pub(crate) fn columns(part: &Part) -> Vec<(String, Vec<String>)> {
    let tables = part.tables.iter().map(|table| {
        (table.name.clone(), table.columns.iter().map(|column| column.name.clone()).collect())
    });
    tables.collect()
}
