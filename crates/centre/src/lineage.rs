//! Lineage: what became of every part reaches the ledger, also across a crash.

use crate::submit::Settled;
use crate::{Centre, Error, chain};
use aegle_ledger::{Body, Deliver, Missing, PartDelivery, Transaction};
use aegle_model::Canonical;
use std::time::Duration;

/// How long until a report is brought to the ledger again.
const AGAIN: Duration = Duration::from_secs(2);

impl Centre {
    /// Keeps the report in the outbox and brings it to the ledger in the background.
    pub(crate) async fn report(&self, deliver: Deliver) -> Result<(), Error> {
        let transaction = self.sign(Body::Deliver(deliver));
        self.parts().store.put_outbox(transaction.id(), transaction.to_bytes()).await?;
        self.carry(transaction);
        Ok(())
    }

    /// Takes up what an earlier run of this node left: the outbox, and parts that a crash
    /// interrupted between the lake and the requester.
    pub async fn resume(&self) -> Result<(), Error> {
        for bytes in self.parts().store.outbox()? {
            match Transaction::from_bytes(&bytes) {
                Ok(transaction) => self.carry(transaction),
                Err(error) => {
                    tracing::error!(%error, "The outbox holds bytes that are no transaction");
                }
            }
        }
        for request in self.parts().lake.interrupted() {
            let parts = vec![PartDelivery { centre: self.id(), result: Err(Missing::Interrupted) }];
            self.report(Deliver { request: *request, parts }).await?;
        }
        Ok(())
    }

    fn carry(&self, transaction: Transaction) {
        let centre = self.clone();
        tokio::spawn(async move {
            if let Err(error) = centre.bring(transaction).await {
                let error = chain(&error);
                tracing::error!(error, "A report of the outbox waits for the next start");
            }
        });
    }

    /// Tries until the transaction is final; one that expired is signed again.
    async fn bring(&self, mut transaction: Transaction) -> Result<(), Error> {
        let store = &self.parts().store;
        loop {
            match self.settle(transaction.clone()).await {
                Ok(Settled::Final) => return Ok(store.drop_outbox(&transaction.id())?),
                Ok(Settled::Expired) => {
                    let anew = self.sign(transaction.body().clone());
                    let ids = (&transaction.id(), &anew.id());
                    store.replace_outbox(ids, &anew.to_bytes())?;
                    transaction = anew;
                }
                Err(Error::Unavailable { .. } | Error::Unconfirmed) => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
