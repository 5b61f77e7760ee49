//! `aegle lake migrate`: the same lake at another place.

use crate::secrets::Secrets;
use crate::serve::{keks, open_lake};
use crate::settings::Settings;
use aegle_lake::{FileKeks, Keks as _, MigrateStep, Migration};
use aegle_progress::{Meter, Unit};
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// Copies the lake of one configuration to where another says.
pub(super) fn migrate(config: &Path, to: &Path) -> Result<()> {
    let (old, new) = (Settings::load(config)?, Settings::load(to)?);
    let secrets = Secrets::load(&old.secrets, old.key_file.as_deref())?;
    let place = new.lake.place(new.data.join("lake"))?;
    let lake = open_lake(&old, &secrets)?;
    // First: who has other keys there has another lake there.
    std::fs::create_dir_all(&new.data)
        .with_context(|| format!("could not create `{}`", new.data.display()))?;
    bring_keys(&keks(&old, &secrets)?, &keks(&new, &secrets)?)?;
    let mut meter = None;
    let Migration { rows, objects, copied, bytes } =
        lake.migrate(&place, &mut |step| show(&mut meter, step))?;
    drop(meter);
    println!(
        "the lake is at its new place, too, and the same there: {rows} rows of its databases, \
         {objects} objects, {copied} new with {bytes} bytes; copy the folder `projects` if there is \
         one, start the node with `{}`, and remove the old place when it runs",
        to.display()
    );
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
