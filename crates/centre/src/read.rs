//! Reading a record. The disclosure is on the ledger before a byte leaves a lake.

use crate::guard::{GuardRequest, check_reason};
use crate::hand_out::PartRequest;
use crate::submit::{FINAL_WITHIN, now, random};
use crate::{Caller, Centre, Error, PeerError, chain, keybox, seal};
use aegle_access::Purpose;
use aegle_ledger::{
    Attestation, Deliver, Missing, OpenedRequest, PartDelivery, PatientRecord, Receipt,
    SEALED_BYTES_MAX, VerifiedReceipt, Wish,
};
use aegle_model::{ALL, Canonical, CentreId, Handle, Hash, Name, PatientId, RequestId, Requester};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

/// Longer than a guardian waits for the ledger, or a request would be given up that is decided then.
const GUARD_WITHIN: Duration = FINAL_WITHIN.saturating_add(Duration::from_secs(2));
const PART_WITHIN: Duration = Duration::from_secs(5);
/// All guardians together; with the parts it stays below what the API allows an answer.
const DECIDED_WITHIN: Duration = Duration::from_secs(20);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whose record.
    pub whose: Whose,
    /// What for.
    pub purpose: Purpose,
    /// Why; needed in an emergency.
    pub reason: Option<String>,
    /// Tags by centre; when empty, everything at every centre.
    pub wishes: Vec<Wish>,
    /// To whom the parts are sealed: an uncompressed P-256 point.
    pub recipient: [u8; 65],
}

/// Whose record is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The caller's own.
    Own,
    /// The patient with this handle.
    Handle(Handle),
}

/// What came back. The same shape whether something is closed, empty or not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request.
    pub request: RequestId,
    /// The receipt's hash: with the request the associated data of every sealed part.
    pub receipt: Hash,
    /// One part per centre asked.
    pub parts: Vec<AnswerPart>,
}

/// What one centre answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPart {
    /// The centre.
    pub centre: CentreId,
    /// Its sealed part; none when it did not answer.
    pub sealed: Option<Vec<u8>>,
}

impl Centre {
    /// Asks for a record on behalf of a signed-in patient or professional of this centre.
    pub async fn read_record(&self, caller: &Caller, ask: Ask) -> Result<Answer, Error> {
        check_reason(ask.purpose, ask.reason.as_deref())?;
        // Whatever is wrong with a question is told before it is looked whom it is about.
        if !keybox::is_point(&ask.recipient) {
            return Err(Error::invalid("recipient", "an uncompressed P-256 point is expected"));
        }
        let wishes = self.wishes(ask.wishes.clone()).await?;
        let requester = self.requester(caller, &ask)?;
        let (patient, record) = self.whose(caller, ask.whose).await?;
        let opened = OpenedRequest {
            network: self.parts().genesis.network(),
            request: RequestId::from_array(random()),
            patient,
            requester,
            purpose: ask.purpose,
            reason: ask.reason,
            wishes,
            recipient: ask.recipient,
            asked: now(),
        };
        if seal::sealed_bytes(&opened) > SEALED_BYTES_MAX {
            return Err(Error::invalid("wishes", "too many tags for one request; ask for fewer"));
        }
        if self.may_be_late(&opened) && !self.agrees() {
            return self.answer_late(opened).await;
        }
        let deciding = self.decided(opened.clone(), &record);
        let decided = tokio::time::timeout(DECIDED_WITHIN, deciding).await;
        match decided.unwrap_or(Err(Error::Unconfirmed)) {
            Ok((opened, receipt)) => self.gather(&opened, receipt).await,
            // The ledger may still decide the request; what leaves now is one of its own.
            Err(Error::Unavailable { .. } | Error::Unconfirmed) if self.may_be_late(&opened) => {
                let request = RequestId::from_array(random());
                self.answer_late(OpenedRequest { request, ..opened }).await
            }
            Err(error) => Err(error),
        }
    }

    fn requester(&self, caller: &Caller, ask: &Ask) -> Result<Requester, Error> {
        match (caller, ask.whose) {
            (Caller::Patient(_), Whose::Own) => Ok(Requester::Patient),
            (Caller::Professional { id, departments }, Whose::Handle(_)) => {
                Ok(Requester::Professional {
                    centre: self.id(),
                    id: id.clone(),
                    departments: departments.clone(),
                })
            }
            (Caller::Patient(_), Whose::Handle(_)) => {
                Err(Error::Forbidden { who: "a professional" })
            }
            _ => Err(Error::Forbidden { who: "the patient" }),
        }
    }

    /// The tags asked for must exist: catalogues are public, so this tells nothing about anyone.
    async fn wishes(&self, mut wishes: Vec<Wish>) -> Result<Vec<Wish>, Error> {
        let vocabularies = self.vocabularies().await?;
        if wishes.is_empty() {
            let all = Name::new(ALL).expect("a short constant");
            wishes = vocabularies
                .keys()
                .map(|centre| Wish { centre: *centre, tags: vec![all.clone()] })
                .collect();
        }
        wishes.sort_by_key(|wish| wish.centre);
        if !wishes.is_sorted_by(|a, b| a.centre < b.centre) {
            return Err(Error::invalid("wishes", "a centre is named twice"));
        }
        for wish in &mut wishes {
            let vocabulary = vocabularies.get(&wish.centre).ok_or_else(|| {
                Error::invalid("wishes", "a centre has not published a catalogue")
            })?;
            let tags: BTreeSet<_> = wish.tags.drain(..).collect();
            if tags.is_empty() {
                return Err(Error::invalid("wishes", "at least one tag is asked for"));
            }
            wish.tags = tags.into_iter().collect();
            vocabulary.cells_of(&wish.tags).map_err(|error| Error::invalid("wishes", error))?;
        }
        Ok(wishes)
    }

    /// The patient; for a handle that no patient has, nobody.
    async fn whose(
        &self,
        caller: &Caller,
        whose: Whose,
    ) -> Result<(PatientId, PatientRecord), Error> {
        match whose {
            Whose::Own => {
                let patient = caller.patient()?;
                let record = self.patient(patient).await?;
                Ok((patient, record.ok_or(Error::NotFound { what: "patient" })?))
            }
            Whose::Handle(handle) => match self.patient_by(handle).await? {
                Some(found) => Ok(found),
                None => self.nobody_for(handle).await,
            },
        }
    }

    /// Has a guardian bring the request to the ledger: this centre if it can, else the others in
    /// turn, so that neither a dead one nor one that lies stops anybody.
    async fn decided(
        &self,
        mut opened: OpenedRequest,
        record: &PatientRecord,
    ) -> Result<(OpenedRequest, VerifiedReceipt), Error> {
        let mut guardians: Vec<_> = record.links.iter().map(|link| link.centre).collect();
        guardians.sort_by_key(|guardian| *guardian != self.id());
        for guardian in guardians {
            let requester = Attestation::of_request(&opened, self.id(), &self.parts().key);
            let message = GuardRequest { opened: opened.clone(), requester }.to_bytes();
            let error = match self.ask_guardian(guardian, &message).await {
                Ok(receipt) => match self.check(receipt, &opened, record) {
                    Ok(receipt) => return Ok((opened, receipt)),
                    Err(lie) => {
                        // The ledger decides a request once: another guardian needs a new one.
                        opened.request = RequestId::from_array(random());
                        lie
                    }
                },
                Err(error) => error,
            };
            tracing::warn!(error = chain(&error), %guardian, "A guardian did not decide");
        }
        Err(Error::Unavailable { part: "ledger" })
    }

    async fn ask_guardian(&self, guardian: CentreId, message: &[u8]) -> Result<Receipt, Error> {
        if guardian == self.id() {
            return self.guard(guardian, message).await;
        }
        let answer =
            self.parts().peers.call(guardian, "/guard", message.to_vec(), GUARD_WITHIN).await;
        let bytes = answer.map_err(Error::internal)?;
        Receipt::from_bytes(&bytes).map_err(Error::internal)
    }

    /// A guardian's word is not taken: the receipt must hold, be about this very request, and no
    /// linked centre that is asked may be left out. What its tokens say, the data centres check.
    fn check(
        &self,
        receipt: Receipt,
        opened: &OpenedRequest,
        record: &PatientRecord,
    ) -> Result<VerifiedReceipt, Error> {
        let receipt = self.verified(receipt).map_err(Error::internal)?;
        let whole = receipt.decided().is_some_and(|(disclose, _)| {
            let parts = &disclose.question.parts;
            let asked = opened.wishes.iter().filter(|wish| record.link(wish.centre).is_some());
            let mut missing =
                asked.filter(|wish| parts.iter().all(|part| part.centre() != wish.centre));
            disclose.opened == opened.hash() && missing.next().is_none()
        });
        if whole { Ok(receipt) } else { Err(Error::Unavailable { part: "guardian" }) }
    }

    /// Asks every centre at once; a slow or dead one costs its own part only.
    async fn gather(
        &self,
        opened: &OpenedRequest,
        receipt: VerifiedReceipt,
    ) -> Result<Answer, Error> {
        let message =
            PartRequest { receipt: receipt.receipt().clone(), opened: opened.clone() }.to_bytes();
        let parts = opened.wishes.iter().map(|wish| self.part(wish.centre, "/part", &message));
        let results = join_all(parts).await;
        self.report_missing(opened, &receipt, &results).await?;
        let parts = opened.wishes.iter().zip(results);
        Ok(Answer {
            request: opened.request,
            receipt: receipt.hash(),
            parts: parts
                .map(|(wish, part)| AnswerPart { centre: wish.centre, sealed: part.ok() })
                .collect(),
        })
    }

    async fn part(&self, centre: CentreId, path: &str, message: &[u8]) -> Result<Vec<u8>, Missing> {
        if centre == self.id() {
            return self.own_part(message.to_vec()).await;
        }
        let answer = self.parts().peers.call(centre, path, message.to_vec(), PART_WITHIN).await;
        answer.map_err(|error| {
            tracing::warn!(%error, %centre, "A part of a record is missing");
            match error {
                PeerError::Refused(_) => Missing::Refused,
                PeerError::Failed(_) | PeerError::TooLarge => Missing::Failed,
                PeerError::Unknown | PeerError::Unreachable(_) => Missing::Unreachable,
            }
        })
    }

    /// This centre's own part, within the same time as the others'. It is handed out to its end, so
    /// that its lineage is told in any case.
    async fn own_part(&self, message: Vec<u8>) -> Result<Vec<u8>, Missing> {
        let centre = self.clone();
        let part = tokio::spawn(async move { centre.hand_out(centre.id(), &message).await });
        let error = match tokio::time::timeout(PART_WITHIN, part).await {
            Ok(Ok(Ok(part))) => return Ok(part),
            Ok(Ok(Err(error))) => error,
            Ok(Err(panicked)) => Error::internal(panicked),
            Err(_) => Error::Unavailable { part: "lake" },
        };
        tracing::warn!(error = chain(&error), "The own part of a record is missing");
        Err(Missing::Failed)
    }

    async fn report_missing(
        &self,
        opened: &OpenedRequest,
        receipt: &VerifiedReceipt,
        results: &[Result<Vec<u8>, Missing>],
    ) -> Result<(), Error> {
        let decided = receipt.decided().map(|(disclose, _)| &disclose.question.parts);
        let in_decision =
            |centre| decided.is_some_and(|parts| parts.iter().any(|part| part.centre() == centre));
        let missing = opened.wishes.iter().zip(results).filter_map(|(wish, result)| {
            let why = result.as_ref().err()?;
            let mine = wish.centre != self.id() && in_decision(wish.centre);
            mine.then_some(PartDelivery { centre: wish.centre, result: Err(*why) })
        });
        // One report each: a centre that has reported for itself meanwhile spoils no other's.
        for missing in missing {
            self.report(Deliver { request: opened.request, parts: vec![missing] }).await?;
        }
        Ok(())
    }
}
