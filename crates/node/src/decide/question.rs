//! The question as it is meant: names resolved, tags known, windows in order.

use super::catalogue::{Centres, VERSION, centre_id};
use super::error::{DecideError, Wrong};
use super::input::{self, Input, Text, Time};
use super::ordered::{Object, Ordered};
use aegle_access::{Purpose, Purposes, RuleError, Scope};
use aegle_ledger::{OpenedRequest, OpenedRule, ScopedTag, Wish};
use aegle_model::{Grantee, NetworkId, PatientId, RequestId, Requester, Timestamp, Window};
use std::collections::BTreeMap;

/// A question that can be answered.
pub(super) struct Question {
    pub(super) now: Timestamp,
    pub(super) centres: Centres,
    /// Wishes for centres with at least one column.
    pub(super) opened: OpenedRequest,
    /// In the order of the input, each id once.
    pub(super) rules: Vec<(String, OpenedRule)>,
}

impl Question {
    /// Resolves what was written; the first thing that makes no sense is an error.
    pub(super) fn new(input: Input) -> Result<Self, DecideError> {
        let centres = Centres::new(input.catalogues)?;
        let opened = OpenedRequest {
            network: NetworkId::from_array([0; 16]),
            request: RequestId::from_array([0; 16]),
            patient: PatientId::from_array([0; 16]),
            requester: requester(input.requester.0)?,
            purpose: input.purpose.map_or(Purpose::Treatment, |word| word.0),
            reason: None,
            wishes: wishes(&centres, input.request)?,
            recipient: [0; 65],
            asked: input.now.at,
        };
        let rules = rules(&centres, input.rules)?;
        Ok(Self { now: input.now.at, centres, opened, rules })
    }
}

fn requester(written: input::Requester) -> Result<Requester, DecideError> {
    let wrong = |what| {
        let why = Wrong::Requester(what);
        Err(DecideError::Value { place: "requester".to_owned(), why })
    };
    let input::Requester { patient, centre, professional, departments } = written;
    match (patient, centre, professional, departments) {
        (Some(true), None, None, None) => Ok(Requester::Patient),
        (Some(true), ..) => wrong("`\"patient\":true` stands beside other fields"),
        (Some(false), ..) => wrong("`\"patient\":false` means nothing, leave it out"),
        (None, Some(centre), Some(id), departments) => Ok(Requester::Professional {
            centre: centre_id(&centre.0),
            id: id.0,
            departments: departments.unwrap_or_default().into_iter().map(|text| text.0).collect(),
        }),
        (None, None, ..) => wrong("`centre` is missing"),
        (None, _, None, _) => wrong("`professional` is missing"),
    }
}

fn wishes(centres: &Centres, request: Ordered<Text, Vec<Text>>) -> Result<Vec<Wish>, DecideError> {
    let mut wishes = Vec::new();
    for (code, tags) in request.0 {
        let place = || format!("request.{code}");
        let centre = centres.find(&code.0, place)?;
        if tags.is_empty() {
            let why = Wrong::EmptyRequest(code.0.clone());
            return Err(DecideError::Value { place: place(), why });
        }
        let tags = tags.into_iter().enumerate();
        let tags = tags.map(|(at, tag)| centre.tag(tag, || format!("request.{code}[{at}]")));
        let wish = Wish { centre: centre.id, tags: tags.collect::<Result<_, _>>()? };
        // A centre without columns has no cells, not even for `all`.
        if !centre.vocabulary.cells.is_empty() {
            wishes.push(wish);
        }
    }
    wishes.sort_by_key(|wish| wish.centre);
    Ok(wishes)
}

fn rules(
    centres: &Centres,
    written: Vec<Object<input::Rule>>,
) -> Result<Vec<(String, OpenedRule)>, DecideError> {
    let mut rules: Vec<(String, OpenedRule)> = Vec::with_capacity(written.len());
    let mut by_id = BTreeMap::new();
    for (at, Object(written)) in written.into_iter().enumerate() {
        let id = written.id.clone();
        let rule = rule(centres, at, written)?;
        let position = *by_id.entry(id.clone()).or_insert(rules.len());
        if position == rules.len() {
            rules.push((id, rule));
        } else if rules[position].1 != rule {
            return Err(wrong(at, ".id", Wrong::RuleId(id)));
        }
    }
    Ok(rules)
}

fn rule(centres: &Centres, at: usize, written: input::Rule) -> Result<OpenedRule, DecideError> {
    let input::Rule { id, effect, grantee, scope, from, until, purposes } = written;
    let purposes = match purposes {
        None => Purposes::ANY,
        Some(named) if named.is_empty() => {
            return Err(wrong(at, ".purposes", Wrong::NoPurpose(id)));
        }
        Some(named) => named.into_iter().map(|word| word.0).collect(),
    };
    Ok(OpenedRule {
        effect: effect.0,
        grantee: resolve(grantee),
        scope: tags(centres, at, &id, scope)?,
        window: window(at, &id, from, until)?,
        purposes,
    })
}

fn resolve(grantee: input::Grantee) -> Grantee {
    use input::Grantee as Written;
    match grantee {
        Written::Professional(Object(member)) => {
            Grantee::Professional { centre: centre_id(&member.centre.0), id: member.id.0 }
        }
        Written::Department(Object(member)) => {
            Grantee::Department { centre: centre_id(&member.centre.0), id: member.id.0 }
        }
        Written::Organisation(Object(organisation)) => {
            Grantee::Organisation { centre: centre_id(&organisation.centre.0) }
        }
    }
}

/// The scope sorted, each tag once, so that a rule written twice is the same rule.
fn tags(
    centres: &Centres,
    at: usize,
    id: &str,
    scope: Vec<Object<input::Scoped>>,
) -> Result<Vec<ScopedTag>, DecideError> {
    let mut tags = BTreeMap::new();
    for (position, Object(input::Scoped { centre, tag })) in scope.into_iter().enumerate() {
        let place = |field| move || format!("rules[{at}].scope[{position}].{field}");
        let centre = centres.find(&centre.0, place("centre"))?;
        tags.insert((centre.id, centre.tag(tag, place("tag"))?), VERSION);
    }
    let wide = match tags.len() {
        0 => return Err(wrong(at, ".scope", Wrong::EmptyScope(id.to_owned()))),
        count => (count > Scope::MAX).then_some(RuleError::WideScope(count)),
    };
    if let Some(error) = wide {
        return Err(wrong(at, ".scope", Wrong::WideScope(id.to_owned(), error)));
    }
    let scoped = |((centre, tag), version)| ScopedTag { centre, tag, version };
    Ok(tags.into_iter().map(scoped).collect())
}

fn window(
    at: usize,
    id: &str,
    from: Option<Time>,
    until: Option<Time>,
) -> Result<Window, DecideError> {
    let instant = |time: &Option<Time>| time.as_ref().map(|time| time.at);
    Window::new(instant(&from), instant(&until)).map_err(|_| {
        let text = |time: Option<Time>| time.map(|time| time.text).unwrap_or_default();
        let (id, from, until) = (id.to_owned(), text(from), text(until));
        wrong(at, ".from", Wrong::Window { id, from, until })
    })
}

fn wrong(at: usize, field: &str, why: Wrong) -> DecideError {
    DecideError::Value { place: format!("rules[{at}]{field}"), why }
}
