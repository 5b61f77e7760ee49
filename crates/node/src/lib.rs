//! The node: configuration, wiring, subcommands.
//!
//! A library, so that benchmarks set up and call the same network that the demonstration plays on.

mod backup;
mod backup_lake;
mod card;
mod client;
mod decide;
pub mod demo;
mod erase;
mod files;
mod genesis;
mod governance;
mod init;
mod lake;
mod log;
mod nodes;
mod record;
mod restore;
mod rotate;
mod rules;
mod secrets;
mod seen;
mod segments;
mod serve;
mod settings;
mod setup;
mod status;
mod unlock;
mod upload;
mod verify;

use aegle_secrets::locked;
pub use client::{Client, Opened, Question};

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A node's many short-lived threads leave the system's allocator with up to 170 MB at rest, this one
/// with 100. It asks for small pages: those of 2 MB doubled what a loaded node holds, and clearing
/// them cost a twentieth of its time (BENCHMARKS.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Patients decide who sees which part of their medical record.
#[derive(Parser)]
#[command(name = "aegle", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Backup(backup::Args),
    /// Answer one question about access, without any node
    Decide(decide::Args),
    Demo(demo::Args),
    Genesis(genesis::Args),
    Governance(governance::Args),
    Init(init::Args),
    Lake(lake::Args),
    Ledger(status::Args),
    Log(log::Args),
    Node(serve::Args),
    Record(record::Args),
    Restore(restore::Args),
    Rotate(rotate::Args),
    Rules(rules::Args),
    UploadCredential(upload::credential::Args),
    Uploads(upload::list::Args),
    Verify(verify::Args),
}

/// Runs the command line of `aegle`.
pub fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Decide(args) => return decide::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Genesis(args) => genesis::run(&args),
        Command::Governance(args) => governance::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Lake(args) => lake::run(&args),
        Command::Ledger(args) => status::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Node(args) => {
            log();
            serve::run(&args)
        }
        Command::Record(args) => record::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Rotate(args) => rotate::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::UploadCredential(args) => upload::credential::run(&args),
        Command::Uploads(args) => upload::list::run(&args),
        Command::Verify(args) => return verify::run(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aegle: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What a node writes to standard error; `RUST_LOG` says how much.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,commonware=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
