//! What must hold in every simulated network, whatever happens to it.

use super::cluster::Validator;
use aegle_ledger::TxId;
use commonware_cryptography::ed25519::PublicKey;
use commonware_glue::simulate::{
    exit::ExitCondition, property::Property, tracker::ProgressTracker,
};
use std::{collections::BTreeSet, pin::Pin};

/// Everything submitted is acknowledged, nothing waits, and all validators have all blocks.
#[derive(Clone)]
pub(super) struct AllAcknowledged;

impl ExitCondition<PublicKey, Validator> for AllAcknowledged {
    fn name(&self) -> &'static str {
        "all transactions acknowledged"
    }

    fn requires_polling(&self) -> bool {
        true
    }

    fn reached<'a>(
        &'a self,
        _tracker: &'a ProgressTracker<PublicKey>,
        validators: &'a [&'a Validator],
        target_count: usize,
    ) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>> {
        let done = |validator: &&Validator| {
            validator.acknowledged.lock().unwrap().len() == validator.submitted
                && validator.ledger.status().waiting == 0
                && validator.ledger.status().missing == 0
        };
        let reached = validators.len() == target_count && validators.iter().all(done);
        Box::pin(async move { Ok(reached) })
    }
}

/// All validators have the same blocks, and every acknowledged transaction stands in them once.
#[derive(Clone)]
pub(super) struct OneHistory;

impl Property<PublicKey, Validator> for OneHistory {
    fn name(&self) -> &'static str {
        "one history"
    }

    fn check<'a>(
        &'a self,
        _tracker: &'a ProgressTracker<PublicKey>,
        validators: &'a [&'a Validator],
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(check(validators))
    }
}

async fn check(validators: &[&Validator]) -> Result<(), String> {
    let mut histories = Vec::new();
    for validator in validators {
        histories.push(history(validator).await?);
    }
    for pair in histories.windows(2) {
        let (one, other) = (&pair[0], &pair[1]);
        let common = one.len().min(other.len());
        if one[..common] != other[..common] {
            return Err("two validators have different blocks at the same height".to_owned());
        }
    }
    let longest = histories.into_iter().max_by_key(Vec::len).unwrap_or_default();
    let mut seen = BTreeSet::new();
    for id in longest.into_iter().flat_map(|(_, ids)| ids) {
        if !seen.insert(id) {
            return Err(format!("the transaction {id} stands in the chain twice"));
        }
    }
    let acknowledged = validators[0].acknowledged.lock().unwrap();
    match acknowledged.difference(&seen).next() {
        Some(lost) => {
            Err(format!("the transaction {lost} was acknowledged and is not in the chain"))
        }
        None => Ok(()),
    }
}

type Entry = (aegle_model::Hash, Vec<TxId>);

async fn history(validator: &Validator) -> Result<Vec<Entry>, String> {
    let ledger = &validator.ledger;
    let mut entries = Vec::new();
    for height in 1..=ledger.status().height {
        let block = ledger.block(height).await.map_err(|error| error.to_string())?;
        let block = block.ok_or_else(|| format!("the block at {height} is missing"))?;
        let ids = block.entries.iter().map(|(transaction, _)| transaction.id()).collect();
        entries.push((block.header.digest(), ids));
    }
    Ok(entries)
}
