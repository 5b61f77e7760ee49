//! The answer: what is granted, in the words of the question.

use super::error::DecideError;
use super::ordered::Ordered;
use super::question::Question;
use aegle_access::{Explanation, Policy, Request, Rule, decide, explain};
use aegle_model::{CellId, CentreId, Name, RecordKey, Vocabulary};
use serde::Serialize;
use std::collections::BTreeMap;

/// A network where the glass can be broken.
const POLICY: Policy = Policy { emergency: true };
/// How many rules all explanations together may name: every column names its own.
const EXPLAINED_MAX: usize = 4 * 1024 * 1024;

/// What is printed. Centres, tables and columns stand in the order of the catalogues.
#[derive(Serialize)]
struct Answer<'a> {
    decision: &'static str,
    granted: PerTable<'a, Vec<&'a Name>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<PerTable<'a, Ordered<&'a Name, &'a Reason<'a>>>>,
}

/// Something by centre and table.
type PerTable<'a, T> = Ordered<&'a Name, Ordered<&'a Name, T>>;

/// A cell of any centre.
type Place = (CentreId, CellId);

/// Why a column is open or closed.
#[derive(Serialize)]
struct Reason<'a> {
    open: bool,
    opened_by: Vec<&'a str>,
    closed_by: Vec<&'a str>,
}

/// Blinds the question under `key`, decides it, and writes the answer as compact JSON.
pub(super) fn write(
    question: &Question,
    explained: bool,
    key: &RecordKey,
) -> Result<String, DecideError> {
    let blinded = Blinded::new(question, key);
    let open = blinded.open();
    let reasons = explained.then(|| blinded.reasons());
    if reasons.as_ref().is_some_and(|reasons| named(question, reasons) > EXPLAINED_MAX) {
        return Err(DecideError::Explained(EXPLAINED_MAX));
    }
    let answer = Answer {
        decision: if open.values().any(|open| *open) { "permit" } else { "deny" },
        granted: per_table(question, |place, column| open.get(&place)?.then_some(column)),
        explanation: reasons.as_ref().map(|reasons| {
            per_table(question, |place, column| Some((column, reasons.get(&place)?)))
        }),
    };
    Ok(serde_json::to_string(&answer).expect("text keys and memory cannot fail"))
}

/// The question in tokens.
struct Blinded<'a> {
    question: &'a Question,
    request: Request,
    /// Per part, the cell that each position stands for.
    cells: Vec<Vec<CellId>>,
    rules: Vec<(&'a str, Rule)>,
}

impl<'a> Blinded<'a> {
    fn new(question: &'a Question, key: &RecordKey) -> Self {
        let opened = &question.opened;
        let vocabularies: BTreeMap<CentreId, &Vocabulary> =
            question.centres.iter().map(|centre| (centre.id, &centre.vocabulary)).collect();
        let (parts, cells) = opened
            .wishes
            .iter()
            .map(|wish| opened.part(wish, key, vocabularies[&wish.centre]))
            .map(|part| part.expect("the wish's tags and the catalogue's size were checked"))
            .unzip();
        let request = Request { subject: opened.subject(key), purpose: opened.purpose, parts };
        let blind = |rule: &aegle_ledger::OpenedRule| {
            rule.blind(key).expect("the length of the scope was checked")
        };
        let rules = question.rules.iter().map(|(id, rule)| (id.as_str(), blind(rule))).collect();
        Self { question, request, cells, rules }
    }

    /// Whether each requested cell is open.
    fn open(&self) -> BTreeMap<Place, bool> {
        let rules = self.rules.iter().map(|(_, rule)| rule);
        let decision = decide(rules, &self.request, POLICY, self.question.now);
        let positions = |(cells, granted): (&Vec<CellId>, &aegle_model::Bits)| {
            (0..cells.len()).map(|position| granted.contains(position)).collect()
        };
        self.by_cell(self.cells.iter().zip(&decision.granted).map(positions))
    }

    /// Why each requested cell is open or closed.
    fn reasons(&self) -> BTreeMap<Place, Reason<'a>> {
        let rules: Vec<_> = self.rules.iter().map(|(id, rule)| (*id, rule)).collect();
        let parts = explain(&rules, &self.request, POLICY, self.question.now).into_iter();
        self.by_cell(parts.map(|part| part.into_iter().map(Reason::from).collect()))
    }

    fn by_cell<T>(&self, parts: impl Iterator<Item = Vec<T>>) -> BTreeMap<Place, T> {
        let cells = self.request.parts.iter().zip(&self.cells);
        cells
            .zip(parts)
            .flat_map(|((part, cells), values)| {
                cells.iter().map(|cell| (part.centre(), *cell)).zip(values)
            })
            .collect()
    }
}

impl<'a> From<Explanation<&'a str>> for Reason<'a> {
    fn from(explanation: Explanation<&'a str>) -> Self {
        let Explanation { opened_by, closed_by, open } = explanation;
        Self { open, opened_by, closed_by }
    }
}

/// What `of_column` yields for the columns; tables and centres with nothing are left out.
fn per_table<'a, T, C: FromIterator<T>>(
    question: &'a Question,
    of_column: impl Fn(Place, &'a Name) -> Option<T>,
) -> PerTable<'a, C> {
    let tables = question.centres.iter().map(|centre| {
        let tables = centre.tables.iter().filter_map(|(table, columns)| {
            let column = |(name, cell): &'a (Name, CellId)| of_column((centre.id, *cell), name);
            let mut found = columns.iter().filter_map(column).peekable();
            found.peek().is_some().then(|| (table, found.collect()))
        });
        (&centre.code, tables.collect::<Ordered<_, _>>())
    });
    tables.filter(|(_, tables)| !tables.0.is_empty()).collect()
}

/// How many rules the explanations of all columns name.
fn named(question: &Question, reasons: &BTreeMap<Place, Reason<'_>>) -> usize {
    let columns = question.centres.iter().flat_map(|centre| {
        let columns = centre.tables.iter().flat_map(|(_, columns)| columns);
        columns.filter_map(|(_, cell)| reasons.get(&(centre.id, *cell)))
    });
    columns.map(|reason| reason.opened_by.len() + reason.closed_by.len()).sum()
}
