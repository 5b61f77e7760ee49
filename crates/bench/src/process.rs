//! What the system counts about processes (Linux `/proc`).

use anyhow::{Context, Result};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Kernel ticks a second; the same on every Linux that people use.
const TICKS_PER_S: f64 = 100.0;

/// CPU time of a process so far, user and system, in milliseconds.
pub(crate) fn cpu_ms(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may hold spaces; the fields after it do not.
    let fields = stat.rsplit_once(')').context("no process name")?.1;
    let field = |number: usize| -> Result<f64> {
        Ok(fields.split_whitespace().nth(number).context("too few fields")?.parse()?)
    };
    Ok((field(11)? + field(12)?) * 1_000.0 / TICKS_PER_S)
}

/// Resident memory of a process in MiB.
pub(crate) fn rss_mib(process: u32) -> Result<f64> {
    status_mib(process, "VmRSS:")
}

/// The most resident memory that a process ever had, in MiB.
pub(crate) fn peak_mib(process: u32) -> Result<f64> {
    status_mib(process, "VmHWM:")
}

fn status_mib(process: u32, name: &'static str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
    let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib / 1_024.0)
}

/// What lies below a folder, in whole blocks of the file system.
pub(crate) fn disk_bytes(folder: &Path) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.metadata()?;
        bytes += if file.is_dir() { disk_bytes(&entry.path())? } else { on_disk(&file) };
    }
    Ok(bytes)
}

/// `st_blocks` counts in 512 bytes whatever the file system's own blocks are.
#[expect(clippy::cast_precision_loss, reason = "files are far below 2^52 bytes")]
fn on_disk(file: &Metadata) -> f64 {
    (file.blocks() * 512) as f64
}
