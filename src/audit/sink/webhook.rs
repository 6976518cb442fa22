//! A web hook: events are posted to a URL, many at once, in the form that CloudTrail's files have.
//!
//! ```text
//! POST URL                     Content-Type: application/json    Authorization: as configured
//! {"Records": [EVENT, ...]}    X-Strongroom-Sequence: FIRST-LAST
//! ```
//!
//! They have arrived when the answer is 2xx; anything else is tried again. An event that comes twice has the same `eventID`.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, redirect};

use super::{DeliveryError, Destination};
use crate::audit::chain::Line;
use crate::wire::error::chain;
use crate::wire::trust;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a receiver may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What a web hook is made of.
pub struct WebhookOptions {
    /// Where events are posted to.
    pub url: String,
    /// The Authorization header's value.
    pub authorization: Option<Vec<u8>>,
    /// The certificates that vouch for the server, in PEM; `None`: the system's.
    pub ca: Option<Vec<u8>>,
}

/// A web hook.
pub struct Webhook {
    client: Client,
    url: String,
    authorization: Option<HeaderValue>,
}

impl Webhook {
    /// The web hook that `options` describe.
    ///
    /// # Errors
    /// [`DeliveryError::Refused`] if they describe none.
    pub fn new(options: WebhookOptions) -> Result<Self, DeliveryError> {
        let refused = |error: &dyn std::error::Error| DeliveryError::Refused(chain(error));
        let mut client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none());
        if let Some(pem) = options.ca {
            let in_file = |error| DeliveryError::Refused(format!("the file of its authorities: {error}"));
            client = client.tls_certs_only(trust::authorities(&pem).map_err(in_file)?);
        }
        let authorization = options.authorization.map(|value| {
            let mut value = HeaderValue::from_bytes(&value).map_err(|error| refused(&error))?;
            value.set_sensitive(true);
            Ok::<_, DeliveryError>(value)
        });
        let client = client.build().map_err(|error| refused(&error))?;
        Ok(Self { client, url: options.url, authorization: authorization.transpose()? })
    }
}

#[async_trait]
impl Destination for Webhook {
    async fn deliver(&mut self, lines: &[Vec<u8>]) -> Result<(), DeliveryError> {
        let events: Vec<Line<'_>> = lines.iter().filter_map(|line| Line::parse(line)).collect();
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let mut request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("x-strongroom-sequence", format!("{}-{}", first.sequence, last.sequence));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        // Its URL may hold a secret, and what failed is told without it.
        let failed = |error: reqwest::Error| DeliveryError::Refused(chain(&error.without_url()));
        let response = request.body(document(&events)).send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match asked {
            Some(seconds) => Err(DeliveryError::Later(Duration::from_secs(seconds).min(LONGEST_WAIT))),
            None => Err(DeliveryError::Refused(format!("the answer was {status}"))),
        }
    }
}

/// `{"Records": [...]}`
fn document(events: &[Line<'_>]) -> Vec<u8> {
    let mut document = b"{\"Records\":[".to_vec();
    for (at, line) in events.iter().enumerate() {
        if at > 0 {
            document.push(b',');
        }
        document.extend_from_slice(line.event);
    }
    document.extend_from_slice(b"]}");
    document
}
