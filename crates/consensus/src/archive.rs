//! Finalised blocks and their certificates on disk, and the actor that delivers them in order.

use crate::{
    backfill::{self, Filler, FillingBodies, FillingVotes},
    block::Block,
    engine::{self, BUFFER, Blocks, Scheme},
    schemes::Schemes,
};
use commonware_consensus::{
    marshal::{
        self,
        core::{Actor, Floor},
        standard::Standard,
    },
    simplex::types::Finalization,
    types::FixedEpocher,
};
use commonware_cryptography::{
    Digested, Digestible as _, certificate::Verifier as _, sha256::Digest,
};
use commonware_glue::stateful::SyncPlan;
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_storage::archive::{Archive as _, Identifier, immutable};
use commonware_utils::{NZU64, NZUsize};
use std::{num::NonZeroUsize, sync::Arc};

/// How many blocks the engine delivers without hearing that one of them is durable. They are in memory.
pub(crate) const DELIVERED: NonZeroUsize = NZUsize!(16);

/// Finalisations by height.
pub(crate) type Certificates<E> = immutable::Archive<E, Digest, Finalization<Scheme, Digest>>;
/// Blocks by height.
pub(crate) type Bodies<E> = immutable::Archive<E, Digest, Arc<Block>>;

/// The actor, not yet started.
pub(crate) type Marshal<E> =
    Actor<E, Standard<Block>, Schemes, FillingVotes<E>, FillingBodies<E>, FixedEpocher, Sequential>;

/// What opening the archives yields.
pub(crate) struct Opened<E: engine::Runtime> {
    pub(crate) marshal: Marshal<E>,
    pub(crate) blocks: Blocks,
    pub(crate) floor: Floor,
    pub(crate) filler: Filler,
    /// The last finalisation that is there.
    pub(crate) last: Option<Finalization<Scheme, Digest>>,
}

/// Opens the archives below `prefix`.
pub(crate) async fn open<E: engine::Runtime>(
    context: &E,
    prefix: &str,
    (schemes, epochs): (&Schemes, &FixedEpocher),
    genesis: &Block,
    plan: &SyncPlan<E, Scheme, Standard<Block>>,
    page_cache: &CacheRef,
) -> Opened<E> {
    let (certificates, bodies) = files(context, prefix, page_cache).await;
    let last = match certificates.last_index() {
        Some(height) => certificates.get(Identifier::Index(height)).await,
        None => Ok(None),
    };
    let last = last.expect("the archive of certificates cannot be read");
    let config = marshal::Config {
        provider: schemes.clone(),
        epocher: epochs.clone(),
        start: plan.marshal_start(Digested::precomputed(genesis.clone(), genesis.digest())),
        partition_prefix: prefix.to_owned(),
        mailbox_size: engine::MAILBOX,
        view_retention: engine::VIEWS_KEPT,
        prunable_items_per_section: NZU64!(8),
        page_cache: page_cache.clone(),
        replay_buffer: BUFFER,
        key_write_buffer: BUFFER,
        value_write_buffer: BUFFER,
        block_codec_config: (),
        max_repair: NZUsize!(256),
        max_pending_acks: DELIVERED,
        strategy: Sequential,
    };
    let (certificates, bodies, mut filler) = backfill::open(certificates, bodies);
    let (marshal, blocks, floor) =
        Marshal::init(context.child("marshal"), certificates, bodies, config).await;
    filler.passed = floor.processed().map(|passed| passed.anchor().get());
    Opened { marshal, blocks, floor, filler, last }
}

/// Opens the archives' files; no engine may run on them meanwhile.
pub(crate) async fn files<E: engine::Runtime>(
    context: &E,
    prefix: &str,
    page_cache: &CacheRef,
) -> (Certificates<E>, Bodies<E>) {
    // What is on disk was checked when it came, under whatever set of validators.
    let codec = Scheme::certificate_codec_config_unbounded();
    let certificates = layout(prefix, "certificates", page_cache, codec);
    let certificates = Certificates::init(context.child("certificates"), certificates).await;
    let bodies = layout(prefix, "blocks", page_cache, ());
    let bodies = Bodies::init(context.child("blocks"), bodies).await;
    (
        certificates.expect("the archive of certificates cannot be opened"),
        bodies.expect("the archive of blocks cannot be opened"),
    )
}

/// An archive that is never pruned: the ledger is kept whole.
fn layout<C>(
    prefix: &str,
    name: &str,
    page_cache: &CacheRef,
    codec_config: C,
) -> immutable::Config<C> {
    let partition = |part: &str| format!("{prefix}-{name}-{part}");
    immutable::Config {
        metadata_partition: partition("metadata"),
        freezer_table_partition: partition("table"),
        freezer_table_initial_size: 16_384,
        freezer_table_resize_frequency: 4,
        freezer_table_resize_chunk_size: 4096,
        freezer_key_partition: partition("keys"),
        freezer_key_page_cache: page_cache.clone(),
        freezer_value_partition: partition("values"),
        freezer_value_target_size: 64 * 1024 * 1024,
        freezer_value_compression: None,
        ordinal_partition: partition("ordinal"),
        items_per_section: NZU64!(65_536),
        freezer_key_write_buffer: BUFFER,
        freezer_value_write_buffer: BUFFER,
        ordinal_write_buffer: BUFFER,
        replay_buffer: BUFFER,
        codec_config,
    }
}
