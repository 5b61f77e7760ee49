//! Record keys on their way to another centre: HPKE (RFC 9180) to the key that the ledger names.

use aegle_model::{CentreId, PatientId, RecordKey};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

const INFO: &[u8] = b"aegle record key v1";
const POINT: usize = 65;

/// A fresh key pair: the secret and the uncompressed point that goes into the genesis.
pub fn generate() -> (Zeroizing<Vec<u8>>, [u8; POINT]) {
    let (secret, public) = DhP256HkdfSha256::gen_keypair();
    (Zeroizing::new(secret.to_bytes().to_vec()), public.to_bytes().into())
}

/// Seals a record key to the centre that has this point; none when it is no point.
pub(crate) fn seal(
    point: &[u8; POINT],
    (patient, to): (PatientId, CentreId),
    key: &RecordKey,
) -> Option<Vec<u8>> {
    let public = <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(point).ok()?;
    let (head, body) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
        &OpModeS::Base,
        &public,
        INFO,
        key.as_bytes(),
        &bound(patient, to),
    )
    .ok()?;
    Some([head.to_bytes().as_slice(), &body].concat())
}

/// Opens what was sealed to this centre for this patient.
pub(crate) fn open(
    secret: &[u8],
    (patient, to): (PatientId, CentreId),
    sealed: &[u8],
) -> Option<RecordKey> {
    let secret = <DhP256HkdfSha256 as Kem>::PrivateKey::from_bytes(secret).ok()?;
    let (head, body) = sealed.split_at_checked(POINT)?;
    let head = <DhP256HkdfSha256 as Kem>::EncappedKey::from_bytes(head).ok()?;
    let plain = hpke::single_shot_open::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &head,
        INFO,
        body,
        &bound(patient, to),
    );
    let plain = Zeroizing::new(plain.ok()?);
    Some(RecordKey::from_array(plain.as_slice().try_into().ok()?))
}

fn bound(patient: PatientId, to: CentreId) -> Vec<u8> {
    [patient.as_bytes().as_slice(), to.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_key_reaches_only_its_centre_for_its_patient() {
        let (patient, to) = (PatientId::from_array([1; 16]), CentreId::from_array([2; 16]));
        let ((secret, point), (other, _)) = (generate(), generate());
        let key = RecordKey::from_array([7; 32]);
        let sealed = seal(&point, (patient, to), &key).unwrap();
        let opened =
            |secret: &[u8], to| open(secret, (patient, to), &sealed).map(|key| *key.as_bytes());
        assert_eq!(opened(&secret, to), Some([7; 32]));
        assert_eq!(opened(&other, to), None);
        assert_eq!(opened(&secret, CentreId::from_array([3; 16])), None);
        assert!(seal(&[0; 65], (patient, to), &key).is_none());
    }
}
