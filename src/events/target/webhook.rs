//! Webhooks: each message is the body of a POST.

use async_trait::async_trait;
use reqwest::{Client, redirect};

use super::{Message, PATIENCE, Target, TargetError};
use crate::config::{NotificationTarget, SecretText};
use crate::crypto::digest::HmacSha256;
use crate::wire::error::chain;
use crate::wire::trust;

/// The header that holds the body's HMAC.
const SIGNATURE: &str = "x-strongroom-signature";

/// A receiver of POSTs.
pub struct Webhook {
    client: Client,
    url: String,
    token: Option<SecretText>,
    signing_key: Option<HmacSha256>,
}

impl Webhook {
    /// As `options` say: `token` is sent as a bearer token; under `secret`, the body's HMAC-SHA-256 is sent as
    /// `x-strongroom-signature: sha256=HEX`; `ca` is trusted instead of the system's authorities.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn new(options: &NotificationTarget) -> Result<Self, String> {
        let mut client = Client::builder().timeout(PATIENCE).redirect(redirect::Policy::none());
        if let Some(path) = &options.ca {
            let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let certificates = trust::authorities(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().map_err(|error| chain(&error))?;
        client.post(&options.url).build().map_err(|_| "the url cannot be used".to_owned())?;
        let signing_key = options.secret.as_ref().map(|secret| HmacSha256::new(secret.expose()));
        Ok(Self { client, url: options.url.clone(), token: options.token.clone(), signing_key })
    }
}

#[async_trait]
impl Target for Webhook {
    async fn send(&self, message: Message<'_>) -> Result<(), TargetError> {
        let mut request = self.client.post(&self.url).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(super::text(token));
        }
        if let Some(key) = &self.signing_key {
            request = request.header(SIGNATURE, format!("sha256={}", hex::encode(key.tag(&message.body))));
        }
        // The URL may hold a secret path.
        let response = request
            .body(message.body)
            .send()
            .await
            .map_err(|error| TargetError::of("the webhook could not be reached", chain(&error.without_url())))?;
        if response.status().is_success() {
            // Read, so that the connection can be used again.
            drop(response.bytes().await);
            return Ok(());
        }
        Err(TargetError::of("the webhook answered", response.status()))
    }
}
