//! Where the lake is, and what opens it: the same file and the same secrets as the node's.

use aegle_lake::{Kek, Lake, LakeSettings};
use aegle_secrets::unlock;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// What of the node's configuration matters here. Relative paths start at the file's folder.
#[derive(Deserialize)]
pub struct Config {
    data: PathBuf,
    secrets: PathBuf,
    key_file: Option<PathBuf>,
    #[serde(default)]
    lake: LakeSettings,
}

/// What of the node's secrets matters here.
#[derive(Deserialize, Zeroize)]
#[zeroize(drop)]
struct Secrets {
    kek: String,
}

impl Config {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self> {
        let read = std::fs::read_to_string(path);
        let text =
            read.with_context(|| format!("could not read the configuration `{}`", path.display()))?;
        let parsed: Result<Self, _> = toml::from_str(&text);
        let mut config = parsed
            .with_context(|| format!("could not use the configuration `{}`", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for place in [&mut config.data, &mut config.secrets] {
            *place = folder.join(&*place);
        }
        config.key_file = config.key_file.map(|place| folder.join(place));
        config.lake.resolve(folder);
        config.lake.check()?;
        Ok(config)
    }

    /// The folder of this machine for the lake, where the tables are.
    pub fn lake(&self) -> PathBuf {
        self.data.join("lake")
    }

    /// Opens the lake with the node's secrets.
    pub fn open_lake(&self) -> Result<Lake> {
        Ok(self.lake.open(&self.lake(), &self.kek()?)?)
    }

    /// The lake's key-encryption key.
    fn kek(&self) -> Result<Kek> {
        let from = |kind| unlock::key(kind, self.key_file.as_deref());
        let (plain, _) = aegle_secrets::open(&self.secrets, from)?;
        let kek = || {
            let secrets: Secrets = toml::from_str(std::str::from_utf8(&plain).ok()?).ok()?;
            let mut bytes = Zeroizing::new([0; 32]);
            hex::decode_to_slice(&secrets.kek, &mut *bytes).ok()?;
            Some(Kek::from_array(*bytes))
        };
        // None rather than the parser's message, which would quote the line.
        kek().with_context(|| format!("`{}` is not a file of node secrets", self.secrets.display()))
    }
}
