//! The records: CBOR maps with numbered fields behind a version byte. Golden files in `tests/golden/` hold them.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::acl::{AclGrant, Ownership};
use super::replication::ReplicationState;
use super::version::{ObjectLock, Retention, Versioning};
use super::{ConfigurationKind, ConfigurationKinds, stored};
use crate::store::{Partition, RunId, StoreError};

/// A record: how it becomes a stored value and back.
pub trait Record: Sized + Encode<()> + for<'b> Decode<'b, ()> {
    /// What it is called when it is damaged.
    const NAME: &'static str;

    /// The stored form.
    fn to_value(&self) -> Vec<u8> {
        stored::to_value(self)
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the version is unknown or the bytes are not such a record.
    fn from_value(value: &[u8]) -> Result<Self, StoreError> {
        stored::from_value(value, Self::NAME)
    }
}

/// A bucket.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct BucketRecord {
    /// The partition of its index. Fresh for every creation, so that a bucket made anew never sees the old one's keys.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// The owner's 12-digit account id.
    #[n(1)]
    pub account: String,
    /// Milliseconds since the Unix epoch.
    #[n(2)]
    pub created: i64,
    /// The region it was asked for in.
    #[n(3)]
    pub region: String,
    /// The encryption of objects whose writer asks for none, as it was configured; `None` is SSE-S3.
    #[n(4)]
    pub encryption: Option<DefaultEncryption>,
    /// Whether writes with customer-provided keys (SSE-C) are taken. S3 blocks them in buckets made since April 2026,
    /// unless told otherwise.
    #[n(5)]
    #[cbor(default)]
    pub allows_customer_keys: bool,
    /// The bucket policy's JSON, as it was put.
    #[n(6)]
    pub policy: Option<String>,
    /// The public-access block, if there is one.
    #[n(7)]
    pub public_access: Option<PublicAccessBlock>,
    /// Whether it keeps versions. Writes go by what its `Live` key says of the same.
    #[n(8)]
    #[cbor(skip_if = "Versioning::is_never")]
    pub versioning: Versioning,
    /// Its Object Lock; once there, it stays.
    #[n(9)]
    pub object_lock: Option<ObjectLock>,
    /// Its tags, in the order in which they were given.
    #[n(10)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// To whom its objects belong; `None` in records from before there was a choice: `BucketOwnerEnforced`.
    #[n(12)]
    pub ownership: Option<Ownership>,
    /// Its access control list; `None`: full control for its owner.
    #[n(13)]
    pub acl: Option<Vec<AclGrant>>,
    /// The kinds of configuration that the bucket may have: a kind that is not here, it has not. `None`: none ever.
    #[n(16)]
    pub configured: Option<ConfigurationKinds>,
    /// The location constraint that it was made with, where that is not the region's name: `EU`.
    #[n(17)]
    pub location: Option<String>,
}

/// Which public access is blocked.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct PublicAccessBlock {
    /// `BlockPublicAcls`
    #[n(0)]
    pub block_public_acls: bool,
    /// `IgnorePublicAcls`
    #[n(1)]
    pub ignore_public_acls: bool,
    /// `BlockPublicPolicy`
    #[n(2)]
    pub block_public_policy: bool,
    /// `RestrictPublicBuckets`
    #[n(3)]
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// Everything is blocked: what new buckets have, as on AWS since April 2023.
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
    /// Nothing is blocked.
    pub const NONE: Self = Self {
        block_public_acls: false,
        ignore_public_acls: false,
        block_public_policy: false,
        restrict_public_buckets: false,
    };

    /// What this or `other` blocks.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            block_public_acls: self.block_public_acls || other.block_public_acls,
            ignore_public_acls: self.ignore_public_acls || other.ignore_public_acls,
            block_public_policy: self.block_public_policy || other.block_public_policy,
            restrict_public_buckets: self.restrict_public_buckets || other.restrict_public_buckets,
        }
    }
}

/// A bucket's default encryption.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct DefaultEncryption {
    /// The method.
    #[n(0)]
    pub algorithm: DefaultAlgorithm,
    /// The KMS key as it was named: an id, an ARN or an alias. Without one it is the AWS managed key.
    #[n(1)]
    pub key: Option<String>,
    /// Whether objects share a bucket key.
    #[n(2)]
    pub bucket_key: bool,
}

/// A method of encryption that can be a bucket's default.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum DefaultAlgorithm {
    /// SSE-S3.
    #[n(0)]
    S3,
    /// SSE-KMS.
    #[n(1)]
    Kms,
    /// DSSE-KMS.
    #[n(2)]
    KmsDsse,
}

impl BucketRecord {
    /// A bucket of `account` with nothing configured, not even what new buckets have.
    pub fn new(id: [u8; 16], account: impl Into<String>, created: i64, region: impl Into<String>) -> Self {
        Self {
            id,
            account: account.into(),
            created,
            region: region.into(),
            encryption: None,
            allows_customer_keys: false,
            policy: None,
            public_access: None,
            versioning: Versioning::Never,
            object_lock: None,
            tags: Vec::new(),
            ownership: None,
            acl: None,
            configured: None,
            location: None,
        }
    }

    /// The partition that holds its objects.
    pub fn partition(&self) -> Partition {
        Partition(self.id)
    }

    /// Whether it may have a configuration of this kind. If not, nobody need look.
    pub fn may_have(&self, kind: ConfigurationKind) -> bool {
        self.configured.is_some_and(|kinds| kinds.contains(kind))
    }
}

/// What clients say about an object beside its bytes: kept and given back as it came.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Attributes {
    /// Content headers by lower-case name: `content-type`, `cache-control`, `content-disposition`, `content-encoding`,
    /// `content-language`, `expires`, `x-amz-website-redirect-location`.
    #[n(0)]
    pub headers: Vec<(String, String)>,
    /// User metadata, names in lower case and without `x-amz-meta-`.
    #[n(1)]
    pub metadata: Vec<(String, String)>,
    /// `STANDARD` if the client named none.
    #[n(2)]
    pub storage_class: String,
}

/// An entity tag as it lies on disk: in clear only if nothing of the plaintext is in it.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub enum StoredEtag {
    /// Random (SSE-KMS), without quotes.
    #[n(0)]
    Clear(#[n(0)] String),
    /// An MD5 form, sealed under the server key.
    #[n(1)]
    Sealed(#[n(0)] ByteVec),
}

/// A sealed run and the header that `sse` needs to open it.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct RunRef {
    /// The run's name.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// `sse`'s run header, in its own format.
    #[n(1)]
    pub header: ByteVec,
    /// Whether the bytes are a value of [`super::Table::Data`] rather than a run of the blob store.
    #[n(2)]
    pub inline: bool,
}

impl RunRef {
    /// The run's name, typed.
    pub fn run(&self) -> RunId {
        RunId(self.id)
    }
}

/// Consecutive parts of one size: part numbers `first..first + count`.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(array)]
pub struct PartSpan {
    /// The first part number.
    #[n(0)]
    pub first: u16,
    /// How many parts.
    #[n(1)]
    pub count: u16,
    /// Plaintext bytes of each.
    #[n(2)]
    pub size: u64,
}

/// Where an object's bytes are.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub enum Body {
    /// In one run.
    #[n(0)]
    Run(#[n(0)] RunRef),
    /// In the parts of a completed upload, which keep their [`super::Table::Part`] records.
    #[n(1)]
    Parts {
        /// The upload's id, which names the part records.
        #[cbor(n(0), with = "minicbor::bytes")]
        upload: [u8; 16],
        /// The parts in order, run-length encoded.
        #[n(1)]
        spans: Vec<PartSpan>,
    },
}

/// What protects an object's data key. The envelope says the same and more; this is what the tallies count by.
#[derive(Clone, Debug, Decode, Encode, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cbor(map)]
pub struct Protection {
    /// The kind of encryption.
    #[n(0)]
    pub kind: SseKind,
    /// The KMS key's ARN, if one is used.
    #[n(1)]
    pub key: Option<String>,
}

/// A kind of encryption.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cbor(index_only)]
#[repr(u8)]
pub enum SseKind {
    /// SSE-S3.
    #[n(0)]
    S3 = 0,
    /// SSE-KMS.
    #[n(1)]
    Kms = 1,
    /// DSSE-KMS.
    #[n(2)]
    Dsse = 2,
    /// SSE-C.
    #[n(3)]
    Customer = 3,
}

impl SseKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::S3, Self::Kms, Self::Dsse, Self::Customer];

    /// The byte that stands for it in a tally's key.
    pub fn tag(self) -> u8 {
        self as u8
    }

    /// The kind that `tag` stands for.
    pub fn of_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag)
    }

    /// As S3 Inventory names it (`EncryptionStatus`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "SSE-S3",
            Self::Kms => "SSE-KMS",
            Self::Dsse => "DSSE-KMS",
            Self::Customer => "SSE-C",
        }
    }
}

/// One version of an object.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ObjectRecord {
    /// Milliseconds since the Unix epoch.
    #[n(0)]
    pub modified: i64,
    /// Plaintext bytes.
    #[n(1)]
    pub size: u64,
    /// The entity tag.
    #[n(2)]
    pub etag: StoredEtag,
    /// What the client said about it.
    #[n(3)]
    pub attributes: Attributes,
    /// `sse`'s envelope: kind, wrapped data key, context, in its own format.
    #[n(4)]
    pub envelope: ByteVec,
    /// Where the bytes are.
    #[n(5)]
    pub body: Body,
    /// Checksums, sealed under the data key (`s3`'s format inside `sse`'s).
    #[n(6)]
    pub checksums: Option<ByteVec>,
    /// Distinguishes this write from every other, even of the same bytes.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub generation: [u8; 16],
    /// Of which algorithm the checksum is, and of what (`COMPOSITE`, `FULL_OBJECT`): listings show both, and neither
    /// tells of the plaintext.
    #[n(8)]
    pub checksum_kind: Option<ChecksumKind>,
    /// Whether the parts are the store's own affair: a copy that shares the parts of its source is one piece to clients.
    #[n(9)]
    #[cbor(default)]
    pub whole: bool,
    /// What the envelope is protected by.
    #[n(10)]
    pub protection: Protection,
    /// Where it stands among the versions of its key, in microseconds since the Unix epoch; `None` for what was written
    /// before the bucket had versions, which stands where its modification time is.
    #[n(11)]
    pub order: Option<u64>,
    /// Whether it has a version id of its own; else it is the null version.
    #[n(12)]
    #[cbor(skip_if = "is_false")]
    pub has_id: bool,
    /// Of a current version: the order of the null version among the noncurrent ones, if it is there.
    #[n(13)]
    pub null_at: Option<u64>,
    /// Of a current version: how many versions came among the noncurrent ones while it, or one before it, was current.
    #[n(21)]
    pub late: Option<u64>,
    /// Its tags, in the order in which they were given.
    #[n(14)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// What holds it, if anything does or did.
    #[n(15)]
    pub retention: Option<Retention>,
    /// Whether there is a legal hold on it; `None` if there never was.
    #[n(16)]
    pub legal_hold: Option<bool>,
    /// Where it stands in replication, if it is concerned.
    #[n(20)]
    pub replication: Option<ReplicationState>,
    /// The account that it belongs to, if that is not the bucket's: its id, or `anonymous`.
    #[n(18)]
    pub owner: Option<String>,
    /// Its access control list; `None`: full control for its owner.
    #[n(19)]
    pub acl: Option<Vec<AclGrant>>,
}

impl ObjectRecord {
    /// An object of these bytes, and nothing else that a client may say of it. Where it stands among the versions of its key, the
    /// commit decides.
    pub fn new(
        modified: i64,
        (size, etag): (u64, StoredEtag),
        (envelope, protection): (ByteVec, Protection),
        body: Body,
        generation: [u8; 16],
    ) -> Self {
        Self {
            modified,
            size,
            etag,
            attributes: Attributes::default(),
            envelope,
            protection,
            body,
            checksums: None,
            generation,
            checksum_kind: None,
            whole: false,
            order: None,
            has_id: false,
            null_at: None,
            late: None,
            tags: Vec::new(),
            retention: None,
            legal_hold: None,
            replication: None,
            owner: None,
            acl: None,
        }
    }
}

/// What a listing shows of a checksum.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(array)]
pub struct ChecksumKind {
    /// `CRC32` and so on.
    #[n(0)]
    pub algorithm: String,
    /// `COMPOSITE` or `FULL_OBJECT`.
    #[n(1)]
    pub covers: String,
    /// `true` of an upload in parts that named no algorithm, in records from before parts showed their checksums in composed
    /// objects alone. Nothing reads it any more.
    #[n(2)]
    pub by_default: Option<bool>,
}

/// An open multipart upload.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct UploadRecord {
    /// Milliseconds since the Unix epoch.
    #[n(0)]
    pub initiated: i64,
    /// What the client said about the object to be.
    #[n(1)]
    pub attributes: Attributes,
    /// `sse`'s envelope for all its parts.
    #[n(2)]
    pub envelope: ByteVec,
    /// `x-amz-checksum-algorithm`, as asked for.
    #[n(3)]
    pub checksum_algorithm: Option<String>,
    /// `COMPOSITE` or `FULL_OBJECT`.
    #[n(4)]
    pub checksum_type: Option<String>,
    /// The initiator's account id.
    #[n(5)]
    pub account: String,
    /// What the envelope is protected by.
    #[n(6)]
    pub protection: Protection,
    /// The tags of the object to be.
    #[n(8)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// What is to hold it.
    #[n(9)]
    pub retention: Option<Retention>,
    /// Whether there is to be a legal hold on it.
    #[n(10)]
    pub legal_hold: Option<bool>,
    /// Of a replica that another server sends: which version it is of, and of when, in milliseconds since the Unix epoch.
    #[n(14)]
    pub replica_of: Option<(String, i64)>,
    /// The account that the object will belong to, if that is not the bucket's.
    #[n(12)]
    pub owner: Option<String>,
    /// The access control list that the object will have.
    #[n(13)]
    pub acl: Option<Vec<AclGrant>>,
    /// The initiator's ARN, if that is not its account's root.
    #[n(15)]
    pub initiator: Option<String>,
    /// Whether there was an object of its key when it was begun.
    #[n(16)]
    #[cbor(skip_if = "is_false")]
    pub found_object: bool,
}

/// An uploaded part.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct PartRecord {
    /// Milliseconds since the Unix epoch.
    #[n(0)]
    pub modified: i64,
    /// Plaintext bytes.
    #[n(1)]
    pub size: u64,
    /// The part's entity tag.
    #[n(2)]
    pub etag: StoredEtag,
    /// Where the bytes are.
    #[n(3)]
    pub run: RunRef,
    /// Checksums, sealed under the data key.
    #[n(4)]
    pub checksums: Option<ByteVec>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the derivation calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Record for BucketRecord {
    const NAME: &'static str = "bucket record";
}
impl Record for ObjectRecord {
    const NAME: &'static str = "object record";
}
impl Record for UploadRecord {
    const NAME: &'static str = "upload record";
}
impl Record for PartRecord {
    const NAME: &'static str = "part record";
}

/// Holds a record's stored form to the golden file `name`: what is stored stays readable, and is written the same.
#[cfg(test)]
pub(super) fn hold<R: Record + Eq + std::fmt::Debug>(name: &str, record: &R) {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema").join(name);
    if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, record.to_value()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(&R::from_value(&golden).unwrap(), record, "{name} reads differently");
    assert_eq!(record.to_value(), golden, "{name} is written differently");
}

#[cfg(test)]
mod tests {
    use super::super::replication::{DestinationState, Facet, ReplicationStatus};
    use super::super::version::{DefaultRetention, MarkerRecord, Period, RetentionMode, Version};
    use super::*;
    use crate::store::schema::{Grantee, Group, Permission};

    fn attributes() -> Attributes {
        Attributes {
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            metadata: vec![("colour".to_owned(), "blue".to_owned())],
            storage_class: "STANDARD".to_owned(),
        }
    }

    fn protection() -> Protection {
        let arn = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        Protection { kind: SseKind::Kms, key: Some(arn.to_owned()) }
    }

    fn run(inline: bool) -> RunRef {
        RunRef { id: [3; 16], header: vec![1, 2, 3].into(), inline }
    }

    fn checksum_kind(by_default: Option<bool>) -> ChecksumKind {
        ChecksumKind { algorithm: "CRC32".to_owned(), covers: "FULL_OBJECT".to_owned(), by_default }
    }

    fn object(body: Body) -> ObjectRecord {
        let etag = StoredEtag::Clear("0123456789abcdef0123456789abcdef".to_owned());
        let under = (vec![1, 9, 9].into(), protection());
        ObjectRecord {
            attributes: attributes(),
            checksums: Some(vec![7; 5].into()),
            checksum_kind: Some(checksum_kind(None)),
            ..ObjectRecord::new(1_700_000_000_123, (70_000, etag), under, body, [5; 16])
        }
    }

    #[test]
    fn stored_forms_do_not_change() {
        let bucket = BucketRecord {
            public_access: Some(PublicAccessBlock::ALL),
            ..BucketRecord::new([1; 16], "000000000000", 1_700_000_000_000, "us-east-1")
        };
        hold("bucket.bin", &bucket);
        let placed = BucketRecord { location: Some("EU".to_owned()), ..bucket.clone() };
        hold("bucket-location.bin", &placed);
        let encryption =
            DefaultEncryption { algorithm: DefaultAlgorithm::Kms, key: Some("alias/a".to_owned()), bucket_key: true };
        let configured = BucketRecord {
            encryption: Some(encryption),
            allows_customer_keys: true,
            policy: Some("{}".to_owned()),
            public_access: None,
            ..bucket.clone()
        };
        hold("bucket-encryption.bin", &configured);
        let default = DefaultRetention { mode: RetentionMode::Compliance, period: Period::Years(7) };
        let locked = BucketRecord {
            versioning: Versioning::Enabled,
            object_lock: Some(ObjectLock { default: Some(default) }),
            tags: vec![("team".to_owned(), "a".to_owned())],
            ..bucket.clone()
        };
        hold("bucket-locked.bin", &locked);
        let kinds = ConfigurationKinds::default().with(ConfigurationKind::Cors).with(ConfigurationKind::Inventory);
        hold("bucket-configured.bin", &BucketRecord { configured: Some(kinds), ..configured.clone() });
        let grant = |grantee, permission| AclGrant { grantee, permission };
        let grants = vec![
            grant(Grantee::Account("c".repeat(64)), Permission::FullControl),
            grant(Grantee::Group(Group::AllUsers), Permission::Read),
            grant(Grantee::Group(Group::AuthenticatedUsers), Permission::ReadAcp),
            grant(Grantee::Group(Group::LogDelivery), Permission::Write),
        ];
        let shared = BucketRecord { ownership: Some(Ownership::ObjectWriter), acl: Some(grants.clone()), ..bucket };
        hold("bucket-acl.bin", &shared);
        let owned = ObjectRecord {
            owner: Some("111122223333".to_owned()),
            acl: Some(grants.clone()),
            ..object(Body::Run(run(false)))
        };
        hold("object-acl.bin", &owned);
        hold("object-run.bin", &object(Body::Run(run(false))));
        let spans = vec![PartSpan { first: 1, count: 3, size: 5 << 20 }, PartSpan { first: 7, count: 1, size: 9 }];
        let parts = object(Body::Parts { upload: [4; 16], spans });
        hold("object-parts.bin", &parts);
        let by_default = Some(checksum_kind(Some(true)));
        hold("object-parts-by-default.bin", &ObjectRecord { checksum_kind: by_default, ..parts });
        let upload = UploadRecord {
            initiated: 1_700_000_000_456,
            attributes: attributes(),
            envelope: vec![1, 2].into(),
            checksum_algorithm: Some("CRC32".to_owned()),
            checksum_type: Some("COMPOSITE".to_owned()),
            account: "000000000000".to_owned(),
            protection: protection(),
            tags: Vec::new(),
            retention: None,
            legal_hold: None,
            replica_of: None,
            owner: None,
            acl: None,
            initiator: None,
            found_object: false,
        };
        hold("upload.bin", &upload);
        hold("upload-found-object.bin", &UploadRecord { found_object: true, ..upload.clone() });
        let initiator = Some("arn:aws:iam::000000000000:user/alice".to_owned());
        hold("upload-initiator.bin", &UploadRecord { initiator, ..upload.clone() });
        let retention = Some(Retention { mode: RetentionMode::Governance, until: 1_800_000_000_000 });
        let tags = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
        let tagged = UploadRecord { tags: tags.clone(), retention, legal_hold: Some(true), ..upload.clone() };
        hold("upload-tagged.bin", &tagged);
        let replica = UploadRecord { replica_of: Some(("an-id".to_owned(), 1_700_000_000_000)), ..tagged };
        hold("upload-replica.bin", &replica);
        let current = ObjectRecord {
            order: Some(1_700_000_000_123_000),
            has_id: true,
            null_at: Some(1_600_000_000_000_000),
            tags,
            retention,
            legal_hold: Some(false),
            ..object(Body::Run(run(false)))
        };
        hold("object-version.bin", &current);
        hold("object-version-late.bin", &ObjectRecord { late: Some(2), ..current.clone() });
        let destination = DestinationState::pending("arn:aws:s3:::copies", "r");
        let with = |replication: ReplicationState| ObjectRecord { replication: Some(replication), ..current.clone() };
        let replication = ReplicationState { is_replica: false, destinations: vec![destination.clone()] };
        hold("object-replication.bin", &with(replication));
        let replica = Some("3HL4kqtJvjVBH40Nrjfkd".to_owned());
        let lapsed = vec![Facet::Tags, Facet::LegalHold];
        let lapsed = DestinationState { status: ReplicationStatus::Failed, lapsed, ..destination.clone() };
        let changed = DestinationState { since: Some(1_700_000_000_000_000_001), ..destination.clone() };
        let elsewhere = DestinationState { status: ReplicationStatus::Completed, replica, ..destination };
        let replication = ReplicationState { is_replica: true, destinations: vec![lapsed, changed, elsewhere] };
        hold("object-replica-changed.bin", &with(replication));
        hold("version-object.bin", &Version::Object(Box::new(current)));
        let marker = MarkerRecord {
            modified: 1_700_000_000_124,
            generation: [6; 16],
            order: 1_700_000_000_124_000,
            has_id: true,
            null_at: None,
            late: None,
        };
        hold("marker.bin", &marker);
        hold("marker-late.bin", &MarkerRecord { late: Some(1), ..marker.clone() });
        hold("version-marker.bin", &Version::Marker(marker));
        let owned = UploadRecord { owner: Some("111122223333".to_owned()), acl: Some(grants), ..upload };
        hold("upload-acl.bin", &owned);
        let part = PartRecord {
            modified: 1_700_000_000_789,
            size: 11,
            etag: StoredEtag::Sealed(vec![8; 40].into()),
            run: run(true),
            checksums: None,
        };
        hold("part.bin", &part);
    }

    #[test]
    fn damage_is_told_from_other_versions() {
        let value = object(Body::Run(run(true))).to_value();
        assert!(matches!(ObjectRecord::from_value(&value[..value.len() - 1]), Err(StoreError::Corrupt(_))));
        let newer = [&[2], &value[1..]].concat();
        let error = ObjectRecord::from_value(&newer).unwrap_err();
        assert_eq!(error.to_string(), "stored data is damaged: object record: unknown format version");
        assert!(ObjectRecord::from_value(b"").is_err());
    }
}
