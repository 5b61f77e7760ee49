//! A node's configuration: one TOML file, checked once.

use aegle_lake::{Bucket, Place, PostgresAt};
use aegle_web::{Limits, Rate};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

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
    pub(crate) lake: Lake,
    /// The upload area, if the node has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<Upload>,
}

/// How a running node looks after its lake, and the servers that hold it, if it is not in a folder of
/// `data`; several nodes of one centre may share them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Lake {
    /// How long after a scrub the next one begins; 0 for none.
    pub(crate) scrub_hours: u32,
    /// How much a scrub reads in a second.
    pub(crate) scrub_mib_per_second: NonZeroU32,
    /// Index and wrapped keys: `postgres://user@host/database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<String>,
    /// The file with the password, if not `PGPASSWORD` or `PGPASSFILE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// Objects: `s3://bucket/prefix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) objects: Option<String>,
    /// Where the object store is, if not at Amazon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// The file with `access_key_id` and `secret_access_key`, if not `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_key_file: Option<PathBuf>,
    /// The sealed file with the key-encryption keys, if not `lake.keks` in `data`. All nodes that
    /// share the lake need the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keks: Option<PathBuf>,
}

/// What an access key file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessKey {
    access_key_id: String,
    secret_access_key: String,
}

/// How a running node looks after its lake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upkeep {
    /// How long after a scrub the next one begins; 0 for none.
    pub(crate) scrub_hours: u32,
    /// How much a scrub reads in a second.
    pub(crate) scrub_mib_per_second: NonZeroU32,
}

impl Default for Lake {
    fn default() -> Self {
        Self {
            scrub_hours: 24,
            scrub_mib_per_second: const { NonZeroU32::new(4).expect("not zero") },
            metadata: None,
            password_file: None,
            objects: None,
            endpoint: None,
            region: None,
            access_key_file: None,
            keks: None,
        }
    }
}

impl Lake {
    /// How the lake is looked after.
    pub(crate) const fn upkeep(&self) -> Upkeep {
        let Self { scrub_hours, scrub_mib_per_second, .. } = *self;
        Upkeep { scrub_hours, scrub_mib_per_second }
    }

    fn check(&self) -> Result<()> {
        if let Some(url) = &self.metadata {
            let has_password = url.split_once("://").is_none_or(|(_, rest)| {
                let user = rest.split_once('@').map_or("", |(user, _)| user);
                user.contains(':') || rest.contains("password=")
            });
            if has_password {
                bail!(
                    "`metadata` of the lake has to be `postgres://user@host/database`, without a \
                     password: put that into a file and name it in `password_file`"
                );
            }
        }
        Ok(())
    }

    /// Where the lake of a node is whose own folder for it is this.
    pub(crate) fn place(&self, folder: PathBuf) -> Result<Place> {
        let mut place = Place::folder(folder);
        if let Some(url) = &self.metadata {
            let password = self.password_file.as_deref().map(read).transpose()?;
            let password = password.as_ref().map(|text| text.trim_end_matches(['\n', '\r']));
            place.metadata = Some(PostgresAt::new(url, password)?);
        }
        if let Some(url) = &self.objects {
            let access_key = self.access_key_file.as_deref().map(|path| {
                let read = toml::from_str::<AccessKey>(&read(path)?);
                // The cause would show the line, and with it the secret.
                let key = read.ok().with_context(|| {
                    format!(
                        "`{}` is no access key; it has two lines, `access_key_id = \"…\"` and \
                         `secret_access_key = \"…\"`",
                        path.display()
                    )
                })?;
                anyhow::Ok((key.access_key_id, Zeroizing::new(key.secret_access_key)))
            });
            place.objects = Some(Bucket {
                url: url.clone(),
                endpoint: self.endpoint.clone(),
                region: self.region.clone(),
                access_key: access_key.transpose()?,
            });
        }
        Ok(place)
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    text.with_context(|| format!("could not read `{}`", path.display()))
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
        let Lake { password_file, access_key_file, keks, .. } = &mut settings.lake;
        for place in [&mut settings.key_file, password_file, access_key_file, keks] {
            *place = place.take().map(|place| folder.join(place));
        }
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
    fn a_lake_is_in_a_folder_or_at_servers() {
        let folder = || PathBuf::from("data/lake");
        let place = load(GOOD).unwrap().lake.place(folder()).unwrap();
        assert!(place.metadata.is_none() && place.objects.is_none());
        let servers = "[lake]\nmetadata = 'postgres://aegle@db.example/zmc'
            objects = 's3://zmc/lake'\nendpoint = 'https://s3.example'\nkeks = 'shared/lake.keks'";
        let lake = load(&format!("{GOOD}{servers}")).unwrap().lake;
        assert!(lake.keks.as_ref().unwrap().is_absolute());
        let place = lake.place(folder()).unwrap();
        assert_eq!(format!("{:?}", place.metadata.unwrap()), "PostgresAt(db.example:5432)");
        assert_eq!(place.objects.unwrap().url, "s3://zmc/lake");
        for secret in ["aegle:secret@db.example/zmc", "aegle@db.example/zmc?password=secret"] {
            let url = format!("{GOOD}[lake]\nmetadata = 'postgres://{secret}'");
            let error = load(&url).unwrap_err().to_string();
            assert!(error.contains("password_file") && !error.contains("secret"), "{error}");
        }
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), "access_key_id = 'id'\nsecret = 'hidden'").unwrap();
        let lake = Lake { access_key_file: Some(key.path().to_owned()), ..lake };
        let error = format!("{:#}", lake.place(folder()).unwrap_err());
        assert!(error.contains("is no access key") && !error.contains("hidden"), "{error}");
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
