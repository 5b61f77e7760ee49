//! What the system counts about processes (Linux `/proc`).

use anyhow::{Context, Result};

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
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib / 1_024.0)
}
