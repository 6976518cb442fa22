//! The types of options that are more than a string or a number.

use std::fmt;

use serde::Deserialize;

use crate::crypto::SecretBytes;
use crate::crypto::digest::sha256;

/// A value that an option cannot take. Never shows the value: it may be a secret.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {0}")]
pub struct InvalidValue(&'static str);

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
