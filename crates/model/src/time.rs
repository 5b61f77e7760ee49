//! Instants and validity windows.

use borsh::{BorshDeserialize, BorshSerialize};
use std::io::{Error, ErrorKind, Read};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Timestamp(pub u64);

/// A window that does not begin before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a window begins before it ends")]
pub struct BackwardWindow;

/// When a rule is in force: `from <= now < until`, either end open when absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct Window {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Window {
    /// Always.
    pub const ALWAYS: Self = Self { from: None, until: None };

    /// The window `[from, until)`; it must hold at least one instant.
    pub fn new(from: Option<Timestamp>, until: Option<Timestamp>) -> Result<Self, BackwardWindow> {
        match (from, until) {
            (Some(from), Some(until)) if from >= until => Err(BackwardWindow),
            _ => Ok(Self { from, until }),
        }
    }

    /// Whether `now` lies inside.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// The first instant inside, if the window has a beginning.
    pub fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// The first instant after the window, if it has an end.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }
}

impl BorshDeserialize for Window {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        let (from, until) = BorshDeserialize::deserialize_reader(reader)?;
        Self::new(from, until).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_half_open() {
        let window = Window::new(Some(Timestamp(10)), Some(Timestamp(20))).unwrap();
        let inside = |now| window.contains(Timestamp(now));
        assert_eq!([9, 10, 19, 20].map(inside), [false, true, true, false]);
    }

    #[test]
    fn an_empty_window_cannot_be_made() {
        assert_eq!(Window::new(Some(Timestamp(10)), Some(Timestamp(10))), Err(BackwardWindow));
        let bytes = borsh::to_vec(&(Some(Timestamp(2)), Some(Timestamp(1)))).unwrap();
        assert!(borsh::from_slice::<Window>(&bytes).is_err());
    }
}
