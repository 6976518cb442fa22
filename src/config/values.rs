//! The types of options that are more than a string or a number.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use crate::crypto::SecretBytes;
use crate::crypto::digest::sha256;

/// A value that an option cannot take. Never shows the value: it may be a secret.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {0}")]
pub struct InvalidValue(&'static str);

/// What is told of a value that is not `expected`.
pub(super) const fn invalid(expected: &'static str) -> InvalidValue {
    InvalidValue(expected)
}

/// The address to listen on that `text` is. Names are not looked up: they may stand for several addresses.
///
/// # Errors
/// [`InvalidValue`].
pub fn listen_address(text: &str) -> Result<SocketAddr, InvalidValue> {
    text.parse()
        .map_err(|_| InvalidValue("an IP address (no host name) and a port, such as 127.0.0.1:9000 or [::]:9000"))
}

pub(super) fn address<'de, D: Deserializer<'de>>(value: D) -> Result<SocketAddr, D::Error> {
    listen_address(&String::deserialize(value)?).map_err(serde::de::Error::custom)
}

pub(super) fn some_address<'de, D: Deserializer<'de>>(value: D) -> Result<Option<SocketAddr>, D::Error> {
    address(value).map(Some)
}

/// A network, or the one address that a text without a prefix length is.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| InvalidValue("an IP address or a network such as 192.0.2.0/24"))
    }
}

pub(super) fn networks<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<IpNet>, D::Error> {
    Ok(Vec::<Network>::deserialize(value)?.into_iter().map(|network| network.0).collect())
}

/// The URL of an S3 endpoint that objects are sent to.
pub(super) fn endpoint<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    WebhookUrl::deserialize(value).map(|url| url.0)
}

/// The URL of a target of events: a webhook's, or that of a broker, which its protocol judges.
pub(super) fn target_url<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    let text = String::deserialize(value)?;
    if text.starts_with("http://") || text.starts_with("https://") {
        return WebhookUrl::try_from(text).map(|url| url.0).map_err(serde::de::Error::custom);
    }
    Ok(text)
}

/// The ARN of a target of events.
pub(super) fn target_arn<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    TargetArn::deserialize(value).map(|arn| arn.as_str().to_owned())
}

/// Defines a string that holds to a rule.
macro_rules! text_value {
    ($(#[$meta:meta])* $name:ident, $expected:literal, $rule:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                let rule: fn(&str) -> bool = $rule;
                if rule(&text) { Ok(Self(text)) } else { Err(InvalidValue($expected)) }
            }
        }

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_value!(
    /// An AWS account's id.
    AccountId,
    "an account id of twelve digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

text_value!(
    /// A canonical user id.
    CanonicalId,
    "a canonical id of 64 lower-case hexadecimal digits",
    |text| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

text_value!(
    /// The id of an access key (IAM API reference, `AccessKey`: 16 to 128 word characters). Not secret.
    AccessKeyId,
    "an access key id of 16 to 128 letters and digits",
    |text| (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
);

text_value!(
    /// A region's name: a part of ARNs, host names and credential scopes.
    Region,
    "a region such as us-east-1",
    |text| (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
);

text_value!(
    /// A domain name, in lower case.
    Domain,
    "a domain name in lower case",
    |text| (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
);

text_value!(
    /// A name or an address that a certificate is for.
    CertificateName,
    "a domain name, one with *. in front of it, or an IP address",
    |text| {
        let name = text.strip_prefix("*.").unwrap_or(text);
        text.parse::<IpAddr>().is_ok() || Domain::try_from(name.to_ascii_lowercase()).is_ok()
    }
);

/// A host and a port: `HOST`, `HOST:PORT`, `[::1]`, `[::1]:PORT`; `None` if brackets are not as they should be, or the port is
/// none that can be reached.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_number = |port: &&str| port.bytes().all(|b| b.is_ascii_digit());
    match port.map(|port| Some(port).filter(is_number).and_then(|port| port.parse().ok()).filter(|port| *port > 0)) {
        Some(None) => None,
        port => Some((host, port.flatten())),
    }
}

/// Whether `text` may be the host and port of a service.
fn is_host_and_port(text: &str) -> bool {
    let is_name = |host: &str| !host.is_empty() && !host.contains(['/', ' ', '@', '?', '#']);
    split_port(text).is_some_and(|(host, _)| is_name(host))
}

/// The host and port at the beginning of what follows a URL's scheme.
fn authority(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

text_value!(
    /// A URL that something is sent to: over TLS, or on this machine.
    WebhookUrl,
    "an https:// URL (http:// to this machine alone)",
    |text| {
        // Some readers of URLs take a backslash for a slash, and so another host than is read here.
        let is_right = |rest: &&str| is_host_and_port(authority(rest)) && !rest.contains([' ', '\\']);
        let rest = |scheme| text.strip_prefix(scheme).filter(is_right);
        let here = ["127.0.0.1", "[::1]", "localhost"];
        let is_here = |rest: &str| {
            let host = authority(rest);
            here.iter().any(|name| host.strip_prefix(name).is_some_and(|port| port.is_empty() || port.starts_with(':')))
        };
        rest("https://").is_some() || rest("http://").is_some_and(is_here)
    }
);

text_value!(
    /// The ARN of a target of events: what clients name in the configuration of a bucket.
    TargetArn,
    "an ARN such as arn:aws:sns:us-east-1:000000000000:NAME, of sns, sqs, lambda or events",
    |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [scheme, partition, service, region, account, name] = parts[..] else { return false };
        scheme == "arn"
            && partition.starts_with("aws")
            && ["sns", "sqs", "lambda", "events"].contains(&service)
            && Region::try_from(region.to_owned()).is_ok()
            && AccountId::try_from(account.to_owned()).is_ok()
            && !name.is_empty()
    }
);

/// Where syslog messages go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub enum SyslogAddress {
    /// `udp://HOST[:PORT]`, by default port 514.
    Udp(String),
    /// `tcp://HOST[:PORT]`, by default port 601.
    Tcp(String),
    /// `unix:///PATH`, such as `/dev/log`.
    Unix(PathBuf),
}

impl TryFrom<String> for SyslogAddress {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue("udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH");
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        let with_port = |port: &str| {
            if split_port(rest).is_some_and(|(_, port)| port.is_none()) {
                format!("{rest}:{port}")
            } else {
                rest.to_owned()
            }
        };
        match scheme {
            "udp" | "tcp" if !is_host_and_port(rest) => Err(invalid()),
            "udp" => Ok(Self::Udp(with_port("514"))),
            "tcp" => Ok(Self::Tcp(with_port("601"))),
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            _ => Err(invalid()),
        }
    }
}

/// The value of an Authorization header.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct Credential(SecretBytes);

impl Credential {
    /// The value. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl TryFrom<String> for Credential {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let fits = (1..=4096).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        let secret = SecretBytes::new(text.into_bytes());
        if fits { Ok(Self(secret)) } else { Err(InvalidValue("printable ASCII, such as \"Bearer TOKEN\"")) }
    }
}

impl Clone for Credential {
    fn clone(&self) -> Self {
        Self(SecretBytes::new(self.0.expose().to_vec()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(redacted)")
    }
}

text_value!(
    /// The name of a key service: a part of its keys' names and ARNs.
    ServiceName,
    "a name of up to 32 lower-case letters, digits and dashes that begins with a letter",
    |text| (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !matches!(text, "alias" | "key")
);

text_value!(
    /// Where a service answers.
    ServiceAddress,
    "an address that begins with https:// (http:// is for this machine's own alone)",
    |text| {
        let host = |rest: &str| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']);
        match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => host(rest),
            (_, Some(rest)) => {
                host(rest)
                    && ["localhost", "127.0.0.1", "[::1]"]
                        .iter()
                        .filter_map(|own| rest.strip_prefix(own))
                        .any(|rest| rest.is_empty() || rest.starts_with([':', '/']))
            }
            _ => false,
        }
    }
);

impl ServiceName {
    /// The name of the embedded key service.
    pub fn embedded() -> Self {
        Self("embedded".to_owned())
    }
}

impl Default for AccountId {
    fn default() -> Self {
        Self("000000000000".to_owned())
    }
}

impl AccountId {
    /// The canonical user id of an account that was given none.
    pub fn canonical_id(&self) -> CanonicalId {
        CanonicalId(hex::encode(sha256(format!("strongroom canonical user id {self}").as_bytes())))
    }
}

impl Default for Region {
    fn default() -> Self {
        Self("us-east-1".to_owned())
    }
}

/// A secret access key.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct SecretKey(SecretBytes);

impl SecretKey {
    /// The key. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl TryFrom<String> for SecretKey {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let fits = (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let secret = SecretBytes::new(text.into_bytes());
        if fits { Ok(Self(secret)) } else { Err(InvalidValue("a secret access key of 16 to 128 printable characters")) }
    }
}

impl Clone for SecretKey {
    fn clone(&self) -> Self {
        Self(SecretBytes::new(self.0.expose().to_vec()))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

/// A password, a token, a signing key: any text.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct SecretText(SecretBytes);

impl SecretText {
    /// The text. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl TryFrom<String> for SecretText {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let fits = !text.is_empty();
        let secret = SecretBytes::new(text.into_bytes());
        if fits { Ok(Self(secret)) } else { Err(InvalidValue("a secret that is not empty")) }
    }
}

impl Clone for SecretText {
    fn clone(&self) -> Self {
        Self(SecretBytes::new(self.0.expose().to_vec()))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_syslog() {
        let read = |text: &str| SyslogAddress::try_from(text.to_owned());
        assert_eq!(read("udp://logs"), Ok(SyslogAddress::Udp("logs:514".to_owned())));
        assert_eq!(read("tcp://192.0.2.1:6514"), Ok(SyslogAddress::Tcp("192.0.2.1:6514".to_owned())));
        assert_eq!(read("udp://[::1]"), Ok(SyslogAddress::Udp("[::1]:514".to_owned())));
        assert_eq!(read("unix:///dev/log"), Ok(SyslogAddress::Unix("/dev/log".into())));
        assert_eq!(read("udp://[::1]:514"), Ok(SyslogAddress::Udp("[::1]:514".to_owned())));
        let ports = ["tcp://a:0", "tcp://a:99999", "tcp://a:", "tcp://a:x", "tcp://a:+1"];
        let brackets = ["udp://[::1", "udp://::1]", "udp://[logs]", "udp://[::1]514", "udp://::1"];
        let others = ["logs", "udp://", "tls://logs", "unix://dev/log", "tcp://a/b"];
        for wrong in ports.into_iter().chain(brackets).chain(others) {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn events_leave_the_machine_over_tls_alone() {
        let read = |text: &str| WebhookUrl::try_from(text.to_owned());
        for right in ["https://siem.example.com/in", "http://127.0.0.1:8080/in", "http://localhost/", "http://[::1]:1"]
        {
            assert!(read(right).is_ok(), "{right}");
        }
        for wrong in
            ["http://siem.example.com", "http://127.0.0.1.example.com/", "http://localhost:a@b", "https://", "ftp://a"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["https://example.com:99999/", "https://example.com:0", "https://[::1/", "https:///in", "https://a b"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for wrong in ["http://siem.example.com\\@127.0.0.1/", "http://127.0.0.1@siem.example.com/"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("https://token:secret@siem.example.com:8443/in?a=b").is_ok());
    }

    #[test]
    fn arns_that_a_client_can_name() {
        let read = |text: &str| TargetArn::try_from(text.to_owned());
        for right in [
            "arn:aws:sns:us-east-1:000000000000:uploads",
            "arn:aws:sqs:eu-west-1:111122223333:q",
            "arn:aws:lambda:us-east-1:000000000000:function:f:1",
            "arn:aws:events:us-east-1:000000000000:event-bus/default",
        ] {
            assert!(read(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "x",
            "arn:aws:sns:us-east-1:000000000000",
            "arn:aws:sns:us-east-1:000000000000:",
            "arn:aws:s3:::b",
            "arn:aws:sns:us-east-1:0:t",
            "arn:aws:sns::000000000000:t",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_a_certificate_can_have() {
        let read = |text: &str| CertificateName::try_from(text.to_owned());
        for right in ["storage.example.com", "*.example.com", "Storage.Example.com", "192.0.2.7", "::1"] {
            assert!(read(right).is_ok(), "{right}");
        }
        for wrong in ["", "*.foo bar", "a.*.b", "*", "https://a", "a..b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_credential_is_not_shown() {
        let credential = Credential::try_from("Bearer secret".to_owned()).unwrap();
        assert_eq!(format!("{credential:?}"), "Credential(redacted)");
        assert!(Credential::try_from("a\nb".to_owned()).is_err());
    }
}
