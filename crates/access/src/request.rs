//! The question: who asks, what for, and which cells with which tags.

use crate::Purpose;
use aegle_model::{Bits, CentreId, Token};
use borsh::{BorshDeserialize, BorshSerialize};
use std::io::{Error, ErrorKind, Read};

/// As whom the requester comes.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Subject {
    /// The patient whose record it is.
    Patient,
    /// A professional: the individual's, departments' and organisation's tokens.
    Professional(Vec<Token>),
}

/// Why tokens and cells are no [`Part`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// Tokens out of order, or too many of them or of cells.
    #[error("the tokens of a part are sorted and stand once; at most {max} tokens and cells", max = Bits::MAX)]
    Disorder,
    /// A cell names a token that is not there.
    #[error("a cell carries a tag that the part does not list")]
    Unlisted,
}

/// The requested cells of one data centre, each with the tags it carries.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Part {
    centre: CentreId,
    tokens: Vec<Token>,
    cells: Vec<Bits>,
}

impl Part {
    /// `tokens` sorted; every cell a set of positions in `tokens`.
    pub fn new(centre: CentreId, tokens: Vec<Token>, cells: Vec<Bits>) -> Result<Self, PartError> {
        let sizes_fit = tokens.len() <= Bits::MAX && cells.len() <= Bits::MAX;
        if !sizes_fit || !tokens.is_sorted_by(|a, b| a < b) {
            return Err(PartError::Disorder);
        }
        if cells.iter().any(|cell| cell.end() > tokens.len()) {
            return Err(PartError::Unlisted);
        }
        Ok(Self { centre, tokens, cells })
    }

    /// The data centre.
    pub fn centre(&self) -> CentreId {
        self.centre
    }

    /// Every tag token that some cell carries, sorted.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The requested cells as positions in [`Self::tokens`].
    pub fn cells(&self) -> &[Bits] {
        &self.cells
    }
}

impl BorshDeserialize for Part {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        let (centre, tokens, cells) = BorshDeserialize::deserialize_reader(reader)?;
        Self::new(centre, tokens, cells).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    }
}

/// One question about one patient.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Request {
    /// Who asks.
    pub subject: Subject,
    /// What for.
    pub purpose: Purpose,
    /// What is asked for, per data centre.
    pub parts: Vec<Part>,
}
