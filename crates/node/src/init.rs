//! `aegle init`: a centre's keys, card, configuration and first administrator.

use crate::card;
use crate::files::{self, PUBLIC};
use crate::locked::Key;
use crate::secrets::Secrets;
use crate::serve::open_identity;
use crate::settings::Settings;
use crate::unlock::{self, PASSPHRASE};
use aegle_identity::{NewUser, Role};
use aegle_ledger::Centre;
use aegle_model::Name;
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Make the keys, the card and the configuration of one centre
#[derive(Parser)]
pub(crate) struct Args {
    /// What people call the centre, such as ZMC
    #[arg(long)]
    code: Name,
    /// Lock the secrets with the 32 bytes in this file instead of a pass phrase; made if missing
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Make no administrator
    #[arg(long)]
    no_admin: bool,
    /// Where the node will live
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// The first user of every centre, and where the pass phrase comes from without a terminal.
const ADMINISTRATOR: &str = "admin";
const ADMINISTRATOR_PASSPHRASE: &str = "AEGLE_ADMIN_PASSPHRASE";

const SECRETS: &str = "secrets";
const CARD: &str = "card.toml";
const CONFIG: &str = "aegle.toml";

pub(crate) fn run(args: &Args) -> Result<()> {
    // Everything that can be wrong about the question is found before anything is written.
    refuse_used(&args.dir)?;
    let administrator = if args.no_admin {
        None
    } else {
        Some(unlock::chosen(ADMINISTRATOR_PASSPHRASE, "Pass phrase of the login `admin`")?)
    };
    let key = choose_key(args.key_file.as_deref())?;
    let made = make(args, &key, administrator);
    let centre = made.with_context(|| {
        format!(
            "could not set up `{}`; remove `{SECRETS}`, `{CARD}`, `{CONFIG}` and `data` from it \
             and start again",
            args.dir.display()
        )
    })?;
    tell(args, &centre);
    Ok(())
}

fn refuse_used(dir: &Path) -> Result<()> {
    for name in [SECRETS, "secrets.toml", CARD, CONFIG, "data"] {
        let path = dir.join(name);
        if path.exists() {
            bail!("there is a node already: `{}` exists; give another folder", path.display());
        }
    }
    Ok(())
}

fn choose_key(file: Option<&Path>) -> Result<Key> {
    Ok(match file {
        Some(path) => Key::File(unlock::chosen_key_file(path)?),
        None => Key::Passphrase(unlock::chosen(PASSPHRASE, "Pass phrase of the node")?),
    })
}

fn make(args: &Args, key: &Key, administrator: Option<Zeroizing<String>>) -> Result<Centre> {
    make_folder(&args.dir.join("data"))?;
    let secrets = Secrets::generate()?;
    secrets.save_locked(&args.dir.join(SECRETS), key)?;
    let centre = secrets.card(args.code.clone())?;
    card::save(&args.dir.join(CARD), &centre, &secrets.node()?)?;
    let config = args.dir.join(CONFIG);
    files::write_new(&config, config_text(args)?.as_bytes(), PUBLIC)?;
    if let Some(passphrase) = administrator {
        let identity = open_identity(&Settings::load(&config)?, &secrets, &centre)?;
        let (login, name, role) = (ADMINISTRATOR, "Administrator", Role::Administrator);
        identity.create_user(&NewUser { login, name, passphrase: &passphrase, role })?;
    }
    Ok(centre)
}

/// A folder that only its owner may look into.
fn make_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("could not create the folder `{}`", path.display()))
}

/// The configuration, in which a person fills in the other centres.
fn config_text(args: &Args) -> Result<String> {
    let unlocking = match &args.key_file {
        Some(path) => {
            let path = path.canonicalize()?;
            let path = path.to_str().context("the key file's path is not UTF-8")?;
            format!("key_file = {}", toml::Value::from(path))
        }
        None => format!("# They are locked with a pass phrase: {PASSPHRASE}, or the terminal."),
    };
    let template = include_str!("init.toml");
    Ok(template.replace("{code}", args.code.as_str()).replace("{unlocking}", &unlocking))
}

fn tell(args: &Args, centre: &Centre) {
    println!("centre   {}  {}", centre.id, centre.code);
    println!("folder   {}", args.dir.display());
    println!("Send `{CARD}` to the other centres and tell them the centre's id by another way.");
    println!("Keep a copy of `{SECRETS}` and, apart from it, of what unlocks it.");
    println!("Then fill in `{CONFIG}`.");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path) -> Args {
        let key_file = Some(dir.join("key"));
        Args { code: Name::new("ZMC").unwrap(), key_file, no_admin: true, dir: dir.join("node") }
    }

    #[test]
    fn a_centre_is_set_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path());
        run(&args).unwrap();
        let settings = Settings::load(&args.dir.join(CONFIG)).unwrap();
        let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref()).unwrap();
        let card = card::load(&args.dir.join(CARD)).unwrap();
        assert_eq!(secrets.card(args.code.clone()).unwrap(), card);
        let again = run(&args).unwrap_err().to_string();
        assert!(again.contains("there is a node already"), "{again}");
    }

    #[test]
    fn the_examples_in_the_configuration_are_right() {
        let folder = tempfile::tempdir().unwrap();
        let args = Args { key_file: None, ..args(folder.path()) };
        let text = config_text(&args).unwrap().replace("    # {", "    {");
        let text = text.replace("# trusted_proxies", "trusted_proxies");
        let text = text.replace("# [upload]", "[upload]").replace("# listen", "listen");
        let text = text.replace("# idle_hours", "idle_hours");
        let path = folder.path().join(CONFIG);
        std::fs::write(&path, text).unwrap();
        let settings = Settings::load(&path).unwrap();
        assert_eq!((settings.ledger.peers.len(), settings.peer.peers.len()), (1, 1));
        assert_eq!(settings.upload.unwrap().listen.port(), 7404);
    }
}
