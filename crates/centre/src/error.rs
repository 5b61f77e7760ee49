//! What can go wrong in a use case, without any transport.

use aegle_ledger::Rejection;

/// Why a use case did not end well. Never says whether something hidden exists.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's role does not allow it.
    #[error("only {who} can do this")]
    Forbidden {
        /// Who could.
        who: &'static str,
    },
    /// The caller asked for something of their own that is not there.
    #[error("there is no such {what}")]
    NotFound {
        /// What was asked for.
        what: &'static str,
    },
    /// A value is wrong.
    #[error("`{field}` is wrong: {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// A part that is needed does not answer. Nothing was changed or read.
    #[error("the {part} does not answer now; try again")]
    Unavailable {
        /// The part that is down.
        part: &'static str,
    },
    /// The ledger will never take it: too late.
    #[error("the request expired unanswered; ask again")]
    Expired,
    /// The ledger did not decide in time. It may still.
    #[error(
        "the ledger has not confirmed it in time, and may still do so; look whether it is there \
         before you try again"
    )]
    Unconfirmed,
    /// A fault of this node.
    #[error("this node failed; its log says why")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(crate) fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }

    pub(crate) fn invalid(field: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Invalid { field, why: why.to_string() }
    }
}

/// An error with its causes, for the log.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::UnknownRule => Self::NotFound { what: "rule" },
            other => Self::Conflict(other.to_string()),
        }
    }
}

impl From<aegle_consensus::Stopped> for Error {
    fn from(_: aegle_consensus::Stopped) -> Self {
        Self::Unavailable { part: "ledger" }
    }
}

impl From<aegle_consensus::ReadError> for Error {
    fn from(error: aegle_consensus::ReadError) -> Self {
        match error {
            aegle_consensus::ReadError::Stopped(stopped) => stopped.into(),
            other @ aegle_consensus::ReadError::TooMany { .. } => Self::internal(other),
        }
    }
}

impl From<crate::JournalError> for Error {
    fn from(error: crate::JournalError) -> Self {
        Self::internal(error)
    }
}

impl From<crate::StoreError> for Error {
    fn from(error: crate::StoreError) -> Self {
        Self::internal(error)
    }
}
