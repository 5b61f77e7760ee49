//! Emergencies while the ledger cannot be reached: served from the own lake on the word of the own
//! journal, and told to the ledger when a quorum is back.

use crate::journal::{Entry, Journal, JournalError};
use crate::submit::now;
use crate::{Answer, AnswerPart, Caller, Centre, Error, chain, seal};
use aegle_access::Purpose;
use aegle_lake::Delivery;
use aegle_ledger::{
    Attestation, Body, Deliver, Disclose, JournalRecord, Late, Missing, NetworkRecord,
    OpenedRequest, Outcome, PartDelivery, Permit, Transaction, admit_late, keys,
};
use aegle_model::{CentreId, Hash, RecordKey, RequestId, Requester, Timestamp};

/// An emergency as the centre reviews it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// The position in the centre's journal, from 0.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The request.
    pub request: RequestId,
    /// Who asked and why, as it was asked; none when it does not open any more.
    pub opened: Option<OpenedRequest>,
    /// Whether the ledger, and so the patient's log, has it.
    pub on_ledger: bool,
}

impl Centre {
    /// Whether a request may be answered on the word of the journal: an emergency, asked by this
    /// centre's own staff, while no quorum is there.
    pub(crate) fn may_be_late(&self, opened: &OpenedRequest) -> bool {
        opened.purpose == Purpose::Emergency
            && matches!(&opened.requester, Requester::Professional { centre, .. } if *centre == self.id())
    }

    /// Answers with the own part only; the others are missing.
    pub(crate) async fn answer_late(&self, opened: OpenedRequest) -> Result<Answer, Error> {
        let no_ledger = || Error::Unavailable { part: "ledger" };
        let network: NetworkRecord = self.record(keys::network()).await?.ok_or_else(no_ledger)?;
        if !network.policy.emergency || self.is_own_nobody(opened.patient) {
            return Err(no_ledger());
        }
        let key = self.record_key(opened.patient).await?.ok_or_else(no_ledger)?;
        // Until what left is noted, so that nobody tells the ledger half of it.
        let _one_at_a_time = self.0.journaling.lock().await;
        let (entry, permit) = self.note(&opened, &key).await?;
        // However this ends, the ledger hears of it; it waits for the lock.
        self.tell_in_background();
        let (request, number) = (opened.request, entry.late().number);
        let read = self.with_lake(move |lake| lake.read(&permit)).await?;
        let result = read.as_ref().map(Delivery::lineage).map_err(|_| Missing::Failed);
        let parts = vec![PartDelivery { centre: self.id(), result }];
        let lineage = borsh::to_vec(&Deliver { request, parts }).map_err(Error::internal)?;
        self.with_journal(move |journal| journal.left(number, &lineage)).await?;
        let sealed = read.map_err(Error::internal)?.sealed;
        tracing::warn!(number, "An emergency was served without the ledger; it will be told");
        let part =
            |centre| AnswerPart { centre, sealed: (centre == self.id()).then(|| sealed.clone()) };
        let parts = opened.wishes.iter().map(|wish| part(wish.centre)).collect();
        Ok(Answer { request, receipt: entry.transaction.id(), parts })
    }

    /// Puts the access into the journal. Only then there is a permit.
    async fn note(
        &self,
        opened: &OpenedRequest,
        key: &RecordKey,
    ) -> Result<(Entry, Permit), Error> {
        let no_lake = || Error::Unavailable { part: "lake" };
        let catalogue = self.with_lake(aegle_lake::Lake::catalogue).await?;
        let catalogue = catalogue.map_err(Error::internal)?.ok_or_else(no_lake)?;
        let vocabulary = catalogue.vocabulary();
        let own = |centre| (centre == self.id()).then_some(vocabulary);
        let (question, catalogues) =
            opened.question(key, own).map_err(|error| Error::invalid("tags", error))?;
        if question.parts.is_empty() {
            return Err(Error::Unavailable { part: "ledger" });
        }
        let disclose = Disclose {
            request: opened.request,
            patient: opened.patient,
            requester: Attestation::of_request(opened, self.id(), &self.parts().key),
            opened: opened.hash(),
            sealed: seal::seal(key, opened),
            question,
            catalogues,
        };
        let last = self.journal().await?.pop();
        let (number, previous) = last.as_ref().map_or((0, Hash::ZERO), after);
        let late = Late { disclose, at: now(), number, previous };
        let entry = self.sign(Body::Late(Box::new(late)));
        let members = self.members();
        let me = members.centre(self.id()).ok_or(Error::NotFound { what: "centre" })?;
        let permit = admit_late(&entry, opened, key, (me, vocabulary)).map_err(Error::internal)?;
        let entry = Entry { transaction: entry, told: false, lineage: None };
        let kept = entry.transaction.clone();
        self.with_journal(move |journal| journal.append(&kept)).await?;
        Ok((entry, permit))
    }

    /// What the centre reviews: every emergency of its journal, newest first.
    pub async fn emergencies(&self, caller: &Caller) -> Result<Vec<Emergency>, Error> {
        caller.reviewer()?;
        let mut emergencies = Vec::new();
        for entry in self.journal().await?.into_iter().rev() {
            let Late { disclose, at, number, .. } = entry.late();
            let key = self.record_key(disclose.patient).await?;
            let opened = key.and_then(|key| seal::open(&key, &disclose.sealed));
            let (number, at, request) = (*number, *at, disclose.request);
            emergencies.push(Emergency { number, at, request, opened, on_ledger: entry.told });
        }
        Ok(emergencies)
    }

    /// Tells the ledger what the journal holds and the ledger does not, in the background.
    pub(crate) fn tell_in_background(&self) {
        let centre = self.clone();
        tokio::spawn(async move {
            if let Err(error) = centre.tell().await {
                let error = chain(&error);
                tracing::error!(error, "The journal of emergencies waits for the next start");
            }
        });
    }

    pub(crate) async fn tell(&self) -> Result<(), Error> {
        // Whoever comes while another tells finds everything told.
        let _one_at_a_time = self.0.telling.lock().await;
        let journal = {
            let _whole = self.0.journaling.lock().await;
            self.journal().await?
        };
        for entry in journal.into_iter().filter(|entry| !entry.told) {
            let number = entry.late().number;
            self.tell_one(&entry).await?;
            self.report(deliver(entry, self.id())).await?;
            self.with_journal(move |journal| journal.told(number)).await?;
        }
        Ok(())
    }

    /// Tries until the entry is on the ledger. One that the ledger refuses stops all after it: they
    /// would be refused, too.
    async fn tell_one(&self, entry: &Entry) -> Result<(), Error> {
        let number = entry.late().number;
        let replace = |_: &_, anew: &Transaction| self.parts().journal.replace(number, anew);
        let (_, position) = self.bring(entry.transaction.clone(), replace).await?;
        let Outcome::Rejected(rejection) = self.at(position).await?.1 else { return Ok(()) };
        // One that was signed again may be there already, under its first signature.
        let record: Option<JournalRecord> = self.record(keys::journal(self.id())).await?;
        if record.is_some_and(|record| record.entries > number) {
            return Ok(());
        }
        tracing::error!(number, %rejection, "The ledger refuses an entry of the journal of emergencies");
        Err(rejection.into())
    }

    async fn journal(&self) -> Result<Vec<Entry>, Error> {
        let me = self.id();
        self.with_journal(move |journal| journal.entries(me)).await
    }

    /// Runs a blocking operation of the journal away from the async threads.
    async fn with_journal<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, Error> {
        let centre = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&centre.parts().journal));
        Ok(done.await.map_err(Error::internal)??)
    }
}

fn after(last: &Entry) -> (u64, Hash) {
    (last.late().number + 1, last.late().link())
}

/// The lineage that was noted; without, the node stopped before anything left.
fn deliver(entry: Entry, centre: CentreId) -> Deliver {
    let request = entry.late().disclose.request;
    let noted = entry.lineage.and_then(|bytes| borsh::from_slice(&bytes).ok());
    noted.unwrap_or_else(|| Deliver {
        request,
        parts: vec![PartDelivery { centre, result: Err(Missing::Interrupted) }],
    })
}
