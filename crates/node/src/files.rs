//! Files that are written once and never over another one.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whoever has an account on the machine may read it.
pub(crate) const PUBLIC: u32 = 0o644;
/// Its owner only.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a file that does not exist yet, down to the disk.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.with_context(|| format!("could not create `{}`", path.display()))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.with_context(|| format!("could not write `{}`", path.display()))?;
    // Without this a crash may forget the file's name.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("could not write the folder `{}`", folder.display()))
}
