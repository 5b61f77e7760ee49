//! A part: what one centre shows of a record, before it is sealed.
//!
//! Format: JSON; integers and booleans as such, everything else as text, null as null; tables and
//! columns in the catalogue's order, rows in that in which they were loaded, those of one load in the
//! source's. Padded with spaces to whole blocks, so
//! that its size does not tell an empty part from a small one.

use crate::catalogue::{Catalogue, Column, Labels};
use crate::kind::Kind;
use crate::value::Value;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The size of a padded part is a multiple of this many bytes.
pub const BLOCK: usize = 4096;

/// What one centre shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The centre's code.
    pub centre: String,
    /// The version of the catalogue that names tables and columns.
    pub catalogue: u32,
    /// Tables with at least one permitted column and one row.
    pub tables: Vec<PartTable>,
    /// Tables of which the centre has lost rows or documents that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<String>,
}

/// The permitted columns of one table, with the patient's rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartTable {
    /// The table's name.
    pub name: String,
    /// The permitted columns.
    pub columns: Vec<PartColumn>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
}

/// What a value means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartColumn {
    /// The column's name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The UCUM code of its unit.
    pub unit: Option<String>,
    /// What people read, by language.
    pub labels: Labels,
}

/// Bytes that are no part.
#[derive(Debug, thiserror::Error)]
#[error("the opened bytes are no part of a record")]
pub struct NotAPart(#[from] serde_json::Error);

impl Part {
    /// A part that shows nothing.
    pub fn empty(catalogue: &Catalogue) -> Self {
        let (centre, version) = (catalogue.centre().to_string(), catalogue.version());
        Self { centre, catalogue: version, tables: Vec::new(), incomplete: Vec::new() }
    }

    /// The padded JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a part has only text keys");
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes
    }

    /// Reads a part, checking every value against the type of its column.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAPart> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl From<&Column> for PartColumn {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.to_string(),
            kind: column.kind,
            unit: column.unit.clone(),
            labels: column.labels.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UntypedTable {
    name: String,
    columns: Vec<PartColumn>,
    rows: Vec<Vec<serde_json::Value>>,
}

impl<'de> Deserialize<'de> for PartTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let UntypedTable { name, columns, rows } = Deserialize::deserialize(deserializer)?;
        let typed = |row: Vec<serde_json::Value>| {
            let fits = row.len() == columns.len();
            let pairs = columns.iter().zip(&row);
            let values = pairs.map(|(column, json)| Value::from_json(column.kind, json));
            values.collect::<Option<Vec<_>>>().filter(|_| fits)
        };
        let rows: Option<_> = rows.into_iter().map(typed).collect();
        let rows =
            rows.ok_or_else(|| serde::de::Error::custom("a row does not fit its columns"))?;
        Ok(Self { name, columns, rows })
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom("no such type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Part {
        let column = |name: &str, kind, unit: Option<&str>| PartColumn {
            name: name.to_owned(),
            kind,
            unit: unit.map(str::to_owned),
            labels: Labels::from([("en".to_owned(), name.to_uppercase())]),
        };
        let columns =
            vec![column("product", Kind::Text, None), column("dose", Kind::Decimal, Some("mg"))];
        let rows = vec![
            vec![Value::Text("aspirin".to_owned()), Kind::Decimal.parse("80.0").unwrap()],
            vec![Value::Text("paracetamol".to_owned()), Value::Null],
        ];
        let tables = vec![PartTable { name: "use".to_owned(), columns, rows }];
        Part { centre: "ZMC".to_owned(), catalogue: 1, tables, incomplete: Vec::new() }
    }

    #[test]
    fn a_part_has_its_documented_form() {
        let bytes = part().to_bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            text.trim_end(),
            concat!(
                r#"{"centre":"ZMC","catalogue":1,"tables":[{"name":"use","columns":["#,
                r#"{"name":"product","type":"text","unit":null,"labels":{"en":"PRODUCT"}},"#,
                r#"{"name":"dose","type":"decimal","unit":"mg","labels":{"en":"DOSE"}}],"#,
                r#""rows":[["aspirin","80.0"],["paracetamol",null]]}]}"#
            )
        );
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(Part::from_bytes(&bytes).unwrap(), part());
    }

    #[test]
    fn a_row_that_does_not_fit_its_columns_is_refused() {
        let text = String::from_utf8(part().to_bytes()).unwrap();
        for (old, new) in [
            ("\"80.0\"", "80"),
            ("\"80.0\"", "\"eighty\""),
            ("[\"aspirin\",\"80.0\"]", "[\"aspirin\"]"),
            ("[\"aspirin\",\"80.0\"]", "[\"aspirin\",\"80.0\",1]"),
            ("\"decimal\"", "\"number\""),
            ("\"catalogue\"", "\"catalog\""),
        ] {
            assert!(Part::from_bytes(text.replace(old, new).as_bytes()).is_err(), "{new}");
        }
    }
}
