//! Which tables of a source may come in.
//!
//! A table whose new content breaks its contract goes to quarantine and keeps the batch that it
//! has, as does a table that finds its patients through it. The others become current, with these
//! older batches, in the one transaction of the ingest. When a table has no older batch that the
//! new catalogue can read, nothing of the source becomes current: a record never lacks a table
//! without a word.

use super::IngestError;
use super::plan::{Plan, meaning};
use crate::catalogue::{Catalogue, Patient, Table};
use crate::check::CheckReport;
use crate::finding::Finding;
use crate::hole::Hole;
use crate::lake::Lake;
use crate::quarantine::{Note, Standing};
use crate::stats::TableStats;
use std::collections::BTreeMap;
use std::path::Path;

/// A table that keeps the batch that it has.
pub(super) struct Kept {
    pub(super) batch: i64,
    pub(super) name: [u8; 32],
    pub(super) stats: TableStats,
}

/// What may come in.
pub(super) struct Verdict {
    /// By position in the catalogue; the other tables come in as planned.
    pub(super) kept: BTreeMap<usize, Kept>,
    /// Whether somebody must be told: not of what was dropped already.
    pub(super) news: bool,
}

impl Lake {
    /// Judges every table, and notes those in quarantine. An error when nothing may come in.
    pub(super) fn judge(
        &self,
        folder: &Path,
        plan: &Plan,
        checked: &CheckReport,
    ) -> Result<Verdict, IngestError> {
        let tables = plan.layout.catalogue.tables();
        let mut held = vec![false; tables.len()];
        let mut news = false;
        for (position, table) in tables.iter().enumerate() {
            let reasons = broken(table, checked, &checked.tables[position].stats);
            let name = &plan.batches[position].name;
            if reasons.is_empty() || self.index.batch(name)?.is_some() {
                continue;
            }
            let note = Note::new(folder, table, &reasons);
            let standing = self.hold_back((name, table), &note, &checked.tables[position].stats)?;
            held[position] = !(standing == Standing::Released && note.releasable);
            news |= held[position] && standing != Standing::Dropped;
        }
        for position in 0..tables.len() {
            let Patient::Through { table, .. } = &tables[position].patient else { continue };
            let through = tables.iter().position(|other| other.name == *table);
            held[position] |= through.is_some_and(|through| held[through]);
        }
        let mut kept = BTreeMap::new();
        for position in (0..tables.len()).filter(|position| held[*position]) {
            let older = self.older(&plan.layout.catalogue, &tables[position])?;
            let older = older.ok_or_else(|| IngestError::Source(checked.clone()))?;
            kept.insert(position, older);
        }
        Ok(Verdict { kept, news })
    }

    /// The batch that is current of a table, if the new catalogue reads it as the old one did.
    fn older(&self, catalogue: &Catalogue, table: &Table) -> Result<Option<Kept>, IngestError> {
        let Some(live) = self.index.live(table.name.as_str())? else { return Ok(None) };
        let text = self.index.catalogue_text(live.catalogue)?;
        let Some(old) = text.and_then(|text| Catalogue::parse(&text).ok()) else { return Ok(None) };
        let then = old.table(table.name.as_str()).map(|then| meaning(&old, then));
        let same = then == Some(meaning(catalogue, table));
        Ok(same.then_some(Kept { batch: live.id, name: live.name, stats: live.stats }))
    }
}

/// Why the content of a table breaks its contract.
fn broken<'a>(table: &Table, checked: &'a CheckReport, stats: &TableStats) -> Vec<&'a Finding> {
    let contract = &table.contract;
    let wrong = stats.wrong_rows > contract.wrong_rows;
    let most = |percent: u8| u128::from(stats.rows) * u128::from(percent);
    let lonely = |percent| u128::from(stats.orphans) * 100 > most(percent);
    let orphans = contract.orphans_percent.is_some_and(lonely);
    let breaks = |finding: &&Finding| match &finding.hole {
        Hole::NoPatient => orphans,
        hole if hole.is_of_a_row() => wrong,
        _ => true,
    };
    checked.findings.iter().filter(|found| found.file == table.file).filter(breaks).collect()
}
