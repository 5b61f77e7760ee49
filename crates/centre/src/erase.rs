//! Erasures: what the lake has destroyed is told to the ledger, once, and its receipt is kept.
//!
//! The lake erases by itself, whether a node runs or not; here is only what follows. The transaction
//! is kept before it is brought, and the lake forgets the pseudonym when it is final: a crash in
//! between tells the ledger the same again, which takes it once.

use crate::submit::random;
use crate::{Centre, Error};
use aegle_lake::{Erasure, Lake};
use aegle_ledger::{Body, Erase, Outcome, Receipt, Rejection, Transaction};
use aegle_model::{Canonical, Hash, PatientId};

/// The proof that the ledger was told of an erasure.
pub struct ErasureReceipt {
    /// The transaction.
    pub transaction: Hash,
    /// Why it stands there.
    pub receipt: Receipt,
}

impl Centre {
    /// Tells the ledger of erasures that it does not know, oldest first; `keep` gets each receipt
    /// before the erasure counts as told. Tries until it has told them all.
    pub async fn tell_erasures(
        &self,
        keep: impl Fn(&ErasureReceipt) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let erasures = self.with_lake(Lake::erasures).await?.map_err(Error::internal)?;
        let untold: Vec<_> =
            erasures.into_iter().filter_map(|erasure| Some((erasure.patient?, erasure))).collect();
        if untold.is_empty() {
            return Ok(());
        }
        // Emergencies of before: the ledger takes those of linked patients only.
        self.tell().await?;
        for (patient, erasure) in untold {
            self.tell_erasure(patient, &erasure, &keep).await?;
        }
        Ok(())
    }

    async fn tell_erasure(
        &self,
        patient: PatientId,
        erasure: &Erasure,
        keep: &impl Fn(&ErasureReceipt) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let (store, number) = (&self.parts().store, erasure.number);
        let transaction = if let Some(kept) = store.erasure(number)? {
            Transaction::from_bytes(&kept).map_err(Error::internal)?
        } else {
            let Erasure { epoch, commitment, .. } = *erasure;
            let body = Body::Erase(Erase { patient, epoch, commitment });
            let transaction = self.sign_with(u64::from_le_bytes(random()), body);
            store.keep_erasure(number, &transaction.to_bytes())?;
            transaction
        };
        let replace =
            |_: &Transaction, anew: &Transaction| store.keep_erasure(number, &anew.to_bytes());
        let (transaction, position) = self.bring(transaction, replace).await?;
        match self.at(position).await?.1 {
            Outcome::Rejected(why @ (Rejection::NotLinked | Rejection::UnknownPatient)) => {
                // The lake was linked, the ledger is not: an earlier run told it, or never did.
                tracing::warn!(number, %why, "An erasure ends a link that the ledger does not have");
            }
            Outcome::Rejected(why) => return Err(why.into()),
            _ => {
                let receipt = self.parts().ledger.receipt(transaction).await;
                let receipt = receipt.map_err(Error::internal)?;
                keep(&ErasureReceipt { transaction, receipt }).map_err(Error::internal)?;
            }
        }
        let told = move |lake: &Lake| lake.told(number, transaction);
        self.with_lake(told).await?.map_err(Error::internal)?;
        Ok(store.drop_erasure(number, patient)?)
    }
}
