//! Checking receipts, and proving heights. Under load many receipts stand on the same block, whose votes
//! are checked once.

use crate::{Centre, Error};
use aegle_ledger::{Anchor, Receipt, ReceiptError, VerifiedAnchor, VerifiedReceipt};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many of the last anchors are kept.
const KEPT: usize = 32;

/// How often, and how long in between, the votes for a new block are looked for.
const VOTES_TRIES: u32 = 40;
const VOTES_PAUSE: Duration = Duration::from_millis(50);

/// The last anchors that were found to hold.
#[derive(Default)]
pub(crate) struct Anchors(Mutex<VecDeque<VerifiedAnchor>>);

impl Centre {
    /// What proves the header at a height that the ledger has reached here.
    pub async fn header_proof(&self, height: u64) -> Result<Anchor, Error> {
        let ledger = &self.parts().ledger;
        if height > ledger.status().height {
            return Err(Error::NotFound { what: "height of the ledger" });
        }
        // The votes for a block may come a moment after it.
        for _ in 0..VOTES_TRIES {
            if let Some(anchor) = ledger.anchor(height).await? {
                return Ok(anchor);
            }
            tokio::time::sleep(VOTES_PAUSE).await;
        }
        Err(Error::Unavailable { part: "ledger" })
    }

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
