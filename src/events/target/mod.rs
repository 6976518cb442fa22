//! Where events go: the targets that the operator configures, under the ARNs that clients name.
//!
//! | URL | protocol | the message is safe when |
//! |---|---|---|
//! | `https://`, `http://` | [`webhook`] | the receiver answers 2xx |
//! | `nats://`, `tls://` | [`nats`] | with JetStream, the stream has it; without, it was sent |
//! | `mqtt://` | [`mqtt`] | the broker acknowledges it (QoS 1) |
//! | `amqp://`, `amqps://` | [`amqp`] | the broker confirms it, and did not return it |
//! | `kafka://`, `kafka+tls://` | [`kafka`] | all replicas that are in sync have it |
//!
//! A target is tried again after a failure, so that a message may come twice.

pub mod amqp;
pub mod kafka;
pub mod mqtt;
pub mod nats;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;

use crate::config::NotificationTarget;

/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What takes messages.
#[async_trait]
pub trait Target: Send + Sync {
    /// Sends a message. It is safe when this returns.
    ///
    /// # Errors
    /// [`TargetError`]: it may or may not have arrived.
    async fn send(&self, message: Message<'_>) -> Result<(), TargetError>;
}

/// A message, and what it is about, by which some targets order and date their messages.
#[derive(Clone, Debug)]
pub struct Message<'m> {
    /// The bucket.
    pub bucket: &'m str,
    /// The object's key; empty in a test message.
    pub key: &'m str,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at: i64,
    /// The message itself: JSON.
    pub body: Vec<u8>,
}

/// A message was not taken. Its text holds no secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

impl TargetError {
    /// With this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The target did not do `what`.
    fn of(what: &str, error: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// Why a target cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("notifications.targets: {arn}: {problem}")]
pub struct Unusable {
    arn: String,
    problem: String,
}

/// The target that `options` describe. No connection is made yet.
///
/// # Errors
/// [`Unusable`].
pub fn open(options: &NotificationTarget) -> Result<Box<dyn Target>, Unusable> {
    let unusable = |problem: String| Unusable { arn: options.arn.clone(), problem };
    let scheme = options.url.split_once("://").map_or("", |(scheme, _)| scheme);
    Ok(match scheme {
        "https" | "http" => Box::new(webhook::Webhook::new(options).map_err(unusable)?),
        "nats" | "tls" => Box::new(nats::Nats::new(options).map_err(unusable)?),
        "mqtt" => Box::new(mqtt::Mqtt::new(options).map_err(unusable)?),
        "amqp" | "amqps" => Box::new(amqp::Amqp::new(options).map_err(unusable)?),
        "kafka" | "kafka+tls" => Box::new(kafka::Kafka::new(options).map_err(unusable)?),
        _ => {
            let known = "https, http, nats, tls, mqtt, amqp, amqps, kafka or kafka+tls";
            return Err(unusable(format!("the url must begin with {known}")));
        }
    })
}

/// Where a broker is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Address {
    host: String,
    port: u16,
    /// What follows the port, without its slash.
    path: String,
}

impl Address {
    /// Of `scheme://host[:port][/path]`. Credentials have options of their own, so that no URL that is shown has any.
    fn parse(url: &str, default_port: u16) -> Result<Self, String> {
        let (_, rest) = url.split_once("://").ok_or("the url has no scheme")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("credentials belong into username and password, not into the url".to_owned());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "the url's port is no number")?)
            }
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("the url names no host".to_owned());
        }
        Ok(Self { host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// The text of a secret option.
fn text(secret: &crate::config::SecretText) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

/// What must be given.
fn required<'o>(option: Option<&'o String>, name: &str) -> Result<&'o String, String> {
    option.ok_or_else(|| format!("{name} must be given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |url| Address::parse(url, 5672).map(|a| (a.host, a.port, a.path));
        assert_eq!(parse("amqp://h"), Ok(("h".to_owned(), 5672, String::new())));
        assert_eq!(parse("amqp://h:1/v%2f"), Ok(("h".to_owned(), 1, "v%2f".to_owned())));
        assert_eq!(parse("amqp://[::1]:7"), Ok(("::1".to_owned(), 7, String::new())));
        assert_eq!(parse("amqp://[::1]"), Ok(("::1".to_owned(), 5672, String::new())));
        for bad in ["amqp://", "h", "amqp://u:p@h", "amqp://h:x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_what_its_url_says() {
        let options = |url: &str| NotificationTarget {
            subject: Some("s".to_owned()),
            ..NotificationTarget::new("arn:aws:sns:us-east-1:000000000000:t", url)
        };
        for url in
            ["https://h/p", "http://h", "nats://h", "tls://h", "mqtt://h", "amqp://h", "amqps://h", "kafka://h,i"]
        {
            assert!(open(&options(url)).is_ok(), "{url}");
        }
        for url in ["redis://h", "h", "https://", "mqtt://u:p@h", "kafka://"] {
            let Err(error) = open(&options(url)) else { panic!("{url}") };
            assert!(error.to_string().starts_with("notifications.targets: arn:aws:sns:us-east-1:000000000000:t: "));
        }
    }
}
