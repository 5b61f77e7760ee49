//! Puts back what is damaged, as it was written.

use super::{Pace, ScrubError, ScrubReport};
use crate::damage::{Fate, ObjectKind};
use crate::frame::BatchName;
use crate::index::upkeep::{Found, ManifestRow};
use crate::ingest::IngestError;
use crate::ingest::again::{Gone, Wanted};
use crate::lake::Lake;
use crate::manifest::Manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

impl Lake {
    /// Repairs everything that is known to be damaged; sources that have changed are ingested anew.
    pub(super) fn mend_all(&self, report: &mut ScrubReport) -> Result<(), ScrubError> {
        let repair = |error| ScrubError::Repair(Box::new(error));
        let batches = self.index.to_mend()?;
        if batches.is_empty() {
            return Ok(());
        }
        let lock = match self.lock_ingest() {
            Err(IngestError::Busy) => {
                report.busy = true;
                return Ok(());
            }
            lock => lock.map_err(repair)?,
        };
        let mut changed = BTreeSet::new();
        for batch in batches {
            self.go_on()?;
            changed.extend(self.mend_batch(batch).map_err(repair)?);
        }
        drop(lock);
        for place in changed {
            match self.ingest(Path::new(&place)) {
                Ok(done) => report.ingested += u64::from(!done.unchanged),
                Err(error) => report.not_ingested.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Repairs one batch, under the lock of an ingest. Yields where its source lies when that has
    /// changed and the batch is current.
    pub(crate) fn mend_batch(&self, batch: i64) -> Result<Option<String>, IngestError> {
        let Some(name) = self.index.batch_name(batch)? else { return Ok(None) };
        let damaged = self.index.damaged(Some(batch))?;
        let (packs, manifests): (Vec<_>, Vec<_>) =
            damaged.into_iter().partition(|found| found.kind == ObjectKind::Pack);
        if !manifests.is_empty() {
            self.mend_manifest((batch, &name), &manifests)?;
        }
        if packs.is_empty() { Ok(None) } else { self.mend_packs((batch, &name), &packs) }
    }

    /// Both copies of a manifest become what the whole one is.
    fn mend_manifest(
        &self,
        (batch, name): (i64, &BatchName),
        damaged: &[Found],
    ) -> Result<(), IngestError> {
        let row = self.index.manifest(batch)?;
        let whole = row.and_then(|row| self.whole_manifest(name, &row));
        let (fate, reason) = match whole {
            Some(sealed) => {
                let object = self.manifest_name(&sealed);
                self.manifests.put(&object, sealed.clone())?;
                self.index.put_manifest(batch, &ManifestRow { name: object, sealed })?;
                (Fate::Repaired, None)
            }
            None => (Fate::Lost, Some("both copies are gone; ingest its source again")),
        };
        for found in damaged {
            self.index.settle(&found.object, fate, reason)?;
        }
        Ok(())
    }

    fn mend_packs(
        &self,
        (batch, name): (i64, &BatchName),
        damaged: &[Found],
    ) -> Result<Option<String>, IngestError> {
        let mut wanted = BTreeMap::new();
        for (ordinal, pack) in self.index.packs_of(batch)?.into_iter().enumerate() {
            // What only one read found is whole again by itself.
            if damaged.iter().any(|found| found.object == pack.name)
                && self.look_at_pack(&pack, &mut Pace::new(None))?.is_some()
            {
                wanted.insert(ordinal, Wanted { name: pack.name, bytes: pack.bytes });
            }
        }
        let (mut fate, mut reason, mut changed) = (Fate::Lost, None, None);
        if !wanted.is_empty() {
            let manifest = self.manifest(batch, name)?;
            let brought = manifest.as_ref().map(|known| self.bring(known, name, &mut wanted));
            reason = match brought {
                None => Some("its manifest is lost, too".to_owned()),
                Some(Ok(())) => Some("its source makes other bytes now".to_owned()),
                Some(Err(Gone::Lake(error))) => return Err(error),
                Some(Err(gone)) => {
                    match gone {
                        // It may come back.
                        Gone::Unreadable(_) => fate = Fate::Open,
                        Gone::Changed => changed = manifest.map(|manifest| manifest.fetch.place),
                        _ => {}
                    }
                    Some(gone.to_string())
                }
            };
        }
        for found in damaged {
            let lost = wanted.values().any(|wanted| wanted.name == found.object);
            let (fate, reason) =
                if lost { (fate, reason.as_deref()) } else { (Fate::Repaired, None) };
            self.index.settle(&found.object, fate, reason)?;
        }
        Ok(if self.index.is_live(batch)? { changed } else { None })
    }

    fn bring(
        &self,
        manifest: &Manifest,
        name: &BatchName,
        wanted: &mut BTreeMap<usize, Wanted>,
    ) -> Result<(), Gone> {
        let mut renamed =
            |old: &_, new: &_| Ok::<_, IngestError>(self.index.rename_pack(old, new)?);
        self.bring_again((manifest, name), wanted, &mut renamed)
    }
}
