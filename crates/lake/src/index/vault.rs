//! Hubs, satellites and their validity, as the index holds them.
//!
//! A hub's row is the keyed hash of a business key and the batch that spoke of it first; the batch
//! knows the table (the record source) and the load (when, and under which catalogue). Events are
//! noted under their patient. The satellites of one patient in one batch are one row: a byte, then
//! for each row in the order of its frames its hash difference (16 bytes), before which stands the
//! key of its event (16 bytes, zero for none) when the byte is 1. A row without the key of an event
//! is an event of its own, which has no other key than the hash. Which of them a later load ended is noted apart, so that nothing that was
//! written is ever changed. A link is not noted: it is the tuple of business keys in the frames of
//! its row, for who shares a doctor or a medicine with whom tells something about a person. All
//! hashes are keyed; those of rows and events depend on the patient, so that equal rows of two
//! patients do not look equal.

use super::{Extent, upkeep};
use crate::database::{self, Connection, params};
use crate::keys::PatientKey;
use aegle_vault::{Held, Hub, HubKey, Load, RowId, Validity};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of one patient and one batch that a load ended, by their places in the frames.
pub(crate) struct End {
    pub(crate) patient: PatientKey,
    pub(crate) batch: i64,
    pub(crate) rows: Vec<u32>,
}

/// Hub rows that some batch speaks of; patients and events are noted with the extents.
pub(crate) type Hubs = BTreeSet<(Hub, HubKey)>;

/// A row that held when a load began, and where it lies.
pub(crate) struct Stored {
    pub(crate) batch: i64,
    pub(crate) place: u32,
    pub(crate) held: Held,
    /// Whether the lake does not have its frames any more.
    pub(crate) lost: bool,
}

const fn hub_table(hub: Hub) -> &'static str {
    match hub {
        Hub::Time => "hub_time",
        Hub::Person => "hub_person",
        Hub::Object => "hub_object",
        Hub::Location => "hub_location",
        Hub::Event => "hub_event",
    }
}

pub(super) fn add_satellites(
    connection: &Connection,
    batch: i64,
    extents: &[Extent],
) -> database::Result<()> {
    let satellites = "INSERT INTO satellite (patient, batch, rows) VALUES (?1, ?2, ?3)";
    connection.insert(satellites, |inserts| {
        extents.iter().try_for_each(|Extent { patient, rows, .. }| {
            inserts.add(params![patient, batch, encode(rows)])
        })
    })?;
    let persons = "INSERT INTO hub_person (key, batch) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    connection.insert(persons, |inserts| {
        extents.iter().try_for_each(|extent| inserts.add(params![extent.patient, batch]))
    })?;
    let events =
        "INSERT INTO hub_event (patient, key, batch) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    connection.insert(events, |inserts| {
        for Extent { patient, rows, .. } in extents {
            for key in rows.iter().filter_map(|row| row.event) {
                inserts.add(params![patient, key.as_bytes(), batch])?;
            }
        }
        Ok(())
    })
}

pub(super) fn add_hubs(connection: &Connection, batch: i64, hubs: &Hubs) -> database::Result<()> {
    for hub in Hub::ALL {
        let table = hub_table(hub);
        let sql =
            format!("INSERT INTO {table} (key, batch) VALUES (?1, ?2) ON CONFLICT DO NOTHING");
        connection.insert(&sql, |inserts| {
            let mut keys = hubs.iter().filter(|(of, _)| *of == hub);
            keys.try_for_each(|(_, key)| inserts.add(params![key.as_bytes(), batch]))
        })?;
    }
    Ok(())
}

pub(super) fn add_ends(connection: &Connection, load: Load, ends: &[End]) -> database::Result<()> {
    let sql = "INSERT INTO ended (patient, batch, load, rows) VALUES (?1, ?2, ?3, ?4)";
    connection.insert(sql, |inserts| {
        ends.iter().try_for_each(|End { patient, batch, rows }| {
            let rows: Vec<u8> = rows.iter().flat_map(|row| row.to_le_bytes()).collect();
            inserts.add(params![patient, batch, load.0, rows])
        })
    })
}

pub(super) fn forget(connection: &Connection, batch: i64) -> database::Result<()> {
    for hub in Hub::ALL {
        connection.execute(&format!("DELETE FROM {} WHERE batch = ?1", hub_table(hub)), [batch])?;
    }
    connection.execute("DELETE FROM satellite WHERE batch = ?1", [batch])?;
    Ok(())
}

/// Forgets what ended by a load that was never completed, but for the tables it has written whole.
pub(super) fn forget_ends(connection: &Connection) -> database::Result<()> {
    let sql = "DELETE FROM ended WHERE load IN (SELECT id FROM load WHERE complete = 0)
        AND batch NOT IN (SELECT id FROM batch WHERE of_table IN
            (SELECT of_table FROM batch WHERE whole = 1 AND complete = 0))";
    connection.execute(sql, [])?;
    Ok(())
}

/// Removes all rows of a patient, of any time, and counts those that held as rows of the erased. What
/// a row spoke of besides the patient and its events may be others', too, and stays; nothing leads
/// from it to the patient. The documents' objects go when the next ingest sweeps.
pub(super) fn forget_patient(
    connection: &Connection,
    patient: &PatientKey,
) -> database::Result<()> {
    connection.execute(
        "UPDATE batch SET of_erased = of_erased
         + (SELECT COALESCE(SUM(rows), 0) FROM extent JOIN batch AS other
            ON other.id = extent.batch AND other.of_table = batch.of_table WHERE patient = ?1)
         - (SELECT COALESCE(SUM(LENGTH(rows) / 4), 0) FROM ended JOIN batch AS other
            ON other.id = ended.batch AND other.of_table = batch.of_table WHERE patient = ?1)
         WHERE id IN (SELECT MAX(id) FROM batch WHERE complete = 1 GROUP BY of_table)",
        [patient],
    )?;
    for table in ["extent", "satellite", "ended", "lost", "hub_event", "document"] {
        connection.execute(&format!("DELETE FROM {table} WHERE patient = ?1"), [patient])?;
    }
    connection.execute("DELETE FROM hub_person WHERE key = ?1", [patient])?;
    connection.execute("UPDATE state SET patients = ?1", [patients(connection)?])?;
    Ok(())
}

/// How many patients have a row that holds after the last complete load.
pub(super) fn patients(connection: &Connection) -> database::Result<u64> {
    let sql = "SELECT COUNT(*) FROM (
            SELECT patient, SUM(rows) AS begun FROM extent
            JOIN batch ON batch.id = extent.batch AND batch.complete = 1 GROUP BY patient
        ) AS one
        WHERE begun > (
            SELECT COALESCE(SUM(LENGTH(rows) / 4), 0) FROM ended WHERE ended.patient = one.patient
        )";
    connection.query_row(sql, [], |row| row.get(0))
}

/// How many satellites there are, of any time.
pub(crate) fn satellites(connection: &Connection) -> database::Result<u64> {
    let sql = "SELECT CAST(COALESCE(SUM(rows), 0) AS BIGINT) FROM extent";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The number of rows of each hub.
pub(crate) fn hub_counts(connection: &Connection) -> database::Result<Vec<(Hub, u64)>> {
    let count = |hub| {
        let sql = format!("SELECT COUNT(*) FROM {}", hub_table(hub));
        Ok((hub, connection.query_row(&sql, [], |row| row.get(0))?))
    };
    Hub::ALL.into_iter().map(count).collect()
}

/// What a table held, by patient, of the patients after one and up to another.
pub(crate) fn held(
    connection: &Connection,
    table: &str,
    (after, until): (Option<&PatientKey>, &PatientKey),
) -> database::Result<BTreeMap<PatientKey, Vec<Stored>>> {
    let after: &[u8] = after.map_or(&[], PatientKey::as_slice);
    let ended = ended_between(connection, (after, until))?;
    let lost = upkeep::lost_between(connection, (after, until))?;
    let mut select = connection.prepare_cached(
        "SELECT satellite.patient, batch.id, batch.load, satellite.rows
         FROM satellite CROSS JOIN batch
         WHERE batch.id = satellite.batch AND batch.complete = 1 AND batch.of_table = ?1
         AND satellite.patient > ?2 AND satellite.patient <= ?3
         ORDER BY satellite.patient, satellite.batch",
    )?;
    let mut found = select.query(params![table, after, until])?;
    let mut held: BTreeMap<PatientKey, Vec<Stored>> = BTreeMap::new();
    while let Some(row) = found.next()? {
        let (patient, batch): (PatientKey, i64) = (row.get(0)?, row.get(1)?);
        let (begun, rows): (u64, Vec<u8>) = (row.get(2)?, row.get(3)?);
        let (ended, lost) = (ended.get(&(patient, batch)), lost.contains(&(patient, batch)));
        let stored = held.entry(patient).or_default();
        for (id, place) in decode(&rows).into_iter().zip(0..) {
            if ended.is_some_and(|ended| ended.contains(&place)) {
                continue;
            }
            let validity = Validity { begun: Load(begun), ended: None };
            stored.push(Stored { batch, place, held: Held { id, validity }, lost });
        }
    }
    Ok(held)
}

type EndedRows = BTreeMap<(PatientKey, i64), BTreeSet<u32>>;

fn ended_between(
    connection: &Connection,
    (after, until): (&[u8], &PatientKey),
) -> database::Result<EndedRows> {
    let mut select = connection.prepare_cached(
        "SELECT patient, batch, rows FROM ended WHERE patient > ?1 AND patient <= ?2",
    )?;
    let mut found = select.query(params![after, until])?;
    let mut ended = EndedRows::new();
    while let Some(row) = found.next()? {
        let rows: Vec<u8> = row.get(2)?;
        ended.entry((row.get(0)?, row.get(1)?)).or_default().extend(places(&rows));
    }
    Ok(ended)
}

/// When rows of a patient ended, by batch and place.
pub(crate) fn ends_of(
    connection: &Connection,
    patient: &PatientKey,
    until: Load,
) -> database::Result<BTreeMap<i64, BTreeMap<u32, Load>>> {
    let mut select = connection
        .prepare_cached("SELECT batch, load, rows FROM ended WHERE patient = ?1 AND load <= ?2")?;
    let mut found = select.query(params![patient, until.0])?;
    let mut ends: BTreeMap<i64, BTreeMap<u32, Load>> = BTreeMap::new();
    while let Some(row) = found.next()? {
        let (load, rows): (u64, Vec<u8>) = (row.get(1)?, row.get(2)?);
        let ended = places(&rows).map(|place| (place, Load(load)));
        ends.entry(row.get(0)?).or_default().extend(ended);
    }
    Ok(ends)
}

fn places(rows: &[u8]) -> impl Iterator<Item = u32> {
    rows.as_chunks().0.iter().map(|place| u32::from_le_bytes(*place))
}

fn encode(rows: &[RowId]) -> Vec<u8> {
    let keyed = rows.iter().any(|row| row.event.is_some());
    let mut bytes = Vec::with_capacity(1 + rows.len() * 32);
    bytes.push(u8::from(keyed));
    for row in rows {
        if keyed {
            bytes.extend_from_slice(&row.event.map_or([0; 16], |event| *event.as_bytes()));
        }
        bytes.extend_from_slice(&row.diff);
    }
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Vec<RowId> {
    let Some((keyed, bytes)) = bytes.split_first() else { return Vec::new() };
    let (hashes, _) = bytes.as_chunks::<16>();
    if *keyed == 0 {
        return hashes.iter().map(|diff| RowId { event: None, diff: *diff }).collect();
    }
    let (pairs, _) = hashes.as_chunks::<2>();
    let row = |[event, diff]: &[[u8; 16]; 2]| {
        let event = Some(*event).filter(|event| *event != [0; 16]).map(HubKey::from_array);
        RowId { event, diff: *diff }
    };
    pairs.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn satellites_are_read_as_they_were_written() {
        let row = |event: Option<u8>, diff| RowId {
            event: event.map(|byte| HubKey::from_array([byte; 16])),
            diff: [diff; 16],
        };
        for rows in [
            vec![],
            vec![row(None, 1), row(None, 2)],
            vec![row(None, 1), row(Some(7), 2), row(Some(8), 2)],
        ] {
            assert_eq!(decode(&encode(&rows)), rows);
        }
        assert_eq!(encode(&[row(None, 1), row(None, 2)]).len(), 33);
    }
}
