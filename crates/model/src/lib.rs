//! The words every room shares: ids, times, keys, tags, tokens and their canonical bytes.
//!
//! Invariants: a value that exists is valid; every encoding is canonical (one value, one byte
//! string) and every decoder refuses all other bytes; secrets are wiped when dropped and never
//! printed. Absent on purpose: clock, disk, network, randomness. The caller brings all four.

mod bits;
mod bytes;
mod handle;
mod hash;
mod id;
mod key;
mod principal;
mod time;
mod token;
mod vocabulary;

pub use bits::{Bits, TooManyBits};
pub use bytes::{Canonical, Malformed};
pub use handle::{Handle, HandleError};
pub use hash::Hash;
pub use id::{CentreId, IdError, NetworkId, PatientId, RequestId, RuleId};
pub use key::{BadSignature, Batch, PublicKey, Signature, SigningKey};
pub use principal::{Grantee, Name, NameError, Requester};
pub use time::{BackwardWindow, Timestamp, Window};
pub use token::{RecordKey, Token};
pub use vocabulary::{ALL, Cell, CellId, Tag, TagName, Vocabulary, VocabularyError};
