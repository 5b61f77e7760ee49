//! Bringing transactions to the ledger, and reading its state.

use crate::{Centre, Error};
use aegle_consensus::{ReceiptError, SubmitError};
use aegle_ledger::{
    Body, Draft, Key, Outcome, PatientRecord, Receipt, Record, Transaction, TxId, keys,
};
use aegle_model::{Handle, PatientId, Timestamp};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many blocks a transaction may wait.
const LIFETIME: u64 = 5_000;
/// How long a caller waits for a transaction to become final.
const FINAL_WITHIN: Duration = Duration::from_secs(10);

impl Centre {
    /// A signed transaction of this centre.
    pub(crate) fn sign(&self, body: Body) -> Transaction {
        let parts = self.parts();
        let author = (self.id(), parts.key.public());
        let expires = parts.ledger.status().height + LIFETIME;
        let nonce = u64::from_le_bytes(random());
        Draft::new(parts.genesis.network(), author, expires, nonce, body).sign(&parts.key)
    }

    /// Submits and waits until final. A rejected transaction is an error.
    pub(crate) async fn commit(&self, body: Body) -> Result<Receipt, Error> {
        let receipt = self.finish(self.sign(body)).await?;
        match &receipt.outcome {
            Outcome::Rejected(rejection) => Err((*rejection).into()),
            _ => Ok(receipt),
        }
    }

    /// Submits a signed transaction and waits until it is final, whatever its outcome.
    pub(crate) async fn finish(&self, transaction: Transaction) -> Result<Receipt, Error> {
        let id = self.submit(transaction).await?;
        in_time(self.parts().ledger.receipt(id)).await
    }

    /// Submits a signed transaction and waits until it is final, for those who need no receipt.
    pub(crate) async fn settle(&self, transaction: Transaction) -> Result<Settled, Error> {
        let id = match self.submit(transaction).await {
            Err(Error::Expired) => return Ok(Settled::Expired),
            submitted => submitted?,
        };
        match in_time(self.parts().ledger.wait(id)).await {
            Err(Error::Expired) => Ok(Settled::Expired),
            settled => settled.map(|_| Settled::Final),
        }
    }

    async fn submit(&self, transaction: Transaction) -> Result<TxId, Error> {
        match self.parts().ledger.submit(transaction).await {
            Ok(id) | Err(SubmitError::Waiting(id) | SubmitError::Final(id)) => Ok(id),
            Err(SubmitError::Expired { .. }) => Err(Error::Expired),
            Err(SubmitError::Quota | SubmitError::Full | SubmitError::Stopped(_)) => {
                Err(Error::Unavailable { part: "ledger" })
            }
            Err(error) => Err(Error::internal(error)),
        }
    }

    /// One record of the final state.
    pub(crate) async fn record<T: Record>(&self, key: Key) -> Result<Option<T>, Error> {
        Ok(self.records(&[key]).await?.remove(0))
    }

    /// Several records of one kind, as of the same height.
    pub(crate) async fn records<T: Record>(&self, keys: &[Key]) -> Result<Vec<Option<T>>, Error> {
        let snapshot = self.parts().ledger.read(keys).await?;
        Ok(snapshot
            .values
            .into_iter()
            .map(|bytes| bytes.and_then(|bytes| T::read(&bytes)))
            .collect())
    }

    /// What the ledger holds about a patient.
    pub(crate) async fn patient(&self, patient: PatientId) -> Result<Option<PatientRecord>, Error> {
        self.record(keys::patient(patient)).await
    }

    /// The patient with this handle.
    pub(crate) async fn patient_by(
        &self,
        handle: Handle,
    ) -> Result<Option<(PatientId, PatientRecord)>, Error> {
        let Some(patient) = self.record(keys::handle(handle)).await? else { return Ok(None) };
        Ok(self.patient(patient).await?.map(|record| (patient, record)))
    }
}

/// What became of a transaction.
pub(crate) enum Settled {
    /// It stands in the chain.
    Final,
    /// It never will.
    Expired,
}

async fn in_time<T>(answer: impl Future<Output = Result<T, ReceiptError>>) -> Result<T, Error> {
    match tokio::time::timeout(FINAL_WITHIN, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(ReceiptError::Expired)) => Err(Error::Expired),
        Ok(Err(_)) | Err(_) => Err(Error::Unconfirmed),
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// This node's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
