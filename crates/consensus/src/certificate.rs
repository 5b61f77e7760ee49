//! Turns the engine's finalisations into the ledger's certificates.

use crate::engine::Scheme;
use aegle_ledger::Certificate;
use aegle_model::Signature;
use commonware_codec::Encode as _;
use commonware_consensus::simplex::types::Finalization;
use commonware_cryptography::sha256;

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
