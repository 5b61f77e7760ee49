//! Changes of a patient's rules on their way to the ledger: kept on disk first, made once, in order.
//!
//! A change is in force when the ledger says so, and not before. Without a quorum it waits here, also
//! across a crash. It is named by its patient and nonce; the ledger makes none twice, so it does not
//! matter how often, through which node, or signed how many times it is brought there.

use crate::store::{ChangeKey, KeptChange};
use crate::submit::{AGAIN, FINAL_WITHIN, now, random};
use crate::{Centre, Error, chain};
use aegle_ledger::{
    Body, Grant, Outcome, Position, Rejection, Restore, Revoke, Transaction, TxId, change_id, keys,
};
use aegle_model::{Canonical, Hash, PatientId, RecordKey};
use futures::future::try_join_all;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How many changes of one patient may wait.
const WAITING_MAX: usize = 1_000;
/// How many grants of one patient are brought to the ledger at once.
const TOGETHER: usize = 64;
/// How long a caller waits when too few nodes are connected: this may be old news.
const WITHOUT_QUORUM: Duration = Duration::from_secs(1);

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The ledger has it.
    Made,
    /// This node keeps it until the ledger can be reached. It is not in force yet.
    Waiting,
}

/// The changes that are under way.
pub(crate) struct UnderWay {
    /// The patients whose changes are being brought to the ledger.
    patients: Mutex<BTreeSet<PatientId>>,
    /// Told when one is settled.
    settled: watch::Sender<()>,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { patients: Mutex::default(), settled: watch::Sender::new(()) }
    }
}

impl UnderWay {
    fn patients(&self) -> MutexGuard<'_, BTreeSet<PatientId>> {
        self.patients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that is kept here.
pub(crate) struct Kept {
    pub(crate) transaction: Transaction,
    pub(crate) refused: Option<Rejection>,
}

/// The nonce of the change that a client calls by this name, or of one without a name. The same at
/// every centre of the patient; others learn nothing about the name from it.
pub(crate) fn nonce(key: &RecordKey, name: Option<&str>) -> u64 {
    let Some(name) = name else { return u64::from_le_bytes(random()) };
    let hash = Hash::of("aegle.idempotency", &[key.as_bytes(), name.as_bytes()]);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has more than 8 bytes"))
}

impl Centre {
    /// Makes a change, once, and waits for the ledger as long as it can be expected to answer.
    pub(crate) async fn change(
        &self,
        (patient, nonce): ChangeKey,
        body: Body,
    ) -> Result<Progress, Error> {
        let key = (patient, nonce);
        if let Some(made) = self.made(change_id(patient, nonce)).await? {
            return same(&made, &body).map(|()| Progress::Made);
        }
        let store = &self.parts().store;
        if store.change(key)?.is_none() {
            if store.changes(patient)?.len() >= WAITING_MAX {
                return Err(Error::Unavailable { part: "ledger" });
            }
            let transaction = self.sign_with(nonce, body.clone());
            store.put_change(key, transaction.to_bytes(), now()).await?;
        }
        if let Some(kept) = store.change(key)?.and_then(read) {
            same(kept.transaction.body(), &body)?;
        }
        self.carry_changes(patient);
        let patience = if self.agrees() { FINAL_WITHIN } else { WITHOUT_QUORUM };
        let settled = timeout(patience, self.settled(key, &body)).await;
        settled.unwrap_or(Ok(Progress::Waiting))
    }

    /// Waits until the ledger has a change or refused it. Who hears of a refusal has heard of it.
    async fn settled(&self, key: ChangeKey, body: &Body) -> Result<Progress, Error> {
        let store = &self.parts().store;
        let mut settled = self.0.under_way.settled.subscribe();
        while let Some(kept) = store.change(key)? {
            if let Some(rejection) = read(kept).and_then(|kept| kept.refused) {
                store.drop_change(key)?;
                return Err(rejection.into());
            }
            // The sender is a part of the centre, and so lives as long.
            let _ = settled.changed().await;
        }
        match self.made(change_id(key.0, key.1)).await? {
            Some(made) => same(&made, body).map(|()| Progress::Made),
            None => Err(Error::Conflict("the change was refused before".to_owned())),
        }
    }

    /// The changes of a patient that are kept here, oldest first.
    pub(crate) fn kept_changes(&self, patient: PatientId) -> Result<Vec<Kept>, Error> {
        Ok(self.parts().store.changes(patient)?.into_iter().filter_map(read).collect())
    }

    /// Takes up the changes that an earlier run of this node left.
    pub(crate) fn resume_changes(&self) -> Result<(), Error> {
        for patient in self.parts().store.waiting()? {
            self.carry_changes(patient);
        }
        Ok(())
    }

    /// Brings a patient's changes to the ledger in the background, unless that is done already.
    fn carry_changes(&self, patient: PatientId) {
        if !self.0.under_way.patients().insert(patient) {
            return;
        }
        let centre = self.clone();
        tokio::spawn(async move {
            if let Err(error) = centre.bring_changes(patient).await {
                centre.0.under_way.patients().remove(&patient);
                let error = chain(&error);
                tracing::error!(error, "A change of rules waits for the next change or start");
            }
        });
    }

    /// In order, grants that follow each other at once: what is revoked must have been granted.
    async fn bring_changes(&self, patient: PatientId) -> Result<(), Error> {
        loop {
            let next = self.next_changes(patient)?;
            if next.is_empty() {
                return Ok(());
            }
            let brought = next.into_iter().map(|change| self.bring_change(patient, change));
            match try_join_all(brought).await {
                // What is kept is brought again.
                Err(Error::Unavailable { .. }) => tokio::time::sleep(AGAIN).await,
                brought => drop(brought?),
            }
        }
    }

    /// The next changes to bring; without any, nobody brings this patient's changes from now on.
    fn next_changes(&self, patient: PatientId) -> Result<Vec<Transaction>, Error> {
        // Held while looking: whoever puts a change there looks at the set afterwards.
        let mut patients = self.0.under_way.patients();
        let kept = self.kept_changes(patient)?.into_iter();
        let waiting = kept.filter(|kept| kept.refused.is_none());
        let mut next: Vec<_> = waiting.map(|kept| kept.transaction).collect();
        let grants = next.iter().take_while(|change| matches!(change.body(), Body::Grant(_)));
        let together = grants.count().clamp(1, TOGETHER);
        next.truncate(together);
        if next.is_empty() {
            patients.remove(&patient);
        }
        Ok(next)
    }

    async fn bring_change(
        &self,
        patient: PatientId,
        transaction: Transaction,
    ) -> Result<(), Error> {
        let key = (patient, transaction.nonce());
        let store = &self.parts().store;
        let body = transaction.body().clone();
        let replace =
            |_: &Transaction, new: &Transaction| store.replace_change(key, &new.to_bytes());
        let (_, position) = self.bring(transaction, replace).await?;
        let (_, outcome) = self.at(position).await?;
        let made = match &outcome {
            // It was brought there in other ways, too; or another change has its name.
            Outcome::Rejected(Rejection::Repeated) => {
                let made = self.made(change_id(key.0, key.1)).await?;
                made.is_some_and(|made| same(&made, &body).is_ok())
            }
            Outcome::Rejected(_) => false,
            Outcome::Done | Outcome::Decided(_) => true,
        };
        if made {
            store.drop_change(key)?;
        } else {
            store.refuse_change(key, &outcome.to_bytes())?;
        }
        self.0.under_way.settled.send_replace(());
        Ok(())
    }

    /// What the change of this name asked for, if the ledger has made it.
    async fn made(&self, change: Hash) -> Result<Option<Body>, Error> {
        let Some(id) = self.record::<TxId>(keys::change(&change)).await? else { return Ok(None) };
        let place = self.record::<Position>(keys::transaction(&id)).await?;
        let position = place.ok_or(Error::Unavailable { part: "ledger" })?;
        Ok(Some(self.at(position).await?.0.body().clone()))
    }

    /// What stands at a place in the chain.
    pub(crate) async fn at(&self, position: Position) -> Result<(Transaction, Outcome), Error> {
        let block = self.parts().ledger.block(position.height).await?;
        let entry = block.and_then(|block| block.entries.into_iter().nth(position.index as usize));
        entry.ok_or(Error::Unavailable { part: "ledger" })
    }
}

fn read(kept: KeptChange) -> Option<Kept> {
    let refused = kept.refused.map(|bytes| match Outcome::from_bytes(&bytes) {
        Ok(Outcome::Rejected(rejection)) => rejection,
        _ => Rejection::Repeated,
    });
    match Transaction::from_bytes(&kept.transaction) {
        Ok(transaction) => Some(Kept { transaction, refused }),
        Err(error) => {
            tracing::error!(%error, "The outbox holds bytes that are no transaction");
            None
        }
    }
}

/// A change of one name is one change. What is sealed differs each time, and says the same.
fn same(known: &Body, asked: &Body) -> Result<(), Error> {
    let same = match (known, asked) {
        (Body::Grant(Grant { rule: known, .. }), Body::Grant(Grant { rule: asked, .. })) => {
            known == asked
        }
        (Body::Revoke(Revoke { rule: known, .. }), Body::Revoke(Revoke { rule: asked, .. })) => {
            known == asked
        }
        (Body::Restore(Restore { height: known, .. }), Body::Restore(asked)) => {
            *known == asked.height
        }
        _ => false,
    };
    if same {
        Ok(())
    } else {
        let why = "this `Idempotency-Key` names another change; send a new one";
        Err(Error::Conflict(why.to_owned()))
    }
}
