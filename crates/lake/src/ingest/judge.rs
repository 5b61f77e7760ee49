//! Which tables of a source may come in.
//!
//! A table whose new content breaks its contract goes to quarantine and keeps what it had, as does a
//! table that finds its patients through it. The others become current in the one load of the
//! ingest. When such a table never came in, nothing of the source becomes current: a record never
//! lacks a table without a word.

use super::IngestError;
use super::plan::Plan;
use crate::catalogue::{Patient, Table};
use crate::check::{CheckReport, TableCount};
use crate::finding::Finding;
use crate::frame::BatchName;
use crate::hole::Hole;
use crate::lake::Lake;
use crate::quarantine::{Note, Standing};
use std::collections::BTreeMap;

/// Tables that keep what they had, by position in the catalogue, with the name of that content.
pub(super) type Kept = BTreeMap<usize, BatchName>;

/// What may come in.
pub(super) struct Verdict {
    /// The other tables come in as planned.
    pub(super) kept: Kept,
    /// Whether somebody must be told: not of what was dropped already.
    pub(super) news: bool,
}

impl Lake {
    /// Judges every table, and notes those in quarantine. An error when nothing may come in.
    pub(super) fn judge(&self, plan: &Plan, checked: &CheckReport) -> Result<Verdict, IngestError> {
        let tables = plan.layout.catalogue.tables();
        let (mut held, mut news) = (vec![false; tables.len()], false);
        let live = self.index.live()?;
        for (position, (table, count)) in tables.iter().zip(&checked.tables).enumerate() {
            let reasons = broken(table, count);
            let name = &plan.contents[position].name;
            // A contract is about what comes, not about what is there.
            if reasons.is_empty() || live.get(table.name.as_str()) == Some(name) {
                continue;
            }
            let note = Note::new(&plan.folder, table, &reasons);
            let standing = self.hold_back((name, table), &note, &count.stats)?;
            held[position] = !(standing == Standing::Released && note.releasable);
            news |= held[position] && standing != Standing::Dropped;
        }
        let kept = self.kept(plan, held)?.ok_or_else(|| IngestError::Source(checked.clone()))?;
        Ok(Verdict { kept, news })
    }

    /// What stays as it is because its new content was dropped before.
    pub(super) fn dropped(&self, plan: &Plan) -> Result<Kept, IngestError> {
        let standing = |content: &super::plan::Planned| self.index.standing(&content.name);
        let dropped = plan
            .contents
            .iter()
            .map(|content| standing(content).map(|standing| standing == Some(Standing::Dropped)));
        let dropped = dropped.collect::<Result<Vec<_>, _>>()?;
        Ok(self.kept(plan, dropped)?.unwrap_or_default())
    }

    /// What the held tables, and those that look through them, have now; none when one has nothing.
    fn kept(&self, plan: &Plan, mut held: Vec<bool>) -> Result<Option<Kept>, IngestError> {
        let tables = plan.layout.catalogue.tables();
        for position in 0..tables.len() {
            let Patient::Through { table, .. } = &tables[position].patient else { continue };
            let through = tables.iter().position(|other| other.name == *table);
            held[position] |= through.is_some_and(|through| held[through]);
        }
        let live = if held.contains(&true) { self.index.live()? } else { BTreeMap::new() };
        let positions = (0..tables.len()).filter(|position| held[*position]);
        let kept =
            positions.map(|position| Some((position, *live.get(tables[position].name.as_str())?)));
        Ok(kept.collect())
    }
}

/// Why the content of a table breaks its contract.
fn broken<'a>(table: &Table, count: &'a TableCount) -> Vec<&'a Finding> {
    let (contract, stats) = (&table.contract, &count.stats);
    let wrong = stats.wrong_rows > contract.wrong_rows;
    let most = |percent: u8| u128::from(stats.rows) * u128::from(percent);
    let lonely = |percent| u128::from(stats.orphans) * 100 > most(percent);
    let orphans = contract.orphans_percent.is_some_and(lonely);
    let breaks = |finding: &&Finding| match &finding.hole {
        Hole::NoPatient => orphans,
        hole if hole.is_of_a_row() => wrong,
        _ => true,
    };
    count.findings.iter().filter(breaks).collect()
}
