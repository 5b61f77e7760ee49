//! The credentials of one upload area: a file each, so that what an operator changes counts at once.

use crate::area_file;
use crate::credential::{Credential, CredentialName, Scope, Secret};
use glob::Pattern;
use jiff::Timestamp;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The credentials of an area.
#[derive(Debug, Clone)]
pub struct Credentials(PathBuf);

/// A credential that cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The name is taken, perhaps by one that was revoked.
    #[error("there is a credential `{0}` already; choose another name")]
    Taken(CredentialName),
    /// There is none of this name.
    #[error("there is no credential `{0}`")]
    Missing(CredentialName),
    /// A pattern that matches nothing.
    #[error("`{0}` is no pattern of file names; write one such as `*.csv`")]
    Pattern(String),
    /// The disk.
    #[error("could not use the credentials of the upload area")]
    Io(#[from] io::Error),
}

impl Credentials {
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        area_file::folder(&folder)?;
        Ok(Self(folder))
    }

    /// Makes a credential and the secret that is shown once.
    pub fn create(
        &self,
        name: CredentialName,
        scope: Scope,
        now: Timestamp,
    ) -> Result<Secret, CredentialError> {
        if let Some(bad) = scope.allow.iter().find(|pattern| Pattern::new(pattern).is_err()) {
            return Err(CredentialError::Pattern(bad.clone()));
        }
        let _alone = self.books(&name)?;
        if self.find(&name)?.is_some() {
            return Err(CredentialError::Taken(name));
        }
        let secret = Secret::generate(name.clone())?;
        let secret_sha256 = secret.hash();
        let made = Credential { name, secret_sha256, scope, created: now, revoked: None };
        area_file::write(&self.path(&made.name), &made)?;
        Ok(secret)
    }

    /// Ends a credential. What was uploaded under it stays where it is.
    pub fn revoke(&self, name: &CredentialName, now: Timestamp) -> Result<(), CredentialError> {
        let found = self.find(name)?.ok_or_else(|| CredentialError::Missing(name.clone()))?;
        let revoked = found.revoked.or(Some(now));
        Ok(area_file::write(&self.path(name), &Credential { revoked, ..found })?)
    }

    /// Every credential, by name.
    pub fn list(&self) -> io::Result<Vec<Credential>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            if let Some(credential) = name.map(|name| self.find(&name)).transpose()?.flatten() {
                found.push(credential);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The credential of this name.
    pub fn find(&self, name: &CredentialName) -> io::Result<Option<Credential>> {
        area_file::read(&self.path(name))
    }

    /// The credential that the secret is of, if it is good.
    pub(crate) fn admit(&self, secret: &Secret, now: Timestamp) -> io::Result<Option<Credential>> {
        let found = self.find(&secret.name)?;
        Ok(found.filter(|credential| credential.is_of(secret) && credential.is_good(now)))
    }

    /// How many bytes have been delivered under the credential.
    pub fn delivered(&self, name: &CredentialName) -> io::Result<u64> {
        self.books(name)?.delivered()
    }

    /// The books of a credential, held by nobody else as long as they live.
    pub(crate) fn books(&self, name: &CredentialName) -> io::Result<Books> {
        let file = area_file::open(&self.0.join(format!("{name}.delivered")))?;
        file.lock()?;
        Ok(Books(file))
    }

    fn path(&self, name: &CredentialName) -> PathBuf {
        Path::new(&self.0).join(format!("{name}.json"))
    }
}

/// How much was delivered under a credential. What counts its uploads holds them, too.
pub(crate) struct Books(std::fs::File);

impl Books {
    pub(crate) fn delivered(&mut self) -> io::Result<u64> {
        let mut text = String::new();
        self.0.rewind()?;
        (&self.0).take(20).read_to_string(&mut text)?;
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(io::Error::other)
    }

    pub(crate) fn add(&mut self, bytes: u64) -> io::Result<()> {
        let sum = self.delivered()?.saturating_add(bytes);
        self.0.rewind()?;
        // A sum never has fewer digits than the one before.
        self.0.write_all(sum.to_string().as_bytes())?;
        self.0.sync_data()
    }
}
