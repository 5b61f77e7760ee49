//! `aegle rotate`: a new node key and certificate for a centre that keeps its lake, its users and its
//! patients' record keys.
//!
//! The new secrets wait beside the old ones, as `secrets.next`, while the members vote. The node runs
//! with the old ones until its own ledger says that the new key is a member's, and takes the new ones
//! then by itself, with the blocks that it has. On disk each step is whole or not done, and doing one
//! again changes nothing: the new secrets first, then the card that names them; when they are accepted
//! the ledger's folder first, then a copy of the old secrets, then the new ones in their place. The new
//! key has never voted before it is accepted, and the old one has no vote afterwards; so starting with
//! either is safe at any time, and only one of them is heard.
//! Absent on purpose: the vote itself (`aegle governance`).

use crate::card;
use crate::files::{self, PRIVATE};
use crate::locked::Key;
use crate::secrets::Secrets;
use crate::serve::load_genesis;
use crate::settings::Settings;
use crate::unlock;
use aegle_consensus::{belongs, rekey};
use aegle_ledger::{Centre, Genesis};
use aegle_model::{Name, PublicKey};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};
use tracing::info;

/// Make new node keys and a card for the members to vote on; the lake and its users stay
#[derive(Parser)]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What people call the centre; taken from its `card.toml` if not given
    #[arg(long)]
    code: Option<Name>,
    /// Take the new keys now, with the node stopped: for one that was away when they were accepted
    /// and is no longer let in with the old ones
    #[arg(long)]
    finish: bool,
}

/// The card of now, and the one that waits.
const CARD: &str = "card.toml";
const CARD_NEXT: &str = "card.next.toml";

/// A node's secrets, and those that wait for the members' vote.
pub(crate) struct Keys {
    pub(crate) now: Secrets,
    pub(crate) next: Option<Secrets>,
    /// What opens both; kept, since new ones may be made while the node runs.
    key: Option<Key>,
}

impl Keys {
    /// Reads both, and ends what a crash interrupted.
    pub(crate) fn load(settings: &Settings) -> Result<Self> {
        let from = |kind| unlock::key(kind, settings.key_file.as_deref());
        let (now, key) = Secrets::unlock(&settings.secrets, from)?;
        let mut keys = Self { now, next: None, key };
        keys.look(settings)?;
        let ledger = settings.data.join("ledger");
        let (_, new) = keys.pair()?;
        if let Some(new) = new
            && belongs(&ledger, &load_genesis(&settings.genesis)?, &new)
        {
            keys.accepted(settings)?;
        }
        Ok(keys)
    }

    /// Looks whether new secrets were made meanwhile, or taken away.
    pub(crate) fn look(&mut self, settings: &Settings) -> Result<()> {
        let waiting = next(&settings.secrets);
        let same = |kind| match &self.key {
            Some(key) if key.kind() == kind => Ok(key.clone()),
            _ => bail!("they are locked in another way than those of now"),
        };
        let exists = waiting.try_exists()?;
        self.next = exists.then(|| Secrets::unlock(&waiting, same)).transpose()?.map(|(it, _)| it);
        Ok(())
    }

    /// The node key of now and the one that waits.
    pub(crate) fn pair(&self) -> Result<(PublicKey, Option<PublicKey>)> {
        let key = |secrets: &Secrets| secrets.node().map(|key| key.public());
        Ok((key(&self.now)?, self.next.as_ref().map(key).transpose()?))
    }

    /// The members have accepted the keys that wait: they are those of now. No engine may run.
    pub(crate) fn accepted(&mut self, settings: &Settings) -> Result<()> {
        let (old, Some(new)) = self.pair()? else { return Ok(()) };
        let genesis: Genesis = load_genesis(&settings.genesis)?;
        rekey(&settings.data.join("ledger"), &genesis, (&old, &new))?;
        let kept = kept(&settings.secrets, &old);
        if !kept.exists() {
            files::write_whole(&kept, &self.now.bytes(self.key.as_ref())?, PRIVATE)?;
        }
        files::rename(&next(&settings.secrets), &settings.secrets)?;
        let folder = folder(&settings.secrets);
        if folder.join(CARD_NEXT).exists() {
            files::rename(&folder.join(CARD_NEXT), &folder.join(CARD))?;
        }
        info!(%new, "The members have accepted this node's new key");
        self.now = self.next.take().context("the new secrets were read")?;
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load(&args.config)?;
    if args.finish { finish(&settings) } else { make(args, &settings) }
}

/// Makes what is not there yet: the secrets, then the card that names them.
fn make(args: &Args, settings: &Settings) -> Result<()> {
    let folder = folder(&settings.secrets);
    let code = match &args.code {
        Some(code) => code.clone(),
        None => card::load(&folder.join(CARD)).context("give the centre's code: `--code`")?.code,
    };
    let mut keys = Keys::load(settings)?;
    if keys.next.is_none() {
        let renewed = keys.now.renewed()?;
        files::write_whole(&next(&settings.secrets), &renewed.bytes(keys.key.as_ref())?, PRIVATE)?;
        keys.next = Some(renewed);
    }
    let renewed = keys.next.context("the new secrets are there")?;
    let (card, path) = (renewed.card(code)?, folder.join(CARD_NEXT));
    if !path.exists() {
        card::save_whole(&path, &card, &renewed.node()?)?;
    }
    tell(&settings.secrets, &card);
    Ok(())
}

fn tell(secrets: &Path, card: &Centre) {
    println!("new key  {}", card.key);
    println!("secrets  {}", next(secrets).display());
    println!("card     {}", folder(secrets).join(CARD_NEXT).display());
    println!(
        "Keep a copy of the new secrets. Then propose the card with `aegle governance propose"
    );
    println!("rotate`; the node takes the new keys by itself when the members' vote takes effect.");
    println!("If they refuse it, remove both files.");
}

fn finish(settings: &Settings) -> Result<()> {
    settings.is_stopped().context("the node seems to run; stop it first")?;
    let mut keys = Keys::load(settings)?;
    let (_, Some(new)) = keys.pair()? else {
        bail!("no new keys wait beside `{}`", settings.secrets.display());
    };
    keys.accepted(settings)?;
    println!("The node starts with the key {new} from now on.");
    Ok(())
}

fn next(secrets: &Path) -> PathBuf {
    secrets.with_extension("next")
}

/// Where the old secrets stay: a ledger that is put back to before the change needs them.
fn kept(secrets: &Path, old: &PublicKey) -> PathBuf {
    secrets.with_extension(format!("old-{}", &old.to_string()[..8]))
}

fn folder(secrets: &Path) -> &Path {
    secrets.parent().unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::tests::sample;
    use aegle_model::{Canonical as _, Timestamp};
    use std::fs;

    /// A centre as `aegle init` leaves it, and its configuration.
    fn centre() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ZMC");
        let key = folder.path().join("key");
        let words = ["init", "--code", "ZMC", "--no-admin", "--key-file", key.to_str().unwrap()];
        let args = crate::init::Args::parse_from(words.into_iter().chain([dir.to_str().unwrap()]));
        crate::init::run(&args).unwrap();
        let mut centres = vec![card::load(&dir.join(CARD)).unwrap(), sample("KHM", 7).0];
        centres.sort_by_key(|centre| centre.key);
        let genesis = Genesis {
            name: Name::new("test").unwrap(),
            time: Timestamp(0),
            policy: aegle_access::Policy { emergency: true },
            epochs: aegle_ledger::Epochs::DEFAULT,
            centres,
        };
        fs::write(dir.join("genesis"), genesis.to_bytes()).unwrap();
        (folder, dir.join("aegle.toml"))
    }

    fn args(config: &Path) -> Args {
        Args { config: config.to_owned(), code: None, finish: false }
    }

    #[test]
    fn new_keys_wait_beside_the_old_ones_and_are_made_once() {
        let (_folder, config) = centre();
        let settings = Settings::load(&config).unwrap();
        let before = fs::read(&settings.secrets).unwrap();
        run(&args(&config)).unwrap();
        assert_eq!(fs::read(&settings.secrets).unwrap(), before);
        let keys = Keys::load(&settings).unwrap();
        let (old, new) = keys.pair().unwrap();
        let waiting = keys.next.as_ref().unwrap();
        assert_ne!(Some(old), new);
        let (now, next) = (keys.now.text().unwrap(), waiting.text().unwrap());
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let changed: Vec<_> = std::iter::zip(lines(&now), lines(&next))
            .filter(|(now, next)| now != next)
            .map(|(now, _)| now.split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(changed, ["node", "tls_key", "tls_certificate"]);
        let card = card::load(&settings.secrets.with_file_name(CARD_NEXT)).unwrap();
        assert_eq!((card.key, card.code.as_str()), (new.unwrap(), "ZMC"));
        // As after a crash between the two files.
        fs::remove_file(settings.secrets.with_file_name(CARD_NEXT)).unwrap();
        run(&args(&config)).unwrap();
        assert_eq!(card::load(&settings.secrets.with_file_name(CARD_NEXT)).unwrap(), card);
    }

    #[test]
    fn wherever_a_crash_interrupts_the_change_the_next_start_ends_it() {
        for crash in 0..4 {
            let (_folder, config) = centre();
            let settings = Settings::load(&config).unwrap();
            run(&args(&config)).unwrap();
            let keys = Keys::load(&settings).unwrap();
            let (old, new) = keys.pair().unwrap();
            let new = new.unwrap();
            let (ledger, genesis) =
                (settings.data.join("ledger"), load_genesis(&settings.genesis).unwrap());
            fs::create_dir_all(&ledger).unwrap();
            let mark = format!("{}\n{old}\n", genesis.hash());
            fs::write(ledger.join("network"), mark).unwrap();
            assert_eq!(Keys::load(&settings).unwrap().pair().unwrap(), (old, Some(new)));
            // The steps of `accepted`, as far as they came.
            if crash > 0 {
                rekey(&ledger, &genesis, (&old, &new)).unwrap();
            }
            if crash > 1 {
                let bytes = keys.now.bytes(keys.key.as_ref()).unwrap();
                files::write_whole(&kept(&settings.secrets, &old), &bytes, PRIVATE).unwrap();
            }
            if crash > 2 {
                files::rename(&next(&settings.secrets), &settings.secrets).unwrap();
            }
            let mut again = Keys::load(&settings).unwrap();
            if crash == 0 {
                // Nothing says yet that it was accepted.
                assert_eq!(again.pair().unwrap(), (old, Some(new)));
                again.accepted(&settings).unwrap();
            }
            assert_eq!(again.pair().unwrap(), (new, None), "crash {crash}");
            assert_eq!(Keys::load(&settings).unwrap().pair().unwrap(), (new, None));
            assert!(belongs(&ledger, &genesis, &new));
            let file = settings.key_file.as_deref();
            let old_ones = Secrets::load(&kept(&settings.secrets, &old), file).unwrap();
            assert_eq!(old_ones.node().unwrap().public(), old);
        }
    }

    #[test]
    fn keys_are_taken_by_hand_only_when_some_wait() {
        let (_folder, config) = centre();
        let finish = Args { finish: true, ..args(&config) };
        let error = run(&finish).unwrap_err().to_string();
        assert!(error.contains("no new keys wait"), "{error}");
        run(&args(&config)).unwrap();
        run(&finish).unwrap();
        let settings = Settings::load(&config).unwrap();
        assert_eq!(Keys::load(&settings).unwrap().pair().unwrap().1, None);
        let card = card::load(&settings.secrets.with_file_name(CARD)).unwrap();
        assert_eq!(card.key, Keys::load(&settings).unwrap().pair().unwrap().0);
    }
}
