//! What holds for any rows, any tables and any loads.

use crate::*;
use aegle_model::{Name, Timestamp};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A text or nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Text(Option<String>);

impl Cell for Text {
    fn business_key(&self) -> Option<String> {
        self.0.clone()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let text = self.0.as_deref().unwrap_or("\0");
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

fn key(bytes: &[u8]) -> [u8; 16] {
    *Sha256::digest(bytes).first_chunk().unwrap()
}

fn name(text: impl Into<String>) -> Name {
    Name::new(text).unwrap()
}

const ANCHORS: [&str; 7] =
    ["time", "person:professional", "person:relative", "object", "location", "event:episode", ""];

#[derive(Debug, Clone)]
struct Column {
    anchor: Option<Anchor>,
    shown: bool,
}

/// A table with hidden columns, too.
#[derive(Debug, Clone)]
struct Table {
    columns: Vec<Column>,
    /// When each row was loaded, and its values.
    rows: Vec<(u64, Vec<Text>)>,
}

fn table() -> impl Strategy<Value = Table> {
    let anchor = proptest::sample::select(&ANCHORS).prop_map(|text| text.parse().ok());
    let column = (anchor, any::<bool>()).prop_map(|(anchor, shown)| Column { anchor, shown });
    proptest::collection::vec(column, 1..6).prop_flat_map(|columns| {
        let value = proptest::option::of("[ab7]").prop_map(Text);
        let values = proptest::collection::vec(value, columns.len());
        let rows = proptest::collection::vec((1..4_u64, values), 0..6);
        rows.prop_map(move |rows| Table { columns: columns.clone(), rows })
    })
}

fn tables() -> impl Strategy<Value = Vec<Table>> {
    proptest::collection::vec(table(), 1..4)
}

/// The part of a table that may be shown.
fn shown(number: usize, table: &Table) -> ShownTable<'_, Text> {
    let places = || (0..table.columns.len()).filter(|place| table.columns[*place].shown);
    let is_event =
        |column: &&Column| column.anchor.as_ref().is_some_and(|anchor| anchor.hub() == Hub::Event);
    let column = |place: usize| ShownColumn {
        name: name(format!("c{place}")),
        anchor: table.columns[place].anchor.as_ref(),
    };
    let row = |(loaded, values): &(u64, Vec<Text>)| ShownRow {
        loaded: Timestamp(*loaded),
        ended: None,
        values: places().map(|place| values[place].clone()).collect(),
    };
    ShownTable {
        name: name(format!("t{number}")),
        columns: places().map(column).collect(),
        event_columns: table.columns.iter().filter(is_event).count(),
        whole: table.columns.iter().all(|column| column.shown),
        rows: table.rows.iter().map(row).collect(),
    }
}

fn view(tables: &[Table]) -> Vault<Text> {
    assemble(tables.iter().enumerate().map(|(number, table)| shown(number, table)).collect(), key)
}

/// The distinct business keys of a hub that are shown, by role; events by their whole key.
fn business_keys(tables: &[Table], hub: Hub) -> BTreeSet<(Anchor, String)> {
    let mut keys = BTreeSet::new();
    for table in tables {
        for (column, place) in table.columns.iter().zip(0..) {
            let Some(anchor) = column.anchor.clone().filter(|anchor| anchor.hub() == hub) else {
                continue;
            };
            let values = table.rows.iter().filter(|_| column.shown);
            keys.extend(
                values.filter_map(|(_, row)| Some((anchor.clone(), row[place].0.clone()?))),
            );
        }
    }
    keys
}

proptest! {
    #[test]
    fn a_hub_has_one_row_per_business_key_however_many_tables_speak_of_it(tables in tables()) {
        let vault = view(&tables);
        for hub in [Hub::Time, Hub::Object, Hub::Location] {
            let rows = vault.hubs.keys().filter(|(of, _)| *of == hub).count();
            prop_assert_eq!(rows, business_keys(&tables, hub).len());
        }
        let persons = vault.hubs.keys().filter(|(of, _)| *of == Hub::Person).count();
        let patient = usize::from(tables.iter().any(|table| !table.rows.is_empty()));
        prop_assert_eq!(persons, business_keys(&tables, Hub::Person).len() + patient);
    }

    #[test]
    fn a_doctor_is_never_a_patient_nor_a_relative(role in "[a-z]{1,12}", parts: Vec<Vec<u8>>) {
        let text = format!("person:{role}");
        prop_assume!(role != "patient");
        let doctor: Anchor = text.parse().unwrap();
        let patient = Anchor::patient();
        prop_assert_ne!(doctor.business_key(&parts), patient.business_key(&parts));
        prop_assert_ne!(doctor.business_key(&parts), patient.business_key::<Vec<u8>>(&[]));
        let relative: Anchor = "person:professional2".parse().unwrap();
        if doctor != relative {
            prop_assert_ne!(doctor.business_key(&parts), relative.business_key(&parts));
        }
    }

    #[test]
    fn different_business_keys_have_different_bytes(
        a in proptest::collection::vec("[ab]{0,3}", 0..4),
        b in proptest::collection::vec("[ab]{0,3}", 0..4),
        hubs in proptest::sample::subsequence(&["event", "event:a", "object:a", "object"], 2),
    ) {
        let anchors: Vec<Anchor> = hubs.iter().map(|hub| hub.parse().unwrap()).collect();
        prop_assert_eq!(
            anchors[0].business_key(&a) == anchors[0].business_key(&b), a == b
        );
        prop_assert_ne!(anchors[0].business_key(&a), anchors[1].business_key(&a));
    }

    #[test]
    fn the_order_of_tables_never_matters(tables in tables(), seed: u64) {
        let mut order: Vec<_> =
            tables.iter().enumerate().map(|(number, table)| shown(number, table)).collect();
        let turn = usize::try_from(seed % tables.len() as u64).unwrap();
        order.rotate_left(turn);
        if seed.is_multiple_of(2) {
            order.reverse();
        }
        prop_assert_eq!(assemble(order, key), view(&tables));
    }

    #[test]
    fn every_row_is_joined_to_its_patient(tables in tables()) {
        let vault = view(&tables);
        let joined: BTreeMap<_, _> =
            vault.links.keys().map(|ends| (&ends[1].id, &ends[0].id)).collect();
        let patient = HubId::Key(HubKey::from_array(key(
            &Anchor::patient().business_key::<&[u8]>(&[]),
        )));
        let satellites = vault.satellites.values().flat_map(|(_, rows)| rows);
        let mut count = 0;
        for satellite in satellites {
            prop_assert_eq!(joined.get(&satellite.event), Some(&&patient));
            count += 1;
        }
        prop_assert_eq!(count, tables.iter().map(|table| table.rows.len()).sum::<usize>());
        for ends in vault.links.keys() {
            for end in ends {
                prop_assert!(vault.hubs.contains_key(&(end.hub, end.id.clone())));
            }
        }
    }

    #[test]
    fn what_is_not_shown_changes_nothing_that_is(
        tables in tables(), other in "[xyz]", later in 5..9_u64
    ) {
        let mut changed = tables.clone();
        for table in &mut changed {
            let hidden: Vec<_> =
                (0..table.columns.len()).filter(|place| !table.columns[*place].shown).collect();
            for (loaded, row) in &mut table.rows {
                for place in &hidden {
                    row[*place] = Text(Some(other.clone()));
                    // What changed was loaded anew.
                    *loaded = later;
                }
            }
        }
        prop_assert_eq!(view(&changed), view(&tables));
    }
}

/// Contents that meet often, of few events.
fn row_id() -> impl Strategy<Value = RowId> {
    let event = proptest::option::of((0..2_u8).prop_map(|byte| HubKey::from_array([byte; 16])));
    (event, 0..4_u8).prop_map(|(event, byte)| RowId { event, diff: [byte; 16] })
}

fn loads() -> impl Strategy<Value = Vec<Vec<RowId>>> {
    proptest::collection::vec(proptest::collection::vec(row_id(), 0..6), 1..7)
}

fn sorted(mut rows: Vec<RowId>) -> Vec<RowId> {
    rows.sort();
    rows
}

fn held(history: &History, at: u64) -> Vec<RowId> {
    sorted(history.as_of(Load(at)).map(|(_, held)| held.id).collect())
}

/// A history of these loads, numbered from 1.
fn replay(loads: &[Vec<RowId>]) -> History {
    let mut history = History::default();
    for (rows, at) in loads.iter().zip(1..) {
        history.load(Load(at), rows).unwrap();
    }
    history
}

proptest! {
    #[test]
    fn as_of_a_load_is_what_a_replay_up_to_it_gives(loads in loads()) {
        let history = replay(&loads);
        prop_assert_eq!(held(&history, 0), vec![]);
        for (rows, at) in loads.iter().zip(1..) {
            let until = usize::try_from(at).unwrap();
            prop_assert_eq!(held(&history, at), held(&replay(&loads[..until]), at));
            prop_assert_eq!(held(&history, at), sorted(rows.clone()));
        }
    }

    #[test]
    fn the_same_load_again_changes_nothing(loads in loads()) {
        let mut history = replay(&loads);
        let before = history.clone();
        let last = loads.last().unwrap();
        let again = history.load(Load(loads.len() as u64), last).unwrap();
        prop_assert_eq!(again, Change::default());
        let later = history.load(Load(loads.len() as u64 + 1), last).unwrap();
        prop_assert_eq!(later, Change::default());
        prop_assert_eq!(history, before);
    }

    #[test]
    fn a_row_that_is_still_there_is_not_begun_again(loads in loads(), more in loads()) {
        let mut history = replay(&loads);
        let (before, arriving) = (loads.last().unwrap(), &more[0]);
        let change = history.load(Load(100), arriving).unwrap();
        let mut left = before.clone();
        let mut kept = 0;
        for id in arriving {
            if let Some(place) = left.iter().position(|other| other == id) {
                left.remove(place);
                kept += 1;
            }
        }
        prop_assert_eq!(change.begun.len(), arriving.len() - kept);
        prop_assert_eq!(change.ended.len(), before.len() - kept);
    }

    #[test]
    fn an_older_load_is_refused_and_changes_nothing(loads in loads()) {
        prop_assume!(loads.iter().any(|rows| !rows.is_empty()));
        let mut history = replay(&loads);
        let before = history.clone();
        prop_assert_eq!(history.load(Load(0), &[]), Err(OutOfOrder));
        prop_assert_eq!(history, before);
    }
}
