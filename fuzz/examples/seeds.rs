//! Writes the seeds: one small valid input per target, under `seeds/<target>/`.
//!
//! Run it after a format changed: `cargo run --example seeds`, in this folder.

use aegle_access::{Effect, Policy, Purpose, Purposes};
use aegle_ledger::fixture::{Network, name, vocabulary};
use aegle_ledger::{
    Body, CertifiedBlock, Erase, Grant, OpenedRequest, OpenedRule, ScopedTag, Wish, write_segment,
};
use aegle_model::{
    Canonical, Grantee, Handle, Hash, PatientId, RecordKey, RequestId, Requester, Timestamp, Window,
};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let (patient, key) = (PatientId::from_array([7; 16]), RecordKey::from_array([9; 32]));
    let mut network = Network::new(4).with_patient(0, patient, &key);
    let (rule, request) = (rule(&network), request(&network, patient));
    let blinded = rule.blind(&key).expect("a short scope");
    network.submit(0, Body::Grant(Grant { patient, rule: blinded.clone(), sealed: vec![1; 8] }));
    let disclosure = network.disclosure(&request, 1, &key);
    let question = disclosure.question.clone();
    let transaction = network.sign(0, Body::Disclose(Box::new(disclosure)));
    network.commit(std::slice::from_ref(&transaction));

    let policy = Policy { emergency: true };
    let question = borsh::to_vec(&(vec![blinded], question, policy, Timestamp(5)))?;
    seed("transaction", &transaction.to_bytes())?;
    seed("block", &network.blocks[network.blocks.len() - 1].to_bytes())?;
    seed("receipt", &network.receipt(&transaction.id()).to_bytes())?;
    seed("patient_log", &network.log(patient).to_bytes())?;
    seed("segment", &segment(&network))?;
    seed("certificate", &network.anchor(1).certificate.to_bytes())?;
    seed("genesis", &network.genesis.to_bytes())?;
    seed("vocabulary", &vocabulary().to_bytes())?;
    seed("opened_request", &request.to_bytes())?;
    seed("opened_rule", &rule.to_bytes())?;
    seed("question", &question)?;
    seed("handle", Handle::from(patient).to_string().as_bytes())?;
    seed("decide", include_bytes!("../../crates/node/tests/decide/question.json"))?;
    let erase = Erase { patient, epoch: 2, commitment: Hash::sha256(&[b"seed"]) };
    named("transaction", "erase", &network.sign(0, Body::Erase(erase)).to_bytes())
}

fn seed(target: &str, bytes: &[u8]) -> std::io::Result<()> {
    named(target, "one", bytes)
}

fn named(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}

fn segment(network: &Network) -> Vec<u8> {
    let certified = |block: &aegle_ledger::Block| {
        let certificate = network.anchor(block.header.height).certificate;
        CertifiedBlock { block: block.clone(), certificate: Some(certificate) }
    };
    write_segment(network.blocks[1..].iter().map(certified).collect()).expect("there are blocks")
}

fn rule(network: &Network) -> OpenedRule {
    OpenedRule {
        effect: Effect::Allow,
        grantee: Grantee::Department { centre: network.id(1), id: name("1") },
        scope: vec![ScopedTag { centre: network.id(0), tag: name("medication"), version: 1 }],
        window: Window::ALWAYS,
        purposes: Purposes::ANY,
    }
}

fn request(network: &Network, patient: PatientId) -> OpenedRequest {
    OpenedRequest {
        network: network.genesis.network(),
        request: RequestId::from_array([3; 16]),
        patient,
        requester: Requester::Professional {
            centre: network.id(1),
            id: name("207"),
            departments: vec![name("1")],
        },
        purpose: Purpose::Treatment,
        reason: None,
        wishes: vec![Wish { centre: network.id(0), tags: vec![name("all")] }],
        recipient: [4; 65],
        asked: Timestamp(1_000),
    }
}
