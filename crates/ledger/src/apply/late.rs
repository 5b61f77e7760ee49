//! Emergencies that happened while the ledger could not be reached.

use super::{Applied, work::Work};
use crate::outcome::{Outcome, Rejection};
use crate::state::{JournalRecord, PatientRecord, keys};
use crate::transaction::{Disclose, Late, TxId};
use aegle_access::{Purpose, Subject, decide_late};
use aegle_model::CentreId;

impl Work<'_> {
    /// Notes what has left. It is not decided again: whatever the rules or the policy are by now, the
    /// log tells what happened.
    pub(super) fn late(&mut self, author: CentreId, id: TxId, late: &Late) -> Applied {
        let Late { disclose, number, previous, .. } = late;
        let Some(record) = self.patient(disclose.patient)? else {
            return Ok(Err(Rejection::UnknownPatient));
        };
        if !is_own_emergency(author, disclose, &record) {
            return Ok(Err(Rejection::NotForJournal));
        }
        if let Err(rejection) = self.entitled(author, disclose, &record)? {
            return Ok(Err(rejection));
        }
        if self.is_decided(disclose.request)? {
            return Ok(Err(Rejection::Decided));
        }
        let key = keys::journal(author);
        let journal: JournalRecord = self.get(key)?.unwrap_or_default();
        if (journal.entries, journal.last) != (*number, *previous) {
            return Ok(Err(Rejection::BrokenJournal));
        }
        self.put(key, &JournalRecord { entries: number + 1, last: late.link() });
        self.keep_disclosure(id, disclose);
        Ok(Ok(Outcome::Decided(decide_late(&disclose.question))))
    }
}

fn is_own_emergency(author: CentreId, disclose: &Disclose, patient: &PatientRecord) -> bool {
    let question = &disclose.question;
    let [part] = question.parts.as_slice() else { return false };
    question.purpose == Purpose::Emergency
        && matches!(question.subject, Subject::Professional(_))
        && part.centre() == author
        && disclose.requester.centre == author
        && disclose.catalogues.len() == 1
        && patient.link(author).is_some()
}
