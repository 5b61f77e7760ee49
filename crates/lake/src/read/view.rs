//! From the permitted rows of a part to the vault view of them.

#[cfg(test)]
mod tests;

use crate::catalogue::Table;
use crate::crypt::MacKey;
use crate::keys::PatientKey;
use crate::layout::Layout;
use crate::naming::view_key;
use crate::part::{Part, PartTable};
use crate::value::Value;
use crate::vault_part::VaultPart;
use aegle_model::{Name, Timestamp};
use aegle_vault::{Load, ShownColumn, ShownRow, ShownTable, Validity, assemble};
use std::collections::BTreeMap;

/// What a view needs besides the rows.
pub(super) struct View<'a> {
    pub(super) naming: &'a MacKey,
    pub(super) patient: &'a PatientKey,
    /// When each row held, for each table of the part.
    pub(super) validity: &'a [Vec<Validity>],
    pub(super) loads: &'a BTreeMap<Load, Timestamp>,
}

impl View<'_> {
    /// The vault view of a part.
    pub(super) fn part(&self, layout: &Layout, part: Part) -> VaultPart {
        let mut columns = BTreeMap::new();
        let mut tables = Vec::new();
        for (shown, validity) in part.tables.into_iter().zip(self.validity) {
            let Some(table) = layout.catalogue.table(&shown.name) else { continue };
            let described =
                shown.columns.iter().map(|column| (column.name.clone(), column.clone()));
            columns.insert(table.name.clone(), described.collect::<BTreeMap<_, _>>());
            tables.push(self.table(table, shown, validity));
        }
        let key = |bytes: &[u8]| view_key(self.naming, self.patient, bytes);
        VaultPart::new(
            (part.centre, part.catalogue),
            part.incomplete,
            assemble(tables, key),
            &columns,
        )
    }

    fn table<'t>(
        &self,
        table: &'t Table,
        shown: PartTable,
        validity: &[Validity],
    ) -> ShownTable<'t, Value> {
        let column = |name: &str| table.column(name).map(|column| (&column.name, &column.anchor));
        let named = shown.columns.iter().filter_map(|shown| column(&shown.name));
        let anchored = |(name, anchor): (&Name, &'t Option<_>)| ShownColumn {
            name: name.clone(),
            anchor: anchor.as_ref(),
        };
        let columns: Vec<_> = named.map(anchored).collect();
        let disclosed = table.columns.iter().filter(|column| !column.key).count();
        let time = |load: &Load| self.loads.get(load).copied();
        let row = |(values, held): (Vec<Value>, &Validity)| ShownRow {
            loaded: time(&held.begun).unwrap_or_default(),
            ended: held.ended.as_ref().and_then(time),
            values,
        };
        ShownTable {
            name: table.name.clone(),
            event_columns: table.event_columns().len(),
            whole: columns.len() == disclosed,
            columns,
            rows: shown.rows.into_iter().zip(validity).map(row).collect(),
        }
    }
}
