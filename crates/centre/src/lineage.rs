//! Lineage: what became of every part reaches the ledger, also across a crash.

use crate::{Centre, Error, chain};
use aegle_ledger::{Body, Deliver, Delivered, Missing, PartDelivery, Transaction};
use aegle_model::{Canonical, RequestId};
use std::collections::BTreeSet;

impl Centre {
    /// Keeps the report in the outbox and brings it to the ledger in the background.
    pub(crate) async fn report(&self, deliver: Deliver) -> Result<(), Error> {
        let transaction = self.keep(deliver).await?;
        self.carry(transaction);
        Ok(())
    }

    /// [`report`](Self::report) of this centre's own part, which the lake remembers until then.
    pub(crate) async fn report_own(
        &self,
        request: RequestId,
        result: Result<Delivered, Missing>,
    ) -> Result<(), Error> {
        let parts = vec![PartDelivery { centre: self.id(), result }];
        let transaction = self.keep(Deliver { request, parts }).await?;
        // While the outbox still holds it: so a crash here does not tell of it twice.
        self.forget(request);
        self.carry(transaction);
        Ok(())
    }

    async fn keep(&self, deliver: Deliver) -> Result<Transaction, Error> {
        let transaction = self.sign(Body::Deliver(deliver));
        self.parts().store.put_outbox(transaction.id(), transaction.to_bytes()).await?;
        Ok(transaction)
    }

    fn forget(&self, request: RequestId) {
        if let Err(error) = self.parts().lake.forget(request) {
            let error = chain(&error);
            tracing::warn!(error, "The lake could not forget a request that was told on");
        }
    }

    /// Takes up what an earlier run of this node left: the outbox, changes of rules, and parts that a
    /// crash interrupted between the lake and the requester.
    pub async fn resume(&self) -> Result<(), Error> {
        self.resume_changes()?;
        self.tell_in_background();
        let mut told = BTreeSet::new();
        for bytes in self.parts().store.outbox()? {
            match Transaction::from_bytes(&bytes) {
                Ok(transaction) => {
                    told.extend(self.tells_of(&transaction));
                    self.carry(transaction);
                }
                Err(error) => {
                    tracing::error!(%error, "The outbox holds bytes that are no transaction");
                }
            }
        }
        for request in self.parts().lake.interrupted() {
            if told.contains(request) {
                self.forget(*request);
            } else {
                self.report_own(*request, Err(Missing::Interrupted)).await?;
            }
        }
        Ok(())
    }

    /// The request whose part of this centre a report tells of.
    fn tells_of(&self, transaction: &Transaction) -> Option<RequestId> {
        let Body::Deliver(deliver) = transaction.body() else { return None };
        let own = deliver.parts.iter().any(|part| part.centre == self.id());
        own.then_some(deliver.request)
    }

    /// Removes the finished parts that nobody claimed in time, and tells the ledger that they were
    /// not delivered.
    pub async fn sweep(&self) -> Result<(), Error> {
        let expired = self.with_lake(aegle_lake::Lake::sweep).await?;
        if !expired.is_empty() {
            let removed = expired.len();
            tracing::info!(removed, "Parts that nobody claimed in time were removed");
        }
        for request in expired {
            self.report_own(request, Err(Missing::Interrupted)).await?;
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
