//! Lineage: what became of every part reaches the ledger, also across a crash.

use crate::{Centre, Error};
use aegle_ledger::{Body, Deliver, Missing, PartDelivery, Transaction};
use aegle_model::Canonical;

impl Centre {
    /// Keeps the report in the outbox and brings it to the ledger in the background.
    pub(crate) fn report(&self, deliver: Deliver) -> Result<(), Error> {
        let transaction = self.sign(Body::Deliver(deliver));
        self.parts().store.put_outbox(&transaction.id(), &transaction.to_bytes())?;
        self.carry(transaction);
        Ok(())
    }

    /// Takes up what an earlier run of this node left: the outbox, and parts that a crash
    /// interrupted between the lake and the requester.
    pub fn resume(&self) -> Result<(), Error> {
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
            self.report(Deliver { request: *request, parts })?;
        }
        Ok(())
    }

    fn carry(&self, transaction: Transaction) {
        let (centre, id) = (self.clone(), transaction.id());
        tokio::spawn(async move {
            loop {
                match centre.settle(transaction.clone()).await {
                    Ok(()) => break,
                    Err(Error::Unavailable { .. }) => {
                        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                    }
                    Err(error) => {
                        tracing::error!(%error, transaction = %id, "Lineage could not reach the ledger");
                        break;
                    }
                }
            }
            if let Err(error) = centre.parts().store.drop_outbox(&id) {
                tracing::error!(%error, "The outbox could not be cleared");
            }
        });
    }
}
