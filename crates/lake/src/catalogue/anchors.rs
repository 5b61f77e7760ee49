//! Checks which hubs the columns of a table are anchored at.

use super::{Patient, Table};
use crate::hole::Hole;
use crate::kind::Kind;
use aegle_model::Name;
use aegle_vault::{Anchor, AnchorError, Hub};

/// What is wrong with the hub of a column.
pub(super) enum Wrong {
    Anchor(AnchorError),
    Kind(Hub, Kind),
    SecondEvent,
    PatientNumber,
}

impl Wrong {
    pub(super) fn hole(self, table: &Name, column: &Name) -> Hole {
        let (table, column) = (table.clone(), column.clone());
        match self {
            Self::Anchor(reason) => Hole::Anchor { table, column, reason },
            Self::Kind(hub, kind) => Hole::AnchorKind { table, column, hub, kind },
            Self::SecondEvent => Hole::SecondEvent { table, column },
            Self::PatientNumber => Hole::AnchoredPatient { table, column },
        }
    }
}

/// The hub that is written at a column of this type.
pub(super) fn column(text: &str, kind: Kind) -> Result<Anchor, Wrong> {
    let anchor: Anchor = text.parse().map_err(Wrong::Anchor)?;
    let fits = match anchor.hub() {
        // Durations and codes are no times.
        Hub::Time => matches!(kind, Kind::Date | Kind::Time),
        _ => matches!(kind, Kind::Text | Kind::Integer),
    };
    if fits { Ok(anchor) } else { Err(Wrong::Kind(anchor.hub(), kind)) }
}

/// What can be said only of all columns together.
pub(super) fn table(table: &Table) -> Vec<(Name, Wrong)> {
    let mut wrong = Vec::new();
    let event_columns = table.event_columns();
    let first = event_columns.first().map(|place| &table.columns[*place].anchor);
    for column in event_columns.iter().map(|place| &table.columns[*place]) {
        if Some(&column.anchor) != first {
            wrong.push((column.name.clone(), Wrong::SecondEvent));
        }
    }
    if let Patient::Column(number) = &table.patient
        && table.column(number.as_str()).is_some_and(|column| column.anchor.is_some())
    {
        wrong.push((number.clone(), Wrong::PatientNumber));
    }
    wrong
}
