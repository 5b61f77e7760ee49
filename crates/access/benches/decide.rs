//! The cost of one decision: 60 cells under 20 and under 10,000 rules of the patient.

use aegle_access::{
    Effect, Part, Policy, Purpose, Purposes, Request, Rule, Scope, Subject, decide,
};
use aegle_model::{Bits, CentreId, Timestamp, Token, Window};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn token(kind: u8, number: u16) -> Token {
    let mut bytes = [kind; 16];
    bytes[1..3].copy_from_slice(&number.to_be_bytes());
    Token::from_array(bytes)
}

fn rules(count: u16) -> Vec<Rule> {
    let rule = |number: u16| Rule {
        effect: if number.is_multiple_of(5) { Effect::Deny } else { Effect::Allow },
        grantee: token(1, number % 10),
        scope: Scope::new(vec![token(2, number % 24), token(2, (number + 7) % 24)])
            .expect("two tags"),
        window: Window::ALWAYS,
        purposes: Purposes::ANY,
    };
    (0..count).map(rule).collect()
}

fn request() -> Request {
    let cells = |offset: usize| -> Vec<Bits> {
        (0..30)
            .map(|cell| [(cell + offset) % 24, (cell * 5) % 24, 23].into_iter().collect())
            .collect()
    };
    let part = |centre: u8| {
        let tokens = (0..24).map(|number| token(2, number)).collect();
        Part::new(CentreId::from_array([centre; 16]), tokens, cells(centre.into()))
            .expect("in order")
    };
    Request {
        subject: Subject::Professional((0..3).map(|number| token(1, number)).collect()),
        purpose: Purpose::Treatment,
        parts: vec![part(1), part(2)],
    }
}

fn bench(criterion: &mut Criterion) {
    let (request, policy) = (request(), Policy { emergency: true });
    for count in [20, 1_000, 10_000] {
        let rules = rules(count);
        criterion.bench_function(&format!("access::decide/rules={count}"), |bencher| {
            bencher.iter(|| decide(black_box(&rules), black_box(&request), policy, Timestamp(1)));
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
