//! `aegle verify`: checks a receipt, a log or a backup of the ledger against a genesis file, without any node.
//!
//! Who checks trusts the genesis file and this program, nobody else. Exit codes: 0 for a proof that
//! holds, 1 for a cheat, by its name in `docs/formats.md` ("What a cheat is called"), 2 when there is
//! nothing to check. Absent on purpose: network, clock, keys; nothing sealed is opened.

use crate::segments::{self, Named, Unread};
use crate::serve::load_genesis;
use aegle_ledger::{
    Body, ChainCheck, ChainError, CheckedChain, Genesis, Header, LogError, Outcome, PatientLog,
    Receipt, ReceiptError, Transaction, VerifiedReceipt,
};
use aegle_model::{Bits, Canonical, Malformed, Timestamp};
use aegle_progress::{Meter, Unit};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check a receipt, a log or a backup of the ledger offline, from the network's genesis alone
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Subcommand)]
enum Proof {
    /// That a transaction was decided and committed, and with which outcome
    Receipt(Source),
    /// That a patient's log is complete: nothing missing, added or changed
    Log(Source),
    /// That a backup of the ledger is the network's history: every vote, link, signature and decision
    Chain(Folder),
}

#[derive(clap::Args)]
struct Folder {
    /// The folder that `aegle backup ledger` wrote
    dir: PathBuf,
    /// The genesis of the network, from a place that you trust
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Source {
    /// The proof, as bytes or in base 64; `-` reads standard input
    file: PathBuf,
    /// The genesis of the network
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The largest file that is read: a log of some 100,000 entries.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The exit code for a cheat.
const CHEAT: u8 = 1;
/// The exit code when there is nothing to check.
const UNREADABLE: u8 = 2;

/// A proof that holds.
#[derive(Serialize)]
struct Held {
    network: String,
    /// Of the proven block.
    height: u64,
    /// That block's time, RFC 3339 in UTC.
    time: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Receipt {
        transaction: &'static str,
        #[serde(flatten)]
        ended: Ended,
        /// What names the receipt: 32 bytes in hex.
        receipt: String,
    },
    Log {
        entries: usize,
    },
    Chain {
        transactions: u64,
        /// The digest of the last header: 32 bytes in hex.
        block: String,
    },
}

/// How the transaction ended.
#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Ended {
    Done,
    /// Of the cells asked for, so many were granted.
    Decided {
        granted: usize,
        asked: usize,
    },
    Rejected {
        reason: String,
    },
}

/// A proof that does not hold.
#[derive(Debug, PartialEq, Serialize)]
struct Cheat {
    cheat: &'static str,
    why: String,
}

/// What a program is told.
#[derive(Serialize)]
struct Verdict<'a, T> {
    holds: bool,
    #[serde(flatten)]
    found: &'a T,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let told = match &args.proof {
        Proof::Receipt(source) => source.check(check_receipt),
        Proof::Log(source) => source.check(check_log),
        Proof::Chain(folder) => folder.check(),
    };
    told.unwrap_or_else(|error| {
        eprintln!("aegle: {error:#}");
        ExitCode::from(UNREADABLE)
    })
}

impl Source {
    fn check(&self, check: fn(&[u8], &Genesis) -> Result<Held, Cheat>) -> Result<ExitCode> {
        let (bytes, genesis) = self.load()?;
        let found = decoded(bytes).and_then(|bytes| check(&bytes, &genesis));
        tell(&found, self.json)
    }

    fn load(&self) -> Result<(Vec<u8>, Genesis)> {
        let genesis = trusted(&self.genesis)?;
        let bytes = read(&self.file)
            .with_context(|| format!("could not read the proof `{}`", self.file.display()))?;
        Ok((bytes, genesis))
    }
}

impl Folder {
    fn check(&self) -> Result<ExitCode> {
        let genesis = trusted(&self.genesis)?;
        let segments = segments::list(&self.dir)?;
        if segments.is_empty() {
            bail!("there is no segment in `{}`", self.dir.display());
        }
        tell(&check_chain(&segments, &genesis)?, self.json)
    }
}

/// Whether the segments are a chain; an error when they cannot be read.
fn check_chain(segments: &[Named], genesis: &Genesis) -> Result<Result<Held, Cheat>> {
    let mut check = ChainCheck::new(genesis);
    let total = segments.len() as u64;
    let mut meter = Meter::new("checking", Unit::Of("segments"), Some(total));
    for segment in segments {
        let blocks = match segment.blocks() {
            Ok(blocks) => blocks,
            Err(Unread::Segment { path, source }) => {
                let (name, cheat) = (source.cheat(), anyhow::Error::new(source));
                return Ok(Err(Cheat::new(name, cheat.context(path.display().to_string()))));
            }
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = check.take(&blocks) {
            return Ok(Err(error.into()));
        }
        meter.advance(1);
    }
    Ok(check.finish().map_err(Cheat::from).map(|CheckedChain { tip, transactions }| {
        Held::new(&tip, Content::Chain { transactions, block: tip.digest().to_string() })
    }))
}

fn trusted(genesis: &Path) -> Result<Genesis> {
    load_genesis(genesis)
        .with_context(|| format!("could not check against the genesis `{}`", genesis.display()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file)?)
    };
    let mut bytes = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("it is larger than {FILE_BYTES_MAX} bytes");
    }
    Ok(bytes)
}

/// The bytes themselves, or those that stand there in base 64. The two cannot be confused: every
/// proof holds a header, and in a header are zeros.
fn decoded(mut bytes: Vec<u8>) -> Result<Vec<u8>, Cheat> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    if !bytes.iter().all(|byte| letter(byte) || byte.is_ascii_whitespace()) {
        return Ok(bytes);
    }
    bytes.retain(letter);
    BASE64.decode(bytes).map_err(|error| Cheat {
        cheat: "malformed",
        why: format!("could not decode the base 64: {error}"),
    })
}

fn check_receipt(bytes: &[u8], genesis: &Genesis) -> Result<Held, Cheat> {
    let verified = Receipt::from_bytes(bytes)?.verify(genesis)?;
    let Receipt { anchor, transaction, .. } = verified.receipt();
    let (ended, receipt) = (Ended::new(&verified), verified.hash().to_string());
    let content = Content::Receipt { transaction: kind(transaction), ended, receipt };
    Ok(Held::new(&anchor.header, content))
}

fn check_log(bytes: &[u8], genesis: &Genesis) -> Result<Held, Cheat> {
    let verified = PatientLog::from_bytes(bytes)?.verify(genesis)?;
    let PatientLog { entries, anchor, .. } = verified.log();
    Ok(Held::new(&anchor.header, Content::Log { entries: entries.len() }))
}

/// The kind of a transaction, in the words of `docs/formats.md`.
fn kind(transaction: &Transaction) -> &'static str {
    match transaction.body() {
        Body::Publish(_) => "publish",
        Body::Enrol(_) => "enrol",
        Body::Link(_) => "link",
        Body::Grant(_) => "grant",
        Body::Revoke(_) => "revoke",
        Body::Disclose(_) => "disclose",
        Body::Deliver(_) => "deliver",
        Body::Restore(_) => "restore",
        Body::Late(_) => "late",
        Body::Propose(_) => "propose",
        Body::Vote(_) => "vote",
        Body::Erase(_) => "erase",
    }
}

impl Held {
    fn new(header: &Header, content: Content) -> Self {
        let (network, time) = (header.network.to_string(), time(header.time));
        Self { network, height: header.height, time, content }
    }
}

/// RFC 3339 in UTC. Instants after the year 9999 are written as its end.
fn time(time: Timestamp) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).to_string()
}

impl Ended {
    fn new(verified: &VerifiedReceipt) -> Self {
        if let Some((disclose, decision)) = verified.decided() {
            let granted = decision.granted.iter().map(Bits::len).sum();
            let asked = disclose.question.parts.iter().map(|part| part.cells().len()).sum();
            return Self::Decided { granted, asked };
        }
        match &verified.receipt().outcome {
            Outcome::Rejected(reason) => Self::Rejected { reason: reason.to_string() },
            Outcome::Done | Outcome::Decided(_) => Self::Done,
        }
    }
}

impl From<Malformed> for Cheat {
    fn from(error: Malformed) -> Self {
        Self::new("malformed", error)
    }
}

impl From<ReceiptError> for Cheat {
    fn from(error: ReceiptError) -> Self {
        Self::new(error.cheat(), error)
    }
}

impl From<ChainError> for Cheat {
    fn from(error: ChainError) -> Self {
        Self::new(error.cheat(), error)
    }
}

impl From<LogError> for Cheat {
    fn from(error: LogError) -> Self {
        Self::new(error.cheat(), error)
    }
}

impl Cheat {
    fn new(cheat: &'static str, error: impl Into<anyhow::Error>) -> Self {
        Self { cheat, why: format!("{:#}", error.into()) }
    }
}

fn tell(found: &Result<Held, Cheat>, json: bool) -> Result<ExitCode> {
    let (code, line) = match (found, json) {
        (Ok(held), false) => (ExitCode::SUCCESS, held.to_string()),
        (Ok(held), true) => (ExitCode::SUCCESS, verdict(true, held)?),
        (Err(cheat), true) => (ExitCode::from(CHEAT), verdict(false, cheat)?),
        (Err(cheat), false) => {
            eprintln!("{}: {}", cheat.cheat, cheat.why);
            return Ok(ExitCode::from(CHEAT));
        }
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("could not write the result")?;
    Ok(code)
}

fn verdict(holds: bool, found: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(&Verdict { holds, found })?)
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, height, time, content } = self;
        match content {
            Content::Receipt { transaction, ended, receipt } => write!(
                f,
                "receipt holds: network {network}, height {height}, {time}, {transaction}, \
                 {ended}, receipt {receipt}"
            ),
            Content::Chain { transactions, block } => write!(
                f,
                "chain holds: network {network}, blocks 1 to {height}, {time}, {transactions} \
                 transactions, last block {block}"
            ),
            Content::Log { entries } => write!(
                f,
                "log holds: network {network}, {entries} entries, complete as of height {height}, \
                 {time}"
            ),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Decided { granted, asked } => {
                write!(f, "decided: {granted} of {asked} cells granted")
            }
            Self::Rejected { reason } => write!(f, "rejected: {reason}"),
        }
    }
}
