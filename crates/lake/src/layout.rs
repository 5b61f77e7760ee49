//! How the rows of each table are cut into frames: one per cell that the table's columns lie in.

use crate::catalogue::{Catalogue, FILE, Table};
use crate::kind::Kind;
use aegle_model::{CellId, Hash};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A catalogue with its tables cut.
pub(crate) struct Layout {
    pub(crate) catalogue: Arc<Catalogue>,
    /// In the order of the catalogue's tables.
    pub(crate) cuts: Vec<Vec<Cut>>,
    /// What the frames of each table depend on; labels and units are not among it.
    pub(crate) meanings: Vec<[u8; 32]>,
}

/// The columns of one table that lie in one cell.
pub(crate) struct Cut {
    pub(crate) cell: CellId,
    /// Names the cell by its tags, whatever its position in the vocabulary.
    pub(crate) name: [u8; 32],
    /// Positions in the table, ascending.
    pub(crate) columns: Vec<usize>,
    /// Whether a column is of bytes, and may hold documents.
    pub(crate) has_bytes: bool,
}

impl Layout {
    pub(crate) fn new(catalogue: Catalogue) -> Self {
        let cut = |table| cut(&catalogue, table);
        let cuts = catalogue.tables().iter().map(cut).collect();
        let meaning = |table| *meaning(&catalogue, table).as_bytes();
        let meanings = catalogue.tables().iter().map(meaning).collect();
        Self { catalogue: Arc::new(catalogue), cuts, meanings }
    }

    /// The tables in the catalogue's order, each with its cuts.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&Table, &[Cut])> {
        self.catalogue.tables().iter().zip(self.cuts.iter().map(Vec::as_slice))
    }
}

/// In the order of the cells' names, which does not change when the vocabulary grows.
fn cut(catalogue: &Catalogue, table: &Table) -> Vec<Cut> {
    let mut cells: BTreeMap<[u8; 32], Cut> = BTreeMap::new();
    for (position, column) in table.columns.iter().enumerate() {
        let Some(cell) = column.cell() else { continue };
        let tags = &catalogue.vocabulary().cells[usize::from(cell.0)].tags;
        let tags = borsh::to_vec(tags).expect("writing to memory cannot fail");
        let name = *Hash::of("aegle cell v1", &[&tags]).as_bytes();
        let cut = cells.entry(name).or_insert_with(|| Cut {
            cell,
            name,
            columns: Vec::new(),
            has_bytes: false,
        });
        cut.columns.push(position);
        cut.has_bytes |= column.kind == Kind::Bytes;
    }
    cells.into_values().collect()
}

fn meaning(catalogue: &Catalogue, table: &Table) -> Hash {
    let columns = table.columns.iter();
    let columns = columns.map(|column| (&column.name, column.kind, &column.tags, &column.anchor));
    let columns: Vec<_> = columns.collect();
    let meaning = borsh::to_vec(&(FILE, catalogue.centre(), &table.name, &table.patient, columns));
    Hash::of("aegle lake table v1", &[&meaning.expect("writing to memory cannot fail")])
}
