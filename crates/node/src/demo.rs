//! `aegle demo`: four centres on this machine, the whole story, then a network to play with.

mod expected;
mod nodes;
mod story;
mod tell;

use crate::client::{Client, Question};
use crate::setup::{self, ADMINISTRATOR, PASSPHRASE, Planned};
use aegle_centre::now;
use aegle_ledger::Genesis;
use anyhow::{Context, Result, bail};
use clap::Parser;
use nodes::Nodes;
use serde::Serialize;
use std::path::{Path, PathBuf};
use story::Story;
use tell::Teller;

/// Set up four centres, play the story of one shared record, then serve until Ctrl-C
#[derive(Parser)]
pub struct Args {
    /// An empty folder to set the network up in; a temporary one if not given
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// How many patients the synthetic hospitals have together
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    patients: u32,
    /// The seed of the synthetic hospitals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play the story and exit
    #[arg(long)]
    once: bool,
    /// Print one JSON object instead of telling the story
    #[arg(long)]
    json: bool,
}

/// What the story came to.
#[derive(Serialize)]
struct Report {
    nodes: usize,
    centres: Vec<String>,
    patients: u64,
    rows: u64,
    story: Vec<Step>,
    log_entries: usize,
    log_complete: bool,
    record_ms: Latency,
}

/// One step of the story: what must be, and what is.
#[derive(Serialize)]
struct Step {
    #[serde(rename = "step")]
    name: &'static str,
    expect: String,
    got: String,
}

/// How long one record takes, in milliseconds, asked one at a time.
#[derive(Serialize, Default, Clone, Copy)]
struct Latency {
    n: usize,
    p50: f64,
    p99: f64,
}

/// A network that runs.
struct Stage {
    dir: PathBuf,
    genesis: Genesis,
    synthetic: aegle_synth::Network,
    planned: Vec<Planned>,
    nodes: Nodes,
}

/// A network with one patient at two centres and a doctor at a third who may see everything.
pub struct Rehearsal {
    /// The doctor, signed in.
    pub doctor: Client,
    /// The patient's handle.
    pub handle: String,
    stage: Stage,
    _folder: tempfile::TempDir,
}

impl Rehearsal {
    /// Sets the network up in a temporary folder. The calling program must run a node when it is
    /// called with `node --config FILE`, as `aegle` does.
    pub async fn new(patients: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let args = Args { dir: None, patients, seed: 1, once: true, json: true };
        let mut stage = set_up(&args, folder.path().to_owned(), &Teller::new(true)).await?;
        let (doctor, handle) = story::trusting(&mut stage).await?;
        Ok(Self { doctor, handle, stage, _folder: folder })
    }

    /// The doctor's question for everything at both centres.
    pub fn question(&self) -> Question<'_> {
        story::everything(&self.handle)
    }

    /// The process ids of the nodes.
    pub fn processes(&self) -> Vec<u32> {
        self.stage.nodes.processes()
    }

    /// Stops the nodes.
    pub async fn end(mut self) {
        self.stage.nodes.stop().await;
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (dir, temporary) = folder(args.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let played = runtime.block_on(play(args, dir));
    drop(temporary);
    played
}

/// The folder, and what removes it again if it is temporary.
fn folder(given: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(dir) = given else {
        let temporary = tempfile::Builder::new().prefix("aegle-demo-").tempdir()?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    std::fs::create_dir_all(dir)
        .with_context(|| format!("could not create `{}`", dir.display()))?;
    if std::fs::read_dir(dir)?.next().is_some() {
        bail!("`{}` is not empty; give a new or empty folder", dir.display());
    }
    Ok((dir.canonicalize()?, None))
}

async fn play(args: &Args, dir: PathBuf) -> Result<()> {
    let teller = Teller::new(args.json);
    let mut stage = set_up(args, dir, &teller).await?;
    let report = {
        let interrupted = tokio::signal::ctrl_c();
        tokio::select! {
            report = Story::tell(&mut stage, &teller) => report?,
            _ = interrupted => bail!("interrupted"),
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        teller.summary(&report);
    }
    let failed: Vec<_> = report.story.iter().filter(|step| step.expect != step.got).collect();
    if let Some(step) = failed.first() {
        bail!("step {} failed: expected {}, got {}", step.name, step.expect, step.got);
    }
    if !report.log_complete {
        bail!("step i failed: the access log is not proven complete");
    }
    if !args.once {
        introduce(&stage);
        tokio::signal::ctrl_c().await?;
    }
    stage.nodes.stop().await;
    Ok(())
}

/// Generates the hospitals, plans the nodes, fills the lakes, starts the nodes.
async fn set_up(args: &Args, dir: PathBuf, teller: &Teller) -> Result<Stage> {
    let sources = dir.join("sources");
    teller.working("Making four synthetic hospitals");
    let synthetic = aegle_synth::generate(&sources, args.seed, args.patients as usize)?;
    let codes: Vec<_> = synthetic.centres.iter().map(|centre| centre.code.clone()).collect();
    let (genesis, planned) = setup::network(&dir, &codes, now())?;
    for node in &planned {
        teller.working(&format!("Filling the lake of {}", node.code));
        node.add_administrator()?;
        node.ingest(&sources.join(&node.code))?;
    }
    teller.working("Starting four nodes");
    let nodes = Nodes::start(&planned).await?;
    teller.done(&format!("Four nodes agree: {}", codes.join(", ")));
    Ok(Stage { dir, genesis, synthetic, planned, nodes })
}

/// Where to go and as whom.
fn introduce(stage: &Stage) {
    println!("\nThe network keeps running. Press Ctrl-C to stop it.\n");
    for node in &stage.planned {
        println!(
            "  {:<6} http://{}   documentation: http://{}/docs",
            node.code, node.api, node.api
        );
    }
    println!("\n  Everybody's pass phrase is `{PASSPHRASE}`.");
    println!(
        "  Each centre has the administrator `{ADMINISTRATOR}`; the patient `{}` signs in",
        story::PATIENT
    );
    println!("  at ZMC and FCRB, the doctor `{}` at USTAN.", story::DOCTOR);
    println!("  Everything is in {}", stage.dir.display());
}
