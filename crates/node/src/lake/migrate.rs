//! `aegle lake migrate`: the same lake at another place.
//!
//! The key-encryption keys move: an erasure at the new place destroys them there, and would not reach
//! a second file. So the old file is destroyed when the new place was found the same; from then on the
//! old place opens with the new file, also when the command is run again.

use crate::secrets::Secrets;
use crate::serve::keks;
use crate::settings::Settings;
use aegle_lake::{FileKeks, Keks as _, Lake, MigrateStep, Migration};
use aegle_progress::{Meter, Unit};
use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::sync::Arc;

/// Copies the lake of one configuration to where another says.
pub(super) fn migrate(config: &Path, to: &Path) -> Result<()> {
    let (old, new) = (Settings::load(config)?, Settings::load(to)?);
    let secrets = Secrets::load(&old.secrets, old.key_file.as_deref())?;
    let (from, place) =
        (old.lake.place(old.data.join("lake"))?, new.lake.place(new.data.join("lake"))?);
    std::fs::create_dir_all(&new.data)
        .with_context(|| format!("could not create `{}`", new.data.display()))?;
    let (old_keks, new_keks) = (keks(&old, &secrets)?, keks(&new, &secrets)?);
    let were_moved = old_keks.epochs()?.is_empty() && !new_keks.epochs()?.is_empty();
    let opening = if were_moved { &new } else { &old };
    let lake = Lake::open_at(&from, Arc::new(keks(opening, &secrets)?))?;
    if !were_moved {
        // First: who has other keys there has another lake there.
        bring_keys(&old_keks, &new_keks)?;
    }
    let mut meter = None;
    let Migration { rows, objects, copied, bytes } =
        lake.migrate(&place, &mut |step| show(&mut meter, step))?;
    drop(meter);
    let is_other_file = old_keks.give_way_to(&new_keks)?;
    println!(
        "the lake is at its new place, too, and the same there: {rows} rows of its databases, \
         {objects} objects, {copied} new with {bytes} bytes; copy the folder `projects` if there is \
         one, start the node with `{}`, and remove the old place when it runs",
        to.display()
    );
    if is_other_file {
        println!(
            "the key file of the old place was destroyed, for no erasure would reach it any more: \
             who wants to open the old place, or a backup made there, names the new one in `keks`"
        );
    }
    Ok(())
}

/// Puts the key-encryption keys where the new configuration looks for them.
fn bring_keys(old: &FileKeks, new: &FileKeks) -> Result<()> {
    let exported = old.export()?;
    if new.epochs()?.is_empty() {
        new.import(&exported)?;
    } else if new.export()? != exported {
        bail!(
            "the key file of the new configuration holds other keys, so another lake may be there; \
             name a file that is not there yet in `keks`, and run it again"
        );
    }
    Ok(())
}

fn show(meter: &mut Option<Meter>, step: &MigrateStep) {
    match step {
        MigrateStep::Begun { objects } => {
            *meter = Some(Meter::new("copying", Unit::Of("objects"), Some(*objects)));
        }
        MigrateStep::Object { .. } => meter.iter_mut().for_each(|meter| meter.advance(1)),
        MigrateStep::Keys => meter.iter_mut().for_each(|meter| meter.rename("copying the index")),
        MigrateStep::Index => {}
    }
}
