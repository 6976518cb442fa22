//! What the server reaches by itself: the targets of event notifications, and other servers that are replicated to.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::values::{self, AccessKeyId, AccountId, InvalidValue, Region, SecretKey, SecretText};

/// `[[notifications.targets]]`: where events go that are configured for an ARN. The ARN and the URL must be given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotificationTarget {
    /// What clients name: an ARN of SNS, SQS, Lambda or, for EventBridge, `arn:aws:events:REGION:ACCOUNT:event-bus/default`.
    #[serde(deserialize_with = "values::target_arn")]
    pub arn: String,
    /// Where it is: `https://` (a webhook; on this machine also `http://`), `nats://` or `tls://`, `mqtt://`, `amqp://` or
    /// `amqps://`, `kafka://` or `kafka+tls://` (of Kafka, several brokers with commas between them).
    #[serde(deserialize_with = "values::target_url")]
    pub url: String,
    /// The accounts beside the ARN's own whose buckets may send events here.
    #[serde(default)]
    pub accounts: Vec<AccountId>,
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

impl NotificationTarget {
    /// What is given that means nothing where the URL says that events go.
    pub(super) fn foreign(&self) -> Option<&'static str> {
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        let known: &[&str] = match scheme {
            "https" => &["token", "secret", "ca"],
            "http" => &["token", "secret"],
            "nats" | "tls" => &["subject", "jetstream", "username", "password", "token", "ca"],
            "mqtt" => &["subject", "username", "password"],
            "amqp" => &["subject", "exchange", "username", "password"],
            "amqps" => &["subject", "exchange", "username", "password", "ca"],
            "kafka" => &["subject", "username", "password", "mechanism"],
            "kafka+tls" => &["subject", "username", "password", "mechanism", "ca"],
            // Refused where the target is opened.
            _ => return None,
        };
        let given = [
            ("subject", self.subject.is_some()),
            ("exchange", self.exchange.is_some()),
            ("jetstream", self.jetstream),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("mechanism", self.mechanism != SaslMechanism::default()),
            ("token", self.token.is_some()),
            ("secret", self.secret.is_some()),
            ("ca", self.ca.is_some()),
        ];
        given.into_iter().find(|(name, is_given)| *is_given && !known.contains(name)).map(|(name, _)| name)
    }
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
    /// The URL of the S3 endpoint: `https://`, or on this machine also `http://`.
    #[serde(deserialize_with = "values::endpoint")]
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

/// What the ARN of a bucket begins with.
const BUCKET_ARN: &str = "arn:aws:s3:::";

/// ARNs of buckets, by a text in which `*` stands for any characters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct ArnPattern(Vec<String>);

impl TryFrom<String> for ArnPattern {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let pattern = Self::of(&text);
        let (first, is_whole) = (&pattern.0[0], pattern.0.len() == 1);
        let can_match = match first.strip_prefix(BUCKET_ARN) {
            Some(name) => !(name.contains([':', '/']) || is_whole && name.is_empty()),
            None => !is_whole && BUCKET_ARN.starts_with(first.as_str()),
        };
        if can_match {
            Ok(pattern)
        } else {
            Err(values::invalid("the ARN of a bucket, such as arn:aws:s3:::offsite-*"))
        }
    }
}

impl ArnPattern {
    fn of(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

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
        "accounts",
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
            accounts: Vec::new(),
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
        let matches = |pattern: &str, arn: &str| ArnPattern::of(pattern).matches(arn);
        assert!(matches("arn:aws:s3:::b", "arn:aws:s3:::b"));
        assert!(!matches("arn:aws:s3:::b", "arn:aws:s3:::bb"));
        assert!(matches("arn:aws:s3:::off-*", "arn:aws:s3:::off-1"));
        assert!(matches("arn:aws:s3:::*-off-*-x", "arn:aws:s3:::a-off-b-x"));
        assert!(!matches("arn:aws:s3:::*-off-*-x", "arn:aws:s3:::a-off-b-y"));
        assert!(!matches("ab*ba", "aba"), "no character stands for two");
        assert!(matches("*", "anything"));
        assert_eq!(ArnPattern::of("a*b").to_string(), "a*b");
    }

    #[test]
    fn a_pattern_that_no_bucket_has_is_refused() {
        let read = |text: &str| ArnPattern::try_from(text.to_owned());
        for right in ["arn:aws:s3:::b", "arn:aws:s3:::*", "arn:aws:s3:::a*b", "arn:aws:*", "*", "*-offsite"] {
            assert!(read(right).is_ok(), "{right}");
        }
        for wrong in ["", "x", "b*", "arn:aws:s3:::", "arn:aws:s3:::b/k", "arn:aws:sqs:::b*", "arn:aws:s3:us-east-1::b"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_means_nothing_to_a_target_is_found() {
        let target = |url: &str| NotificationTarget::new("arn:aws:sns:us-east-1:000000000000:t", url);
        let webhook = NotificationTarget { subject: Some("s".to_owned()), ..target("https://h") };
        assert_eq!(webhook.foreign(), Some("subject"));
        assert_eq!(NotificationTarget { jetstream: true, ..target("https://h") }.foreign(), Some("jetstream"));
        let queue = NotificationTarget { subject: Some("s".to_owned()), ..target("amqp://h") };
        assert_eq!(queue.foreign(), None);
        assert_eq!(NotificationTarget { jetstream: true, ..queue }.foreign(), Some("jetstream"));
        let subject = NotificationTarget { subject: Some("s".to_owned()), jetstream: true, ..target("tls://h") };
        assert_eq!(subject.foreign(), None);
        let topic = NotificationTarget { mechanism: SaslMechanism::Plain, ..target("kafka://h") };
        assert_eq!(topic.foreign(), None);
        assert_eq!(NotificationTarget { ca: Some("a.pem".into()), ..topic }.foreign(), Some("ca"));
    }
}
