//! What developers run: `cargo xtask sim`, `cargo xtask fuzz`.

mod fuzz;
mod sim;
mod work;

use anyhow::Result;
use clap::Parser;

/// Chores of the project.
#[derive(Parser)]
enum Task {
    /// Simulates whole networks with faults and liars, one per seed.
    Sim(sim::Args),
    /// Fuzzes every parser of foreign bytes.
    Fuzz(fuzz::Args),
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Sim(args) => sim::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
    }
}
