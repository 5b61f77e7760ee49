//! Disclosures and what became of them.

use super::{Applied, Halt, work::Work};
use crate::outcome::{Outcome, Rejection};
use crate::state::{DisclosureRecord, Fate, PatientRecord, keys};
use crate::transaction::{Deliver, Disclose, PartDelivery, TxId};
use aegle_access::{Subject, decide};
use aegle_model::{CentreId, RequestId};

impl Work<'_> {
    /// Decides a request. The decision is the log entry: there is no way to have one without the
    /// other.
    pub(super) fn disclose(&mut self, author: CentreId, id: TxId, disclose: &Disclose) -> Applied {
        let Some(record) = self.patient(disclose.patient)? else {
            return Ok(Err(Rejection::UnknownPatient));
        };
        if let Err(rejection) = self.entitled(author, disclose, &record)? {
            return Ok(Err(rejection));
        }
        if let Err(rejection) = self.well_formed(disclose, &record)? {
            return Ok(Err(rejection));
        }
        let rules = self.rules(disclose.patient, &record)?;
        let policy = self.network()?.policy;
        let decision = decide(&*rules, &disclose.question, policy, self.time);
        self.keep_disclosure(id, disclose);
        Ok(Ok(Outcome::Decided(decision)))
    }

    pub(super) fn keep_disclosure(&mut self, transaction: TxId, disclose: &Disclose) {
        let Disclose { patient, requester, question, .. } = disclose;
        let parts = question.parts.iter().map(|part| (part.centre(), Fate::Open)).collect();
        let (patient, requester) = (*patient, requester.centre);
        let disclosure = DisclosureRecord { patient, transaction, requester, parts };
        self.put(keys::disclosure(disclose.request), &disclosure);
    }

    pub(super) fn is_decided(&mut self, request: RequestId) -> Result<bool, Halt> {
        Ok(self.get::<DisclosureRecord>(keys::disclosure(request))?.is_some())
    }

    /// The author holds the record key, the requester's centre answers for the requester, and only
    /// a centre that speaks for the patient can say that the patient asks.
    pub(super) fn entitled(
        &mut self,
        author: CentreId,
        disclose: &Disclose,
        record: &PatientRecord,
    ) -> Result<Result<(), Rejection>, Halt> {
        if record.link(author).is_none() {
            return Ok(Err(Rejection::NotLinked));
        }
        let requester = disclose.requester.centre;
        let member = self.centre(requester)?;
        if !member.is_some_and(|member| member.centre.made(&disclose.requester)) {
            return Ok(Err(Rejection::UnknownCentre));
        }
        let speaks = record.link(requester).is_some_and(|link| link.speaks);
        if disclose.question.subject == Subject::Patient && !speaks {
            return Ok(Err(Rejection::NoAuthority));
        }
        Ok(Ok(()))
    }

    fn well_formed(
        &mut self,
        disclose: &Disclose,
        record: &PatientRecord,
    ) -> Result<Result<(), Rejection>, Halt> {
        if self.is_decided(disclose.request)? {
            return Ok(Err(Rejection::Decided));
        }
        let parts = &disclose.question.parts;
        let in_order = parts.is_sorted_by(|a, b| a.centre() < b.centre());
        let linked = parts.iter().all(|part| record.link(part.centre()).is_some());
        if !in_order || !linked || disclose.catalogues.len() != parts.len() {
            return Ok(Err(Rejection::UnknownPart));
        }
        for (part, version) in parts.iter().zip(&disclose.catalogues) {
            let catalogue = self.centre(part.centre())?.and_then(|centre| centre.catalogue);
            if catalogue != Some(*version) {
                return Ok(Err(Rejection::StaleCatalogue));
            }
        }
        Ok(Ok(()))
    }

    /// Notes what became of parts. A data centre answers for its own part; the requester's centre
    /// may say which parts it did not get.
    pub(super) fn deliver(&mut self, author: CentreId, deliver: &Deliver) -> Applied {
        let key = keys::disclosure(deliver.request);
        let Some(mut disclosure) = self.get::<DisclosureRecord>(key)? else {
            return Ok(Err(Rejection::BadDelivery));
        };
        for part in &deliver.parts {
            let asked = disclosure.parts.iter_mut().find(|(centre, _)| *centre == part.centre);
            let Some((_, fate)) = asked else { return Ok(Err(Rejection::BadDelivery)) };
            match fate_after(*fate, author, part, disclosure.requester) {
                Some(next) => *fate = next,
                None => return Ok(Err(Rejection::BadDelivery)),
            }
        }
        if deliver.parts.is_empty() {
            return Ok(Err(Rejection::BadDelivery));
        }
        self.put(key, &disclosure);
        Ok(Ok(Outcome::Done))
    }
}

/// What is known after `author` spoke of `part`; none when it may not. The data centre has the
/// last word on its own part.
fn fate_after(
    fate: Fate,
    author: CentreId,
    part: &PartDelivery,
    requester: CentreId,
) -> Option<Fate> {
    if author == part.centre {
        return (fate != Fate::Known).then_some(Fate::Known);
    }
    let misses = author == requester && part.result.is_err() && fate == Fate::Open;
    misses.then_some(Fate::NotReceived)
}
