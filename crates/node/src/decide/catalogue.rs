//! The data centres of a question: columns grouped into the cells of a vocabulary.

use super::error::{DecideError, Wrong};
use super::input::{self, Text};
use super::ordered::{Object, Ordered};
use aegle_model::{ALL, Cell, CellId, CentreId, Hash, Name, Tag, TagName, Vocabulary};
use std::collections::{BTreeMap, BTreeSet};

/// The version of a catalogue that stands alone: nothing ever joined a tag later.
pub(super) const VERSION: u32 = 1;

/// A data centre with its catalogue.
pub(super) struct Centre {
    pub(super) code: Name,
    pub(super) id: CentreId,
    pub(super) vocabulary: Vocabulary,
    /// In the order of the input.
    pub(super) tables: Vec<Table<CellId>>,
}

/// A table's name and its columns in the order of the input, each with its cell.
type Table<C> = (Name, Vec<(Name, C)>);

/// The data centres in the order of the input.
pub(super) struct Centres {
    centres: Vec<Centre>,
    by_code: BTreeMap<Name, usize>,
}

impl Centres {
    pub(super) fn new(
        catalogues: Ordered<Text, Object<input::Catalogue>>,
    ) -> Result<Self, DecideError> {
        let written = catalogues.0.into_iter();
        let centres: Vec<_> = written
            .map(|(code, Object(catalogue))| Centre::new(code.0, catalogue))
            .collect::<Result<_, _>>()?;
        let codes = centres.iter().map(|centre| centre.code.clone());
        Ok(Self { by_code: codes.zip(0..).collect(), centres })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Centre> {
        self.centres.iter()
    }

    pub(super) fn find(
        &self,
        code: &Name,
        place: impl Fn() -> String,
    ) -> Result<&Centre, DecideError> {
        let known = self.by_code.get(code).map(|position| &self.centres[*position]);
        known.ok_or_else(|| {
            let known = self.iter().map(|centre| centre.code.clone()).collect();
            DecideError::Value { place: place(), why: Wrong::Centre { code: code.clone(), known } }
        })
    }
}

impl Centre {
    fn new(code: Name, catalogue: input::Catalogue) -> Result<Self, DecideError> {
        let tables: Vec<_> = catalogue.tables.0.into_iter().map(tagged).collect();
        let vocabulary = vocabulary(&tables);
        vocabulary.check().map_err(|error| DecideError::Value {
            place: format!("catalogues.{code}"),
            why: Wrong::Catalogue(error),
        })?;
        let placed = |(column, cell)| (column, position(&vocabulary, &cell));
        let tables = tables
            .into_iter()
            .map(|(table, columns)| (table, columns.into_iter().map(placed).collect()));
        Ok(Self { id: centre_id(&code), tables: tables.collect(), code, vocabulary })
    }

    /// Checks that a column carries the tag; [`ALL`] needs none.
    pub(super) fn tag(
        &self,
        tag: Text,
        place: impl Fn() -> String,
    ) -> Result<TagName, DecideError> {
        let tags = &self.vocabulary.tags;
        let carried = tags.binary_search_by(|carried| carried.name.cmp(&tag.0)).is_ok();
        if carried || tag.0.as_str() == ALL {
            return Ok(tag.0);
        }
        let known: BTreeSet<_> = tags.iter().map(|tag| tag.name.clone()).chain([all()]).collect();
        let (centre, known) = (self.code.clone(), known.into_iter().collect());
        Err(DecideError::Value { place: place(), why: Wrong::Tag { centre, tag: tag.0, known } })
    }
}

/// Without a network there is no key to derive an id from: here the code is what names a centre.
pub(super) fn centre_id(code: &Name) -> CentreId {
    let hash = Hash::of("aegle.decide.centre", &[code.as_str().as_bytes()]);
    CentreId::from_array(hash.as_bytes()[..16].try_into().expect("32 bytes hold 16"))
}

fn tagged((table, Ordered(columns)): (Text, Ordered<Text, Vec<Text>>)) -> Table<Cell> {
    let columns = columns.into_iter().map(|(column, tags)| (column.0, cell(tags)));
    (table.0, columns.collect())
}

fn cell(tags: Vec<Text>) -> Cell {
    let tags = tags.into_iter().map(|tag| tag.0).chain([all()]);
    Cell { tags: tags.map(|tag| (tag, VERSION)).collect() }
}

fn all() -> TagName {
    Name::new(ALL).expect("a short constant")
}

fn vocabulary(tables: &[Table<Cell>]) -> Vocabulary {
    let columns = tables.iter().flat_map(|(_, columns)| columns);
    let cells: BTreeSet<_> = columns.map(|(_, cell)| cell).collect();
    let names: BTreeSet<_> = cells.iter().flat_map(|cell| cell.tags.keys()).cloned().collect();
    let tags = names.into_iter().map(|name| Tag { name, labels: BTreeMap::new() }).collect();
    let cells = cells.into_iter().cloned().collect();
    Vocabulary { version: VERSION, catalogue: Hash::ZERO, tags, cells }
}

fn position(vocabulary: &Vocabulary, cell: &Cell) -> CellId {
    let position = vocabulary.cells.binary_search(cell).expect("every column's cell is there");
    CellId(u16::try_from(position).expect("a checked vocabulary has few cells"))
}
