//! A node's configuration: one TOML file, checked once.

use aegle_lake::LakeSettings;
use aegle_web::{Limits, Rate};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// What the file says. Relative paths start at the file's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where ledger, lake and users are kept.
    pub(crate) data: PathBuf,
    /// The network's genesis.
    pub(crate) genesis: PathBuf,
    /// The node's secrets.
    pub(crate) secrets: PathBuf,
    /// What unlocks them, if not a pass phrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
    /// The ledger's sockets.
    pub(crate) ledger: Ledger,
    /// Calls between nodes.
    pub(crate) peer: Peer,
    /// The API for people.
    pub(crate) api: Api,
    /// How the lake is looked after, and where it is.
    #[serde(default)]
    pub(crate) lake: LakeSettings,
    /// The upload area, if the node has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<Upload>,
}

/// Where the consensus engine listens, and where the other validators do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    pub(crate) listen: SocketAddr,
    pub(crate) peers: Vec<Address>,
}

/// Where this node answers other nodes, and where they do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) listen: SocketAddr,
    pub(crate) peers: Vec<Address>,
}

/// Another centre's address.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Address {
    /// The centre's code.
    pub(crate) centre: String,
    /// `host:port`.
    pub(crate) address: String,
}

/// Where people's programs ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    pub(crate) listen: SocketAddr,
    /// How many requests one address may make a second; a proxy that is not trusted needs many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<NonZeroU32>,
    /// How many records a second one person may ask for, of one patient or of many. Without it a
    /// person has what people need (`docs/operate.md`), which a program may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) records_per_second: Option<NonZeroU32>,
    /// Proxies in front of the API, whose `X-Forwarded-For` is believed. Without them all who come
    /// through a proxy count as one, and one who guesses pass phrases shuts out all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trusted_proxies: Vec<IpAddr>,
}

/// Where systems of the centre deliver files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upload {
    pub(crate) listen: SocketAddr,
    /// How many bytes a file may have, whatever its credential says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file_bytes_max: Option<u64>,
    /// How many hours an unfinished upload may lie without a byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idle_hours: Option<NonZeroU32>,
}

impl Api {
    /// How much clients may do.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits =
            Limits { trusted_proxies: self.trusted_proxies.clone(), ..Limits::default() };
        if let Some(rate) = self.requests_per_second {
            (limits.per_second, limits.burst) = (rate, rate);
        }
        if let Some(rate) = self.records_per_second {
            (limits.record, limits.records) = (Rate::per_second(rate), Rate::per_second(rate));
        }
        limits
    }
}

impl Settings {
    /// Makes sure that the node of these settings does not run: then it holds the address that the
    /// others speak to.
    pub(crate) fn is_stopped(&self) -> io::Result<()> {
        TcpListener::bind(self.ledger.listen).map(drop)
    }

    /// Reads and checks the file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let read = std::fs::read_to_string(path);
        let text =
            read.with_context(|| format!("could not read the configuration `{}`", path.display()))?;
        let parsed: Result<Self, _> = toml::from_str(&text);
        let mut settings = parsed
            .with_context(|| format!("could not use the configuration `{}`", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for place in [&mut settings.data, &mut settings.genesis, &mut settings.secrets] {
            *place = folder.join(&*place);
        }
        settings.key_file = settings.key_file.map(|place| folder.join(place));
        settings.lake.resolve(folder);
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        self.lake.check()?;
        let mut listens = vec![self.ledger.listen, self.peer.listen, self.api.listen];
        listens.extend(self.upload.as_ref().map(|upload| upload.listen));
        for (position, address) in listens.iter().enumerate() {
            if address.port() != 0 && listens[..position].contains(address) {
                bail!("two services listen at {address}; give each its own port");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        data = "data"
        genesis = "../genesis"
        secrets = "secrets.toml"
        [ledger]
        listen = "127.0.0.1:1"
        peers = [{ centre = "ZMC", address = "127.0.0.1:9" }]
        [peer]
        listen = "127.0.0.1:2"
        peers = []
        [api]
        listen = "127.0.0.1:3"
    "#;

    fn load(text: &str) -> Result<Settings> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("aegle.toml");
        std::fs::write(&path, text)?;
        Settings::load(&path)
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let settings = load(GOOD).unwrap();
        assert!(settings.data.is_absolute() && settings.data.ends_with("data"));
    }

    #[test]
    fn trusted_proxies_reach_the_limits() {
        let limits = |more: &str| load(&format!("{GOOD}{more}")).unwrap().api.limits();
        assert!(limits("").trusted_proxies.is_empty());
        let set = limits("trusted_proxies = ['10.0.0.1', '2001:db8::1']\nrequests_per_second = 7");
        assert_eq!(
            set.trusted_proxies,
            ["10.0.0.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
        assert_eq!((set.per_second.get(), set.burst.get()), (7, 7));
        let more = limits("records_per_second = 4").record;
        assert_eq!((more.burst.get(), more.every.as_millis()), (4, 250));
    }

    #[test]
    fn a_lake_at_servers_has_its_password_elsewhere() {
        let lake = "[lake]\nmetadata = 'postgres://aegle@db.example/zmc'\nkeks = 'lake.keks'";
        let settings = load(&format!("{GOOD}{lake}")).unwrap();
        assert!(settings.lake.keks.unwrap().is_absolute());
        let open = lake.replace("aegle@", "aegle:secret@");
        let error = load(&format!("{GOOD}{open}")).unwrap_err().to_string();
        assert!(error.contains("password_file"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        let shared = load(&GOOD.replace("127.0.0.1:3", "127.0.0.1:2")).unwrap_err();
        assert!(shared.to_string().contains("two services listen at 127.0.0.1:2"));
        let unknown = load(&GOOD.replace("[api]", "[portal]")).unwrap_err();
        assert!(format!("{unknown:#}").contains("portal"));
        let name = load(&format!("{GOOD}trusted_proxies = ['proxy.example']")).unwrap_err();
        assert!(format!("{name:#}").contains("trusted_proxies = ['proxy.example']"), "{name:#}");
    }
}
