//! The ledger as the rest of the node uses it: submit, wait, read.

use crate::{
    chain::Chain,
    gossip::Connected,
    members::Members,
    orchestrator::Role,
    pool::{Origin, Pool, Refused},
    service::{self, Request, Requests, Snapshot},
};
use aegle_ledger as ledger;
use aegle_ledger::{
    Anchor, Block, CertifiedBlock, Genesis, Header, LIFETIME_MAX, Position, Receipt,
    TRANSACTION_BYTES_MAX, Transaction, TransactionError, TxId,
};
use aegle_model::{Canonical as _, Timestamp};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// The most keys that one [`Ledger::read`] takes.
pub const KEYS_MAX: usize = 10_000;

/// A node's ledger. Cheap to clone; works from any runtime and thread.
#[derive(Clone)]
pub struct Ledger(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) genesis: Genesis,
    pub(crate) pool: Arc<Pool>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) requests: Requests,
    pub(crate) connected: Connected,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) missing: watch::Receiver<u64>,
    pub(crate) metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// The node's engine has stopped; start it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the consensus engine has stopped; start the node again")]
pub struct Stopped;

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too large for any block.
    #[error("the transaction has {bytes} bytes; at most {TRANSACTION_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Refused at every node's door, whatever the state.
    #[error(transparent)]
    Door(#[from] TransactionError),
    /// It may not enter any later block.
    #[error("the transaction expired at height {expires}; the ledger is at {height}")]
    Expired {
        /// The last height it could be in.
        expires: u64,
        /// The last final height.
        height: u64,
    },
    /// It expires too late.
    #[error(
        "the transaction expires at height {expires}; the ledger is at {height} and allows {LIFETIME_MAX} blocks"
    )]
    LivesTooLong {
        /// The last height it could be in.
        expires: u64,
        /// The last final height.
        height: u64,
    },
    /// It waits already; its receipt can be awaited.
    #[error("the transaction waits already")]
    Waiting(TxId),
    /// It is final already; its receipt can be fetched.
    #[error("the transaction is final already")]
    Final(TxId),
    /// Its author is no member with this key, as far as this node is in the chain.
    #[error(
        "the author is no member with this key in the epoch that this node is in; if it became one \
         of late, submit again later"
    )]
    Foreign,
    /// Its author has too many waiting; submit again when some are final.
    #[error("the author has too many waiting transactions; submit again later")]
    Quota,
    /// The pool is full; submit again later.
    #[error("too many transactions wait; submit again later")]
    Full,
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The transaction expired before it became final, or its author is no member with this key any
    /// more.
    #[error(
        "the transaction expired, or its author left or changed keys, before it became final; submit \
         a new one"
    )]
    Expired,
    /// Too many callers wait.
    #[error("too many callers wait for receipts; ask again later")]
    Busy,
    /// The transaction is final, but no certificate is at hand yet.
    #[error("the certificate for height {height} is not at hand yet; ask again later")]
    Uncertified {
        /// The transaction's height.
        height: u64,
    },
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why state was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too many keys at once.
    #[error("{keys} keys were asked for at once; at most {KEYS_MAX} are allowed")]
    TooMany {
        /// How many.
        keys: usize,
    },
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// How a node's ledger is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The last final height.
    pub height: u64,
    /// The time of the block at that height.
    pub time: Timestamp,
    /// The epoch that this node is in.
    pub epoch: u64,
    /// How many members the network has in it.
    pub members: usize,
    /// How many of them vote.
    pub validators: usize,
    /// How many other validators this node is connected to; refreshed every few seconds.
    pub connected: usize,
    /// How many transactions wait here.
    pub waiting: usize,
    /// The bytes of those.
    pub waiting_bytes: usize,
    /// Whether this node votes in it. One that was just admitted, or lost the journal of its votes,
    /// only follows.
    pub votes: bool,
    /// How many blocks from the beginning are not here yet, after a state transfer; without all of them
    /// the node does not vote.
    pub missing: u64,
    /// Whether the engine runs.
    pub running: bool,
}

impl Ledger {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The network's beginning.
    pub fn genesis(&self) -> &Genesis {
        &self.0.genesis
    }

    /// Takes a transaction and tells all validators of it. It waits until it is final or expired, but
    /// not through a restart of all nodes: keep it until its receipt is there.
    pub async fn submit(&self, transaction: Transaction) -> Result<TxId, SubmitError> {
        let bytes = transaction.to_bytes().len();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(SubmitError::TooLarge { bytes });
        }
        let id = transaction.id();
        let expires = transaction.expires();
        let height = self.0.pool.height();
        if expires > height.saturating_add(LIFETIME_MAX) {
            return Err(SubmitError::LivesTooLong { expires, height });
        }
        let refusal = |refused| self.refusal(refused, id, expires);
        match self.0.pool.admits(&id, &transaction, bytes) {
            // What was signed with an earlier key may be final all the same.
            Err(Refused::Foreign) if self.position(id).await?.is_some() => {
                return Err(SubmitError::Final(id));
            }
            admitted => admitted.map_err(refusal)?,
        }
        transaction.check(self.0.genesis.network())?;
        if self.position(id).await?.is_some() {
            return Err(SubmitError::Final(id));
        }
        self.0.pool.insert(id, transaction, Origin::Here).map_err(refusal)?;
        Ok(id)
    }

    fn refusal(&self, refused: Refused, id: TxId, expires: u64) -> SubmitError {
        match refused {
            Refused::Waiting => SubmitError::Waiting(id),
            Refused::Final => SubmitError::Final(id),
            Refused::Expired => SubmitError::Expired { expires, height: self.0.pool.height() },
            Refused::Foreign => SubmitError::Foreign,
            Refused::Quota => SubmitError::Quota,
            Refused::Full => SubmitError::Full,
        }
    }

    /// Waits until the transaction is final and proves it. The caller sets the time limit.
    pub async fn receipt(&self, id: TxId) -> Result<Receipt, ReceiptError> {
        let Position { height, index } = self.wait(id).await?;
        let block = self.ask(|reply| Request::Block(height, reply)).await?;
        let anchor = self.anchor(height).await?;
        let (Some(block), Some(anchor)) = (block, anchor) else {
            return Err(ReceiptError::Uncertified { height });
        };
        Receipt::new(block.block(), index as usize, anchor)
            .ok_or(ReceiptError::Uncertified { height })
    }

    /// Waits until the transaction is final, and says where it stands. The caller sets the time limit.
    pub async fn wait(&self, id: TxId) -> Result<Position, ReceiptError> {
        // First the ear, then the question: what becomes final in between is heard.
        let heard = self.0.chain.wait(id).ok_or(ReceiptError::Busy)?;
        if let Some(position) = self.position(id).await? {
            return Ok(position);
        }
        match heard.await {
            Ok(position) => Ok(position),
            Err(_) if self.0.requests.is_closed() => Err(Stopped.into()),
            Err(_) => Err(ReceiptError::Expired),
        }
    }

    /// The values of `keys` in the last finalised state, with the header that covers them.
    pub async fn read(&self, keys: &[ledger::Key]) -> Result<Snapshot, ReadError> {
        if keys.len() > KEYS_MAX {
            return Err(ReadError::TooMany { keys: keys.len() });
        }
        Ok(self.ask(|reply| Request::Read(keys.to_vec(), reply)).await?)
    }

    /// The finalised block at `height`, if this node has it.
    pub async fn block(&self, height: u64) -> Result<Option<Block>, Stopped> {
        let block = self.ask(|reply| Request::Block(height, reply)).await?;
        Ok(block.map(|block| block.block().clone()))
    }

    /// The header at `height` with what proves it final, if this node has that.
    pub async fn anchor(&self, height: u64) -> Result<Option<Anchor>, Stopped> {
        self.ask(|reply| Request::Anchor(height, reply)).await
    }

    /// The final blocks from height `from` to the last one with votes at hand, each with its own votes
    /// where they are: one, and more until they have `bytes` together; none when there is none.
    pub async fn blocks(&self, from: u64, bytes: usize) -> Result<Vec<CertifiedBlock>, Stopped> {
        let (mut blocks, mut taken) = (Vec::new(), 0);
        // Block 0 is everybody's own.
        let (mut height, end) = (from.max(1), self.covered().await?);
        while taken < bytes && height <= end {
            let Some(certified) = self.certified(height).await? else { break };
            taken += borsh::object_length(&certified).expect("measuring cannot fail");
            blocks.push(certified);
            height += 1;
        }
        Ok(blocks)
    }

    /// The last height with votes at hand.
    async fn covered(&self) -> Result<u64, Stopped> {
        let mut height = self.0.chain.tip().height;
        while height > 0 {
            match self.certified(height).await? {
                Some(CertifiedBlock { certificate: Some(_), .. }) => break,
                _ => height -= 1,
            }
        }
        Ok(height)
    }

    async fn certified(&self, height: u64) -> Result<Option<CertifiedBlock>, Stopped> {
        self.ask(|reply| Request::Certified(height, reply)).await
    }

    async fn position(&self, id: TxId) -> Result<Option<Position>, Stopped> {
        self.ask(|reply| Request::Position(id, reply)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Stopped> {
        service::ask(&self.0.requests, request).await.ok_or(Stopped)
    }

    /// Follows the header of the last final block. Quick successions may be seen as one.
    pub fn finalised(&self) -> watch::Receiver<Header> {
        self.0.chain.subscribe()
    }

    /// Who is a member in the epoch that this node is in.
    pub fn members(&self) -> Arc<Members> {
        self.0.role.borrow().members.clone()
    }

    /// Returns when this node has entered an epoch with other members, keys or cards than `known`.
    pub async fn members_change(&self, known: &Members) -> Result<(), Stopped> {
        let mut role = self.0.role.clone();
        let other = |role: &Role| {
            let Members { centres, validators, .. } = &*role.members;
            *centres != known.centres || *validators != known.validators
        };
        role.wait_for(other).await.map(drop).map_err(|_| Stopped)
    }

    /// How the ledger is doing.
    pub fn status(&self) -> Status {
        let tip = self.0.chain.tip();
        let (waiting, waiting_bytes) = self.0.pool.size();
        let Role { members, votes } = self.0.role.borrow().clone();
        Status {
            height: tip.height,
            time: tip.time,
            epoch: members.epoch,
            members: members.centres.len(),
            validators: members.validators.len(),
            connected: self.0.connected.get(),
            waiting,
            waiting_bytes,
            votes,
            missing: *self.0.missing.borrow(),
            running: !self.0.requests.is_closed(),
        }
    }

    /// The engine's metrics in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        (self.0.metrics)()
    }
}
