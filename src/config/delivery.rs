//! What the server reaches by itself: the targets of event notifications, and other servers that are replicated to.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::values::{AccessKeyId, Region, SecretKey, SecretText};

/// `[[notifications.targets]]`: where events go that are configured for an ARN. The ARN and the URL must be given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotificationTarget {
    /// What clients name: an ARN of SNS, SQS, Lambda or, for EventBridge, `arn:aws:events:REGION:ACCOUNT:event-bus/default`.
    pub arn: String,
    /// Where it is: `https://` or `http://` (a webhook), `nats://` or `tls://`, `mqtt://`, `amqp://` or
    /// `amqps://`, `kafka://` or `kafka+tls://` (of Kafka, several brokers with commas between them).
    pub url: String,
    /// The NATS subject, the topic of MQTT or Kafka, the AMQP routing key (or the queue, under the default exchange).
    pub subject: Option<String>,
    /// The AMQP exchange; by default the one that is the default there.
    pub exchange: Option<String>,
    /// Whether the NATS subject belongs to a JetStream stream, which then acknowledges each message.
    #[serde(default)]
    pub jetstream: bool,
    /// Who the server is to NATS, MQTT, AMQP or Kafka.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretText>,
    /// How the password is proved to Kafka.
    #[serde(default)]
    pub mechanism: SaslMechanism,
    /// The bearer token of a webhook, or the token of NATS.
    pub token: Option<SecretText>,
    /// The key of the HMAC-SHA-256 that a webhook gets in `x-strongroom-signature`.
    pub secret: Option<SecretText>,
    /// A PEM file with the authorities that are trusted, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// How Kafka is shown that a client knows a password (SASL).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum SaslMechanism {
    /// The password itself is sent: only over TLS. (RFC 4616)
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of it. (RFC 7677)
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of it, with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// `[[replication.destinations]]`: how buckets of other servers are reached. The bucket, the endpoint and the credentials
/// must be given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationDestination {
    /// The ARN that rules name; `*` stands for any characters.
    pub bucket: ArnPattern,
    /// The URL of the S3 endpoint.
    pub endpoint: String,
    /// The region that requests are signed for.
    #[serde(default)]
    pub region: Region,
    /// The access key there.
    pub access_key_id: AccessKeyId,
    /// Its secret.
    pub secret_access_key: SecretKey,
    /// A PEM file with the authorities that are trusted, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// ARNs, by a text in which `*` stands for any characters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub struct ArnPattern(Vec<String>);

impl From<String> for ArnPattern {
    fn from(text: String) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }
}

impl ArnPattern {
    /// Whether `arn` is one of them.
    pub fn matches(&self, arn: &str) -> bool {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return false };
        if self.0.len() == 1 {
            return arn == first;
        }
        let Some(mut rest) = arn.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        self.0[1..self.0.len() - 1].iter().all(|piece| match rest.split_once(piece.as_str()) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
}

impl fmt::Display for ArnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("*"))
    }
}

#[cfg(test)]
impl NotificationTarget {
    pub(super) const OPTIONS: &'static [&'static str] = &[
        "arn",
        "url",
        "subject",
        "exchange",
        "jetstream",
        "username",
        "password",
        "mechanism",
        "token",
        "secret",
        "ca",
    ];

    /// A target with no other options.
    pub fn new(arn: &str, url: &str) -> Self {
        Self {
            arn: arn.to_owned(),
            url: url.to_owned(),
            subject: None,
            exchange: None,
            jetstream: false,
            username: None,
            password: None,
            mechanism: SaslMechanism::default(),
            token: None,
            secret: None,
            ca: None,
        }
    }
}

#[cfg(test)]
impl ReplicationDestination {
    pub(super) const OPTIONS: &'static [&'static str] =
        &["bucket", "endpoint", "region", "access_key_id", "secret_access_key", "ca"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let matches = |pattern: &str, arn: &str| ArnPattern::from(pattern.to_owned()).matches(arn);
        assert!(matches("arn:aws:s3:::b", "arn:aws:s3:::b"));
        assert!(!matches("arn:aws:s3:::b", "arn:aws:s3:::bb"));
        assert!(matches("arn:aws:s3:::off-*", "arn:aws:s3:::off-1"));
        assert!(matches("arn:aws:s3:::*-off-*-x", "arn:aws:s3:::a-off-b-x"));
        assert!(!matches("arn:aws:s3:::*-off-*-x", "arn:aws:s3:::a-off-b-y"));
        assert!(!matches("ab*ba", "aba"), "no character stands for two");
        assert!(matches("*", "anything"));
        assert_eq!(ArnPattern::from("a*b".to_owned()).to_string(), "a*b");
    }
}
