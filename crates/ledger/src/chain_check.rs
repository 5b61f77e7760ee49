//! Checks a whole chain from the genesis alone: nobody is believed, everything is executed again.
//!
//! A block holds when it follows the one before, every signature in it holds, executing it again gives
//! its outcomes and its roots, and votes of a quorum cover it: its own, or those of a later block.
//! Absent on purpose: files; who brings the blocks.

use crate::transaction::TransactionError;
use crate::{
    Block, BlockError, Certificate, CertificateError, CertifiedBlock, Execution, Genesis, Header,
    Invalid, Key, Loaded, Record as _, Stop, ValidatorsRecord, execute, genesis_header,
    genesis_state, keys,
};
use aegle_model::{Hash, NetworkId, PublicKey};
use std::collections::BTreeMap;

/// A chain as far as it has been checked. Holds the whole state in memory.
pub struct ChainCheck {
    genesis: Genesis,
    /// The validators by the first epoch in which they vote.
    validators: BTreeMap<u64, Vec<PublicKey>>,
    state: BTreeMap<Key, Vec<u8>>,
    /// The digest of every header so far, by height.
    digests: Vec<Hash>,
    tip: Header,
    certified: u64,
    transactions: u64,
}

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedChain {
    /// Its last header.
    pub tip: Header,
    /// How many transactions stand in it.
    pub transactions: u64,
}

/// Why a chain does not hold.
#[derive(Debug, thiserror::Error)]
#[error("could not accept block {height}")]
pub struct ChainError {
    /// The block at which it shows.
    pub height: u64,
    /// What is wrong.
    #[source]
    pub fault: ChainFault,
}

/// What is wrong with a block of a chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainFault {
    /// It is of another network.
    #[error("it is of network `{0}`, not of the one that the genesis begins")]
    Network(NetworkId),
    /// It was there before.
    #[error("it stands in the chain twice")]
    Repeated,
    /// There is another one at this height.
    #[error("another block stands at this height; the history was forked")]
    Forked,
    /// It comes too early.
    #[error("it stands before block {0}, which it must follow")]
    Reordered(u64),
    /// Blocks before it are not there.
    #[error("the blocks from {0} up to it are missing")]
    Missing(u64),
    /// It does not name the block before as its parent.
    #[error("it does not follow the block before it")]
    Link,
    /// Its time is not later than that of the block before.
    #[error("its time does not come after that of the block before it")]
    Time,
    /// Its body is not that of its header.
    #[error(transparent)]
    Body(#[from] BlockError),
    /// A transaction that is refused at every door.
    #[error("its transaction {index} is refused at every door")]
    Door {
        /// The position in the block, from 0.
        index: usize,
        /// Why.
        #[source]
        source: TransactionError,
    },
    /// A transaction that may not stand in it.
    #[error("its transaction {index} may not stand in it: {why}")]
    Invalid {
        /// The position in the block, from 0.
        index: usize,
        /// Why.
        why: Invalid,
    },
    /// Executing it again gives other outcomes or roots.
    #[error("executing it again gives other outcomes or another header")]
    Execution,
    /// It follows a version of the protocol that this code does not know.
    #[error(
        "it follows version {0} of the protocol, which this program does not know; take a newer one"
    )]
    Protocol(u16),
    /// Its votes are of another epoch.
    #[error("its votes are of another epoch than its own")]
    Stale,
    /// Its votes do not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Neither its own votes nor those of a later block are there.
    #[error("no votes cover it; the end of the chain is missing or was never final")]
    Uncovered,
}

impl ChainError {
    /// The cheat's stable name (`docs/formats.md`, "What a cheat is called").
    pub fn cheat(&self) -> &'static str {
        match &self.fault {
            ChainFault::Network(_) => "foreign-network",
            ChainFault::Repeated => "repeated-block",
            ChainFault::Forked => "forked-history",
            ChainFault::Reordered(_) => "reordered-block",
            ChainFault::Missing(_) => "missing-block",
            ChainFault::Link => "broken-chain",
            ChainFault::Time
            | ChainFault::Body(_)
            | ChainFault::Door { .. }
            | ChainFault::Invalid { .. }
            | ChainFault::Execution => "altered-block",
            ChainFault::Protocol(_) => "unknown-protocol",
            ChainFault::Stale => "stale-validators",
            ChainFault::Certificate(error) => error.cheat(),
            ChainFault::Uncovered => "uncovered-end",
        }
    }
}

impl ChainCheck {
    /// The chain before its first block.
    pub fn new(genesis: &Genesis) -> Self {
        let (tip, state) = (genesis_header(genesis), genesis_state(genesis));
        let validators = BTreeMap::from([(0, genesis.validators())]);
        let (genesis, digests) = (genesis.clone(), vec![tip.digest()]);
        Self { genesis, validators, state, digests, tip, certified: 0, transactions: 0 }
    }

    /// The last header so far. Votes may not cover it yet.
    pub fn tip(&self) -> &Header {
        &self.tip
    }

    /// Takes the next blocks. After an error nothing more can be taken.
    pub fn take(&mut self, blocks: &[CertifiedBlock]) -> Result<(), ChainError> {
        for (number, next) in blocks.iter().enumerate() {
            let height = next.block.header.height;
            let taken = self.place(&next.block.header, &blocks[number..]);
            let taken = taken.and_then(|()| self.take_one(next));
            taken.map_err(|fault| ChainError { height, fault })?;
        }
        Ok(())
    }

    /// The chain, when votes cover all of it.
    pub fn finish(self) -> Result<CheckedChain, ChainError> {
        if self.certified < self.tip.height {
            let (height, fault) = (self.tip.height, ChainFault::Uncovered);
            return Err(ChainError { height, fault });
        }
        Ok(CheckedChain { tip: self.tip, transactions: self.transactions })
    }

    /// Whether the block is the one whose turn it is; `rest` begins with it.
    fn place(&self, header: &Header, rest: &[CertifiedBlock]) -> Result<(), ChainFault> {
        if header.network != self.tip.network {
            return Err(ChainFault::Network(header.network));
        }
        let expected = self.tip.height + 1;
        let known = usize::try_from(header.height).ok().and_then(|at| self.digests.get(at));
        match known {
            Some(digest) if *digest == header.digest() => Err(ChainFault::Repeated),
            Some(_) => Err(ChainFault::Forked),
            None if header.height == expected => Ok(()),
            None if rest.iter().any(|later| later.block.header.height == expected) => {
                Err(ChainFault::Reordered(expected))
            }
            None => Err(ChainFault::Missing(expected)),
        }
    }

    fn take_one(
        &mut self,
        CertifiedBlock { block, certificate }: &CertifiedBlock,
    ) -> Result<(), ChainFault> {
        if block.header.parent != self.tip.digest() {
            return Err(ChainFault::Link);
        }
        if block.header.time <= self.tip.time {
            return Err(ChainFault::Time);
        }
        block.check_body()?;
        for (index, (transaction, _)) in block.entries.iter().enumerate() {
            let checked = transaction.check(block.header.network);
            checked.map_err(|source| ChainFault::Door { index, source })?;
        }
        let execution = self.execute(block)?;
        let expected = execution.header(&self.tip, block.header.time, &block.engine);
        if execution.entries != block.entries || expected != block.header {
            return Err(ChainFault::Execution);
        }
        if let Some(certificate) = certificate {
            self.check_votes(block, certificate)?;
            self.certified = block.header.height;
        } else if self.genesis.epochs.ends(block.header.height) {
            // Whoever votes in the next epoch cannot vouch for how they came to it.
            return Err(ChainFault::Uncovered);
        }
        for (key, value) in execution.writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        self.hand_over(&block.header);
        self.transactions += block.entries.len() as u64;
        self.digests.push(block.header.digest());
        self.tip = block.header.clone();
        Ok(())
    }

    fn check_votes(&self, block: &Block, certificate: &Certificate) -> Result<(), ChainFault> {
        let header = &block.header;
        let validators = self.validators_at(header.height);
        certificate.verify(header.network, &header.digest(), validators)?;
        if certificate.epoch == header.epoch { Ok(()) } else { Err(ChainFault::Stale) }
    }

    /// Who votes for the block at `height`, as far as the chain was checked: the only place that knows.
    pub fn validators_at(&self, height: u64) -> &[PublicKey] {
        let begun = self.validators.range(..=self.genesis.epochs.of(height));
        begun.last().map_or(&[], |(_, validators)| validators)
    }

    /// Who votes after the last block of an epoch, which has just been executed.
    fn hand_over(&mut self, header: &Header) {
        let next = self.genesis.epochs.of(header.height) + 1;
        let record = self.state.get(&keys::validators(next));
        let changed = record.and_then(|bytes| ValidatorsRecord::read(bytes));
        self.validators.extend(changed.map(|ValidatorsRecord(validators)| (next, validators)));
    }

    /// Executes a block on the state so far.
    fn execute(&self, block: &Block) -> Result<Execution, ChainFault> {
        let transactions: Vec<_> = block.entries.iter().map(|(entry, _)| entry.clone()).collect();
        let mut loaded = Loaded::default();
        loop {
            match execute(&loaded, &self.tip, block.header.time, &transactions) {
                Ok(execution) => return Ok(execution),
                Err(Stop::Invalid(index, why)) => return Err(ChainFault::Invalid { index, why }),
                Err(Stop::Protocol(version)) => return Err(ChainFault::Protocol(version)),
                Err(Stop::Needs(keys)) => {
                    for key in keys {
                        loaded.add(key, self.state.get(&key).cloned());
                    }
                }
            }
        }
    }
}
