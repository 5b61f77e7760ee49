//! The laws of access, on random rules and requests.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_access::{Effect, Part, Policy, Purpose, Request, Rule, Scope, Subject, decide, explain};
use aegle_model::{Bits, CentreId, Timestamp, Token, Window};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(50);
const POLICY: Policy = Policy { emergency: true };
const TOKENS: u8 = 12;

fn token(number: u8) -> Token {
    Token::from_array([number; 16])
}

fn rule() -> impl Strategy<Value = Rule> {
    let effect = prop_oneof![Just(Effect::Allow), Just(Effect::Deny)];
    let scope = proptest::collection::vec(0..TOKENS, 1..4);
    let window = (proptest::option::of(0..50_u64), proptest::option::of(51..99_u64), any::<bool>());
    (effect, 100..104_u8, scope, window, proptest::collection::vec(0..4_usize, 0..2)).prop_map(
        |(effect, grantee, scope, (from, until, live), purposes)| {
            let shift = if live { 0 } else { 100 };
            let at = |time: Option<u64>| time.map(|time| Timestamp(time + shift));
            Rule {
                effect,
                grantee: token(grantee),
                scope: Scope::new(scope.into_iter().map(token).collect()).unwrap(),
                window: Window::new(at(from), at(until)).unwrap(),
                purposes: purposes.into_iter().map(|index| Purpose::ALL[index]).collect(),
            }
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 0..12)
}

fn request() -> impl Strategy<Value = Request> {
    let cells = proptest::collection::vec(
        proptest::collection::btree_set(0..usize::from(TOKENS), 0..4),
        0..10,
    );
    (cells, proptest::collection::vec(100..104_u8, 0..3), 0..4_usize).prop_map(
        |(cells, subjects, purpose)| {
            let cells = cells.into_iter().map(|cell| cell.into_iter().collect::<Bits>()).collect();
            let tokens = (0..TOKENS).map(token).collect();
            Request {
                subject: Subject::Professional(subjects.into_iter().map(token).collect()),
                purpose: Purpose::ALL[purpose],
                parts: vec![Part::new(CentreId::from_array([0; 16]), tokens, cells).unwrap()],
            }
        },
    )
}

fn open(rules: &[Rule], request: &Request) -> Bits {
    decide(rules, request, POLICY, NOW).granted[0]
}

fn within(small: &Bits, large: &Bits) -> bool {
    small.iter().all(|position| large.contains(position))
}

/// The token of a tag at any version, and as it was at one: those of a cell that joined at `joined`.
fn carried(joined: u8) -> Bits {
    (0..TOKENS).filter(|version| *version == 0 || *version >= joined).map(usize::from).collect()
}

/// A request of subject 100 for cells that joined one tag at these versions.
fn grown(joined: &[u8]) -> Request {
    let tokens = (0..TOKENS).map(token).collect();
    let cells = joined.iter().map(|joined| carried(*joined)).collect();
    Request {
        subject: Subject::Professional(vec![token(100)]),
        purpose: Purpose::Treatment,
        parts: vec![Part::new(CentreId::from_array([0; 16]), tokens, cells).unwrap()],
    }
}

/// A rule that names the tag at version `version`, or at any version when that is 0.
fn about(effect: Effect, version: u8) -> Rule {
    Rule {
        effect,
        grantee: token(100),
        scope: Scope::new(vec![token(version)]).unwrap(),
        window: Window::new(None, None).unwrap(),
        purposes: std::iter::empty().collect(),
    }
}

proptest! {
    #[test]
    fn when_a_tag_grows_an_older_allow_does_not_reach_what_joined_later(
        joined in proptest::collection::vec(1..TOKENS, 1..8), agreed in 1..TOKENS, confirmed in 1..TOKENS,
    ) {
        let reached = |version: u8| -> Bits {
            (0..joined.len()).filter(|cell| joined[*cell] <= version).collect()
        };
        let request = grown(&joined);
        let allow = about(Effect::Allow, agreed);
        prop_assert_eq!(open(std::slice::from_ref(&allow), &request), reached(agreed));
        // Until the patient confirms: then it reaches what had joined by the later of the two.
        let confirmed_allow = about(Effect::Allow, confirmed);
        let both = open(&[allow, confirmed_allow], &request);
        prop_assert_eq!(both, reached(agreed.max(confirmed)));
    }

    #[test]
    fn when_a_tag_grows_an_older_deny_reaches_what_joined_later(
        joined in proptest::collection::vec(1..TOKENS, 1..8), rules in rules(), allowed in 1..TOKENS,
    ) {
        let request = grown(&joined);
        let deny = about(Effect::Deny, 0);
        let more = [rules, vec![about(Effect::Allow, allowed), deny]].concat();
        prop_assert!(open(&more, &request).is_empty());
    }

    #[test]
    fn order_and_duplicates_never_matter(rules in rules(), request in request(), seed: prop::sample::Index) {
        let mut shuffled = rules.clone();
        shuffled.reverse();
        if !rules.is_empty() {
            shuffled.push(rules[seed.index(rules.len())].clone());
            shuffled.rotate_left(seed.index(rules.len()));
        }
        prop_assert_eq!(open(&rules, &request), open(&shuffled, &request));
    }

    #[test]
    fn adding_a_deny_never_opens(rules in rules(), deny in rule(), request in request()) {
        let more = [rules.clone(), vec![Rule { effect: Effect::Deny, ..deny }]].concat();
        prop_assert!(within(&open(&more, &request), &open(&rules, &request)));
    }

    #[test]
    fn adding_an_allow_never_closes(rules in rules(), allow in rule(), request in request()) {
        let more = [rules.clone(), vec![Rule { effect: Effect::Allow, ..allow }]].concat();
        prop_assert!(within(&open(&rules, &request), &open(&more, &request)));
    }

    #[test]
    fn nothing_is_open_without_a_live_allow(rules in rules(), request in request()) {
        prop_assume!(request.purpose != Purpose::Emergency);
        let lifeless: Vec<Rule> = rules
            .into_iter()
            .filter(|rule| rule.effect == Effect::Deny || !rule.window.contains(NOW))
            .collect();
        prop_assert!(open(&lifeless, &request).is_empty());
    }

    #[test]
    fn no_open_cell_carries_a_denied_tag(rules in rules(), request in request()) {
        prop_assume!(request.purpose != Purpose::Emergency);
        let Subject::Professional(subjects) = &request.subject else { unreachable!() };
        let granted = open(&rules, &request);
        let part = &request.parts[0];
        for deny in rules.iter().filter(|rule| rule.effect == Effect::Deny && rule.applies(subjects, request.purpose, NOW)) {
            for cell in granted.iter() {
                let carried = part.cells()[cell].iter().map(|position| part.tokens()[position]);
                prop_assert!(carried.into_iter().all(|token| !deny.scope.tokens().contains(&token)));
            }
        }
    }

    #[test]
    fn an_explanation_agrees_with_the_decision(rules in rules(), request in request()) {
        let named: Vec<_> = rules.iter().enumerate().collect();
        let granted = open(&rules, &request);
        for (position, cell) in explain(&named, &request, POLICY, NOW)[0].iter().enumerate() {
            prop_assert_eq!(cell.open, granted.contains(position));
            if request.purpose != Purpose::Emergency {
                prop_assert_eq!(cell.open, !cell.opened_by.is_empty() && cell.closed_by.is_empty());
            }
        }
    }

    #[test]
    fn the_patient_and_the_broken_glass_see_everything(rules in rules(), mut request in request()) {
        let all = Bits::first(request.parts[0].cells().len()).unwrap();
        request.purpose = Purpose::Emergency;
        prop_assert_eq!(open(&rules, &request), all);
        let closed = Policy { emergency: false };
        prop_assert!(within(&decide(&rules, &request, closed, NOW).granted[0], &all));
        request = Request { subject: Subject::Patient, purpose: Purpose::Treatment, ..request };
        prop_assert_eq!(open(&rules, &request), all);
    }

    #[test]
    fn rules_and_requests_read_back_from_their_bytes(rule in rule(), request in request()) {
        prop_assert_eq!(&borsh::from_slice::<Rule>(&borsh::to_vec(&rule).unwrap()).unwrap(), &rule);
        prop_assert_eq!(&borsh::from_slice::<Request>(&borsh::to_vec(&request).unwrap()).unwrap(), &request);
    }
}
