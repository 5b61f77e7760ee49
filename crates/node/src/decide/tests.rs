//! The whole way of a question against a plain reading of the rules.

use super::answer;
use aegle_model::RecordKey;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;

const CENTRES: [&str; 3] = ["Y", "X", "Z"];
const TAGS: [&str; 5] = ["all", "a", "b", "c", "d"];
const PURPOSES: [&str; 4] = ["treatment", "emergency", "research", "administration"];
const KINDS: [&str; 3] = ["professional", "department", "organisation"];

type Set = BTreeSet<usize>;

/// A grantee or requester in numbers: kind, centre, id.
type Person = (usize, usize, usize);

#[derive(Debug, Clone)]
struct Rule {
    allow: bool,
    grantee: Person,
    /// Centre and tag.
    scope: Vec<(usize, usize)>,
    /// Hours of a day; it is noon.
    from: Option<u8>,
    until: Option<u8>,
    purposes: Option<Set>,
}

#[derive(Debug, Clone)]
struct World {
    /// Centres X and Y, their tables, their columns, their tags.
    catalogues: Vec<Vec<Vec<Set>>>,
    patient: bool,
    centre: usize,
    id: usize,
    departments: Set,
    purpose: Option<usize>,
    request: Vec<(usize, Set)>,
    rules: Vec<Rule>,
}

/// Mostly the first centre, so that rules and requesters meet.
fn centre() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 1 => 1..3_usize]
}

fn rule() -> impl Strategy<Value = Rule> {
    let scope = vec((0..2_usize, 0..TAGS.len()), 1..4);
    let window = (option::of(0..=12_u8), option::of(12..24_u8), prop::bool::weighted(0.2));
    let purposes = option::weighted(0.2, btree_set(0..4_usize, 1..3));
    let grantee = (0..3_usize, centre(), 0..2_usize);
    (prop::bool::weighted(0.6), grantee, scope, window, purposes).prop_map(
        |(allow, grantee, scope, (from, until, shifted), purposes)| {
            let (from, until) = if shifted { (until, None) } else { (from, until) };
            let until = until.filter(|until| from.is_none_or(|from| from < *until));
            Rule { allow, grantee, scope, from, until, purposes }
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    let columns = vec(btree_set(0..TAGS.len(), 0..4), 0..5);
    let catalogues = vec(vec(columns, 0..3), 2..=2);
    let requester = (prop::bool::weighted(0.05), centre(), 0..2_usize, btree_set(0..2_usize, 0..3));
    let wish = || option::weighted(0.8, btree_set(0..TAGS.len(), 1..3));
    let request = (wish(), wish());
    let purpose = option::weighted(0.2, 0..4_usize);
    (catalogues, requester, purpose, request, vec(rule(), 0..10)).prop_map(
        |(catalogues, (patient, centre, id, departments), purpose, (one, two), rules)| {
            let request = one.map(|tags| (0, tags)).into_iter().chain(two.map(|tags| (1, tags)));
            let request = request.collect();
            let world =
                World { catalogues, patient, centre, id, departments, purpose, request, rules };
            world.without_unknown_tags()
        },
    )
}

impl World {
    /// Tags that no column carries are errors, and tested as such elsewhere.
    fn without_unknown_tags(mut self) -> Self {
        let carried = |centre: usize, tag: usize| {
            tag == 0 || self.catalogues[centre].iter().flatten().any(|tags| tags.contains(&tag))
        };
        for rule in &mut self.rules {
            rule.scope.retain(|(centre, tag)| carried(*centre, *tag));
        }
        for (centre, tags) in &mut self.request {
            tags.retain(|tag| carried(*centre, *tag));
        }
        self.rules.retain(|rule| !rule.scope.is_empty());
        self.request.retain(|(_, tags)| !tags.is_empty());
        self
    }

    fn speaks_to_requester(&self, rule: &Rule) -> bool {
        let (kind, centre, id) = rule.grantee;
        let person = [id == self.id, self.departments.contains(&id), true][kind];
        let purposes = rule.purposes.as_ref();
        centre == self.centre
            && person
            && rule.from.is_none_or(|from| from <= 12)
            && rule.until.is_none_or(|until| 12 < until)
            && purposes.is_none_or(|named| named.contains(&self.purpose.unwrap_or(0)))
    }

    fn open(&self, centre: usize, tags: &Set) -> bool {
        let covers = |rule: &Rule| {
            rule.scope.iter().any(|(at, tag)| *at == centre && (*tag == 0 || tags.contains(tag)))
        };
        let covering =
            || self.rules.iter().filter(|rule| self.speaks_to_requester(rule) && covers(rule));
        let glass = self.patient || self.purpose == Some(1);
        glass || covering().any(|rule| rule.allow) && covering().all(|rule| rule.allow)
    }

    fn requested(&self, centre: usize, tags: &Set) -> bool {
        let wish = self.request.iter().filter(|(at, _)| *at == centre);
        wish.flat_map(|(_, wanted)| wanted).any(|tag| *tag == 0 || tags.contains(tag))
    }

    /// The answer that a plain reading gives, without tokens, cells or sets of positions.
    fn expected(&self) -> String {
        let centres = self.catalogues.iter().enumerate().filter_map(|(centre, tables)| {
            let tables = tables.iter().enumerate().filter_map(|(table, columns)| {
                let granted = |tags: &Set| self.requested(centre, tags) && self.open(centre, tags);
                let columns = columns.iter().enumerate().filter(|(_, tags)| granted(tags));
                let columns: Vec<_> =
                    columns.map(|(column, _)| text(&column_name(column))).collect();
                (!columns.is_empty()).then(|| (table_name(table), list(columns)))
            });
            let tables: Vec<_> = tables.collect();
            (!tables.is_empty()).then(|| (CENTRES[centre].to_owned(), object(tables)))
        });
        let granted = object(centres);
        let decision = if granted == "{}" { "deny" } else { "permit" };
        format!(r#"{{"decision":"{decision}","granted":{granted}}}"#)
    }

    fn json(&self) -> String {
        let names = |tags: &Set| list(tags.iter().map(|tag| text(TAGS[*tag])));
        let columns = |columns: &Vec<Set>| {
            object(columns.iter().enumerate().map(|(at, tags)| (column_name(at), names(tags))))
        };
        let catalogues = self.catalogues.iter().enumerate().map(|(centre, tables)| {
            let tables =
                tables.iter().enumerate().map(|(at, table)| (table_name(at), columns(table)));
            (CENTRES[centre].to_owned(), object([("tables".to_owned(), object(tables))]))
        });
        let request =
            self.request.iter().map(|(centre, tags)| (CENTRES[*centre].to_owned(), names(tags)));
        let mut fields = vec![
            ("now".to_owned(), text("2026-11-22T12:00:00Z")),
            ("catalogues".to_owned(), object(catalogues)),
            ("requester".to_owned(), self.requester()),
            ("request".to_owned(), object(request)),
            (
                "rules".to_owned(),
                list(self.rules.iter().enumerate().map(|(at, rule)| rule.json(at))),
            ),
        ];
        fields.extend(self.purpose.map(|purpose| ("purpose".to_owned(), text(PURPOSES[purpose]))));
        object(fields)
    }

    fn requester(&self) -> String {
        if self.patient {
            return r#"{"patient":true}"#.to_owned();
        }
        let departments = list(self.departments.iter().map(|id| text(&id.to_string())));
        let (centre, id) = (CENTRES[self.centre], self.id);
        format!(r#"{{"centre":"{centre}","professional":"{id}","departments":{departments}}}"#)
    }
}

impl Rule {
    fn json(&self, at: usize) -> String {
        let (kind, centre, id) = self.grantee;
        let number = if kind == 2 { String::new() } else { format!(r#","id":"{id}""#) };
        let grantee =
            format!(r#"{{"{}":{{"centre":"{}"{number}}}}}"#, KINDS[kind], CENTRES[centre]);
        let scoped = |(centre, tag): &(usize, usize)| {
            format!(r#"{{"centre":"{}","tag":"{}"}}"#, CENTRES[*centre], TAGS[*tag])
        };
        let hour = |hour: u8| text(&format!("2026-11-22T{hour:02}:00:00Z"));
        let purposes = |named: &Set| list(named.iter().map(|purpose| text(PURPOSES[*purpose])));
        let mut fields = vec![
            ("id".to_owned(), text(&format!("r{at}"))),
            ("effect".to_owned(), text(if self.allow { "allow" } else { "deny" })),
            ("grantee".to_owned(), grantee),
            ("scope".to_owned(), list(self.scope.iter().map(scoped))),
        ];
        fields.extend(self.from.map(|from| ("from".to_owned(), hour(from))));
        fields.extend(self.until.map(|until| ("until".to_owned(), hour(until))));
        fields.extend(self.purposes.as_ref().map(|named| ("purposes".to_owned(), purposes(named))));
        object(fields)
    }
}

/// Names whose alphabetical order is not the order in which they stand.
fn column_name(at: usize) -> String {
    format!("column{}", 9 - at)
}

fn table_name(at: usize) -> String {
    format!("table{}", 9 - at)
}

fn text(text: &str) -> String {
    format!("\"{text}\"")
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

fn object(entries: impl IntoIterator<Item = (String, String)>) -> String {
    let entries = entries.into_iter().map(|(key, value)| format!(r#""{key}":{value}"#));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

fn ask(json: &str, key: [u8; 32]) -> String {
    answer(json, false, &RecordKey::from_array(key))
        .unwrap_or_else(|error| panic!("{error}: {json}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn blinded_under_any_key_and_plain_give_the_same_answer(world in world(), key: [u8; 32]) {
        prop_assert_eq!(ask(&world.json(), key), world.expected());
    }

    #[test]
    fn order_and_duplicates_of_rules_never_matter(
        world in world(),
        places in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut shuffled = world.clone();
        shuffled.rules.reverse();
        for place in places.iter().filter(|_| !world.rules.is_empty()) {
            let rule = world.rules[place.index(world.rules.len())].clone();
            shuffled.rules.insert(place.index(shuffled.rules.len() + 1), rule);
        }
        prop_assert_eq!(ask(&shuffled.json(), [1; 32]), ask(&world.json(), [2; 32]));
    }

    #[test]
    fn an_explanation_covers_exactly_the_requested_columns(world in world()) {
        let json = answer(&world.json(), true, &RecordKey::from_array([1; 32])).unwrap();
        let explained: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (centre, tables) in world.catalogues.iter().enumerate() {
            for (table, columns) in tables.iter().enumerate() {
                for (column, tags) in columns.iter().enumerate() {
                    let place = &explained["explanation"][CENTRES[centre]];
                    let open = &place[table_name(table)][column_name(column)]["open"];
                    let requested = world.requested(centre, tags);
                    prop_assert_eq!(open.as_bool(), requested.then(|| world.open(centre, tags)));
                }
            }
        }
    }

    #[test]
    fn damaged_questions_are_answered_or_refused(
        world in world(),
        cut: prop::sample::Index,
        length in 0..12_usize,
        patch in r#"["{}\[\]:,0-9a-zé\u{0}\\ ]{0,8}"#,
    ) {
        let mut signs: Vec<char> = world.json().chars().collect();
        let from = cut.index(signs.len());
        let to = (from + length).min(signs.len());
        signs.splice(from..to, patch.chars());
        let damaged = String::from_iter(signs);
        if let Err(error) = answer(&damaged, true, &RecordKey::from_array([1; 32])) {
            prop_assert!(!super::error::report(&error).contains(char::is_control));
        }
    }
}
