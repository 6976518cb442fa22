//! What the embedded KMS stores: CBOR maps with numbered fields behind a version byte, in the KMS partition.
//!
//! ```text
//! key                      value
//! K key-id (36 bytes)      KeyRecord
//! A account / alias        AliasRecord
//! G key-id / grant-id      GrantRecord
//! U key-id                 UsageRecord
//! ```

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::store::StoreError;
use crate::store::schema;
pub(super) use crate::store::schema::to_value;

/// The first byte of a key's key.
pub(super) const KEY_TABLE: u8 = b'K';
/// The first byte of an alias's key.
pub(super) const ALIAS_TABLE: u8 = b'A';
/// The first byte of a grant's key.
pub(super) const GRANT_TABLE: u8 = b'G';
/// The first byte of the key of a key's last use.
pub(super) const USAGE_TABLE: u8 = b'U';

/// A key.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct KeyRecord {
    /// A UUID.
    #[n(0)]
    pub id: String,
    /// The owner's account id.
    #[n(1)]
    pub account: String,
    /// Milliseconds since the Unix epoch.
    #[n(2)]
    pub created: i64,
    #[n(3)]
    pub description: String,
    /// [`super::KeyState`]'s byte.
    #[n(4)]
    pub state: u8,
    /// When the material is destroyed, if that is pending.
    #[n(5)]
    pub deletion: Option<i64>,
    /// `KeyManager: AWS`.
    #[n(6)]
    pub aws_managed: bool,
    /// The newest last. Old ones decrypt for ever.
    #[n(7)]
    pub materials: Vec<MaterialRecord>,
    #[n(8)]
    pub tags: Vec<(String, String)>,
    /// The key policy's JSON; `None` is the default policy.
    #[n(9)]
    pub policy: Option<String>,
    /// [`super::KeySpec`]'s byte; `None` is SYMMETRIC_DEFAULT.
    #[n(10)]
    pub spec: Option<u8>,
    /// [`super::KeyUsage`]'s byte; `None` is ENCRYPT_DECRYPT.
    #[n(11)]
    pub usage: Option<u8>,
    /// Set if the material is imported (`Origin: EXTERNAL`).
    #[n(12)]
    pub external: Option<bool>,
    /// Automatic rotation, if it is on.
    #[n(13)]
    pub rotation: Option<RotationRecord>,
}

/// A key's automatic rotation.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct RotationRecord {
    /// Days from one rotation to the next.
    #[n(0)]
    pub period: u32,
    /// When the next is due: milliseconds since the Unix epoch.
    #[n(1)]
    pub next: i64,
}

/// A key's material.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct MaterialRecord {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 32],
    /// What the key's spec asks for (256 bits, an HMAC key, PKCS #8), sealed under the root key, bound to the key's id.
    /// Empty if it was imported and is gone.
    #[n(1)]
    pub sealed: ByteVec,
    /// Milliseconds since the Unix epoch.
    #[n(2)]
    pub created: i64,
    /// How it took the place of the one before; `None` is the first material, or one that waits for its rotation.
    #[n(3)]
    pub rotated: Option<RotatedRecord>,
    /// Set if it was imported.
    #[n(4)]
    pub imported: Option<ImportedRecord>,
}

/// How a material became the current one.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct RotatedRecord {
    /// Milliseconds since the Unix epoch.
    #[n(0)]
    pub at: i64,
    /// On demand rather than by the calendar.
    #[n(1)]
    pub on_demand: bool,
}

/// What is known of an imported material.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct ImportedRecord {
    /// When it expires: milliseconds since the Unix epoch.
    #[n(0)]
    pub valid_to: Option<i64>,
    #[n(1)]
    pub description: Option<String>,
    /// It waits for a rotation to become the current one.
    #[n(2)]
    pub pending: bool,
}

/// An alias.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct AliasRecord {
    /// The key's id.
    #[n(0)]
    pub key: String,
    /// Milliseconds since the Unix epoch.
    #[n(1)]
    pub created: i64,
    /// Milliseconds since the Unix epoch.
    #[n(2)]
    pub updated: i64,
}

/// A grant.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct GrantRecord {
    /// 64 hex digits.
    #[n(0)]
    pub id: String,
    /// Milliseconds since the Unix epoch.
    #[n(1)]
    pub created: i64,
    /// The id of the account whose principal made it.
    #[n(2)]
    pub issuer: String,
    #[n(3)]
    pub grantee: String,
    #[n(4)]
    pub grantee_is_service: bool,
    /// Who may retire it, and whether that is a service.
    #[n(5)]
    pub retiring: Option<(String, bool)>,
    /// AWS's names.
    #[n(6)]
    pub operations: Vec<String>,
    /// Pairs that the encryption context must have.
    #[n(7)]
    pub subset: Option<Pairs>,
    /// What the encryption context must be.
    #[n(8)]
    pub equals: Option<Pairs>,
    #[n(9)]
    pub source_arn: Option<String>,
    #[n(10)]
    pub name: Option<String>,
    /// The grantee's unique id, if it is a user, a role or a session of an account here: by that it goes, as whoever bears the
    /// name later is another.
    #[n(11)]
    pub grantee_id: Option<String>,
    /// The same of who may retire it.
    #[n(12)]
    pub retiring_id: Option<String>,
}

/// An encryption context, in the order of its keys.
pub(super) type Pairs = Vec<(String, String)>;

/// A key's last use.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct UsageRecord {
    /// AWS's name of the operation.
    #[n(0)]
    pub operation: String,
    /// Milliseconds since the Unix epoch.
    #[n(1)]
    pub at: i64,
    #[n(2)]
    pub request_id: String,
    /// The id of the audit's event, if there was one.
    #[n(3)]
    pub event_id: Option<String>,
}

/// Reads a stored form.
pub(super) fn from_value<R: for<'b> Decode<'b, ()>>(value: &[u8]) -> Result<R, StoreError> {
    schema::from_value(value, "KMS record")
}

/// The key of the key `id`.
pub(super) fn key_key(id: &str) -> Vec<u8> {
    [&[KEY_TABLE], id.as_bytes()].concat()
}

/// The key of an alias.
pub(super) fn alias_key(account: &str, alias: &str) -> Vec<u8> {
    [&[ALIAS_TABLE], account.as_bytes(), b"/", alias.as_bytes()].concat()
}

/// The key of a grant of the key `key`.
pub(super) fn grant_key(key: &str, grant: &str) -> Vec<u8> {
    [&[GRANT_TABLE], key.as_bytes(), b"/", grant.as_bytes()].concat()
}

/// The key of the last use of the key `key`.
pub(super) fn usage_key(key: &str) -> Vec<u8> {
    [&[USAGE_TABLE], key.as_bytes()].concat()
}

/// The id of the key that a key made by [`grant_key`] or [`usage_key`] is about.
pub(super) fn subject(stored_key: &[u8]) -> Option<&str> {
    std::str::from_utf8(stored_key.get(1..)?).ok()?.split('/').next()
}

/// Account and alias of a key made by [`alias_key`].
pub(super) fn split_alias_key(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key.get(1..)?).ok()?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold<R: for<'b> Decode<'b, ()> + Encode<()> + Eq + std::fmt::Debug>(name: &str, record: &R) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms").join(name);
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, to_value(record)).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(&from_value::<R>(&golden).unwrap(), record);
        assert_eq!(to_value(record), golden);
    }

    #[test]
    fn stored_forms_do_not_change() {
        let key = KeyRecord {
            id: "00000000-0000-4000-8000-000000000001".to_owned(),
            account: "000000000000".to_owned(),
            created: 1_700_000_000_000,
            description: "d".to_owned(),
            state: 2,
            deletion: Some(1_700_600_000_000),
            aws_managed: false,
            materials: vec![MaterialRecord {
                id: [1; 32],
                sealed: vec![2; 60].into(),
                created: 1_700_000_000_000,
                rotated: None,
                imported: None,
            }],
            tags: vec![("k".to_owned(), "v".to_owned())],
            policy: None,
            spec: None,
            usage: None,
            external: None,
            rotation: None,
        };
        hold("key.bin", &key);
        let imported = ImportedRecord {
            valid_to: Some(1_700_900_000_000),
            description: Some("of ours".to_owned()),
            pending: true,
        };
        let mut rotating = KeyRecord {
            spec: Some(4),
            usage: Some(2),
            external: Some(true),
            rotation: Some(RotationRecord { period: 365, next: 1_731_536_000_000 }),
            ..key.clone()
        };
        rotating.materials[0].rotated = Some(RotatedRecord { at: 1_700_000_000_000, on_demand: true });
        rotating.materials[0].imported = Some(imported);
        hold("key-rotating.bin", &rotating);
        hold("alias.bin", &AliasRecord { key: key.id.clone(), created: 1, updated: 2 });
        let grant = GrantRecord {
            id: "ab".repeat(32),
            created: 1,
            issuer: key.account.clone(),
            grantee: "arn:aws:iam::111122223333:role/r".to_owned(),
            grantee_is_service: false,
            retiring: Some(("s3.amazonaws.com".to_owned(), true)),
            operations: vec!["Decrypt".to_owned()],
            subset: Some(vec![("k".to_owned(), "v".to_owned())]),
            equals: None,
            source_arn: Some("arn:aws:s3:::b".to_owned()),
            name: Some("n".to_owned()),
            grantee_id: None,
            retiring_id: None,
        };
        hold("grant.bin", &grant);
        let ids = (Some("AROAREADER".to_owned()), Some("AIDAALICE".to_owned()));
        hold("grant_by_ids.bin", &GrantRecord { grantee_id: ids.0, retiring_id: ids.1, ..grant });
        let usage = UsageRecord { operation: "Sign".to_owned(), at: 1, request_id: "R".to_owned(), event_id: None };
        hold("usage.bin", &usage);
        hold("usage-with-event.bin", &UsageRecord { event_id: Some("E".to_owned()), ..usage });
        assert!(from_value::<KeyRecord>(&[9, 9]).is_err());
    }

    #[test]
    fn keys_split() {
        assert_eq!(subject(&grant_key("key", "grant")), Some("key"));
        assert_eq!(subject(&usage_key("key")), Some("key"));
        assert_eq!(split_alias_key(&alias_key("000000000000", "alias/a/b")), Some(("000000000000", "alias/a/b")));
    }
}
