//! Questions that are answered.

use super::{EVERYTHING, GRANTED, NOTHING, QUESTION, aegle, answered, changed, check};

#[test]
fn the_documented_question_has_the_documented_answer() {
    check(QUESTION, GRANTED);
}

#[test]
fn a_question_is_read_from_a_file_too() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decide/question.json");
    assert_eq!(answered(&aegle(&["decide", file], b"")), format!("{GRANTED}\n"));
}

#[test]
fn an_explanation_names_the_rules_for_every_requested_column() {
    let question = changed(r#""request":{"ZMC":["all"]}"#, r#""request":{"ZMC":["treatments"]}"#);
    let reason = r#"{"open":false,"opened_by":["r1"],"closed_by":["r2"]}"#;
    let expected = format!(
        r#"{{"decision":"deny","granted":{{}},"explanation":{{"ZMC":{{"medication_use":{{"reason":{reason}}}}}}}}}"#
    );
    assert_eq!(
        answered(&aegle(&["decide", "--explain"], question.as_bytes())),
        format!("{expected}\n")
    );
}

#[test]
fn the_patient_and_the_broken_glass_see_everything() {
    check(&changed(r#""purpose":"treatment""#, r#""purpose":"emergency""#), EVERYTHING);
    let requester = r#"{"centre":"FCRB","professional":"207","departments":["1"]}"#;
    check(&changed(requester, r#"{"patient":true}"#), EVERYTHING);
}

#[test]
fn a_window_is_half_open() {
    for (now, expected) in [
        ("2025-12-31T23:59:59.999Z", NOTHING),
        ("2026-01-01T00:00:00Z", GRANTED),
        ("2026-01-01t01:00:00+01:00", GRANTED),
        ("2026-12-31T23:59:59.999999Z", GRANTED),
        ("2027-01-01T00:00:00Z", NOTHING),
    ] {
        check(&changed("2026-11-22T12:00:00Z", now), expected);
    }
}

#[test]
fn a_rule_for_a_purpose_is_for_that_purpose_only() {
    let restricted =
        |purposes| changed(r#""id":"r1","#, &format!(r#""id":"r1","purposes":{purposes},"#));
    check(&restricted(r#"["research","treatment"]"#), GRANTED);
    check(&restricted(r#"["research"]"#), NOTHING);
    check(&changed(r#""purpose":"treatment","#, ""), GRANTED);
    check(&changed(r#""purpose":"treatment""#, r#""purpose":"administration""#), GRANTED);
}

#[test]
fn a_rule_that_stands_twice_counts_once() {
    let rules = QUESTION.split_once(r#""rules":["#).unwrap();
    let first = rules.1.split_once("{\"id\":\"r2\"").unwrap().0;
    check(&format!(r#"{}"rules":[{first}{}"#, rules.0, rules.1), GRANTED);
}

#[test]
fn a_centre_or_table_with_nothing_granted_is_left_out() {
    let more = r#"{"tables":{"empty":{},"medication_use":"#;
    let more = changed(r#"{"tables":{"medication_use":"#, more);
    let catalogues = r#""catalogues":{"AAA":{"tables":{}},"#;
    let more = more.replace(r#""catalogues":{"#, catalogues);
    let more = more.replace(r#""request":{"#, r#""request":{"AAA":["all"],"#);
    check(&more, GRANTED);
}

/// One hospital with columns of tags `a` and `b` and of `c`, which overlaps `a`.
fn vector(rules: &str, requested: &str) -> String {
    format!(
        r#"{{"now":"2026-11-22T12:00:00Z",
        "catalogues":{{"H":{{"tables":{{"t":{{"a":["a"],"ac":["a","c"],"b":["b"],"c":["c"]}}}}}}}},
        "requester":{{"centre":"FCRB","professional":"4","departments":["2"]}},
        "request":{{"H":{requested}}},"rules":[{rules}]}}"#
    )
}

/// `allow|deny tag kind:id@centre [fields]`
fn rule(text: &str) -> String {
    let words: Vec<_> = text.splitn(4, ' ').collect();
    let (kind, id) = words[2].split_once(':').unwrap();
    let (id, centre) = id.split_once('@').unwrap();
    let (effect, tag, more) = (words[0], words[1], words.get(3).unwrap_or(&""));
    format!(
        r#"{{"id":"{text}","effect":"{effect}","grantee":{{"{kind}":{{"centre":"{centre}","id":"{id}"}}}},
        "scope":[{{"centre":"H","tag":"{tag}"}}]{more}}}"#,
        text = text.replace('"', "'")
    )
}

#[test]
fn the_thirteen_vectors_are_answered_as_they_must_be() {
    let vectors: [(&[&str], &str, &[&str]); 13] = [
        (&[], r#"["a"]"#, &[]),
        (&["allow a professional:4@FCRB"], r#"["a","b"]"#, &["a", "ac"]),
        (&["deny b professional:4@FCRB"], r#"["b"]"#, &[]),
        (&["allow a professional:4@FCRB", "deny a professional:4@FCRB"], r#"["a"]"#, &[]),
        (
            &["allow a professional:4@FCRB", "deny b professional:4@FCRB"],
            r#"["a","b"]"#,
            &["a", "ac"],
        ),
        (
            &[
                "allow a professional:4@FCRB",
                "allow a professional:4@FCRB",
                "deny a professional:4@FCRB",
            ],
            r#"["a"]"#,
            &[],
        ),
        (
            &["allow all professional:4@FCRB", "deny b professional:4@FCRB"],
            r#"["all"]"#,
            &["a", "ac", "c"],
        ),
        (&["allow a professional:4@FCRB", "deny a department:2@FCRB"], r#"["a"]"#, &[]),
        (&["deny a professional:4@FCRB", "allow c department:2@FCRB"], r#"["c"]"#, &["c"]),
        (&["allow a department:2@ZMC"], r#"["a"]"#, &[]),
        (&["allow a professional:2@FCRB"], r#"["a"]"#, &[]),
        (&[r#"allow a professional:4@FCRB ,"until":"2026-11-22T12:00:00Z""#], r#"["a"]"#, &[]),
        (&[r#"allow a professional:4@FCRB ,"from":"2026-11-22T12:00:00.001Z""#], r#"["a"]"#, &[]),
    ];
    for (rules, requested, columns) in vectors {
        let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
        let expected = match columns {
            [] => NOTHING.to_owned(),
            columns => format!(
                r#"{{"decision":"permit","granted":{{"H":{{"t":["{}"]}}}}}}"#,
                columns.join(r#"",""#)
            ),
        };
        check(&vector(&rules.join(","), requested), &expected);
    }
}
