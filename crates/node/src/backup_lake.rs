//! `aegle backup lake`, `aegle backup keys` and their way back.
//!
//! The two are apart on purpose: the backup of a lake is noise without the keys of its epoch, and a
//! rotation, which every erasure brings, makes it noise for ever, if no backup of the older keys is left.

use crate::backup::reachable;
use crate::client::Client;
use crate::files::{self, PRIVATE};
use crate::locked::{self, Key, Kind, Locked};
use crate::secrets::Secrets;
use crate::serve::{self, load_genesis, open_lake};
use crate::settings::Settings;
use crate::unlock;
use aegle_lake::{BackupStep, Keks as _, RestoreStep};
use aegle_progress::{Meter, Unit};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The pass phrase of a backup of keys comes from here when nobody is at a terminal.
const PASSPHRASE: &str = "AEGLE_BACKUP_PASSPHRASE";
const PROMPT: &str = "Pass phrase of the backup";
/// How a backup of keys begins, once it is unlocked.
const MAGIC: &[u8] = b"aegle lake keys 1\n";

/// Adds to the backup of the node's lake what is new.
pub(crate) fn back_up_lake(dir: &Path, config: &Path) -> Result<()> {
    let (settings, secrets) = load(config)?;
    let lake = open_lake(&settings, &secrets)?;
    // Before the lake is looked at: what the ledger had told it by then is in the backup.
    let height = height(&settings, &secrets)?;
    let mut meter = None;
    let report = lake.back_up(dir, height, &mut |step| match step {
        BackupStep::Taken { objects: total } => meter = Some(objects("copying", *total)),
        BackupStep::Object { .. } => meter.iter_mut().for_each(|meter| meter.advance(1)),
        BackupStep::Sealed => {}
    })?;
    drop(meter);
    println!(
        "lake backed up: {} objects, {} new with {} bytes; consistent with height {} of the ledger; \
         it opens with the keys of key epoch {}",
        report.objects, report.copied, report.bytes, report.height, report.epoch
    );
    Ok(())
}

fn objects(what: &str, total: u64) -> Meter {
    Meter::new(what, Unit::Of("objects"), Some(total))
}

/// The height of the node's ledger, from the node if it runs, else from its folder.
pub(crate) fn height(settings: &Settings, secrets: &Secrets) -> Result<u64> {
    if settings.is_stopped().is_ok() {
        let dir = settings.data.join("ledger");
        if !dir.exists() {
            return Ok(0);
        }
        let genesis = load_genesis(&settings.genesis)?;
        return Ok(aegle_consensus::stored_height(&dir, &genesis, &secrets.node()?)?);
    }
    let address = reachable(settings.api.listen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(Client::new(&format!("http://{address}"))?.height());
    asked.with_context(|| {
        format!("could not ask the node, which runs, for the height of its ledger at {address}")
    })
}

/// Makes the node's lake from a backup.
pub(crate) fn restore_lake(dir: &Path, settings: &Settings, secrets: &Secrets) -> Result<()> {
    if !settings.lake.is_in_folder() {
        bail!(
            "a lake is restored to a folder: give a configuration without `metadata` and `objects` \
             in `[lake]`, and then move the lake to its servers with `aegle lake migrate`"
        );
    }
    let keks = Arc::new(serve::keks(settings, secrets)?);
    let root = settings.data.join("lake");
    let mut meter = None;
    let restored = aegle_lake::restore(dir, &root, keks, &mut |step| match step {
        RestoreStep::Begun { objects: total } => meter = Some(objects("restoring", *total)),
        RestoreStep::Object => meter.iter_mut().for_each(|meter| meter.advance(1)),
    });
    drop(meter);
    let restored =
        restored.with_context(|| format!("could not restore the lake from `{}`", dir.display()))?;
    // Opening it is the last check.
    open_lake(settings, secrets)?;
    println!(
        "lake restored: {} objects with {} bytes, consistent with height {} of the ledger",
        restored.objects, restored.bytes, restored.height
    );
    Ok(())
}

/// Writes the keys of the lake into a file of their own.
pub(crate) fn back_up_keys(file: &Path, config: &Path, key_file: Option<&Path>) -> Result<()> {
    let (settings, secrets) = load(config)?;
    // Ends a rotation that was killed.
    open_lake(&settings, &secrets)?;
    let keks = serve::keks(&settings, &secrets)?;
    let epochs = keks.epochs()?;
    let exported = keks.export()?;
    let &[epoch] = epochs.as_slice() else { bail!("keys are being rotated; run it again later") };
    if keks.epochs()? != epochs {
        bail!("keys are being rotated; run it again later");
    }
    let key = match key_file {
        Some(path) => Key::File(unlock::chosen_key_file(path)?),
        None => Key::Passphrase(unlock::chosen(PASSPHRASE, PROMPT)?),
    };
    let plain = Zeroizing::new([MAGIC, &exported].concat());
    files::write_new(file, &locked::lock(&plain, &key), PRIVATE)?;
    println!(
        "the keys of key epoch {epoch} are in `{}`; keep it apart from backups of the lake, and \
         destroy it when the keys are rotated, which every erasure does",
        file.display()
    );
    Ok(())
}

/// Puts the keys of a lake back from such a file; refuses where there are keys.
pub(crate) fn restore_keys(
    file: &Path,
    settings: &Settings,
    secrets: &Secrets,
    key_file: Option<&Path>,
) -> Result<()> {
    let bytes =
        std::fs::read(file).with_context(|| format!("could not read `{}`", file.display()))?;
    let open = || {
        let locked = Locked::parse(&bytes)?;
        let key = match (locked.kind(), key_file) {
            (Kind::File, Some(path)) => Key::File(unlock::read_key_file(path)?),
            (Kind::File, None) => bail!("it was locked with a key file; give --key-file"),
            (Kind::Passphrase, Some(_)) => bail!("it was locked with a pass phrase"),
            (Kind::Passphrase, None) => Key::Passphrase(unlock::known(PASSPHRASE, PROMPT)?),
        };
        Ok(locked.open(&key)?)
    };
    let plain = open().with_context(|| format!("could not unlock `{}`", file.display()))?;
    let exported = plain.strip_prefix(MAGIC);
    let exported = exported.with_context(|| format!("`{}` holds no keys", file.display()))?;
    std::fs::create_dir_all(&settings.data)
        .with_context(|| format!("could not create `{}`", settings.data.display()))?;
    let keks = serve::keks(settings, secrets)?;
    keks.import(exported)?;
    let epochs: Vec<_> = keks.epochs()?.iter().map(u32::to_string).collect();
    println!("the keys of key epoch {} are back", epochs.join(", "));
    Ok(())
}

fn load(config: &Path) -> Result<(Settings, Secrets)> {
    let settings = Settings::load(config)?;
    let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
    Ok((settings, secrets))
}
