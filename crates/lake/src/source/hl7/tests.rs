use super::*;
use crate::testing::{World, comes_again, shown};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
laboratory = { en = "Laboratory" }
patient_details = { en = "Patient" }

[sources.messages]
type = "hl7"
path = "messages"
zone = "Europe/Amsterdam"

[tables.result]
from = "messages"
select = "ORU^R01/OBX"
where = { "OBX-11" = "F" }
patient = "patnr"
[tables.result.columns]
patnr = { type = "text", path = "PID-3[5=PI].1", key = true }
panel = { type = "text", path = "OBR-4.2", tags = ["laboratory"] }
at    = { type = "time", path = "OBR-7", tags = ["laboratory"] }
code  = { type = "text", path = "OBX-3.1", tags = ["laboratory"] }
value = { type = "decimal", path = "OBX-5", tags = ["laboratory"] }

[tables.person]
from = "messages"
select = "ADT"
patient = "patnr"
[tables.person.columns]
patnr = { type = "text", path = "PID-3[1].1", key = true }
name  = { type = "text", path = "PID-5", tags = ["patient_details"] }
born  = { type = "date", path = "PID-7", tags = ["patient_details"] }
phone = { type = "text", path = "PID-13", tags = ["patient_details"] }
"#;

const ORU: &str = "\x0bMSH|^~\\&|LAB|ZMC|||20240101||ORU^R01^ORU_R01|1|P|2.5\r\
PID|1||99^^^^NI~4711^^^^PI||DOE^JOHN\r\
OBR|1|||1^Blood \\T\\ gas|||20240701100000\r\
OBX|1|NM|718-7^Hb||8.40||||||F\r\
OBX|2|NM|718-7^Hb||\"\"||||||F\r\
OBX|3|NM|6690-2^WBC||1||||||P\r\
OBR|2|||2^Urine|||202407011100+0000\r\
OBX|1|NM|5811-5^SG||1.020||||||F\r\x1c\r";

const ADT: &str = "FHS|^~\\&\n\
MSH|^~\\&|HIS|ZMC|||20240101||ADT^A01|2|P|2.5\nPID|1||4712||ROE^JANE||19800229||||||a\\F\\b~c\\X41\\\nZXX|own\n\
MSH|^~\\&|HIS|ZMC|||20240101||ADT^A08|3|P|2.5\r\nPID|1||4711||M\u{fc}ller\r\nFTS|2\n";

fn world() -> World {
    let world = World::empty();
    world.write("catalogue.toml", CATALOGUE);
    std::fs::create_dir(world.source().join("messages")).unwrap();
    world.write("messages/a.hl7", ORU);
    world.write("messages/b.hl7", ADT);
    world
}

#[test]
fn segments_of_messages_become_rows_with_what_stands_before_them() {
    let world = world();
    let lake = world.open();
    let report = lake.ingest(&world.source()).unwrap();
    assert_eq!((report.patients, report.rows, report.rows_without_patient), (2, 5, 0));
    assert_eq!(
        shown(&lake, "4711"),
        [
            "result: panel at code value",
            r#"["Blood & gas","2024-07-01T10:00:00+02:00","718-7","8.40"]"#,
            r#"["Blood & gas","2024-07-01T10:00:00+02:00","718-7",null]"#,
            r#"["Urine","2024-07-01T11:00:00+00:00","5811-5","1.020"]"#,
            "person: name born phone",
            r#"["Müller",null,null]"#,
        ]
    );
    assert_eq!(shown(&lake, "4712")[1], r#"["ROE","1980-02-29","a|b; cA"]"#);
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    let latin = ADT.replace("|2.5\r\nPID|1||4711", "|2.5||||||8859/1\r\nPID|1||4711");
    let latin: Vec<u8> = latin.chars().map(|sign| u8::try_from(u32::from(sign)).unwrap()).collect();
    std::fs::write(world.source().join("messages/b.hl7"), latin).unwrap();
    lake.ingest(&world.source()).unwrap();
    assert_eq!(shown(&lake, "4711")[5], r#"["Müller",null,null]"#);
}

#[test]
fn what_was_lost_comes_again_from_the_source() {
    comes_again(&world());
}

#[test]
fn what_is_no_message_is_named_with_its_line_and_never_shown() {
    let world = world();
    world.write("messages/c.hl7", "secret\nMSH|^~\\&|\nMSH|||||\nMSH");
    world.write("messages/d.hl7", &ORU.replace("8.40", "secret").replace("~4711", "~4711^^^^PI~5"));
    let text = CATALOGUE.replace("zone = \"Europe/Amsterdam\"\n", "");
    world.write("catalogue.toml", &text.replace("PID-3[5=PI].1", "PID-3.1"));
    let report = crate::check(&world.source()).to_string();
    assert_eq!(
        report.lines().collect::<Vec<_>>(),
        [
            "messages/a.hl7, lines 4, 5 and 8: column `patnr` has more than one value here; narrow its path so that one is left",
            "messages/a.hl7, lines 4 and 5: column `at` holds times without a zone; say in `zone` of the source which it is",
            "messages/a.hl7, lines 4, 5 and 8: the row belongs to no patient",
            "messages/c.hl7, lines 1, 3 and 4: the record is no HL7 v2 message in UTF-8 or ISO 8859-1; the rest of it was not read",
            "messages/d.hl7, line 4: column `value` is not a decimal number of at most 28 digits",
            "messages/d.hl7, lines 4, 5 and 8: column `patnr` has more than one value here; narrow its path so that one is left",
            "messages/d.hl7, lines 4 and 5: column `at` holds times without a zone; say in `zone` of the source which it is",
            "messages/d.hl7, lines 4, 5 and 8: the row belongs to no patient",
            "8 holes; 2 tables and 8 rows read",
        ]
    );
}

#[test]
fn a_path_is_a_segment_and_a_field_and_nothing_else() {
    for good in ["PID-3", "PID-3.1", "PID-3.4.2", "PID-3[2]", "PID-3[2].1", "ZX1-1[5=a.b].1"] {
        assert!(Path::new(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "PID",
        "PID-",
        "PID-0",
        "pid-3",
        "PID-3.",
        "PID-3.1.1.1",
        "PID-3[",
        "PID-3[]",
        "PID-3[0]",
        "PID-3]1",
        "PID-3[1]x",
        "PID-1000",
    ] {
        assert_eq!(Path::new(bad), None, "{bad}");
    }
    for good in ["ADT", "ADT^A01", "ORU^R01/OBX", "ORU/OBX"] {
        assert!(Wanted::new(good).is_some(), "{good}");
    }
    for bad in ["", "adt", "ADT^", "ADT/", "ADT^A01^B", "ADT/OB"] {
        assert_eq!(Wanted::new(bad), None, "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_reading_panic(content: Vec<u8>, cut in 0..ORU.len(), text in "[|^~&\\\\\r\n\u{fc}A-Z0-9]{0,40}") {
        let (before, after) = ORU.split_at(ORU.floor_char_boundary(cut));
        let world = world();
        world.write("messages/a.hl7", &format!("{before}{text}{after}"));
        std::fs::write(world.source().join("messages/b.hl7"), content).unwrap();
        proptest::prop_assert!(!crate::check(&world.source()).to_string().is_empty());
    }
}
