//! Turns the engine's finalisations into the ledger's certificates.

use crate::{block, engine::Scheme};
use aegle_ledger::Certificate;
use aegle_model::{Hash, Signature};
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::{
    simplex::types::{Finalization, Proposal},
    types::{Epoch, Round, View},
};
use commonware_cryptography::{certificate::Signers, ed25519, sha256};
use commonware_utils::Participant;

/// The certificate in the ledger's own format, which verifies without the engine.
pub(crate) fn convert(finalization: &Finalization<Scheme, sha256::Digest>) -> Certificate {
    let (proposal, certificate) = (&finalization.proposal, &finalization.certificate);
    let signature = |bytes: &[u8]| bytes.try_into().map(Signature::from_array);
    Certificate {
        epoch: proposal.round.epoch().get(),
        view: proposal.round.view().get(),
        parent_view: proposal.parent.get(),
        signers: certificate.signers.iter().map(usize::from).collect(),
        signatures: certificate
            .signatures
            .iter()
            .map(|lazy| signature(&lazy.encode()).expect("ed25519 signatures have 64 bytes"))
            .collect(),
    }
}

/// Whether the engine's finalisation is that of the header with this digest.
pub(crate) fn is_for(finalization: &Finalization<Scheme, sha256::Digest>, digest: &Hash) -> bool {
    finalization.proposal.payload == block::digest(digest)
}

/// The finalisation by some of `validators` that a certificate for the header with this digest was
/// made of; none when it was made of none.
pub(crate) fn revert(
    certificate: &Certificate,
    digest: &Hash,
    validators: usize,
) -> Option<Finalization<Scheme, sha256::Digest>> {
    let round = Round::new(Epoch::new(certificate.epoch), View::new(certificate.view));
    let parent = View::new(certificate.parent_view);
    let signers = certificate.signers.iter().map(Participant::from_usize);
    let signature = |bytes: &Signature| {
        ed25519::Signature::decode(Copying(bytes.as_bytes().as_slice())).map(Into::into)
    };
    Some(Finalization {
        proposal: Proposal::new(round, parent, block::digest(digest)),
        certificate: ed25519::certificate::Certificate {
            signers: Signers::new(u32::try_from(validators).ok()?, signers).ok()?,
            signatures: certificate
                .signatures
                .iter()
                .map(signature)
                .collect::<Result<_, _>>()
                .ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, node};
    use aegle_ledger::{CertificateError, Genesis};
    use aegle_model::Bits;
    use commonware_consensus::simplex::types::Finalize;
    use commonware_parallel::Sequential;
    use commonware_utils::non_empty;

    const VIEW: u64 = 300;

    /// The finalisation of `digest` by the validators at `signers`, as the engine makes it.
    fn finalization(
        signers: &[usize],
        digest: &Hash,
    ) -> (Genesis, Finalization<Scheme, sha256::Digest>) {
        let keys = fixture::keys(4);
        let genesis = fixture::genesis(&keys);
        let validators = genesis.validators();
        let scheme = |key| node::identity(&genesis, key).scheme(&validators, true);
        let schemes: Vec<_> = keys.iter().map(scheme).collect();
        let round = Round::new(Epoch::zero(), View::new(VIEW));
        let proposal = Proposal::new(round, View::new(VIEW - 1), block::digest(digest));
        let votes: Vec<_> = signers
            .iter()
            .map(|signer| Finalize::sign(&schemes[*signer], proposal.clone()).unwrap())
            .collect();
        let made = Finalization::from_finalizes(&schemes[0], non_empty![@&votes], &Sequential);
        (genesis, made.unwrap())
    }

    fn verify(
        certificate: &Certificate,
        genesis: &Genesis,
        digest: &Hash,
    ) -> Result<(), CertificateError> {
        certificate.verify(genesis.network(), digest, &genesis.validators())
    }

    #[test]
    fn a_finalisation_of_the_engine_verifies_without_the_engine() {
        let digest = Hash::sha256(&[b"block"]);
        for signers in [&[0, 1, 2][..], &[3, 1, 0], &[0, 1, 2, 3]] {
            let (genesis, finalization) = finalization(signers, &digest);
            verify(&convert(&finalization), &genesis, &digest).unwrap();
            let again = revert(&convert(&finalization), &digest, 4).unwrap();
            assert_eq!(again.encode(), finalization.encode());
            assert_eq!(revert(&convert(&finalization), &digest, 2), None);
        }
    }

    #[test]
    fn an_altered_certificate_proves_nothing() {
        let digest = Hash::sha256(&[b"block"]);
        let (genesis, finalization) = finalization(&[0, 1, 2], &digest);
        let good = convert(&finalization);
        let altered = |alter: fn(&mut Certificate)| {
            let mut certificate = good.clone();
            alter(&mut certificate);
            verify(&certificate, &genesis, &digest)
        };
        let signature = Err(CertificateError::Signature);
        assert_eq!(altered(|certificate| certificate.epoch += 1), signature);
        assert_eq!(altered(|certificate| certificate.view += 1), signature);
        assert_eq!(altered(|certificate| certificate.parent_view -= 1), signature);
        assert_eq!(altered(|certificate| certificate.signatures.swap(0, 1)), signature);
        let others =
            |certificate: &mut Certificate| certificate.signers = Bits::from_iter([0, 1, 3]);
        assert_eq!(altered(others), signature);
        let too_few = |certificate: &mut Certificate| {
            certificate.signers = Bits::from_iter([0, 1]);
            certificate.signatures.pop();
        };
        assert_eq!(altered(too_few), Err(CertificateError::TooFew { have: 2, need: 3 }));
        assert_eq!(verify(&good, &genesis, &Hash::sha256(&[b"other"])), signature);
        let mut elsewhere = genesis.clone();
        elsewhere.time.0 += 1;
        assert_eq!(verify(&good, &elsewhere, &digest), signature);
    }
}
