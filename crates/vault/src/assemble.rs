//! The vault view of a record: from rows that may be shown to hubs, links and satellites.
//!
//! Only what is shown goes in. A business key that may not be shown has no hub row: not even
//! whether there is one can be told. The event of a row always has one, for there is the row; when
//! its key may not be shown it is named by the row's place, so that no two rows can be seen to
//! share it. When a row began and ended to hold tells whether anything in it changed, so this is
//! told only about rows that are shown whole.

use crate::{Anchor, Hub, HubKey};
use aegle_model::{Name, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A value, as far as the vault has to know it.
pub trait Cell {
    /// The text by which the value is the same in any table and any zone; none for null.
    fn business_key(&self) -> Option<String>;

    /// Appends bytes that differ for different values and delimit themselves.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Rows of one table that may be shown.
#[derive(Debug, Clone)]
pub struct ShownTable<'a, V> {
    /// The table: the record source.
    pub name: Name,
    /// The columns that may be shown.
    pub columns: Vec<ShownColumn<'a>>,
    /// How many columns the table anchors at its event, shown or not.
    pub event_columns: usize,
    /// Whether every column of the table that is ever disclosed is shown.
    pub whole: bool,
    /// Each with a value for every column.
    pub rows: Vec<ShownRow<V>>,
}

/// A column that may be shown.
#[derive(Debug, Clone)]
pub struct ShownColumn<'a> {
    /// Its name.
    pub name: Name,
    /// Which hub its values are business keys of, if any.
    pub anchor: Option<&'a Anchor>,
}

/// A row that may be shown.
#[derive(Debug, Clone)]
pub struct ShownRow<V> {
    /// When the load that brought it was.
    pub loaded: Timestamp,
    /// When a later load did not bring it any more.
    pub ended: Option<Timestamp>,
    /// A value for every column.
    pub values: Vec<V>,
}

/// How a view calls a hub's row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HubId {
    /// By its business key, which is shown.
    Key(HubKey),
    /// By the only row that is about it.
    Row {
        /// The table.
        table: Name,
        /// Which of the shown rows, counted from 1.
        row: u32,
    },
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Row { table, row } => write!(f, "{table}#{row}"),
        }
    }
}

/// Where a row of the vault came from first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The table: the record source.
    pub source: Name,
    /// When it was loaded; none when that would tell about what is not shown.
    pub loaded: Option<Timestamp>,
}

impl Origin {
    /// The earlier one; what is not told counts as later. Never depends on who was seen first.
    fn earlier(self, other: Self) -> Self {
        let key = |origin: &Self| (origin.loaded.is_none(), origin.loaded, origin.source.clone());
        if key(&other) < key(&self) { other } else { self }
    }
}

/// One row of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRow {
    /// The role; none for a time.
    pub role: Option<Name>,
    /// The parts of the business key; none when it is not shown.
    pub business_key: Vec<String>,
    /// Where it came from first.
    pub origin: Origin,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkEnd {
    /// The column that names it; none for the patient and the event.
    pub column: Option<Name>,
    /// The hub.
    pub hub: Hub,
    /// The hub's row.
    pub id: HubId,
}

/// What a row says about its event.
#[derive(Debug, Clone, PartialEq)]
pub struct Satellite<V> {
    /// The event.
    pub event: HubId,
    /// When it was loaded; none when that would tell about what is not shown.
    pub loaded: Option<Timestamp>,
    /// When it ended to hold.
    pub ended: Option<Timestamp>,
    /// The keyed hash of the attributes.
    pub diff: HubKey,
    /// A value for every attribute.
    pub attributes: Vec<V>,
}

/// Hubs, links and satellites.
#[derive(Debug, Clone, PartialEq)]
pub struct Vault<V> {
    /// The rows of every hub.
    pub hubs: BTreeMap<(Hub, HubId), HubRow>,
    /// What belongs together: the patient, the event, then the others in the order of the columns.
    /// One per tuple, however many rows say so.
    pub links: BTreeMap<Vec<LinkEnd>, Origin>,
    /// By table: the names of the attributes, and the rows.
    pub satellites: BTreeMap<Name, (Vec<Name>, Vec<Satellite<V>>)>,
}

/// Makes the view of one patient's rows. `key` is a keyed hash.
pub fn assemble<V: Cell + Clone>(
    tables: Vec<ShownTable<'_, V>>,
    key: impl Fn(&[u8]) -> [u8; 16],
) -> Vault<V> {
    let key = |bytes: &[u8]| HubKey::from_array(key(bytes));
    let mut builder = Builder { vault: Vault::default(), key };
    for table in tables {
        builder.table(table);
    }
    builder.vault
}

impl<V> Default for Vault<V> {
    fn default() -> Self {
        Self { hubs: BTreeMap::new(), links: BTreeMap::new(), satellites: BTreeMap::new() }
    }
}

struct Builder<V, K> {
    vault: Vault<V>,
    key: K,
}

/// A hub's row before it is in the vault.
struct Named {
    hub: Hub,
    id: HubId,
    role: Option<Name>,
    business_key: Vec<String>,
}

impl<V: Cell + Clone, K: Fn(&[u8]) -> HubKey> Builder<V, K> {
    fn table(&mut self, table: ShownTable<'_, V>) {
        let plan = Plan::new(&table);
        let headings =
            plan.attributes.iter().map(|place| table.columns[*place].name.clone()).collect();
        let mut satellites = Vec::with_capacity(table.rows.len());
        for (row, number) in table.rows.iter().zip(1..) {
            let loaded = table.whole.then_some(row.loaded);
            let origin = Origin { source: table.name.clone(), loaded };
            let event = self.event(&table, &plan, row, number);
            let id = event.id.clone();
            let mut ends = vec![self.note(None, self.patient(), &origin)];
            ends.push(self.note(None, event, &origin));
            for place in &plan.others {
                let column = &table.columns[*place];
                let Some(named) = self.named(column, &row.values[*place]) else { continue };
                ends.push(self.note(Some(column.name.clone()), named, &origin));
            }
            self.link(ends, origin);
            let attributes: Vec<V> =
                plan.attributes.iter().map(|place| row.values[*place].clone()).collect();
            let ended = row.ended.filter(|_| table.whole);
            let diff = self.diff(&attributes);
            satellites.push(Satellite { event: id, loaded, ended, diff, attributes });
        }
        self.vault.satellites.insert(table.name, (headings, satellites));
    }

    fn patient(&self) -> Named {
        let anchor = Anchor::patient();
        let id = HubId::Key((self.key)(&anchor.business_key::<&[u8]>(&[])));
        Named { hub: Hub::Person, id, role: anchor.role().cloned(), business_key: Vec::new() }
    }

    fn event(
        &self,
        table: &ShownTable<'_, V>,
        plan: &Plan,
        row: &ShownRow<V>,
        number: u32,
    ) -> Named {
        let parts = plan.event.iter().map(|place| row.values[*place].business_key());
        let anchor = plan.event.first().and_then(|place| table.columns[*place].anchor);
        if let (Some(anchor), Some(parts)) = (anchor, event_parts(parts)) {
            let id = HubId::Key((self.key)(&anchor.business_key(&parts)));
            return Named {
                hub: Hub::Event,
                id,
                role: anchor.role().cloned(),
                business_key: parts,
            };
        }
        let id = HubId::Row { table: table.name.clone(), row: number };
        Named { hub: Hub::Event, id, role: None, business_key: Vec::new() }
    }

    fn named(&self, column: &ShownColumn<'_>, value: &V) -> Option<Named> {
        let (anchor, part) = (column.anchor?, value.business_key()?);
        let id = HubId::Key((self.key)(&anchor.business_key(&[&part])));
        let (hub, role) = (anchor.hub(), anchor.role().cloned());
        Some(Named { hub, id, role, business_key: vec![part] })
    }

    /// Sees to it that the hub has the row.
    fn note(&mut self, column: Option<Name>, named: Named, origin: &Origin) -> LinkEnd {
        let Named { hub, id, role, business_key } = named;
        let found = self.vault.hubs.remove(&(hub, id.clone()));
        let origin = match found {
            Some(found) => found.origin.earlier(origin.clone()),
            None => origin.clone(),
        };
        self.vault.hubs.insert((hub, id.clone()), HubRow { role, business_key, origin });
        LinkEnd { column, hub, id }
    }

    fn link(&mut self, ends: Vec<LinkEnd>, origin: Origin) {
        let origin = match self.vault.links.remove(&ends) {
            Some(found) => found.earlier(origin),
            None => origin,
        };
        self.vault.links.insert(ends, origin);
    }

    fn diff(&self, attributes: &[V]) -> HubKey {
        let mut bytes = b"diff".to_vec();
        for value in attributes {
            value.encode(&mut bytes);
        }
        (self.key)(&bytes)
    }
}

/// The parts of an event's business key; none when all are null. A part that is null is empty.
fn event_parts(parts: impl Iterator<Item = Option<String>>) -> Option<Vec<String>> {
    let parts: Vec<_> = parts.collect();
    let known = parts.iter().any(Option::is_some);
    known.then(|| parts.into_iter().map(Option::unwrap_or_default).collect())
}

/// Which columns of a table are what.
struct Plan {
    /// The event's business key; empty unless all of it is shown.
    event: Vec<usize>,
    /// Business keys of other hubs.
    others: Vec<usize>,
    attributes: Vec<usize>,
}

impl Plan {
    fn new<V>(table: &ShownTable<'_, V>) -> Self {
        let hub = |place: usize| table.columns[place].anchor.map(Anchor::hub);
        let places = || 0..table.columns.len();
        let event: Vec<_> = places().filter(|place| hub(*place) == Some(Hub::Event)).collect();
        let event = if event.len() == table.event_columns { event } else { Vec::new() };
        let is_other = |place: &usize| hub(*place).is_some_and(|hub| hub != Hub::Event);
        let others: Vec<_> = places().filter(is_other).collect();
        // A time stays an attribute as well: its hub's row does not hold the zone.
        let keys = others.iter().filter(|place| hub(**place) != Some(Hub::Time));
        let keys: BTreeSet<_> = keys.chain(&event).copied().collect();
        let attributes = places().filter(|place| !keys.contains(place)).collect();
        Self { event, others, attributes }
    }
}
