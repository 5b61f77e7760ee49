//! `aegle lake erase`, and how a running node tells the ledger of what was erased.
//!
//! The command works on the lake by itself, whether the node runs or not. The node finds what was
//! erased, tells the ledger, and keeps the receipts in a folder.

use crate::files::{self, PRIVATE};
use crate::secrets::Secrets;
use crate::serve::open_lake;
use crate::settings::Settings;
use aegle_centre::{Centre, ErasureReceipt, chain};
use aegle_lake::{EraseStep, Erasure, Lake, RotationStep};
use aegle_model::{Canonical, Hash};
use aegle_progress::{Meter, Unit};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::warn;

/// Destroy the keys to everything that this centre holds of a patient, for good
#[derive(Parser)]
pub(crate) struct Args {
    /// The patient's handle, or the centre's own number exactly as the source writes it
    patient: String,
    /// The configuration of the node, which may run or not
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// How often the lake is asked for erasures that the ledger does not know.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the command waits for the running node to tell the ledger.
const TOLD_WITHIN: Duration = Duration::from_mins(1);

pub(crate) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load(&args.config)?;
    let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
    let lake = open_lake(&settings, &secrets)?;
    let subject = lake.subject(&args.patient)?;
    let linked = if subject.is_linked() { "; the ledger will be told" } else { "" };
    println!("{} rows of one patient in {} batches{linked}", subject.rows, subject.extents);
    if !args.yes && !confirmed(&args.patient)? {
        bail!("nothing was erased");
    }
    let mut teller = Teller::default();
    let erasure = lake.erase(&subject, &mut |step| teller.step(step))?;
    drop(teller);
    println!("erased: nothing of it can be read since key epoch {}", erasure.epoch);
    if erasure.patient.is_some() {
        println!("{}", ledger(&lake, &settings, erasure.number)?);
    }
    println!(
        "Backups of the lake made before this can be read by nobody once every older backup of its \
         keys is destroyed. Destroy those, and back up lake and keys anew."
    );
    Ok(())
}

fn confirmed(patient: &str) -> Result<bool> {
    print!("Nobody can undo this. Type the same handle or number again to erase: ");
    io::stdout().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("could not ask; give --yes")?;
    Ok(line.trim_end_matches(['\r', '\n']) == patient)
}

/// Says how far an erasure is, or a rotation of keys, on the error output.
#[derive(Default)]
pub(crate) struct Teller {
    wrapping: Option<Meter>,
    wrapped: u64,
}

impl Teller {
    fn step(&mut self, step: &EraseStep) {
        match step {
            EraseStep::Begun => eprintln!("the patient's keys are deleted"),
            EraseStep::Forgotten => eprintln!("the index knows of nothing"),
            EraseStep::Rotation(step) => self.rotation(step),
            EraseStep::Done => eprintln!("done"),
        }
    }

    pub(crate) fn rotation(&mut self, step: &RotationStep) {
        match step {
            RotationStep::Created(epoch) => eprintln!("key epoch {epoch} is made"),
            RotationStep::Current { keys } => {
                eprintln!("whatever is wrapped from now on is under it");
                self.wrapping = Some(Meter::new("wrapping", Unit::Of("keys"), Some(*keys)));
            }
            RotationStep::Rewrapped(keys) => {
                let more = keys - self.wrapped;
                self.wrapping.iter_mut().for_each(|meter| meter.advance(more));
                self.wrapped = *keys;
            }
            RotationStep::Destroyed => {
                self.wrapping = None;
                eprintln!("{} keys are under it; the key before is destroyed", self.wrapped);
            }
        }
    }
}

/// What became of telling the ledger.
fn ledger(lake: &Lake, settings: &Settings, number: i64) -> Result<String> {
    let later = "the node tells the ledger when it runs and a quorum is there".to_owned();
    if settings.is_stopped().is_ok() {
        return Ok(later);
    }
    let began = Instant::now();
    while began.elapsed() < TOLD_WITHIN {
        let ours = |erasure: &Erasure| erasure.number == number;
        let told = lake.erasures()?.into_iter().find(ours).and_then(|erasure| erasure.told);
        if let Some(transaction) = told {
            let receipt = receipt(&folder(settings), transaction);
            return Ok(if receipt.exists() {
                format!("the ledger was told; the receipt is `{}`", receipt.display())
            } else {
                "the ledger does not know the patient at this centre; it was not told".to_owned()
            });
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(later)
}

/// Where receipts of erasures are kept.
pub(crate) fn folder(settings: &Settings) -> PathBuf {
    settings.data.join("erasures")
}

fn receipt(folder: &Path, transaction: Hash) -> PathBuf {
    folder.join(format!("{transaction}.receipt"))
}

fn keep(folder: &Path, kept: &ErasureReceipt) -> io::Result<()> {
    let path = receipt(folder, kept.transaction);
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    // Whole or not at all, for its presence says that it is there.
    let beside = path.with_extension("partial");
    let _ = std::fs::remove_file(&beside);
    files::write_new(&beside, &kept.receipt.to_bytes(), PRIVATE).map_err(io::Error::other)?;
    std::fs::rename(&beside, &path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Tells the ledger what is erased beside the running node, and was before.
pub(crate) async fn tell(centre: Centre, folder: PathBuf) {
    let mut said = String::new();
    loop {
        if let Err(error) = centre.tell_erasures(|receipt| keep(&folder, receipt)).await {
            let error = chain(&error);
            if error != said {
                warn!(error, "An erasure is not on the ledger yet");
                said = error;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
