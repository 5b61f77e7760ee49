//! What stands after any walk of grants, revocations and returns, against a model that keeps every
//! state.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use aegle_access::{Effect, Purpose, Purposes, Rule, Scope};
use aegle_ledger::fixture::{Network, bytes, name, vocabulary};
use aegle_ledger::*;
use aegle_model::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};

const GUARDIAN: usize = 0;
const REQUESTER: usize = 1;
const MINE: PatientId = PatientId::from_array([7; 16]);
const OTHERS: PatientId = PatientId::from_array([8; 16]);

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Grant(Effect, usize),
    /// Any rule there ever was, in force or not.
    Revoke(Index),
    /// Any height there was.
    Restore(Index),
    /// The last change again, as a client does that heard nothing.
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    let effect = prop_oneof![2 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    prop_oneof![
        4 => (effect, 0..3_usize).prop_map(|(effect, tag)| Step::Grant(effect, tag)),
        2 => any::<Index>().prop_map(Step::Revoke),
        2 => any::<Index>().prop_map(Step::Restore),
        1 => Just(Step::Again),
    ]
}

fn key() -> RecordKey {
    RecordKey::from_array([9; 32])
}

fn rule(network: &Network, effect: Effect, tag: usize, window: Window) -> Rule {
    let (centre, tag) = (network.id(GUARDIAN), name(["all", "medication", "treatments"][tag]));
    let token = match effect {
        Effect::Allow => key().tag_at(centre, &tag, 1),
        Effect::Deny => key().tag(centre, &tag),
    };
    let grantee = Grantee::Organisation { centre: network.id(REQUESTER) };
    Rule {
        effect,
        grantee: key().grantee(&grantee),
        scope: Scope::new(vec![token]).unwrap(),
        window,
        purposes: Purposes::ANY,
    }
}

fn grant(network: &Network, effect: Effect, tag: usize) -> Body {
    let rule = rule(network, effect, tag, Window::ALWAYS);
    Body::Grant(Grant { patient: MINE, rule, sealed: vec![1; 80] })
}

/// The rules that stood after block `height`, as anybody reads them from the state now.
fn standing(network: &Network, patient: PatientId, height: u64) -> BTreeSet<RuleId> {
    let record: PatientRecord = network.record(keys::patient(patient)).unwrap();
    let returns: Returns = network.record(keys::returns(patient)).unwrap_or_default();
    let counted = returns.counted(height);
    let page = |page| network.record::<RulePage>(keys::rules(patient, page)).unwrap();
    let kept = (0..record.pages).flat_map(|number| page(number).0);
    kept.filter(|rule| rule.stands(&counted)).map(|rule| rule.id).collect()
}

/// A professional's request.
fn opened(network: &Network, number: u64) -> OpenedRequest {
    OpenedRequest {
        network: network.genesis.network(),
        request: RequestId::from_array(bytes(number)),
        patient: MINE,
        requester: Requester::Professional {
            centre: network.id(REQUESTER),
            id: name("207"),
            departments: vec![],
        },
        purpose: Purpose::Treatment,
        reason: None,
        wishes: vec![Wish { centre: network.id(GUARDIAN), tags: vec![name(ALL)] }],
        recipient: [4; 65],
        asked: Timestamp(1_000),
    }
}

/// The cells that a professional is granted now.
fn asked(network: &mut Network, number: u64) -> BTreeSet<CellId> {
    let opened = opened(network, number);
    let disclose = network.disclosure(&opened, REQUESTER, &key());
    let transaction = network.sign(GUARDIAN, Body::Disclose(Box::new(disclose)));
    network.commit(std::slice::from_ref(&transaction));
    let receipt = network.receipt(&transaction.id()).verify(&network.genesis).unwrap();
    let data_centre = (network.id(GUARDIAN), &vocabulary());
    let permit = admit(&receipt, &opened, &key(), data_centre, network.tip().time).unwrap();
    permit.cells().clone()
}

/// A network with two patients; the other one has a rule of their own.
fn network() -> Network {
    let mut network = Network::new(4).with_patient(GUARDIAN, MINE, &key());
    let commitment = key().commitment();
    network.submit(GUARDIAN, Body::Enrol(Enrol { patient: OTHERS, commitment }));
    let rule = rule(&network, Effect::Allow, 0, Window::ALWAYS);
    let theirs = Grant { patient: OTHERS, rule, sealed: vec![1; 80] };
    assert_eq!(network.submit(GUARDIAN, Body::Grant(theirs)), Outcome::Done);
    network
}

fn restore(network: &mut Network, height: u64) {
    let body = Body::Restore(Restore { patient: MINE, height });
    assert_eq!(network.submit(GUARDIAN, body), Outcome::Done);
}

/// What stood after each block, and what was granted then.
#[derive(Default)]
struct Model {
    now: BTreeSet<RuleId>,
    ever: Vec<RuleId>,
    after: BTreeMap<u64, BTreeSet<RuleId>>,
}

impl Model {
    fn done(&mut self, height: u64) {
        self.after.insert(height, self.now.clone());
    }

    fn at(&self, height: u64) -> BTreeSet<RuleId> {
        self.after.range(..=height).next_back().map(|(_, rules)| rules.clone()).unwrap_or_default()
    }

    /// Walks one step, in a block with what is left of the last one.
    fn walk(&mut self, network: &mut Network, step: &Step, last: &mut Option<Transaction>) {
        let height = network.tip().height;
        let body = match step {
            Step::Grant(effect, tag) => grant(network, *effect, *tag),
            Step::Revoke(_) if self.ever.is_empty() => return,
            Step::Revoke(which) => {
                let rule = *which.get(&self.ever);
                Body::Revoke(Revoke { patient: MINE, rule })
            }
            Step::Restore(which) => {
                let height = which.index(usize::try_from(height).unwrap() + 1) as u64;
                Body::Restore(Restore { patient: MINE, height })
            }
            Step::Again => return self.again(network, last.as_ref()),
        };
        let transaction = network.sign(GUARDIAN, body.clone());
        let outcome = network.commit(std::slice::from_ref(&transaction)).remove(0);
        match body {
            Body::Grant(_) => {
                let id = rule_id(&transaction.change_id().unwrap());
                self.now.insert(id);
                self.ever.push(id);
                assert_eq!(outcome, Outcome::Done);
            }
            Body::Revoke(revoke) if self.now.remove(&revoke.rule) => {
                assert_eq!(outcome, Outcome::Done);
            }
            Body::Revoke(_) => assert_eq!(outcome, Outcome::Rejected(Rejection::UnknownRule)),
            Body::Restore(restore) => {
                self.now = self.at(restore.height);
                assert_eq!(outcome, Outcome::Done);
            }
            _ => unreachable!(),
        }
        if outcome == Outcome::Done {
            *last = Some(transaction);
        }
        self.done(height + 1);
    }

    /// Another transaction for the change that was made last.
    fn again(&mut self, network: &mut Network, last: Option<&Transaction>) {
        let Some(last) = last else { return };
        let author = (network.id(GUARDIAN), network.keys[GUARDIAN].public());
        let (expires, body) = (network.tip().height + 200, last.body().clone());
        let again = Draft::new(network.genesis.network(), author, expires, last.nonce(), body);
        let again = again.sign(&network.keys[GUARDIAN]);
        assert_ne!(again.id(), last.id());
        let entries = entries(network, MINE);
        assert_eq!(network.commit(&[again]), [Outcome::Rejected(Rejection::Repeated)]);
        assert_eq!(crate::entries(network, MINE), entries);
        self.done(network.tip().height);
    }
}

fn entries(network: &Network, patient: PatientId) -> u64 {
    network.record::<PatientRecord>(keys::patient(patient)).unwrap().entries
}

fn walked(steps: &[Step]) -> (Network, Model) {
    let (mut network, mut model, mut last) = (network(), Model::default(), None);
    for step in steps {
        model.walk(&mut network, step, &mut last);
    }
    (network, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// No history is lost, whatever came later, and nobody else is touched.
    #[test]
    fn the_rules_of_every_height_can_be_read_for_ever(steps in vec(step(), 0..40)) {
        let (network, model) = walked(&steps);
        for height in 0..=network.tip().height {
            prop_assert_eq!(standing(&network, MINE, height), model.at(height), "height {}", height);
        }
        prop_assert_eq!(standing(&network, OTHERS, network.tip().height).len(), 1);
        prop_assert_eq!(entries(&network, OTHERS), 2);
        network.log(MINE).verify(&network.genesis).unwrap();
    }

    #[test]
    fn a_return_to_now_changes_nothing(steps in vec(step(), 0..20)) {
        let (mut network, model) = walked(&steps);
        let now = network.tip().height;
        let before = asked(&mut network, 1);
        restore(&mut network, now);
        prop_assert_eq!(standing(&network, MINE, network.tip().height), model.now);
        prop_assert_eq!(asked(&mut network, 2), before);
    }

    /// There and back again: the same rules and the same decisions each time.
    #[test]
    fn decisions_return_with_the_rules(
        first in vec(step(), 0..12), second in vec(step(), 0..12),
    ) {
        let (mut network, mut model) = walked(&first);
        let (then, decided_then) = (network.tip().height, asked(&mut network, 1));
        model.done(network.tip().height);
        let mut last = None;
        for step in &second {
            model.walk(&mut network, step, &mut last);
        }
        let (now, decided_now) = (network.tip().height, asked(&mut network, 2));
        restore(&mut network, then);
        prop_assert_eq!(standing(&network, MINE, network.tip().height), model.at(then));
        prop_assert_eq!(asked(&mut network, 3), decided_then);
        restore(&mut network, now);
        prop_assert_eq!(standing(&network, MINE, network.tip().height), model.now);
        prop_assert_eq!(asked(&mut network, 4), decided_now);
    }
}

/// A rule that came back is still a rule of its time.
#[test]
fn a_rule_that_returns_ends_when_it_was_meant_to() {
    let mut network = network();
    let ends = Timestamp(network.tip().time.0 + 45);
    let window = Window::new(None, Some(ends)).unwrap();
    let rule = rule(&network, Effect::Allow, 0, window);
    let transaction =
        network.sign(GUARDIAN, Body::Grant(Grant { patient: MINE, rule, sealed: vec![1; 80] }));
    let id = rule_id(&transaction.change_id().unwrap());
    network.commit(&[transaction]);
    let height = network.tip().height;
    network.submit(GUARDIAN, Body::Revoke(Revoke { patient: MINE, rule: id }));
    restore(&mut network, height);
    assert_eq!(asked(&mut network, 1).len(), 4);
    assert_eq!(asked(&mut network, 2).len(), 0, "its window has passed");
    assert!(standing(&network, MINE, network.tip().height).contains(&id));
}

#[test]
fn changes_of_one_block_follow_each_other() {
    let mut network = network();
    let height = network.tip().height;
    let one = grant(&network, Effect::Allow, 0);
    let granted = network.sign(GUARDIAN, one);
    let rule = rule_id(&granted.change_id().unwrap());
    let back = network.sign(GUARDIAN, Body::Restore(Restore { patient: MINE, height }));
    let revoke = network.sign(GUARDIAN, Body::Revoke(Revoke { patient: MINE, rule }));
    let now = network.sign(GUARDIAN, Body::Restore(Restore { patient: MINE, height: height + 1 }));
    let other = grant(&network, Effect::Deny, 0);
    let other = network.sign(GUARDIAN, other);
    let last = rule_id(&other.change_id().unwrap());
    let rejected = |why| Outcome::Rejected(why);
    assert_eq!(
        network.commit(&[granted, back, revoke, now, other]),
        [
            Outcome::Done,
            Outcome::Done,
            rejected(Rejection::UnknownRule),
            rejected(Rejection::NotPast),
            Outcome::Done
        ]
    );
    assert_eq!(standing(&network, MINE, height + 1), BTreeSet::from([last]));
}

#[test]
fn only_a_centre_that_speaks_for_the_patient_returns() {
    let mut network = network();
    let body = Body::Restore(Restore { patient: MINE, height: 1 });
    assert_eq!(network.submit(REQUESTER, body), Outcome::Rejected(Rejection::NoAuthority));
    let nobody = PatientId::from_array([1; 16]);
    let body = Body::Restore(Restore { patient: nobody, height: 1 });
    assert_eq!(network.submit(GUARDIAN, body), Outcome::Rejected(Rejection::UnknownPatient));
}

/// A restore is one small transaction and one small record, however many rules it brings back.
#[test]
fn ten_thousand_rules_return_at_once() {
    const RULES: usize = 10_000;
    let mut network = network();
    let mut granted = Vec::new();
    for _ in 0..RULES / 500 {
        let block: Vec<_> = (0..500)
            .map(|_| {
                let body = grant(&network, Effect::Allow, 1);
                network.sign(GUARDIAN, body)
            })
            .collect();
        granted.extend(block.iter().map(|one| rule_id(&one.change_id().unwrap())));
        network.commit(&block);
    }
    let full = network.tip().height;
    for some in granted.chunks(500) {
        let revoke = |rule| Body::Revoke(Revoke { patient: MINE, rule });
        let block: Vec<_> = some.iter().map(|rule| network.sign(GUARDIAN, revoke(*rule))).collect();
        assert!(network.commit(&block).iter().all(|outcome| *outcome == Outcome::Done));
    }
    assert!(standing(&network, MINE, network.tip().height).is_empty());
    assert_eq!(asked(&mut network, 1).len(), 0);
    let body = Body::Restore(Restore { patient: MINE, height: full });
    let transaction = network.sign(GUARDIAN, body);
    assert!(transaction.to_bytes().len() < 256);
    let written = network.try_execute(std::slice::from_ref(&transaction)).unwrap().writes;
    let bytes: usize = written.values().flatten().map(Vec::len).sum();
    assert!(written.len() < 10 && bytes < 2_000, "{} records, {bytes} bytes", written.len());
    network.commit(&[transaction]);
    assert_eq!(standing(&network, MINE, network.tip().height), granted.into_iter().collect());
    assert_eq!(asked(&mut network, 2).len(), 2);
}

#[test]
fn a_patient_returns_a_thousand_times_and_no_more() {
    let mut network = network();
    for _ in 0..2 {
        let block: Vec<_> = (0..500)
            .map(|_| network.sign(GUARDIAN, Body::Restore(Restore { patient: MINE, height: 2 })))
            .collect();
        assert!(network.commit(&block).iter().all(|outcome| *outcome == Outcome::Done));
    }
    let body = Body::Restore(Restore { patient: MINE, height: 2 });
    let outcome = network.submit(GUARDIAN, body);
    assert_eq!(outcome, Outcome::Rejected(Rejection::TooManyReturns));
}

/// However often rules are revoked and brought back, no record grows beyond what every store takes.
#[test]
fn a_rule_that_was_revoked_so_often_stays_revoked_and_its_record_small() {
    let mut network = network();
    let body = grant(&network, Effect::Allow, 1);
    let granting = network.sign(GUARDIAN, body);
    let rule = rule_id(&granting.change_id().unwrap());
    network.commit(&[granting]);
    let height = network.tip().height;
    let revoke = || Body::Revoke(Revoke { patient: MINE, rule });
    let restore = || Body::Restore(Restore { patient: MINE, height });
    for _ in 0..REVOKED_MAX {
        assert!(standing(&network, MINE, network.tip().height).contains(&rule));
        assert_eq!(network.submit(GUARDIAN, revoke()), Outcome::Done);
        assert_eq!(network.submit(GUARDIAN, restore()), Outcome::Done);
    }
    assert!(!standing(&network, MINE, network.tip().height).contains(&rule));
    assert_eq!(asked(&mut network, 1).len(), 0);
    let again = network.submit(GUARDIAN, revoke());
    assert_eq!(again, Outcome::Rejected(Rejection::UnknownRule));
    // The past stays what it was.
    let last = network.tip().height - 4;
    assert!(
        standing(&network, MINE, last).contains(&rule)
            && standing(&network, MINE, height).contains(&rule)
    );
}

#[test]
fn wide_rules_fill_small_pages_and_at_some_time_all_that_there_are() {
    let mut network = network();
    let centre = network.id(GUARDIAN);
    let tokens = (0..256).map(|tag| key().tag(centre, &name(&format!("tag {tag}")))).collect();
    let mut rule = rule(&network, Effect::Deny, 1, Window::ALWAYS);
    rule.scope = Scope::new(tokens).unwrap();
    let wide = Body::Grant(Grant { patient: MINE, rule, sealed: vec![1; 80] });
    let mut largest = 0;
    let mut outcomes = Vec::new();
    for _ in 0..26 {
        let block: Vec<_> = (0..80).map(|_| network.sign(GUARDIAN, wide.clone())).collect();
        let written = network.try_execute(&block).unwrap().writes;
        largest = written.values().flatten().map(Vec::len).max().unwrap().max(largest);
        outcomes.extend(network.commit(&block));
    }
    assert!(largest < 32 * 1024, "{largest} bytes");
    // 256 tokens of 16 bytes: four rules a page, on 512 pages.
    assert!(outcomes[..2_048].iter().all(|outcome| *outcome == Outcome::Done));
    let refused = Outcome::Rejected(Rejection::TooManyRules);
    assert!(outcomes[2_048..].iter().all(|outcome| *outcome == refused));
    // None of them is out of reach.
    let rule = *standing(&network, MINE, network.tip().height).last().unwrap();
    let revoke = Body::Revoke(Revoke { patient: MINE, rule });
    assert_eq!(network.submit(GUARDIAN, revoke), Outcome::Done);
}

/// Rules are read once for a block; what changes in it counts from there on.
#[test]
fn requests_of_one_block_are_decided_by_the_rules_before_each() {
    let mut network = network();
    let (allow, deny) = (grant(&network, Effect::Allow, 1), grant(&network, Effect::Deny, 1));
    let height = network.tip().height;
    let ask = |network: &mut Network, number| {
        let opened = opened(network, number);
        Body::Disclose(Box::new(network.disclosure(&opened, REQUESTER, &key())))
    };
    let restore = Body::Restore(Restore { patient: MINE, height });
    let mut bodies = Vec::new();
    for (number, change) in (1..).zip([allow, deny, restore]) {
        bodies.extend([ask(&mut network, 10 * number), ask(&mut network, 10 * number + 1), change]);
    }
    bodies.push(ask(&mut network, 40));
    let block: Vec<_> = bodies.into_iter().map(|body| network.sign(GUARDIAN, body)).collect();
    let outcomes = network.commit(&block);
    let granted = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Decided(decision) => Some(decision.permits()),
        _ => None,
    });
    let granted: Vec<bool> = granted.collect();
    assert_eq!(granted, [false, false, true, true, false, false, false]);
}
