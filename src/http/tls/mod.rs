//! TLS: rustls with aws-lc-rs, versions 1.2 and 1.3, HTTP/2 or 1.1 by ALPN, and a certificate that can be replaced while
//! the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, CommonState, ProtocolVersion, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock::Timestamp;
use crate::wire::TlsInfo;

mod provider;
mod stream;

#[cfg(test)]
mod tests;

pub use provider::install as install_provider;
pub(super) use provider::provider;
pub(super) use stream::TlsStream;

/// The protocols' names in ALPN (RFC 9113 section 3.1, RFC 7301 section 6).
pub(super) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// What a certificate is made of: the chain, leaf first, and the leaf's private key.
pub struct Material {
    /// The chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

impl Material {
    /// Reads a PEM chain and a PEM key.
    ///
    /// # Errors
    /// [`TlsError::Pem`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let private_key = PrivateKeyDer::from_pem_file(key);
        let private_key =
            private_key.map_err(|source| PemError::new(key, "private key (-----BEGIN PRIVATE KEY-----)", source))?;
        Ok(Self { chain, key: private_key })
    }

    /// Whether the leaf is marked as the certificate of an authority, so that strict clients refuse it from a server. One that
    /// is not valid `now` is not judged.
    pub fn is_marked_as_authority(&self, now: Timestamp) -> bool {
        let Some(leaf) = self.chain.first() else { return false };
        let mut roots = RootCertStore::empty();
        let Ok(parsed) = ParsedCertificate::try_from(leaf).and_then(|parsed| roots.add(leaf.clone()).map(|()| parsed))
        else {
            return false;
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let algorithms = provider().signature_verification_algorithms.all;
        let judged = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms);
        judged.is_err_and(|error| names_an_authority(&error))
    }
}

/// Whether it was refused because an authority's certificate stood in a server's place.
pub(super) fn names_an_authority(error: &dyn fmt::Debug) -> bool {
    // What webpki says reaches us by its name alone.
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

/// The certificates in the PEM file at `path`: one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|found| if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) })
        .map_err(|source| PemError::new(path, "certificate (-----BEGIN CERTIFICATE-----)", source))
}

/// A PEM file is not there, or not what it should be.
#[derive(Debug)]
pub struct PemError {
    path: PathBuf,
    wanted: &'static str,
    source: pem::Error,
}

impl PemError {
    fn new(path: &Path, wanted: &'static str, source: pem::Error) -> Self {
        Self { path: path.to_owned(), wanted, source }
    }
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, wanted, source } = self;
        match source {
            // As the system says it.
            pem::Error::Io(error) => write!(f, "{}: {error}", path.display()),
            pem::Error::NoItemsFound => write!(f, "{}: there is no {wanted} in it", path.display()),
            malformed => write!(f, "{}: expected a {wanted} in PEM: {malformed}", path.display()),
        }
    }
}

impl std::error::Error for PemError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or not what it should be.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The key does not belong to the certificate, or is of no use.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The server's side of TLS.
pub struct Tls {
    config: Arc<ServerConfig>,
    certificate: Arc<Current>,
    buffers: Arc<stream::BufferPool>,
}

impl Tls {
    /// TLS with this certificate, and HTTP/2 offered beside HTTP/1.1 if `http2`.
    ///
    /// # Errors
    /// [`TlsError::Unusable`].
    pub fn new(material: Material, http2: bool) -> Result<Self, TlsError> {
        let provider = provider();
        let certificate = Arc::new(Current(RwLock::new(certified(material, &provider)?)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&certificate) as _;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = http2.then_some(H2).into_iter().chain([HTTP_1_1]).map(<[u8]>::to_vec).collect();
        // A client that wants AES-256 alone offers nothing else.
        config.ignore_client_order = true;
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { config: Arc::new(config), certificate, buffers: Arc::default() })
    }

    /// Shows this certificate from the next handshake on.
    ///
    /// # Errors
    /// [`TlsError::Unusable`]; the old one stays.
    pub fn replace(&self, material: Material) -> Result<(), TlsError> {
        let certified = certified(material, self.config.crypto_provider())?;
        *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    /// Shakes hands with the client at the other end of `socket`.
    ///
    /// # Errors
    /// What the socket or TLS says.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> io::Result<TlsStream<S>> {
        TlsStream::accept(socket, Arc::clone(&self.config), Arc::clone(&self.buffers)).await
    }
}

fn certified(material: Material, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    Ok(Arc::new(CertifiedKey::from_der(material.chain, material.key, provider)?))
}

/// The certificate shown now, whatever name the client asks for: it covers all of them.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What a finished handshake agreed on.
pub(super) fn info(connection: &CommonState) -> Option<TlsInfo> {
    let version = match connection.protocol_version()? {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => return None,
    };
    // The IANA names of all suites that aws-lc-rs offers; rustls prefixes those of TLS 1.3 in a way of its own.
    let cipher_suite = match connection.negotiated_cipher_suite()?.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        suite => suite.as_str().unwrap_or("unknown"),
    };
    Some(TlsInfo { version, cipher_suite })
}
