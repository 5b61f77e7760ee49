//! Setting up a network of nodes on one machine: keys, cards, genesis, configurations.

use crate::secrets::Secrets;
use crate::serve::{open_identity, open_lake};
use crate::settings::{Address, Api, Ledger, Peer, Settings};
use aegle_access::Policy;
use aegle_identity::{NewUser, Role};
use aegle_lake::{IngestReport, LakeSettings};
use aegle_ledger::{Epochs, Genesis};
use aegle_model::{Canonical, Name, Timestamp};
use anyhow::{Context, Result};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// One node of the network, ready to start.
pub(crate) struct Planned {
    pub(crate) code: String,
    pub(crate) config: PathBuf,
    pub(crate) api: SocketAddr,
    secrets: Secrets,
    settings: Settings,
    card: aegle_ledger::Centre,
}

/// The pass phrase of every user that the demonstration makes, and their logins.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
/// The administrator of every centre of the demonstration.
pub(crate) const ADMINISTRATOR: &str = "admin";

/// Plans a network of these centres in `dir`: writes keys, genesis and configurations.
pub(crate) fn network(
    dir: &Path,
    codes: &[String],
    at: Timestamp,
) -> Result<(Genesis, Vec<Planned>)> {
    fs::create_dir_all(dir).with_context(|| format!("could not create `{}`", dir.display()))?;
    let ports = free_addresses(codes.len() * 3)?;
    let mut nodes = Vec::new();
    for (code, own) in codes.iter().zip(ports.chunks_exact(3)) {
        nodes.push(plan(dir, code, own, codes, &ports)?);
    }
    let mut centres: Vec<_> = nodes.iter().map(|node| node.card.clone()).collect();
    centres.sort_by_key(|centre| centre.key);
    let policy = Policy { emergency: true };
    let (name, epochs) = (Name::new("demonstration")?, Epochs::DEFAULT);
    let genesis = Genesis { name, time: at, policy, epochs, centres };
    genesis.check()?;
    fs::write(dir.join("genesis"), genesis.to_bytes())?;
    Ok((genesis, nodes))
}

fn plan(
    dir: &Path,
    code: &str,
    own: &[SocketAddr],
    codes: &[String],
    ports: &[SocketAddr],
) -> Result<Planned> {
    let home = dir.join(code);
    fs::create_dir_all(home.join("data"))?;
    let secrets = Secrets::generate()?;
    secrets.save(&home.join("secrets.toml"))?;
    let others = |service: usize| {
        let all = codes.iter().zip(ports.chunks_exact(3));
        let others = all.filter(|(other, _)| *other != code);
        others
            .map(|(other, at)| Address { centre: other.clone(), address: at[service].to_string() })
            .collect()
    };
    let mut settings = Settings {
        data: "data".into(),
        genesis: "../genesis".into(),
        secrets: "secrets.toml".into(),
        key_file: None,
        ledger: Ledger { listen: own[0], peers: others(0) },
        peer: Peer { listen: own[1], peers: others(1) },
        // All who play share one address.
        api: Api {
            listen: own[2],
            requests_per_second: NonZeroU32::new(10_000),
            records_per_second: NonZeroU32::new(10_000),
            trusted_proxies: Vec::new(),
        },
        lake: LakeSettings::default(),
        upload: None,
    };
    let config = home.join("aegle.toml");
    fs::write(&config, toml::to_string(&settings)?)?;
    settings.data = home.join("data");
    let card = secrets.card(Name::new(code)?)?;
    Ok(Planned { code: code.to_owned(), config, api: own[2], secrets, settings, card })
}

impl Planned {
    /// Makes the centre's first administrator; everybody else is made through the API.
    pub(crate) fn add_administrator(&self) -> Result<()> {
        let identity = open_identity(&self.settings, &self.secrets, &self.card)?;
        let (login, name, passphrase) = (ADMINISTRATOR, "Administrator", PASSPHRASE);
        identity.create_user(&NewUser { login, name, passphrase, role: Role::Administrator })?;
        Ok(())
    }

    /// Brings the centre's source into its lake.
    pub(crate) fn ingest(&self, source: &Path) -> Result<IngestReport> {
        Ok(open_lake(&self.settings, &self.secrets)?.ingest(source)?)
    }
}

/// Addresses on this machine that nobody listens at now.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}
