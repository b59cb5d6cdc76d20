//! TLS settings: whom we trust and who we are.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use zeroize::Zeroizing;

use crate::ClientError;

/// TLS of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// Whom to trust.
    pub roots: Roots,
    /// Who we are, for servers that ask.
    pub certificate: Option<ClientCertificate>,
}

/// Whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The machine's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), and Mozilla's
    /// list, built in, when the machine has none.
    #[default]
    System,
    /// Exactly the certificates of this PEM file.
    Bundle(PathBuf),
    /// Anybody (`ssl_verify: false`). The traffic is encrypted, the peer is unknown.
    Unverified,
}

/// A certificate chain and its key, both PEM. They may share one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The chain, leaf first.
    pub certificate: Pem,
    /// The private key.
    pub key: Pem,
}

/// PEM text, or the file it is in.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// The file, read when the client is built.
    File(PathBuf),
    /// The text, shared with who holds it. In no Debug output.
    Text(Arc<Zeroizing<String>>),
}

impl Hash for Pem {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::File(path) => path.hash(state),
            Self::Text(text) => text.as_str().hash(state),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text([pem])"),
        }
    }
}

/// The TLS settings as rustls wants them. `http2_only` offers only `h2` by ALPN.
pub(crate) fn client_config(
    options: &TlsOptions,
    http2_only: bool,
) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &options.roots {
        Roots::System => builder.with_root_certificates(system_roots()),
        Roots::Bundle(path) => builder.with_root_certificates(bundle(path)?),
        Roots::Unverified => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnybody::new(&provider))),
    };
    let mut config = match &options.certificate {
        Some(own) => {
            builder.with_client_auth_cert(own.certificate.chain()?, own.key.private_key()?)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match http2_only {
        true => vec![b"h2".to_vec()],
        false => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(config)
}

/// The machine's roots are parsed once per process: every plugin has a client of its own.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a system certificate was skipped");
            }
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            Arc::new(roots)
        })
        .clone()
}

fn bundle(path: &Path) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(chain(path)?);
    if added == 0 {
        return Err(pem_error(path, "no usable certificate in it"));
    }
    Ok(roots)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(path, error))?;
    if chain.is_empty() {
        return Err(pem_error(path, "no certificate in it"));
    }
    Ok(chain)
}

impl Pem {
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, ClientError> {
        let text = match self {
            Self::File(path) => return chain(path),
            Self::Text(text) => text,
        };
        let chain = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| text_error("the certificate", error))?;
        match chain.is_empty() {
            true => Err(text_error("the certificate", "no certificate in it")),
            false => Ok(chain),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, ClientError> {
        match self {
            Self::File(path) => {
                PrivateKeyDer::from_pem_file(path).map_err(|error| pem_error(path, error))
            }
            Self::Text(text) => PrivateKeyDer::from_pem_slice(text.as_bytes())
                .map_err(|error| text_error("the private key", error)),
        }
    }
}

fn pem_error(path: &Path, reason: impl ToString) -> ClientError {
    text_error(&path.display().to_string(), reason)
}

fn text_error(what: &str, reason: impl ToString) -> ClientError {
    ClientError::Pem {
        path: what.to_owned(),
        reason: reason.to_string(),
    }
}

/// Checks that the peer holds the key of the certificate it shows, and nothing about whose it is.
#[derive(Debug)]
struct TrustAnybody {
    algorithms: WebPkiSupportedAlgorithms,
}

impl TrustAnybody {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
