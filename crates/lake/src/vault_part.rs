//! A part in the shape of a data vault: hubs, links and satellites.
//!
//! Format: JSON, padded like a [`Part`](crate::Part); values as there. A hub's row is called by the
//! keyed hash of its business key, the same in every answer of this centre about this patient and
//! not to be compared with those of others; a business key that may not be shown has no row, but
//! that of the event a row is about is replaced by the row's place, `table#number`. `loaded` and
//! `ended` are null unless every column of the table that is ever disclosed is shown.

use crate::part::{BLOCK, PartColumn};
use crate::time::civil;
use crate::value::Value;
use aegle_model::{Name, Timestamp};
use aegle_vault::{Hub, HubId, HubRow, LinkEnd, Origin, Vault};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// What one centre shows, as a vault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VaultPart {
    /// The centre's code.
    pub centre: String,
    /// The version of the catalogue that names tables and columns.
    pub catalogue: u32,
    /// The rows of each hub; every hub is there.
    pub hubs: BTreeMap<&'static str, Vec<VaultHub>>,
    /// What belongs together.
    pub links: Vec<VaultLink>,
    /// By table, what rows say about their events.
    pub satellites: Vec<VaultSatellites>,
    /// Tables of which the centre has lost rows or documents that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<String>,
}

/// One row of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VaultHub {
    /// How the view calls it.
    pub key: String,
    /// The role; null for a time.
    pub role: Option<String>,
    /// The parts of the business key; empty when it is not shown.
    pub business_key: Vec<String>,
    /// The table that spoke of it first.
    pub source: String,
    /// When that was loaded.
    #[serde(serialize_with = "time")]
    pub loaded: Option<Timestamp>,
}

/// A tuple of hub rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VaultLink {
    /// The patient, the event, then the others.
    pub ends: Vec<VaultEnd>,
    /// The table that spoke of it first.
    pub source: String,
    /// When that was loaded.
    #[serde(serialize_with = "time")]
    pub loaded: Option<Timestamp>,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VaultEnd {
    /// The hub.
    pub hub: &'static str,
    /// Which row of it.
    pub key: String,
    /// The column that names it; null for the patient and the event.
    pub column: Option<String>,
}

/// The satellites of one table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VaultSatellites {
    /// The table: the record source.
    pub source: String,
    /// The attributes.
    pub columns: Vec<PartColumn>,
    /// One for each row.
    pub rows: Vec<VaultRow>,
}

/// What a row says about its event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VaultRow {
    /// The event.
    pub event: String,
    /// When the row was loaded.
    #[serde(serialize_with = "time")]
    pub loaded: Option<Timestamp>,
    /// When it ended to hold.
    #[serde(serialize_with = "time")]
    pub ended: Option<Timestamp>,
    /// The keyed hash of the values.
    pub diff: String,
    /// A value for every attribute.
    pub values: Vec<Value>,
}

/// The columns that are shown, by table and name.
pub(crate) type Described = BTreeMap<Name, BTreeMap<String, PartColumn>>;

impl VaultPart {
    pub(crate) fn new(
        (centre, catalogue): (String, u32),
        incomplete: Vec<String>,
        vault: Vault<Value>,
        described: &Described,
    ) -> Self {
        let mut hubs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for hub in Hub::ALL {
            hubs.insert(hub.name(), Vec::new());
        }
        for ((hub, id), row) in vault.hubs {
            hubs.entry(hub.name()).or_default().push(hub_row(&id, row));
        }
        let satellites = vault.satellites.into_iter().map(|(table, (columns, rows))| {
            let of = described.get(&table);
            let column = |name: &Name| of.and_then(|of| of.get(name.as_str()).cloned());
            let rows = rows.into_iter().map(|row| VaultRow {
                event: row.event.to_string(),
                loaded: row.loaded,
                ended: row.ended,
                diff: row.diff.to_string(),
                values: row.attributes,
            });
            VaultSatellites {
                source: table.to_string(),
                columns: columns.iter().filter_map(column).collect(),
                rows: rows.collect(),
            }
        });
        let satellites = satellites.collect();
        let links = vault.links.into_iter().map(link).collect();
        Self { centre, catalogue, hubs, links, satellites, incomplete }
    }

    /// The padded JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a part has only text keys");
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes
    }
}

fn hub_row(id: &HubId, row: HubRow) -> VaultHub {
    let HubRow { role, business_key, origin: Origin { source, loaded } } = row;
    let role = role.map(|role| role.to_string());
    VaultHub { key: id.to_string(), role, business_key, source: source.to_string(), loaded }
}

fn link((ends, Origin { source, loaded }): (Vec<LinkEnd>, Origin)) -> VaultLink {
    let end = |LinkEnd { column, hub, id }| VaultEnd {
        hub: Hub::name(hub),
        key: HubId::to_string(&id),
        column: Option::map(column, |column: Name| column.to_string()),
    };
    VaultLink { ends: ends.into_iter().map(end).collect(), source: source.to_string(), loaded }
}

/// RFC 3339, in UTC.
#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.and_then(civil).map(|time| time.to_string());
    text.serialize(serializer)
}
