//! Runs every fuzz target of `fuzz/` for a while, from the seeds that stand beside it.
//!
//! The targets are built as cargo-fuzz builds them, with the coverage that libFuzzer steers by, but
//! without a sanitizer: no crate of ours has unsafe code, and so a stable compiler is enough. It needs a
//! C++ compiler. `cargo fuzz` runs the same targets with one.

use crate::work::{self, Program};
use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

/// What counts which edges of a program were taken.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";
/// Where what is built and found goes.
const FOLDER: &str = "target/fuzz";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these targets.
    targets: Vec<String>,
    /// For how many seconds each runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How many to run at the same time; without it one per core.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let built = build()?;
    for name in &args.targets {
        let known = || built.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
        ensure!(
            built.iter().any(|it| it.name == *name),
            "no target `{name}`; there are {}",
            known()
        );
    }
    let wanted = |target: &Program| args.targets.is_empty() || args.targets.contains(&target.name);
    let left = Mutex::new(built.into_iter().filter(wanted));
    let failed = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let next = left.lock().expect("no worker panics").next();
            let Some(target) = next else { return Ok(()) };
            if !holds(&target, args.seconds)? {
                failed.lock().expect("no worker panics").push(target.name);
            }
        }
    };
    work::side_by_side(args.jobs, worker)?;
    let failed = failed.into_inner().expect("no worker panics");
    ensure!(failed.is_empty(), "these targets failed: {}", failed.join(", "));
    Ok(())
}

/// Builds all targets.
fn build() -> Result<Vec<Program>> {
    let mut command = work::cargo();
    command.args(["build", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml"]);
    // With a target named, what runs while building is built without coverage.
    command.args(["--target", &host()?, "--target-dir", FOLDER]);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} {COVERAGE}"));
    work::build(command, "the fuzz targets")
}

/// The machine that this runs on, as the compiler calls it.
fn host() -> Result<String> {
    let told = Command::new("rustc").arg("-vV").output().context("could not start rustc")?;
    let told = String::from_utf8(told.stdout).context("rustc speaks UTF-8")?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// Whether a target withstands what libFuzzer thinks of.
fn holds(target: &Program, seconds: u32) -> Result<bool> {
    let Program { name, path } = target;
    let corpus = folder(name, "corpus")?;
    let found = folder(name, "found")?;
    let mut command = Command::new(path);
    command.arg(format!("-max_total_time={seconds}")).args(["-timeout=20", "-rss_limit_mb=2048"]);
    command.args(["-print_final_stats=1", "-verbosity=0"]);
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.arg(corpus).arg(Path::new("fuzz/seeds").join(name));
    let output = command.output().with_context(|| format!("could not start `{name}`"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let units = told.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    if output.status.success() {
        let Some(units) = units else { bail!("`{name}` ran nothing:\n{told}") };
        println!("{name}: {} inputs, {seconds} s", units.trim());
        return Ok(true);
    }
    println!("{name} failed; what it failed with is in {}:\n{told}", found.display());
    Ok(false)
}

fn folder(name: &str, what: &str) -> Result<PathBuf> {
    let folder = Path::new(FOLDER).join(what).join(name);
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    Ok(folder)
}
