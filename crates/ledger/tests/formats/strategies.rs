//! Random values of every format.

use aegle_access::{
    Decision, Effect, Part, Policy, Purpose, Purposes, Request, Rule, Scope, Subject,
};
use aegle_ledger::*;
use aegle_model::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::num::NonZeroU64;

prop_compose! {
    pub(super) fn name()(text in "[a-zé0-9 _-]{1,12}") -> Name {
        Name::new(text).unwrap()
    }
}

pub(super) fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_array)
}

pub(super) fn token() -> impl Strategy<Value = Token> {
    any::<[u8; 16]>().prop_map(Token::from_array)
}

pub(super) fn centre_id() -> impl Strategy<Value = CentreId> {
    any::<[u8; 16]>().prop_map(CentreId::from_array)
}

fn patient_id() -> impl Strategy<Value = PatientId> {
    any::<[u8; 16]>().prop_map(PatientId::from_array)
}

fn network_id() -> impl Strategy<Value = NetworkId> {
    any::<[u8; 16]>().prop_map(NetworkId::from_array)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    any::<[u8; 16]>().prop_map(RequestId::from_array)
}

fn rule_number() -> impl Strategy<Value = RuleId> {
    any::<[u8; 16]>().prop_map(RuleId::from_array)
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey::from_array)
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>())
        .prop_map(|halves| Signature::from_array([halves.0, halves.1].concat().try_into().unwrap()))
}

/// An uncompressed point by its shape only.
fn point() -> impl Strategy<Value = [u8; 65]> {
    (any::<[u8; 32]>(), any::<u8>()).prop_map(|(bytes, fill)| {
        let mut point = [fill; 65];
        point[..32].copy_from_slice(&bytes);
        point
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

pub(super) fn window() -> impl Strategy<Value = Window> {
    option::of((time(), time())).prop_flat_map(|bounds| {
        let (one, other) = bounds.unwrap_or_default();
        let (from, until) = (one.min(other), one.max(other));
        let until = Some(until).filter(|until| from < *until);
        prop_oneof![Just((Some(from), until)), Just((None, until)), Just((None, None))]
            .prop_map(|(from, until)| Window::new(from, until).unwrap())
    })
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::Allow), Just(Effect::Deny)]
}

fn purpose() -> impl Strategy<Value = Purpose> {
    proptest::sample::select(Purpose::ALL.to_vec())
}

pub(super) fn purposes() -> impl Strategy<Value = Purposes> {
    vec(purpose(), 0..5).prop_map(Purposes::from_iter)
}

pub(super) fn bits() -> impl Strategy<Value = Bits> {
    btree_set(0..Bits::MAX, 0..20).prop_map(|positions| positions.into_iter().collect())
}

pub(super) fn scope() -> impl Strategy<Value = Scope> {
    vec(token(), 1..6).prop_map(|tokens| Scope::new(tokens).unwrap())
}

prop_compose! {
    pub(super) fn rule()(
        effect in effect(), grantee in token(), scope in scope(), window in window(), purposes in purposes(),
    ) -> Rule {
        Rule { effect, grantee, scope, window, purposes }
    }
}

pub(super) fn part() -> impl Strategy<Value = Part> {
    (centre_id(), btree_set(token(), 0..8)).prop_flat_map(|(centre, tokens)| {
        let cells = vec(btree_set(0..tokens.len().max(1), 0..=tokens.len()), 0..6);
        let tokens: Vec<Token> = tokens.into_iter().collect();
        cells.prop_map(move |cells| {
            let set =
                |cell: std::collections::BTreeSet<usize>| -> Bits { cell.into_iter().collect() };
            Part::new(centre, tokens.clone(), cells.into_iter().map(set).collect()).unwrap()
        })
    })
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let subject =
        prop_oneof![Just(Subject::Patient), vec(token(), 0..5).prop_map(Subject::Professional),];
    (subject, purpose(), vec(part(), 0..4)).prop_map(|(subject, purpose, parts)| Request {
        subject,
        purpose,
        parts,
    })
}

pub(super) fn vocabulary() -> impl Strategy<Value = Vocabulary> {
    let labels = btree_map("[a-z]{2}", "[a-zA-Zéñ ]{0,12}", 0..3);
    let tag = (name(), labels).prop_map(|(name, labels)| Tag { name, labels });
    let cell = btree_map(name(), 1..9_u32, 0..4).prop_map(|tags| Cell { tags });
    (any::<u32>(), hash(), vec(tag, 0..4), vec(cell, 0..4)).prop_map(
        |(version, catalogue, tags, cells)| Vocabulary { version, catalogue, tags, cells },
    )
}

prop_compose! {
    fn attestation()(centre in centre_id(), key in public_key(), signature in signature()) -> Attestation {
        Attestation { centre, key, signature }
    }
}

fn delivery() -> impl Strategy<Value = PartDelivery> {
    let delivered = (hash(), any::<u32>(), any::<u32>(), bits());
    let result = prop_oneof![
        delivered.prop_map(|(content, rows, columns, steps)| Ok(Delivered {
            content,
            rows,
            columns,
            steps
        })),
        proptest::sample::select(
            [Missing::Unreachable, Missing::Failed, Missing::Refused, Missing::Interrupted]
                .to_vec()
        )
        .prop_map(Err),
    ];
    (centre_id(), result).prop_map(|(centre, result)| PartDelivery { centre, result })
}

prop_compose! {
    fn disclose()(
        (request, patient, requester, opened) in (request_id(), patient_id(), attestation(), hash()),
        sealed in vec(any::<u8>(), 0..40),
        question in request(),
        catalogues in vec(any::<u32>(), 0..4),
    ) -> Disclose {
        Disclose { request, patient, requester, opened, sealed, question, catalogues }
    }
}

pub(super) fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        vocabulary().prop_map(|vocabulary| Body::Publish(Publish { vocabulary })),
        (patient_id(), hash())
            .prop_map(|(patient, commitment)| Body::Enrol(Enrol { patient, commitment })),
        (patient_id(), any::<bool>(), hash(), attestation()).prop_map(
            |(patient, speaks, commitment, by_patient)| {
                Body::Link(Link { patient, speaks, commitment, by_patient })
            }
        ),
        (patient_id(), rule(), vec(any::<u8>(), 0..40))
            .prop_map(|(patient, rule, sealed)| Body::Grant(Grant { patient, rule, sealed })),
        (patient_id(), rule_number())
            .prop_map(|(patient, rule)| Body::Revoke(Revoke { patient, rule })),
        disclose().prop_map(|disclose| Body::Disclose(Box::new(disclose))),
        (request_id(), vec(delivery(), 0..4))
            .prop_map(|(request, parts)| Body::Deliver(Deliver { request, parts })),
        (patient_id(), any::<u64>())
            .prop_map(|(patient, height)| Body::Restore(Restore { patient, height })),
        (disclose(), time(), any::<u64>(), hash()).prop_map(|(disclose, at, number, previous)| {
            Body::Late(Box::new(Late { disclose, at, number, previous }))
        }),
        change().prop_map(|change| Body::Propose(Box::new(Propose { change }))),
        (hash(), any::<bool>()).prop_map(|(proposal, agree)| Body::Vote(Vote { proposal, agree })),
        (patient_id(), any::<u32>(), hash()).prop_map(|(patient, epoch, commitment)| {
            Body::Erase(Erase { patient, epoch, commitment })
        }),
    ]
}

prop_compose! {
    pub(super) fn transaction()(
        network in network_id(),
        author in centre_id(),
        expires: u64,
        nonce: u64,
        body in body(),
        seed: [u8; 32],
    ) -> Transaction {
        let key = SigningKey::from_seed(&seed);
        Draft::new(network, (author, key.public()), expires, nonce, body).sign(&key)
    }
}

pub(super) const REJECTIONS: [Rejection; 23] = [
    Rejection::UnknownPatient,
    Rejection::PatientTaken,
    Rejection::UnknownCentre,
    Rejection::NotLinked,
    Rejection::LinkedAlready,
    Rejection::NoAuthority,
    Rejection::WrongKey,
    Rejection::UnknownRule,
    Rejection::TooManyRules,
    Rejection::Decided,
    Rejection::UnknownPart,
    Rejection::StaleCatalogue,
    Rejection::BadVocabulary,
    Rejection::BadDelivery,
    Rejection::Repeated,
    Rejection::NotPast,
    Rejection::TooManyReturns,
    Rejection::NotForJournal,
    Rejection::BrokenJournal,
    Rejection::NoVote,
    Rejection::Impossible,
    Rejection::TooManyProposals,
    Rejection::NotOpen,
];

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done),
        vec(bits(), 0..4).prop_map(|granted| Outcome::Decided(Decision { granted })),
        proptest::sample::select(REJECTIONS.to_vec()).prop_map(Outcome::Rejected),
    ]
}

prop_compose! {
    pub(super) fn header()(
        (version, network, epoch, height) in (any::<u16>(), network_id(), any::<u64>(), any::<u64>()),
        (parent, time, transactions, heads) in (hash(), time(), hash(), hash()),
        (state, validators, engine) in (hash(), hash(), hash()),
    ) -> Header {
        Header { version, network, epoch, height, parent, time, transactions, heads, state, validators, engine }
    }
}

/// A block whose header commits to its body.
pub(super) fn block() -> impl Strategy<Value = Block> {
    (header(), vec((transaction(), outcome()), 0..4), vec(any::<u8>(), 0..40)).prop_map(
        |(header, entries, engine)| {
            let mut block = Block { header, entries, engine };
            block.header.transactions = merkle_root(&block.leaves());
            block.header.engine = Block::engine_hash(&block.engine);
            block
        },
    )
}

prop_compose! {
    pub(super) fn certificate()(
        (epoch, view, parent_view) in (any::<u64>(), any::<u64>(), any::<u64>()),
        signers in bits(),
        signatures in vec(signature(), 0..5),
    ) -> Certificate {
        Certificate { epoch, view, parent_view, signers, signatures }
    }
}

prop_compose! {
    fn handover()(
        header in header(), certificate in certificate(), validators in vec(public_key(), 0..4),
    ) -> Handover {
        Handover { header, certificate, validators }
    }
}

prop_compose! {
    pub(super) fn anchor()(
        handovers in vec(handover(), 0..3),
        header in header(), links in vec(header(), 0..3), certificate in certificate(),
    ) -> Anchor {
        Anchor { handovers, header, links, certificate }
    }
}

prop_compose! {
    pub(super) fn receipt()(
        anchor in anchor(), transaction in transaction(), outcome in outcome(),
        (index, size, path) in (any::<u32>(), any::<u32>(), vec(hash(), 0..34)),
    ) -> Receipt {
        Receipt { anchor, transaction, outcome, proof: InclusionProof { index, size, path } }
    }
}

prop_compose! {
    fn log_entry()(height: u64, time in time(), transaction in transaction(), outcome in outcome()) -> LogEntry {
        LogEntry { height, time, transaction, outcome }
    }
}

prop_compose! {
    pub(super) fn patient_log()(
        patient in patient_id(), entries in vec(log_entry(), 0..3), anchor in anchor(),
        (index, patients, siblings) in (any::<u64>(), any::<u64>(), vec(hash(), 0..70)),
    ) -> PatientLog {
        PatientLog { patient, entries, head: HeadProof { index, patients, siblings }, anchor }
    }
}

fn grantee() -> impl Strategy<Value = Grantee> {
    prop_oneof![
        (centre_id(), name()).prop_map(|(centre, id)| Grantee::Professional { centre, id }),
        (centre_id(), name()).prop_map(|(centre, id)| Grantee::Department { centre, id }),
        centre_id().prop_map(|centre| Grantee::Organisation { centre }),
    ]
}

fn requester() -> impl Strategy<Value = Requester> {
    prop_oneof![
        Just(Requester::Patient),
        (centre_id(), name(), vec(name(), 0..3)).prop_map(|(centre, id, departments)| {
            Requester::Professional { centre, id, departments }
        }),
    ]
}

prop_compose! {
    pub(super) fn opened_request()(
        (network, request, patient) in (network_id(), request_id(), patient_id()),
        (requester, purpose, reason) in (requester(), purpose(), option::of("[a-zé ]{0,20}")),
        wishes in vec((centre_id(), vec(name(), 0..3)), 0..3),
        (recipient, asked) in (point(), time()),
    ) -> OpenedRequest {
        let wishes = wishes.into_iter().map(|(centre, tags)| Wish { centre, tags }).collect();
        OpenedRequest { network, request, patient, requester, purpose, reason, wishes, recipient, asked }
    }
}

prop_compose! {
    pub(super) fn opened_rule()(
        effect in effect(), grantee in grantee(), scope in vec((centre_id(), name(), any::<u32>()), 0..4),
        window in window(), purposes in purposes(),
    ) -> OpenedRule {
        let scoped = |(centre, tag, version)| ScopedTag { centre, tag, version };
        OpenedRule { effect, grantee, scope: scope.into_iter().map(scoped).collect(), window, purposes }
    }
}

pub(super) fn genesis() -> impl Strategy<Value = Genesis> {
    (name(), time(), any::<bool>(), any::<NonZeroU64>(), vec(centre(), 0..4)).prop_map(
        |(name, time, emergency, epochs, centres)| Genesis {
            name,
            time,
            policy: Policy { emergency },
            epochs: Epochs(epochs),
            centres,
        },
    )
}

fn centre() -> impl Strategy<Value = Centre> {
    let centre = (centre_id(), name(), public_key(), hash(), point());
    centre.prop_map(|(id, code, key, tls, seal)| Centre { id, code, key, tls, seal })
}

fn change() -> impl Strategy<Value = Amendment> {
    let member = || {
        (centre(), "[a-z]{0,9}:[0-9]{0,4}").prop_map(|(centre, address)| Member { centre, address })
    };
    prop_oneof![
        member().prop_map(Amendment::Admit),
        centre_id().prop_map(Amendment::Remove),
        member().prop_map(Amendment::Rotate),
        any::<bool>().prop_map(|emergency| Amendment::Policy(Policy { emergency })),
        (any::<u16>(), any::<u64>())
            .prop_map(|(version, height)| Amendment::Protocol(Switch { version, height })),
    ]
}
