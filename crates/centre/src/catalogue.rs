//! The catalogues of the network: this centre's own, and what all have published.

use crate::{Centre, Error};
use aegle_lake::{Catalogue, Lake};
use aegle_ledger::{Body, CentreRecord, Publish, keys};
use aegle_model::{CentreId, Vocabulary};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The published vocabularies of the network.
pub type Vocabularies = BTreeMap<CentreId, Arc<Vocabulary>>;

/// Vocabularies that were read before. Each is good until its centre publishes a newer one.
#[derive(Default)]
pub(crate) struct Known(Mutex<Vocabularies>);

impl Known {
    fn get(&self, centre: CentreId, version: u32) -> Option<Arc<Vocabulary>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&centre).filter(|vocabulary| vocabulary.version == version).cloned()
    }

    fn keep(&self, centre: CentreId, vocabulary: &Arc<Vocabulary>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(centre, Arc::clone(vocabulary));
    }
}

impl Centre {
    /// Brings to the ledger what a serving centre has there: its nobody and its catalogue.
    /// Repeating it changes nothing.
    pub async fn arrive(&self) -> Result<(), Error> {
        self.enrol_nobody().await?;
        self.publish_catalogue().await
    }

    /// Brings the lake's vocabulary to the ledger, unless it stands there already.
    async fn publish_catalogue(&self) -> Result<(), Error> {
        let Some(catalogue) = self.own_catalogue().await? else { return Ok(()) };
        let vocabulary = catalogue.vocabulary();
        let published: Option<Vocabulary> = self.record(keys::vocabulary(self.id())).await?;
        match published {
            Some(published) if published == *vocabulary => return Ok(()),
            // The ledger would reject it, and keep it for ever.
            Some(published) if published.version >= vocabulary.version => {
                let (here, there) = (vocabulary.version, published.version);
                return Err(Error::Conflict(format!(
                    "the lake's catalogue has version {here}, but version {there} is published; \
                     give the catalogue a higher version and ingest again"
                )));
            }
            _ => {}
        }
        let vocabulary = vocabulary.clone();
        self.commit(Body::Publish(Publish { vocabulary })).await.map(|_| ())
    }

    /// The published catalogues of the network.
    pub async fn vocabularies(&self) -> Result<Vocabularies, Error> {
        let centres: Vec<_> = self.members().centres.iter().map(|centre| centre.id).collect();
        let wanted: Vec<_> = centres.iter().map(|centre| keys::centre(*centre)).collect();
        let records: Vec<Option<CentreRecord>> = self.records(&wanted).await?;
        let mut found = Vocabularies::new();
        for (centre, record) in centres.into_iter().zip(records) {
            let Some(version) = record.and_then(|record| record.catalogue) else { continue };
            if let Some(vocabulary) = self.0.known.get(centre, version) {
                found.insert(centre, vocabulary);
            } else if let Some(read) = self.record(keys::vocabulary(centre)).await? {
                let vocabulary = Arc::new(read);
                self.0.known.keep(centre, &vocabulary);
                found.insert(centre, vocabulary);
            }
        }
        Ok(found)
    }

    /// The catalogue that this centre's lake reads by; none while it is empty.
    pub(crate) async fn own_catalogue(&self) -> Result<Option<Arc<Catalogue>>, Error> {
        self.with_lake(Lake::catalogue).await?.map_err(Error::internal)
    }
}
