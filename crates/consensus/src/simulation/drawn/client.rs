//! A client at each validator that never gives up, as a node's outbox does.

use crate::{
    client::{Ledger, SubmitError},
    fixture,
};
use aegle_access::{Effect, Purpose, Purposes, Rule, Scope};
use aegle_ledger::{
    Attestation, Body, Disclose, Draft, Enrol, Genesis, Grant, OpenedRequest, Publish, Receipt,
    Revoke, Transaction, TxId, Wish, fixture::vocabulary, rule_id,
};
use aegle_model::{
    ALL, CentreId, Grantee, Name, PatientId, RecordKey, RequestId, Requester, SigningKey,
    Timestamp, Window,
};
use commonware_macros::select;
use commonware_runtime::{Clock as _, deterministic};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// The last height at which a client's transactions may enter.
pub(super) const EXPIRES: u64 = 50_000;

/// Where a client finds the ledger of its validator while that runs.
pub(super) type Desk = Arc<Mutex<Option<Ledger>>>;

/// What one centre submits: its catalogue, a patient, then rules and requests in turn.
pub(super) struct Script {
    pub(super) genesis: Genesis,
    pub(super) centre: CentreId,
    /// The key that the centre has now.
    pub(super) key: SigningKey,
}

impl Script {
    fn patient(&self) -> PatientId {
        PatientId::from_array(self.centre.as_bytes()[..16].try_into().unwrap())
    }

    /// The transaction with this number.
    pub(super) fn transaction(&self, number: u64) -> Transaction {
        let body = match (number, number % 4) {
            (0, _) => Body::Publish(Publish { vocabulary: vocabulary() }),
            (1, _) => {
                let commitment = record_key().commitment();
                Body::Enrol(Enrol { patient: self.patient(), commitment })
            }
            (_, 2) => Body::Grant(self.grant()),
            (_, 0) => {
                let granted = self.transaction(number - 2).change_id().unwrap();
                Body::Revoke(Revoke { patient: self.patient(), rule: rule_id(&granted) })
            }
            _ => Body::Disclose(Box::new(self.disclose(number))),
        };
        self.sign(number, body)
    }

    /// A transaction of the centre.
    pub(super) fn sign(&self, nonce: u64, body: Body) -> Transaction {
        let author = (self.centre, self.key.public());
        Draft::new(self.genesis.network(), author, EXPIRES, nonce, body).sign(&self.key)
    }

    fn grant(&self) -> Grant {
        let name = Name::new("medication").unwrap();
        let grantee = Grantee::Department { centre: self.centre, id: Name::new("1").unwrap() };
        let rule = Rule {
            effect: Effect::Allow,
            grantee: record_key().grantee(&grantee),
            scope: Scope::new(vec![record_key().tag_at(self.centre, &name, 1)]).unwrap(),
            window: Window::ALWAYS,
            purposes: Purposes::ANY,
        };
        Grant { patient: self.patient(), rule, sealed: vec![1; 80] }
    }

    fn disclose(&self, number: u64) -> Disclose {
        let (key, vocabulary) = (record_key(), vocabulary());
        let mut request = *self.patient().as_bytes();
        request[..8].copy_from_slice(&number.to_be_bytes());
        let opened = OpenedRequest {
            network: self.genesis.network(),
            request: RequestId::from_array(request),
            patient: self.patient(),
            requester: Requester::Professional {
                centre: self.centre,
                id: Name::new("207").unwrap(),
                departments: vec![Name::new("1").unwrap()],
            },
            purpose: Purpose::Treatment,
            reason: None,
            wishes: vec![Wish { centre: self.centre, tags: vec![Name::new(ALL).unwrap()] }],
            recipient: [4; 65],
            asked: Timestamp(1_000),
        };
        let (question, catalogues) = opened.question(&key, |_| Some(&vocabulary)).unwrap();
        Disclose {
            request: opened.request,
            patient: opened.patient,
            requester: Attestation::of_request(&opened, self.centre, &self.key),
            opened: opened.hash(),
            sealed: vec![0; 64],
            question,
            catalogues,
        }
    }

    /// Submits `count` transactions of no further use without waiting for any.
    pub(super) async fn flood(&self, ledger: &Ledger, count: u64) {
        for number in 0..count {
            let transaction = fixture::enrol(&self.genesis, &self.key, number, EXPIRES);
            if let Err(SubmitError::Stopped(_)) = ledger.submit(transaction).await {
                return;
            }
        }
    }
}

fn record_key() -> RecordKey {
    RecordKey::from_array([9; 32])
}

/// One attempt; nothing when it has to be repeated.
pub(super) async fn attempt(
    clock: &deterministic::Context,
    desk: &Desk,
    transaction: &Transaction,
) -> Result<Option<Receipt>, String> {
    let Some(ledger) = desk.lock().unwrap().clone() else { return Ok(None) };
    match ledger.submit(transaction.clone()).await {
        Ok(_) | Err(SubmitError::Waiting(_) | SubmitError::Final(_)) => {}
        // A node that lags does not know yet who is a member.
        Err(
            SubmitError::Stopped(_) | SubmitError::Quota | SubmitError::Full | SubmitError::Foreign,
        ) => return Ok(None),
        Err(error) => return Err(refused(transaction.id(), &error)),
    }
    let receipt = select! {
        receipt = ledger.receipt(transaction.id()) => receipt,
        () = clock.sleep(Duration::from_secs(5)) => return Ok(None),
    };
    // Nothing expires here, but what was signed with an earlier key.
    Ok(receipt.ok())
}

fn refused(id: TxId, why: &dyn std::error::Error) -> String {
    format!("the transaction {id} was not taken: {why}")
}
