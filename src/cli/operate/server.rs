//! The server that a command asks: where it is, who vouches for it, and whose access key signs.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Uri};
use serde_json::Value;

use super::{OperateError, query};
use crate::cli::authority;
use crate::cli::banner::reachable;
use crate::cli::credentials::RootCredentials;
use crate::cli::settings::{self, ServeArgs};
use crate::clock::{Clock as _, SystemClock};
use crate::config::listen_address;
use crate::crypto::digest;
use crate::http::Client;
use crate::sigv4::{Service, Signer};

/// Which server is asked. The same flags, variables and file as `serve`'s find it.
#[derive(Args, Debug, Default)]
pub(super) struct ServerArgs {
    /// The server's config file.
    #[arg(long, env = "STRONGROOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data directory [default: strongroom-data].
    #[arg(long, env = "STRONGROOM_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address that the server listens on, as `serve` was told it.
    #[arg(long, env = "STRONGROOM_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// The server's HTTPS endpoint [default: where `serve` listens].
    #[arg(long, env = "STRONGROOM_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// The certificates that vouch for it, in PEM [default: the server's own authority, in its data directory].
    #[arg(long, env = "STRONGROOM_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// A server, and the key that requests to it are signed with.
pub(super) struct Server {
    client: Client,
    endpoint: String,
    region: String,
    credentials: RootCredentials,
}

impl Server {
    /// The server that `arguments` and the environment name.
    pub(super) fn find(arguments: ServerArgs) -> Result<Self, OperateError> {
        let ServerArgs { config, data_dir, listen, endpoint, ca } = arguments;
        let as_served = ServeArgs { config, data_dir, listen, ..ServeArgs::default() };
        let config = settings::settle(as_served, |name| std::env::var(name).ok())?;
        let endpoint = endpoint.unwrap_or_else(|| format!("https://{}", reachable(config.listen)));
        judge(&endpoint)?;
        let credentials = RootCredentials::find(&config.root, &config.data_dir)?;
        let missing = || OperateError::NoCredentials(config.data_dir.join(RootCredentials::FILE).display().to_string());
        let own = || config.tls.certificate.clone().unwrap_or_else(|| config.data_dir.join(authority::CERTIFICATE));
        Ok(Self {
            client: Client::new(&ca.unwrap_or_else(own))?,
            endpoint,
            region: config.region.to_string(),
            credentials: credentials.ok_or_else(missing)?,
        })
    }

    /// Asks the operators' API.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, OperateError> {
        let body = body.map_or_else(String::new, Value::to_string);
        let request = Request::builder().method(method).uri(self.uri(path)?);
        self.send(request, body, Service::S3).await
    }

    /// Asks the KMS API.
    pub(super) async fn ask_kms(&self, operation: &str, body: &Value) -> Result<Value, OperateError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri("/")?)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("TrentService.{operation}"));
        self.send(request, body.to_string(), Service::KMS).await
    }

    /// Asks the IAM API.
    pub(super) async fn ask_iam(&self, action: &str, params: &[(&str, &str)]) -> Result<Value, OperateError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri("/")?)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let (is_success, body) =
            self.exchange(request, query::form(action, "2010-05-08", params), Service::IAM).await?;
        let mut answer = query::tree(&String::from_utf8_lossy(&body)).unwrap_or_default();
        if is_success {
            return Ok(answer[format!("{action}Response")][format!("{action}Result")].take());
        }
        let error = &answer["ErrorResponse"]["Error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        Err(OperateError::Refused { code: text("Code"), message: text("Message") })
    }

    fn uri(&self, path: &str) -> Result<Uri, OperateError> {
        let uri = format!("{}{path}", self.endpoint.trim_end_matches('/'));
        uri.parse().map_err(|_| OperateError::Endpoint(self.endpoint.clone()))
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: String,
        service: Service,
    ) -> Result<Value, OperateError> {
        let (is_success, body) = self.exchange(request, body, service).await?;
        let answer = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        if is_success {
            return Ok(answer);
        }
        let text = |names: [&str; 2]| names.iter().find_map(|name| answer[*name].as_str()).map(str::to_owned);
        Err(OperateError::Refused {
            code: text(["code", "__type"]).unwrap_or_else(|| "no code".to_owned()),
            message: text(["message", "Message"]).unwrap_or_default(),
        })
    }

    /// Sends a signed request; whether it succeeded, and what came back.
    async fn exchange(
        &self,
        request: http::request::Builder,
        body: String,
        service: Service,
    ) -> Result<(bool, Bytes), OperateError> {
        let signer = Signer {
            access_key_id: self.credentials.id.as_str(),
            secret: self.credentials.secret.expose(),
            session_token: None,
            region: &self.region,
            service,
        };
        let hash = hex::encode(digest::sha256(body.as_bytes()));
        let malformed = |_| OperateError::Endpoint(self.endpoint.clone());
        let mut request = request.body(Bytes::from(body)).map_err(malformed)?;
        signer.sign(&mut request, &hash, SystemClock.now())?;
        let response = self.client.send(request).await?;
        Ok((response.status().is_success(), response.into_body()))
    }
}

/// Whether a server can be asked there.
fn judge(endpoint: &str) -> Result<(), OperateError> {
    let uri = endpoint.parse::<Uri>().ok();
    match uri.filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some()) {
        Some(_) => Ok(()),
        None => Err(OperateError::Endpoint(endpoint.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_https_url() {
        for right in ["https://127.0.0.1:9000", "https://[::1]:9000/", "https://s3.example.com"] {
            assert!(judge(right).is_ok(), "{right}");
        }
        for wrong in ["foo", "", "http://127.0.0.1:9000", "127.0.0.1:9000", "https://"] {
            let told = judge(wrong).unwrap_err().to_string();
            assert_eq!(told, format!("--endpoint: {wrong} is not the URL of an HTTPS endpoint"));
        }
    }
}
