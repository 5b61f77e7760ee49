//! The upload area of a node: its settings, its service, and what an operator does with it.

pub(crate) mod credential;
pub(crate) mod list;
mod service;

pub(crate) use service::Service;

use crate::settings::{Settings, Upload};
use aegle_upload::{Area, Limits};
use anyhow::{Context, Result};
use jiff::SignedDuration;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The upload area that a configuration describes.
pub(crate) struct Uploads {
    pub(crate) settings: Upload,
    folder: PathBuf,
    /// Whether it is all that runs here: `[ledger]`, `[peer]` and `[api]` are missing.
    pub(crate) alone: bool,
}

/// A configuration with the upload area only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alone {
    data: PathBuf,
    upload: Upload,
}

impl Uploads {
    /// Reads what the configuration says of uploads; nothing when it says nothing.
    pub(crate) fn load(config: &Path) -> Result<Option<Self>> {
        let read = std::fs::read_to_string(config);
        let text = read
            .with_context(|| format!("could not read the configuration `{}`", config.display()))?;
        let table: toml::Table = toml::from_str(&text)
            .with_context(|| format!("could not use the configuration `{}`", config.display()))?;
        let alone = !["ledger", "peer", "api"].iter().any(|part| table.contains_key(*part));
        if alone && table.contains_key("upload") {
            let Alone { data, upload } = toml::from_str(&text).with_context(|| {
                format!("could not use the configuration `{}`", config.display())
            })?;
            let data = config.parent().unwrap_or(Path::new(".")).join(data);
            return Ok(Some(Self { settings: upload, folder: data.join("uploads"), alone }));
        }
        let Settings { data, upload, .. } = Settings::load(config)?;
        let folder = data.join("uploads");
        Ok(upload.map(|settings| Self { settings, folder, alone: false }))
    }

    /// The upload area that a command is about.
    pub(crate) fn open(config: &Path) -> Result<Area> {
        let uploads = Self::load(config)?;
        let uploads = uploads.context("the configuration has no `[upload]`; add it first")?;
        uploads.area()
    }

    fn area(&self) -> Result<Area> {
        let opened = Area::open(&self.folder);
        opened.with_context(|| format!("could not open `{}`", self.folder.display()))
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(bytes) = self.settings.file_bytes_max {
            limits.file_bytes_max = bytes;
        }
        if let Some(hours) = self.settings.idle_hours {
            limits.idle = SignedDuration::from_hours(i64::from(hours.get()));
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Option<Uploads>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("aegle.toml");
        std::fs::write(&path, text)?;
        Uploads::load(&path)
    }

    const ALONE: &str = "data = 'data'\n[upload]\nlisten = '127.0.0.1:1'\nidle_hours = 2\n";

    #[test]
    fn uploads_may_be_all_that_a_node_serves() {
        let uploads = load(ALONE).unwrap().unwrap();
        assert!(uploads.alone && uploads.folder.ends_with("data/uploads"));
        assert_eq!(uploads.limits().idle, SignedDuration::from_hours(2));
        let half = load(&format!("{ALONE}[api]\nlisten = '127.0.0.1:2'\n")).err().unwrap();
        assert!(format!("{half:#}").contains("missing field"), "{half:#}");
        let strange = load(&format!("{ALONE}more = 1\n")).err().unwrap();
        assert!(format!("{strange:#}").contains("unknown field `more`"), "{strange:#}");
    }
}
