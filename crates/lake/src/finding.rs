//! Holes with their places: every one, not just the first.
//!
//! Equal holes of one file are gathered; the first few lines are named and the rest counted, so
//! that a report stays bounded.

use crate::hole::Hole;
use std::collections::BTreeMap;
use std::fmt;

/// The lines at which one hole was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// The first few, counted from 1. Empty for the file as a whole.
    first: Vec<u64>,
    count: u64,
}

impl Lines {
    const NAMED: usize = 10;

    fn add(&mut self, line: Option<u64>) {
        // Several tables can be read from one file.
        if line.is_some_and(|line| self.first.contains(&line)) {
            return;
        }
        self.count += 1;
        self.first.extend(line.filter(|_| self.first.len() < Self::NAMED));
    }

    /// How often the hole was found.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, before)) = self.first.split_last() else { return Ok(()) };
        let more = self.count - self.first.len() as u64;
        f.write_str(if before.is_empty() { ", line " } else { ", lines " })?;
        for (place, line) in before.iter().enumerate() {
            write!(f, "{}{line}", if place == 0 { "" } else { ", " })?;
        }
        match (before.is_empty(), more) {
            (true, _) => write!(f, "{last}"),
            (false, 0) => write!(f, " and {last}"),
            (false, more) => write!(f, ", {last} and {more} more"),
        }
    }
}

/// A hole with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name in the source folder.
    pub file: String,
    /// Where in the file.
    pub lines: Lines,
    /// What is wrong.
    pub hole: Hole,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", self.file, self.lines, self.hole)
    }
}

/// Gathers holes while a source is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    all: BTreeMap<(String, Hole), Lines>,
    /// Those since the last table ended: several tables can be read from one file.
    table: BTreeMap<(String, Hole), Lines>,
}

impl Findings {
    pub(crate) fn add(&mut self, file: &str, line: impl Into<Option<u64>>, hole: Hole) {
        let (key, line) = ((file.to_owned(), hole), line.into());
        self.table.entry(key.clone()).or_default().add(line);
        self.all.entry(key).or_default().add(line);
    }

    /// Ends a table: those that were found since the last one ended, by file and first line.
    pub(crate) fn end_table(&mut self) -> Vec<Finding> {
        sorted(std::mem::take(&mut self.table))
    }

    /// By file, then by first line.
    pub(crate) fn into_sorted(self) -> Vec<Finding> {
        sorted(self.all)
    }
}

fn sorted(found: BTreeMap<(String, Hole), Lines>) -> Vec<Finding> {
    let finding = |((file, hole), lines)| Finding { file, lines, hole };
    let mut findings: Vec<_> = found.into_iter().map(finding).collect();
    findings
        .sort_by(|a, b| (&a.file, a.lines.first.first()).cmp(&(&b.file, b.lines.first.first())));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_equal_holes_make_one_line() {
        let lines = |count| {
            let mut lines = Lines::default();
            (1..=count).for_each(|line| lines.add(Some(line)));
            lines.to_string()
        };
        assert_eq!(lines(0), "");
        assert_eq!(lines(1), ", line 1");
        assert_eq!(lines(3), ", lines 1, 2 and 3");
        assert_eq!(lines(99), ", lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 89 more");
    }
}
