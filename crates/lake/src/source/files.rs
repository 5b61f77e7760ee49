//! Files of a source: which there are, in one order, and what they hold now.

use super::{Content, Setting, Settings, Shape, Unreadable};
use crate::crypt::{self, MacKey};
use crate::finding::Findings;
use crate::hole::Hole;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

const BUFFER: usize = 1 << 16;

/// How many files one source may have.
const FILES_MAX: usize = 1_000_000;

/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 16;

/// The setting that says where the files lie.
pub(super) const PATH: Setting = Setting {
    name: "path",
    needed: true,
    shape: Shape { text: "a file or folder inside the source folder", fits: is_inside },
};

fn is_inside(path: &str) -> bool {
    let normal = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.is_empty() && !path.contains('\\') && Path::new(path).components().all(normal)
}

/// The files of one source, as its settings say.
pub(super) struct Files {
    folder: PathBuf,
    path: String,
    /// Which of them are read, by the end of their names in small letters.
    endings: &'static [&'static str],
}

/// A file of a source.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its path from the source folder, for messages.
    pub(super) name: Arc<str>,
    /// Its path from the source's own folder, with `/` between the parts.
    pub(super) within: String,
    pub(super) path: PathBuf,
}

impl Files {
    pub(super) fn new(
        folder: &Path,
        settings: &Settings,
        endings: &'static [&'static str],
    ) -> Self {
        let path = settings.get(PATH.name).unwrap_or(".").to_owned();
        Self { folder: folder.to_owned(), path, endings }
    }

    /// Every file, in the order of the paths.
    pub(super) fn list(&self) -> io::Result<Vec<Found>> {
        let root = self.folder.join(&self.path);
        let mut found = Vec::new();
        if std::fs::metadata(&root)?.is_dir() {
            self.walk(&root, "", DEPTH_MAX, &mut found)?;
        } else {
            let within = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push(Found { name: Arc::from(self.path.as_str()), within, path: root });
        }
        found.sort_by(|a, b| a.within.cmp(&b.within));
        Ok(found)
    }

    fn walk(
        &self,
        folder: &Path,
        within: &str,
        depth: usize,
        found: &mut Vec<Found>,
    ) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name().into_string().map_err(|_| {
                io::Error::other("a file name is not UTF-8; rename it and run it again")
            })?;
            let within = if within.is_empty() { name } else { format!("{within}/{name}") };
            if kind.is_dir() {
                let depth = depth.checked_sub(1).ok_or_else(|| {
                    io::Error::other(format!("folders lie more than {DEPTH_MAX} deep"))
                })?;
                self.walk(&entry.path(), &within, depth, found)?;
            } else if kind.is_file() && self.is_read(&within) {
                if found.len() >= FILES_MAX {
                    return Err(io::Error::other(format!("there are more than {FILES_MAX} files")));
                }
                let name = if self.path == "." {
                    within.clone()
                } else {
                    format!("{}/{within}", self.path.trim_end_matches('/'))
                };
                found.push(Found { name: Arc::from(name), within, path: entry.path() });
            }
        }
        Ok(())
    }

    fn is_read(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.endings.iter().any(|ending| name.ends_with(ending))
    }

    /// Every file, or the hole that there is none to list.
    pub(super) fn listed(&self, findings: &mut Findings) -> Option<Vec<Found>> {
        match self.list() {
            Ok(files) => Some(files),
            Err(error) => {
                findings.add(&self.path, None, Hole::Unreadable(error.to_string()));
                None
            }
        }
    }

    /// Names the content of all files together.
    pub(super) fn content(&self, naming: &MacKey) -> Result<Content, Unreadable> {
        let unreadable = |source| Unreadable { file: self.path.clone(), source };
        let (mut context, mut bytes) = (naming.context("aegle lake files v1"), 0);
        let files = self.list().map_err(unreadable)?;
        for (found, file) in files.iter().zip(fingerprints(&files, naming)) {
            let file =
                file.map_err(|source| Unreadable { file: found.name.to_string(), source })?;
            context.update(&(found.within.len() as u64).to_le_bytes());
            context.update(found.within.as_bytes());
            context.update(&file.hash);
            bytes += file.bytes;
        }
        Ok(Content { hash: crypt::tag(context.sign()), bytes })
    }
}

/// The fingerprint of each file, in their order; every processor takes a share of them.
fn fingerprints(files: &[Found], naming: &MacKey) -> Vec<io::Result<Content>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(processors).max(1);
    let of = |files: &[Found]| -> Vec<_> {
        files.iter().map(|found| fingerprint(&found.path, naming)).collect()
    };
    std::thread::scope(|scope| {
        let shares: Vec<_> =
            files.chunks(share).map(|files| scope.spawn(move || of(files))).collect();
        shares.into_iter().flat_map(|share| share.join().expect("hashing does not panic")).collect()
    })
}

/// The keyed hash of a file and its length.
pub(crate) fn fingerprint(path: &Path, naming: &MacKey) -> io::Result<Content> {
    let (mut file, mut context) = (open(path)?, naming.context("aegle lake file v1"));
    let (mut buffer, mut bytes) = (vec![0; BUFFER], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Content { hash: crypt::tag(context.sign()), bytes }),
            read => {
                context.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a file")) }
}

/// The whole of a file that must not be larger than `max`; nothing when it is.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

/// How many lines end in these bytes.
pub(super) fn lines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}
