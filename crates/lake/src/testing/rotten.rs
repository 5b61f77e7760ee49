//! A store that hands out something else than it holds.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::{Arc, Mutex};

/// What a read gets instead of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rot {
    /// The store says that there is nothing.
    Missing,
    /// The last byte does not come.
    Cut,
    /// One bit of every piece is another.
    Flipped,
}

/// Passes everything on; reads of packs rot while they are told to.
#[derive(Debug)]
pub(crate) struct Rotten {
    store: Arc<dyn ObjectStore>,
    rot: Arc<Mutex<Option<Rot>>>,
}

impl Rotten {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> (Self, Arc<Mutex<Option<Rot>>>) {
        let rot = Arc::new(Mutex::new(None));
        (Self { store, rot: Arc::clone(&rot) }, rot)
    }
}

impl std::fmt::Display for Rotten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rotten({})", self.store)
    }
}

#[async_trait]
impl ObjectStore for Rotten {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.store.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let rot = *self.rot.lock().unwrap();
        let mut found = self.store.get_opts(location, options).await?;
        let Some(rot) = rot else { return Ok(found) };
        if rot == Rot::Missing {
            let source = "rotten".into();
            return Err(object_store::Error::NotFound { path: location.to_string(), source });
        }
        let (meta, range, attributes) =
            (found.meta.clone(), found.range.clone(), std::mem::take(&mut found.attributes));
        let mut bytes = found.bytes().await?.to_vec();
        match rot {
            Rot::Cut => drop(bytes.pop()),
            _ => bytes[0] ^= 4,
        }
        let payload = stream::once(async { Ok(Bytes::from(bytes)) }).boxed();
        Ok(GetResult { payload: GetResultPayload::Stream(payload), meta, range, attributes })
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
