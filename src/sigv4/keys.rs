//! Signing keys: derived from a secret for one day, region and service, and kept as keyed HMAC states.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use super::{Scope, TERMINATOR};
use crate::crypto::digest::{self, HmacSha256};
use crate::crypto::{Secret, SecretBytes, constant_time_eq};

/// A key that signs for one scope.
#[derive(Clone)]
pub struct SigningKey(HmacSha256);

impl SigningKey {
    /// The key of `secret` for `scope` (AWS: "Calculate the signature").
    pub fn derive(secret: &[u8], scope: &Scope) -> Self {
        let first = SecretBytes::new([b"AWS4", secret].concat());
        let mut key = HmacSha256::new(first.expose());
        for step in [&scope.date, &scope.region, &scope.service, TERMINATOR] {
            key = HmacSha256::new(Secret::new(key.tag(step.as_bytes())).expose());
        }
        Self(key)
    }

    /// The signature of `string_to_sign`: 64 lower-case hexadecimal digits.
    pub fn sign(&self, string_to_sign: &str) -> String {
        digest::hex(&self.0.tag(string_to_sign.as_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// The signing keys in use, so that deriving one is not part of every request.
///
/// Only keys that have verified a signature are kept, so strangers cannot fill it; an entry is used only while the secret
/// it was derived from is still the one in force.
#[derive(Debug)]
pub struct SigningKeys {
    capacity: usize,
    entries: RwLock<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    secret: SecretBytes,
    key: SigningKey,
}

impl SigningKeys {
    /// Keeps at most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, entries: RwLock::default() }
    }

    /// The key of `access_key_id` and `secret` for `scope`, and whether it was at hand.
    pub(super) fn key(&self, access_key_id: &str, secret: &[u8], scope: &Scope) -> (SigningKey, bool) {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&name(access_key_id, scope)) {
            Some(entry) if constant_time_eq(entry.secret.expose(), secret) => (entry.key.clone(), true),
            _ => {
                drop(entries);
                (SigningKey::derive(secret, scope), false)
            }
        }
    }

    /// Keeps a key that has verified a signature.
    pub(super) fn keep(&self, access_key_id: &str, secret: &[u8], scope: &Scope, key: &SigningKey) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.capacity {
            // Deriving costs a microsecond, so starting over is cheaper than remembering who was used when.
            entries.clear();
        }
        let entry = Entry { secret: SecretBytes::new(secret.to_vec()), key: key.clone() };
        entries.insert(name(access_key_id, scope), entry);
    }
}

impl Default for SigningKeys {
    fn default() -> Self {
        Self::new(4096)
    }
}

/// `/` stands in neither dates, regions nor services, so names of different keys differ.
fn name(access_key_id: &str, scope: &Scope) -> String {
    let Scope { date, region, service } = scope;
    let mut name = String::with_capacity(access_key_id.len() + date.len() + region.len() + service.len() + 3);
    for part in [date, "/", region, "/", service, "/", access_key_id] {
        name.push_str(part);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(date: &str) -> Scope {
        Scope { date: date.to_owned(), region: "us-east-1".to_owned(), service: "iam".to_owned() }
    }

    #[test]
    fn a_new_secret_is_not_served_from_the_old_ones_entry() {
        let keys = SigningKeys::new(8);
        let (key, cached) = keys.key("AKID", b"old", &scope("20150830"));
        assert!(!cached);
        keys.keep("AKID", b"old", &scope("20150830"), &key);
        let (again, cached) = keys.key("AKID", b"old", &scope("20150830"));
        assert!(cached);
        assert_eq!(again.sign("x"), key.sign("x"));
        let (other, cached) = keys.key("AKID", b"new", &scope("20150830"));
        assert!(!cached);
        assert_ne!(other.sign("x"), key.sign("x"));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let keys = SigningKeys::new(2);
        for day in ["20150828", "20150829", "20150830"] {
            let (key, _) = keys.key("AKID", b"secret", &scope(day));
            keys.keep("AKID", b"secret", &scope(day), &key);
        }
        assert_eq!(keys.entries.read().unwrap().len(), 1);
        assert!(keys.key("AKID", b"secret", &scope("20150830")).1);
    }
}
