//! A genesis and transactions for this room's tests.

use aegle_ledger::{Body, Centre, Draft, Enrol, Genesis, Transaction};
use aegle_model::{Hash, Name, PatientId, SigningKey, Timestamp};

/// The sorted keys of `size` validators.
pub(crate) fn keys(size: u8) -> Vec<SigningKey> {
    let mut keys: Vec<_> = (1..=size).map(|seed| SigningKey::from_seed(&[seed; 32])).collect();
    keys.sort_by_key(SigningKey::public);
    keys
}

/// The genesis of a network with these validators.
pub(crate) fn genesis(keys: &[SigningKey]) -> Genesis {
    let centres = keys.iter().enumerate().map(|(number, key)| Centre {
        id: Centre::id_of(&key.public()),
        code: Name::new(format!("C{number}")).unwrap(),
        key: key.public(),
        tls: Hash::ZERO,
        seal: [4; 65],
    });
    Genesis {
        name: Name::new("test").unwrap(),
        time: Timestamp(0),
        policy: aegle_access::Policy { emergency: true },
        epochs: aegle_ledger::Epochs::DEFAULT,
        centres: centres.collect(),
    }
}

/// A transaction of `key` that enrols a patient with this number.
pub(crate) fn enrol(genesis: &Genesis, key: &SigningKey, number: u64, expires: u64) -> Transaction {
    let centre = Centre::id_of(&key.public());
    let patient = Hash::of("patient", &[centre.as_bytes(), &number.to_le_bytes()]);
    let patient = PatientId::from_array(patient.as_bytes()[..16].try_into().unwrap());
    let body = Body::Enrol(Enrol { patient, commitment: Hash::ZERO });
    Draft::new(genesis.network(), (centre, key.public()), expires, number, body).sign(key)
}
