//! Files that are written once and never over another one.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
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
    sync_folder(path)
}

/// Writes a file that does not exist yet, whole or not at all, whatever happens meanwhile.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || -> Result<()> {
        let permissions = Permissions::from_mode(mode);
        let mut new =
            tempfile::Builder::new().permissions(permissions).tempfile_in(folder(path))?;
        new.write_all(bytes)?;
        new.as_file().sync_all()?;
        new.persist_noclobber(path)?;
        Ok(())
    };
    write().with_context(|| format!("could not write `{}`", path.display()))?;
    sync_folder(path)
}

/// Gives a file another name, over whatever has it, down to the disk.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    let renamed = std::fs::rename(from, to);
    renamed
        .with_context(|| format!("could not rename `{}` to `{}`", from.display(), to.display()))?;
    sync_folder(to)
}

/// Without this a crash may forget the file's name.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = folder(path);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("could not write the folder `{}`", folder.display()))
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}
