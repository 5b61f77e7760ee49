//! A centre's own backup: its node hands its blocks to whoever holds its keys.
//!
//! Blocks tell no more than every member has, but one call makes the node read megabytes. Other members
//! get their blocks by agreement.

use crate::{Centre, Error};
use aegle_model::CentreId;

/// The most bytes of blocks that one answer holds, the last block not counted.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Asks for the blocks from height `from` on, about `bytes` of them.
pub fn blocks_request(from: u64, bytes: usize) -> Vec<u8> {
    borsh::to_vec(&(from, bytes as u64)).expect("writing to memory cannot fail")
}

impl Centre {
    /// Answers a [`blocks_request`] of this centre itself: canonical bytes of a list of certified blocks,
    /// empty when there are no more.
    pub async fn back_up(&self, from: CentreId, request: &[u8]) -> Result<Vec<u8>, Error> {
        if from != self.id() {
            return Err(Error::Forbidden { who: "this centre's own operator" });
        }
        // A backup begins with the first block or is none.
        if self.parts().ledger.status().missing > 0 {
            return Err(Error::Unavailable { part: "ledger" });
        }
        let (height, bytes): (u64, u64) =
            borsh::from_slice(request).map_err(|error| Error::invalid("request", error))?;
        let bytes = usize::try_from(bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        let blocks = self.parts().ledger.blocks(height, bytes).await?;
        Ok(borsh::to_vec(&blocks).expect("writing to memory cannot fail"))
    }
}
