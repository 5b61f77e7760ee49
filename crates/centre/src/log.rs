//! The own access log: who asked, what was decided, what left; with the proof that it is complete.

use crate::book::says;
use crate::{Caller, Centre, Error, seal};
use aegle_access::Purpose;
use aegle_ledger::{
    Body, Disclose, HeadProof, LogEntry, NetworkRecord, OpenedRequest, OpenedRule, Outcome,
    PartDelivery, PatientLog, PatientRecord, Position, Record, TxId, change_id, keys, rule_id,
};
use aegle_model::{CentreId, Hash, PatientId, RecordKey, RequestId, RuleId, Timestamp};

/// How often a log is read again when it grows while it is read.
const TRIES: usize = 8;

/// A patient's log as people read it, and its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Oldest first.
    pub entries: Vec<LogView>,
    /// The same entries as they stand on the ledger, with the proof.
    pub proof: PatientLog,
    /// Whether the proof holds against the network's genesis.
    pub complete: bool,
}

/// One entry as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogView {
    /// The position in the log, from 0.
    pub number: u64,
    /// The block.
    pub height: u64,
    /// The block's time.
    pub time: Timestamp,
    /// The centre that submitted it.
    pub author: CentreId,
    /// What happened.
    pub seen: Seen,
}

/// What happened. Readable parts are none when they do not open under the record key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The patient came into the network.
    Enrolled,
    /// A centre was linked.
    Linked {
        /// Whether it may speak for the patient.
        speaks: bool,
    },
    /// A rule came into force.
    Granted {
        /// The rule's id.
        rule: RuleId,
        /// The rule.
        opened: Option<Box<OpenedRule>>,
    },
    /// A rule went out of force.
    Revoked {
        /// The rule's id.
        rule: RuleId,
    },
    /// Earlier rules came back into force.
    Restored {
        /// The height whose rules they are.
        to: u64,
    },
    /// The record was asked for.
    Asked {
        /// The request's id.
        request: RequestId,
        /// The requester's centre.
        requester: CentreId,
        /// Whether the glass was broken: said in the clear, so it shows whatever else opens.
        emergency: bool,
        /// When it happened, if the ledger was told afterwards: by the centre's clock.
        late: Option<Timestamp>,
        /// The request.
        opened: Option<Box<OpenedRequest>>,
        /// Per data centre: cells granted of cells asked for.
        granted: Vec<(CentreId, usize, usize)>,
    },
    /// What became of parts.
    Delivered {
        /// The request's id.
        request: RequestId,
        /// The parts.
        parts: Vec<PartDelivery>,
    },
    /// The author destroyed the keys to everything it held of the patient, and is linked no more.
    Erased {
        /// The first of the author's key epochs in which nothing can be read.
        epoch: u32,
        /// Binds the author to what it noted about the erasure.
        commitment: Hash,
    },
    /// A transaction that concerns no patient; never in a complete log.
    Other,
}

impl Centre {
    /// The calling patient's log. Who was erased here reads what is not sealed.
    pub async fn log(&self, caller: &Caller) -> Result<LogPage, Error> {
        let patient = caller.patient()?;
        let key = self.record_key(patient).await?;
        let proof = self.patient_log(patient).await?;
        // One signature for each entry: too long for the threads that answer.
        let (genesis, checked) = (self.parts().genesis.clone(), proof.clone());
        let verified = tokio::task::spawn_blocking(move || checked.verify(&genesis).is_ok());
        let complete = verified.await.map_err(Error::internal)?;
        let entries = proof.entries.iter().zip(0..);
        let entries = entries.map(|(entry, number)| view(number, entry, key.as_ref())).collect();
        Ok(LogPage { entries, proof, complete })
    }

    /// Gathers entries, head and header as of one height.
    async fn patient_log(&self, patient: PatientId) -> Result<PatientLog, Error> {
        let mut entries = Vec::new();
        for _ in 0..TRIES {
            let record = self.patient(patient).await?.ok_or(Error::NotFound { what: "patient" })?;
            self.add_entries(patient, &record, &mut entries).await?;
            if let Some(log) = self.close_log(patient, &record, &entries).await? {
                return Ok(log);
            }
        }
        Err(Error::Unavailable { part: "ledger" })
    }

    /// Appends the entries that `record` counts and `entries` does not hold yet.
    async fn add_entries(
        &self,
        patient: PatientId,
        record: &PatientRecord,
        entries: &mut Vec<LogEntry>,
    ) -> Result<(), Error> {
        let numbers = entries.len() as u64..record.entries;
        let wanted: Vec<_> = numbers.map(|number| keys::entry(patient, number)).collect();
        for some in wanted.chunks(aegle_consensus::KEYS_MAX) {
            let ids: Vec<Option<TxId>> = self.records(some).await?;
            let places: Vec<_> = ids.iter().flatten().map(keys::transaction).collect();
            let positions: Vec<Option<Position>> = self.records(&places).await?;
            // Entries come in the order of blocks, and blocks are large: one is kept at a time.
            let mut block = None;
            for position in positions.into_iter().flatten() {
                entries.push(self.entry(position, &mut block).await?);
            }
        }
        Ok(())
    }

    async fn entry(
        &self,
        position: Position,
        block: &mut Option<aegle_ledger::Block>,
    ) -> Result<LogEntry, Error> {
        let missing = || Error::Unavailable { part: "ledger" };
        let known = block.take().filter(|block| block.header.height == position.height);
        let block = if let Some(known) = known {
            block.insert(known)
        } else {
            let read = self.parts().ledger.block(position.height).await?;
            block.insert(read.ok_or_else(missing)?)
        };
        let (transaction, outcome) =
            block.entries.get(position.index as usize).ok_or_else(missing)?.clone();
        Ok(LogEntry { height: position.height, time: block.header.time, transaction, outcome })
    }

    /// The log, unless it has grown meanwhile.
    async fn close_log(
        &self,
        patient: PatientId,
        record: &PatientRecord,
        entries: &[LogEntry],
    ) -> Result<Option<PatientLog>, Error> {
        let network: Option<NetworkRecord> = self.record(keys::network()).await?;
        let patients = network.map_or(0, |network| network.patients);
        let mut wanted = vec![keys::patient(patient), keys::network()];
        wanted.extend(keys::head_path(record.index, patients));
        let snapshot = self.parts().ledger.read(&wanted).await?;
        let [newest, network, pages @ ..] = snapshot.values.as_slice() else { return Ok(None) };
        let newest = newest.as_deref().and_then(PatientRecord::read);
        let network = network.as_deref().and_then(NetworkRecord::read);
        if newest.as_ref() != Some(record)
            || network.map(|network| network.patients) != Some(patients)
        {
            return Ok(None);
        }
        let pages: Vec<Vec<u8>> = pages.iter().flatten().cloned().collect();
        let (Some(head), Some(anchor)) = (
            HeadProof::new(record.index, patients, &pages),
            self.parts().ledger.anchor(snapshot.header.height).await?,
        ) else {
            return Ok(None);
        };
        Ok(Some(PatientLog { patient, entries: entries.to_vec(), head, anchor }))
    }
}

fn view(number: u64, entry: &LogEntry, key: Option<&RecordKey>) -> LogView {
    let seen = match entry.transaction.body() {
        Body::Publish(_) | Body::Propose(_) | Body::Vote(_) => Seen::Other,
        Body::Enrol(_) => Seen::Enrolled,
        Body::Link(link) => Seen::Linked { speaks: link.speaks },
        Body::Grant(grant) => {
            let rule = rule_id(&change_id(grant.patient, entry.transaction.nonce()));
            let readable = key.and_then(|key| {
                seal::open(key, &grant.sealed).filter(|opened| says(opened, &grant.rule, key))
            });
            Seen::Granted { rule, opened: readable.map(Box::new) }
        }
        Body::Revoke(revoke) => Seen::Revoked { rule: revoke.rule },
        Body::Restore(restore) => Seen::Restored { to: restore.height },
        Body::Disclose(disclose) => asked(disclose, None, &entry.outcome, key),
        Body::Late(late) => asked(&late.disclose, Some(late.at), &entry.outcome, key),
        Body::Deliver(deliver) => {
            Seen::Delivered { request: deliver.request, parts: deliver.parts.clone() }
        }
        Body::Erase(erase) => Seen::Erased { epoch: erase.epoch, commitment: erase.commitment },
    };
    let author = entry.transaction.author();
    LogView { number, height: entry.height, time: entry.time, author, seen }
}

fn asked(
    disclose: &Disclose,
    late: Option<Timestamp>,
    outcome: &Outcome,
    key: Option<&RecordKey>,
) -> Seen {
    Seen::Asked {
        request: disclose.request,
        emergency: disclose.question.purpose == Purpose::Emergency,
        late,
        requester: disclose.requester.centre,
        opened: key.and_then(|key| readable(disclose, key)).map(Box::new),
        granted: granted(disclose, outcome),
    }
}

/// The request in the clear; none when it is not the one that was decided: another centre may have
/// sealed it.
pub(crate) fn readable(disclose: &Disclose, key: &RecordKey) -> Option<OpenedRequest> {
    let opened: OpenedRequest = seal::open(key, &disclose.sealed)?;
    (opened.hash() == disclose.opened).then_some(opened)
}

fn granted(disclose: &Disclose, outcome: &Outcome) -> Vec<(CentreId, usize, usize)> {
    let Outcome::Decided(decision) = outcome else { return Vec::new() };
    let parts = disclose.question.parts.iter().zip(&decision.granted);
    parts.map(|(part, granted)| (part.centre(), granted.len(), part.cells().len())).collect()
}
