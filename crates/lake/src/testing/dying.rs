//! Work that is killed at one of its steps: in a process of its own, without any way to tidy up.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = "AEGLE_LAKE_TEST_FOLDER";
const STEP: &str = "AEGLE_LAKE_TEST_STEP";

/// In the process that is to die: the folder of its world, and at which step.
pub(crate) fn told() -> Option<(PathBuf, usize)> {
    let folder = std::env::var_os(FOLDER)?;
    Some((folder.into(), std::env::var(STEP).unwrap().parse().unwrap()))
}

/// Counts steps, and dies at this one.
pub(crate) fn at<T>(fatal: usize) -> impl FnMut(&T) {
    let mut step = 0;
    move |_| {
        if step == fatal {
            std::process::abort();
        }
        step += 1;
    }
}

/// Whether an ignored test, in a process of its own, died at a step. It ends well when its work has none
/// so late.
pub(crate) fn dies(test: &str, folder: &Path, step: usize) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored"]).env(FOLDER, folder).env(STEP, step.to_string());
    let ended = command.output().unwrap();
    let died = ended.status.signal().is_some();
    assert!(died || ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    died
}
