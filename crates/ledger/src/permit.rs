//! The permit: what a receipt allows one centre to hand out. The only key to a lake.

use crate::{Body, Centre, Disclose, OpenedRequest, Transaction, VerifiedReceipt};
use aegle_access::{Decision, decide_late};
use aegle_model::{
    CellId, CentreId, Hash, PatientId, RecordKey, RequestId, Requester, Timestamp, Vocabulary,
};
use std::collections::BTreeSet;

/// How long after its block a receipt may be used, in milliseconds. Rules may change meanwhile.
const FRESH_MS: u64 = 120_000;

/// Exactly these cells of this patient may leave, sealed to this recipient.
///
/// There is no other way to make one than [`admit`] and, in an emergency, [`admit_late`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    request: RequestId,
    receipt: Hash,
    patient: PatientId,
    cells: BTreeSet<CellId>,
    catalogue: u32,
    recipient: [u8; 65],
}

/// Why a receipt and an opened request permit nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// The receipt is not about a decided disclosure.
    #[error("the receipt is not that of a decided disclosure")]
    NotADisclosure,
    /// The opened request is not the one that was decided.
    #[error("the opened request is not the one on the ledger")]
    OtherRequest,
    /// The requester's centre did not answer for it.
    #[error("the requester's own centre did not sign the request")]
    Requester,
    /// The guardian's tokens are not those of the opened request.
    #[error("the tokens on the ledger are not those of the opened request")]
    Tokens,
    /// This centre is not asked.
    #[error("the request does not ask this centre")]
    NotAsked,
    /// Decided too long ago.
    #[error("the receipt is older than {s} seconds; ask again", s = FRESH_MS / 1000)]
    Stale,
}

/// Checks, at data centre `me`, that the ledger decided exactly the opened request, and yields
/// what it permits. `vocabulary` is the centre's own; `key` the patient's record key.
pub fn admit(
    receipt: &VerifiedReceipt,
    opened: &OpenedRequest,
    key: &RecordKey,
    (me, vocabulary): (CentreId, &Vocabulary),
    now: Timestamp,
) -> Result<Permit, PermitError> {
    let (disclose, decision) = receipt.decided().ok_or(PermitError::NotADisclosure)?;
    // Of two faults the first is told: what is not this request's is not looked at any further.
    is_of(disclose, opened)?;
    if now.0 > receipt.receipt().anchor.header.time.0.saturating_add(FRESH_MS) {
        return Err(PermitError::Stale);
    }
    permitted((disclose, decision, receipt.hash()), opened, key, (me, vocabulary))
}

/// What an entry of this centre's own journal permits: it must be signed, and on disk before.
pub fn admit_late(
    entry: &Transaction,
    opened: &OpenedRequest,
    key: &RecordKey,
    (me, vocabulary): (&Centre, &Vocabulary),
) -> Result<Permit, PermitError> {
    let Body::Late(late) = entry.body() else { return Err(PermitError::NotADisclosure) };
    let own = (entry.author(), entry.key()) == (me.id, me.key);
    if !own || entry.check(opened.network).is_err() {
        return Err(PermitError::Requester);
    }
    is_of(&late.disclose, opened)?;
    let decision = decide_late(&late.disclose.question);
    permitted((&late.disclose, &decision, entry.id()), opened, key, (me.id, vocabulary))
}

fn is_of(disclose: &Disclose, opened: &OpenedRequest) -> Result<(), PermitError> {
    let same = (disclose.opened, disclose.request, disclose.patient);
    if same == (opened.hash(), opened.request, opened.patient) {
        Ok(())
    } else {
        Err(PermitError::OtherRequest)
    }
}

fn permitted(
    (disclose, decision, receipt): (&Disclose, &Decision, Hash),
    opened: &OpenedRequest,
    key: &RecordKey,
    (me, vocabulary): (CentreId, &Vocabulary),
) -> Result<Permit, PermitError> {
    if let Requester::Professional { centre, .. } = opened.requester
        && centre != disclose.requester.centre
    {
        return Err(PermitError::Requester);
    }
    let question = &disclose.question;
    if question.subject != opened.subject(key) || question.purpose != opened.purpose {
        return Err(PermitError::Tokens);
    }
    let wish = opened.wishes.iter().find(|wish| wish.centre == me).ok_or(PermitError::NotAsked)?;
    let position =
        question.parts.iter().position(|part| part.centre() == me).ok_or(PermitError::NotAsked)?;
    let (part, cells) = opened.part(wish, key, vocabulary).map_err(|_| PermitError::Tokens)?;
    if part != question.parts[position] || disclose.catalogues[position] != vocabulary.version {
        return Err(PermitError::Tokens);
    }
    let granted = decision.granted[position].iter().map(|position| cells[position]).collect();
    Ok(Permit {
        request: opened.request,
        receipt,
        patient: opened.patient,
        cells: granted,
        catalogue: vocabulary.version,
        recipient: opened.recipient,
    })
}

impl Permit {
    #[cfg(feature = "fixture")]
    pub(crate) fn for_tests(
        (request, receipt): (RequestId, Hash),
        patient: PatientId,
        (cells, catalogue): (BTreeSet<CellId>, u32),
        recipient: [u8; 65],
    ) -> Self {
        Self { request, receipt, patient, cells, catalogue, recipient }
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The receipt's hash.
    pub fn receipt(&self) -> Hash {
        self.receipt
    }

    /// Whose record.
    pub fn patient(&self) -> PatientId {
        self.patient
    }

    /// The cells that may leave; none when everything was refused.
    pub fn cells(&self) -> &BTreeSet<CellId> {
        &self.cells
    }

    /// The version of the vocabulary that the cells belong to.
    pub fn catalogue(&self) -> u32 {
        self.catalogue
    }

    /// To whom the part is sealed: an uncompressed P-256 point.
    pub fn recipient(&self) -> &[u8; 65] {
        &self.recipient
    }
}
