//! Who asks and who is granted: professionals, departments, organisations and the patient.

use crate::CentreId;
use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;
use std::io::{Error, ErrorKind, Read};

/// Text that cannot be a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {max} bytes and no control characters", max = Name::MAX)]
pub struct NameError;

/// What a centre calls a staff member, a department or a table: short, printable, not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, serde::Serialize)]
pub struct Name(String);

impl Name {
    /// The longest name, in bytes of UTF-8.
    pub const MAX: usize = 64;

    /// Checks and takes a name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let fits = (1..=Self::MAX).contains(&text.len());
        if fits && !text.chars().any(char::is_control) { Ok(Self(text)) } else { Err(NameError) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl BorshDeserialize for Name {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        let text = String::deserialize_reader(reader)?;
        Self::new(text).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

/// To whom a rule speaks. Numbers of different kinds and centres never meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub enum Grantee {
    /// One staff member of a centre.
    Professional {
        /// The employing centre.
        centre: CentreId,
        /// The centre's own staff number.
        id: Name,
    },
    /// Everybody whom the centre attests as a member of this department.
    Department {
        /// The centre of the department.
        centre: CentreId,
        /// The centre's own department number.
        id: Name,
    },
    /// Everybody whom the centre attests as its staff.
    Organisation {
        /// The centre.
        centre: CentreId,
    },
}

/// Who asks to read a record, as attested by the requester's centre.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Requester {
    /// The patient, or whoever lawfully acts as the patient.
    Patient,
    /// A staff member with the departments held at the moment of asking.
    Professional {
        /// The employing centre.
        centre: CentreId,
        /// The centre's own staff number.
        id: Name,
        /// The centre's own department numbers.
        departments: Vec<Name>,
    },
}

impl Requester {
    /// Every grantee that this requester is: the individual, the departments, the organisation.
    pub fn grantees(&self) -> Vec<Grantee> {
        let Self::Professional { centre, id, departments } = self else { return Vec::new() };
        let centre = *centre;
        let individual = Grantee::Professional { centre, id: id.clone() };
        let organisation = Grantee::Organisation { centre };
        let departments =
            departments.iter().map(|id| Grantee::Department { centre, id: id.clone() });
        departments.chain([individual, organisation]).collect()
    }
}
