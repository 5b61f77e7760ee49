//! Publishing this centre's vocabulary.

use crate::{Centre, Error};
use aegle_lake::{Catalogue, Lake};
use aegle_ledger::{Body, CentreRecord, Publish, keys};
use std::sync::Arc;

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
        let record: Option<CentreRecord> = self.record(keys::centre(self.id())).await?;
        let published = record.and_then(|record| record.vocabulary);
        if published.as_ref() == Some(vocabulary) {
            return Ok(());
        }
        let vocabulary = vocabulary.clone();
        self.commit(Body::Publish(Publish { vocabulary })).await.map(|_| ())
    }

    /// The catalogue that this centre's lake reads by; none while it is empty.
    pub(crate) async fn own_catalogue(&self) -> Result<Option<Arc<Catalogue>>, Error> {
        self.with_lake(Lake::catalogue).await?.map_err(Error::internal)
    }
}
