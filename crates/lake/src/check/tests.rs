use super::*;
use crate::source::RECORD_MAX;
use std::io::Write;

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "nl"
[tags]
medication = { en = "Medication" }
[tables.use]
patient = "patnr"
[tables.use.columns]
patnr   = { type = "text", key = true }
episode = { type = "text", key = true }
product = { type = "text", tags = ["medication"] }
start   = { type = "date", tags = ["medication"] }
[tables.doctor]
patient = { through = "use", on = "episode" }
[tables.doctor.columns]
episode = { type = "text", key = true }
name    = { type = "text", tags = ["medication"] }
"#;
const USE: &str = "patnr,episode,product,start\n1,e1,aspirin,2024-01-01\n2,e2,,\n";
const DOCTOR: &str = "episode,name\ne1,Jansen\n";

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn report(files: &[(&str, &[u8])]) -> Vec<String> {
    let folder = folder(files);
    check(folder.path()).to_string().lines().map(str::to_owned).collect()
}

/// What is said about this content of `use.csv`, without the closing line.
fn about_use(content: &[u8]) -> Vec<String> {
    let mut lines = report(&[
        ("catalogue.toml", CATALOGUE.as_bytes()),
        ("use.csv", content),
        ("doctor.csv", DOCTOR.as_bytes()),
    ]);
    lines.pop();
    lines
}

#[test]
fn a_sound_source_has_no_holes() {
    let bom = format!("\u{feff}{}", USE.replace('\n', "\r\n"));
    for content in [USE, &bom] {
        let lines = report(&[
            ("catalogue.toml", CATALOGUE.as_bytes()),
            ("use.csv", content.as_bytes()),
            ("doctor.csv", DOCTOR.as_bytes()),
        ]);
        assert_eq!(lines, ["no holes; 2 tables and 3 rows read"]);
    }
}

#[test]
fn every_hole_of_the_data_is_named_and_no_value_shown() {
    let check =
        |content: &str, expected: &[&str]| assert_eq!(about_use(content.as_bytes()), expected);
    check(
        "",
        &[
            "doctor.csv, line 2: the row belongs to no patient",
            "use.csv, line 1: the first line names no column of table `use`; the header row is missing",
        ],
    );
    check(
        "patnr,episode,product,start\n1,e1,x\n1,e1,x,2024-01-01,y\n",
        &[
            "doctor.csv, line 2: the row belongs to no patient",
            "use.csv, lines 2 and 3: the record does not have the 4 fields of the header",
        ],
    );
    check(
        "patnr,episode,product,begin\n1,e1,x,2024-01-01\n",
        &[
            "use.csv, line 1: column 4 `begin` is not in the catalogue",
            "use.csv, line 1: column `start` of the catalogue is not in the file",
        ],
    );
    check(
        "patnr,episode,product,start,start\n1,e1,x,2024-01-01,2024-01-01\n",
        &["use.csv, line 1: column `start` stands in the header twice"],
    );
    check(
        "patnr,episode,product,start\n1,e1,\"two\nlines\",01-01-2024\n,e1,x,2024-13-01\n",
        &[
            "use.csv, lines 2 and 4: column `start` is not a date (YYYY-MM-DD)",
            "use.csv, line 4: the row belongs to no patient",
        ],
    );
    check(
        "4711,e1,secret,2024-01-01\n",
        &[
            "doctor.csv, line 2: the row belongs to no patient",
            "use.csv, line 1: the first line names no column of table `use`; the header row is missing",
        ],
    );
}

#[test]
fn bytes_that_are_not_utf_8_are_named() {
    assert_eq!(
        about_use(b"patnr,episode,product,start\n1,e1,caf\xe9,2024-01-01\n"),
        ["use.csv, line 2: column `product` is not UTF-8"]
    );
}

#[test]
fn holes_of_the_catalogue_and_of_the_data_are_named_together() {
    let catalogue = CATALOGUE
        .replace("tags = [\"medication\"] }\nstart", "}\nstart")
        .replace("\"date\"", "\"datum\"")
        .replace("[tables.use]", "unused = {}\n[tables.use]");
    let lines = report(&[("catalogue.toml", catalogue.as_bytes()), ("use.csv", USE.as_bytes())]);
    assert_eq!(
        lines,
        [
            "catalogue.toml, line 7: no column carries the tag `unused`; give it to a column or remove it",
            "catalogue.toml, line 13: column `product` of table `use` carries no tag; give it at least one, or mark it as a key",
            "catalogue.toml, line 14: column `start` of table `use` has the unknown type `datum`; the types are integer, decimal, date, time, text, boolean, bytes",
            "doctor.csv: cannot be read: No such file or directory (os error 2)",
            "4 holes; 2 tables and 2 rows read",
        ]
    );
}

#[test]
fn a_source_without_a_usable_catalogue_is_refused() {
    assert_eq!(
        report(&[]),
        [
            "catalogue.toml: cannot be read: No such file or directory (os error 2)",
            "1 hole; 0 tables and 0 rows read",
        ]
    );
    assert_eq!(
        report(&[("catalogue.toml", b"centre = \"\xff\"")])[0],
        "catalogue.toml: the catalogue is not UTF-8"
    );
    let large = vec![b'#'; usize::try_from(catalogue::BYTES_MAX).unwrap() + 1];
    assert_eq!(
        report(&[("catalogue.toml", &large)])[0],
        "catalogue.toml: the catalogue is larger than 1048576 bytes"
    );
}

#[test]
fn an_endless_line_is_refused_without_reading_it_to_the_end() {
    let folder =
        folder(&[("catalogue.toml", CATALOGUE.as_bytes()), ("doctor.csv", DOCTOR.as_bytes())]);
    let path = folder.path().join("use.csv");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(USE.as_bytes()).unwrap();
    file.write_all(b"3,e3,\"").unwrap();
    // Sparse: 100 MB that take no room on the disk.
    file.set_len(100_000_000).unwrap();
    let report = check(folder.path()).to_string();
    assert!(report.starts_with("use.csv, line 4: a record is longer than 1048576 bytes, or a quote is never closed; the rest of the file was not read\n"), "{report}");
}

#[test]
fn a_record_may_be_as_long_as_the_limit_and_not_longer() {
    let limit = usize::try_from(RECORD_MAX).unwrap();
    let content = |product: usize| {
        let text = "x".repeat(product);
        format!("patnr,episode,product,start\n1,e1,{text},2024-01-01\n")
    };
    let others = "1e12024-01-01".len();
    assert_eq!(about_use(content(limit - others).as_bytes()), Vec::<String>::new());
    assert_eq!(about_use(content(limit - others + 1).as_bytes()).len(), 2);
}

proptest::proptest! {
    #[test]
    fn no_file_makes_a_check_panic(content: Vec<u8>, cut in 0..CATALOGUE.len(), text: String) {
        let (before, after) = CATALOGUE.split_at(cut);
        let catalogue = format!("{before}{text}{after}");
        let folder = folder(&[
            ("catalogue.toml", catalogue.as_bytes()),
            ("use.csv", &[USE.as_bytes(), &content].concat()),
            ("doctor.csv", &content),
        ]);
        proptest::prop_assert!(!check(folder.path()).to_string().is_empty());
    }
}
