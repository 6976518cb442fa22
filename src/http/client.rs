//! The client's side of the endpoint, for the commands that speak to a running server: one request, one connection, over
//! TLS with the server's own authority.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::{PemError, certificates, names_an_authority};

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest response that is read, in bytes.
const MAX_RESPONSE: usize = 64 << 20;

/// Sends requests to servers whose certificates one file vouches for.
#[derive(Clone)]
pub struct Client(TlsConnector);

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The authority's file is not there, or not what it should be.
    #[error(transparent)]
    Authority(#[from] PemError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The URL is not one of an HTTPS endpoint.
    #[error("{0} is not the URL of an HTTPS endpoint")]
    Url(Uri),
    /// Nobody is there, or it is not who it should be.
    #[error("no connection to {endpoint}: {source}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Its certificate is one of an authority.
    #[error(
        "no connection to {0}: its certificate is marked as an authority's (CA:TRUE), which no server's may be; have another \
         made (openssl req -x509 takes -addext basicConstraints=critical,CA:FALSE)"
    )]
    AuthorityAsServer(String),
    /// The exchange failed midway.
    #[error("the server did not answer: {0}")]
    Exchange(#[from] hyper::Error),
    /// The response was cut short, or is far too long.
    #[error("the answer could not be read: {0}")]
    Response(Box<dyn std::error::Error + Send + Sync>),
    /// The server takes too long.
    #[error("the server did not answer within {} seconds", TIMEOUT.as_secs())]
    TimedOut,
}

impl Client {
    /// A client that trusts the certificates of the PEM file `authority`.
    ///
    /// # Errors
    /// [`ClientError::Authority`], [`ClientError::Tls`].
    pub fn new(authority: &Path) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            roots.add(certificate)?;
        }
        let provider = super::tls::provider();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The answer to `request`, whose URI is absolute.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        tokio::time::timeout(TIMEOUT, self.exchange(request)).await.unwrap_or(Err(ClientError::TimedOut))
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let (mut parts, body) = request.into_parts();
        let not_https = || ClientError::Url(parts.uri.clone());
        let host = parts.uri.host().filter(|_| parts.uri.scheme_str() == Some("https")).ok_or_else(not_https)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = parts.uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(|_| not_https())?;
        let failed = |source| ClientError::Connect { endpoint: format!("{host}:{port}"), source };
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
        let stream = self.0.connect(name, stream).await.map_err(|error| {
            let marked = names_an_authority(&error);
            if marked { ClientError::AuthorityAsServer(format!("{host}:{port}")) } else { failed(error) }
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        parts.uri = parts.uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
        let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE).collect().await.map_err(ClientError::Response)?.to_bytes();
        drop(sender);
        connection.abort();
        Ok(Response::from_parts(parts, body))
    }
}
