//! The decision and its explanation.

use crate::{Effect, Part, Purpose, Request, Rule, Subject};
use aegle_model::{Bits, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};

/// What the network agreed on beyond the patients' rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Policy {
    /// Whether a professional may break the glass.
    pub emergency: bool,
}

/// The cells that may leave, per part of the request, as positions in the part's cells.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Decision {
    /// One set per part, in the order of the request.
    pub granted: Vec<Bits>,
}

impl Decision {
    /// Whether anything was granted.
    pub fn permits(&self) -> bool {
        self.granted.iter().any(|part| !part.is_empty())
    }
}

/// Decides `request` under the patient's `rules` at `now`.
///
/// The cost is linear in the patient's rules plus the requested cells.
pub fn decide<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    request: &Request,
    policy: Policy,
    now: Timestamp,
) -> Decision {
    let Subject::Professional(subjects) = &request.subject else { return everything(request) };
    if request.purpose == Purpose::Emergency && policy.emergency {
        return everything(request);
    }
    let mut covers = vec![Cover::default(); request.parts.len()];
    let live = rules.into_iter().filter(|rule| rule.applies(subjects, request.purpose, now));
    for rule in live {
        for (cover, part) in covers.iter_mut().zip(&request.parts) {
            cover.add(rule, part);
        }
    }
    let granted = covers.iter().zip(&request.parts).map(|(cover, part)| cover.open_cells(part));
    Decision { granted: granted.collect() }
}

/// What an emergency opens while no network can be asked: everything that the request names. The
/// centre that holds the data answers for it.
pub fn decide_late(request: &Request) -> Decision {
    everything(request)
}

/// Which of a part's tags live rules allow and deny.
#[derive(Debug, Clone, Copy, Default)]
struct Cover {
    allowed: Bits,
    denied: Bits,
}

impl Cover {
    fn add(&mut self, rule: &Rule, part: &Part) {
        let named = match rule.effect {
            Effect::Allow => &mut self.allowed,
            Effect::Deny => &mut self.denied,
        };
        for position in positions(rule, part) {
            named.insert(position).expect("a part lists at most as many tokens as a set holds");
        }
    }

    fn opens(&self, cell: &Bits) -> bool {
        cell.meets(&self.allowed) && !cell.meets(&self.denied)
    }

    fn open_cells(&self, part: &Part) -> Bits {
        let cells = part.cells().iter().enumerate();
        cells.filter(|(_, cell)| self.opens(cell)).map(|(position, _)| position).collect()
    }
}

fn positions(rule: &Rule, part: &Part) -> impl Iterator<Item = usize> {
    rule.scope.tokens().iter().filter_map(|token| part.tokens().binary_search(token).ok())
}

fn everything(request: &Request) -> Decision {
    let all = |part: &Part| (0..part.cells().len()).collect();
    Decision { granted: request.parts.iter().map(all).collect() }
}

/// Why one cell is open or closed. For the patient's eyes only: it tells what is hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<Id> {
    /// The allow rules that cover the cell.
    pub opened_by: Vec<Id>,
    /// The deny rules that cover the cell.
    pub closed_by: Vec<Id>,
    /// Whether the cell is open.
    pub open: bool,
}

/// Names, per part and cell, the live rules that cover it.
pub fn explain<Id: Copy>(
    rules: &[(Id, &Rule)],
    request: &Request,
    policy: Policy,
    now: Timestamp,
) -> Vec<Vec<Explanation<Id>>> {
    let decision = decide(rules.iter().map(|(_, rule)| *rule), request, policy, now);
    let subjects: &[_] = match &request.subject {
        Subject::Patient => &[],
        Subject::Professional(subjects) => subjects,
    };
    let live: Vec<_> =
        rules.iter().filter(|(_, rule)| rule.applies(subjects, request.purpose, now)).collect();
    let covering = |part: &Part, cell: &Bits, effect| {
        let covers = |rule: &Rule| {
            rule.effect == effect && positions(rule, part).any(|position| cell.contains(position))
        };
        live.iter().filter(|(_, rule)| covers(rule)).map(|(id, _)| *id).collect()
    };
    let parts = request.parts.iter().zip(&decision.granted);
    parts
        .map(|(part, granted)| {
            let cells = part.cells().iter().enumerate();
            cells
                .map(|(position, cell)| Explanation {
                    opened_by: covering(part, cell, Effect::Allow),
                    closed_by: covering(part, cell, Effect::Deny),
                    open: granted.contains(position),
                })
                .collect()
        })
        .collect()
}
