//! Rules and a request in tokens, decided and explained.
#![no_main]

use aegle_access::{Policy, Purpose, Request, Rule, Subject, decide, explain};
use aegle_model::{Canonical, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};

#[derive(BorshSerialize, BorshDeserialize)]
struct Question {
    rules: Vec<Rule>,
    request: Request,
    policy: Policy,
    now: Timestamp,
}

impl Canonical for Question {
    const NAME: &'static str = "question";
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(Question { rules, request, policy, now }) = aegle_fuzz::decode(bytes) else { return };
    let decision = decide(&rules, &request, policy, now);
    let reversed = decide(rules.iter().rev(), &request, policy, now);
    assert_eq!(decision, reversed, "the order of rules matters");
    let named: Vec<_> = rules.iter().enumerate().collect();
    let reasons = explain(&named, &request, policy, now);
    let by_rules = matches!(request.subject, Subject::Professional(_))
        && !(request.purpose == Purpose::Emergency && policy.emergency);
    for (granted, part) in decision.granted.iter().zip(reasons) {
        for (position, reason) in part.iter().enumerate() {
            assert_eq!(granted.contains(position), reason.open);
            let ruled = !reason.opened_by.is_empty() && reason.closed_by.is_empty();
            assert!(!by_rules || reason.open == ruled);
        }
    }
});
