use super::*;
use crate::testing::{World, comes_again, shown};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
laboratory = { en = "Laboratory" }

[sources.export]
type = "fhir"
path = "fhir"

[tables.laboratory]
from = "export"
select = "Observation"
where = { "category.coding.code" = "laboratory" }
patient = "patient"
[tables.laboratory.columns]
patient = { type = "text", path = "subject.reference", key = true }
loinc   = { type = "text", path = "code.coding[system=http://loinc.org].code", tags = ["laboratory"] }
value   = { type = "decimal", path = "valueQuantity.value", tags = ["laboratory"] }
final   = { type = "boolean", path = "extension[0].valueBoolean", tags = ["laboratory"] }
"#;

const BUNDLE: &str = r#"{ "resourceType": "Bundle", "entry": [
 { "resource": { "resourceType": "Patient", "id": "p1" } },
 { "resource": { "resourceType": "Observation", "subject": { "reference": "urn:uuid:p1" },
     "category": [ { "coding": [ { "code": "vital-signs" }, { "code": "laboratory" } ] } ],
     "code": { "coding": [ { "system": "http://snomed.info/sct", "code": "1" },
                           { "system": "http://loinc.org", "code": "2-7" } ] },
     "extension": [ { "valueBoolean": true }, { "valueBoolean": false } ],
     "valueQuantity": { "value": 7.50 } } },
 { "fullUrl": "urn:uuid:empty" }
] }"#;

const LINES: &str = concat!(
    r#"{"resourceType":"Observation","subject":{"reference":"https://a/fhir/Patient/p2/_history/3"},"category":{"coding":{"code":"laboratory"}},"code":{"coding":[{"system":"http://loinc.org","code":"a\"b"},{"system":"http://loinc.org","code":"c"}]}}"#,
    "\n\n",
    r#"{"resourceType":"Observation","subject":{"reference":"Patient/p2"},"category":[{"coding":[{"code":"imaging"}]}]}"#,
    "\n",
    r#"{"resourceType":"Condition","subject":{"reference":"Patient/p2"},"deep":[[[[[[[[]]]]]]]]}"#,
    "\n",
);

fn world() -> World {
    let world = World::empty();
    world.write("catalogue.toml", CATALOGUE);
    std::fs::create_dir_all(world.source().join("fhir/deeper")).unwrap();
    world.write("fhir/b.json", BUNDLE);
    world.write("fhir/deeper/a.ndjson", LINES);
    world.write("fhir/notes.txt", "not read");
    world
}

#[test]
fn what_was_lost_comes_again_from_the_source() {
    comes_again(&world());
}

#[test]
fn resources_are_selected_by_type_and_category_and_find_their_patient_by_reference() {
    let world = world();
    let lake = world.open();
    let report = lake.ingest(&world.source()).unwrap();
    assert_eq!((report.patients, report.rows, report.rows_without_patient), (2, 2, 0));
    assert_eq!(shown(&lake, "p1"), ["laboratory: loinc value final", r#"["2-7","7.50",true]"#]);
    assert_eq!(shown(&lake, "p2"), ["laboratory: loinc value final", r#"["a\"b; c",null,null]"#]);
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    world.write("fhir/deeper/a.ndjson", &LINES.replace("p2", "p1"));
    assert_eq!(lake.ingest(&world.source()).unwrap().patients, 1);
}

#[test]
fn what_is_no_resource_is_named_with_its_line_and_never_shown() {
    let world = world();
    let many =
        LINES.replace("a\\\"b", "secret") + "{\"resourceType\":\"Observation\"\n{}\nsecret\n";
    world.write("fhir/deeper/a.ndjson", &many);
    world.write("fhir/b.json", "{\"resourceType\":\"Bundle\",\"entry\":{}}");
    world.write("fhir/c.json", &BUNDLE.replace("\"value\": 7.50", "\"value\": [1, 2]"));
    world.write("fhir/d.json", &BUNDLE.replace("\"value\": 7.50", "\"value\": \"secret\""));
    let report = crate::check(&world.source()).to_string();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(
        lines,
        [
            "fhir/b.json: the record is no FHIR resource in JSON; the rest of it was not read",
            "fhir/c.json, line 3: column `value` has more than one value here; narrow its path so that one is left",
            "fhir/d.json, line 3: column `value` is not a decimal number of at most 28 digits",
            "fhir/deeper/a.ndjson, lines 5, 6 and 7: the record is no FHIR resource in JSON; the rest of it was not read",
            "4 holes; 1 tables and 3 rows read",
        ]
    );
}

#[test]
fn each_resource_of_a_bundle_is_named_with_its_own_line() {
    let world = World::empty();
    world.write("catalogue.toml", CATALOGUE);
    std::fs::create_dir(world.source().join("fhir")).unwrap();
    let wrong = r#"{ "resource": { "resourceType": "Observation", "subject": { "reference": "p1" },
        "category": { "coding": { "code": "laboratory" } }, "valueQuantity": { "value": "x" } } }"#;
    let entries = [wrong, &wrong.replace("\"x\"", "1"), "{}", wrong, wrong].join(",\n\n");
    let bundle = format!("{{\"resourceType\": \"Bundle\", \"entry\": [\n{entries}]}}");
    world.write("fhir/b.json", &bundle);
    let report = crate::check(&world.source()).to_string();
    let told = "fhir/b.json, lines 2, 10 and 13: column `value` is not a decimal number";
    assert!(report.starts_with(told), "{report}");
}

#[test]
fn a_path_is_names_and_picks_and_nothing_else() {
    for good in ["a", "a.b", "a[0].b", "a[b=c.d].e", "valueQuantity.value"] {
        assert!(path(good).is_some(), "{good}");
    }
    for bad in ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[b=c", "a b", "a[0]b", "a[=c]"]
    {
        assert_eq!(path(bad), None, "{bad}");
    }
}

#[test]
fn holes_of_a_source_and_its_tables_are_named_with_their_line() {
    let holes = |old: &str, new: &str| {
        assert!(CATALOGUE.contains(old), "{old}");
        crate::Catalogue::parse(&CATALOGUE.replacen(old, new, 1))
            .map_or_else(|error| error.0.iter().map(ToString::to_string).collect(), |_| Vec::new())
    };
    let check = |old: &str, new: &str, expected: &[&str]| assert_eq!(holes(old, new), expected);
    check("", "", &[]);
    check(
        "type = \"fhir\"",
        "type = \"fire\"",
        &[
            "catalogue.toml, line 10: source `export` has the unknown type `fire`; the types are csv, fhir, hl7, xml, documents, dicom, postgres, mysql",
        ],
    );
    check(
        "path = \"fhir\"",
        "path = \"../fhir\"",
        &[
            "catalogue.toml, line 11: source `export` needs a setting `path`; it must be a file or folder inside the source folder",
        ],
    );
    check(
        "path = \"fhir\"",
        "port = 1",
        &[
            "catalogue.toml, line 9: source `export` needs a setting `path`; it must be a file or folder inside the source folder",
            "catalogue.toml, line 11: source `export` cannot have `port`; its settings are path",
        ],
    );
    check(
        "from = \"export\"",
        "from = \"import\"",
        &[
            "catalogue.toml, line 9: no table comes from source `export`; name it in a table's `from` or remove it",
            "catalogue.toml, line 14: table `laboratory` comes from `import`, which [sources] does not describe",
        ],
    );
    check(
        "select = \"Observation\"",
        "",
        &[
            "catalogue.toml, line 17: `select` of table `laboratory` must be a type of resource, such as `Observation`",
        ],
    );
    check(
        "path = \"valueQuantity.value\"",
        "path = \"valueQuantity..value\"",
        &[
            "catalogue.toml, line 21: `valueQuantity..value` of table `laboratory` is no path; it must be names with dots between them, each with `[name=value]` or `[0]` after it where it is a list",
        ],
    );
    check(
        "patient = \"patient\"",
        "patient = \"patient\"\nwatermark = \"x\"\nfile = \"y\"",
        &[
            "catalogue.toml, line 18: `watermark` of table `laboratory` has no meaning for a source of type `fhir`; remove it",
            "catalogue.toml, line 19: `file` of table `laboratory` has no meaning for a source of type `fhir`; remove it",
        ],
    );
}

proptest::proptest! {
    #[test]
    fn no_file_makes_reading_panic(content: Vec<u8>, cut in 0..BUNDLE.len(), text: String) {
        let (before, after) = BUNDLE.split_at(BUNDLE.floor_char_boundary(cut));
        let world = world();
        world.write("fhir/b.json", &format!("{before}{text}{after}"));
        std::fs::write(world.source().join("fhir/deeper/a.ndjson"), content).unwrap();
        proptest::prop_assert!(!crate::check(&world.source()).to_string().is_empty());
    }
}
