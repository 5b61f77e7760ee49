//! Publishing this centre's vocabulary, and sealing parts that show nothing.

use crate::{Centre, Error};
use aegle_lake::sealed::{self, Answer};
use aegle_lake::{Catalogue, Lake, Part};
use aegle_ledger::{Body, CentreRecord, OpenedRequest, Publish, keys};
use aegle_model::{CentreId, Hash, RequestId};
use std::sync::Arc;

impl Centre {
    /// Brings the lake's vocabulary to the ledger, unless it stands there already.
    pub async fn publish_catalogue(&self) -> Result<(), Error> {
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

    /// The part of this centre when it has nothing to show.
    pub(crate) async fn empty_part(
        &self,
        opened: &OpenedRequest,
        receipt: Hash,
    ) -> Result<Vec<u8>, Error> {
        self.seal_nothing(self.id(), opened.recipient, opened.request, receipt).await
    }

    /// The part that `centre` would seal if it had nothing to show.
    pub(crate) async fn seal_nothing(
        &self,
        centre: CentreId,
        recipient: [u8; 65],
        request: RequestId,
        receipt: Hash,
    ) -> Result<Vec<u8>, Error> {
        let member =
            self.parts().genesis.centre(centre).ok_or(Error::NotFound { what: "centre" })?;
        let record: Option<CentreRecord> = self.record(keys::centre(centre)).await?;
        let vocabulary = record.and_then(|record| record.vocabulary);
        let catalogue = vocabulary.map_or(0, |vocabulary| vocabulary.version);
        let part = Part { centre: member.code.to_string(), catalogue, tables: Vec::new() };
        let answer = Answer { request, receipt };
        sealed::seal(&recipient, &answer, &part.to_bytes())
            .map_err(|error| Error::invalid("recipient", error))
    }
}
