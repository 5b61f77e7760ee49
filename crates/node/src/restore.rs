//! `aegle restore`: makes the ledger's folder from a backup. Everything in it is checked and executed again.
//! The way back of the other backups stands in [`crate::backup_lake`].

use crate::backup_lake;
use crate::secrets::Secrets;
use crate::segments;
use crate::serve::load_genesis;
use crate::settings::Settings;
use aegle_consensus::Restore;
use aegle_progress::{Meter, Unit};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Make the ledger's or the lake's folder from a backup, for a node that does not run
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Check and execute every block, then put the folder in its place
    Ledger {
        /// The folder of the backup
        dir: PathBuf,
        /// The configuration of the node
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Vote on from the backup's last block. ONLY when the whole network begins again: every node
        /// is stopped, and each that lost its folder is restored from the same blocks before any
        /// starts. Else this node may vote twice, and what is final may be contradicted
        #[arg(long)]
        all_stopped: bool,
    },
    /// Check everything, then put the lake's folder in its place; the keys come first
    Lake {
        /// The folder of the backup
        dir: PathBuf,
        /// The configuration of the node
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Put the keys of the lake back, where there are none
    Keys {
        /// The file
        file: PathBuf,
        /// The configuration of the node
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The key file that it was locked with
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
}

/// How long a node that runs may take to take a call.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Args) -> Result<()> {
    if !matches!(args.what, What::Keys { .. }) {
        aegle_progress::can_be_stopped();
    }
    let (What::Ledger { config, .. } | What::Lake { config, .. } | What::Keys { config, .. }) =
        &args.what;
    let settings = Settings::load(config)?;
    let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
    match &args.what {
        What::Ledger { dir, all_stopped, .. } => ledger(dir, *all_stopped, &settings, &secrets),
        What::Lake { dir, .. } => {
            nobody_runs(&settings, false)?;
            backup_lake::restore_lake(dir, &settings, &secrets)
        }
        What::Keys { file, key_file, .. } => {
            nobody_runs(&settings, false)?;
            backup_lake::restore_keys(file, &settings, &secrets, key_file.as_deref())
        }
    }
}

fn ledger(dir: &Path, all_stopped: bool, settings: &Settings, secrets: &Secrets) -> Result<()> {
    let stretches = segments::list(dir)?;
    if stretches.is_empty() {
        bail!("there is no segment in `{}`", dir.display());
    }
    nobody_runs(settings, all_stopped)?;
    let target = Restore {
        dir: settings.data.join("ledger"),
        voted: settings.secrets.with_extension("voted"),
        genesis: load_genesis(&settings.genesis)?,
        key: secrets.node()?,
        votes: all_stopped,
    };
    let total = stretches.len() as u64;
    let mut meter = Meter::new("checking and executing", Unit::Of("segments"), Some(total));
    // The next one is asked for when the one before was executed.
    let blocks = stretches.iter().enumerate().map(|(number, named)| {
        meter.advance(u64::from(number > 0));
        named.blocks()
    });
    let restored = aegle_consensus::restore(&target, blocks);
    drop(meter);
    let tip = restored.with_context(|| format!("could not restore from `{}`", dir.display()))?.tip;
    println!(
        "ledger restored: network {}, blocks 1 to {}, the last one {}",
        tip.network,
        tip.height,
        tip.digest()
    );
    if all_stopped {
        println!(
            "This node votes on from there. Start it when every centre that restored reads the same \
             line above, and no sooner."
        );
    } else {
        println!("This node follows the others and does not vote.");
    }
    Ok(())
}

/// Makes sure that this node does not run, and no other if none may.
fn nobody_runs(settings: &Settings, all_stopped: bool) -> Result<()> {
    let own = settings.ledger.listen;
    drop(TcpListener::bind(own).with_context(|| format!("the node runs at {own}; stop it first"))?);
    for peer in settings.ledger.peers.iter().filter(|_| all_stopped) {
        // Who cannot be found does not run there.
        for address in peer.address.to_socket_addrs().into_iter().flatten() {
            if TcpStream::connect_timeout(&address, ANSWER_WITHIN).is_ok() {
                bail!(
                    "the ledger of {} answers at {address}, so not all are stopped; restore without \
                     `--all-stopped`, and this node follows the others",
                    peer.centre
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said when this node and another centre's listen at these addresses.
    fn told(own: &str, other: &str, all_stopped: bool) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aegle.toml");
        let listen = |service, address| format!("[{service}]\nlisten = \"{address}\"\n");
        let peers = format!("peers = [{{ centre = \"ZMC\", address = \"{other}\" }}]\n");
        let paths = "data = 'data'\ngenesis = 'genesis'\nsecrets = 'secrets'\n";
        let (ledger, peer) = (listen("ledger", own) + &peers, listen("peer", "127.0.0.1:2"));
        let text = format!("{paths}{ledger}{peer}peers = []\n{}", listen("api", "127.0.0.1:3"));
        std::fs::write(&path, text).unwrap();
        nobody_runs(&Settings::load(&path).unwrap(), all_stopped).map_err(|error| error.to_string())
    }

    #[test]
    fn the_network_begins_again_only_when_nobody_answers() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap().to_string();
        assert_eq!(told("127.0.0.1:0", &address, false), Ok(()));
        let runs = told("127.0.0.1:0", &address, true).unwrap_err();
        assert!(runs.contains("the ledger of ZMC answers"), "{runs}");
        let own = told(&address, "127.0.0.1:1", false).unwrap_err();
        assert!(own.contains("stop it first"), "{own}");
        drop(other);
        assert_eq!(told("127.0.0.1:0", &address, true), Ok(()));
    }
}
