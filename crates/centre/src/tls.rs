//! Mutual TLS between nodes, pinned to the certificates that the ledger names. No authority is
//! trusted: the ledger is the registry.

use aegle_ledger::Centre;
use aegle_model::{CentreId, Hash};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A self-signed certificate with its key.
pub struct Certificate {
    certificate: CertificateDer<'static>,
    key: Zeroizing<Vec<u8>>,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate could be made.
    #[error("could not make a certificate")]
    Make(#[from] rcgen::Error),
    /// Certificate and key do not fit.
    #[error("could not use the certificate and its key")]
    Use(#[from] Error),
}

impl Certificate {
    /// A fresh one.
    pub fn generate() -> Result<Self, TlsError> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let key = Zeroizing::new(made.signing_key.serialize_der());
        Ok(Self { certificate: made.cert.der().clone(), key })
    }

    /// One that was kept: DER certificate, PKCS#8 key.
    pub fn from_der(certificate: Vec<u8>, key: Zeroizing<Vec<u8>>) -> Self {
        Self { certificate: certificate.into(), key }
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.certificate
    }

    /// The key, PKCS#8 DER.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What the ledger pins.
    pub fn pin(&self) -> Hash {
        pin(&self.certificate)
    }

    /// How to call the one centre whose certificate has this pin.
    pub fn client(&self, peer: Hash) -> Result<ClientConfig, TlsError> {
        let pins = Pins::new([(peer, CentreId::from_array([0; 16]))]);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pins))
            .with_client_auth_cert(vec![self.certificate.clone()], self.private())?;
        config.alpn_protocols = protocols();
        Ok(config)
    }

    /// How to be called by `members`, and by nobody else.
    pub fn server(&self, members: &[Centre]) -> Result<ServerConfig, TlsError> {
        let pins = Pins::new(members.iter().map(|centre| (centre.tls, centre.id)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(pins))
            .with_single_cert(vec![self.certificate.clone()], self.private())?;
        config.alpn_protocols = protocols();
        Ok(config)
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.to_vec()).into()
    }
}

/// The name in every certificate; nobody looks at it.
pub(crate) const NAME: &str = "node.aegle";

/// HTTP/2 where both sides can: many calls share one connection.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// How the ledger names a certificate.
pub fn pin(certificate: &CertificateDer<'_>) -> Hash {
    Hash::sha256(&[certificate])
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Accepts exactly the pinned certificates, from either side.
#[derive(Debug)]
struct Pins {
    centres: BTreeMap<Hash, CentreId>,
    provider: Arc<CryptoProvider>,
}

impl Pins {
    fn new(centres: impl IntoIterator<Item = (Hash, CentreId)>) -> Self {
        Self { centres: centres.into_iter().collect(), provider: provider() }
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let known = self.centres.contains_key(&pin(certificate));
        known.then_some(()).ok_or(CertificateError::ApplicationVerificationFailure.into())
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS 1.2 is never offered.
const NOT_OFFERED: Error = Error::General(String::new());

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(NOT_OFFERED)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(NOT_OFFERED)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
