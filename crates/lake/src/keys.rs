//! The lake's keys: everything in `keys.db` is wrapped under the key-encryption key of an epoch.
//!
//! Two lake secrets derive names: one hides patients in index keys, one names objects. Each patient
//! number has a data key that its frames are sealed under; deleting it turns them into noise. Each
//! linked [`PatientId`] may have a record key. All are random, wrapped and bound to their row;
//! `epoch u32` (little endian) stands in front of what the [`Keks`] made of them. Invariants: neither
//! a patient number nor a pseudonym can be read from the file; whoever wraps does so within the
//! transaction that writes, under the epoch that the file calls current, so that no key is ever
//! written under an epoch that a [rotation](crate::rotate) has left behind.

use crate::crypt::{self, MacKey, Secret};
use crate::database::{
    self, Connection, DatabaseError, Databases, Half, Lock, LockError, OptionalExtension, hold,
    params,
};
use crate::kek::{KekError, Keks, KeyEpoch};
use aegle_model::{Handle, PatientId, RecordKey};
use std::path::Path;
use std::sync::{Arc, Mutex};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The centre's own key-encryption key: 256 random bits, kept outside the lake. It seals the
/// [file](crate::FileKeks) with the keys of the epochs.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Kek([u8; 32]);

impl Kek {
    /// The key with these bytes, which must be random. The caller wipes its own copy.
    pub const fn from_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh random key.
    pub fn generate() -> Self {
        Self(crypt::random())
    }

    /// The 32 bytes, for storing the key outside the lake.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Kek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kek(…)")
    }
}

/// What the key store could not do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key-encryption key is that of another lake.
    #[error(
        "the key-encryption key does not open this lake or its key file; start it with the key it \
         was made with, or restore the key file with `aegle restore keys`"
    )]
    WrongKek,
    /// A wrapped key was altered or moved.
    #[error(
        "a wrapped key in the lake's key store was altered; restore the key store from a backup"
    )]
    Altered,
    /// A rotation left wrapped keys behind; the old key-encryption key was kept.
    #[error(
        "{0} wrapped keys are not under the new key-encryption key; the old one was kept: run it \
         again, or restore the key store from a backup"
    )]
    LeftBehind(u64),
    /// The de-identified tables are still there after an erasure was begun.
    #[error(
        "could not remove the de-identified tables; open the lake again when it can be written"
    )]
    Analytics(#[source] std::io::Error),
    /// The key-encryption keys failed.
    #[error(transparent)]
    Kek(KekError),
    /// The lock of the key store cannot be used.
    #[error("could not lock the lake's key store")]
    Lock(#[source] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl KeyError {
    /// The epoch whose key-encryption key is not there any more, if that is what is wrong.
    const fn gone(&self) -> Option<KeyEpoch> {
        match self {
            Self::Kek(KekError::Gone(epoch)) => Some(*epoch),
            _ => None,
        }
    }
}

impl From<LockError> for KeyError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::File(error) => Self::Lock(error),
            LockError::Database(error) => Self::Database(error),
        }
    }
}

impl From<KekError> for KeyError {
    fn from(error: KekError) -> Self {
        match error {
            KekError::Altered => Self::Altered,
            KekError::Sealed(_) => Self::WrongKek,
            other => Self::Kek(other),
        }
    }
}

/// How the lake calls a patient number: a keyed hash of it.
pub(crate) type PatientKey = [u8; 16];

/// How the lake calls a [`PatientId`]: a keyed hash of it.
pub(crate) type PersonKey = [u8; 16];

/// The tables.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE secret (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE patient (patient BLOB PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE record (person BLOB PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE link (person BLOB PRIMARY KEY, patient BLOB NOT NULL UNIQUE, proof BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE pseudonym (person BLOB PRIMARY KEY, handle BLOB NOT NULL, wrapped BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE UNIQUE INDEX pseudonym_handle ON pseudonym (handle);
    CREATE TABLE epoch (id INTEGER PRIMARY KEY CHECK (id = 1), current INTEGER NOT NULL);
    CREATE TABLE erased (tombstone BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE erasure (
        id INTEGER PRIMARY KEY AUTOINCREMENT, patient BLOB, wrapped BLOB, salt BLOB NOT NULL,
        tombstone BLOB NOT NULL, rows INTEGER NOT NULL, extents INTEGER NOT NULL,
        epoch INTEGER, told BLOB
    );
";

const INDEX_SECRET: &str = "index";
const NAMING_SECRET: &str = "naming";

/// What a key is bound to.
pub(crate) mod place {
    use super::{PatientKey, PersonKey};

    pub(crate) fn secret(name: &str) -> Vec<u8> {
        [b"secret".as_slice(), name.as_bytes()].concat()
    }

    pub(crate) fn data(patient: &PatientKey) -> Vec<u8> {
        [b"data".as_slice(), patient].concat()
    }

    pub(crate) fn record(person: &PersonKey) -> Vec<u8> {
        [b"record".as_slice(), person].concat()
    }

    pub(crate) fn pseudonym(person: &PersonKey) -> Vec<u8> {
        [b"pseudonym".as_slice(), person].concat()
    }

    pub(crate) fn erasure(number: i64) -> Vec<u8> {
        [b"erasure".as_slice(), &number.to_le_bytes()].concat()
    }
}

/// The lake's keys in use.
pub(crate) struct Keys {
    database: Mutex<Connection>,
    keks: Arc<dyn Keks>,
    index: MacKey,
    naming: MacKey,
}

impl Keys {
    pub(crate) fn open(databases: &Databases, keks: Arc<dyn Keks>) -> Result<Self, KeyError> {
        let database = databases.open(Half::Keys, SCHEMA)?;
        let secrets = |database: &Connection| {
            begin(database, &*keks)?;
            let secret = |name| secret(database, &*keks, name);
            Ok::<_, KeyError>((secret(INDEX_SECRET)?, secret(NAMING_SECRET)?))
        };
        let (index, naming) = database.change(secrets)?;
        let (index, naming) = (MacKey::new(&index), MacKey::new(&naming));
        Ok(Self { database: Mutex::new(database), keks, index, naming })
    }

    /// The key-encryption keys.
    pub(crate) fn keks(&self) -> &dyn Keks {
        &*self.keks
    }

    /// The key under which objects, batches and sources are named.
    pub(crate) fn naming(&self) -> &MacKey {
        &self.naming
    }

    /// The secret of an analysts' project, made when it is first asked for.
    pub(crate) fn project(&self, name: &str) -> Result<MacKey, KeyError> {
        let name = format!("project {name}");
        self.change(|database| Ok(MacKey::new(&*secret(database, &*self.keks, &name)?)))
    }

    pub(crate) fn patient(&self, number: &[u8]) -> PatientKey {
        half(self.index.mac("aegle lake patient v1", &[number]))
    }

    pub(crate) fn person(&self, patient: PatientId) -> PersonKey {
        half(self.index.mac("aegle lake person v1", &[patient.as_bytes()]))
    }

    /// Binds a link, so that a link that somebody else wrote into the file is not followed.
    pub(crate) fn link_proof(&self, person: &PersonKey, patient: &PatientKey) -> [u8; 32] {
        self.index.mac("aegle lake link v1", &[person, patient])
    }

    /// How the lake remembers that a patient was erased.
    pub(crate) fn tombstone(&self, patient: &PatientKey) -> [u8; 32] {
        self.index.mac("aegle lake tombstone v1", &[patient])
    }

    /// How the lake calls a handle.
    pub(crate) fn handle(&self, handle: Handle) -> [u8; 32] {
        self.index.mac("aegle lake handle v1", &[&handle.bits().to_le_bytes()])
    }

    /// The data keys of these patients, making those that are not there; none for who was erased.
    /// They are on disk when this returns.
    pub(crate) fn data_keys(
        &self,
        patients: &[PatientKey],
    ) -> Result<Vec<Option<Secret>>, KeyError> {
        self.change(|database| {
            let epoch = current(database)?;
            let mut keys = Vec::with_capacity(patients.len());
            for patient in patients {
                let mut key = self.data_key(database, patient)?;
                if key.is_none() && !self.is_erased(database, patient)? {
                    let fresh = crypt::random_secret();
                    let wrapped = self.wrap(epoch, &place::data(patient), &fresh)?;
                    let insert = "INSERT INTO patient (patient, wrapped) VALUES (?1, ?2)";
                    database.prepare_cached(insert)?.execute(params![patient, wrapped])?;
                    key = Some(fresh);
                }
                keys.push(key);
            }
            Ok(keys)
        })
    }

    /// The data keys of these patients, none for who has none (any more).
    pub(crate) fn known_data_keys(
        &self,
        patients: &[PatientKey],
    ) -> Result<Vec<Option<Secret>>, KeyError> {
        self.change(|database| {
            patients.iter().map(|patient| self.data_key(database, patient)).collect()
        })
    }

    /// Whether the patient was erased, so that nothing is taken in any more.
    pub(crate) fn is_erased(
        &self,
        database: &Connection,
        patient: &PatientKey,
    ) -> database::Result<bool> {
        let select = "SELECT 1 FROM erased WHERE tombstone = ?1";
        database.prepare_cached(select)?.exists([self.tombstone(patient)])
    }

    /// The data key of a patient.
    pub(crate) fn data_key(
        &self,
        connection: &Connection,
        patient: &PatientKey,
    ) -> Result<Option<Secret>, KeyError> {
        let mut statement =
            connection.prepare_cached("SELECT wrapped FROM patient WHERE patient = ?1")?;
        let wrapped: Option<Vec<u8>> =
            statement.query_row([patient], |row| row.get(0)).optional()?;
        wrapped.map(|wrapped| self.unwrap(&place::data(patient), &wrapped)).transpose()
    }

    /// Keeps a record key, in place of the one that was there.
    pub(crate) fn put_record_key(&self, id: PatientId, key: &RecordKey) -> Result<(), KeyError> {
        let person = self.person(id);
        self.change(|database| {
            let wrapped = self.wrap(current(database)?, &place::record(&person), key.as_bytes())?;
            let sql = "INSERT INTO record (person, wrapped) VALUES (?1, ?2)
                       ON CONFLICT (person) DO UPDATE SET wrapped = ?2";
            database.prepare_cached(sql)?.execute(params![person, wrapped])?;
            Ok(())
        })
    }

    /// The record key of a patient; made now if there is none. Two who ask at once get the same.
    pub(crate) fn record_key_or_new(&self, id: PatientId) -> Result<RecordKey, KeyError> {
        let person = self.person(id);
        self.change(|database| {
            let (place, fresh) = (place::record(&person), crypt::random_secret());
            let wrapped = self.wrap(current(database)?, &place, &fresh)?;
            let sql = "INSERT INTO record (person, wrapped) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            database.prepare_cached(sql)?.execute(params![person, wrapped])?;
            let kept = self.record_key(database, id)?;
            Ok(kept.expect("a row that was just kept is there"))
        })
    }

    /// The record key of a patient.
    pub(crate) fn record_key(
        &self,
        connection: &Connection,
        id: PatientId,
    ) -> Result<Option<RecordKey>, KeyError> {
        let person = self.person(id);
        let mut statement =
            connection.prepare_cached("SELECT wrapped FROM record WHERE person = ?1")?;
        let wrapped: Option<Vec<u8>> =
            statement.query_row([person], |row| row.get(0)).optional()?;
        let Some(wrapped) = wrapped else { return Ok(None) };
        let key = self.unwrap(&place::record(&person), &wrapped)?;
        Ok(Some(RecordKey::from_array(*key)))
    }

    /// Waits until nobody rotates; nobody does while it is held.
    pub(crate) fn lock(&self, file: &Path) -> Result<Lock<'_>, LockError> {
        Lock::take(&self.database, file)
    }

    /// The same, unless somebody rotates.
    pub(crate) fn try_lock(&self, file: &Path) -> Result<Option<Lock<'_>>, LockError> {
        Lock::try_take(&self.database, file)
    }

    /// Runs `work` as one durable change of the key store.
    pub(crate) fn change<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        hold(&self.database).change(work)
    }

    /// A key under the key-encryption key of an epoch, which must be the [current] one of the
    /// transaction that writes it.
    pub(crate) fn wrap(
        &self,
        epoch: KeyEpoch,
        place: &[u8],
        key: &[u8; 32],
    ) -> Result<Vec<u8>, KeyError> {
        wrap(&*self.keks, epoch, place, key)
    }

    /// Sees to it that the file of the key store holds nothing that was deleted from it.
    pub(crate) fn checkpoint(&self) -> Result<(), DatabaseError> {
        hold(&self.database).checkpoint()
    }

    /// The key that was [wrapped](Self::wrap).
    pub(crate) fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<Secret, KeyError> {
        unwrap(&*self.keks, place, wrapped)
    }
}

/// Reads one snapshot, and another one when what was read is wrapped under a key that a rotation has
/// destroyed meanwhile: then the next one is under a later key, which may be destroyed in turn.
pub(crate) fn read_while_rotated<T, E>(
    mut read: impl FnMut() -> Result<T, E>,
    key_error: impl Fn(&E) -> Option<&KeyError>,
) -> Result<T, E> {
    let mut last = None;
    loop {
        let read = read();
        let gone = read.as_ref().err().and_then(&key_error).and_then(KeyError::gone);
        if gone <= last {
            return read;
        }
        last = gone;
    }
}

/// The epoch that keys are wrapped under now.
pub(crate) fn current(database: &Connection) -> database::Result<KeyEpoch> {
    let select = "SELECT current FROM epoch";
    database.prepare_cached(select)?.query_row([], |row| row.get(0))
}

/// The epoch of a wrapped key, and what the key-encryption keys made.
pub(crate) fn split(wrapped: &[u8]) -> Result<(KeyEpoch, &[u8]), KeyError> {
    let (epoch, wrapped) = wrapped.split_first_chunk().ok_or(KeyError::Altered)?;
    Ok((KeyEpoch::from_le_bytes(*epoch), wrapped))
}

fn wrap(
    keks: &dyn Keks,
    epoch: KeyEpoch,
    place: &[u8],
    key: &[u8; 32],
) -> Result<Vec<u8>, KeyError> {
    let wrapped = keks.wrap(epoch, place, key)?;
    Ok([epoch.to_le_bytes().as_slice(), &wrapped].concat())
}

fn unwrap(keks: &dyn Keks, place: &[u8], wrapped: &[u8]) -> Result<Secret, KeyError> {
    let (epoch, wrapped) = split(wrapped)?;
    Ok(keks.unwrap(epoch, place, wrapped)?)
}

/// Sees to it that a new key store has an epoch, and that an old one has the key of its epoch.
fn begin(database: &Connection, keks: &dyn Keks) -> Result<(), KeyError> {
    let there = keks.epochs()?;
    let known = database.query_row("SELECT current FROM epoch", [], |row| row.get(0)).optional()?;
    if let Some(epoch) = known {
        let is_there = there.contains(&epoch);
        return if is_there { Ok(()) } else { Err(KekError::Gone(epoch).into()) };
    }
    let epoch = there.last().copied().unwrap_or(1);
    keks.create(epoch)?;
    database.execute("INSERT INTO epoch (id, current) VALUES (1, ?1)", [epoch])?;
    Ok(())
}

/// A secret of the lake, made when it is first asked for.
fn secret(database: &Connection, keks: &dyn Keks, name: &str) -> Result<Secret, KeyError> {
    let place = place::secret(name);
    let fresh = wrap(keks, current(database)?, &place, &crypt::random_secret())?;
    let insert = "INSERT INTO secret (name, wrapped) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    database.execute(insert, params![name, fresh])?;
    let select = "SELECT wrapped FROM secret WHERE name = ?1";
    let wrapped: Vec<u8> = database.query_row(select, [name], |row| row.get(0))?;
    unwrap(keks, &place, &wrapped).map_err(|error| match error {
        KeyError::Altered => KeyError::WrongKek,
        other => other,
    })
}

fn half(mac: [u8; 32]) -> [u8; 16] {
    *mac.first_chunk().expect("32 bytes hold 16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileKeks;

    fn keys(folder: &tempfile::TempDir, kek: u8) -> Result<Keys, KeyError> {
        let keks = FileKeks::new(folder.path().join("keks"), &Kek::from_array([kek; 32]));
        Keys::open(&Databases::Files(folder.path().to_owned()), Arc::new(keks))
    }

    #[test]
    fn keys_are_the_same_when_the_store_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (PatientId::from_array([1; 16]), PatientId::from_array([2; 16]));
        let first = keys(&folder, 1).unwrap();
        let patients = [first.patient(b"4711"), first.patient(b"4712")];
        let made = first.data_keys(&patients).unwrap();
        first.put_record_key(one, &RecordKey::from_array([9; 32])).unwrap();
        drop(first);
        let again = keys(&folder, 1).unwrap();
        assert_eq!([again.patient(b"4711"), again.patient(b"4712")], patients);
        assert_eq!(again.data_keys(&patients).unwrap(), made);
        assert!(made[0].is_some() && made[0] != made[1]);
        let record_key = |id| again.change(|keys| again.record_key(keys, id)).unwrap();
        assert_eq!(record_key(one).unwrap().as_bytes(), &[9; 32]);
        assert!(record_key(two).is_none());
    }

    #[test]
    fn another_kek_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        keys(&folder, 1).unwrap();
        assert!(matches!(keys(&folder, 2), Err(KeyError::WrongKek)));
        assert!(keys(&folder, 1).is_ok());
    }

    #[test]
    fn a_key_moved_to_another_patient_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder, 1).unwrap();
        let patients = [keys.patient(b"4711"), keys.patient(b"4712")];
        keys.data_keys(&patients).unwrap();
        let swap = "UPDATE patient SET wrapped = (SELECT wrapped FROM patient WHERE patient = ?1)";
        keys.change(|database| database.execute(swap, [patients[0]])).unwrap();
        assert!(keys.data_keys(&patients[..1]).is_ok());
        assert!(matches!(keys.data_keys(&patients[1..]), Err(KeyError::Altered)));
    }

    #[test]
    fn a_key_store_without_the_keys_of_its_epoch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        keys(&folder, 1).unwrap();
        std::fs::rename(folder.path().join("keks"), folder.path().join("elsewhere")).unwrap();
        let error = keys(&folder, 1).err().unwrap();
        assert!(matches!(error, KeyError::Kek(KekError::Gone(1))));
        assert!(error.to_string().contains("restore it with `aegle restore keys`"));
        std::fs::rename(folder.path().join("elsewhere"), folder.path().join("keks")).unwrap();
        assert!(keys(&folder, 1).is_ok());
    }

    #[test]
    fn who_reads_is_not_disturbed_by_rotations_but_told_of_a_lost_key() {
        let read = |gone: &[KeyEpoch]| {
            let mut gone = gone.iter();
            let read = || match gone.next() {
                Some(epoch) => Err(KeyError::Kek(KekError::Gone(*epoch))),
                None => Ok(()),
            };
            read_while_rotated(read, |error| Some(error))
        };
        assert!(read(&[]).is_ok() && read(&[1, 2, 5]).is_ok());
        assert!(matches!(read(&[2, 2]), Err(KeyError::Kek(KekError::Gone(2)))));
        assert!(matches!(read(&[2, 1]), Err(KeyError::Kek(KekError::Gone(1)))));
        let other = read_while_rotated(|| Err::<(), _>(KeyError::Altered), |error| Some(error));
        assert!(matches!(other, Err(KeyError::Altered)));
    }

    #[test]
    fn a_kek_is_never_printed() {
        assert_eq!(format!("{:?}", Kek::from_array([7; 32])), "Kek(…)");
    }
}
