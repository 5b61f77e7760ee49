//! The lake's keys: one key-encryption key outside, everything else wrapped under it in `keys.db`.
//!
//! Two lake secrets derive names: one hides patients in index keys, one names objects. Each patient
//! number has a data key that its frames are sealed under; deleting it turns them into noise. Each
//! linked [`PatientId`] may have a record key. All are random, wrapped with AES-256-GCM and bound
//! to their row. Invariant: neither a patient number nor a pseudonym can be read from the file.

use crate::crypt::{self, Altered, Cipher, MacKey, Secret};
use crate::database::{self, DatabaseError, hold};
use aegle_model::{PatientId, RecordKey};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::Path;
use std::sync::Mutex;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The centre's key-encryption key: 256 random bits, kept outside the lake.
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
        "the key-encryption key does not open this lake; start it with the key it was made with"
    )]
    WrongKek,
    /// A wrapped key was altered or moved.
    #[error(
        "a wrapped key in the lake's key store was altered; restore the key store from a backup"
    )]
    Altered,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<Altered> for KeyError {
    fn from(_: Altered) -> Self {
        Self::Altered
    }
}

impl From<rusqlite::Error> for KeyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// How the lake calls a patient number: a keyed hash of it.
pub(crate) type PatientKey = [u8; 16];

/// How the lake calls a [`PatientId`]: a keyed hash of it.
pub(crate) type PersonKey = [u8; 16];

const SCHEMA: &str = "
    CREATE TABLE secret (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE patient (patient BLOB PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE record (person BLOB PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE link (person BLOB PRIMARY KEY, patient BLOB NOT NULL UNIQUE, proof BLOB NOT NULL)
        WITHOUT ROWID;
";

const INDEX_SECRET: &str = "index";
const NAMING_SECRET: &str = "naming";

/// The lake's keys in use.
pub(crate) struct Keys {
    database: Mutex<Connection>,
    wrapping: Cipher,
    index: MacKey,
    naming: MacKey,
}

impl Keys {
    pub(crate) fn open(path: &Path, kek: &Kek) -> Result<Self, KeyError> {
        let mut database = database::open(path, SCHEMA)?;
        let wrapping = MacKey::new(&kek.0).mac("aegle lake wrapping v1", &[]);
        let wrapping = Cipher::new(&Zeroizing::new(wrapping));
        let index = MacKey::new(&*secret(&mut database, &wrapping, INDEX_SECRET)?);
        let naming = MacKey::new(&*secret(&mut database, &wrapping, NAMING_SECRET)?);
        Ok(Self { database: Mutex::new(database), wrapping, index, naming })
    }

    /// The key under which objects, batches and sources are named.
    pub(crate) fn naming(&self) -> &MacKey {
        &self.naming
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

    /// The data keys of these patients, making those that are not there. They are on disk when
    /// this returns.
    pub(crate) fn data_keys(&self, patients: &[PatientKey]) -> Result<Vec<Secret>, KeyError> {
        let mut database = hold(&self.database);
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut keys = Vec::with_capacity(patients.len());
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO patient (patient, wrapped) VALUES (?1, ?2)")?;
            for patient in patients {
                if let Some(key) = self.data_key(&transaction, "main", patient)? {
                    keys.push(key);
                    continue;
                }
                let key = crypt::random_secret();
                insert.execute(params![
                    patient,
                    self.wrapping.wrap(&data_key_place(patient), &key)
                ])?;
                keys.push(key);
            }
        }
        transaction.commit()?;
        Ok(keys)
    }

    /// The data keys of these patients, none for who has none (any more).
    pub(crate) fn known_data_keys(
        &self,
        patients: &[PatientKey],
    ) -> Result<Vec<Option<Secret>>, KeyError> {
        let database = hold(&self.database);
        patients.iter().map(|patient| self.data_key(&database, "main", patient)).collect()
    }

    /// The data key of a patient, read from the key store that `connection` calls `schema`.
    pub(crate) fn data_key(
        &self,
        connection: &Connection,
        schema: &str,
        patient: &PatientKey,
    ) -> Result<Option<Secret>, KeyError> {
        let sql = format!("SELECT wrapped FROM {schema}.patient WHERE patient = ?1");
        let mut statement = connection.prepare_cached(&sql)?;
        let wrapped: Option<Vec<u8>> =
            statement.query_row([patient], |row| row.get(0)).optional()?;
        let unwrap = |wrapped: Vec<u8>| self.wrapping.unwrap(&data_key_place(patient), &wrapped);
        Ok(wrapped.map(unwrap).transpose()?)
    }

    /// Keeps a record key, in place of the one that was there.
    pub(crate) fn put_record_key(&self, id: PatientId, key: &RecordKey) -> Result<(), KeyError> {
        let person = self.person(id);
        let wrapped = self.wrapping.wrap(&record_key_place(&person), key.as_bytes());
        let sql = "INSERT OR REPLACE INTO record (person, wrapped) VALUES (?1, ?2)";
        hold(&self.database).prepare_cached(sql)?.execute(params![person, wrapped])?;
        Ok(())
    }

    /// The record key of a patient; made now if there is none. Two who ask at once get the same.
    pub(crate) fn record_key_or_new(&self, id: PatientId) -> Result<RecordKey, KeyError> {
        let person = self.person(id);
        let fresh = self.wrapping.wrap(&record_key_place(&person), &crypt::random_secret());
        let sql = "INSERT OR IGNORE INTO record (person, wrapped) VALUES (?1, ?2)";
        let database = hold(&self.database);
        database.prepare_cached(sql)?.execute(params![person, fresh])?;
        let kept = self.record_key(&database, "main", id)?;
        Ok(kept.expect("a row that was just kept is there"))
    }

    /// The record key of a patient, read from the key store that `connection` calls `schema`.
    pub(crate) fn record_key(
        &self,
        connection: &Connection,
        schema: &str,
        id: PatientId,
    ) -> Result<Option<RecordKey>, KeyError> {
        let person = self.person(id);
        let sql = format!("SELECT wrapped FROM {schema}.record WHERE person = ?1");
        let mut statement = connection.prepare_cached(&sql)?;
        let wrapped: Option<Vec<u8>> =
            statement.query_row([person], |row| row.get(0)).optional()?;
        let Some(wrapped) = wrapped else { return Ok(None) };
        let key = self.wrapping.unwrap(&record_key_place(&person), &wrapped)?;
        Ok(Some(RecordKey::from_array(*key)))
    }

    /// Runs `work` as one durable change of the key store.
    pub(crate) fn change<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut database = hold(&self.database);
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// A secret of the lake, made when it is first asked for.
fn secret(database: &mut Connection, wrapping: &Cipher, name: &str) -> Result<Secret, KeyError> {
    let place = [b"secret".as_slice(), name.as_bytes()].concat();
    let fresh = wrapping.wrap(&place, &crypt::random_secret());
    let insert = "INSERT OR IGNORE INTO secret (name, wrapped) VALUES (?1, ?2)";
    database.execute(insert, params![name, fresh])?;
    let select = "SELECT wrapped FROM secret WHERE name = ?1";
    let wrapped: Vec<u8> = database.query_row(select, [name], |row| row.get(0))?;
    wrapping.unwrap(&place, &wrapped).map_err(|Altered| KeyError::WrongKek)
}

fn data_key_place(patient: &PatientKey) -> Vec<u8> {
    [b"data".as_slice(), patient].concat()
}

fn record_key_place(person: &PersonKey) -> Vec<u8> {
    [b"record".as_slice(), person].concat()
}

fn half(mac: [u8; 32]) -> [u8; 16] {
    *mac.first_chunk().expect("32 bytes hold 16")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(folder: &tempfile::TempDir, kek: u8) -> Result<Keys, KeyError> {
        Keys::open(&folder.path().join("keys.db"), &Kek::from_array([kek; 32]))
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
        assert_ne!(made[0], made[1]);
        let record_key = |id| again.change(|keys| again.record_key(keys, "main", id)).unwrap();
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
    fn a_kek_is_never_printed() {
        assert_eq!(format!("{:?}", Kek::from_array([7; 32])), "Kek(…)");
    }
}
