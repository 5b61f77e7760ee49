//! Rotation: everything in the key store under a new key-encryption key, and the old one destroyed.
//!
//! The steps, each durable before the next: make the key of the next epoch; call it current, so that
//! whoever wraps from now on does so under it; wrap again what is not under it, some rows at a time;
//! make sure that nothing was left behind; destroy the old key. A rotation that was killed is taken
//! up at any of them, for what is there says how far it came. One rotation at a time.

use crate::database::{self, Connection, Lock, Row, Value, params};
use crate::kek::{KekError, KeyEpoch};
use crate::keys::{self, KeyError, Keys, PersonKey, place};
use crate::lake::Lake;
use std::path::PathBuf;

/// How many keys are wrapped again in one transaction.
const AT_ONCE: u32 = 16_384;

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The only epoch that is left.
    pub epoch: KeyEpoch,
    /// How many keys were wrapped again.
    pub keys: u64,
}

/// A step of a rotation, for a progress display. It is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationStep {
    /// The key of the next epoch exists.
    Created(KeyEpoch),
    /// Whoever wraps does so under the next epoch; so many keys are to be wrapped again.
    Current {
        /// About how many: it is counted while others wrap.
        keys: u64,
    },
    /// So many keys were wrapped again.
    Rewrapped(u64),
    /// The old key-encryption keys are gone.
    Destroyed,
}

impl Lake {
    /// Wraps all keys under a new key-encryption key, and destroys the old one. Whatever was copied
    /// before can be read by nobody afterwards.
    pub fn rotate_keys(
        &self,
        progress: &mut dyn FnMut(&RotationStep),
    ) -> Result<Rotation, KeyError> {
        let _alone = self.lock_keys()?;
        // Keys that were being wrapped when an earlier one was killed.
        self.keys.finish_rotation(progress)?;
        self.keys.begin_rotation(progress)?;
        self.keys.finish_rotation(progress)
    }

    /// Ends a rotation that was killed, unless another process is at it.
    pub(crate) fn take_up_rotation(&self) -> Result<(), KeyError> {
        if self.keys.keks().epochs()?.len() < 2 {
            return Ok(());
        }
        let Some(_alone) = self.keys.try_lock(&self.keys_lock())? else { return Ok(()) };
        self.keys.finish_rotation(&mut |_| {}).map(|_| ())
    }

    /// Waits until nobody rotates; nobody does while it is held.
    pub(crate) fn lock_keys(&self) -> Result<Lock<'_>, KeyError> {
        Ok(self.keys.lock(&self.keys_lock())?)
    }

    fn keys_lock(&self) -> PathBuf {
        self.root.join("keys.lock")
    }
}

impl Keys {
    fn begin_rotation(&self, progress: &mut dyn FnMut(&RotationStep)) -> Result<(), KeyError> {
        let next = self.change(|database| Ok::<_, KeyError>(keys::current(database)?))? + 1;
        self.keks().create(next)?;
        progress(&RotationStep::Created(next));
        Ok(())
    }

    /// Goes on until the newest epoch is the only one.
    fn finish_rotation(
        &self,
        progress: &mut dyn FnMut(&RotationStep),
    ) -> Result<Rotation, KeyError> {
        let epochs = self.keks().epochs()?;
        let epoch = *epochs.last().ok_or(KekError::Gone(1))?;
        let mut rotation = Rotation { epoch, keys: 0 };
        if epochs.len() < 2 {
            return Ok(rotation);
        }
        let update = "UPDATE epoch SET current = ?1 WHERE current < ?1";
        let keys = self.change(|database| {
            database.execute(update, [epoch])?;
            left_behind(database, epoch)
        })?;
        progress(&RotationStep::Current { keys });
        for table in &TABLES {
            let mut last = None;
            while let Some((to, keys)) =
                self.change(|database| self.rewrap(database, table, epoch, last.as_ref()))?
            {
                (last, rotation.keys) = (Some(to), rotation.keys + keys);
                progress(&RotationStep::Rewrapped(rotation.keys));
            }
        }
        // What is left behind would be lost for ever.
        match self.change(|database| left_behind(database, epoch))? {
            0 => self.keks().keep_only(epoch)?,
            left => return Err(KeyError::LeftBehind(left)),
        }
        progress(&RotationStep::Destroyed);
        Ok(rotation)
    }

    /// Wraps the next rows again: up to which one, and how many were not under this epoch yet. None
    /// when there are no more.
    fn rewrap(
        &self,
        database: &Connection,
        table: &Wrapped,
        epoch: KeyEpoch,
        after: Option<&Value>,
    ) -> Result<Option<(Value, u64)>, KeyError> {
        let Wrapped { name, key, place } = table;
        let later = after.map_or(String::new(), |_| format!("AND {key} > ?1"));
        let select = format!(
            "SELECT {key}, wrapped FROM {name} WHERE wrapped IS NOT NULL {later}
             ORDER BY {key} LIMIT {AT_ONCE}"
        );
        let mut select = database.prepare_cached(&select)?;
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows = match after {
            Some(after) => select.query_map([after], read)?.collect(),
            None => select.query_map([], read)?.collect(),
        };
        let rows: Vec<(Value, Vec<u8>)> = Result::from_iter::<Vec<_>>(rows)?;
        let update = format!("UPDATE {name} SET wrapped = ?2 WHERE {key} = ?1");
        let mut update = database.prepare_cached(&update)?;
        let mut keys = 0;
        for (key, wrapped) in &rows {
            if keys::split(wrapped)?.0 == epoch {
                continue;
            }
            let place = place(key).ok_or(KeyError::Altered)?;
            let secret = self.unwrap(&place, wrapped)?;
            update.execute(params![key, self.wrap(epoch, &place, &secret)?])?;
            keys += 1;
        }
        Ok(rows.into_iter().next_back().map(|(last, _)| (last, keys)))
    }
}

/// A table of wrapped keys.
struct Wrapped {
    name: &'static str,
    key: &'static str,
    /// What the key in a row is bound to.
    place: fn(&Value) -> Option<Vec<u8>>,
}

const TABLES: [Wrapped; 5] = [
    Wrapped {
        name: "secret",
        key: "name",
        place: |key| match key {
            Value::Text(name) => Some(place::secret(name)),
            _ => None,
        },
    },
    Wrapped { name: "patient", key: "patient", place: |key| Some(place::data(&hash(key)?)) },
    Wrapped { name: "record", key: "person", place: |key| Some(place::record(&hash(key)?)) },
    Wrapped { name: "pseudonym", key: "person", place: |key| Some(place::pseudonym(&hash(key)?)) },
    Wrapped {
        name: "erasure",
        key: "id",
        place: |key| match key {
            Value::Integer(number) => Some(place::erasure(*number)),
            _ => None,
        },
    },
];

fn hash(key: &Value) -> Option<PersonKey> {
    let Value::Blob(bytes) = key else { return None };
    bytes.as_slice().try_into().ok()
}

/// How many keys are not under this epoch.
fn left_behind(database: &Connection, epoch: KeyEpoch) -> database::Result<u64> {
    let count = |Wrapped { name, .. }: &Wrapped| -> Result<u64, _> {
        let sql = format!(
            "SELECT COUNT(*) FROM {name} WHERE wrapped IS NOT NULL AND substr(wrapped, 1, 4) <> ?1"
        );
        database.query_row(&sql, [epoch.to_le_bytes()], |row| row.get(0))
    };
    TABLES.iter().map(count).sum()
}

#[cfg(test)]
mod tests;
