//! The shape of `catalogue.toml`: what may be written, before anything is checked.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    pub(super) centre: Spanned<String>,
    pub(super) version: Spanned<u32>,
    pub(super) language: Spanned<String>,
    #[serde(default)]
    pub(super) tags: Entries<Labels>,
    #[serde(default)]
    pub(super) sources: Entries<Entries<Spanned<Setting>>>,
    #[serde(default)]
    pub(super) tables: Entries<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) file: Option<Spanned<String>>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) select: Option<Spanned<String>>,
    #[serde(default, rename = "where")]
    pub(super) filter: Entries<String>,
    pub(super) watermark: Option<Spanned<String>>,
    pub(super) patient: Spanned<Patient>,
    #[serde(default)]
    pub(super) labels: Labels,
    #[serde(default)]
    pub(super) contract: Contract,
    pub(super) columns: Entries<Column>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Contract {
    pub(super) wrong_rows: u64,
    pub(super) orphans_percent: Option<u8>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`patient` is a column or { through = a table, on = a column }")]
pub(super) enum Patient {
    Column(String),
    Through(Through),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Through {
    pub(super) through: String,
    pub(super) on: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    pub(super) r#type: Spanned<String>,
    pub(super) path: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) key: bool,
    pub(super) hub: Option<Spanned<String>>,
    pub(super) unit: Option<String>,
    #[serde(default)]
    pub(super) tags: Vec<Spanned<String>>,
    pub(super) since: Option<Spanned<u32>>,
    pub(super) analytics: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) labels: Labels,
}

pub(super) type Labels = BTreeMap<Spanned<String>, String>;

/// A TOML table in the order of the file.
pub(super) struct Entries<T>(Vec<(Spanned<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// The value of a setting of a source.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a setting is a text or a number")]
pub(super) enum Setting {
    Text(String),
    Number(u64),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl<T> Entries<T> {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, (Spanned<String>, T)> {
        self.0.iter()
    }
}

impl<T> IntoIterator for Entries<T> {
    type Item = (Spanned<String>, T);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries: Vec<(Spanned<String>, T)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        entries.sort_by_key(|(name, _)| name.span().start);
        Ok(Entries(entries))
    }
}
