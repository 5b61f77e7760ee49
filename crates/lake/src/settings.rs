//! What a node's configuration says of its lake, under `[lake]`: where it is, and how it is looked after.
//!
//! Every program that opens the lake of a node reads it here, so that all of them open the same one.

use crate::PostgresAt;
use crate::database::DatabaseError;
use crate::kek_file::FileKeks;
use crate::keys::Kek;
use crate::lake::{Lake, OpenError};
use crate::place::{Bucket, Place};
use serde::{Deserialize, Serialize};
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How a running node looks after its lake, and the servers that hold it, if it is not in a folder of
/// `data`; several nodes of one centre may share them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeSettings {
    /// How long after a scrub the next one begins; 0 for none.
    pub scrub_hours: u32,
    /// How much a scrub reads in a second.
    pub scrub_mib_per_second: NonZeroU32,
    /// Index and wrapped keys: `postgres://user@host/database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The file with the password, if not `PGPASSWORD` or `PGPASSFILE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Objects: `s3://bucket/prefix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<String>,
    /// Where the object store is, if not at Amazon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The file with `access_key_id` and `secret_access_key`, if not `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<PathBuf>,
    /// Whether the object store can put what is absent only. False for one that cannot, such as
    /// Garage, when nobody but this lake's processes writes there.
    #[serde(skip_serializing_if = "is_true")]
    pub put_if_absent: bool,
    /// The sealed file with the key-encryption keys, if not `lake.keks` in `data`. All nodes that
    /// share the lake need the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keks: Option<PathBuf>,
}

/// Settings that cannot be. No message shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address of the database holds a password.
    #[error(
        "`metadata` of the lake has to be `postgres://user@host/database`, without a password: put \
         that into a file and name it in `password_file`"
    )]
    Password,
    /// The address of the database is none.
    #[error("`metadata` of the lake names no database; write `postgres://user@host/database`")]
    Metadata(#[source] DatabaseError),
    /// A file with a secret cannot be read.
    #[error("could not read `{}`", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
    /// A file holds no access key.
    #[error(
        "`{}` is no access key; it has two lines, `access_key_id = \"…\"` and `secret_access_key = \
         \"…\"`",
        .0.display()
    )]
    AccessKey(PathBuf),
    /// The lake cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What an access key file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessKey {
    access_key_id: String,
    secret_access_key: String,
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self {
            scrub_hours: 24,
            scrub_mib_per_second: const { NonZeroU32::new(4).expect("not zero") },
            metadata: None,
            password_file: None,
            objects: None,
            endpoint: None,
            region: None,
            access_key_file: None,
            put_if_absent: true,
            keks: None,
        }
    }
}

impl LakeSettings {
    /// Lets relative paths start at a folder.
    pub fn resolve(&mut self, folder: &Path) {
        let Self { password_file, access_key_file, keks, .. } = self;
        for place in [password_file, access_key_file, keks] {
            *place = place.take().map(|place| folder.join(place));
        }
    }

    /// Whether all of the lake is in the node's folder.
    pub fn is_in_folder(&self) -> bool {
        self.metadata.is_none() && self.objects.is_none()
    }

    /// Makes sure that no secret stands where everybody reads it.
    pub fn check(&self) -> Result<(), SettingsError> {
        let has_password = |url: &str| {
            url.split_once("://").is_none_or(|(_, rest)| {
                let user = rest.split_once('@').map_or("", |(user, _)| user);
                user.contains(':') || rest.contains("password=")
            })
        };
        let is_open = self.metadata.as_deref().is_some_and(has_password);
        if is_open { Err(SettingsError::Password) } else { Ok(()) }
    }

    /// Where the lake of a node is whose own folder for it is this.
    pub fn place(&self, folder: PathBuf) -> Result<Place, SettingsError> {
        let mut place = Place::folder(folder);
        if let Some(url) = &self.metadata {
            let password = self.password_file.as_deref().map(read).transpose()?;
            let password = password.as_ref().map(|text| text.trim_end_matches(['\n', '\r']));
            place.metadata = Some(PostgresAt::new(url, password).map_err(SettingsError::Metadata)?);
        }
        if let Some(url) = &self.objects {
            let access_key = self.access_key_file.as_deref().map(access_key);
            place.objects = Some(Bucket {
                url: url.clone(),
                endpoint: self.endpoint.clone(),
                region: self.region.clone(),
                access_key: access_key.transpose()?,
                put_if_absent: self.put_if_absent,
            });
        }
        Ok(place)
    }

    /// The key-encryption keys of that lake.
    pub fn keks(&self, folder: &Path, kek: &Kek) -> FileKeks {
        match &self.keks {
            Some(file) => FileKeks::new(file.clone(), kek),
            None => Lake::keks_beside(folder, kek),
        }
    }

    /// Opens that lake.
    pub fn open(&self, folder: &Path, kek: &Kek) -> Result<Lake, SettingsError> {
        let place = self.place(folder.to_owned())?;
        Ok(Lake::open_at(&place, Arc::new(self.keks(folder, kek)))?)
    }
}

fn access_key(path: &Path) -> Result<(String, Zeroizing<String>), SettingsError> {
    // The cause would show the line, and with it the secret.
    let key: AccessKey =
        toml::from_str(&read(path)?).map_err(|_| SettingsError::AccessKey(path.to_owned()))?;
    Ok((key.access_key_id, Zeroizing::new(key.secret_access_key)))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_true(value: &bool) -> bool {
    *value
}

fn read(path: &Path) -> Result<Zeroizing<String>, SettingsError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    text.map_err(|source| SettingsError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: &str = "metadata = 'postgres://aegle@db.example/zmc'
        objects = 's3://zmc/lake'\nendpoint = 'https://s3.example'\nkeks = 'shared/lake.keks'";

    fn parse(text: &str) -> LakeSettings {
        let mut settings: LakeSettings = toml::from_str(text).unwrap();
        settings.resolve(Path::new("/etc/aegle"));
        settings
    }

    fn place(settings: &LakeSettings) -> Result<Place, SettingsError> {
        settings.place(PathBuf::from("data/lake"))
    }

    #[test]
    fn a_lake_is_in_a_folder_or_at_servers() {
        let folder = place(&parse("")).unwrap();
        assert!(folder.metadata.is_none() && folder.objects.is_none());
        let settings = parse(SERVERS);
        assert_eq!(settings.keks.as_deref(), Some(Path::new("/etc/aegle/shared/lake.keks")));
        let servers = place(&settings).unwrap();
        assert_eq!(format!("{:?}", servers.metadata.unwrap()), "PostgresAt(db.example:5432)");
        let bucket = servers.objects.unwrap();
        assert_eq!((&*bucket.url, bucket.put_if_absent), ("s3://zmc/lake", true));
        let plain = parse(&format!("{SERVERS}\nput_if_absent = false"));
        assert!(!place(&plain).unwrap().objects.unwrap().put_if_absent);
    }

    #[test]
    fn no_secret_stands_in_an_address_or_in_a_message() {
        assert!(parse(SERVERS).check().is_ok());
        for secret in ["aegle:secret@db.example/zmc", "aegle@db.example/zmc?password=secret"] {
            let error = parse(&format!("metadata = 'postgres://{secret}'")).check().unwrap_err();
            let error = error.to_string();
            assert!(error.contains("password_file") && !error.contains("secret"), "{error}");
        }
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), "access_key_id = 'id'\nsecret = 'hidden'").unwrap();
        let settings =
            LakeSettings { access_key_file: Some(key.path().to_owned()), ..parse(SERVERS) };
        let error = place(&settings).unwrap_err();
        assert!(std::error::Error::source(&error).is_none());
        let error = error.to_string();
        assert!(error.contains("is no access key") && !error.contains("hidden"), "{error}");
    }
}
