use super::*;
use aegle_lake::{Kek, Lake};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"
[tags]
medication = { en = "Medication" }
[tables.use]
patient = "patnr"
[tables.use.columns]
patnr   = { type = "text", key = true }
product = { type = "text", tags = ["medication"] }
"<dose>" = { type = "decimal", tags = ["medication"] }
"#;

/// A lake with one small table, one row of which is of nobody and two of which are equal.
fn report() -> LakeReport {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("catalogue.toml"), CATALOGUE).unwrap();
    let rows = "patnr,product,<dose>\nP1,aspirin,\nP1,aspirin,\n,aspirin,80\nP2,metformin,500\n";
    std::fs::write(source.join("use.csv"), rows).unwrap();
    let lake = Lake::open(&folder.path().join("lake"), &Kek::generate()).unwrap();
    lake.ingest(&source).unwrap();
    lake.report().unwrap()
}

#[test]
fn people_read_the_counts_and_what_needs_a_look() {
    let shown = show(&report());
    for expected in [
        ": 2 patients, 3 rows, catalogue version 1",
        "table         rows     patients    empty        equal  of nobody unreadable",
        "use              4            2   25.0 %            1          1          0",
        "Table `use`: 1 rows belong to no patient and are left out.",
        "Table `use`: 1 rows are equal to another one in every field.",
        "  use.patnr: 25.0 % empty, without a tag, never disclosed",
        "  use.<dose>: 50.0 % empty",
        "  version 1: 1 batches, the last one of 1 tables",
        ": 3 rows, ",
        "last whole scrub: never",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
}

#[test]
fn the_page_stands_alone_escapes_names_and_shows_no_value() {
    let page = page::render(&report()).unwrap();
    for forbidden in ["<script", "http://", "https://", "src=", "url(", "<dose>", "aspirin", "P1"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for expected in ["The lake of ZMC", "&#60;dose&#62;", "<title id=\"chart-rows\">", "50.0 %"] {
        assert!(page.contains(expected), "{expected}");
    }
    let charts = page.matches("<svg").count();
    assert_eq!(charts, 4);
    assert_eq!(page.matches("role=\"img\"").count(), charts);
}

#[test]
fn shares_are_rounded_and_nothing_of_nothing_is_nothing() {
    assert_eq!(percent(1, 3), "33.3 %");
    assert_eq!(percent(2, 3), "66.7 %");
    assert_eq!(percent(0, 0), "0.0 %");
}
