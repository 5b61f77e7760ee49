//! A store whose n-th write fails.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// When a failing write fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fails {
    /// Nothing is written.
    Before,
    /// The object is there, and nobody is told.
    After,
    /// Whoever asks to put what is absent puts over what is there.
    Carelessly,
}

/// Passes everything on, but the write after `good` writes finds the disk full.
#[derive(Debug)]
pub(crate) struct Faulty {
    store: Arc<dyn ObjectStore>,
    good: AtomicUsize,
    fails: Fails,
}

impl Faulty {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, good: usize, fails: Fails) -> Self {
        Self { store, good: AtomicUsize::new(good), fails }
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Faulty({})", self.store)
    }
}

fn full() -> object_store::Error {
    let source = io::Error::from(io::ErrorKind::StorageFull).into();
    object_store::Error::Generic { store: "Faulty", source }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        if matches!(self.fails, Fails::Carelessly) {
            opts.mode = PutMode::Overwrite;
        }
        let good = self.good.fetch_sub(1, Ordering::Relaxed) > 0;
        if !good && matches!(self.fails, Fails::Before) {
            return Err(full());
        }
        let written = self.store.put_opts(location, payload, opts).await?;
        if good { Ok(written) } else { Err(full()) }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
