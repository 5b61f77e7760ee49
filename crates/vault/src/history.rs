//! One patient's rows of one table through all loads.
//!
//! A load brings the whole table as it is then. A row that was there before keeps its place and is
//! not stored again; one that is new begins to hold; one that is gone ends. Rows are told apart by
//! the event they are about and the hash of their content, so that a row that changed is the end of
//! one and the beginning of another of the same event. Equal rows are counted, not merged.

use crate::HubKey;
use std::collections::{BTreeMap, VecDeque};

/// Counts the loads of a vault; a later load has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Load(pub u64);

/// What makes a row the same at two loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId {
    /// The event that the row is about; none when the row is an event of its own.
    pub event: Option<HubKey>,
    /// The keyed hash of its content: the hash difference.
    pub diff: [u8; 16],
}

/// From which load on, and until which, a row held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The load that brought the row.
    pub begun: Load,
    /// The load that did not bring it any more.
    pub ended: Option<Load>,
}

impl Validity {
    /// Whether the row held right after the load `at`.
    pub fn holds_at(self, at: Load) -> bool {
        self.begun <= at && self.ended.is_none_or(|ended| at < ended)
    }
}

/// A row with its validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Which row.
    pub id: RowId,
    /// When it held.
    pub validity: Validity,
}

/// What a load changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Positions of the arriving rows that begin to hold, ascending.
    pub begun: Vec<usize>,
    /// Positions in the history of the rows that ended, ascending.
    pub ended: Vec<usize>,
}

/// A load that is older than what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a load came after a later one; loads are taken in order")]
pub struct OutOfOrder;

/// The rows of one patient and one table, in the order in which they began to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<Held>);

impl History {
    /// A history that was kept elsewhere.
    pub fn new(rows: Vec<Held>) -> Self {
        Self(rows)
    }

    /// Every row there ever was.
    pub fn rows(&self) -> &[Held] {
        &self.0
    }

    /// Takes the whole table as the load `at` brought it. The same rows again change nothing.
    pub fn load(&mut self, at: Load, arriving: &[RowId]) -> Result<Change, OutOfOrder> {
        let newest = |held: &Held| held.validity.ended.unwrap_or(held.validity.begun);
        if self.0.iter().any(|held| newest(held) > at) {
            return Err(OutOfOrder);
        }
        let mut current: BTreeMap<RowId, VecDeque<usize>> = BTreeMap::new();
        for (position, held) in self.as_of(at) {
            current.entry(held.id).or_default().push_back(position);
        }
        let mut change = Change::default();
        for (position, id) in arriving.iter().enumerate() {
            if current.get_mut(id).and_then(VecDeque::pop_front).is_none() {
                change.begun.push(position);
                let validity = Validity { begun: at, ended: None };
                self.0.push(Held { id: *id, validity });
            }
        }
        change.ended = current.into_values().flatten().collect();
        change.ended.sort_unstable();
        for position in &change.ended {
            self.0[*position].validity.ended = Some(at);
        }
        Ok(change)
    }

    /// The rows that held right after the load `at`, with their positions.
    pub fn as_of(&self, at: Load) -> impl Iterator<Item = (usize, &Held)> {
        self.0.iter().enumerate().filter(move |(_, held)| held.validity.holds_at(at))
    }
}
