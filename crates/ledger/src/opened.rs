//! The opened request, and how it is blinded.
//!
//! The requester's centre writes and signs it, a guardian blinds it for the ledger, every data
//! centre blinds it again and compares: a guardian that lied is caught before a byte leaves.

use aegle_access::{
    Effect, Part, PartError, Purpose, Purposes, Request, Rule, RuleError, Scope, Subject,
};
use aegle_model::{
    Bits, Canonical, CellId, CentreId, Grantee, Hash, NetworkId, PatientId, RecordKey, RequestId,
    Requester, TagName, Timestamp, Vocabulary, VocabularyError, Window,
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeSet;

/// A request in the clear. Known to the requester's centre and the patient's linked centres only.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenedRequest {
    /// The network.
    pub network: NetworkId,
    /// Random, chosen by the requester's centre.
    pub request: RequestId,
    /// Whose record.
    pub patient: PatientId,
    /// Who asks.
    pub requester: Requester,
    /// What for.
    pub purpose: Purpose,
    /// Why, in words; required when the glass is broken.
    pub reason: Option<String>,
    /// What is asked for, sorted by centre.
    pub wishes: Vec<Wish>,
    /// To whom the parts are sealed: an uncompressed P-256 point.
    pub recipient: [u8; 65],
    /// When it was asked, by the clock of the requester's centre.
    pub asked: Timestamp,
}

/// Tags of one data centre.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Wish {
    /// The data centre.
    pub centre: CentreId,
    /// Its tags.
    pub tags: Vec<TagName>,
}

/// Why a request cannot be blinded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlindError {
    /// A tag that the centre's catalogue does not have.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// More than a part can carry.
    #[error(transparent)]
    Part(#[from] PartError),
}

impl Canonical for OpenedRequest {
    const NAME: &'static str = "opened request";
}

impl OpenedRequest {
    /// The longest reason, in bytes.
    pub const REASON_MAX: usize = 500;

    /// What the requester's centre signs and the ledger keeps.
    pub fn hash(&self) -> Hash {
        Hash::of("aegle.request", &[&self.to_bytes()])
    }

    /// The requester in tokens.
    pub fn subject(&self, key: &RecordKey) -> Subject {
        let Requester::Professional { .. } = self.requester else { return Subject::Patient };
        let grantees = self.requester.grantees();
        let tokens: BTreeSet<_> = grantees.iter().map(|grantee| key.grantee(grantee)).collect();
        Subject::Professional(tokens.into_iter().collect())
    }

    /// The wish for one centre in tokens, and which cells the part's positions stand for.
    pub fn part(
        &self,
        wish: &Wish,
        key: &RecordKey,
        vocabulary: &Vocabulary,
    ) -> Result<(Part, Vec<CellId>), BlindError> {
        let mut cells = vocabulary.cells_of(&wish.tags)?;
        cells.sort_by_cached_key(|cell| key.cell_order(self.request, wish.centre, cell.0));
        let carried = vocabulary.cell_tokens(wish.centre, key, &cells);
        let tokens: BTreeSet<_> = carried.iter().flatten().copied().collect();
        let tokens: Vec<_> = tokens.into_iter().collect();
        let bits = |carried: &Vec<_>| -> Bits {
            carried.iter().filter_map(|token| tokens.binary_search(token).ok()).collect()
        };
        if tokens.len() > Bits::MAX {
            return Err(PartError::Disorder.into());
        }
        let sets = carried.iter().map(bits).collect();
        Ok((Part::new(wish.centre, tokens, sets)?, cells))
    }

    /// The whole request in tokens. Wishes without a vocabulary here are left out.
    pub fn question<'a>(
        &self,
        key: &RecordKey,
        vocabulary: impl Fn(CentreId) -> Option<&'a Vocabulary>,
    ) -> Result<(Request, Vec<u32>), BlindError> {
        let (mut parts, mut catalogues) = (Vec::new(), Vec::new());
        for wish in &self.wishes {
            let Some(vocabulary) = vocabulary(wish.centre) else { continue };
            parts.push(self.part(wish, key, vocabulary)?.0);
            catalogues.push(vocabulary.version);
        }
        Ok((Request { subject: self.subject(key), purpose: self.purpose, parts }, catalogues))
    }
}

/// A rule in the clear, as the patient made it. Sealed under the record key it stands beside the
/// blinded one, so that every linked centre can show it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenedRule {
    /// Allow or deny.
    pub effect: Effect,
    /// To whom.
    pub grantee: Grantee,
    /// What: at least one tag.
    pub scope: Vec<ScopedTag>,
    /// When.
    pub window: Window,
    /// What for.
    pub purposes: Purposes,
}

/// A tag of one data centre, as it was at a version of that centre's catalogue.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ScopedTag {
    /// The data centre.
    pub centre: CentreId,
    /// Its tag.
    pub tag: TagName,
    /// The version at which the tag last grew when the rule was made; an allow reaches no further.
    pub version: u32,
}

impl Canonical for OpenedRule {
    const NAME: &'static str = "opened rule";
}

impl OpenedRule {
    /// The rule in tokens: an allow names tags as they were, a deny at any version.
    pub fn blind(&self, key: &RecordKey) -> Result<Rule, RuleError> {
        let token = |scoped: &ScopedTag| match self.effect {
            Effect::Allow => key.tag_at(scoped.centre, &scoped.tag, scoped.version),
            Effect::Deny => key.tag(scoped.centre, &scoped.tag),
        };
        Ok(Rule {
            effect: self.effect,
            grantee: key.grantee(&self.grantee),
            scope: Scope::new(self.scope.iter().map(token).collect())?,
            window: self.window,
            purposes: self.purposes,
        })
    }
}
