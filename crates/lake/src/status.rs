//! What a lake holds now, zone by zone; never whose.

use crate::database::{Connection, DatabaseError};
use crate::index::{self, quality, vault};
use crate::lake::Lake;
use crate::time;
use aegle_model::{RequestId, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// What one zone holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZoneStatus {
    /// The zone.
    pub zone: &'static str,
    /// How many objects, satellites, requests or workspaces.
    pub count: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The oldest one, RFC 3339.
    pub oldest: Option<String>,
}

/// What a lake holds. Prints as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LakeStatus {
    /// Every zone.
    pub zones: Vec<ZoneStatus>,
    /// How many rows each hub has.
    pub hubs: BTreeMap<&'static str, u64>,
    /// The version of the catalogue; none for an empty lake.
    pub catalogue: Option<u32>,
    /// How many patients have rows now.
    pub patients: u64,
    /// How many rows belong to a patient now.
    pub rows: u64,
    /// How many batches there are.
    pub batches: u64,
    /// How many ingests brought them.
    pub loads: u64,
    /// When the last one was, RFC 3339.
    pub last_ingest: Option<String>,
    /// How many objects are damaged or lost.
    pub damaged: u64,
    /// How many patients' rows of a batch are lost; records say so.
    pub lost: u64,
    /// How many batches in quarantine wait for a decision.
    pub held: u64,
    /// The requests that a crash interrupted and the ledger was not told of yet.
    pub interrupted: Vec<String>,
}

/// A status that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
    /// A zone cannot be looked into.
    #[error("could not look into the {zone} zone of the lake")]
    Zone {
        /// The zone.
        zone: &'static str,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
}

impl Lake {
    /// What the lake holds now, also while another process uses it.
    pub fn status(&self) -> Result<LakeStatus, StatusError> {
        let read = |connection: &Connection| -> Result<_, DatabaseError> {
            let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<u64>(0));
            let [damaged, lost, held] = quality::waiting(connection)?;
            Ok(LakeStatus {
                damaged,
                lost,
                held,
                zones: Vec::new(),
                hubs: vault::hub_counts(connection)?
                    .into_iter()
                    .map(|(hub, rows)| (hub.name(), rows))
                    .collect(),
                catalogue: None,
                patients: 0,
                rows: 0,
                batches: count("SELECT COUNT(*) FROM batch WHERE complete = 1")?,
                loads: count("SELECT COUNT(*) FROM load WHERE complete = 1")?,
                last_ingest: None,
                interrupted: self.interrupted().iter().map(RequestId::to_string).collect(),
            })
        };
        let mut status = self.lookup.read(read)?;
        let (state, loads) = (self.index.state()?, self.loads()?);
        if let Some(state) = state {
            status.catalogue = Some(state.catalogue);
            (status.patients, status.rows) = (state.patients, state.rows);
        }
        status.last_ingest = loads.last().and_then(|at| text(*at));
        let objects = self.index.look(index::stored)?;
        let (satellites, bytes) = (self.index.look(vault::satellites)?, self.index.bytes()?);
        let first = loads.first().and_then(|at| text(*at));
        let zone = |zone, count, bytes| ZoneStatus { zone, count, bytes, oldest: first.clone() };
        status.zones =
            vec![zone("raw", objects.0, objects.1), zone("structured", satellites, bytes)];
        for (name, is_whole) in
            [("curated", false), ("consumer", false), ("workspace", true), ("analytics", true)]
        {
            status.zones.push(look_into(&self.root, name, is_whole)?);
        }
        Ok(status)
    }
}

/// What lies in a zone's folder. An empty file is a place that nobody uses. Whole folders count as
/// one each when `is_whole`.
fn look_into(root: &Path, zone: &'static str, is_whole: bool) -> Result<ZoneStatus, StatusError> {
    let failed = |source| StatusError::Zone { zone, source };
    let mut status = ZoneStatus { zone, count: 0, bytes: 0, oldest: None };
    let entries = match fs::read_dir(root.join(zone)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(status),
        entries => entries.map_err(failed)?,
    };
    let mut oldest = None;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(about) = entry.metadata() else { continue };
        let bytes =
            if about.is_dir() { folder_bytes(&entry.path()).map_err(failed)? } else { about.len() };
        if bytes > 0 || is_whole {
            status.count += 1;
            status.bytes += bytes;
            let changed = about.modified().ok().and_then(|time| time.try_into().ok());
            oldest = oldest.into_iter().chain(changed).min();
        }
    }
    status.oldest = oldest.map(|time: jiff::Timestamp| time.to_string());
    Ok(status)
}

/// Follows no links.
fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

fn text(time: Timestamp) -> Option<String> {
    time::civil(time).map(|time| time.to_string())
}

impl fmt::Display for LakeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        writeln!(f, "catalogue    {}", or_none(self.catalogue.map(|v| format!("version {v}"))))?;
        writeln!(f, "last ingest  {}", or_none(self.last_ingest.clone()))?;
        writeln!(f, "ingests      {}, in {} batches", self.loads, self.batches)?;
        writeln!(f, "now          {} patients, {} rows\n", self.patients, self.rows)?;
        writeln!(f, "{:<12} {:>10} {:>14}  oldest", "zone", "count", "bytes")?;
        for ZoneStatus { zone, count, bytes, oldest } in &self.zones {
            let oldest = oldest.as_deref().unwrap_or("-");
            writeln!(f, "{zone:<12} {count:>10} {bytes:>14}  {oldest}")?;
        }
        writeln!(f)?;
        for (hub, rows) in &self.hubs {
            writeln!(f, "hub {hub:<8} {rows:>10} rows")?;
        }
        let Self { damaged, lost, held, .. } = self;
        writeln!(
            f,
            "\nobjects      {damaged} damaged or lost, {lost} patients' rows of a batch lost"
        )?;
        writeln!(f, "quarantine   {held} batches wait for a decision")?;
        match self.interrupted.as_slice() {
            [] => write!(f, "\nno request was interrupted"),
            requests => write!(f, "\ninterrupted, not told to the ledger: {}", requests.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Asking;
    use crate::sealed::OpeningKey;
    use crate::testing::{SECRETS, USE, World, cells, permit, person};

    #[test]
    fn every_zone_tells_what_it_holds_and_not_whose() {
        let world = World::new();
        let empty = world.open().status().unwrap();
        assert_eq!((empty.catalogue, empty.loads, empty.last_ingest), (None, 0, None));
        let lake = world.filled();
        world.write("use.csv", &USE.replace("aspirin", "ibuprofen"));
        lake.ingest(&world.source()).unwrap();
        let status = lake.status().unwrap();
        assert_eq!((status.catalogue, status.loads, status.batches), (Some(1), 2, 5));
        assert_eq!((status.patients, status.rows, status.hubs["person"]), (3, 8, 3));
        let count = |lake: &crate::Lake| {
            let zones = lake.status().unwrap().zones;
            zones.iter().map(|zone| (zone.zone, zone.count)).collect::<Vec<_>>()
        };
        // Nine rows of patients and one that came in place of another; those that ended stay.
        let at_rest = [
            ("raw", 9),
            ("structured", 10),
            ("curated", 0),
            ("consumer", 0),
            ("workspace", 0),
            ("analytics", 0),
        ];
        assert_eq!(count(&lake), at_rest);
        let key = OpeningKey::generate();
        let permit = permit(&lake, person(1), cells(&lake, &["all"]), &key);
        lake.prepare(&permit, &Asking::default()).unwrap();
        let waits = lake.status().unwrap();
        assert_eq!((waits.zones[3].zone, waits.zones[3].count), ("consumer", 1));
        assert!(waits.zones[3].bytes > 4096 && waits.zones[3].oldest.is_some());
        lake.claim(permit.request()).unwrap();
        assert_eq!(count(&lake), at_rest);
        let shown = format!("{waits}\n{}", serde_json::to_string(&waits).unwrap());
        assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown}");
        assert!(shown.contains("no request was interrupted"), "{shown}");
    }
}
