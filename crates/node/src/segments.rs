//! The folder of a backup: one file per segment, named by the height of its first block, and a copy
//! of the genesis. A file shows up whole or not at all.

use aegle_ledger::{CertifiedBlock, SegmentError, Summary, read_segment, segment_summary};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The genesis beside the segments.
pub(crate) const GENESIS: &str = "genesis";
const EXTENSION: &str = "segment";
/// The largest file that is read: several times what `aegle backup` writes.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A file of the folder that is named like a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The height in its name.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// Why a segment was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("could not read `{path}`")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not use the segment `{path}`")]
    Segment {
        path: PathBuf,
        #[source]
        source: SegmentError,
    },
}

/// The segments of a folder, by the heights in their names.
pub(crate) fn list(dir: &Path) -> Result<Vec<Named>> {
    let read = || -> io::Result<Vec<Named>> {
        let paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
        let mut named = Vec::new();
        for path in paths.collect::<io::Result<Vec<_>>>()? {
            named.extend(height(&path).map(|first| Named { first, path }));
        }
        named.sort_by_key(|segment| segment.first);
        Ok(named)
    };
    read().with_context(|| format!("could not read the folder `{}`", dir.display()))
}

fn height(path: &Path) -> Option<u64> {
    if path.extension()? != EXTENSION {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

impl Named {
    /// What it holds, when its hash is right.
    pub(crate) fn summary(&self) -> Result<Summary, Unread> {
        let bytes = self.bytes()?;
        segment_summary(&bytes).map_err(|source| self.unusable(source))
    }

    /// Its blocks.
    pub(crate) fn blocks(&self) -> Result<Vec<CertifiedBlock>, Unread> {
        let bytes = self.bytes()?;
        read_segment(&bytes).map_err(|source| self.unusable(source))
    }

    fn unusable(&self, source: SegmentError) -> Unread {
        Unread::Segment { path: self.path.clone(), source }
    }

    fn bytes(&self) -> Result<Vec<u8>, Unread> {
        let read = || {
            let mut bytes = Vec::new();
            // One cut at the limit has another hash than it says.
            File::open(&self.path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source| Unread::File { path: self.path.clone(), source })
    }
}

/// Puts a segment into the folder, over a damaged one of the same name.
pub(crate) fn put(dir: &Path, first: u64, bytes: &[u8]) -> Result<PathBuf> {
    let path = dir.join(format!("{first:020}.{EXTENSION}"));
    write(&path, bytes).with_context(|| format!("could not write `{}`", path.display()))?;
    Ok(path)
}

/// Writes beside, then renames.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("partial");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // Without this a crash may forget the file's name.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
