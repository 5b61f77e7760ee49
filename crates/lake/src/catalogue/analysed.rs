//! How a column may appear in de-identified tables (`docs/adr/0018`).
//!
//! Nothing is the default: a column that does not say so never appears, whatever its type. Neither do
//! keys, nor what names a person, a place or an event, whatever it says.

use super::Table;
use crate::kind::Kind;
use aegle_model::Name;
use aegle_vault::{Anchor, Hub};
use borsh::BorshSerialize;

/// The column of every de-identified table that says whose a row is.
pub const PSEUDONYM: &str = "patient";

/// How the values of a column appear in de-identified tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub enum Analysed {
    /// `"value"`: a number or a truth value, as it is.
    Value,
    /// `"code"`: a text out of a short list, such as a diagnosis code. Never what somebody typed.
    Code,
    /// `"shift"`: a day or an instant, moved with all others of the patient.
    Shift,
    /// `"year"`: only the year of a day or an instant, such as of birth.
    Year,
}

impl Analysed {
    /// What `text` says of a column of a table: whether it is a key, which hub's rows it stands for,
    /// and its type.
    pub(super) fn new(
        text: &str,
        (table, column): (&Name, &Name),
        (key, anchor, kind): (bool, Option<&Anchor>, Kind),
    ) -> Result<Self, &'static str> {
        let is_taken = column.as_str().eq_ignore_ascii_case(PSEUDONYM);
        if !is_plain(table) || !is_plain(column) || is_taken {
            return Err(
                "tables and columns that appear are named by ASCII letters, digits and `_`, \
                 and no column is named `patient`",
            );
        }
        if key {
            return Err("a key leads to a patient; remove it");
        }
        match anchor.map(Anchor::hub) {
            None | Some(Hub::Time | Hub::Object) => {}
            Some(Hub::Person | Hub::Location | Hub::Event) => {
                return Err("it names a person, a place or an event; remove it");
            }
        }
        match (text, kind) {
            ("value", Kind::Integer | Kind::Decimal | Kind::Boolean) => Ok(Self::Value),
            ("code", Kind::Text) => Ok(Self::Code),
            ("shift", Kind::Date | Kind::Time) => Ok(Self::Shift),
            ("year", Kind::Date | Kind::Time) => Ok(Self::Year),
            _ => {
                Err("it is `value` for an integer, a decimal or a boolean, `code` for text out of \
                 a short list, `shift` or `year` for a date or a time, and nothing else")
            }
        }
    }

    /// What the catalogue calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Code => "code",
            Self::Shift => "shift",
            Self::Year => "year",
        }
    }
}

/// Whether every engine takes the name, of a table or of a column.
fn is_plain(name: &Name) -> bool {
    name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What a catalogue says of de-identified tables; none when it says nothing.
pub(super) fn meaning(tables: &[Table]) -> Option<Vec<u8>> {
    let columns = tables.iter().flat_map(|table| {
        table.columns.iter().filter_map(|column| {
            column.analytics.map(|analytics| ("analytics", &table.name, &column.name, analytics))
        })
    });
    let columns: Vec<_> = columns.collect();
    let meaning = || borsh::to_vec(&columns).expect("writing to memory cannot fail");
    (!columns.is_empty()).then(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    fn parse(column: &str) -> Result<Option<Analysed>, String> {
        let text = format!(
            "centre = 'ZMC'\nversion = 1\nlanguage = 'en'\n[tags]\na = {{}}\n[tables.t]\n\
             patient = 'nr'\n[tables.t.columns]\nnr = {{ type = 'text', key = true }}\n\
             other = {{ type = 'text', tags = ['a'] }}\nc = {{ tags = ['a'], {column} }}\n"
        );
        match Catalogue::parse(&text) {
            Ok(catalogue) => Ok(catalogue.table("t").unwrap().column("c").unwrap().analytics),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_column_appears_only_when_it_says_so_and_may() {
        for (column, expected) in [
            ("type = 'integer'", None),
            ("type = 'date', hub = 'time'", None),
            ("type = 'integer', analytics = 'value'", Some(Analysed::Value)),
            ("type = 'boolean', analytics = 'value'", Some(Analysed::Value)),
            ("type = 'text', hub = 'object:medicine', analytics = 'code'", Some(Analysed::Code)),
            ("type = 'date', hub = 'time', analytics = 'shift'", Some(Analysed::Shift)),
            ("type = 'time', analytics = 'year'", Some(Analysed::Year)),
        ] {
            assert_eq!(parse(column), Ok(expected), "{column}");
        }
        for column in [
            "type = 'text', analytics = 'value'",
            "type = 'text', analytics = 'shift'",
            "type = 'date', analytics = 'value'",
            "type = 'integer', analytics = 'code'",
            "type = 'bytes', analytics = 'value'",
            "type = 'bytes', analytics = 'code'",
            "type = 'text', analytics = ''",
            "type = 'text', hub = 'person:professional', analytics = 'code'",
            "type = 'text', hub = 'location:town', analytics = 'code'",
            "type = 'text', hub = 'event:episode', analytics = 'code'",
            "type = 'integer', hub = 'event:episode', analytics = 'value'",
        ] {
            let error = parse(column).unwrap_err();
            assert!(error.contains("cannot have its `analytics`"), "{column}: {error}");
        }
    }

    #[test]
    fn a_name_that_other_engines_do_not_take_does_not_appear() {
        let new = |table, column| {
            let [table, column] = [table, column].map(|name| Name::new(name).unwrap());
            Analysed::new("value", (&table, &column), (false, None, Kind::Integer)).is_ok()
        };
        for name in ["a b", "a-b", "ä", "a/b", ".."] {
            assert!(!new("t", name) && !new(name, "c"), "{name}");
        }
        // A table may be called like the column of the pseudonyms, a column may not.
        assert!(new("patient", "c") && !new("t", "patient") && !new("t", "Patient"));
    }

    #[test]
    fn what_is_said_is_part_of_the_catalogues_hash() {
        let catalogue = |analytics: &str| {
            let text = crate::testing::CATALOGUE
                .replace("dose    = { type", &format!("dose    = {{ {analytics} type"));
            Catalogue::parse(&text).unwrap().hash()
        };
        assert_ne!(catalogue(""), catalogue("analytics = 'value',"));
    }
}
