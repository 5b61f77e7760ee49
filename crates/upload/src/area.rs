//! The upload area: every upload under its credential, and the bounds of each credential.

use crate::area_file;
use crate::credential::{Credential, CredentialName};
use crate::credentials::{Books, Credentials};
use crate::held::{About, Held, Id, Outcome};
use crate::name::FileName;
use jiff::{SignedDuration, Timestamp};
use std::io;
use std::path::{Path, PathBuf};

/// How many uploads one credential may have here, whatever their state.
const HELD_MAX: usize = 10_000;

/// How long it can be asked what became of an accepted upload.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// An upload area, which may be used by several processes at once.
#[derive(Debug, Clone)]
pub struct Area {
    received: PathBuf,
    /// Who may deliver.
    pub credentials: Credentials,
}

/// What a client wants to upload.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where in the source folder.
    pub name: FileName,
    /// How many bytes.
    pub length: u64,
    /// The checksum of the whole, if the client gives one.
    pub sha256: Option<[u8; 32]>,
    /// `Upload-Metadata` as it came.
    pub metadata: String,
}

/// An upload that may not begin.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The name.
    #[error("the credential does not allow a file of this name")]
    Name,
    /// The size of the file.
    #[error("a file under this credential has at most {0} bytes")]
    FileTooLarge(u64),
    /// The bytes of all files.
    #[error("the credential has {left} bytes left; ask the centre's operator for a new one")]
    UsedUp {
        /// How many more may be delivered.
        left: u64,
    },
    /// The number of open uploads.
    #[error("{0} uploads are unfinished; finish or end one first")]
    TooManyOpen(u32),
    /// The number of uploads.
    #[error("{HELD_MAX} uploads lie here; wait, or end those in quarantine")]
    TooMany,
    /// The disk.
    #[error("could not use the upload area")]
    Io(#[from] io::Error),
}

impl Area {
    /// Opens the area in `folder`, made if it is missing, for its owner only.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let received = folder.join("received");
        area_file::folder(&received)?;
        Ok(Self { received, credentials: Credentials::new(folder.join("credentials"))? })
    }

    /// Begins an upload.
    pub fn create(
        &self,
        credential: &Credential,
        wish: Wish,
        now: Timestamp,
    ) -> Result<Held, Refused> {
        let scope = &credential.scope;
        if !scope.allows(&wish.name) {
            return Err(Refused::Name);
        }
        if wish.length > scope.file_bytes_max {
            return Err(Refused::FileTooLarge(scope.file_bytes_max));
        }
        // Held until the upload is there, so that two that begin at once are both counted.
        let mut books = self.credentials.books(&credential.name)?;
        self.check_room(credential, wish.length, &mut books)?;
        let about = About {
            id: Id::generate()?,
            credential: credential.name.clone(),
            source: scope.source.clone(),
            name: wish.name,
            length: wish.length,
            sha256: wish.sha256.map(hex::encode),
            metadata: wish.metadata,
            created: now,
        };
        let home = self.home(&credential.name);
        area_file::folder(&home)?;
        let (new, folder) = (home.join(format!(".{}", about.id)), home.join(about.id.to_string()));
        Held::make(&new, &about)?;
        std::fs::rename(&new, &folder)?;
        area_file::sync(&home)?;
        Ok(Held { folder, about })
    }

    fn check_room(
        &self,
        credential: &Credential,
        length: u64,
        books: &mut Books,
    ) -> Result<(), Refused> {
        let scope = &credential.scope;
        let (mut here, mut open, mut bytes) = (0, 0, books.delivered()?);
        for held in self.of(&credential.name)? {
            here += 1;
            let outcome = held.outcome()?;
            if !matches!(outcome, Some(Outcome::Accepted { .. })) {
                bytes = bytes.saturating_add(held.about.length);
            }
            open += u32::from(outcome.is_none());
        }
        let left = scope.bytes_max.saturating_sub(bytes);
        if length > left {
            return Err(Refused::UsedUp { left });
        }
        if open >= scope.open_max {
            return Err(Refused::TooManyOpen(scope.open_max));
        }
        if here >= HELD_MAX { Err(Refused::TooMany) } else { Ok(()) }
    }

    /// The upload of this name under this credential.
    pub fn find(&self, credential: &CredentialName, id: &Id) -> io::Result<Option<Held>> {
        Held::at(self.home(credential).join(id.to_string()))
    }

    /// Every upload, the earliest first.
    pub fn list(&self) -> io::Result<Vec<Held>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.received)? {
            let name = entry?.file_name();
            if let Some(credential) = name.to_str().and_then(|name| name.parse().ok()) {
                found.extend(self.of(&credential)?);
            }
        }
        found.sort_by_key(|held| held.about.created);
        Ok(found)
    }

    /// Every upload under one credential.
    fn of(&self, credential: &CredentialName) -> io::Result<Vec<Held>> {
        let home = self.home(credential);
        let Some(entries) = area_file::exists(std::fs::read_dir(&home))? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.parse::<Id>().is_ok()) {
                found.extend(Held::at(entry.path())?);
            }
        }
        Ok(found)
    }

    /// Removes an upload with all that came of it. False while somebody writes or reads it.
    pub fn remove(&self, held: &Held) -> io::Result<bool> {
        let Some(_claim) = held.claim()? else { return Ok(false) };
        let home = self.home(&held.about.credential);
        let gone = home.join(format!(".{}", held.about.id));
        std::fs::rename(&held.folder, &gone)?;
        area_file::sync(&home)?;
        area_file::exists(std::fs::remove_dir_all(&gone))?;
        Ok(true)
    }

    /// Removes unfinished uploads to which nothing came for `idle`, what is left of removed ones, and
    /// the memory of accepted ones after a day. How many uploads it removed.
    pub(crate) fn sweep(&self, idle: SignedDuration, now: Timestamp) -> io::Result<usize> {
        let mut removed = 0;
        for held in self.list()? {
            let over = match held.outcome()? {
                Some(Outcome::Accepted { at, .. }) => now.duration_since(at) > REMEMBERED,
                Some(Outcome::Quarantined { .. }) => false,
                None => held.offset()? < held.about.length && held.expires(idle)? <= now,
            };
            removed += usize::from(over && self.remove(&held)?);
        }
        self.sweep_leftovers(now)?;
        Ok(removed)
    }

    /// Folders that a crash left half made or half removed; a young one may still be made.
    fn sweep_leftovers(&self, now: Timestamp) -> io::Result<()> {
        for home in std::fs::read_dir(&self.received)? {
            for entry in std::fs::read_dir(home?.path())? {
                let entry = entry?;
                let Some(modified) = area_file::exists(entry.metadata())? else { continue };
                let modified =
                    Timestamp::try_from(modified.modified()?).map_err(io::Error::other)?;
                let old = now.duration_since(modified) > SignedDuration::from_hours(1);
                if old && entry.file_name().as_encoded_bytes().starts_with(b".") {
                    area_file::exists(std::fs::remove_dir_all(entry.path()))?;
                }
            }
        }
        Ok(())
    }

    fn home(&self, credential: &CredentialName) -> PathBuf {
        self.received.join(credential.as_str())
    }
}
