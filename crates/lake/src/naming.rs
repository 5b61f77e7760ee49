//! How the structured zone names rows and what they speak of: keyed hashes of 16 bytes.
//!
//! Hubs that patients share are named by their business key alone; rows and events are named under
//! their patient, so that equal ones of two patients do not look equal.

use crate::catalogue::Table;
use crate::crypt::MacKey;
use crate::keys::PatientKey;
use crate::value::Value;
use aegle_vault::{Anchor, Cell, Hub, HubKey, RowId};
use std::collections::{BTreeSet, HashSet};

/// How many values are remembered whose hub rows are known, and how long each may be in bytes: many
/// rows speak of the same days and medicines.
const KNOWN_MAX: usize = 1 << 16;
const KNOWN_BYTES_MAX: usize = 64;

impl Cell for Value {
    fn business_key(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Integer(number) => number.to_string(),
            Self::Decimal(number) => number.normalize().to_string(),
            Self::Date(date) => date.to_string(),
            // The same instant, in whatever zone it was noted.
            Self::Time(time) => time.instant().to_string(),
            Self::Text(text) => text.clone(),
            Self::Boolean(truth) => truth.to_string(),
            Self::Bytes(bytes) => hex::encode(bytes),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

/// Names the rows of one table.
pub(crate) struct RowNames<'a> {
    naming: &'a MacKey,
    meaning: &'a [u8; 32],
    /// Where the parts of the event's business key stand.
    event: Option<(&'a Anchor, Vec<usize>)>,
    /// Business keys of other hubs.
    others: Vec<(&'a Anchor, usize)>,
    /// Values of these whose hub rows were found before, each after the place of its column.
    known: HashSet<Vec<u8>>,
}

impl<'a> RowNames<'a> {
    pub(crate) fn new(naming: &'a MacKey, table: &'a Table, meaning: &'a [u8; 32]) -> Self {
        let columns = table.columns.iter().zip(0..);
        let anchored = columns.filter_map(|(column, place)| Some((column.anchor.as_ref()?, place)));
        let others = anchored.filter(|(anchor, _)| anchor.hub() != Hub::Event).collect();
        let places = table.event_columns();
        let first = places.first().and_then(|place| table.columns[*place].anchor.as_ref());
        let event = first.map(|anchor| (anchor, places));
        Self { naming, meaning, event, others, known: HashSet::new() }
    }

    /// Adds the hub rows that a row speaks of, besides its patient and its event, to those of all
    /// rows so far.
    pub(crate) fn add_hubs(&mut self, values: &[Value], hubs: &mut BTreeSet<(Hub, HubKey)>) {
        for (anchor, place) in &self.others {
            let mut known = place.to_le_bytes().to_vec();
            values[*place].encode(&mut known);
            if self.known.contains(&known) {
                continue;
            }
            let Some(part) = values[*place].business_key() else { continue };
            let key = self.naming.mac("aegle lake hub v1", &[&anchor.business_key(&[part])]);
            hubs.insert((anchor.hub(), half(key)));
            if known.len() <= KNOWN_BYTES_MAX && self.known.len() < KNOWN_MAX {
                self.known.insert(known);
            }
        }
    }

    /// The business key of the event that a row is about; none when it is one of its own.
    pub(crate) fn event(&self, values: &[Value]) -> Option<Vec<u8>> {
        let (anchor, places) = self.event.as_ref()?;
        let parts: Vec<_> = places.iter().map(|place| values[*place].business_key()).collect();
        let known = parts.iter().any(Option::is_some);
        let parts: Vec<_> = parts.into_iter().map(Option::unwrap_or_default).collect();
        known.then(|| anchor.business_key(&parts))
    }

    /// What makes a row of this patient the same at two loads.
    pub(crate) fn id(&self, patient: &PatientKey, event: Option<&[u8]>, row: &[u8]) -> RowId {
        let event = event.map(|event| self.naming.mac("aegle lake event v1", &[patient, event]));
        let diff = self.naming.mac("aegle lake row v1", &[patient, self.meaning, row]);
        RowId { event: event.map(half), diff: *half(diff).as_bytes() }
    }
}

/// The keyed hash by which a view names what one patient's rows speak of: the same in every answer
/// about the patient, and not to be compared with those of other patients.
pub(crate) fn view_key(naming: &MacKey, patient: &PatientKey, bytes: &[u8]) -> [u8; 16] {
    *half(naming.mac("aegle lake view v1", &[patient, bytes])).as_bytes()
}

fn half(mac: [u8; 32]) -> HubKey {
    HubKey::from_array(*mac.first_chunk().expect("32 bytes hold 16"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalogue, Kind};

    const TEXT: &str = r#"
centre = "X"
version = 1
language = "en"
[tags]
a = {}
[tables.t]
patient = "p"
[tables.t.columns]
p = { type = "text", key = true }
e = { type = "integer", key = true, hub = "event" }
d = { type = "text", tags = ["a"], hub = "person:professional" }
n = { type = "integer", tags = ["a"], hub = "person:professional" }
w = { type = "time", tags = ["a"], hub = "time" }
"#;

    fn values(fields: [&str; 5]) -> Vec<Value> {
        let kinds = [Kind::Text, Kind::Integer, Kind::Text, Kind::Integer, Kind::Time];
        kinds.iter().zip(fields).map(|(kind, field)| kind.parse(field).unwrap()).collect()
    }

    #[test]
    fn one_business_key_is_one_hub_row_in_any_column_type_and_zone() {
        let (catalogue, naming) = (Catalogue::parse(TEXT).unwrap(), MacKey::new(&[1; 32]));
        let hubs = |fields: &[[&str; 5]]| {
            let mut names = RowNames::new(&naming, &catalogue.tables()[0], &[0; 32]);
            let mut hubs = BTreeSet::new();
            for fields in fields {
                names.add_hubs(&values(*fields), &mut hubs);
            }
            hubs
        };
        let one = ["4711", "1", "7", "7", "2024-01-01T10:00:00+01:00"];
        assert_eq!(hubs(&[one]).len(), 2, "7 as text and 7 as a number are one person");
        assert_eq!(hubs(&[one, one]), hubs(&[one]));
        let at = |time| ["4711", "1", "", "", time];
        assert_eq!(hubs(&[one, at("2024-01-01T09:00:00Z")]), hubs(&[one]));
        assert_eq!(hubs(&[one, at("2024-01-01T10:00:00Z")]).len(), 3);
        // What is in one column says nothing about another.
        assert_eq!(hubs(&[["", "", "7", "", ""], ["", "", "", "8", ""]]).len(), 2);
    }

    #[test]
    fn more_values_than_are_remembered_are_hub_rows_all_the_same() {
        let (catalogue, naming) = (Catalogue::parse(TEXT).unwrap(), MacKey::new(&[1; 32]));
        let mut names = RowNames::new(&naming, &catalogue.tables()[0], &[0; 32]);
        let mut hubs = BTreeSet::new();
        for number in (0..KNOWN_MAX + 10).chain(0..10) {
            let long = "x".repeat(KNOWN_BYTES_MAX * (number % 2));
            let person = format!("{number}{long}");
            names.add_hubs(&values(["", "", &person, "", ""]), &mut hubs);
        }
        assert_eq!(hubs.len(), KNOWN_MAX + 10);
        assert!(names.known.len() <= KNOWN_MAX);
    }

    #[test]
    fn rows_and_events_are_named_under_their_patient() {
        let (catalogue, naming) = (Catalogue::parse(TEXT).unwrap(), MacKey::new(&[1; 32]));
        let names = RowNames::new(&naming, &catalogue.tables()[0], &[0; 32]);
        let event = names.event(&values(["4711", "1", "", "", ""])).unwrap();
        assert_eq!(names.event(&values(["4711", "", "7", "7", ""])), None);
        let id = |patient: u8| names.id(&[patient; 16], Some(&event), b"row");
        assert_eq!(id(1), id(1));
        assert_ne!(id(1).event, id(2).event);
        assert_ne!(id(1).diff, id(2).diff);
        assert_eq!(names.id(&[1; 16], None, b"row").event, None);
        assert_ne!(names.id(&[1; 16], None, b"other").diff, id(1).diff);
    }
}
