//! Transactions: what a centre asks the ledger to record.
//!
//! Canonical bytes: the version, the network, author, author's key, expiry height and nonce, the
//! body, the signature. The id is the hash of everything but the signature.

use crate::governance::{Propose, Vote};
use crate::history::change_id;
use crate::opened::OpenedRequest;
use aegle_access::{Request, Rule};
use aegle_model::{
    Batch, Bits, Canonical, CentreId, Hash, Malformed, NetworkId, PatientId, PublicKey, RequestId,
    RuleId, Signature, SigningKey, Timestamp, Vocabulary,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The most bytes a transaction can have: a catalogue's vocabulary is the largest.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of a sealed text inside a transaction.
pub const SEALED_BYTES_MAX: usize = 4 * 1024;

const VERSION: u8 = 1;
const DOMAIN: &str = "aegle.transaction";

/// The hash that names a transaction.
pub type TxId = Hash;

/// A signed request of a centre to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Transaction {
    draft: Draft,
    signature: Signature,
    /// Follows from the draft; kept because it is asked for again and again.
    #[borsh(skip)]
    id: TxId,
}

/// What an author signs.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Draft {
    version: u8,
    /// The network it is meant for.
    pub network: NetworkId,
    /// The centre that answers for it.
    pub author: CentreId,
    /// The author's key; the ledger compares it with the registered one.
    pub key: PublicKey,
    /// The last height at which it may stand in a block.
    pub expires: u64,
    /// Makes two otherwise equal transactions different. A change of a patient's rules is made once
    /// per nonce ([`crate::change_id`]).
    pub nonce: u64,
    /// What is asked for.
    pub body: Body,
}

/// The kinds of transaction. Append only.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Body {
    /// A centre publishes its tags and cells.
    Publish(Publish),
    /// A centre brings a patient into the network.
    Enrol(Enrol),
    /// A patient is linked to a further centre.
    Link(Link),
    /// A patient grants a rule.
    Grant(Grant),
    /// A patient revokes a rule.
    Revoke(Revoke),
    /// A record is asked for.
    Disclose(Box<Disclose>),
    /// What became of a disclosure.
    Deliver(Deliver),
    /// A patient returns to earlier rules.
    Restore(Restore),
    /// A record was read in an emergency while the ledger could not be reached.
    Late(Box<Late>),
    /// A member proposes a change of the network.
    Propose(Box<Propose>),
    /// A member votes on a proposal.
    Vote(Vote),
    /// A centre has erased a patient.
    Erase(Erase),
}

/// A new version of the author's catalogue.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Publish {
    /// Its tags and cells.
    pub vocabulary: Vocabulary,
}

/// A new patient; the author becomes the first linked centre and may speak for the patient.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Enrol {
    /// The random pseudonym.
    pub patient: PatientId,
    /// The commitment of the record key.
    pub commitment: Hash,
}

/// The author becomes a linked centre of the patient.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Link {
    /// The patient.
    pub patient: PatientId,
    /// Whether the author may speak for the patient from now on.
    pub speaks: bool,
    /// Proves that the author was given the record key.
    pub commitment: Hash,
    /// The patient's side, by a centre that speaks for the patient.
    pub by_patient: Attestation,
}

/// A rule from now on.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Grant {
    /// The patient.
    pub patient: PatientId,
    /// The rule in tokens.
    pub rule: Rule,
    /// The readable rule, sealed under the record key.
    pub sealed: Vec<u8>,
}

/// A rule no more.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Revoke {
    /// The patient.
    pub patient: PatientId,
    /// The rule.
    pub rule: RuleId,
}

/// From now on the rules that stood after an earlier block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Restore {
    /// The patient.
    pub patient: PatientId,
    /// The block's height.
    pub height: u64,
}

/// The author has destroyed the keys to everything that it held of the patient, and is linked no more.
/// Told afterwards: what is erased stays erased, whatever the ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Erase {
    /// The patient.
    pub patient: PatientId,
    /// The first of the author's key epochs in which nothing of the patient can be read.
    pub epoch: u32,
    /// Binds the author to what it noted about the erasure; shows nothing by itself.
    pub commitment: Hash,
}

/// A request to read a record. Its outcome is the decision and the log entry in one.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Disclose {
    /// Chosen by the requester's centre.
    pub request: RequestId,
    /// Whose record.
    pub patient: PatientId,
    /// The requester's centre answers for the opened request.
    pub requester: Attestation,
    /// The hash of the opened request.
    pub opened: Hash,
    /// The opened request, sealed under the record key.
    pub sealed: Vec<u8>,
    /// The request in tokens.
    pub question: Request,
    /// The catalogue version of each part of the question.
    pub catalogues: Vec<u32>,
}

impl Disclose {
    fn is_attested(&self, holds: Holds<'_>) -> bool {
        let Attestation { key, signature, .. } = &self.requester;
        holds(key, REQUEST, self.opened.as_bytes(), signature)
    }
}

/// An entry of the author's journal: its professional read its own data in an emergency while the
/// ledger could not be reached, and the ledger is told afterwards.
///
/// The entries of one centre follow each other as links of a chain, and the ledger takes them in this
/// order only: each once, none left out, none altered.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Late {
    /// What would have been brought to the ledger at once. One part: the author's own.
    pub disclose: Disclose,
    /// When it happened, by the author's clock.
    pub at: Timestamp,
    /// The position in the author's journal, from 0.
    pub number: u64,
    /// [`Self::link`] of the entry before; zero for the first.
    pub previous: Hash,
}

impl Late {
    /// What the next entry follows.
    pub fn link(&self) -> Hash {
        let bytes = borsh::to_vec(self).expect("writing to memory cannot fail");
        Hash::of("aegle.journal", &[&bytes])
    }
}

/// What became of the parts of a disclosure: lineage.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Deliver {
    /// The disclosure.
    pub request: RequestId,
    /// One entry per part that the author answers for.
    pub parts: Vec<PartDelivery>,
}

/// What became of one data centre's part.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PartDelivery {
    /// The data centre.
    pub centre: CentreId,
    /// What it handed out, or why there is nothing.
    pub result: Result<Delivered, Missing>,
}

/// A part that left a lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Delivered {
    /// SHA-256 of the sealed part.
    pub content: Hash,
    /// How many rows.
    pub rows: u32,
    /// How many columns.
    pub columns: u32,
    /// The zone steps it went through: a set of [`Step`]s.
    pub steps: Bits,
}

/// A step of a part through the lake's zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// Found in the structured zone.
    Structured,
    /// Brought to the curated zone.
    Curated,
    /// Finished and sealed in the consumer zone.
    Consumer,
    /// Handed over.
    Delivered,
    /// Curated and consumer zones emptied.
    Cleaned,
}

/// Why a part did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Missing {
    /// The data centre did not answer in time.
    Unreachable,
    /// The data centre answered that it cannot read its lake now.
    Failed,
    /// The data centre refused the receipt or the opened request.
    Refused,
    /// The data centre stopped in between; nothing left.
    Interrupted,
}

/// A centre's signature over something that another centre submits.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Attestation {
    /// Who signed.
    pub centre: CentreId,
    /// With which key; the ledger compares it with the registered one.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

impl Attestation {
    /// `centre` lets `linked` become a linked centre of the patient.
    pub fn of_link(
        network: NetworkId,
        (patient, linked, speaks): (PatientId, CentreId, bool),
        centre: CentreId,
        key: &SigningKey,
    ) -> Self {
        let signature = key.sign(LINK, &link_bytes(network, patient, linked, speaks));
        Self { centre, key: key.public(), signature }
    }

    /// `centre` answers for an opened request.
    pub fn of_request(opened: &OpenedRequest, centre: CentreId, key: &SigningKey) -> Self {
        let signature = key.sign(REQUEST, opened.hash().as_bytes());
        Self { centre, key: key.public(), signature }
    }

    /// Whether the signature lets `linked` become a linked centre of the patient.
    pub fn covers_link(
        &self,
        network: NetworkId,
        (patient, linked, speaks): (PatientId, CentreId, bool),
    ) -> bool {
        let bytes = link_bytes(network, patient, linked, speaks);
        self.key.verify(LINK, &bytes, &self.signature).is_ok()
    }

    /// Whether the signature over `opened` holds.
    pub fn covers(&self, opened: &Hash) -> bool {
        self.key.verify(REQUEST, opened.as_bytes(), &self.signature).is_ok()
    }
}

const LINK: &str = "aegle.link";
const REQUEST: &str = "aegle.request";

fn link_bytes(network: NetworkId, patient: PatientId, linked: CentreId, speaks: bool) -> Vec<u8> {
    borsh::to_vec(&(network, patient, linked, speaks)).expect("writing to memory cannot fail")
}

/// Why a transaction is refused at the door, whatever the state.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Not the canonical bytes of a transaction.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Too many bytes.
    #[error(
        "a transaction has at most {TRANSACTION_BYTES_MAX} bytes, a sealed text at most {SEALED_BYTES_MAX}"
    )]
    TooLarge,
    /// Meant for another network.
    #[error("the transaction is for network `{0}`")]
    Network(NetworkId),
    /// A format version this node does not know.
    #[error("transaction version {0} is not known here; version {VERSION} is")]
    Version(u8),
    /// A signature that does not hold.
    #[error("the signature of the {0} does not hold")]
    Signature(&'static str),
}

/// Whether a key's signature for a domain holds over a message.
type Holds<'a> = &'a mut dyn FnMut(&PublicKey, &str, &[u8], &Signature) -> bool;

impl Draft {
    /// A draft of the current version.
    pub fn new(
        network: NetworkId,
        author: (CentreId, PublicKey),
        expires: u64,
        nonce: u64,
        body: Body,
    ) -> Self {
        let (author, key) = author;
        Self { version: VERSION, network, author, key, expires, nonce, body }
    }

    /// The id that the signed transaction will have.
    pub fn id(&self) -> TxId {
        Self::id_of(&self.bytes())
    }

    fn id_of(bytes: &[u8]) -> TxId {
        Hash::of(DOMAIN, &[bytes])
    }

    /// Signs the draft; the key must be the draft's.
    pub fn sign(self, key: &SigningKey) -> Transaction {
        let bytes = self.bytes();
        let signature = key.sign(DOMAIN, &bytes);
        Transaction { signature, id: Self::id_of(&bytes), draft: self }
    }

    fn bytes(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("writing to memory cannot fail")
    }
}

impl Transaction {
    /// What names the transaction.
    pub fn id(&self) -> TxId {
        self.id
    }

    /// The centre that answers for it.
    pub fn author(&self) -> CentreId {
        self.draft.author
    }

    /// The author's claimed key.
    pub fn key(&self) -> PublicKey {
        self.draft.key
    }

    /// The last height at which it may stand in a block.
    pub fn expires(&self) -> u64 {
        self.draft.expires
    }

    /// What makes it different from others.
    pub fn nonce(&self) -> u64 {
        self.draft.nonce
    }

    /// What it names the change of a patient's rules that it asks for; none when it asks for none.
    pub fn change_id(&self) -> Option<Hash> {
        let patient = match self.body() {
            Body::Grant(grant) => grant.patient,
            Body::Revoke(revoke) => revoke.patient,
            Body::Restore(restore) => restore.patient,
            _ => return None,
        };
        Some(change_id(patient, self.nonce()))
    }

    /// The network it is meant for.
    pub fn network(&self) -> NetworkId {
        self.draft.network
    }

    /// What is asked for.
    pub fn body(&self) -> &Body {
        &self.draft.body
    }

    /// Everything that can be checked without the state: version, network, sizes, signatures.
    /// Costs one or two signature verifications.
    pub fn check(&self, network: NetworkId) -> Result<(), TransactionError> {
        self.check_by(network, &mut |key, domain, message, signature| {
            key.verify(domain, message, signature).is_ok()
        })
    }

    /// Like [`Self::check`], but leaves the signatures to `batch`.
    pub fn check_in(&self, network: NetworkId, batch: &mut Batch) -> Result<(), TransactionError> {
        self.check_by(network, &mut |key, domain, message, signature| {
            batch.add(key, domain, message, signature);
            true
        })
    }

    fn check_by(&self, network: NetworkId, holds: Holds<'_>) -> Result<(), TransactionError> {
        if self.draft.version != VERSION {
            return Err(TransactionError::Version(self.draft.version));
        }
        if self.draft.network != network {
            return Err(TransactionError::Network(self.draft.network));
        }
        let bytes = self.draft.bytes();
        if bytes.len() > TRANSACTION_BYTES_MAX || self.sealed().len() > SEALED_BYTES_MAX {
            return Err(TransactionError::TooLarge);
        }
        if !holds(&self.draft.key, DOMAIN, &bytes, &self.signature) {
            return Err(TransactionError::Signature("author"));
        }
        self.check_attestation(holds)
    }

    /// Whether the author signed it. Costs one signature verification.
    pub(crate) fn is_signed(&self) -> bool {
        self.draft.key.verify(DOMAIN, &self.draft.bytes(), &self.signature).is_ok()
    }

    fn check_attestation(&self, holds: Holds<'_>) -> Result<(), TransactionError> {
        let held = match &self.draft.body {
            Body::Link(link) => {
                let Link { patient, speaks, by_patient, .. } = link;
                let bytes = link_bytes(self.draft.network, *patient, self.draft.author, *speaks);
                holds(&by_patient.key, LINK, &bytes, &by_patient.signature)
            }
            Body::Disclose(disclose) => disclose.is_attested(holds),
            Body::Late(late) => late.disclose.is_attested(holds),
            _ => true,
        };
        if held { Ok(()) } else { Err(TransactionError::Signature("attestation")) }
    }

    fn sealed(&self) -> &[u8] {
        match &self.draft.body {
            Body::Grant(grant) => &grant.sealed,
            Body::Disclose(disclose) => &disclose.sealed,
            Body::Late(late) => &late.disclose.sealed,
            _ => &[],
        }
    }
}

impl BorshDeserialize for Transaction {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let (draft, signature): (Draft, _) = BorshDeserialize::deserialize_reader(reader)?;
        Ok(Self { id: draft.id(), draft, signature })
    }
}

impl Canonical for Transaction {
    const NAME: &'static str = "transaction";
}
