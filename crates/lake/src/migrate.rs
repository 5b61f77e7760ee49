//! Moves a lake from one place to another: from a folder to servers, or back.
//!
//! First the objects, each checked against its name on both sides; then the wrapped keys, then the
//! index, each as one change that is read back and compared before it counts. So the new place is
//! empty to whoever looks before all of it is there, and a migration that was killed is run again:
//! what was copied already is only checked. The old place is read, not changed. Nothing is decrypted:
//! the key-encryption keys have to be at hand at the new place as they are, and at no other afterwards,
//! where an erasure would not reach them.

use crate::crypt;
use crate::database::{Connection, DatabaseError, Databases, Half, Transferred, content, transfer};
use crate::index;
use crate::ingest::IngestError;
use crate::keys::{self, KeyError};
use crate::lake::{Lake, OpenError};
use crate::objects::{OBJECT_DOMAIN, ObjectError, ObjectName, Objects};
use crate::place::Place;

/// What is at the new place now, the same as at the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Migration {
    /// How many rows of the index and of the key store.
    pub rows: u64,
    /// How many objects.
    pub objects: u64,
    /// How many of them were copied now.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A step of a migration, for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateStep {
    /// So many objects are to be copied, or to be found there.
    Begun {
        /// How many.
        objects: u64,
    },
    /// An object is there and is what its name says.
    Object {
        /// Bytes that were copied; zero when it was there.
        copied: u64,
    },
    /// The wrapped keys are there.
    Keys,
    /// The index is there: the lake can be used.
    Index,
}

/// A migration that did not happen. The old place is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// An ingest or an erasure is under way.
    #[error("an ingest into this lake, or an erasure, is under way; wait for it to end")]
    Busy,
    /// There is another lake.
    #[error(
        "there is another lake at the new place already; nothing was changed: give a database and a \
         prefix of its own"
    )]
    NotEmpty,
    /// The lake was changed meanwhile.
    #[error(
        "the lake was changed while it was copied; stop the node, run it again, and start the node \
         with the new place"
    )]
    Changed,
    /// The lock cannot be used.
    #[error("could not lock the lake for the migration")]
    Lock(#[source] std::io::Error),
    /// The new place cannot be used.
    #[error(transparent)]
    Place(#[from] OpenError),
    /// An object is missing, cut or altered, or cannot be stored.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The keys cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<IngestError> for MigrateError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Lock(error) => Self::Lock(error),
            IngestError::Index(error) => Self::Database(error),
            _ => Self::Busy,
        }
    }
}

impl Lake {
    /// Copies this lake to another place and makes sure that it is the same there. Refuses while an
    /// ingest runs; what else changes meanwhile is noticed.
    pub fn migrate(
        &self,
        to: &Place,
        progress: &mut dyn FnMut(&MigrateStep),
    ) -> Result<Migration, MigrateError> {
        let _no_ingest = self.lock_ingest()?;
        let _no_rotation = self.lock_keys()?;
        let objects = Objects::at(to)?;
        let (old_index, old_keys) = Database::open(&self.databases)?;
        let (new_index, new_keys) = Database::open(&to.databases())?;
        let is_begun = index::state(&new_index.connection)?.is_some();
        let is_other_index = is_begun && new_index.content()? != old_index.content()?;
        // A migration that was killed leaves the keys of this lake, and no index yet.
        let (new, old) = (&new_keys.connection, &old_keys.connection);
        let is_left = !is_begun && secrets(new)? == secrets(old)?;
        let is_other = !is_left && is_used(new)? && new_keys.content()? != old_keys.content()?;
        if is_other_index || is_other {
            return Err(MigrateError::NotEmpty);
        }
        let named = self.index.look(|index| index::named(index, true))?;
        progress(&MigrateStep::Begun { objects: named.len() as u64 });
        let mut done = Migration { objects: named.len() as u64, ..Migration::default() };
        for object in &named {
            let moved = self.move_object(&objects, &object.name, object.bytes);
            let copied = match moved {
                Err(error) if object.may_lack(&error) => 0,
                moved => moved?,
            };
            (done.copied, done.bytes) = (done.copied + u64::from(copied > 0), done.bytes + copied);
            progress(&MigrateStep::Object { copied });
        }
        let keys = old_keys.transfer(&new_keys)?;
        progress(&MigrateStep::Keys);
        // Before the index makes it a lake that may be used, and may not be written over.
        if old_keys.content()? != keys {
            return Err(MigrateError::Changed);
        }
        let index = old_index.transfer(&new_index)?;
        if old_keys.content()? != keys || old_index.content()? != index {
            return Err(MigrateError::Changed);
        }
        progress(&MigrateStep::Index);
        done.rows = keys.rows + index.rows;
        Ok(done)
    }

    /// Copies an object unless it is there; how many bytes that took.
    fn move_object(&self, to: &Objects, name: &ObjectName, size: u64) -> Result<u64, ObjectError> {
        let altered = || ObjectError::Altered(hex::encode(name));
        let length = usize::try_from(size).map_err(|_| altered())?;
        let is_it = |content: &[u8]| {
            let mut context = self.keys.naming().context(OBJECT_DOMAIN);
            context.update(content);
            crypt::tag(context.sign()) == *name
        };
        if to.read(name, (0, length), size).is_ok_and(|content| is_it(&content)) {
            return Ok(0);
        }
        let content = self.objects.read(name, (0, length), size)?;
        if !is_it(&content) {
            return Err(altered());
        }
        to.put(name, content)?;
        if is_it(&to.read(name, (0, length), size)?) { Ok(size) } else { Err(altered()) }
    }
}

/// Whether somebody has used a key store: it holds keys of a patient, a link, or what an erasure left.
fn is_used(keys: &Connection) -> Result<bool, DatabaseError> {
    for table in ["patient", "record", "link", "pseudonym", "erased"] {
        if keys.prepare_cached(&format!("SELECT 1 FROM {table} LIMIT 1"))?.exists([])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The wrapped secrets of a lake, which it has from its beginning.
fn secrets(keys: &Connection) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let mut select = keys.prepare_cached("SELECT wrapped FROM secret ORDER BY name")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// One of the two databases of a lake.
struct Database {
    half: Half,
    tables: &'static str,
    connection: Connection,
}

impl Database {
    /// The index and the key store.
    fn open(databases: &Databases) -> Result<(Self, Self), DatabaseError> {
        let open = |half, tables| {
            let connection = databases.open(half, tables)?;
            Ok::<_, DatabaseError>(Self { half, tables, connection })
        };
        Ok((open(Half::Index, index::SCHEMA.as_str())?, open(Half::Keys, keys::SCHEMA)?))
    }

    fn content(&self) -> Result<Transferred, DatabaseError> {
        content(&self.connection, self.tables)
    }

    fn transfer(&self, to: &Self) -> Result<Transferred, DatabaseError> {
        transfer(&self.connection, &to.connection, self.half, self.tables)
    }
}

#[cfg(test)]
mod tests;
