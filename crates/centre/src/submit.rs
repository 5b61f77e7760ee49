//! Bringing transactions to the ledger, and reading its state.

use crate::{Centre, Error};
use aegle_consensus::{ReceiptError, SubmitError};
use aegle_ledger::{
    Body, Certificate, Draft, Key, Outcome, PatientRecord, Position, Receipt, Record, Transaction,
    TxId, keys,
};
use aegle_model::{Handle, PatientId, Timestamp};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many blocks a transaction may wait.
const LIFETIME: u64 = 5_000;
/// How long a caller waits for a transaction to become final.
pub(crate) const FINAL_WITHIN: Duration = Duration::from_secs(10);
/// How long until a transaction is brought to the ledger again.
pub(crate) const AGAIN: Duration = Duration::from_secs(2);

impl Centre {
    /// A signed transaction of this centre.
    pub(crate) fn sign(&self, body: Body) -> Transaction {
        self.sign_with(u64::from_le_bytes(random()), body)
    }

    /// A signed transaction of this centre with a nonce.
    pub(crate) fn sign_with(&self, nonce: u64, body: Body) -> Transaction {
        let parts = self.parts();
        let author = (self.id(), parts.key.public());
        let expires = parts.ledger.status().height + LIFETIME;
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

    /// Tries until the transaction is final, and says where it stands. One that expired, or was signed
    /// with a key that this centre had before, is signed again; `replace` keeps the new one in the
    /// place of the old one first.
    pub(crate) async fn bring<E: Into<Error>>(
        &self,
        mut transaction: Transaction,
        replace: impl Fn(&Transaction, &Transaction) -> Result<(), E>,
    ) -> Result<(TxId, Position), Error> {
        let anew = |old: &Transaction| -> Result<Transaction, Error> {
            let anew = self.sign_with(old.nonce(), old.body().clone());
            replace(old, &anew).map_err(Into::into)?;
            Ok(anew)
        };
        if transaction.key() != self.parts().key.public() {
            transaction = anew(&transaction)?;
        }
        loop {
            match self.settle(transaction.clone()).await {
                Ok(position) => return Ok((transaction.id(), position)),
                Err(Error::Expired) => transaction = anew(&transaction)?,
                Err(Error::Unavailable { .. } | Error::Unconfirmed) => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Submits a signed transaction and waits until it is final, for those who need no receipt.
    async fn settle(&self, transaction: Transaction) -> Result<Position, Error> {
        let id = self.submit(transaction).await?;
        in_time(self.parts().ledger.wait(id)).await
    }

    /// Whether the ledger runs here and is connected to enough nodes to agree.
    pub fn agrees(&self) -> bool {
        let status = self.parts().ledger.status();
        status.running && status.connected + 1 >= Certificate::quorum(status.validators)
    }

    async fn submit(&self, transaction: Transaction) -> Result<TxId, Error> {
        match self.parts().ledger.submit(transaction).await {
            Ok(id) | Err(SubmitError::Waiting(id) | SubmitError::Final(id)) => Ok(id),
            Err(SubmitError::Expired { .. }) => Err(Error::Expired),
            Err(
                SubmitError::Foreign
                | SubmitError::Quota
                | SubmitError::Full
                | SubmitError::Stopped(_),
            ) => Err(Error::Unavailable { part: "ledger" }),
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
