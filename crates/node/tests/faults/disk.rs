//! A small disk of a node's own that can be filled up.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The size of the disk.
const SIZE: &str = "size=256m";

/// A file system in memory; it is gone when this is dropped.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Moves a folder to a disk of its own; nothing when the machine does not let us mount one.
    pub(crate) fn under(folder: &Path) -> Option<Self> {
        let aside = folder.with_extension("aside");
        fs::rename(folder, &aside).unwrap();
        fs::create_dir(folder).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "aegle-faults"])
            .arg(folder)
            .output();
        let mounted = mount.is_ok_and(|mount| mount.status.success());
        let source = format!("{}/.", aside.display());
        let copied = Command::new("cp").args(["-a", &source]).arg(folder).status().unwrap();
        assert!(copied.success());
        fs::remove_dir_all(aside).unwrap();
        mounted.then(|| Self(folder.to_owned()))
    }

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let bytes = vec![0; 4096];
        while file.write_all(&bytes).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a node that is being killed may still hold files.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {}", self.0.display());
        }
    }
}
