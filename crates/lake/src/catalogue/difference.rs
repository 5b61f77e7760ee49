//! What changed between two catalogues, and what that means for rules.

use super::{Analysed, Catalogue, Column, Patient, Table};
use aegle_model::{ALL, TagName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How one catalogue differs from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The versions, old and new.
    pub versions: [u32; 2],
    /// Tables, columns and tags that are new.
    pub added: Vec<Item>,
    /// Tables, columns and tags that are gone.
    pub removed: Vec<Item>,
    /// What is described otherwise.
    pub changed: Vec<Change>,
    /// Tags that columns joined: older allow rules do not reach these columns until the patient
    /// confirms, older deny rules do.
    pub grown: Vec<Growth>,
    /// Tags that columns left: no rule about the tag reaches these columns any more.
    pub shrunk: Vec<Growth>,
    /// How many cells there are, old and new.
    pub cells: [usize; 2],
    /// The cells that are new, as their tags.
    pub cells_added: Vec<Vec<String>>,
    /// The cells that are gone, as their tags.
    pub cells_removed: Vec<Vec<String>>,
}

/// Something that a catalogue names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `table`, `column` or `tag`.
    pub kind: &'static str,
    /// Its name; a column's with its table's.
    pub name: String,
}

/// Something that is described otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is.
    #[serde(flatten)]
    pub item: Item,
    /// What of it: `type`, `unit`, `key`, `analytics`, `labels`, `file`, `source`, `patient`, `tag`, `language`.
    pub what: &'static str,
    /// What it was; empty when it is long.
    pub from: String,
    /// What it is.
    pub to: String,
}

/// A tag that covers other columns than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// The tag.
    pub tag: String,
    /// The columns, each with its table.
    pub columns: Vec<String>,
}

impl Difference {
    /// How `new` differs from `old`.
    pub fn between(old: &Catalogue, new: &Catalogue) -> Self {
        let cells = [old, new].map(|one| one.vocabulary.cells.len());
        let mut found = Self { versions: [old.version, new.version], cells, ..Self::default() };
        found.tables(old, new);
        found.tags(old, new);
        let (before, after) = (cells_of(old), cells_of(new));
        found.cells_added = after.difference(&before).cloned().collect();
        found.cells_removed = before.difference(&after).cloned().collect();
        found
    }

    /// Whether the two mean the same, but for their version.
    pub fn is_empty(&self) -> bool {
        let Self { added, removed, changed, grown, shrunk, .. } = self;
        added.is_empty()
            && removed.is_empty()
            && changed.is_empty()
            && grown.is_empty()
            && shrunk.is_empty()
    }

    fn tables(&mut self, old: &Catalogue, new: &Catalogue) {
        self.change("catalogue", "", "language", [&old.language, &new.language]);
        for table in &old.tables {
            match new.table(table.name.as_str()) {
                Some(now) => self.table(table, now),
                None => self.removed.push(item("table", table.name.as_str())),
            }
        }
        for table in &new.tables {
            if old.table(table.name.as_str()).is_none() {
                self.added.push(item("table", table.name.as_str()));
            }
        }
    }

    fn table(&mut self, old: &Table, new: &Table) {
        let name = old.name.as_str();
        self.change("table", name, "file", [&old.file, &new.file]);
        self.change("table", name, "source", [&whence(old), &whence(new)]);
        self.change("table", name, "patient", [&way(&old.patient), &way(&new.patient)]);
        self.labels("table", name, old.labels != new.labels);
        for column in &old.columns {
            let name = path(old, column);
            match new.column(column.name.as_str()) {
                Some(now) => self.column(&name, column, now),
                None => self.removed.push(item("column", &name)),
            }
        }
        for column in &new.columns {
            if old.column(column.name.as_str()).is_none() {
                self.added.push(item("column", &path(new, column)));
            }
        }
    }

    fn column(&mut self, name: &str, old: &Column, new: &Column) {
        self.change("column", name, "type", [old.kind.name(), new.kind.name()]);
        let units = [old, new].map(|column| column.unit.as_deref().unwrap_or("none"));
        self.change("column", name, "unit", units);
        let keys = [old, new].map(|column| if column.key { "yes" } else { "no" });
        self.change("column", name, "key", keys);
        let analysed = [old, new].map(|column| column.analytics.map_or("none", Analysed::name));
        self.change("column", name, "analytics", analysed);
        self.labels("column", name, old.labels != new.labels);
        for (tag, joined) in &old.tags {
            let now = new.tags.get(tag).unwrap_or(joined);
            let [from, to] = [joined, now].map(|version| format!("{tag}@{version}"));
            self.change("column", name, "tag", [&from, &to]);
        }
    }

    fn tags(&mut self, old: &Catalogue, new: &Catalogue) {
        let labels = |catalogue: &Catalogue| -> BTreeMap<TagName, super::Labels> {
            let tags = catalogue.vocabulary.tags.iter();
            tags.map(|tag| (tag.name.clone(), tag.labels.clone())).collect()
        };
        let (before, after) = (labels(old), labels(new));
        for (tag, labels) in &before {
            match after.get(tag) {
                Some(now) => self.labels("tag", tag.as_str(), now != labels),
                None => self.removed.push(item("tag", tag.as_str())),
            }
        }
        let fresh = after.keys().filter(|tag| !before.contains_key(*tag));
        self.added.extend(fresh.map(|tag| item("tag", tag.as_str())));
        let (before, after) = (carried(old), carried(new));
        let none = BTreeSet::new();
        for tag in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let [then, now] = [&before, &after].map(|tags| tags.get(tag).unwrap_or(&none));
            let growth = |columns: Vec<String>| {
                let tag = tag.to_string();
                Some(Growth { tag, columns }).filter(|growth| !growth.columns.is_empty())
            };
            self.grown.extend(growth(now.difference(then).cloned().collect()));
            self.shrunk.extend(growth(then.difference(now).cloned().collect()));
        }
    }

    fn change(
        &mut self,
        kind: &'static str,
        name: &str,
        what: &'static str,
        [from, to]: [&str; 2],
    ) {
        if from != to {
            let (from, to) = (from.to_owned(), to.to_owned());
            self.changed.push(Change { item: item(kind, name), what, from, to });
        }
    }

    /// Labels are long; only that they changed is told.
    fn labels(&mut self, kind: &'static str, name: &str, changed: bool) {
        if changed {
            let (from, to) = (String::new(), String::new());
            self.changed.push(Change { item: item(kind, name), what: "labels", from, to });
        }
    }
}

fn item(kind: &'static str, name: &str) -> Item {
    Item { kind, name: name.to_owned() }
}

fn path(table: &Table, column: &Column) -> String {
    format!("{}.{}", table.name, column.name)
}

fn whence(table: &Table) -> String {
    match &table.origin.source {
        Some(source) => format!("{} of {source}", table.origin.select),
        None => "a file".to_owned(),
    }
}

fn way(patient: &Patient) -> String {
    match patient {
        Patient::Column(column) => column.to_string(),
        Patient::Through { table, on } => format!("through {table} on {on}"),
    }
}

/// The columns that carry each tag.
fn carried(catalogue: &Catalogue) -> BTreeMap<&TagName, BTreeSet<String>> {
    let mut carried: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for table in &catalogue.tables {
        for column in &table.columns {
            for tag in column.tags.keys() {
                carried.entry(tag).or_default().insert(path(table, column));
            }
        }
    }
    carried
}

fn cells_of(catalogue: &Catalogue) -> BTreeSet<Vec<String>> {
    let tags = |cell: &aegle_model::Cell| {
        cell.tags.iter().map(|(tag, joined)| format!("{tag}@{joined}")).collect()
    };
    catalogue.vocabulary.cells.iter().map(tags).collect()
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item, what, from, to } = self;
        match (from.is_empty(), to.is_empty()) {
            (true, true) => write!(f, "{item}: {what}"),
            _ => write!(f, "{item}: {what} {from} -> {to}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [old, new] = self.versions;
        write!(f, "version {old} -> {new}")?;
        if self.is_empty() {
            return write!(f, "\nno difference");
        }
        for (sign, items) in [('+', &self.added), ('-', &self.removed)] {
            for item in items {
                write!(f, "\n{sign} {item}")?;
            }
        }
        for change in &self.changed {
            write!(f, "\n~ {change}")?;
        }
        for Growth { tag, columns } in &self.grown {
            let columns = columns.join(", ");
            if tag == ALL {
                write!(f, "\n+ everything (`{ALL}`) grows by {columns}")?;
            } else {
                write!(f, "\n+ tag {tag} grows by {columns}")?;
            }
        }
        for Growth { tag, columns } in &self.shrunk {
            write!(f, "\n- tag {tag} loses {}", columns.join(", "))?;
        }
        let [before, after] = self.cells;
        let (added, removed) = (self.cells_added.len(), self.cells_removed.len());
        write!(f, "\ncells {before} -> {after}: {added} new, {removed} gone")?;
        if !self.grown.is_empty() {
            f.write_str(
                "\nwhat a tag grows by is not open under older allow rules until the patient \
                 confirms, and is closed under older deny rules at once",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CATALOGUE;

    fn between(old: &str, new: &str) -> Difference {
        let parse = |text: &str| Catalogue::parse(text).unwrap();
        Difference::between(&parse(old), &parse(new))
    }

    #[test]
    fn the_same_catalogue_is_no_difference() {
        let same = between(CATALOGUE, CATALOGUE);
        assert!(same.is_empty());
        assert_eq!(same.to_string(), "version 1 -> 1\nno difference");
    }

    #[test]
    fn everything_that_changed_is_told_with_what_it_means() {
        let new = CATALOGUE
            .replace("version = 1", "version = 2")
            .replace(r#"{ en = "Staff" }"#, r#"{ en = "People" }"#)
            .replace("unit = \"mg\", ", "analytics = \"value\", ")
            .replace(r#"type = "integer""#, r#"type = "decimal""#)
            .replace(
                r#"start   = { type = "date", tags = ["treatments"] }"#,
                "start = { type = \"date\", tags = [\"treatments\", \"medication@2\"] }\n\
                 stop = { type = \"date\", tags = [\"treatments\"], since = 2 }",
            )
            .replace("normal = { type = \"boolean\", tags = [\"treatments\"] }\n", "");
        let expected = "\
version 1 -> 2
+ column use.stop
- column scan.normal
~ column use.dose: unit mg -> none
~ column use.dose: analytics none -> value
~ column scan.count: type integer -> decimal
~ tag staff: labels
+ everything (`all`) grows by use.stop
+ tag medication grows by use.start
+ tag treatments grows by use.stop
- tag all loses scan.normal
- tag treatments loses scan.normal
cells 4 -> 6: 2 new, 0 gone
what a tag grows by is not open under older allow rules until the patient confirms, and is closed \
under older deny rules at once";
        let difference = between(CATALOGUE, &new);
        assert_eq!(difference.to_string(), expected);
        let json = serde_json::to_value(&difference).unwrap();
        assert_eq!(json["added"][0]["name"], "use.stop");
        assert_eq!(json["changed"][0]["kind"], "column");
        assert_eq!(json["grown"][1]["columns"][0], "use.start");
    }

    #[test]
    fn tables_and_tags_come_and_go() {
        let new = CATALOGUE
            .replace("tables.doctor", "tables.nurse")
            .replace("staff = {", "people = {")
            .replace("\"staff\"", "\"people\"");
        let told = between(CATALOGUE, &new).to_string();
        for line in ["+ table nurse", "- table doctor", "+ tag people", "- tag staff"] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }
}
