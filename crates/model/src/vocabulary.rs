//! The public part of a centre's catalogue: tags, their translations, and cells.
//!
//! A cell is the set of columns that carry exactly the same tags since the same versions; access
//! is decided per cell. Which columns make up a cell is the centre's own business and stays in its
//! lake; the vocabulary is on the ledger, so that every centre can blind a request.

use crate::{Bits, CentreId, Hash, Name, RecordKey, Token};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::{BTreeMap, BTreeSet};

/// The name of a tag: a [`Name`] that identifies it within its centre.
pub type TagName = Name;

/// The tag that every cell carries.
pub const ALL: &str = "all";

/// The position of a cell in its vocabulary.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct CellId(pub u16);

/// A label that patients share by.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tag {
    /// The name that rules and requests use.
    pub name: TagName,
    /// What people read, by language (BCP 47).
    pub labels: BTreeMap<String, String>,
}

/// The tags that a set of columns carries, each with the catalogue version at which the columns
/// joined it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Cell {
    /// Tag to the version since which this cell carries it. Always holds [`ALL`].
    pub tags: BTreeMap<TagName, u32>,
}

/// A catalogue's tags and cells at one version.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vocabulary {
    /// Counts up from 1 with every published change.
    pub version: u32,
    /// The hash of the whole catalogue, tables and columns included.
    pub catalogue: Hash,
    /// Sorted by name.
    pub tags: Vec<Tag>,
    /// Sorted, each tag set once.
    pub cells: Vec<Cell>,
}

/// Why a vocabulary or a question to it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// No column carries the tag.
    #[error("no column carries the tag `{0}`")]
    UnknownTag(TagName),
    /// More cells or tag tokens than a request can carry.
    #[error("a catalogue has at most {max} {what}; this one has {count}", max = Bits::MAX)]
    TooMany {
        /// Cells or tag tokens.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// Not sorted, repeated, or an undeclared tag.
    #[error("the vocabulary is not in order: {0}")]
    Disorder(&'static str),
}

impl crate::Canonical for Vocabulary {
    const NAME: &'static str = "vocabulary";
}

impl Vocabulary {
    /// Checks what every reader relies on: order, declared tags, [`ALL`] everywhere, limits.
    pub fn check(&self) -> Result<(), VocabularyError> {
        let all = Name::new(ALL).expect("a short constant");
        let sorted =
            self.tags.is_sorted_by(|a, b| a.name < b.name) && self.cells.is_sorted_by(|a, b| a < b);
        if !sorted {
            return Err(VocabularyError::Disorder("tags and cells are sorted and stand once"));
        }
        let declared: BTreeSet<_> = self.tags.iter().map(|tag| &tag.name).collect();
        let complete = |cell: &Cell| {
            cell.tags.contains_key(&all)
                && cell.tags.iter().all(|(tag, since)| {
                    declared.contains(tag) && (1..=self.version).contains(since)
                })
        };
        if !self.cells.iter().all(complete) {
            return Err(VocabularyError::Disorder("a cell carries `all` and declared tags only"));
        }
        Self::limit("cells", self.cells.len())?;
        Self::limit("tag tokens", self.points().len() + declared.len())
    }

    fn limit(what: &'static str, count: usize) -> Result<(), VocabularyError> {
        if count > Bits::MAX { Err(VocabularyError::TooMany { what, count }) } else { Ok(()) }
    }

    /// The version that an allow rule made now names for `tag`: the last at which it grew.
    pub fn tag_version(&self, tag: &TagName) -> Result<u32, VocabularyError> {
        let joined = self.cells.iter().filter_map(|cell| cell.tags.get(tag)).max();
        joined.copied().ok_or_else(|| VocabularyError::UnknownTag(tag.clone()))
    }

    /// The cells that carry one of `tags`.
    pub fn cells_of(&self, tags: &[TagName]) -> Result<Vec<CellId>, VocabularyError> {
        for tag in tags {
            self.tag_version(tag)?;
        }
        let carries = |cell: &Cell| tags.iter().any(|tag| cell.tags.contains_key(tag));
        let positions = self.cells.iter().zip(0..).filter(|(cell, _)| carries(cell));
        Ok(positions.map(|(_, position)| CellId(position)).collect())
    }

    /// For each of `cells` the tokens it carries: each of its tags at any version, and at every
    /// version at which the tag grew since the cell joined it.
    pub fn cell_tokens(
        &self,
        centre: CentreId,
        key: &RecordKey,
        cells: &[CellId],
    ) -> Vec<Vec<Token>> {
        // Cells share their tags: each token is made once.
        let points = self.points();
        let any: BTreeMap<_, _> =
            points.iter().map(|(tag, _)| *tag).map(|tag| (tag, key.tag(centre, tag))).collect();
        let grown: Vec<_> =
            points.iter().map(|(tag, at)| (*tag, *at, key.tag_at(centre, tag, *at))).collect();
        let tokens = |cell: &CellId| {
            let Some(cell) = self.cells.get(usize::from(cell.0)) else { return Vec::new() };
            let later = grown
                .iter()
                .filter(|(tag, at, _)| cell.tags.get(*tag).is_some_and(|since| since <= at));
            let later = later.map(|(_, _, token)| *token);
            cell.tags.keys().filter_map(|tag| any.get(tag).copied()).chain(later).collect()
        };
        cells.iter().map(tokens).collect()
    }

    /// Each tag with each version at which columns joined it.
    fn points(&self) -> BTreeSet<(&TagName, u32)> {
        self.cells.iter().flat_map(|cell| cell.tags.iter().map(|(tag, at)| (tag, *at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn cell(tags: &[(&str, u32)]) -> Cell {
        Cell { tags: tags.iter().map(|(tag, since)| (name(tag), *since)).collect() }
    }

    fn vocabulary() -> Vocabulary {
        let tag = |text| Tag { name: name(text), labels: BTreeMap::new() };
        Vocabulary {
            version: 3,
            catalogue: Hash::ZERO,
            tags: vec![tag("all"), tag("medication")],
            cells: vec![
                cell(&[("all", 1)]),
                cell(&[("all", 1), ("medication", 1)]),
                cell(&[("all", 2), ("medication", 2)]),
            ],
        }
    }

    #[test]
    fn a_cell_that_joined_later_does_not_carry_the_tag_as_it_was() {
        let (vocabulary, key) = (vocabulary(), RecordKey::from_array([1; 32]));
        let centre = CentreId::from_array([9; 16]);
        let (old, new) = (CellId(1), CellId(2));
        let then = key.tag_at(centre, &name("medication"), 1);
        let now = key.tag_at(centre, &name("medication"), 2);
        let ever = key.tag(centre, &name("medication"));
        let carries =
            |cell, token| vocabulary.cell_tokens(centre, &key, &[cell])[0].contains(&token);
        assert_eq!([then, now, ever].map(|token| carries(old, token)), [true, true, true]);
        assert_eq!([then, now, ever].map(|token| carries(new, token)), [false, true, true]);
        assert_eq!(vocabulary.tag_version(&name("medication")), Ok(2));
    }

    #[test]
    fn a_tag_without_columns_is_an_error_not_silence() {
        let asked = vocabulary().cells_of(&[name("operations")]);
        assert_eq!(asked, Err(VocabularyError::UnknownTag(name("operations"))));
    }

    #[test]
    fn disorder_is_refused() {
        assert_eq!(vocabulary().check(), Ok(()));
        let mut swapped = vocabulary();
        swapped.cells.swap(0, 1);
        let mut undeclared = vocabulary();
        undeclared.tags.pop();
        let mut future = vocabulary();
        future.version = 1;
        for wrong in [swapped, undeclared, future] {
            assert!(matches!(wrong.check(), Err(VocabularyError::Disorder(_))));
        }
    }
}
