//! One upload: a folder of its own, whose files are its whole state.
//!
//! ```text
//! received/CREDENTIAL/ID/upload.json    what it is to become; never changes; its lock is the writer's
//!                        data           what has arrived; its length is the offset
//!                        floor          the offset before a chunk that is not verified yet
//!                        outcome.json   what was found, once it is whole
//! ```
//! After an accepted upload `data` is gone: it lies in the source folder.

use crate::area_file;
use crate::credential::CredentialName;
use crate::name::FileName;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio::io::AsyncWriteExt;

pub(crate) const ABOUT: &str = "upload.json";
pub(crate) const DATA: &str = "data";
const FLOOR: &str = "floor";
const OUTCOME: &str = "outcome.json";

/// Names an upload: 128 random bits in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    pub(crate) fn generate() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(hex::encode(bytes)))
    }
}

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let good = text.len() == 32 && text.bytes().all(digit);
        good.then(|| Self(text.to_owned())).ok_or("an upload's id has 32 hex digits")
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an upload is to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its name.
    pub id: Id,
    /// Under which it is delivered.
    pub credential: CredentialName,
    /// The source folder.
    pub source: PathBuf,
    /// Where in the source folder.
    pub name: FileName,
    /// How many bytes it will have.
    pub length: u64,
    /// The checksum of the whole file, in hex, if the client gave one.
    pub sha256: Option<String>,
    /// `Upload-Metadata` as it came.
    pub metadata: String,
    /// When it began.
    pub created: Timestamp,
}

/// What was found in a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// It lies in the source folder.
    Accepted {
        /// Since when.
        at: Timestamp,
        /// How many rows the catalogue's tables have in it; unknown after a crash or when an
        /// operator released it as it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        rows: Option<u64>,
        /// How many of them belong to no patient, and will be left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        rows_without_patient: Option<u64>,
    },
    /// It stays where it is.
    Quarantined {
        /// Since when.
        at: Timestamp,
        /// Why; no values.
        reasons: Vec<String>,
    },
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum State {
    /// It is not whole, or was not looked at yet.
    Open(Progress),
    /// It was looked at.
    Ended(Outcome),
}

/// How far an upload is that was not looked at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Progress {
    /// More is to come.
    Receiving,
    /// It is whole and waits to be looked at.
    Validating,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receiving => "receiving",
            Self::Validating => "validating",
        })
    }
}

/// An upload that is there.
#[derive(Debug, Clone)]
pub struct Held {
    pub(crate) folder: PathBuf,
    /// What it is to become.
    pub about: About,
}

impl Held {
    /// The upload in this folder, if there is one.
    pub(crate) fn at(folder: PathBuf) -> io::Result<Option<Self>> {
        let about = area_file::read(&folder.join(ABOUT))?;
        Ok(about.map(|about| Self { folder, about }))
    }

    /// Makes the files of a new upload in `folder`, which nobody sees yet.
    pub(crate) fn make(folder: &Path, about: &About) -> io::Result<()> {
        area_file::folder(folder)?;
        area_file::open(&folder.join(DATA))?.sync_all()?;
        area_file::write(&folder.join(ABOUT), about)
    }

    /// How much of it is here for good.
    pub fn offset(&self) -> io::Result<u64> {
        if let Some(floor) = area_file::read(&self.path(FLOOR))? {
            return Ok(floor);
        }
        // What is whole is moved away only when it was accepted.
        let data = area_file::exists(std::fs::metadata(self.path(DATA)))?;
        Ok(data.map_or(self.about.length, |data| data.len()))
    }

    /// What was found in it, once it was looked at.
    pub fn outcome(&self) -> io::Result<Option<Outcome>> {
        area_file::read(&self.path(OUTCOME))
    }

    /// How far it is.
    pub fn state(&self) -> io::Result<State> {
        Ok(match self.outcome()? {
            Some(outcome) => State::Ended(outcome),
            None if self.offset()? < self.about.length => State::Open(Progress::Receiving),
            None => State::Open(Progress::Validating),
        })
    }

    /// When the last byte came.
    pub(crate) fn touched(&self) -> io::Result<Timestamp> {
        let data = area_file::exists(std::fs::metadata(self.path(DATA)))?;
        let modified = data.map(|data| data.modified()).transpose()?;
        let modified = modified.map(Timestamp::try_from).transpose().map_err(io::Error::other)?;
        Ok(modified.unwrap_or(self.about.created))
    }

    /// When it ends, if nothing more comes.
    pub(crate) fn expires(&self, idle: SignedDuration) -> io::Result<Timestamp> {
        self.touched()?.checked_add(idle).map_err(io::Error::other)
    }

    /// Notes what was found.
    pub(crate) fn settle(&self, outcome: &Outcome) -> io::Result<()> {
        area_file::write(&self.path(OUTCOME), outcome)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The right to change it; nothing while somebody else has it, or when it is gone by now.
    pub(crate) fn claim(&self) -> io::Result<Option<Claim>> {
        let Some(lock) = area_file::exists(File::open(self.path(ABOUT)))? else {
            return Ok(None);
        };
        match lock.try_lock() {
            Ok(()) => Ok(self.folder.exists().then_some(Claim { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The right to change an upload, held by one process and task at a time. The system takes it back
/// from whoever dies.
pub(crate) struct Claim {
    _lock: File,
}

/// Appends one chunk to an upload.
pub(crate) struct Writer {
    data: tokio::fs::File,
    /// Where the chunk begins.
    start: u64,
    folder: PathBuf,
    verified: bool,
    _claim: Claim,
}

impl Writer {
    /// Begins where the last one stopped: what it had not verified when it died is cut off. Bytes of
    /// a chunk that `needs_verification` do not count before [`keep`](Self::keep). Nothing while the
    /// last write of a request that broke off is still under way.
    pub(crate) fn open(
        held: &Held,
        claim: Claim,
        needs_verification: bool,
    ) -> io::Result<Option<Self>> {
        let data = OpenOptions::new().append(true).open(held.path(DATA))?;
        match data.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let floor = held.path(FLOOR);
        if let Some(length) = area_file::read(&floor)? {
            data.set_len(length)?;
            data.sync_all()?;
            remove_floor(&held.folder)?;
        }
        let start = data.metadata()?.len();
        if needs_verification {
            area_file::write(&floor, &start)?;
        }
        Ok(Some(Self {
            data: tokio::fs::File::from_std(data),
            start,
            folder: held.folder.clone(),
            verified: !needs_verification,
            _claim: claim,
        }))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.data.write_all(bytes).await
    }

    /// Keeps what was written, down to the disk.
    pub(crate) async fn keep(mut self) -> io::Result<()> {
        self.data.flush().await?;
        self.data.sync_all().await?;
        if !self.verified {
            let folder = std::mem::take(&mut self.folder);
            tokio::task::spawn_blocking(move || remove_floor(&folder)).await??;
        }
        Ok(())
    }

    /// Forgets what was written.
    pub(crate) async fn discard(mut self) -> io::Result<()> {
        // A failed write is reported by the next call, and what it wrote is cut off all the same.
        drop(self.data.flush().await);
        self.data.set_len(self.start).await?;
        self.verified = false;
        self.keep().await
    }

    /// Ends a chunk of which no more comes: what needs no verification counts.
    pub(crate) async fn stop(self) -> io::Result<()> {
        if self.verified { self.keep().await } else { self.discard().await }
    }
}

fn remove_floor(folder: &Path) -> io::Result<()> {
    area_file::exists(std::fs::remove_file(folder.join(FLOOR)))?;
    area_file::sync(folder)
}
