//! The history of a patient's rules: nothing is forgotten, and a restore costs one record.
//!
//! A rule stays on its page for ever, with the change that granted it and those that revoked it. A
//! restore changes no rule: it says that from now on only the changes up to an earlier height count,
//! and those after itself. So the changes that count at a moment lie in a few spans, and a rule is in
//! force when its grant counts and none of its revocations does. Only the last of [`REVOKED_MAX`]
//! revocations of one rule counts whatever is restored.

use crate::Key;
use crate::state::{PatientRecord, Position, Record, RulePage, keys};
use aegle_access::Rule;
use aegle_model::{CentreId, Hash, PatientId, RuleId, Timestamp};
use borsh::{BorshDeserialize, BorshSerialize};

/// When a patient's rules were changed, and who answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Change {
    /// Where the transaction stands.
    pub at: Position,
    /// The time of its block.
    pub time: Timestamp,
    /// The centre that brought it to the ledger.
    pub by: CentreId,
}

/// How often a rule can be revoked, because a return brought it back each time. After the last time it
/// stays revoked, whatever is returned to: so every rule can be revoked, and its record has an end.
pub const REVOKED_MAX: usize = 32;

/// A rule with all that became of it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KeptRule {
    /// Its id.
    pub id: RuleId,
    /// The rule in tokens.
    pub rule: Rule,
    /// When it was granted.
    pub granted: Change,
    /// When it was revoked, oldest first; more than once when a restore brought it back, but at most
    /// [`REVOKED_MAX`] times.
    pub revoked: Vec<Change>,
}

/// A return to the rules of an earlier height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Return {
    /// When it was made.
    pub change: Change,
    /// The height whose rules are in force since.
    pub to: u64,
}

/// All returns of a patient, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Returns(pub Vec<Return>);

impl Record for Returns {}

/// The changes that count at a moment: spans of positions, ends included, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted(Vec<(Position, Position)>);

impl Returns {
    /// The changes that count after block `height`.
    pub fn counted(&self, height: u64) -> Counted {
        let (mut spans, mut end) = (Vec::new(), Position::last_of(height));
        let mut returns = self.0.as_slice();
        while let Some((last, older)) =
            returns[..returns.partition_point(|one| one.change.at <= end)].split_last()
        {
            spans.push((last.change.at, end));
            (returns, end) = (older, Position::last_of(last.to));
        }
        spans.push((Position::default(), end));
        Counted(spans)
    }
}

impl Counted {
    /// Whether the change at `position` counts.
    fn holds(&self, position: Position) -> bool {
        let newer = self.0.partition_point(|(from, _)| *from > position);
        self.0.get(newer).is_some_and(|(_, until)| position <= *until)
    }

    /// Whether the change at `position` was made by then, also if it does not count.
    fn knows(&self, position: Position) -> bool {
        self.0.first().is_some_and(|(_, until)| position <= *until)
    }
}

impl KeptRule {
    /// Whether the rule stands when these changes count. Its window of time is another matter.
    pub fn stands(&self, counted: &Counted) -> bool {
        let last = self.revoked.get(REVOKED_MAX - 1);
        counted.holds(self.granted.at)
            && !self.revoked.iter().any(|change| counted.holds(change.at))
            && !last.is_some_and(|change| counted.knows(change.at))
    }
}

impl RulePage {
    /// The page's rules that stand when these changes count.
    pub fn standing<'a>(&'a self, counted: &'a Counted) -> impl Iterator<Item = &'a KeptRule> {
        self.0.iter().filter(|rule| rule.stands(counted))
    }
}

impl PatientRecord {
    /// The keys of the patient's [`Returns`] and of every [`RulePage`].
    pub fn rule_keys(&self, patient: PatientId) -> impl Iterator<Item = Key> + Clone + use<> {
        let pages = (0..self.pages).map(move |page| keys::rules(patient, page));
        std::iter::once(keys::returns(patient)).chain(pages)
    }
}

/// What names a change of a patient's rules: the author chooses the nonce, and the ledger makes no
/// change of the same name twice.
pub fn change_id(patient: PatientId, nonce: u64) -> Hash {
    Hash::of("aegle.change", &[patient.as_bytes(), &nonce.to_le_bytes()])
}

/// The id of the rule that a change grants.
pub fn rule_id(change: &Hash) -> RuleId {
    RuleId::from_array(change.as_bytes()[..16].try_into().expect("32 bytes hold 16"))
}

impl Position {
    /// The last possible entry of a block.
    fn last_of(height: u64) -> Self {
        Self { height, index: u32::MAX }
    }
}
