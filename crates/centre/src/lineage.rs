//! Lineage: what became of every part reaches the ledger, also across a crash.

use crate::{Centre, Error, chain};
use aegle_ledger::{Body, Deliver, Missing, PartDelivery, Transaction};
use aegle_model::Canonical;

impl Centre {
    /// Keeps the report in the outbox and brings it to the ledger in the background.
    pub(crate) async fn report(&self, deliver: Deliver) -> Result<(), Error> {
        let transaction = self.sign(Body::Deliver(deliver));
        self.parts().store.put_outbox(transaction.id(), transaction.to_bytes()).await?;
        self.carry(transaction);
        Ok(())
    }

    /// Takes up what an earlier run of this node left: the outbox, changes of rules, and parts that a
    /// crash interrupted between the lake and the requester.
    pub async fn resume(&self) -> Result<(), Error> {
        self.resume_changes()?;
        self.tell_in_background();
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
            self.parts().lake.forget_interrupted(*request).map_err(Error::internal)?;
        }
        Ok(())
    }

    /// Removes the finished parts that nobody claimed in time.
    pub async fn sweep(&self) -> Result<(), Error> {
        let removed = self.with_lake(aegle_lake::Lake::sweep).await?;
        if removed > 0 {
            tracing::info!(removed, "Parts that nobody claimed in time were removed");
        }
        Ok(())
    }

    fn carry(&self, transaction: Transaction) {
        let centre = self.clone();
        tokio::spawn(async move {
            if let Err(error) = centre.deliver(transaction).await {
                let error = chain(&error);
                tracing::error!(error, "A report of the outbox waits for the next start");
            }
        });
    }

    async fn deliver(&self, transaction: Transaction) -> Result<(), Error> {
        let store = &self.parts().store;
        let replace = |old: &Transaction, new: &Transaction| {
            store.replace_outbox((&old.id(), &new.id()), &new.to_bytes())
        };
        let (id, _) = self.bring(transaction, replace).await?;
        Ok(store.drop_outbox(&id)?)
    }
}
