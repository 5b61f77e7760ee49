//! The rule: to whom, what, when, for which purposes, allow or deny.

use aegle_model::{Timestamp, Token, Window};
use borsh::{BorshDeserialize, BorshSerialize};
use std::io::{Error, ErrorKind, Read};

/// What a rule does to the cells it covers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Effect {
    /// Opens, unless a deny closes.
    Allow,
    /// Closes, whatever else opens.
    Deny,
}

/// Why a record is asked for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Purpose {
    /// Care of the patient.
    Treatment,
    /// The patient's life or health is in danger: the glass is broken.
    Emergency,
    /// Research.
    Research,
    /// Running the centre.
    Administration,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] =
        [Self::Treatment, Self::Emergency, Self::Research, Self::Administration];
}

/// The purposes a rule is restricted to; empty means every purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize)]
pub struct Purposes(u8);

impl Purposes {
    /// No restriction.
    pub const ANY: Self = Self(0);

    /// Whether a request for `purpose` is meant.
    pub fn cover(self, purpose: Purpose) -> bool {
        self.0 == 0 || self.0 & 1 << purpose as u8 != 0
    }

    /// The purposes named, in the order of [`Purpose::ALL`]; none when unrestricted.
    pub fn named(self) -> impl Iterator<Item = Purpose> {
        Purpose::ALL.into_iter().filter(move |purpose| self.0 & 1 << *purpose as u8 != 0)
    }
}

impl FromIterator<Purpose> for Purposes {
    fn from_iter<I: IntoIterator<Item = Purpose>>(purposes: I) -> Self {
        Self(purposes.into_iter().fold(0, |bits, purpose| bits | 1 << purpose as u8))
    }
}

impl BorshDeserialize for Purposes {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        let bits = u8::deserialize_reader(reader)?;
        if bits >> Purpose::ALL.len() == 0 {
            Ok(Self(bits))
        } else {
            Err(Error::new(ErrorKind::InvalidData, "an unknown purpose is named"))
        }
    }
}

/// Tokens of the tags that a rule names: sorted, each once, at least one, at most [`Scope::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct Scope(Vec<Token>);

/// Why tokens are no [`Scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A rule about nothing.
    #[error("a rule names at least one tag")]
    EmptyScope,
    /// A rule about too much at once.
    #[error("a rule names at most {max} tags; this one names {0}", max = Scope::MAX)]
    WideScope(usize),
}

impl Scope {
    /// The most tags one rule can name.
    pub const MAX: usize = 256;

    /// Takes the tokens in any order, repeated or not.
    pub fn new(mut tokens: Vec<Token>) -> Result<Self, RuleError> {
        tokens.sort_unstable();
        tokens.dedup();
        match tokens.len() {
            0 => Err(RuleError::EmptyScope),
            1..=Self::MAX => Ok(Self(tokens)),
            wide => Err(RuleError::WideScope(wide)),
        }
    }

    /// The tokens, sorted.
    pub fn tokens(&self) -> &[Token] {
        &self.0
    }
}

impl BorshDeserialize for Scope {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        let tokens = Vec::<Token>::deserialize_reader(reader)?;
        let scope = Self::new(tokens.clone()).map_err(|e| Error::new(ErrorKind::InvalidData, e))?;
        if scope.0 == tokens {
            Ok(scope)
        } else {
            Err(Error::new(ErrorKind::InvalidData, "the tags of a rule are sorted and stand once"))
        }
    }
}

/// One access rule of one patient. Revoked rules are not kept among the rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Rule {
    /// Allow or deny.
    pub effect: Effect,
    /// To whom it speaks.
    pub grantee: Token,
    /// What it speaks of: tags as they were (allow) or at any version (deny).
    pub scope: Scope,
    /// When it is in force.
    pub window: Window,
    /// What for.
    pub purposes: Purposes,
}

impl Rule {
    /// Whether the rule speaks to one of `subjects` about a request for `purpose` at `now`.
    pub fn applies(&self, subjects: &[Token], purpose: Purpose, now: Timestamp) -> bool {
        self.window.contains(now)
            && self.purposes.cover(purpose)
            && subjects.contains(&self.grantee)
    }
}
