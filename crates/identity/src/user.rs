//! Users and what they are to the centre.

use crate::passphrase::PassphraseError;
use crate::{Login, LoginError, StoreError};
use aegle_model::{Name, PatientId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest display name, in bytes of UTF-8.
pub(crate) const NAME_MAX: usize = 200;

/// An opaque, random id; the subject of tokens. Says nothing about the person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(pub(crate) [u8; 16]);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for UserId {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// What a user is to the centre, with what the role needs to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Reads and shares the own record.
    Patient {
        /// The network pseudonym, once the patient is enrolled.
        patient: Option<PatientId>,
    },
    /// Asks for records of patients.
    Professional {
        /// The centre's staff number.
        id: Name,
        /// The centre's department numbers, in order.
        departments: Vec<Name>,
    },
    /// Links patients and staff, connects sources.
    Administrator,
    /// Checks accesses.
    Auditor,
}

impl Role {
    /// The role's name, as in tokens and in the database.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Patient { .. } => "patient",
            Self::Professional { .. } => "professional",
            Self::Administrator => "administrator",
            Self::Auditor => "auditor",
        }
    }
}

/// A user. `Debug` prints no personal data but the role.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The opaque id.
    pub id: UserId,
    /// What the user signs in with.
    pub login: Login,
    /// How the user is called.
    pub name: String,
    /// What the user is to the centre.
    pub role: Role,
    /// May not sign in any more; tokens are refused.
    pub disabled: bool,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, role, disabled, .. } = self;
        write!(f, "User({id}, {role:?}{})", if *disabled { ", disabled" } else { "" })
    }
}

/// What it takes to make a user.
#[derive(Clone)]
pub struct NewUser<'a> {
    /// What the user will sign in with.
    pub login: &'a str,
    /// How the user is called: 1 to 200 bytes.
    pub name: &'a str,
    /// The pass phrase; the caller wipes it.
    pub passphrase: &'a str,
    /// What the user is to the centre.
    pub role: Role,
}

/// Why a user could not be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The login cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The pass phrase cannot be used.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The display name cannot be used.
    #[error("a display name has 1 to {NAME_MAX} bytes and no control characters")]
    Name,
    /// Another user has this login, staff number or patient.
    #[error("another user has this {0}; choose another or change that user")]
    Taken(&'static str),
    /// There is no such user.
    #[error("there is no user with this login")]
    Unknown,
    /// The centre has no such department.
    #[error("this centre has no department `{0}`; add it first")]
    Department(Name),
    /// The user has another role.
    #[error("only a {0} has this")]
    Role(&'static str),
    /// The user already stands for another patient.
    #[error("this user already stands for another patient")]
    Bound,
    /// Too much to do.
    #[error("too many pass phrases are being hashed; try again in a moment")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for UserError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
