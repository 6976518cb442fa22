//! Keys that clients bring along (SSE-C): used for one request, never stored, never logged.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::digest::md5;
use crate::crypto::{Secret, constant_time_eq};

/// A client's 256-bit key, and how the client tells it from others.
#[derive(Clone)]
pub struct CustomerKey {
    key: std::sync::Arc<Secret<32>>,
    /// Base64 of the key's MD5, as the client sent it: responses say it back.
    md5: String,
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadKey {
    /// Not base64 of 32 bytes.
    Malformed,
    /// Its MD5 is another.
    Mismatch,
}

impl CustomerKey {
    /// The key in base64, held against the MD5 that came with it.
    pub(super) fn parse(key: &str, md5_text: &str) -> Result<Self, BadKey> {
        let bytes = STANDARD.decode(key).map(zeroize::Zeroizing::new).map_err(|_| BadKey::Malformed)?;
        let sent = STANDARD.decode(md5_text).map_err(|_| BadKey::Mismatch)?;
        // AWS looks at the MD5 before the length. (boto/boto3#684: a key of 24 bytes with another's MD5.)
        if !constant_time_eq(&sent, &md5(&bytes)) {
            return Err(BadKey::Mismatch);
        }
        let key = Secret::from_slice(&bytes).ok_or(BadKey::Malformed)?;
        Ok(Self { key: std::sync::Arc::new(key), md5: md5_text.to_owned() })
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.key
    }

    /// Base64 of the key's MD5.
    pub fn md5(&self) -> &str {
        &self.md5
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(redacted)")
    }
}

/// Equal if the keys are.
impl PartialEq for CustomerKey {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.key.expose(), other.key.expose())
    }
}

impl Eq for CustomerKey {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A key all of whose bytes are `byte`.
    pub fn customer_key(byte: u8) -> CustomerKey {
        let key = [byte; 32];
        CustomerKey::parse(&STANDARD.encode(key), &STANDARD.encode(md5(&key))).unwrap()
    }

    #[test]
    fn a_key_has_32_bytes_and_the_md5_that_came_with_it() {
        let md5_of = |key: &[u8]| STANDARD.encode(md5(key));
        let parse = |key: &[u8], md5: &str| CustomerKey::parse(&STANDARD.encode(key), md5);
        assert_eq!(parse(&[1; 32], &md5_of(&[1; 32])).unwrap().md5(), md5_of(&[1; 32]));
        for length in [0, 16, 31, 33] {
            assert_eq!(parse(&vec![1; length], &md5_of(&vec![1; length])).unwrap_err(), BadKey::Malformed);
        }
        assert_eq!(CustomerKey::parse("not base64", "").unwrap_err(), BadKey::Malformed);
        for other in ["", "x", &md5_of(&[2; 32])] {
            assert_eq!(parse(&[1; 32], other).unwrap_err(), BadKey::Mismatch);
            assert_eq!(parse(&[1; 24], other).unwrap_err(), BadKey::Mismatch);
        }
        assert_eq!(format!("{:?}", customer_key(1)), "CustomerKey(redacted)");
    }
}
