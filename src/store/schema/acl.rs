//! Access control lists, and who comes to own an object. (S3 user guide, "Access control list (ACL) overview" and
//! "Controlling ownership of objects".)

use minicbor::{Decode, Encode};

/// One grant of an access control list.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(array)]
pub struct AclGrant {
    /// To whom.
    #[n(0)]
    pub grantee: Grantee,
    /// What.
    #[n(1)]
    pub permission: Permission,
}

/// To whom something is granted.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub enum Grantee {
    /// An account, by its canonical id.
    #[n(0)]
    Account(#[n(0)] String),
    /// A group.
    #[n(1)]
    Group(#[n(0)] Group),
}

/// A group that S3 defines.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum Group {
    /// Everybody, anonymous callers too.
    #[n(0)]
    AllUsers,
    /// Everybody who signs.
    #[n(1)]
    AuthenticatedUsers,
    /// The delivery of access logs.
    #[n(2)]
    LogDelivery,
}

/// What is granted.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum Permission {
    /// To list a bucket; to read an object.
    #[n(0)]
    Read,
    /// To write objects into a bucket.
    #[n(1)]
    Write,
    /// To read the list itself.
    #[n(2)]
    ReadAcp,
    /// To write it.
    #[n(3)]
    WriteAcp,
    /// All four.
    #[n(4)]
    FullControl,
}

/// To whom the objects of a bucket belong, and whether access control lists count.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum Ownership {
    /// All belong to the bucket's owner, and no list counts: what new buckets have, as on AWS since April 2023.
    #[n(0)]
    BucketOwnerEnforced,
    /// To the bucket's owner if the writer hands it full control, else to the writer.
    #[n(1)]
    BucketOwnerPreferred,
    /// To the writer.
    #[n(2)]
    ObjectWriter,
    /// The controls were deleted: to the writer.
    #[n(3)]
    Deleted,
}
