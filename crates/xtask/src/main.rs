//! What developers run: `cargo xtask sim`.

mod sim;

use anyhow::Result;
use clap::Parser;

/// Chores of the project.
#[derive(Parser)]
enum Task {
    /// Simulates whole networks with faults and liars, one per seed.
    Sim(sim::Args),
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Sim(args) => sim::run(&args),
    }
}
