//! The thirteen questions that the original system answered wrongly or not at all, with the
//! answers that it should have given. Tags `a` and `b` are disjoint, `c` overlaps `a`. Then what
//! happens when a tag grows.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_access::{
    Effect, Part, Policy, Purpose, Purposes, Request, Rule, Scope, Subject, decide,
};
use aegle_model::{Bits, CentreId, Hash, Timestamp, Token, Window};

/// Columns by the tags they carry.
const CELLS: [(&str, &[&str]); 4] = [
    ("only a", &["all", "a"]),
    ("a and c", &["all", "a", "c"]),
    ("only b", &["all", "b"]),
    ("only c", &["all", "c"]),
];

fn token(text: &str) -> Token {
    Token::from_array(Hash::sha256(&[text.as_bytes()]).as_bytes()[..16].try_into().unwrap())
}

/// `ALLOW|DENY tag to grantee [expired|later]`.
fn rule(text: &str) -> Rule {
    let words: Vec<_> = text.split(' ').collect();
    let window = match words.get(4).copied() {
        Some("expired") => Window::new(None, Some(Timestamp(50))),
        Some("later") => Window::new(Some(Timestamp(51)), None),
        _ => Window::new(Some(Timestamp(50)), Some(Timestamp(51))),
    };
    Rule {
        effect: if words[0] == "ALLOW" { Effect::Allow } else { Effect::Deny },
        grantee: token(words[3]),
        scope: Scope::new(vec![token(words[1])]).unwrap(),
        window: window.unwrap(),
        purposes: Purposes::ANY,
    }
}

/// The same when `a` grew at version 2: who joined it before carries it as it was then, too.
const GROWN: [(&str, &[&str]); 2] =
    [("first a", &["all", "a", "a@1", "a@2"]), ("later a", &["all", "a", "a@2"])];

/// Asks at time 50 as user 4 in department 2 of FCRB, who is also everybody at FCRB.
fn granted(
    cells: &[(&'static str, &[&str])],
    rules: &[&str],
    requested: &[&str],
) -> Vec<&'static str> {
    let cells: Vec<_> =
        cells.iter().filter(|(_, tags)| requested.iter().any(|tag| tags.contains(tag))).collect();
    let mut tokens = ["all", "a", "b", "c", "a@1", "a@2"].map(token);
    tokens.sort();
    let set = |tags: &[&str]| -> Bits {
        tags.iter().map(|tag| tokens.binary_search(&token(tag)).unwrap()).collect()
    };
    let sets = cells.iter().map(|(_, tags)| set(tags)).collect();
    let subjects = ["user:4@FCRB", "department:2@FCRB", "staff@FCRB"];
    let request = Request {
        subject: Subject::Professional(subjects.map(token).to_vec()),
        purpose: Purpose::Treatment,
        parts: vec![Part::new(CentreId::from_array([0; 16]), tokens.to_vec(), sets).unwrap()],
    };
    let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
    let decision = decide(&rules, &request, Policy { emergency: true }, Timestamp(50));
    let open = decision.granted[0].iter().map(|position| cells[position].0).collect();
    assert_eq!(decision.permits(), !decision.granted[0].is_empty());
    open
}

fn check(rules: &[&str], requested: &[&str], expected: &[&str]) {
    assert_eq!(granted(&CELLS, rules, requested), expected, "{rules:?} asked for {requested:?}");
}

#[test]
fn when_a_tag_grows_an_older_allow_waits_for_the_patient_and_an_older_deny_does_not() {
    let open = |rules: &[&str]| granted(&GROWN, rules, &["a"]);
    let (older, newer) = ("ALLOW a@1 to user:4@FCRB", "ALLOW a@2 to user:4@FCRB");
    assert_eq!(open(&[older]), ["first a"]);
    assert_eq!(open(&[older, newer]), ["first a", "later a"]);
    assert_eq!(open(&[newer]), ["first a", "later a"]);
    assert_eq!(open(&[older, newer, "DENY a to user:4@FCRB"]), [""; 0]);
    assert_eq!(open(&["ALLOW all to user:4@FCRB", "DENY a to user:4@FCRB"]), [""; 0]);
}

#[test]
fn no_rules_open_nothing() {
    check(&[], &["a"], &[]);
}

#[test]
fn an_allow_opens_its_tag_and_no_other() {
    check(&["ALLOW a to user:4@FCRB"], &["a", "b"], &["only a", "a and c"]);
}

#[test]
fn a_lone_deny_opens_nothing() {
    check(&["DENY b to user:4@FCRB"], &["b"], &[]);
}

#[test]
fn deny_beats_allow_of_the_same_tag() {
    check(&["ALLOW a to user:4@FCRB", "DENY a to user:4@FCRB"], &["a"], &[]);
}

#[test]
fn a_deny_of_another_tag_does_not_open_it() {
    let rules = ["ALLOW a to user:4@FCRB", "DENY b to user:4@FCRB"];
    check(&rules, &["a", "b"], &["only a", "a and c"]);
}

#[test]
fn allowing_twice_does_not_outvote_a_deny() {
    let allow = "ALLOW a to user:4@FCRB";
    check(&[allow, allow, "DENY a to user:4@FCRB"], &["a"], &[]);
}

#[test]
fn a_deny_cuts_a_hole_into_everything() {
    let rules = ["ALLOW all to user:4@FCRB", "DENY b to user:4@FCRB"];
    check(&rules, &["all"], &["only a", "a and c", "only c"]);
}

#[test]
fn a_deny_of_the_department_beats_an_allow_of_the_individual() {
    check(&["ALLOW a to user:4@FCRB", "DENY a to department:2@FCRB"], &["a"], &[]);
}

#[test]
fn a_deny_of_the_individual_reaches_into_an_overlapping_tag() {
    check(&["DENY a to user:4@FCRB", "ALLOW c to department:2@FCRB"], &["c"], &["only c"]);
}

#[test]
fn the_same_department_number_elsewhere_is_another_department() {
    check(&["ALLOW a to department:2@ZMC"], &["a"], &[]);
}

#[test]
fn a_user_number_is_no_department_number() {
    check(&["ALLOW a to department:4@FCRB"], &["a"], &[]);
    check(&["ALLOW a to user:2@FCRB"], &["a"], &[]);
}

#[test]
fn an_expired_allow_opens_nothing() {
    check(&["ALLOW a to user:4@FCRB expired"], &["a"], &[]);
}

#[test]
fn an_allow_that_begins_later_opens_nothing_yet() {
    check(&["ALLOW a to user:4@FCRB later"], &["a"], &[]);
}
