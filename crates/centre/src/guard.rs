//! Guarding: a linked centre blinds a request and brings it to the ledger for decision.

use crate::submit::now;
use crate::{Centre, Error, seal};
use aegle_access::Purpose;
use aegle_ledger::{
    Attestation, Body, Disclose, DisclosureRecord, OpenedRequest, Outcome, PatientRecord, Receipt,
    Rejection, keys,
};
use aegle_model::{Canonical, CentreId, RecordKey, Requester};
use borsh::{BorshDeserialize, BorshSerialize};

/// How far the requester's clock may be off, in milliseconds.
const SKEW_MS: u64 = 120_000;

/// What the requester's centre asks a guardian.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct GuardRequest {
    pub(crate) opened: OpenedRequest,
    pub(crate) requester: Attestation,
}

impl Canonical for GuardRequest {
    const NAME: &'static str = "guard request";
}

impl Centre {
    /// Decides the request that centre `from` signed, on the ledger, and returns the receipt.
    pub async fn guard(&self, from: CentreId, message: &[u8]) -> Result<Receipt, Error> {
        let request =
            GuardRequest::from_bytes(message).map_err(|e| Error::invalid("request", e))?;
        self.vouched(from, &request)?;
        let opened = &request.opened;
        // Strangers and unlinked patients look alike.
        let not_here = || Error::NotFound { what: "patient at this centre" };
        let key = self.record_key(opened.patient).await?.ok_or_else(not_here)?;
        let patient = self.patient(opened.patient).await?.ok_or_else(not_here)?;
        let disclose = self.blind(&request, &patient, &key).await?;
        let receipt = self.finish(self.sign(Body::Disclose(Box::new(disclose)))).await?;
        match receipt.outcome {
            Outcome::Rejected(Rejection::Decided) => self.decided_before(opened).await,
            Outcome::Rejected(rejection) => Err(rejection.into()),
            _ => Ok(receipt),
        }
    }

    /// The calling centre is the requester's, signed exactly this, just now.
    fn vouched(&self, from: CentreId, request: &GuardRequest) -> Result<(), Error> {
        let GuardRequest { opened, requester } = request;
        let genesis = &self.parts().genesis;
        let members = self.members();
        let member = members.centre(from).is_some_and(|centre| centre.made(requester));
        let own_staff = match &opened.requester {
            Requester::Patient => true,
            Requester::Professional { centre, .. } => *centre == from,
        };
        let same_network = opened.network == genesis.network();
        if !member || !own_staff || !same_network || !requester.covers(&opened.hash()) {
            return Err(Error::Forbidden { who: "the requester's own centre" });
        }
        if opened.asked.0.abs_diff(now().0) > SKEW_MS {
            return Err(Error::invalid(
                "asked",
                "the clocks of the centres differ by more than two minutes",
            ));
        }
        check_reason(opened.purpose, opened.reason.as_deref())
    }

    async fn blind(
        &self,
        request: &GuardRequest,
        patient: &PatientRecord,
        key: &RecordKey,
    ) -> Result<Disclose, Error> {
        let GuardRequest { opened, requester } = request;
        let vocabularies = self.vocabularies().await?;
        let linked = |centre| {
            patient.link(centre).and_then(|_| vocabularies.get(&centre)).map(AsRef::as_ref)
        };
        let (question, catalogues) =
            opened.question(key, linked).map_err(|error| Error::invalid("tags", error))?;
        Ok(Disclose {
            request: opened.request,
            patient: opened.patient,
            requester: requester.clone(),
            opened: opened.hash(),
            sealed: seal::seal(key, opened),
            question,
            catalogues,
        })
    }

    /// Another guardian brought the same request to the ledger first.
    async fn decided_before(&self, opened: &OpenedRequest) -> Result<Receipt, Error> {
        let record: Option<DisclosureRecord> =
            self.record(keys::disclosure(opened.request)).await?;
        let id = record.ok_or(Error::NotFound { what: "disclosure" })?.transaction;
        self.parts().ledger.receipt(id).await.map_err(|_| Error::Unavailable { part: "ledger" })
    }
}

/// Whoever breaks the glass says why.
pub(crate) fn check_reason(purpose: Purpose, reason: Option<&str>) -> Result<(), Error> {
    let words = reason.map_or(0, |reason| reason.trim().len());
    if purpose == Purpose::Emergency && words == 0 {
        return Err(Error::invalid("reason", "an emergency access needs a reason"));
    }
    if reason.is_some_and(|reason| reason.len() > OpenedRequest::REASON_MAX) {
        let why = format!("a reason has at most {} bytes", OpenedRequest::REASON_MAX);
        return Err(Error::Invalid { field: "reason", why });
    }
    Ok(())
}
