//! The state database: one authenticated key-value store of the engine (QMDB) under the ledger's
//! 32-byte keys.
//!
//! Its own root and log range travel in each block's engine part, so that a newcomer can fetch the
//! state instead of replaying; the ledger's roots never depend on them. Every commit carries the
//! height it belongs to, so that one look under the database's lock tells which header covers it.

use crate::{block::Block, flushing::Flushing};
use aegle_ledger as ledger;
use commonware_codec::{Buf, EncodeSize, Error, RangeCfg, Read, Write};
use commonware_cryptography::{Sha256, sha256};
use commonware_glue::stateful::db::{DatabaseSet, ReadGuard};
use commonware_parallel::Sequential;
use commonware_runtime::{BufMut, Spawner, buffer::paged::CacheRef};
use commonware_storage::{
    Context,
    journal::contiguous::variable::Config as LogConfig,
    mmr,
    qmdb::{
        any::{VariableConfig, unordered::variable},
        sync,
    },
    translator::EightCap,
};
use commonware_utils::{NZU64, NZUsize, sequence::FixedBytes};

/// The most bytes one value may have.
pub(crate) const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The database.
pub(crate) type Database<E> =
    variable::Db<mmr::Family, E, FixedBytes<32>, Value, Sha256, EightCap, Sequential>;
/// The set of databases that the engine manages: just the one.
pub(crate) type Databases<E> = Flushing<E>;
/// Writes on top of a parent's state, not yet sealed.
pub(crate) type Batch<E> = <Databases<E> as DatabaseSet<E>>::Unmerkleized;
/// A sealed [`Batch`].
pub(crate) type Sealed<E> = <Databases<E> as DatabaseSet<E>>::Merkleized;
/// What a block says about the database after it.
pub(crate) type Target = sync::Target<mmr::Family, sha256::Digest>;
/// One entry of the database's log.
pub(crate) type Operation = variable::Operation<mmr::Family, FixedBytes<32>, Value>;
/// How the database lies on disk.
pub(crate) type Layout = VariableConfig<EightCap, ((), ()), Sequential>;

/// A value: bytes behind a bounded length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) Vec<u8>);

impl Write for Value {
    fn write(&self, buf: &mut impl BufMut) {
        self.0.write(buf);
    }
}

impl EncodeSize for Value {
    fn encode_size(&self) -> usize {
        self.0.encode_size()
    }
}

impl Read for Value {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        Vec::read_cfg(buf, &(RangeCfg::new(..=VALUE_BYTES_MAX), ())).map(Self)
    }
}

/// What the database is before the first block.
pub(crate) fn initial_target() -> Target {
    <Databases<commonware_runtime::tokio::Context> as DatabaseSet<_>>::initial_sync_targets()
}

/// The database's place on disk, below `prefix`.
pub(crate) fn layout(prefix: &str, page_cache: CacheRef) -> Layout {
    const BUFFER: std::num::NonZeroUsize = NZUsize!(64 * 1024);
    VariableConfig {
        merkle_config: mmr::full::Config {
            journal_partition: format!("{prefix}-state-mmr-journal"),
            metadata_partition: format!("{prefix}-state-mmr-metadata"),
            items_per_blob: NZU64!(65_536),
            write_buffer: BUFFER,
            replay_buffer: BUFFER,
            strategy: Sequential,
            page_cache: page_cache.clone(),
        },
        journal_config: LogConfig {
            partition: format!("{prefix}-state-log"),
            items_per_section: NZU64!(16_384),
            compression: None,
            codec_config: ((), ()),
            page_cache,
            write_buffer: BUFFER,
            replay_buffer: BUFFER,
        },
        translator: EightCap,
        init_cache: Some(NZUsize!(65_536)),
        init_buffer: NZUsize!(1024 * 1024),
        init_concurrency: (),
    }
}

/// The database's key for a key of the ledger.
pub(crate) fn key(key: &ledger::Key) -> FixedBytes<32> {
    FixedBytes::new(*key)
}

/// The height of the last block whose writes are in the database; 0 before the first.
pub(crate) async fn height<E: Context + Spawner>(database: &ReadGuard<'_, Database<E>>) -> u64 {
    let metadata = database.get_metadata().await.expect("the state database cannot be read");
    metadata.map_or(0, |value| decode_height(&value))
}

/// The metadata of the commit of `block`'s height.
pub(crate) fn encode_height(height: u64) -> Value {
    Value(height.to_le_bytes().to_vec())
}

fn decode_height(value: &Value) -> u64 {
    let bytes = value.0.as_slice().try_into().expect("commits carry eight bytes of height");
    u64::from_le_bytes(bytes)
}

/// The sync target that `block` commits to.
pub(crate) fn target(block: &Block) -> Target {
    block.seal().target.clone()
}

/// The values of `keys`, read by `get_many`.
pub(crate) async fn values<'a, T: std::fmt::Debug>(
    keys: impl Iterator<Item = &'a ledger::Key>,
    get_many: impl AsyncFnOnce(&[&FixedBytes<32>]) -> Result<Vec<Option<Value>>, T>,
) -> Vec<Option<Vec<u8>>> {
    let names: Vec<_> = keys.map(key).collect();
    let values = get_many(&names.iter().collect::<Vec<_>>()).await;
    let values = values.expect("the state database cannot be read");
    values.into_iter().map(|value| value.map(|value| value.0)).collect()
}
