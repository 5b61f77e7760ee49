//! Erasure: what a patient has here becomes noise, everywhere it was ever copied to.
//!
//! The steps, each durable before the next:
//! 1. one change of the key store puts up the tombstone, deletes data key, record key, link and
//!    pseudonym, and notes the erasure with the pseudonym, for the ledger;
//! 2. the index forgets the patient's rows, and its file what it forgot;
//! 3. all de-identified tables are removed: [`Lake::deidentify`] makes them anew without the patient;
//! 4. the key-encryption key is [rotated](crate::rotate), so that the deleted keys are noise in
//!    every copy of the key store, in its log and in free space;
//! 5. the erasure is called done, and the ledger may be told.
//!
//! An erasure that was killed is taken up by whoever opens the lake next. Frames stay in their packs:
//! without the data key they are noise, and a pack holds others' frames, too. A tombstone is a keyed
//! hash; while it stands no ingest takes the patient in.

use crate::crypt;
use crate::database::{self, Connection, DatabaseError, OptionalExtension, Row, params};
use crate::ingest::IngestError;
use crate::kek::KeyEpoch;
use crate::keys::{self, KeyError, PatientKey, PersonKey, place};
use crate::lake::Lake;
use crate::links::{padded, unpadded};
use crate::rotate::RotationStep;
use aegle_model::{Handle, Hash, PatientId};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::sync::atomic::Ordering;

/// The file of a lake's folder that says which erasure its analysts' tables are made without.
const FOLLOWED: &str = "erasures.followed";

/// A patient who can be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    patient: PatientKey,
    person: Option<PersonKey>,
    /// How many rows there are, in all batches that ever were.
    pub rows: u64,
    /// In how many batches.
    pub extents: u64,
}

impl Subject {
    /// Whether the patient is linked here, so that the ledger has to be told.
    pub fn is_linked(&self) -> bool {
        self.person.is_some()
    }
}

/// A step of an erasure, for a progress display. It is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EraseStep {
    /// The keys are deleted; nothing is read and nothing taken in any more.
    Begun,
    /// The index knows of nothing.
    Forgotten,
    /// The key-encryption key is being rotated.
    Rotation(RotationStep),
    /// The erasure is done, and the ledger may be told.
    Done,
}

/// An erasure that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Counts the erasures of this lake.
    pub number: i64,
    /// Who was erased, while the ledger has to be told; none for who was not linked, or afterwards.
    pub patient: Option<PatientId>,
    /// The first key epoch in which nothing of the patient can be read.
    pub epoch: KeyEpoch,
    /// What the ledger is told: `H("aegle.erasure"; salt ‖ tombstone ‖ rows ‖ extents ‖ epoch)`.
    pub commitment: Hash,
    /// How many rows were erased, in all batches that ever were.
    pub rows: u64,
    /// The transaction by which the ledger was told; none before, or when there was nobody to tell of.
    pub told: Option<Hash>,
}

/// An erasure that did not happen, or not to its end. No message names the patient.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nobody is called so.
    #[error(
        "no patient of this centre has that handle or number; check it, and that it is written as \
         the source writes it"
    )]
    NoSuchPatient,
    /// Nothing is left to erase.
    #[error("that patient was erased here before")]
    ErasedAlready,
    /// A number that is somebody else's handle.
    #[error("that is the handle of one patient and the number of another; use the other name")]
    Ambiguous,
    /// The stored link was not written by this lake.
    #[error("the stored link was altered; restore the key store from a backup")]
    Altered,
    /// An ingest is under way.
    #[error("an ingest into this lake, or another erasure, is under way; wait for it to end")]
    Busy,
    /// The lock file cannot be used.
    #[error("could not lock the lake for the erasure")]
    Lock(#[source] std::io::Error),
    /// The keys could not be destroyed. What was begun is finished when the lake is opened next.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The index failed. What was begun is finished when the lake is opened next.
    #[error(transparent)]
    Index(#[from] DatabaseError),
}

impl From<IngestError> for EraseError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Lock(error) => Self::Lock(error),
            IngestError::Index(error) => Self::Index(error),
            _ => Self::Busy,
        }
    }
}

impl Lake {
    /// The patient with this handle or, when nobody here has it, this number of the centre, exactly
    /// as the source writes it.
    pub fn subject(&self, name: &str) -> Result<Subject, EraseError> {
        let by_handle = name.parse::<Handle>().ok();
        let by_number = self.keys.patient(name.as_bytes());
        self.lookup.read(|connection| {
            let handled = by_handle.map(|handle| self.with_handle(connection, handle));
            let handled = handled.transpose()?.flatten();
            let numbered = self.with_number(connection, by_number)?;
            match (handled, numbered) {
                (Some(handled), Some(numbered)) if handled.patient != numbered.patient => {
                    Err(EraseError::Ambiguous)
                }
                (Some(subject), _) | (None, Some(subject)) => Ok(subject),
                (None, None) if self.is_erased(connection, &by_number)? => {
                    Err(EraseError::ErasedAlready)
                }
                (None, None) => Err(EraseError::NoSuchPatient),
            }
        })
    }

    /// Erases a patient. Waits for reads that are under way; refuses while an ingest is.
    pub fn erase(
        &self,
        subject: &Subject,
        progress: &mut dyn FnMut(&EraseStep),
    ) -> Result<Erasure, EraseError> {
        let _alone = self.lock_ingest()?;
        // An ingest may have brought more since somebody was asked.
        let subject = self.lookup.read(|it| counted(it, subject.patient, subject.person))?;
        let number = self.begin_erasure(&subject)?;
        progress(&EraseStep::Begun);
        self.finish_erasures_with(progress)?;
        let done = self.erasures()?.into_iter().find(|erasure| erasure.number == number);
        Ok(done.expect("an erasure that is done is there"))
    }

    /// Every erasure that is done, oldest first.
    pub fn erasures(&self) -> Result<Vec<Erasure>, KeyError> {
        self.keys.change(|database| {
            let mut select = database.prepare_cached(
                "SELECT id, wrapped, salt, tombstone, rows, extents, epoch, told FROM erasure
                 WHERE epoch IS NOT NULL ORDER BY id",
            )?;
            let mut rows = select.query([])?;
            let mut erasures = Vec::new();
            while let Some(row) = rows.next()? {
                erasures.push(self.erasure(&row)?);
            }
            Ok(erasures)
        })
    }

    /// The number of the last erasure that was begun; 0 when there was none.
    pub(crate) fn last_erasure(&self) -> Result<i64, DatabaseError> {
        self.lookup.read(|connection| {
            let select = "SELECT COALESCE(MAX(id), 0) FROM erasure";
            connection.prepare_cached(select)?.query_row([], |row| row.get(0))
        })
    }

    /// Removes the analysts' tables of this folder when somebody was erased since this was last asked:
    /// another process that shares the lake has a folder of its own and cannot reach them.
    pub fn follow_erasures(&self) -> Result<(), KeyError> {
        let last = self.last_erasure()?;
        if self.followed.load(Ordering::Relaxed) != last {
            self.remove_tables_before(last).map_err(KeyError::Analytics)?;
            self.followed.store(last, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes the tables of this folder unless its mark says that they are of after this erasure.
    fn remove_tables_before(&self, last: i64) -> io::Result<()> {
        // Another lake may lie behind the same folder tomorrow, and count its erasures anew.
        let lake = self.keys.naming().mac("aegle erasures followed v1", &[]);
        let mark = format!("{} {last}", hex::encode(&lake[..8]));
        let path = self.root.join(FOLLOWED);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        let mut marked = String::new();
        file.read_to_string(&mut marked)?;
        if marked == mark {
            return Ok(());
        }
        if last > 0 || !marked.is_empty() {
            self.remove_analytics()?;
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(mark.as_bytes())
    }

    /// The ledger was told of an erasure by this transaction. The pseudonym is forgotten.
    pub fn told(&self, number: i64, transaction: Hash) -> Result<(), KeyError> {
        let update = "UPDATE erasure SET wrapped = NULL, told = ?2 WHERE id = ?1";
        self.keys.change(|database| {
            database.execute(update, params![number, transaction.as_bytes()])?;
            Ok::<_, KeyError>(())
        })
    }

    /// Takes up what a killed process left, unless another one is at it.
    pub(crate) fn take_up(&self) -> Result<(), KeyError> {
        self.take_up_rotation()?;
        if self.keys.change(begun)?.is_empty() {
            return Ok(());
        }
        match self.lock_ingest() {
            Ok(_alone) => self.finish_erasures(),
            Err(IngestError::Busy) => Ok(()),
            Err(IngestError::Lock(error)) => Err(KeyError::Lock(error)),
            Err(IngestError::Index(error)) => Err(error.into()),
            Err(other) => unreachable!("a lock fails in three ways, not by {other}"),
        }
    }

    /// Ends erasures that were begun. The caller holds the lock of the ingest.
    pub(crate) fn finish_erasures(&self) -> Result<(), KeyError> {
        self.finish_erasures_with(&mut |_| {})
    }

    fn finish_erasures_with(&self, progress: &mut dyn FnMut(&EraseStep)) -> Result<(), KeyError> {
        let begun = self.keys.change(begun)?;
        if begun.is_empty() {
            return Ok(());
        }
        for patient in begun.iter().flatten() {
            self.index.forget_patient(patient)?;
        }
        let update = "UPDATE erasure SET patient = NULL WHERE epoch IS NULL";
        self.keys.change(|database| database.execute(update, []))?;
        progress(&EraseStep::Forgotten);
        self.remove_backup_left().map_err(|error| DatabaseError::Other(error.into()))?;
        self.remove_analytics().map_err(KeyError::Analytics)?;
        let rotation = self.rotate_keys(&mut |step| progress(&EraseStep::Rotation(*step)))?;
        self.keys.checkpoint()?;
        let update = "UPDATE erasure SET epoch = ?1 WHERE epoch IS NULL";
        self.keys.change(|database| database.execute(update, [rotation.epoch]))?;
        progress(&EraseStep::Done);
        Ok(())
    }

    /// Deletes the keys and notes what has to follow.
    fn begin_erasure(&self, subject: &Subject) -> Result<i64, EraseError> {
        let Subject { patient, rows, extents, .. } = subject;
        let (salt, tombstone) = (crypt::random::<32>(), self.keys.tombstone(patient));
        self.keys.change(|database| {
            // The patient may have been linked since somebody was asked, or erased by somebody else.
            if self.is_erased(database, patient)? {
                return Err(EraseError::ErasedAlready);
            }
            let person = self.person_of(database, patient)?;
            database
                .execute("INSERT INTO erased VALUES (?1) ON CONFLICT DO NOTHING", [tombstone])?;
            let insert = "INSERT INTO erasure (patient, salt, tombstone, rows, extents)
                 VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id";
            let values = params![patient, salt, tombstone, rows, extents];
            let number = database.query_row(insert, values, |row| row.get(0))?;
            database.execute("DELETE FROM patient WHERE patient = ?1", [patient])?;
            if let Some(person) = &person {
                self.move_pseudonym(database, person, number)?;
                for table in ["record", "link", "pseudonym"] {
                    database
                        .execute(&format!("DELETE FROM {table} WHERE person = ?1"), [person])?;
                }
            }
            Ok(number)
        })
    }

    /// Keeps the pseudonym with the erasure, until the ledger was told.
    fn move_pseudonym(
        &self,
        database: &Connection,
        person: &PersonKey,
        number: i64,
    ) -> Result<(), KeyError> {
        let select = "SELECT wrapped FROM pseudonym WHERE person = ?1";
        let wrapped: Option<Vec<u8>> =
            database.query_row(select, [person], |row| row.get(0)).optional()?;
        let Some(wrapped) = wrapped else { return Ok(()) };
        let id = unpadded(&*self.keys.unwrap(&place::pseudonym(person), &wrapped)?);
        let epoch = keys::current(database)?;
        let wrapped = self.keys.wrap(epoch, &place::erasure(number), &padded(id))?;
        let update = "UPDATE erasure SET wrapped = ?2 WHERE id = ?1";
        database.execute(update, params![number, wrapped])?;
        Ok(())
    }

    fn erasure(&self, row: &Row<'_>) -> Result<Erasure, KeyError> {
        let (number, wrapped): (i64, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
        let (salt, tombstone): ([u8; 32], [u8; 32]) = (row.get(2)?, row.get(3)?);
        let (rows, extents, epoch): (u64, u64, KeyEpoch) = (row.get(4)?, row.get(5)?, row.get(6)?);
        let told: Option<[u8; 32]> = row.get(7)?;
        let counts = [rows, extents].map(u64::to_le_bytes).concat();
        let parts = [salt.as_slice(), &tombstone, &counts, &epoch.to_le_bytes()];
        let commitment = Hash::of("aegle.erasure", &parts);
        let pseudonym = |wrapped: Vec<u8>| self.keys.unwrap(&place::erasure(number), &wrapped);
        let patient = wrapped.map(pseudonym).transpose()?.map(|bytes| unpadded(&bytes));
        Ok(Erasure { number, patient, epoch, commitment, rows, told: told.map(Hash::from_array) })
    }

    fn with_handle(
        &self,
        connection: &Connection,
        handle: Handle,
    ) -> Result<Option<Subject>, EraseError> {
        let select = "SELECT link.person, link.patient, link.proof FROM pseudonym
             JOIN link ON link.person = pseudonym.person WHERE handle = ?1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found: Option<(PersonKey, PatientKey, [u8; 32])> = connection
            .prepare_cached(select)?
            .query_row([self.keys.handle(handle)], read)
            .optional()?;
        let Some((person, patient, proof)) = found else { return Ok(None) };
        if self.keys.link_proof(&person, &patient) != proof {
            return Err(EraseError::Altered);
        }
        Ok(Some(counted(connection, patient, Some(person))?))
    }

    fn with_number(
        &self,
        connection: &Connection,
        patient: PatientKey,
    ) -> Result<Option<Subject>, EraseError> {
        let subject = counted(connection, patient, self.person_of(connection, &patient)?)?;
        let key = "SELECT 1 FROM patient WHERE patient = ?1";
        let has_key = connection.prepare_cached(key)?.exists([patient])?;
        Ok(Some(subject).filter(|it| has_key || it.is_linked() || it.extents > 0))
    }

    /// Who is linked to the patient.
    fn person_of(
        &self,
        connection: &Connection,
        patient: &PatientKey,
    ) -> Result<Option<PersonKey>, EraseError> {
        let select = "SELECT person, proof FROM link WHERE patient = ?1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let linked: Option<(PersonKey, [u8; 32])> =
            connection.prepare_cached(select)?.query_row([patient], read).optional()?;
        if linked.is_some_and(|(person, proof)| self.keys.link_proof(&person, patient) != proof) {
            return Err(EraseError::Altered);
        }
        Ok(linked.map(|(person, _)| person))
    }

    /// Whether the patient was erased here.
    pub(crate) fn is_erased(
        &self,
        connection: &Connection,
        patient: &PatientKey,
    ) -> database::Result<bool> {
        let select = "SELECT 1 FROM erased WHERE tombstone = ?1";
        connection.prepare_cached(select)?.exists([self.keys.tombstone(patient)])
    }
}

fn counted(
    connection: &Connection,
    patient: PatientKey,
    person: Option<PersonKey>,
) -> database::Result<Subject> {
    let select =
        "SELECT CAST(COALESCE(SUM(rows), 0) AS BIGINT), COUNT(*) FROM extent WHERE patient = ?1";
    connection.prepare_cached(select)?.query_row([patient], |row| {
        Ok(Subject { patient, person, rows: row.get(0)?, extents: row.get(1)? })
    })
}

/// Erasures that were begun and are not done, and whose the index may still hold.
fn begun(database: &Connection) -> Result<Vec<Option<PatientKey>>, KeyError> {
    let mut select = database.prepare_cached("SELECT patient FROM erasure WHERE epoch IS NULL")?;
    let begun = select.query_map([], |row| row.get(0))?;
    Ok(begun.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
