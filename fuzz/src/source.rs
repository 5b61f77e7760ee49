//! A source folder with one file that changes, for the parsers of foreign files.

use std::path::{Path, PathBuf};

/// A source with a catalogue and one data file.
pub struct Folder {
    _folder: tempfile::TempDir,
    root: PathBuf,
    file: PathBuf,
}

impl Folder {
    /// A folder with this catalogue.
    ///
    /// # Panics
    ///
    /// When no temporary folder can be made.
    pub fn new(catalogue: &str, file: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().to_owned();
        std::fs::write(root.join("catalogue.toml"), catalogue).expect("room on the disk");
        Self { file: root.join(file), root, _folder: folder }
    }

    /// Checks the source with this content of its file; a report that never shows it.
    ///
    /// # Panics
    ///
    /// When the disk is full.
    pub fn check(&self, content: &[u8]) -> aegle_lake::CheckReport {
        write(&self.file, content);
        aegle_lake::check(&self.root)
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).expect("room on the disk");
}

/// The catalogue of a source of this type in `data`, with a key and one text column.
pub fn catalogue(kind: &str, file: &str, select: &str, patient: &str, column: &str) -> String {
    format!(
        "centre = \"ZMC\"\nversion = 1\nlanguage = \"en\"\n[tags]\nt = {{ en = \"T\" }}\n\
         [sources.s]\ntype = \"{kind}\"\npath = \"{file}\"\n\
         [tables.one]\nfrom = \"s\"\n{select}\npatient = \"p\"\n[tables.one.columns]\n\
         p = {{ type = \"text\", key = true, path = \"{patient}\" }}\n\
         c = {{ type = \"text\", path = \"{column}\", tags = [\"t\"] }}\n"
    )
}
