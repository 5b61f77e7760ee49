//! The use cases of a centre, a page each: read a record, guard a decision, hand out a part,
//! grant, revoke, preview, return to earlier rules, enrol, link, erase, read the log.
//!
//! Invariants: every read goes through the ledger first ([`Centre::read_record`] →
//! [`Centre::guard`] → [`Centre::hand_out`]), but for an emergency over the own data while there is
//! no quorum, which is in the own journal first and told to the ledger later; each data centre checks the receipt itself; what a
//! professional learns never differs between "closed" and "not there". Absent on purpose: HTML,
//! JSON, HTTP routes; who signed in (the caller says so).

mod attendance;
mod backup;
mod book;
mod caller;
mod catalogue;
mod change;
mod enrol;
mod erase;
mod error;
mod governance;
mod guard;
mod hand_out;
mod history;
mod journal;
pub mod keybox;
mod late;
mod lineage;
mod link;
mod log;
mod names;
mod nobody;
mod outbox;
mod peers;
mod proof;
mod read;
mod rules;
mod seal;
mod store;
mod submit;
mod tls;

pub use attendance::{Attendance, Rounds};
pub use backup::blocks_request;
pub use book::At;
pub use caller::Caller;
pub use catalogue::Vocabularies;
pub use change::Progress;
pub use enrol::NewLogin;
pub use erase::ErasureReceipt;
pub use error::{Error, chain};
pub use governance::Proposal;
pub use history::{Changed, Fate, RestorePreview, RuleChange};
pub use journal::{Journal, JournalError};
pub use late::Emergency;
pub use link::{Offer, OfferMessage};
pub use log::{LogPage, LogView, Seen};
pub use names::{Mentions, Names};
pub use outbox::Outbox;
pub use peers::{PeerAddress, PeerError, Peers};
pub use read::{Answer, AnswerPart, Ask, Whose};
pub use rules::{GrantedRule, PreviewCell, PreviewPart, RuleDraft, Standing};
pub use store::{Store, StoreError};
pub use submit::now;
pub use tls::{Certificate, TlsError, pin};

use aegle_consensus::{Ledger, Members};
use aegle_identity::Identity;
use aegle_lake::Lake;
use aegle_ledger::Genesis;
use aegle_model::{CentreId, SigningKey};
use std::sync::Arc;
use zeroize::Zeroizing;

/// One centre with all it needs. Cheap to clone.
#[derive(Clone)]
pub struct Centre(Arc<Inner>);

struct Inner {
    parts: Parts,
    known: catalogue::Known,
    anchors: proof::Anchors,
    asked: attendance::Asked,
    under_way: change::UnderWay,
    /// Held while a patient is tied to this centre: one at a time.
    admitting: tokio::sync::Mutex<()>,
    /// Held while an emergency is put into the journal.
    journaling: tokio::sync::Mutex<()>,
    /// Held while the ledger is told of emergencies.
    telling: tokio::sync::Mutex<()>,
}

/// What a [`Centre`] is made of.
pub struct Parts {
    /// The network.
    pub genesis: Genesis,
    /// The node's key: signs transactions and attestations.
    pub key: SigningKey,
    /// Opens what other centres seal to this one: a P-256 secret.
    pub seal: Zeroizing<Vec<u8>>,
    /// The replica.
    pub ledger: Ledger,
    /// The data.
    pub lake: Arc<Lake>,
    /// The users.
    pub identity: Arc<Identity>,
    /// The other centres.
    pub peers: Peers,
    /// What this centre must remember beside ledger, lake and users.
    pub store: Store,
    /// Emergencies while the ledger could not be reached.
    pub journal: Journal,
}

impl Centre {
    /// Puts a centre together; its key must be a member's.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            known: catalogue::Known::default(),
            anchors: proof::Anchors::default(),
            asked: attendance::Asked::default(),
            under_way: change::UnderWay::default(),
            admitting: tokio::sync::Mutex::default(),
            journaling: tokio::sync::Mutex::default(),
            telling: tokio::sync::Mutex::default(),
        }))
    }

    /// The parts.
    pub fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// Who is a member now.
    pub(crate) fn members(&self) -> Arc<Members> {
        self.0.parts.ledger.members()
    }

    /// This centre's id: that of its first key, whatever key it has now.
    pub fn id(&self) -> CentreId {
        let key = self.0.parts.key.public();
        let first = || aegle_ledger::Centre::id_of(&key);
        self.members().with_key(&key).map_or_else(first, |centre| centre.id)
    }
}
