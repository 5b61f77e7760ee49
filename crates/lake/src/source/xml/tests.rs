use super::*;
use crate::testing::{World, comes_again, shown};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
visits = { en = "Visits" }

[sources.exports]
type = "xml"
path = "exports/visits.xml"
zone = "Europe/Amsterdam"

[tables.visit]
from = "exports"
select = "export/patient/visit"
where = { "@state" = "done" }
patient = "patnr"
[tables.visit.columns]
patnr  = { type = "text", path = "/export/patient/@number", key = true }
family = { type = "text", path = "/export/patient/name/family", tags = ["visits"] }
at     = { type = "time", path = "@at", tags = ["visits"] }
reason = { type = "text", path = "reason/text", tags = ["visits"] }
weight = { type = "decimal", path = "weight", tags = ["visits"] }
note   = { type = "text", path = ".", tags = ["visits"] }
"#;

const EXPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE export>
<e:export xmlns:e="urn:e">
  <patient number="4711"><name><family>M&#252;ller &amp; S&#xf6;hne</family></name>
    <visit at="2024-07-01T10:00:00" state="done">
      <reason><text>chest <![CDATA[<pain>]]></text><text>cough</text></reason>
      <weight>80.50</weight> a note
    </visit>
    <visit at="2024-07-02T10:00:00Z" state="planned"><weight>1</weight></visit>
    <visit at="2024-07-03T10:00:00+03:00" state="done"/>
  </patient>
  <patient number="4712"><visit state="done"><weight/></visit></patient>
</e:export>
"#;

fn world() -> World {
    let world = World::empty();
    world.write("catalogue.toml", CATALOGUE);
    std::fs::create_dir(world.source().join("exports")).unwrap();
    world.write("exports/visits.xml", EXPORT);
    world
}

/// The rows, without the table's name and columns.
fn rows(lake: &crate::Lake, number: &str) -> Vec<String> {
    shown(lake, number)[1..].to_vec()
}

#[test]
fn elements_become_rows_with_what_stands_around_them() {
    let world = world();
    let lake = world.open();
    let report = lake.ingest(&world.source()).unwrap();
    assert_eq!((report.patients, report.rows, report.rows_without_patient), (2, 3, 0));
    assert_eq!(
        rows(&lake, "4711"),
        [
            r#"["Müller & Söhne","2024-07-01T10:00:00+02:00","chest <pain>; cough","80.50","a note"]"#,
            r#"["Müller & Söhne","2024-07-03T10:00:00+03:00",null,null,null]"#,
        ]
    );
    assert_eq!(rows(&lake, "4712"), ["[null,null,null,null,null]"]);
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
}

/// What a check says of this file, without the closing line.
fn holes(export: &str) -> Vec<String> {
    let world = world();
    world.write("exports/visits.xml", export);
    let report = crate::check(&world.source()).to_string();
    let mut lines: Vec<_> = report.lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

#[test]
fn what_is_no_xml_is_named_with_its_line_and_never_rows() {
    let check = |old: &str, new: &str, expected: &str| {
        assert!(EXPORT.contains(old), "{old}");
        assert_eq!(holes(&EXPORT.replacen(old, new, 1)), [expected], "{new}");
    };
    let malformed = |line| {
        format!(
            "exports/visits.xml, line {line}: the record is no XML in UTF-8; the rest of it was not read"
        )
    };
    check("</weight>", "</secret>", &malformed(7));
    check("&amp;", "&secret;", &malformed(4));
    check("</e:export>", "", &malformed(14));
    check("a note", &"<a>".repeat(DEPTH_MAX), &malformed(7));
    let long = "a".repeat(PATH_MAX);
    check("a note", &format!("<{long}/>"), &malformed(7));
    check("a note", &format!("<{long}:b/>"), &malformed(7));
    let half = "a".repeat(PATH_MAX / 2);
    check("a note", &format!("<{half}><{half}/></{half}>"), &malformed(7));
    check(
        "80.50",
        "secret",
        "exports/visits.xml, line 5: column `weight` is not a decimal number of at most 28 digits",
    );
    check(
        "80.50",
        "1</weight><weight>2",
        "exports/visits.xml, line 5: column `weight` has more than one value here; narrow its path so that one is left",
    );
}

#[test]
fn what_was_lost_comes_again_from_the_source() {
    comes_again(&world());
}

#[test]
fn entities_that_grow_and_endless_tags_cost_nothing() {
    let bomb = "<!DOCTYPE export [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>";
    assert_eq!(holes(&EXPORT.replace("<!DOCTYPE export>", bomb)), Vec::<String>::new());
    let used = EXPORT.replace("<!DOCTYPE export>", bomb).replace("&amp;", "&b;");
    assert_eq!(holes(&used).len(), 1);
    let names = EXPORT.replace("a note", &format!("<{0}/><{0}/>", "a".repeat(PATH_MAX / 2)));
    assert_eq!(holes(&names), Vec::<String>::new());
    let long = EXPORT.replace("a note", &"x".repeat(ROW_MAX + 1));
    assert!(holes(&long)[0].contains("a record is longer than 16777216 bytes"));
}

#[test]
fn a_path_is_names_with_slashes_and_nothing_else() {
    for good in [".", "a", "a/b", "@a", "a/@b", "/a/b", "/a/@b"] {
        assert!(is_path(good), "{good}");
    }
    for bad in ["", "/", "a/", "a//b", "@", "@a/b", "a/.", "..", "e:a", "a b"] {
        assert!(!is_path(bad), "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_reading_panic(cut in 0..EXPORT.len(), bytes: Vec<u8>, text in "[<>/&;a-z\"=@!\\[\\]?-]{0,30}") {
        let (before, after) = EXPORT.split_at(EXPORT.floor_char_boundary(cut));
        let world = world();
        let content = [before.as_bytes(), text.as_bytes(), &bytes, after.as_bytes()].concat();
        std::fs::write(world.source().join("exports/visits.xml"), content).unwrap();
        proptest::prop_assert!(!crate::check(&world.source()).to_string().is_empty());
    }
}
