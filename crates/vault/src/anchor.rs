//! Hubs, and the business keys by which their rows are told apart.

use aegle_model::Name;
use borsh::BorshSerialize;
use std::fmt;
use std::str::FromStr;

/// What rows speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub enum Hub {
    /// An instant with its zone, or a day.
    Time,
    /// A patient, a professional.
    Person,
    /// A medicine, a device, a document.
    Object,
    /// A ward, a building, a town.
    Location,
    /// What happened: a visit, a stay, a measurement.
    Event,
}

impl Hub {
    /// Every hub, in the order in which messages list them.
    pub const ALL: [Self; 5] =
        [Self::Time, Self::Person, Self::Object, Self::Location, Self::Event];

    /// The name that catalogues and records use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Person => "person",
            Self::Object => "object",
            Self::Location => "location",
            Self::Event => "event",
        }
    }

    /// The hub with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hub| hub.name() == name)
    }
}

/// How a vault calls a hub's row: a keyed hash of its business key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubKey([u8; 16]);

impl HubKey {
    /// The key with these bytes.
    pub const fn from_array(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for HubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for HubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubKey({self})")
    }
}

/// Which hub the values of a column are business keys of, and in which role.
///
/// Written `hub` or `hub:role`. The role is part of the business key: number 7 of the professionals
/// and number 7 of the relatives are two persons. A time has no role, for an instant is the same
/// whatever happened then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub struct Anchor {
    hub: Hub,
    role: Option<Name>,
}

/// Text that is no [`Anchor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum AnchorError {
    /// There is no such hub.
    #[error("there is no such hub; the hubs are time, person, object, location and event")]
    UnknownHub,
    /// The role is no name.
    #[error("the role is no name; write for example `person:professional`")]
    BadRole,
    /// A person needs a role.
    #[error("a person needs a role, such as `person:professional`")]
    NoRole,
    /// The patient is who the row belongs to.
    #[error("the role `patient` is that of the patient whom the row belongs to; name another role")]
    Patient,
    /// A time has no role.
    #[error("a time has no role; write `time`")]
    RoleOfTime,
}

/// The role of the person whom a row belongs to.
const PATIENT: &str = "patient";

impl Anchor {
    /// The person whom a row belongs to. No column can be anchored here.
    pub fn patient() -> Self {
        let role = Name::new(PATIENT).expect("a short constant");
        Self { hub: Hub::Person, role: Some(role) }
    }

    /// The hub.
    pub fn hub(&self) -> Hub {
        self.hub
    }

    /// The role; none for a time.
    pub fn role(&self) -> Option<&Name> {
        self.role.as_ref()
    }

    /// The bytes of a business key, whose keyed hash is the [`HubKey`]: different for different
    /// hubs, roles or parts. A key has more than one part when several columns make it up.
    pub fn business_key<P: AsRef<[u8]>>(&self, parts: &[P]) -> Vec<u8> {
        let role = self.role.as_ref().map_or("", Name::as_str);
        let mut bytes = vec![self.hub as u8];
        for part in std::iter::once(role.as_bytes()).chain(parts.iter().map(AsRef::as_ref)) {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let (hub, role) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
        let hub = Hub::from_name(hub).ok_or(AnchorError::UnknownHub)?;
        let role = role.map(Name::new).transpose().map_err(|_| AnchorError::BadRole)?;
        match (hub, role.as_ref().map(Name::as_str)) {
            (Hub::Time, Some(_)) => Err(AnchorError::RoleOfTime),
            (Hub::Person, None) => Err(AnchorError::NoRole),
            (Hub::Person, Some(PATIENT)) => Err(AnchorError::Patient),
            _ => Ok(Self { hub, role }),
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            None => f.write_str(self.hub.name()),
            Some(role) => write!(f, "{}:{role}", self.hub.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_written_as_it_is_read() {
        for text in
            ["time", "person:professional", "object", "object:medicine", "location", "event"]
        {
            assert_eq!(text.parse::<Anchor>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_anchor_says_why() {
        for (text, error) in [
            ("", AnchorError::UnknownHub),
            ("thing", AnchorError::UnknownHub),
            ("Person:professional", AnchorError::UnknownHub),
            ("event:", AnchorError::BadRole),
            ("event:a\nb", AnchorError::BadRole),
            ("person", AnchorError::NoRole),
            ("person:patient", AnchorError::Patient),
            ("time:begin", AnchorError::RoleOfTime),
        ] {
            assert_eq!(text.parse::<Anchor>(), Err(error), "`{text}`");
        }
    }
}
