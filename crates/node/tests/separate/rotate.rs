//! A centre with data and patients takes new node keys by vote and keeps all it has: one while it runs,
//! another that is killed before the vote takes effect and comes back afterwards.

use crate::centres::{
    ADMINISTRATOR, CODES, Node, READY, aegle, command, fill_in, free_addresses, make_genesis,
    set_up, text,
};
use aegle_node::{Client, Opened, Question};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENT: (&str, &str) = ("patient", "words that only the patient knows");
/// The centre that has data and rotates while it runs, and the one that is away meanwhile.
const ALIVE: usize = 1;
const AWAY: usize = 3;

/// Four centres that run; one has data.
struct Network {
    folder: tempfile::TempDir,
    homes: [PathBuf; 4],
    ports: Vec<Vec<SocketAddr>>,
    nodes: Vec<Node>,
}

#[tokio::test]
async fn a_filled_centre_takes_new_keys_and_keeps_what_it_has() {
    let mut network = Network::start().await;
    let patient = network.enrol().await;
    let before = own_record(&patient).await;
    let tables: usize =
        before.iter().flat_map(|opened| &opened.part).map(|part| part.tables.len()).sum();
    assert!(tables > 0, "the patient has data at the centre");

    let old = network.secrets(ALIVE);
    let proposal = network.propose_new_keys(ALIVE).await;
    assert_eq!(network.secrets(ALIVE), old, "the old keys stay until the members have agreed");
    network.agree(ALIVE, &proposal).await;
    network.new_keys_are_taken(ALIVE).await;
    assert_ne!(network.secrets(ALIVE), old);
    let told = network.nodes[ALIVE].log();
    assert!(told.contains("The members have accepted this node's new key"), "{told}");
    // The token of before is good still, and what was ingested opens still.
    assert_eq!(own_record(&patient).await, before);
    network.votes(ALIVE).await;

    let proposal = network.propose_new_keys(AWAY).await;
    network.agree(AWAY, &proposal).await;
    network.nodes[AWAY].child.kill().unwrap();
    network.nodes[AWAY].child.wait().unwrap();
    network.takes_effect(ALIVE, &proposal).await;
    assert!(network.homes[AWAY].join("secrets.next").exists());
    network.nodes[AWAY] = Node::start(&network.homes[AWAY]);
    network.new_keys_are_taken(AWAY).await;
    network.votes(AWAY).await;

    assert_eq!(own_record(&patient).await, before);
    let words = ["lake", "ingest", "--config", "aegle.toml", "nowhere"];
    let opened = command(&network.homes[ALIVE], &words).current_dir(&network.homes[ALIVE]).output();
    let told = text(&opened.unwrap().stderr);
    assert!(!told.contains("unlock"), "the new secrets open with the old pass phrase: {told}");
    for node in &mut network.nodes {
        let status = node.stop();
        assert!(status.success(), "{status}\n{}", node.log());
    }
}

impl Network {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let homes = CODES.map(|code| set_up(folder.path(), code));
        let genesis = make_genesis(folder.path(), &homes, &["--epoch-blocks", "40"]);
        let ports: Vec<_> = free_addresses(3 * CODES.len()).chunks(3).map(<[_]>::to_vec).collect();
        for (number, home) in homes.iter().enumerate() {
            fs::copy(&genesis, home.join("genesis")).unwrap();
            fill_in(home, number, &ports);
        }
        let synthetic = aegle_synth::generate(&folder.path().join("sources"), 7, 30).unwrap();
        let numbers = synthetic.centres.iter().find(|it| it.code == CODES[ALIVE]).unwrap();
        fs::write(folder.path().join("number"), &numbers.patients[0]).unwrap();
        let source = folder.path().join("sources").join(CODES[ALIVE]);
        let config = homes[ALIVE].join("aegle.toml");
        let words = ["lake", "ingest", "--config", config.to_str().unwrap()];
        let ingested = command(&homes[ALIVE], &words).arg(source).output().unwrap();
        assert!(ingested.status.success(), "{}", text(&ingested.stderr));
        let nodes = homes.iter().map(|home| Node::start(home)).collect();
        let network = Self { folder, homes, ports, nodes };
        for number in 0..CODES.len() {
            network.ready(number).await;
        }
        network
    }

    fn url(&self, number: usize) -> String {
        format!("http://{}", self.ports[number][2])
    }

    async fn ready(&self, number: usize) {
        let client = Client::new(&self.url(number)).unwrap();
        self.until("ready", number, async || client.ready().await.then_some(())).await;
    }

    /// Asks again and again until there is an answer.
    async fn until<T>(
        &self,
        what: &str,
        number: usize,
        mut ask: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            let log = || self.nodes[number].log();
            assert!(began.elapsed() < READY, "{} is not {what}\n{}", CODES[number], log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The administrator of a centre; its node may be starting again.
    async fn admin(&self, number: usize) -> Client {
        let client = Client::new(&self.url(number)).unwrap();
        let sign_in = async || client.sign_in("admin", ADMINISTRATOR).await.ok();
        self.until("ready to sign in", number, sign_in).await
    }

    /// A patient with data at the centre.
    async fn enrol(&self) -> Client {
        let admin = self.admin(ALIVE).await;
        let number = fs::read_to_string(self.folder.path().join("number")).unwrap();
        let (login, passphrase) = PATIENT;
        let patient = json!({
            "number": number, "login": login, "name": "Somebody", "passphrase": passphrase,
        });
        let enrol = async || admin.post("/patients", &patient).await.ok();
        self.until("able to enrol", ALIVE, enrol).await;
        let client = Client::new(&self.url(ALIVE)).unwrap();
        client.sign_in(login, passphrase).await.unwrap()
    }

    fn secrets(&self, number: usize) -> Vec<u8> {
        fs::read(self.homes[number].join("secrets")).unwrap()
    }

    /// `aegle rotate`, twice as after a crash, then `aegle governance propose`; the proposal's id.
    async fn propose_new_keys(&self, number: usize) -> String {
        let home = &self.homes[number];
        let config = home.join("aegle.toml");
        let rotate = || aegle(home, &["rotate", "--config", config.to_str().unwrap()]);
        let (made, again) = (rotate(), rotate());
        assert!(made.status.success(), "{}", text(&made.stderr));
        assert_eq!(text(&made.stdout), text(&again.stdout), "keys are made once");
        let centres = self.admin(number).await.get("/centres").await.unwrap();
        let centre = centres.as_array().unwrap().iter().find(|it| it["code"] == CODES[number]);
        let id = centre.unwrap()["id"].as_str().unwrap();
        let card = home.join("card.next.toml");
        let words = ["governance", "--json", "--login", "admin", "--node", &self.url(number)];
        let address = self.ports[number][0].to_string();
        let more = ["propose", "rotate", id, card.to_str().unwrap(), &address];
        let propose = async || {
            let mut propose = command(home, &[&words[..], &more].concat());
            propose.env("AEGLE_PASSPHRASE", ADMINISTRATOR);
            propose.env("XDG_STATE_HOME", self.folder.path().join("state"));
            let proposed = propose.output().unwrap();
            let answer: Option<Value> = serde_json::from_slice(&proposed.stdout).ok();
            answer.and_then(|answer| Some(answer["id"].as_str()?.to_owned()))
        };
        self.until("able to propose", number, propose).await
    }

    /// Two others agree, which is enough.
    async fn agree(&self, proposer: usize, proposal: &str) {
        for number in (0..CODES.len()).filter(|number| *number != proposer).take(2) {
            let admin = self.admin(number).await;
            let vote = async || {
                let ballot = json!({ "agree": true });
                admin.post(&format!("/governance/{proposal}"), &ballot).await.ok()
            };
            self.until("able to vote", number, vote).await;
        }
    }

    /// Waits until a proposal is done, as a node sees it.
    async fn takes_effect(&self, number: usize, proposal: &str) {
        let done = async || {
            let listed = self.admin(number).await.get("/governance").await.ok()?;
            let mut all = listed.as_array()?.iter();
            let found = all.find(|it| it["id"] == proposal)?;
            (found["stage"] == "done").then_some(())
        };
        self.until("told that the vote took effect", number, done).await;
    }

    async fn new_keys_are_taken(&self, number: usize) {
        let home = &self.homes[number];
        let waiting = |name: &str| home.join(name).exists();
        let taken = async || (!waiting("secrets.next") && !waiting("card.next.toml")).then_some(());
        self.until("running with its new keys", number, taken).await;
        assert_eq!(kept(home), 1, "the old secrets are kept");
        self.ready(number).await;
    }

    /// Waits until the others have counted votes of this centre, and it proposes something.
    async fn votes(&self, number: usize) {
        let other = (number + 1) % CODES.len();
        let counted = async || {
            let status = self.admin(other).await.get("/ledger").await.ok()?;
            let mut members = status["members"].as_array()?.iter();
            let member = members.find(|it| it["centre"] == CODES[number])?;
            (member["signed"].as_u64()? > 0 && member["behind"].is_u64()).then_some(())
        };
        self.until("among those whose votes count", number, counted).await;
        let own = self.admin(number).await.get("/ledger").await.unwrap();
        assert_eq!((&own["votes"], &own["validators"]), (&json!(true), &json!(4)));
    }
}

fn kept(home: &Path) -> usize {
    let names = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("secrets.old-")).count()
}

/// The patient's record of the centre with data; its node may be starting again.
async fn own_record(patient: &Client) -> Vec<Opened> {
    let began = Instant::now();
    loop {
        let wishes = vec![(CODES[ALIVE], vec!["all"])];
        match patient.record(&Question { wishes, ..Question::default() }).await {
            Ok(parts) if parts.iter().all(|opened| opened.part.is_some()) => return parts,
            answered => assert!(began.elapsed() < READY, "{answered:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
