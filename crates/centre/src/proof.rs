//! Checking receipts. Under load many stand on the same block, whose votes are checked once.

use crate::Centre;
use aegle_ledger::{Receipt, ReceiptError, VerifiedAnchor, VerifiedReceipt};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many of the last anchors are kept.
const KEPT: usize = 32;

/// The last anchors that were found to hold.
#[derive(Default)]
pub(crate) struct Anchors(Mutex<VecDeque<VerifiedAnchor>>);

impl Centre {
    /// Checks a receipt against the network's genesis.
    pub(crate) fn verified(&self, receipt: Receipt) -> Result<VerifiedReceipt, ReceiptError> {
        let held = || self.0.anchors.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held().iter().find(|known| *known.anchor() == receipt.anchor).cloned();
        let anchor = match known {
            Some(anchor) => anchor,
            None => receipt.anchor.clone().verified(&self.parts().genesis)?,
        };
        let receipt = receipt.verify_on(&anchor)?;
        let mut kept = held();
        if !kept.contains(&anchor) {
            kept.push_front(anchor);
            kept.truncate(KEPT);
        }
        Ok(receipt)
    }
}
