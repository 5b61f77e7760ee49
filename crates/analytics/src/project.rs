//! A project: its name, its folders, and the fewest patients that a group of an answer may have.
//!
//! The tables lie in `analytics/NAME` of the lake's folder, where an erasure removes them. What is kept
//! about the project lies in `projects/NAME`, where none does: `k` and the journal.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The fewest patients of a group, when nobody says otherwise.
pub const K_DEFAULT: u32 = 10;

/// A project of a lake, whether or not it was made.
#[derive(Debug, Clone)]
pub struct Project {
    place: aegle_lake::Project,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    k: u32,
}

impl Project {
    /// The project with this name in the lake in a folder.
    pub fn new(lake: &Path, name: &str) -> Result<Self> {
        Ok(Self { place: aegle_lake::Project::new(lake, name)? })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.place.name()
    }

    /// The folder of the tables.
    pub fn tables(&self) -> &Path {
        self.place.tables()
    }

    /// The file that the journal is in.
    pub fn journal(&self) -> PathBuf {
        self.place.folder().join("journal.jsonl")
    }

    /// The fewest patients of a group; none when the project was never made.
    pub fn k(&self) -> Result<Option<u32>> {
        let path = self.settings();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("could not read `{}`", path.display()))?,
        };
        let settings: Settings = serde_json::from_str(&text)
            .with_context(|| format!("`{}` holds no settings of a project", path.display()))?;
        if settings.k < 2 {
            bail!("`{}` says k = {}; it is 2 or more", path.display(), settings.k);
        }
        Ok(Some(settings.k))
    }

    /// Keeps the fewest patients of a group. The folder must be there.
    pub fn keep_k(&self, k: u32) -> Result<()> {
        let (path, new) = (self.settings(), self.place.folder().join("project.new"));
        let keep = || -> std::io::Result<()> {
            fs::write(&new, serde_json::to_vec(&Settings { k })?)?;
            fs::File::open(&new)?.sync_all()?;
            fs::rename(&new, &path)
        };
        keep().with_context(|| format!("could not write `{}`", path.display()))
    }

    fn settings(&self) -> PathBuf {
        self.place.folder().join("project.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_is_kept_and_never_too_small() {
        let lake = tempfile::tempdir().unwrap();
        let project = Project::new(lake.path(), "study").unwrap();
        assert_eq!(project.k().unwrap(), None);
        fs::create_dir_all(lake.path().join("projects/study")).unwrap();
        project.keep_k(12).unwrap();
        assert_eq!(project.k().unwrap(), Some(12));
        for text in ["{\"k\":1}", "{\"k\":-4}", "{}", "", "{\"k\":12,\"all\":true}"] {
            fs::write(project.settings(), text).unwrap();
            assert!(project.k().is_err(), "{text}");
        }
    }
}
