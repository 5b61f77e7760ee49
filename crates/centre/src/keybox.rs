//! Record keys on their way to another centre: HPKE (RFC 9180) to the key that the ledger names.
//!
//! DHKEM(P-256, HKDF-SHA-256), HKDF-SHA-256, AES-256-GCM, as for the parts of a record.

use aegle_model::{CentreId, PatientId, RecordKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_P256_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

const INFO: &[u8] = b"aegle record key v1";
const POINT: usize = 65;
/// How long a sealed record key is: a point, the key, the tag of AES-GCM.
pub(crate) const SEALED_BYTES: usize = POINT + 32 + 16;

/// A fresh key pair: the secret and the uncompressed point that goes into the genesis.
pub fn generate() -> (Zeroizing<Vec<u8>>, [u8; POINT]) {
    let (HpkePublicKey(point), secret) =
        SUITE.generate_key_pair().expect("the system's random source works");
    let point = point.try_into().expect("an uncompressed point has 65 bytes");
    (Zeroizing::new(secret.secret_bytes().to_vec()), point)
}

/// Whether something can be sealed to this point.
pub(crate) fn is_point(point: &[u8; POINT]) -> bool {
    // Parsing checks that it lies on the curve; what the key is parsed for does not matter.
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).is_ok()
}

/// Seals a record key to the centre that has this point; none when it is no point.
pub(crate) fn seal(
    point: &[u8; POINT],
    (patient, to): (PatientId, CentreId),
    key: &RecordKey,
) -> Option<Vec<u8>> {
    let point = HpkePublicKey(point.to_vec());
    let sealed = SUITE.seal(INFO, &bound(patient, to), key.as_bytes(), &point);
    let (EncapsulatedSecret(head), body) = sealed.ok()?;
    Some([head, body].concat())
}

/// Opens what was sealed to this centre for this patient.
pub(crate) fn open(
    secret: &[u8],
    (patient, to): (PatientId, CentreId),
    sealed: &[u8],
) -> Option<RecordKey> {
    let (head, body) = sealed.split_at_checked(POINT)?;
    let head = EncapsulatedSecret(head.to_vec());
    let secret = HpkePrivateKey::from(secret.to_vec());
    let plain = SUITE.open(&head, INFO, &bound(patient, to), body, &secret);
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
        assert_eq!(sealed.len(), SEALED_BYTES);
        let opened =
            |secret: &[u8], to| open(secret, (patient, to), &sealed).map(|key| *key.as_bytes());
        assert_eq!(opened(&secret, to), Some([7; 32]));
        assert_eq!(opened(&other, to), None);
        assert_eq!(opened(&secret, CentreId::from_array([3; 16])), None);
        let mut beside = point;
        beside[64] ^= 1;
        assert!(is_point(&point) && !is_point(&[0; 65]) && !is_point(&beside));
        assert!(seal(&beside, (patient, to), &key).is_none());
        assert!(seal(&[0; 65], (patient, to), &key).is_none());
    }
}
