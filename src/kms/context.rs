//! The encryption context: string pairs bound to a ciphertext as associated data.

use std::collections::BTreeMap;

/// String pairs, order-insensitive and case-sensitive.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// The name of the pair that S3 adds to every context: the ARN of what it encrypts.
    pub const S3_ARN: &str = "aws:s3:arn";

    /// No pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pairs, sorted by key.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Adds a pair, replacing one of the same key.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// The canonical bytes that become associated data: for each pair in key order, key and value, each behind its
    /// length as a 32-bit big-endian number. Distinct contexts have distinct bytes.
    pub fn to_aad(&self) -> Vec<u8> {
        let mut aad = Vec::with_capacity(self.0.iter().map(|(key, value)| 8 + key.len() + value.len()).sum());
        for text in self.0.iter().flat_map(|(key, value)| [key, value]) {
            let length = u32::try_from(text.len()).expect("a context is far below 4 GiB");
            aad.extend_from_slice(&length.to_be_bytes());
            aad.extend_from_slice(text.as_bytes());
        }
        aad
    }
}

impl FromIterator<(String, String)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_bytes_ignore_order_and_keep_boundaries() {
        let ab = EncryptionContext::new().with("a", "b").with("c", "d");
        let ba = EncryptionContext::new().with("c", "d").with("a", "b");
        assert_eq!(ab.to_aad(), ba.to_aad());
        assert_ne!(
            EncryptionContext::new().with("ab", "c").to_aad(),
            EncryptionContext::new().with("a", "bc").to_aad()
        );
    }
}
