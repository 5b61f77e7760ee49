//! Handing out: a data centre checks a receipt itself, then lets exactly the permitted cells go.

use crate::log::readable;
use crate::submit::now;
use crate::{Centre, Error};
use aegle_lake::{Delivery, ReadError, Shape};
use aegle_ledger::{Missing, OpenedRequest, Permit, PermitError, Receipt, VerifiedReceipt, admit};
use aegle_model::{Canonical, CentreId, RecordKey, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};
use std::sync::Arc;

/// How long handed-out requests are remembered; longer than a receipt is fresh.
const REMEMBER_MS: u64 = 600_000;

/// What is said to who asks twice.
const ANSWERED: &str = "this request was answered before; ask again with a new one";

/// What the requester's centre shows a data centre.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct PartRequest {
    pub(crate) receipt: Receipt,
    pub(crate) opened: OpenedRequest,
}

/// Whether the decided disclosure shows the patient this request.
fn is_readable(receipt: &VerifiedReceipt, opened: &OpenedRequest, key: &RecordKey) -> bool {
    receipt.decided().is_some_and(|(disclose, _)| readable(disclose, key).as_ref() == Some(opened))
}

impl Canonical for PartRequest {
    const NAME: &'static str = "part request";
}

impl Centre {
    /// The sealed part of this centre. A centre with nothing to show answers in the same shape.
    pub async fn hand_out(&self, from: CentreId, message: &[u8]) -> Result<Vec<u8>, Error> {
        let request = PartRequest::from_bytes(message).map_err(|e| Error::invalid("request", e))?;
        let PartRequest { receipt, opened } = request;
        let receipt = self.verified(receipt).map_err(|error| Error::invalid("receipt", error))?;
        let asked_by = receipt.decided().map(|(disclose, _)| disclose.requester.centre);
        if asked_by != Some(from) {
            return Err(Error::Forbidden { who: "the requester's own centre" });
        }
        match self.permit(&receipt, &opened).await? {
            Some(permit) => {
                // To its end, so that its lineage is told even when who asked is gone.
                let centre = self.clone();
                let part = tokio::spawn(async move { centre.let_go(permit).await });
                part.await.map_err(Error::internal)?
            }
            None => self.nothing_to_show(&receipt, &opened).await,
        }
    }

    /// What the receipt permits here; none when the patient is not linked here.
    async fn permit(
        &self,
        receipt: &VerifiedReceipt,
        opened: &OpenedRequest,
    ) -> Result<Option<Permit>, Error> {
        let patient = opened.patient;
        let found = self.with_lake(move |lake| (lake.record_key(patient), lake.catalogue()));
        let (key, catalogue) = found.await?;
        let Some(key) = key.map_err(Error::internal)? else { return Ok(None) };
        let catalogue =
            catalogue.map_err(Error::internal)?.ok_or(Error::Unavailable { part: "lake" })?;
        match admit(receipt, opened, &key, (self.id(), catalogue.vocabulary()), now()) {
            // Nothing leaves that the patient cannot read of in the log.
            Ok(_) if !is_readable(receipt, opened, &key) => {
                Err(Error::invalid("receipt", "the request sealed on the ledger is another"))
            }
            Ok(permit) => Ok(Some(permit)),
            Err(PermitError::NotAsked) => Ok(None),
            Err(error @ PermitError::Stale) => Err(Error::Conflict(error.to_string())),
            Err(error) => {
                tracing::warn!(%error, "Refused a receipt of centre `{}`", opened_centre(receipt));
                Err(Error::invalid("receipt", error))
            }
        }
    }

    /// Once per request: a receipt that was used permits nothing more.
    async fn let_go(&self, permit: Permit) -> Result<Vec<u8>, Error> {
        let (request, time) = (permit.request(), now());
        let past = Timestamp(time.0.saturating_sub(REMEMBER_MS));
        if !self.parts().store.hand_out(request, time, past)? {
            return Err(Error::Conflict(ANSWERED.into()));
        }
        // Until the report is kept: a crash in between is told of at the next start.
        let remembered = self.parts().lake.remember(request);
        let nobody = self.is_own_nobody(permit.patient());
        let read = self
            .with_lake(move |lake| {
                remembered?;
                if nobody {
                    let answer = (permit.request(), permit.receipt());
                    lake.empty_part(permit.recipient(), answer, Shape::Tables)
                } else {
                    lake.read(&permit)
                }
            })
            .await?;
        let result = match &read {
            Ok(delivery) => Ok(delivery.lineage()),
            Err(_) => Err(Missing::Failed),
        };
        self.report_own(request, result).await?;
        match read {
            Ok(Delivery { sealed, .. }) => Ok(sealed),
            Err(error) => {
                tracing::error!(%error, "Could not read the lake for a permitted request");
                Err(Error::Unavailable { part: "lake" })
            }
        }
    }

    async fn nothing_to_show(
        &self,
        receipt: &VerifiedReceipt,
        opened: &OpenedRequest,
    ) -> Result<Vec<u8>, Error> {
        let decided =
            receipt.decided().is_some_and(|(disclose, _)| disclose.opened == opened.hash());
        if !decided {
            return Err(Error::invalid("receipt", PermitError::OtherRequest));
        }
        let (recipient, answer) = (opened.recipient, (opened.request, receipt.hash()));
        let empty = self.with_lake(move |lake| lake.empty_part(&recipient, answer, Shape::Tables));
        match empty.await? {
            Ok(Delivery { sealed, .. }) => Ok(sealed),
            // As a centre answers that has something to show.
            Err(ReadError::Claim(_)) => Err(Error::Conflict(ANSWERED.into())),
            Err(error) => Err(Error::internal(error)),
        }
    }

    /// The record key of a patient who is linked here.
    pub(crate) async fn record_key(
        &self,
        patient: aegle_model::PatientId,
    ) -> Result<Option<RecordKey>, Error> {
        self.with_lake(move |lake| lake.record_key(patient)).await?.map_err(Error::internal)
    }

    /// Runs a blocking lake operation away from the async threads.
    pub(crate) async fn with_lake<T: Send + 'static>(
        &self,
        work: impl FnOnce(&aegle_lake::Lake) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let lake = Arc::clone(&self.parts().lake);
        tokio::task::spawn_blocking(move || work(&lake)).await.map_err(Error::internal)
    }
}

fn opened_centre(receipt: &VerifiedReceipt) -> String {
    receipt.decided().map(|(disclose, _)| disclose.requester.centre.to_string()).unwrap_or_default()
}
