//! The cost of one decision over 60 cells.

use aegle_access::{
    Effect, Part, Policy, Purpose, Purposes, Request, Rule, Scope, Subject, decide,
};
use aegle_model::{Bits, CentreId, Timestamp, Token, Window};
use std::hint::black_box;
use std::time::Instant;

/// Median microseconds of one decision with this many rules of the patient.
pub(crate) fn microseconds(count: u16) -> f64 {
    let (rules, request) = ((0..count).map(rule).collect::<Vec<_>>(), request());
    let policy = Policy { emergency: true };
    let repeat = 200_000 / u32::from(count.max(1));
    let mut runs: Vec<f64> = (0..15)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..repeat {
                black_box(decide(black_box(&rules), black_box(&request), policy, Timestamp(1)));
            }
            started.elapsed().as_secs_f64() * 1e6 / f64::from(repeat)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn token(kind: u8, number: u16) -> Token {
    let mut bytes = [kind; 16];
    bytes[1..3].copy_from_slice(&number.to_be_bytes());
    Token::from_array(bytes)
}

fn rule(number: u16) -> Rule {
    Rule {
        effect: if number.is_multiple_of(5) { Effect::Deny } else { Effect::Allow },
        grantee: token(1, number % 10),
        scope: Scope::new(vec![token(2, number % 24), token(2, (number + 7) % 24)])
            .expect("two tags"),
        window: Window::ALWAYS,
        purposes: Purposes::ANY,
    }
}

fn request() -> Request {
    let cell = |cell: usize| -> Bits { [cell % 24, (cell * 5) % 24, 23].into_iter().collect() };
    let part = |centre: u8| {
        let tokens = (0..24).map(|number| token(2, number)).collect();
        let cells = (0..30).map(cell).collect();
        Part::new(CentreId::from_array([centre; 16]), tokens, cells).expect("in order")
    };
    Request {
        subject: Subject::Professional((0..3).map(|number| token(1, number)).collect()),
        purpose: Purpose::Treatment,
        parts: vec![part(1), part(2)],
    }
}
