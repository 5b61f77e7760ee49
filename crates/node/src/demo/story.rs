//! The story, a step each. Everything goes through the nodes' API, as anybody's program would.

use super::expected::{Columns, Source};
use super::{Latency, Report, Stage, Step, Teller};
use crate::client::{Client, Opened, Question};
use crate::setup::{ADMINISTRATOR, PASSPHRASE};
use aegle_ledger::PatientLog;
use aegle_model::Canonical;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

/// The patient's login.
pub(super) const PATIENT: &str = "patient";
/// The doctor's login at USTAN.
pub(super) const DOCTOR: &str = "doctor";

const HOME: &str = "ZMC";
const OTHER: &str = "FCRB";
const ABROAD: &str = "USTAN";
const PRACTICE: &str = "KHM";
/// How many records are asked for to measure.
const MEASURED: usize = 40;

/// Everybody who plays, signed in.
pub(super) struct Story<'a> {
    stage: &'a mut Stage,
    teller: &'a Teller,
    steps: Vec<Step>,
    handle: String,
    sources: [Source; 2],
    numbers: [String; 2],
    at_home: Client,
    at_other: Client,
    doctor: Client,
    same_department: Client,
    same_number: Client,
}

/// What came back, in one word; or what is wrong with it.
const DENY: &str = "deny";

impl<'a> Story<'a> {
    pub(super) async fn tell(stage: &'a mut Stage, teller: &'a Teller) -> Result<Report> {
        let mut story = Self::cast(stage, teller).await?;
        story.before_any_rule().await.context("step a")?;
        let rule = story.one_tag().await.context("step b")?;
        story.an_overlapping_deny().await.context("step c")?;
        story.strangers_with_the_same_numbers().await.context("step d")?;
        story.the_own_record().await.context("step e")?;
        story.an_emergency().await.context("step f")?;
        story.revoked(&rule).await.context("step g")?;
        story.one_node_dies().await.context("step h")?;
        let record_ms = story.measured().await?;
        let (log_entries, log_complete) = story.the_log().await.context("step i")?;
        let Self { stage, steps, .. } = story;
        Ok(Report {
            nodes: stage.planned.len(),
            centres: stage.planned.iter().map(|node| node.code.clone()).collect(),
            patients: stage
                .synthetic
                .centres
                .iter()
                .map(|centre| centre.patients.len() as u64)
                .sum(),
            rows: stage.synthetic.centres.iter().map(|centre| centre.rows).sum(),
            story: steps,
            log_entries,
            log_complete,
            record_ms,
        })
    }

    /// Enrols and links the patient, hires the staff.
    async fn cast(stage: &'a mut Stage, teller: &'a Teller) -> Result<Self> {
        teller.working("Enrolling the patient at two centres");
        let shared = stage.synthetic.shared.first().context("some patient is shared")?.clone();
        let number = |code: &str| {
            let found = shared.numbers.iter().find(|(centre, _)| centre == code);
            found
                .map(|(_, number)| number.clone())
                .context("the shared patient has numbers at both centres")
        };
        let numbers = [number(HOME)?, number(OTHER)?];
        let handle = enrol(stage, &numbers).await?;
        let doctor = hire(stage, ABROAD, DOCTOR, "207", &["1"]).await?;
        let same_number = hire(stage, ABROAD, "namesake", "1", &["2"]).await?;
        let same_department = hire(stage, PRACTICE, "colleague", "12", &["1"]).await?;
        let source = |code: &str| Source::open(&stage.dir.join("sources").join(code));
        let sources = [source(HOME)?, source(OTHER)?];
        let at_home = client(stage, HOME)?.sign_in(PATIENT, PASSPHRASE).await?;
        let at_other = client(stage, OTHER)?.sign_in(PATIENT, PASSPHRASE).await?;
        teller
            .done("A patient is linked to two centres and holds the handle for the doctor's desk");
        let steps = Vec::new();
        Ok(Self {
            stage,
            teller,
            steps,
            handle,
            sources,
            numbers,
            at_home,
            at_other,
            doctor,
            same_department,
            same_number,
        })
    }

    fn step(&mut self, step: &'static str, told: &str, expect: &str, got: String) {
        if expect == got {
            self.teller.done(&format!("{step}. {told}: {got}"));
        } else {
            self.teller.failed(&format!("{step}. {told}: expected {expect}, got {got}"));
        }
        self.steps.push(Step { name: step, expect: expect.to_owned(), got });
    }

    /// Everything at both centres, asked by a professional.
    fn everything(&self) -> Question<'_> {
        everything(&self.handle)
    }

    /// What `expected` columns of home and other came to.
    fn judge(&self, parts: &[Opened], expected: [Option<&Columns>; 2]) -> Result<String> {
        let mut words = Vec::new();
        for (position, code) in [HOME, OTHER].into_iter().enumerate() {
            let part =
                parts.iter().find(|part| part.centre == code).context("a centre is missing")?;
            let word = match (&part.part, expected[position]) {
                (None, _) => format!("{code} missing"),
                (Some(part), None) if part.tables.is_empty() => continue,
                (Some(_), None) => format!("{code} shows what it must not"),
                (Some(part), Some(columns)) => {
                    let (source, number) = (&self.sources[position], &self.numbers[position]);
                    match source.compare(part, number, columns)? {
                        None => format!("{code} exact"),
                        Some(wrong) => format!("{code} wrong: {wrong}"),
                    }
                }
            };
            words.push(word);
        }
        Ok(if words.is_empty() { DENY.to_owned() } else { words.join(", ") })
    }

    async fn before_any_rule(&mut self) -> Result<()> {
        let parts = self.doctor.record(&self.everything()).await?;
        let mut got = self.judge(&parts, [None, None])?;
        let log = self.at_home.get("/log").await?;
        let entries = log["entries"].as_array().context("the log has entries")?;
        if !entries.iter().any(|entry| entry["event"] == "asked" && entry["decision"] == "deny") {
            got.push_str(", but the refusal is not in the patient's log");
        }
        self.step("a", "Before any rule the doctor asks for everything", DENY, got);
        Ok(())
    }

    async fn one_tag(&mut self) -> Result<String> {
        let rule = grant(&self.at_home, "allow", department(), (HOME, "medication")).await?;
        let columns = self.sources[0].columns(|tags| tags.contains("medication"))?;
        let parts = self.doctor.record(&self.everything()).await?;
        let got = self.judge(&parts, [Some(&columns), None])?;
        self.step("b", "The patient allows the department `medication` at ZMC", "ZMC exact", got);
        Ok(rule)
    }

    async fn an_overlapping_deny(&mut self) -> Result<()> {
        let individual = json!({ "professional": { "centre": ABROAD, "id": "207" } });
        grant(&self.at_home, "deny", individual, (HOME, "treatments")).await?;
        let columns = self.sources[0].columns(medication_without_treatments)?;
        let before = self.sources[0].columns(|tags| tags.contains("medication"))?;
        let parts = self.doctor.record(&self.everything()).await?;
        let mut got = self.judge(&parts, [Some(&columns), None])?;
        if columns == before || columns.is_empty() {
            got.push_str(", but the deny closes nothing, or everything");
        }
        self.step("c", "The patient denies this doctor `treatments`", "ZMC exact", got);
        Ok(())
    }

    async fn strangers_with_the_same_numbers(&mut self) -> Result<()> {
        let mut words = BTreeSet::new();
        for stranger in [&self.same_department, &self.same_number] {
            words.insert(self.judge(&stranger.record(&self.everything()).await?, [None, None])?);
        }
        let got = words.into_iter().collect::<Vec<_>>().join("; ");
        self.step("d", "Department 1 of another centre and staff number 1 ask", DENY, got);
        Ok(())
    }

    async fn the_own_record(&mut self) -> Result<()> {
        let all = [self.sources[0].columns(|_| true)?, self.sources[1].columns(|_| true)?];
        let wishes = vec![(HOME, vec!["all"]), (OTHER, vec!["all"])];
        let parts = self.at_home.record(&Question { wishes, ..Question::default() }).await?;
        let got = self.judge(&parts, [Some(&all[0]), Some(&all[1])])?;
        self.step("e", "The patient reads the own record", "ZMC exact, FCRB exact", got);
        Ok(())
    }

    async fn an_emergency(&mut self) -> Result<()> {
        let all = [self.sources[0].columns(|_| true)?, self.sources[1].columns(|_| true)?];
        let glass = Question {
            purpose: Some("emergency"),
            reason: Some("found unconscious, no relatives reachable"),
            ..self.everything()
        };
        let got = self.judge(&self.doctor.record(&glass).await?, [Some(&all[0]), Some(&all[1])])?;
        self.step("f", "The doctor breaks the glass with a reason", "ZMC exact, FCRB exact", got);
        Ok(())
    }

    async fn revoked(&mut self, rule: &str) -> Result<()> {
        let opened_before = opens_anything(&self.at_home).await?;
        self.at_home.delete(&format!("/rules/{rule}")).await?;
        let mut answers = BTreeSet::new();
        for asking in [&self.doctor, &self.same_department] {
            answers.insert(self.judge(&asking.record(&self.everything()).await?, [None, None])?);
        }
        let mut got = answers.into_iter().collect::<Vec<_>>().join("; ");
        let height = self.at_home.get("/ledger").await?["height"].as_u64().unwrap_or(u64::MAX);
        for position in 0..self.stage.planned.len() {
            if !self.reaches(position, height).await? {
                got = format!("{} does not follow", self.stage.planned[position].code);
            }
        }
        if !opened_before {
            got.push_str(", but the rule opened nothing before");
        }
        if !self.forgotten(rule).await? {
            got.push_str(", but FCRB still lists the rule");
        }
        for (code, node) in [(HOME, &self.at_home), (OTHER, &self.at_other)] {
            if opens_anything(node).await? {
                write!(got, ", but {code} would still open something")?;
            }
        }
        self.step("g", "The patient revokes the rule; every node is asked", DENY, got);
        Ok(())
    }

    /// Whether the patient's other centre no longer lists a rule, now or within half a minute.
    async fn forgotten(&self, rule: &str) -> Result<bool> {
        for _ in 0..300 {
            let left = self.at_other.get("/rules").await?;
            let left = left.as_array().context("the rules are a list")?;
            if left.iter().all(|left| left["id"] != rule) {
                return Ok(true);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Ok(false)
    }

    /// Whether a node has the block at `height`, now or within half a minute.
    async fn reaches(&self, position: usize, height: u64) -> Result<bool> {
        let client = client(self.stage, &self.stage.planned[position].code)?;
        let client = client.sign_in(ADMINISTRATOR, PASSPHRASE).await?;
        for _ in 0..300 {
            if client.get("/ledger").await?["height"].as_u64() >= Some(height) {
                return Ok(true);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Ok(false)
    }

    async fn one_node_dies(&mut self) -> Result<()> {
        let home = self.position(HOME)?;
        self.teller.working("Killing the node of ZMC");
        self.stage.nodes.kill(home).await?;
        for centre in [HOME, OTHER] {
            grant(&self.at_other, "allow", department(), (centre, "medication")).await?;
        }
        // What is denied at ZMC since step c stays denied.
        let columns = [
            self.sources[0].columns(medication_without_treatments)?,
            self.sources[1].columns(|tags| tags.contains("medication"))?,
        ];
        let parts = self.doctor.record(&self.everything()).await?;
        let without = self.judge(&parts, [None, Some(&columns[1])])?;

        self.teller.working("Starting the node of ZMC again");
        let height = self.at_other.get("/ledger").await?["height"].as_u64().unwrap_or(u64::MAX);
        let planned = &self.stage.planned[home];
        self.stage.nodes.revive(home, planned).await?;
        let caught_up = self.reaches(home, height).await?;
        let parts = self.until_answered().await?;
        let with = if caught_up {
            self.judge(&parts, [Some(&columns[0]), Some(&columns[1])])?
        } else {
            "behind".to_owned()
        };
        let got = format!("{without}; again {with}");
        let told = "ZMC dies; rules through FCRB, the doctor asks; ZMC comes back";
        self.step("h", told, "ZMC missing, FCRB exact; again ZMC exact, FCRB exact", got);
        Ok(())
    }

    /// The doctor asks until every centre answers: circuit breakers close only after a while.
    async fn until_answered(&self) -> Result<Vec<Opened>> {
        let mut parts = self.doctor.record(&self.everything()).await?;
        for _ in 0..30 {
            if parts.iter().all(|part| part.part.is_some()) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            parts = self.doctor.record(&self.everything()).await?;
        }
        Ok(parts)
    }

    fn position(&self, code: &str) -> Result<usize> {
        self.stage
            .planned
            .iter()
            .position(|node| node.code == code)
            .context("the centre takes part")
    }

    async fn measured(&self) -> Result<Latency> {
        self.teller.working("Measuring one record at a time");
        let mut times = Vec::with_capacity(MEASURED);
        for _ in 0..MEASURED {
            let started = Instant::now();
            self.doctor.record(&self.everything()).await?;
            times.push(started.elapsed().as_secs_f64() * 1_000.0);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
        Ok(Latency { n: times.len(), p50: at(50), p99: at(99) })
    }

    /// The whole log, checked against the genesis by the offline verifier.
    async fn the_log(&mut self) -> Result<(usize, bool)> {
        let page = self.at_home.get("/log").await?;
        let proof = BASE64.decode(page["proof"].as_str().context("the log has a proof")?)?;
        let log = PatientLog::from_bytes(&proof)?;
        let listed = page["entries"].as_array().context("the log has entries")?;
        let heights = listed.iter().map(|entry| entry["height"].as_u64());
        let same = heights.eq(log.entries.iter().map(|entry| Some(entry.height)));
        let complete = log.verify(&self.stage.genesis).is_ok() && same;
        let got = told(listed);
        let expect = EVENTS.join(" ");
        self.step("i", "The patient reads the log: every step, in order", &expect, got);
        Ok((listed.len(), complete))
    }
}

/// The story as the log must tell it, up to the first answer after ZMC came back: how often the doctor
/// asks for the missing part is not known.
const EVENTS: [&str; 18] = [
    "enrolled",
    "linked",
    "deny",
    "granted",
    "permit",
    "granted",
    "permit",
    "deny",
    "deny",
    "own",
    "emergency",
    "revoked",
    "deny",
    "deny",
    "granted",
    "granted",
    "permit",
    "permit",
];

/// The log in single words, without deliveries, as far as [`EVENTS`] goes.
fn told(entries: &[Value]) -> String {
    let words = entries.iter().filter_map(|entry| match entry["event"].as_str()? {
        "delivered" => None,
        "asked" if entry["opened"]["requester"] == "patient" => Some("own"),
        "asked" if entry["emergency"] == true => Some("emergency"),
        "asked" => entry["decision"].as_str(),
        other => Some(other),
    });
    words.take(EVENTS.len()).collect::<Vec<_>>().join(" ")
}

/// Whether a column is open to the doctor at ZMC from step c on, if a rule allows `medication`.
fn medication_without_treatments(tags: &BTreeSet<&str>) -> bool {
    tags.contains("medication") && !tags.contains("treatments")
}

/// Whether the rules, as the patient's node knows them, open any cell for the doctor.
async fn opens_anything(patient: &Client) -> Result<bool> {
    let doctor = json!({ "centre": ABROAD, "professional": "207", "departments": ["1"] });
    let question = json!({ "requester": doctor, "purpose": "treatment" });
    let preview = patient.post("/rules/preview", &question).await?;
    let centres = preview.as_array().context("a preview is a list")?;
    let mut cells = centres.iter().filter_map(|centre| centre["cells"].as_array()).flatten();
    Ok(cells.any(|cell| cell["open"] != false))
}

/// The department that the story is about.
fn department() -> Value {
    json!({ "department": { "centre": ABROAD, "id": "1" } })
}

/// A professional's question for everything at both centres.
pub(super) fn everything(handle: &str) -> Question<'_> {
    let wishes = vec![(HOME, vec!["all"]), (OTHER, vec!["all"])];
    Question { patient: Some(handle), wishes, ..Question::default() }
}

/// A patient puts a rule about one tag into force and gets its id.
async fn grant(
    at: &Client,
    effect: &str,
    grantee: Value,
    (centre, tag): (&str, &str),
) -> Result<String> {
    let until = Timestamp::now().checked_add(2.hours())?;
    let rule = json!({
        "effect": effect, "grantee": grantee,
        "scope": [{ "centre": centre, "tag": tag }], "until": until.to_string(),
    });
    let made = at.post("/rules", &rule).await?;
    Ok(made["id"].as_str().context("a rule has an id")?.to_owned())
}

/// A patient who lets the doctor's department see `medication` at two centres and `diagnostic` at one;
/// returns the doctor and the handle.
pub(super) async fn trusting(stage: &mut Stage) -> Result<(Client, String)> {
    let silent = Teller::new(true);
    let story = Story::cast(stage, &silent).await?;
    for scope in [(HOME, "medication"), (HOME, "diagnostic"), (OTHER, "medication")] {
        grant(&story.at_home, "allow", department(), scope).await?;
    }
    Ok((story.doctor.clone(), story.handle.clone()))
}

fn client(stage: &Stage, code: &str) -> Result<Client> {
    let node =
        stage.planned.iter().find(|node| node.code == code).context("the centre takes part")?;
    Client::new(&format!("http://{}", node.api))
}

async fn administrator(stage: &Stage, code: &str) -> Result<Client> {
    client(stage, code)?.sign_in(ADMINISTRATOR, PASSPHRASE).await
}

/// The patient is enrolled at home and linked to the other centre; returns the handle.
async fn enrol(stage: &Stage, [home, other]: &[String; 2]) -> Result<String> {
    let person =
        json!({ "number": home, "login": PATIENT, "name": "Patient", "passphrase": PASSPHRASE });
    let enrolled = administrator(stage, HOME).await?.post("/patients", &person).await?;
    let handle =
        enrolled["handle"].as_str().context("an enrolled patient has a handle")?.to_owned();
    let patient = client(stage, HOME)?.sign_in(PATIENT, PASSPHRASE).await?;
    patient.post("/links", &json!({ "centre": OTHER, "speaks": true })).await?;
    let person =
        json!({ "number": other, "login": PATIENT, "name": "Patient", "passphrase": PASSPHRASE });
    administrator(stage, OTHER).await?.post(&format!("/offers/{handle}"), &person).await?;
    Ok(handle)
}

/// Makes a professional with departments and signs in as them.
async fn hire(
    stage: &Stage,
    code: &str,
    login: &str,
    id: &str,
    departments: &[&str],
) -> Result<Client> {
    let administrator = administrator(stage, code).await?;
    let known = administrator.get("/departments").await?;
    for department in departments {
        let listed = known["departments"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["id"] == *department));
        if !listed {
            let made = json!({ "id": department, "name": format!("Department {department}") });
            administrator.post("/departments", &made).await?;
        }
    }
    let person = json!({
        "login": login, "name": login, "id": id, "departments": departments, "passphrase": PASSPHRASE,
    });
    administrator.post("/staff", &person).await?;
    client(stage, code)?.sign_in(login, PASSPHRASE).await
}
