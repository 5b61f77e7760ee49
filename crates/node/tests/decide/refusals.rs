//! Questions that are refused: what is wrong is named, and where it stands.

use super::{QUESTION, aegle, changed, check_refused};

#[test]
fn what_is_unknown_is_named_with_its_place() {
    for (from, to, named) in [
        (
            r#""tag":"treatments""#,
            r#""tag":"operations""#,
            ["`operations`", "`rules[1].scope[0].tag`"],
        ),
        (
            r#"{"centre":"ZMC","tag":"all"}"#,
            r#"{"centre":"ZMX","tag":"all"}"#,
            ["`ZMX`", "`rules[0].scope[0].centre`"],
        ),
        (r#""ZMC":["all"]"#, r#""ZMC":["all","x-rays"]"#, ["`x-rays`", "`request.ZMC[1]`"]),
        (r#""ZMC":["all"]"#, r#""USTAN":["all"]"#, ["`USTAN`", "`request.USTAN`"]),
        (r#""effect":"allow""#, r#""effect":"permit""#, ["`permit`", "`rules[0].effect`"]),
        (r#""purpose":"treatment""#, r#""purpose":"curiosity""#, ["`curiosity`", "`purpose`"]),
        (
            r#""id":"r1","#,
            r#""id":"r1","purposes":["care"],"#,
            ["`care`", "`rules[0].purposes[0]`"],
        ),
        (r#""id":"r1","#, r#""id":"r1","expires":"2027","#, ["`expires`", "`rules[0].expires`"]),
        (
            r#""departments":["1"]"#,
            r#""department":"1""#,
            ["`department`", "`requester.department`"],
        ),
        (r#""department":"#, r#""nurse":"#, ["`nurse`", "`rules[0].grantee`"]),
        (r#"{"tables":"#, r#"{"version":1,"tables":"#, ["`version`", "`catalogues.ZMC.version`"]),
        (r#"{"now":"#, r#"{"explain":true,"now":"#, ["`explain`", "line 1"]),
        (r#""id":"1""#, r#""id":"1","name":"x""#, ["`name`", "`rules[0].grantee.department.name`"]),
    ] {
        check_refused(changed(from, to).as_bytes(), &named);
    }
}

#[test]
fn what_is_empty_missing_or_malformed_is_named_with_its_place() {
    let long = "x".repeat(65);
    let department = format!(r#""departments":["{long}"]"#);
    for (from, to, named) in [
        (r#"[{"centre":"ZMC","tag":"all"}]"#, "[]", ["`r1`", "`rules[0].scope`"]),
        (r#""ZMC":["all"]"#, r#""ZMC":[]"#, ["`ZMC`", "`request.ZMC`"]),
        (r#""id":"r1","#, r#""id":"r1","purposes":[],"#, ["`r1`", "`rules[0].purposes`"]),
        (r#""id":"r1","#, "", ["`id`", "`rules[0]`"]),
        (r#""now":"2026-11-22T12:00:00Z","#, "", ["`now`", "the question"]),
        (r#""id":"r2""#, r#""id":"r1""#, ["`r1`", "`rules[1].id`"]),
        (r#""id":"r2""#, r#""id":2"#, ["`2`", "`rules[1].id`"]),
        ("2026-11-22T12:00:00Z", "yesterday", ["`yesterday`", "`now`"]),
        (r#""departments":["1"]"#, &department, [&long, "`requester.departments[0]`"]),
        (
            r#""departments":["1"]"#,
            r#""departments":["1\u0007"]"#,
            ["control", "`requester.departments[0]`"],
        ),
        (r#""centre":"FCRB","professional""#, r#""professional""#, ["`centre`", "`requester`"]),
        (r#""professional":"207","#, "", ["`professional`", "`requester`"]),
        (
            r#""professional":"207""#,
            r#""professional":"207","patient":true"#,
            ["other fields", "`requester`"],
        ),
        (
            r#""professional":"207""#,
            r#""professional":"207","patient":false"#,
            ["false", "`requester`"],
        ),
        (
            r#"{"centre":"ZMC","tag":"all"}"#,
            r#"["ZMC","all"]"#,
            ["sequence", "`rules[0].scope[0]`"],
        ),
        (r#""effect":"allow""#, r#""effect":{"allow":null}"#, ["map", "`rules[0].effect`"]),
    ] {
        check_refused(changed(from, to).as_bytes(), &named);
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_stands() {
    for (from, to, twice) in [
        (r#"{"now":"#, r#"{"now":"2026-01-01T00:00:00Z","now":"#, "`now`"),
        (r#""use":["#, r#""product":["#, "`product`"),
        (r#"{"medication_use":"#, r#"{"medication_use":{},"medication_use":"#, "`medication_use`"),
        (r#""catalogues":{"#, r#""catalogues":{"ZMC":{"tables":{}},"#, "`ZMC`"),
        (r#""ZMC":["all"]"#, r#""ZMC":["all"],"ZMC":["all"]"#, "`ZMC`"),
        (r#""effect":"allow""#, r#""effect":"deny","effect":"allow""#, "`effect`"),
        (r#""id":"1""#, r#""id":"1","id":"2""#, "`id`"),
    ] {
        check_refused(changed(from, to).as_bytes(), &[twice]);
    }
}

#[test]
fn a_window_that_does_not_begin_before_it_ends_is_refused() {
    for until in ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2025-06-01T00:00:00Z"] {
        let question = changed("2027-01-01T00:00:00Z", until);
        check_refused(question.as_bytes(), &[&format!("`{until}`"), "`rules[0].from`", "`r1`"]);
    }
}

#[test]
fn a_time_is_rfc_3339_and_nothing_looser() {
    for time in [
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T12:00:00",
        "2026-11-22T12:00Z",
        "2026-11-22 12:00:00Z",
        "20261122T120000Z",
        "2026-11-22T12:00:00Z[Europe/Amsterdam]",
        "2026-11-22T12:00:00.Z",
        "2026-11-22T12:00:00,5Z",
        "2026-11-22T12:00:00+01",
        "2026-11-22T12:00:00+0100",
        "2026-11-22T12:00:00+24:00",
        "2026-11-22T12:00:00+01:60",
        "2026-11-22T24:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-11-22T12:00:00é",
        "1969-12-31T23:59:59.9999Z",
        "0000-01-01T00:00:00Z",
    ] {
        let question = changed("2026-11-22T12:00:00Z", time);
        check_refused(question.as_bytes(), &[&format!("`{time}`"), "`now`"]);
    }
}

#[test]
fn what_is_no_json_is_refused_with_line_and_column() {
    for (question, named) in [
        ("", ["line 1", "column 0"]),
        ("[]", ["expected an object", "line 1"]),
        ("{\n\"now\"=1}", ["line 2", "column 6"]),
        (&format!("{QUESTION} x"), ["trailing", "line"]),
        (&QUESTION[..QUESTION.len() / 2], ["EOF", "line"]),
        (&"[".repeat(100_000), ["line 1", "column"]),
    ] {
        check_refused(question.as_bytes(), &named);
    }
}

#[test]
fn what_is_no_text_or_not_there_or_too_long_is_refused() {
    check_refused(b"{\"now\":\"\xff\"}", &["UTF-8", "byte 8"]);
    check_refused(&vec![b' '; (16 << 20) + 1], &["16 MiB"]);
    let missing = aegle(&["decide", "/nowhere/question.json"], b"");
    assert_eq!((missing.status.code(), missing.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("`/nowhere/question.json`"));
}

#[test]
fn more_than_a_request_can_carry_is_refused() {
    let columns = |count: usize, tags: fn(usize) -> String| {
        let columns: Vec<_> = (0..count).map(|at| format!(r#""c{at}":[{}]"#, tags(at))).collect();
        changed(r#""product":["medication"]"#, &columns.join(","))
    };
    let one_tag_each = columns(128, |at| format!(r#""t{at}""#));
    check_refused(one_tag_each.as_bytes(), &["`catalogues.ZMC`", "at most 256 tag tokens"]);
    // Nine tags have more than 256 subsets.
    let subsets = columns(300, |at| {
        let tags = (0..9).filter(|bit| at >> bit & 1 == 1).map(|bit| format!(r#""t{bit}""#));
        tags.collect::<Vec<_>>().join(",")
    });
    check_refused(subsets.as_bytes(), &["`catalogues.ZMC`", "at most 256 cells"]);
}

#[test]
fn an_error_is_one_short_line_without_control_characters() {
    let question = changed(
        r#""purpose":"treatment""#,
        &format!(r#""purpose":"\u001b[31m{}""#, "x".repeat(100_000)),
    );
    let output = aegle(&["decide"], question.as_bytes());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("`purpose`") && message.len() < 2_000);
    assert!(!message.trim_end().contains(char::is_control));
}
