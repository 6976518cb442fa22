//! What is stored of identities: CBOR maps with numbered fields behind a version byte, in a partition of their own.
//!
//! ```text
//! key                             value
//! A account                       AccountRecord
//! U account / user                UserRecord
//! G account / group               GroupRecord
//! R account / role                RoleRecord
//! P account / policy              PolicyRecord (customer managed)
//! K account / access key id       KeyRecord
//! O account / provider            ProviderRecord (OpenID Connect)
//! I account / instance profile    InstanceProfileRecord
//! L access key id                 LastUseRecord
//! S name                          the server's own: the key that seals session tokens, itself sealed
//! ```
//! Names stand in keys in lower case, for IAM tells no two apart that differ in case alone.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::store::StoreError;
pub use crate::store::schema::to_value;
use crate::store::schema::{self, PublicAccessBlock};

/// The tables, by the first byte of their keys: a stored byte, never renumbered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum TableId {
    Account = b'A',
    User = b'U',
    Group = b'G',
    Role = b'R',
    Policy = b'P',
    Key = b'K',
    Provider = b'O',
    InstanceProfile = b'I',
    LastUse = b'L',
    Server = b'S',
}

/// A record that an account has many of, each by a name of its own.
pub trait Entity: Clone + Encode<()> + for<'b> Decode<'b, ()> {
    const TABLE: TableId;

    fn name(&self) -> &str;
}

/// An account's own record: each change to any of its identities counts it up, and expects what it was.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct AccountRecord {
    /// How often the account's identities have changed.
    #[n(0)]
    pub generation: u64,
    /// The account's alias.
    #[n(1)]
    pub alias: Option<String>,
    /// Which public access is blocked in all of its buckets.
    #[n(2)]
    pub public_access: Option<PublicAccessBlock>,
    /// Since when the account is known, in milliseconds since the Unix epoch; `None` until that is written down.
    #[n(3)]
    pub created: Option<i64>,
}

/// Policies of a user, a group or a role.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Grants {
    /// Inline: name and document, in the order of their names.
    #[n(0)]
    pub inline: Vec<(String, String)>,
    /// The ARNs of attached managed policies, in the order of their attachment.
    #[n(1)]
    pub attached: Vec<String>,
}

/// A tag: key and value.
pub type Tag = (String, String);

/// A user.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct UserRecord {
    /// `AIDA...`
    #[n(0)]
    pub id: String,
    /// As it was written when it was made.
    #[n(1)]
    pub name: String,
    /// `/`, or `/.../`.
    #[n(2)]
    pub path: String,
    /// Milliseconds since the Unix epoch.
    #[n(3)]
    pub created: i64,
    /// Its policies.
    #[n(4)]
    pub grants: Grants,
    /// The groups it is in, by name.
    #[n(5)]
    pub groups: Vec<String>,
    /// The ARN of the managed policy that bounds it.
    #[n(6)]
    pub boundary: Option<String>,
    /// Its tags.
    #[n(7)]
    pub tags: Vec<Tag>,
}

/// A group.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct GroupRecord {
    /// `AGPA...`
    #[n(0)]
    pub id: String,
    /// As it was written when it was made.
    #[n(1)]
    pub name: String,
    /// `/`, or `/.../`.
    #[n(2)]
    pub path: String,
    /// Milliseconds since the Unix epoch.
    #[n(3)]
    pub created: i64,
    /// Its policies.
    #[n(4)]
    pub grants: Grants,
}

/// A role.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct RoleRecord {
    /// `AROA...`
    #[n(0)]
    pub id: String,
    /// As it was written when it was made.
    #[n(1)]
    pub name: String,
    /// `/`, or `/.../`.
    #[n(2)]
    pub path: String,
    /// Milliseconds since the Unix epoch.
    #[n(3)]
    pub created: i64,
    /// Its policies.
    #[n(4)]
    pub grants: Grants,
    /// Who may assume it: the document.
    #[n(5)]
    pub trust: String,
    /// The ARN of the managed policy that bounds it.
    #[n(6)]
    pub boundary: Option<String>,
    /// Its tags.
    #[n(7)]
    pub tags: Vec<Tag>,
    /// What it is for, in the words of who made it.
    #[n(8)]
    pub description: Option<String>,
    /// Longest session, seconds.
    #[n(9)]
    pub max_session: u32,
}

/// A customer managed policy.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct PolicyRecord {
    /// `ANPA...`
    #[n(0)]
    pub id: String,
    /// As it was written when it was made.
    #[n(1)]
    pub name: String,
    /// `/`, or `/.../`.
    #[n(2)]
    pub path: String,
    /// Milliseconds since the Unix epoch.
    #[n(3)]
    pub created: i64,
    /// When a version was last made or chosen.
    #[n(4)]
    pub updated: i64,
    /// What it is for, in the words of who made it.
    #[n(5)]
    pub description: Option<String>,
    /// Its versions, oldest first.
    #[n(6)]
    pub versions: Vec<VersionRecord>,
    /// The number of the version that counts.
    #[n(7)]
    pub default: u32,
    /// The number that was last given: none is given twice.
    #[n(8)]
    pub last: u32,
    /// Its tags.
    #[n(9)]
    pub tags: Vec<Tag>,
}

/// A version of a managed policy.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct VersionRecord {
    /// The number of its `v1`.
    #[n(0)]
    pub number: u32,
    /// The document.
    #[n(1)]
    pub document: String,
    /// Milliseconds since the Unix epoch.
    #[n(2)]
    pub created: i64,
}

/// A user's access key.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct KeyRecord {
    /// `AKIA...`
    #[n(0)]
    pub id: String,
    /// The user's name, in lower case.
    #[n(1)]
    pub user: String,
    /// The secret, sealed under the root key and bound to the key's id.
    #[n(2)]
    pub sealed: ByteVec,
    /// Whether it may sign.
    #[n(3)]
    pub active: bool,
    /// Milliseconds since the Unix epoch.
    #[n(4)]
    pub created: i64,
}

/// An OpenID Connect provider.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ProviderRecord {
    /// Host and path, without the scheme.
    #[n(0)]
    pub name: String,
    /// The audiences that are taken.
    #[n(1)]
    pub clients: Vec<String>,
    /// SHA-1 of certificates, as AWS keeps them.
    #[n(2)]
    pub thumbprints: Vec<String>,
    /// Milliseconds since the Unix epoch.
    #[n(3)]
    pub created: i64,
    /// Its tags.
    #[n(4)]
    pub tags: Vec<Tag>,
}

/// An instance profile.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct InstanceProfileRecord {
    /// `AIPA...`
    #[n(0)]
    pub id: String,
    /// As it was written when it was made.
    #[n(1)]
    pub name: String,
    /// `/`, or `/.../`.
    #[n(2)]
    pub path: String,
    /// Milliseconds since the Unix epoch.
    #[n(3)]
    pub created: i64,
    /// The role in it, by name.
    #[n(4)]
    pub role: Option<String>,
    /// Its tags.
    #[n(5)]
    pub tags: Vec<Tag>,
}

/// When an access key last signed.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct LastUseRecord {
    /// Milliseconds since the Unix epoch.
    #[n(0)]
    pub at: i64,
    /// `s3`, `kms` and the like.
    #[n(1)]
    pub service: String,
    /// The region.
    #[n(2)]
    pub region: String,
}

macro_rules! entities {
    ($($record:ident $table:ident $name:ident;)*) => {
        $(impl Entity for $record {
            const TABLE: TableId = TableId::$table;

            fn name(&self) -> &str {
                &self.$name
            }
        })*
    };
}

entities! {
    UserRecord User name;
    GroupRecord Group name;
    RoleRecord Role name;
    PolicyRecord Policy name;
    KeyRecord Key id;
    ProviderRecord Provider name;
    InstanceProfileRecord InstanceProfile name;
}

/// Reads a stored form.
pub fn from_value<R: for<'b> Decode<'b, ()>>(value: &[u8]) -> Result<R, StoreError> {
    schema::from_value(value, "IAM record")
}

/// The key of `name` in a table of `account`.
pub fn entity_key(table: TableId, account: &str, name: &str) -> Vec<u8> {
    [&[table as u8], account.as_bytes(), b"/", name.to_lowercase().as_bytes()].concat()
}

/// The key of what is not an account's many: an account, a last use, a record of the server's own.
pub fn single_key(table: TableId, name: &str) -> Vec<u8> {
    [&[table as u8], name.as_bytes()].concat()
}

/// What follows the table's byte: an account and perhaps a name.
pub fn split_key(key: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(key.get(1..)?).ok()?;
    Some(text.split_once('/').unwrap_or((text, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold<R: for<'b> Decode<'b, ()> + Encode<()> + Eq + std::fmt::Debug>(name: &str, record: &R) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/iam").join(name);
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, to_value(record)).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(&from_value::<R>(&golden).unwrap(), record);
        assert_eq!(to_value(record), golden);
    }

    #[test]
    fn stored_forms_do_not_change() {
        let text = |text: &str| text.to_owned();
        let grants = Grants {
            inline: vec![(text("p"), text("{}"))],
            attached: vec![text("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")],
        };
        let boundary = Some(text("arn:aws:iam::111122223333:policy/bound"));
        let tags = vec![(text("Team"), text("blue"))];
        let account = AccountRecord { generation: 7, alias: Some(text("vault")), public_access: None, created: None };
        hold("account.bin", &account);
        let block = PublicAccessBlock { ignore_public_acls: true, ..PublicAccessBlock::NONE };
        hold("account-block.bin", &AccountRecord { public_access: Some(block), ..account.clone() });
        hold("account-dated.bin", &AccountRecord { created: Some(1_700_000_000_000), ..account });
        let (created, path) = (1_700_000_000_000, text("/a/"));
        let user = UserRecord {
            id: text("AIDAEXAMPLE"),
            name: text("Alice"),
            path: path.clone(),
            created,
            grants: grants.clone(),
            groups: vec![text("Readers")],
            boundary: boundary.clone(),
            tags: tags.clone(),
        };
        hold("user.bin", &user);
        let (id, name) = (text("AGPAEXAMPLE"), text("Readers"));
        hold("group.bin", &GroupRecord { id, name, path: path.clone(), created, grants: grants.clone() });
        let role = RoleRecord {
            id: text("AROAEXAMPLE"),
            name: text("Reader"),
            path: path.clone(),
            created,
            grants,
            trust: text("{}"),
            boundary,
            tags: tags.clone(),
            description: Some(text("d")),
            max_session: 3600,
        };
        hold("role.bin", &role);
        let policy = PolicyRecord {
            id: text("ANPAEXAMPLE"),
            name: text("bound"),
            path: path.clone(),
            created,
            updated: created + 1,
            description: None,
            versions: vec![VersionRecord { number: 3, document: text("{}"), created }],
            default: 3,
            last: 4,
            tags: tags.clone(),
        };
        hold("policy.bin", &policy);
        let (id, user) = (text("AKIAEXAMPLE"), text("alice"));
        hold("key.bin", &KeyRecord { id, user, sealed: vec![1; 60].into(), active: true, created });
        let provider = ProviderRecord {
            name: text("issuer.example.com/a"),
            clients: vec![text("sts.amazonaws.com")],
            thumbprints: vec!["ab".repeat(20)],
            created,
            tags: tags.clone(),
        };
        hold("provider.bin", &provider);
        let (id, name) = (text("AIPAEXAMPLE"), text("Web"));
        let profile = InstanceProfileRecord { id, name, path, created, role: None, tags };
        hold("instance-profile-empty.bin", &profile);
        hold("instance-profile.bin", &InstanceProfileRecord { role: Some(text("Reader")), ..profile });
        hold("last-use.bin", &LastUseRecord { at: created, service: text("s3"), region: text("us-east-1") });
        assert!(from_value::<UserRecord>(&[9, 9]).is_err());
    }

    #[test]
    fn names_differ_by_more_than_case() {
        let key = entity_key(TableId::User, "111122223333", "Alice");
        assert_eq!(key, entity_key(TableId::User, "111122223333", "aLICE"));
        assert_eq!(split_key(&key), Some(("111122223333", "alice")));
        assert_eq!(split_key(&single_key(TableId::Account, "111122223333")), Some(("111122223333", "")));
    }
}
