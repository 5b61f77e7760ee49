//! For any tables, any rows and any permitted cells: exactly that comes back.

use crate::testing::{World, person, read};
use crate::value::arbitrary;
use crate::{Catalogue, Kind, Value};
use aegle_model::CellId;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write;

const TAGS: [&str; 3] = ["a", "b", "c"];
const PATIENTS: usize = 3;

#[derive(Debug, Clone)]
struct Column {
    kind: Kind,
    tags: BTreeSet<&'static str>,
}

#[derive(Debug, Clone)]
struct Table {
    columns: Vec<Column>,
    rows: Vec<(usize, Vec<Value>)>,
}

fn table() -> impl Strategy<Value = Table> {
    let tags = proptest::sample::subsequence(&TAGS, 1..=TAGS.len());
    let column = (proptest::sample::select(&Kind::ALL), tags)
        .prop_map(|(kind, tags)| Column { kind, tags: tags.into_iter().collect() });
    proptest::collection::vec(column, 1..5).prop_flat_map(|columns| {
        let values: Vec<_> = columns.iter().map(|column| arbitrary::value(column.kind)).collect();
        let rows = proptest::collection::vec((0..PATIENTS, values), 0..8);
        rows.prop_map(move |rows| Table { columns: columns.clone(), rows })
    })
}

fn catalogue(tables: &[Table]) -> String {
    let used: BTreeSet<_> =
        tables.iter().flat_map(|table| &table.columns).flat_map(|column| &column.tags).collect();
    let mut text = "centre = \"X\"\nversion = 1\nlanguage = \"en\"\n[tags]\n".to_owned();
    for tag in used {
        writeln!(text, "{tag} = {{}}").unwrap();
    }
    for (position, table) in tables.iter().enumerate() {
        writeln!(text, "[tables.t{position}]\npatient = \"p\"\n[tables.t{position}.columns]")
            .unwrap();
        writeln!(text, "p = {{ type = \"text\", key = true }}").unwrap();
        for (place, column) in table.columns.iter().enumerate() {
            let (kind, tags) = (column.kind.name(), Vec::from_iter(&column.tags));
            writeln!(text, "c{place} = {{ type = \"{kind}\", tags = {tags:?} }}").unwrap();
        }
    }
    text
}

fn csv(table: &Table) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = (0..table.columns.len()).map(|place| format!("c{place}"));
    writer.write_record(std::iter::once("p".to_owned()).chain(names)).unwrap();
    for (patient, values) in &table.rows {
        let fields = values.iter().map(arbitrary::field);
        writer.write_record(std::iter::once(format!("patient {patient}")).chain(fields)).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

/// What a patient must be shown: for each table its name, columns and rows.
fn expected(
    (tables, catalogue): (&[Table], &Catalogue),
    patient: usize,
    cells: &BTreeSet<CellId>,
) -> Vec<(String, Vec<String>, Vec<Vec<Value>>)> {
    let shown = |(position, table): (usize, &Table)| {
        let name = format!("t{position}");
        let permitted = |place: &usize| {
            let cell = catalogue.cell_of(&name, &format!("c{place}")).unwrap();
            cells.contains(&cell)
        };
        let places: Vec<_> = (0..table.columns.len()).filter(permitted).collect();
        let own = table.rows.iter().filter(|(owner, _)| *owner == patient);
        let rows: Vec<Vec<_>> =
            own.map(|(_, row)| places.iter().map(|place| row[*place].clone()).collect()).collect();
        let columns = places.iter().map(|place| format!("c{place}")).collect();
        (!places.is_empty() && !rows.is_empty()).then_some((name, columns, rows))
    };
    tables.iter().enumerate().filter_map(shown).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read_and_nothing_else(
        tables in proptest::collection::vec(table(), 1..4),
        choices in proptest::collection::vec(any::<u16>(), 6),
    ) {
        let world = World::empty();
        let text = catalogue(&tables);
        world.write("catalogue.toml", &text);
        for (position, table) in tables.iter().enumerate() {
            world.write(&format!("t{position}.csv"), &csv(table));
        }
        let lake = world.open();
        lake.ingest(&world.source()).unwrap();
        let catalogue = lake.catalogue().unwrap().unwrap();
        let count = u16::try_from(catalogue.vocabulary().cells.len()).unwrap();
        for patient in 0..PATIENTS {
            let who = person(u8::try_from(patient).unwrap());
            let number = format!("patient {patient}");
            if lake.link(who, &number).is_err() {
                prop_assert!(tables.iter().all(|table| table.rows.iter().all(|row| row.0 != patient)));
                continue;
            }
            for choice in &choices {
                let cells: BTreeSet<_> =
                    (0..count).filter(|cell| choice >> (cell % 16) & 1 == 1).map(CellId).collect();
                let part = read(&lake, who, cells.clone()).unwrap();
                let shown: Vec<_> = part.tables.into_iter().map(|table| {
                    let columns: Vec<_> = table.columns.into_iter().map(|column| column.name).collect();
                    (table.name, columns, table.rows)
                }).collect();
                prop_assert_eq!(shown, expected((&tables, &catalogue), patient, &cells));
            }
        }
    }
}
