//! Objects of the raw zone that are not as they were written, and what became of them.

use crate::objects::ObjectError;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt;

/// One damaged object. Names are keyed hashes and tell nothing about anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The object's name.
    pub object: String,
    /// What kind of object it is.
    pub kind: ObjectKind,
    /// The table whose rows it holds or describes.
    pub table: String,
    /// The load that brought it.
    pub load: u64,
    /// What was wrong.
    pub what: What,
    /// What became of it.
    pub fate: Fate,
    /// Why it is lost.
    pub reason: Option<String>,
    /// When the damage was found.
    pub found: Timestamp,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, kind, table, what, fate, .. } = self;
        write!(f, "{kind} {object} of table `{table}` was {what}: {fate}")?;
        match &self.reason {
            Some(reason) => write!(f, "; {reason}"),
            None => Ok(()),
        }
    }
}

/// A word that is none of those that a name of the lake has.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no word of the lake's index")]
pub struct UnknownWord(pub(crate) String);

/// Writes an enum whose variants are words in the index, in JSON and in messages.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::damage::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    other => Err($crate::damage::UnknownWord(other.to_owned())),
                }
            }
        }
    };
}

pub(crate) use words;

words! {
    /// The kinds of objects.
    ObjectKind {
        /// Encrypted frames of many patients.
        Pack = "pack",
        /// A value that is too large to stand in its row.
        Document = "document",
        /// What a batch was read from.
        Manifest = "manifest",
    }
}

words! {
    /// What can be wrong with an object.
    What {
        /// It is not there.
        Missing = "missing",
        /// It is shorter than it was written.
        Cut = "cut short",
        /// Its bytes are others.
        Altered = "altered",
    }
}

words! {
    /// What became of a damaged object.
    Fate {
        /// Nothing yet.
        Open = "waits for repair",
        /// It is as it was written again.
        Repaired = "repaired",
        /// It could not be brought again: records say that they are incomplete.
        Lost = "lost",
    }
}

impl What {
    /// What an error says of an object; none when it says nothing of the object itself.
    pub(crate) fn of(error: &ObjectError) -> Option<Self> {
        match error {
            ObjectError::Missing(_) => Some(Self::Missing),
            ObjectError::Cut(_) => Some(Self::Cut),
            ObjectError::Altered(_) => Some(Self::Altered),
            ObjectError::Full(_) | ObjectError::Store { .. } => None,
        }
    }
}
