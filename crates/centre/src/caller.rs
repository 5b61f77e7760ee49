//! Who stands behind a use case, as identity attested it.

use crate::Error;
use aegle_model::{Name, PatientId};

/// A signed-in person in the role they act in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A patient of this centre.
    Patient(PatientId),
    /// A staff member with the departments held now.
    Professional {
        /// The centre's staff number.
        id: Name,
        /// The centre's department numbers.
        departments: Vec<Name>,
    },
    /// Links patients and staff, connects sources.
    Administrator,
    /// Checks accesses.
    Auditor,
}

impl Caller {
    pub(crate) fn patient(&self) -> Result<PatientId, Error> {
        match self {
            Self::Patient(patient) => Ok(*patient),
            _ => Err(Error::Forbidden { who: "a patient" }),
        }
    }

    pub(crate) fn administrator(&self) -> Result<(), Error> {
        match self {
            Self::Administrator => Ok(()),
            _ => Err(Error::Forbidden { who: "an administrator of this centre" }),
        }
    }

    /// Who looks after what the centre does.
    pub(crate) fn reviewer(&self) -> Result<(), Error> {
        match self {
            Self::Administrator | Self::Auditor => Ok(()),
            _ => Err(Error::Forbidden { who: "an administrator or auditor of this centre" }),
        }
    }
}
