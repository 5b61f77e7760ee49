//! Which network pseudonym stands for which of the centre's own patients.
//!
//! One pseudonym, one patient number, both ways. Stored as keyed hashes with a proof, so that the
//! file tells nothing and a link written by somebody else is not followed. The pseudonym itself is
//! kept wrapped, for the day on which the ledger has to be told that the patient was erased.

use crate::database::{self, Connection, DatabaseError, OptionalExtension, params};
use crate::keys::{self, KeyError, PatientKey, place};
use crate::lake::Lake;
use crate::lookup;
use aegle_model::{Handle, PatientId};

/// A link that could not be made. No message names the patient.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No current row of the lake belongs to this patient number.
    #[error("no patient of this centre has that number; check it, or ingest the newest data")]
    NoSuchPatient,
    /// The patient number is linked to somebody else.
    #[error("that patient number is already linked to another person; unlink it there first")]
    NumberTaken,
    /// The person is linked to another patient number.
    #[error("this person is already linked to another patient number; unlink it first")]
    PersonTaken,
    /// The link was not written by this lake.
    #[error("the stored link was altered; restore the key store from a backup")]
    Altered,
    /// The pseudonym could not be kept.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Lake {
    /// Links a person to one of the centre's own patient numbers, exactly as the source writes it.
    /// Linking the same two again changes nothing.
    pub fn link(&self, person: PatientId, patient_number: &str) -> Result<(), LinkError> {
        let patient = self.keys.patient(patient_number.as_bytes());
        let (id, person) = (person, self.keys.person(person));
        if self
            .lookup
            .read(|index| lookup::find(index, &patient, None).map_err(LinkError::from))?
            .is_empty()
        {
            return Err(LinkError::NoSuchPatient);
        }
        let proof = self.keys.link_proof(&person, &patient);
        self.keys.change(|keys| {
            if self.is_erased(keys, &patient)? {
                return Err(LinkError::NoSuchPatient);
            }
            let linked = "SELECT patient FROM link WHERE person = ?1";
            if let Some(other) = one(keys, linked, &person)? {
                return if other == patient { Ok(()) } else { Err(LinkError::PersonTaken) };
            }
            if one(keys, "SELECT person FROM link WHERE patient = ?1", &patient)?.is_some() {
                return Err(LinkError::NumberTaken);
            }
            let insert = "INSERT INTO link (person, patient, proof) VALUES (?1, ?2, ?3)";
            keys.execute(insert, params![person, patient, proof])?;
            let (epoch, place) = (keys::current(keys)?, place::pseudonym(&person));
            let wrapped = self.keys.wrap(epoch, &place, &padded(id))?;
            let handle = self.keys.handle(Handle::from(id));
            let insert = "INSERT INTO pseudonym (person, handle, wrapped) VALUES (?1, ?2, ?3)";
            keys.execute(insert, params![person, handle, wrapped])?;
            Ok(())
        })
    }

    /// Removes the link of a person; whether there was one.
    pub fn unlink(&self, person: PatientId) -> Result<bool, KeyError> {
        let person = self.keys.person(person);
        self.keys.change(|keys| {
            keys.execute("DELETE FROM pseudonym WHERE person = ?1", [person])?;
            Ok(keys.execute("DELETE FROM link WHERE person = ?1", [person])? > 0)
        })
    }

    /// Whether a person is linked here.
    pub fn is_linked(&self, person: PatientId) -> Result<bool, LinkError> {
        self.lookup.read(|connection| Ok(self.linked(connection, person)?.is_some()))
    }

    /// The patient that a person is linked to.
    pub(crate) fn linked(
        &self,
        connection: &Connection,
        person: PatientId,
    ) -> Result<Option<PatientKey>, LinkError> {
        let person = self.keys.person(person);
        let Some((patient, proof)) = lookup::link(connection, &person)? else { return Ok(None) };
        if self.keys.link_proof(&person, &patient) != proof {
            return Err(LinkError::Altered);
        }
        Ok(Some(patient))
    }
}

/// A pseudonym at the length of a key, to be wrapped.
pub(crate) fn padded(id: PatientId) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(id.as_bytes());
    bytes
}

/// The pseudonym that was [padded].
pub(crate) fn unpadded(bytes: &[u8; 32]) -> PatientId {
    PatientId::from_array(*bytes.first_chunk().expect("32 bytes hold 16"))
}

fn one(connection: &Connection, sql: &str, key: &[u8; 16]) -> database::Result<Option<[u8; 16]>> {
    connection.query_row(sql, [key], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests;
