//! What is counted of a table while it is checked: counts only, nothing of anybody.

use crate::catalogue::Table;
use crate::finding::Finding;
use crate::hole::Hole;
use crate::source::Row;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// How many different rows are remembered to find equal ones; of more, a part is looked at.
const SEEN_MAX: usize = 1 << 20;

/// What a table looks like at its source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStats {
    /// Rows with as many fields as there are columns.
    pub rows: u64,
    /// Those of them that belong to no patient.
    pub orphans: u64,
    /// Rows that cannot be read by the catalogue: a field of another type, or a field too many.
    pub wrong_rows: u64,
    /// Rows that can be read and belong to somebody: those that come in.
    pub loaded: u64,
    /// Rows that another row is equal to in every field.
    pub duplicates: u64,
    /// Whether these were estimated, because there are very many rows.
    pub duplicates_estimated: bool,
    /// In the catalogue's order.
    pub columns: Vec<ColumnStats>,
}

/// What one column looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// Its name.
    pub name: String,
    /// Rows in which it is empty.
    pub nulls: u64,
    /// Rows in which it is not of its type.
    pub wrong: u64,
}

/// Counts the rows of one table.
pub(crate) struct Counter {
    stats: TableStats,
    seen: Seen,
}

impl Counter {
    pub(crate) fn new(table: &Table) -> Self {
        let column = |name: String| ColumnStats { name, nulls: 0, wrong: 0 };
        let columns = table.columns.iter().map(|found| column(found.name.to_string())).collect();
        let stats = TableStats { columns, ..TableStats::default() };
        Self { stats, seen: Seen::default() }
    }

    /// Counts a row; whether its values are of their types, and whether it belongs to anybody.
    pub(crate) fn add(&mut self, row: &Row<'_>, right: bool, owned: bool) {
        self.stats.rows += 1;
        self.stats.wrong_rows += u64::from(!right);
        self.stats.orphans += u64::from(!owned);
        self.stats.loaded += u64::from(right && owned);
        for (index, column) in self.stats.columns.iter_mut().enumerate() {
            column.nulls += u64::from(row.is_null(index));
        }
        self.seen.add(row.digest());
    }

    /// How many rows were counted.
    pub(crate) fn rows(&self) -> u64 {
        self.stats.rows
    }

    /// What was counted, with what was found wrong in the table.
    pub(crate) fn finish(mut self, findings: &[Finding]) -> TableStats {
        let count = |is: &dyn Fn(&Hole) -> bool| -> u64 {
            findings.iter().filter(|found| is(&found.hole)).map(|found| found.lines.count()).sum()
        };
        for column in &mut self.stats.columns {
            column.wrong =
                count(&|hole| hole.column().is_some_and(|it| it.as_str() == column.name));
        }
        // These are no rows; the others were counted one by one.
        self.stats.wrong_rows += count(&|hole| {
            matches!(
                hole,
                Hole::FieldCount { .. } | Hole::NotADocument | Hole::DocumentTooLarge { .. }
            )
        });
        self.stats.duplicates = self.seen.equal;
        self.stats.duplicates_estimated = self.seen.halvings > 0;
        self.stats
    }
}

/// Finds equal rows in bounded memory. When it has seen too many different ones, it goes on with
/// those whose digests end in one zero more, and lets each stand for twice as many.
#[derive(Default)]
struct Seen {
    digests: HashSet<u64>,
    halvings: u32,
    equal: u64,
}

impl Seen {
    fn add(&mut self, digest: u64) {
        self.add_within(digest, SEEN_MAX);
    }

    fn add_within(&mut self, digest: u64, most: usize) {
        if digest.trailing_zeros() < self.halvings {
            return;
        }
        if !self.digests.insert(digest) {
            self.equal += 1 << self.halvings;
        }
        while self.digests.len() > most {
            self.halvings += 1;
            let halvings = self.halvings;
            self.digests.retain(|digest| digest.trailing_zeros() >= halvings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    fn digest(number: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        number.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn equal_rows_are_counted_exactly_when_few_and_nearly_when_many() {
        let count = |most| {
            let mut seen = Seen::default();
            for number in 0..40_000 {
                // Every fourth row stands there twice.
                seen.add_within(digest(number), most);
                if number % 4 == 0 {
                    seen.add_within(digest(number), most);
                }
            }
            assert!(seen.digests.len() <= most);
            seen.equal
        };
        assert_eq!(count(50_000), 10_000);
        let nearly = count(2_000);
        assert!((8_000..12_000).contains(&nearly), "{nearly}");
    }
}
