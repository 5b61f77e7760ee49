//! Returning to earlier rules.

use super::{Applied, work::Work};
use crate::history::{Return, Returns};
use crate::outcome::Rejection;
use crate::state::keys;
use crate::transaction::{Restore, Transaction};

/// How often a patient can return: a decision reads all of it.
const RETURNS_MAX: usize = 1_000;

impl Work<'_> {
    pub(super) fn restore(&mut self, transaction: &Transaction, restore: &Restore) -> Applied {
        let change = match self.rule_change(transaction, restore.patient)? {
            Ok((_, change)) => change,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if restore.height >= self.height() {
            return Ok(Err(Rejection::NotPast));
        }
        let key = keys::returns(restore.patient);
        let mut returns: Returns = self.get(key)?.unwrap_or_default();
        if returns.0.len() >= RETURNS_MAX {
            return Ok(Err(Rejection::TooManyReturns));
        }
        returns.0.push(Return { change, to: restore.height });
        self.put(key, &returns);
        Ok(Ok(self.changed(transaction, restore.patient)))
    }
}
