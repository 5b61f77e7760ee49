//! Where a lake keeps what: a folder of its own, or servers that several processes share.

use crate::crypt;
use crate::database::{Databases, PostgresAt};
use crate::remote::wait;
use futures::future::join_all;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Location;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where a lake keeps what.
#[derive(Debug, Clone)]
pub struct Place {
    /// What each process has for itself: short-lived zones and workspaces. Databases and objects,
    /// too, unless they are elsewhere.
    pub folder: PathBuf,
    /// Index and wrapped keys.
    pub metadata: Option<PostgresAt>,
    /// The raw zone.
    pub objects: Option<Bucket>,
}

impl Place {
    /// Everything in one folder.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), metadata: None, objects: None }
    }

    pub(crate) fn databases(&self) -> Databases {
        match &self.metadata {
            Some(at) => Databases::Postgres(at.clone()),
            None => Databases::Files(self.folder.clone()),
        }
    }
}

/// A bucket of an S3-compatible store, with a prefix.
#[derive(Clone)]
pub struct Bucket {
    /// `s3://bucket/prefix`.
    pub url: String,
    /// Where the store is, if not at Amazon's; objects are found by path.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// Identifier and secret of the access key. Else those of `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, or of the machine.
    pub access_key: Option<(String, Zeroizing<String>)>,
    /// Whether the store can put what is absent only, which is tried. Where it cannot, processes are
    /// kept apart by the locks of the lake's databases alone.
    pub put_if_absent: bool,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bucket({})", self.url)
    }
}

/// A bucket that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The address is none.
    #[error("`{0}` names no bucket; write `s3://bucket` or `s3://bucket/prefix`")]
    Url(String),
    /// The store does not do what is asked.
    #[error(
        "could not use the bucket `{url}`; check its name, the endpoint, the region and the access \
         key"
    )]
    Store {
        /// The bucket's address.
        url: String,
        /// What the store says.
        #[source]
        source: object_store::Error,
    },
    /// The store lets two writers win.
    #[error(
        "the store of `{url}` is not safe for several processes: of {PROBES} that put one object \
         if it was absent, {winners} were told that they did; use a store that honours \
         `If-None-Match: *`, or a folder, or say `put_if_absent = false` if nobody but this lake's \
         processes writes there"
    )]
    NotAtomic {
        /// The bucket's address.
        url: String,
        /// How many were told that they had put it.
        winners: usize,
    },
}

/// How many put one object at the same time, to see that one of them does.
const PROBES: usize = 8;

impl Bucket {
    /// Opens the bucket, and makes sure that of several who put one object exactly one does, if that
    /// is counted on.
    pub(crate) fn open(&self) -> Result<Arc<dyn ObjectStore>, BucketError> {
        let store = self.store()?;
        if self.put_if_absent {
            self.probe(&*store)?;
        }
        Ok(store)
    }

    /// The bucket, whatever it does.
    pub(crate) fn store(&self) -> Result<Arc<dyn ObjectStore>, BucketError> {
        let url = || self.url.clone();
        let place = self.url.strip_prefix("s3://").filter(|place| !place.starts_with('/'));
        let place =
            place.filter(|place| !place.is_empty()).ok_or_else(|| BucketError::Url(url()))?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        if let Some(endpoint) = &self.endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_virtual_hosted_style_request(false)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some((id, secret)) = &self.access_key {
            builder = builder
                .with_config(AmazonS3ConfigKey::AccessKeyId, id)
                .with_config(AmazonS3ConfigKey::SecretAccessKey, secret.as_str());
        }
        let store = builder.build().map_err(|source| BucketError::Store { url: url(), source })?;
        Ok(Arc::new(PrefixStore::new(store, prefix)))
    }

    /// Lets several put one object that is absent.
    fn probe(&self, store: &dyn ObjectStore) -> Result<(), BucketError> {
        let name = Location::from(format!("probe/{}", hex::encode(crypt::random::<16>())));
        let failed = |source| BucketError::Store { url: self.url.clone(), source };
        let put = |probe: usize| {
            let content = probe.to_string().into_bytes();
            store.put_opts(&name, content.into(), PutMode::Create.into())
        };
        let told = wait(join_all((0..PROBES).map(put)));
        let deleted = wait(store.delete(&name));
        let mut winners = 0;
        for told in told {
            match told {
                Ok(_) => winners += 1,
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        deleted.map_err(failed)?;
        if winners == 1 {
            Ok(())
        } else {
            Err(BucketError::NotAtomic { url: self.url.clone(), winners })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::faulty::{Fails, Faulty};
    use object_store::memory::InMemory;

    fn bucket(url: &str) -> Bucket {
        let url = url.to_owned();
        Bucket { url, endpoint: None, region: None, access_key: None, put_if_absent: true }
    }

    #[test]
    fn a_store_in_which_two_writers_win_is_refused() {
        let bucket = bucket("s3://zmc/raw");
        bucket.probe(&InMemory::new()).unwrap();
        let careless = Faulty::new(Arc::new(InMemory::new()), usize::MAX, Fails::Carelessly);
        let error = bucket.probe(&careless).unwrap_err();
        assert!(matches!(error, BucketError::NotAtomic { winners: PROBES, .. }), "{error}");
        assert!(error.to_string().contains("not safe for several processes"), "{error}");
        let full = Faulty::new(Arc::new(InMemory::new()), 1, Fails::Before);
        assert!(matches!(bucket.probe(&full), Err(BucketError::Store { .. })));
    }

    #[test]
    fn an_address_that_names_no_bucket_is_refused() {
        for url in ["", "zmc", "s3://", "s3:///raw", "https://zmc"] {
            assert!(matches!(bucket(url).open(), Err(BucketError::Url(_))), "{url}");
        }
    }
}
