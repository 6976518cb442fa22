//! Access control lists: what they say, to whom, and when it counts. (S3 user guide, "Access control list (ACL) overview".)
//!
//! | module | what |
//! |---|---|
//! | `read` | lists out of headers and documents, as clients give them |
//! | `handlers` | GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl |
//! | here | canned lists, what a list grants, whom new objects belong to |
//!
//! In a bucket whose ownership is `BucketOwnerEnforced` no list counts, and none is kept but the owner's own full control.

mod handlers;
mod read;

use std::sync::{Arc, LazyLock};

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::request::ObjectKey;
use super::service::S3;
use crate::iam::{Account, Identity};
use crate::policy::Grant;
use crate::store::schema::{AclGrant, Grantee, Group, Ownership, Permission};

pub(super) use read::{Granting, Requested, check_count};

/// What stands for whoever did not sign, where an account's id would.
pub(super) const ANONYMOUS: &str = "anonymous";
/// Whom objects belong to that nobody signed for. (S3 user guide, "Bucket owner and object owner".)
static NOBODY: LazyLock<Arc<Account>> = LazyLock::new(|| {
    Arc::new(Account {
        id: ANONYMOUS.to_owned(),
        canonical_id: "65a011a29cdf8ec533ec3d1ccaae921c".to_owned(),
        display_name: ANONYMOUS.to_owned(),
        email: String::new(),
    })
});
/// Amazon EC2, as `aws-exec-read` lets it in.
const EC2: &str = crate::config::EC2_CANONICAL_ID;

/// What a list is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Of {
    Bucket,
    Object,
}

/// Whom a canned list lets in, beside the owner.
#[derive(Clone, Copy)]
enum Who {
    Group(Group),
    Ec2,
    BucketOwner,
}

/// What a canned list grants beside the owner's full control.
type Beside = &'static [(Who, Permission)];

/// The canned lists, what they are of (`None`: both), and what they grant beside the owner's full control.
/// (S3 user guide, "Canned ACL".)
const CANNED: &[(&str, Option<Of>, Beside)] = {
    use Permission::{FullControl, Read, ReadAcp, Write};
    const ALL: Who = Who::Group(Group::AllUsers);
    const LOG: Who = Who::Group(Group::LogDelivery);
    &[
        ("private", None, &[]),
        ("public-read", None, &[(ALL, Read)]),
        ("public-read-write", None, &[(ALL, Read), (ALL, Write)]),
        ("aws-exec-read", None, &[(Who::Ec2, Read)]),
        ("authenticated-read", None, &[(Who::Group(Group::AuthenticatedUsers), Read)]),
        ("bucket-owner-read", None, &[(Who::BucketOwner, Read)]),
        ("bucket-owner-full-control", None, &[(Who::BucketOwner, FullControl)]),
        ("log-delivery-write", Some(Of::Bucket), &[(LOG, Write), (LOG, ReadAcp)]),
    ]
};

/// Whom a new object belongs to, and its list: what its record keeps.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ObjectAccess {
    /// `None`: to the bucket's owner.
    pub owner: Option<String>,
    /// `None`: full control for its owner.
    pub acl: Option<Vec<AclGrant>>,
}

/// The list that a canned one stands for.
fn canned(name: &str, owner: &str, bucket_owner: &str, of: Of) -> Option<Vec<AclGrant>> {
    let (_, _, beside) = CANNED.iter().find(|(known, only, _)| *known == name && only.is_none_or(|only| only == of))?;
    let mut grants = vec![full_control(owner)];
    for &(who, permission) in *beside {
        let grantee = match who {
            Who::Group(group) => Grantee::Group(group),
            Who::Ec2 => Grantee::Account(EC2.to_owned()),
            // Buckets have no other owner, and what the owner has need not be granted.
            Who::BucketOwner if of == Of::Bucket || bucket_owner == owner => continue,
            Who::BucketOwner => Grantee::Account(bucket_owner.to_owned()),
        };
        grants.push(AclGrant { grantee, permission });
    }
    Some(grants)
}

/// The grant that every owner begins with.
pub(super) fn full_control(owner: &str) -> AclGrant {
    AclGrant { grantee: Grantee::Account(owner.to_owned()), permission: Permission::FullControl }
}

/// Whether a list lets in the world. (S3 user guide, "The meaning of 'public'".)
pub(super) fn is_public(grants: &[AclGrant]) -> bool {
    let open = |grant: &AclGrant| matches!(grant.grantee, Grantee::Group(Group::AllUsers | Group::AuthenticatedUsers));
    grants.iter().any(open)
}

/// Whether a bucket's list lets access logs be written to it.
pub(super) fn lets_logs_in(grants: &[AclGrant]) -> bool {
    grants.iter().any(|grant| {
        grant.grantee == Grantee::Group(Group::LogDelivery)
            && matches!(grant.permission, Permission::Write | Permission::FullControl)
    })
}

/// What `grants` give of `permission` to `identity`.
pub(super) fn granted(grants: &[AclGrant], permission: Permission, identity: Option<&Identity>) -> Grant {
    let mut found = Grant::None;
    for grant in grants {
        if grant.permission != permission && grant.permission != Permission::FullControl {
            continue;
        }
        match (&grant.grantee, identity) {
            (Grantee::Group(Group::AllUsers), _) | (Grantee::Group(Group::AuthenticatedUsers), Some(_)) => {
                return Grant::Everybody;
            }
            (Grantee::Account(id), Some(identity)) if *id == identity.account.canonical_id => found = Grant::Account,
            _ => {}
        }
    }
    found
}

impl Bucket {
    /// To whom its objects belong.
    pub(super) fn ownership(&self) -> Ownership {
        self.record.ownership.unwrap_or(Ownership::BucketOwnerEnforced)
    }

    /// Whether access control lists count.
    pub(super) fn has_acls(&self) -> bool {
        self.ownership() != Ownership::BucketOwnerEnforced
    }

    /// The account id of an object's owner, whose record says `recorded`.
    pub(super) fn owner_of_object<'a>(&'a self, recorded: Option<&'a str>) -> &'a str {
        recorded.filter(|_| self.has_acls()).unwrap_or(&self.record.account)
    }

    /// Its list. `None`: full control for its owner, as everywhere where lists do not count.
    pub(super) fn acl(&self) -> Option<&[AclGrant]> {
        self.record.acl.as_deref().filter(|_| self.has_acls())
    }

    /// What of a list counts: of a public one nothing, where those are to be ignored.
    pub(super) fn counts<'a>(&self, grants: Option<&'a [AclGrant]>) -> &'a [AclGrant] {
        let ignored = |grants: &&[AclGrant]| self.public_access().ignore_public_acls && is_public(grants);
        grants.filter(|grants| !ignored(grants)).unwrap_or_default()
    }
}

impl S3 {
    /// The account with this id, if it is still configured; or nobody.
    pub(super) fn account(&self, id: &str) -> Option<&Arc<Account>> {
        if id == ANONYMOUS { Some(&*NOBODY) } else { self.directory.account(id) }
    }

    /// The owner of an object whose record says `recorded`.
    pub(super) fn object_owner(&self, bucket: &Bucket, recorded: Option<&str>) -> Option<&Arc<Account>> {
        self.account(bucket.owner_of_object(recorded))
    }

    pub(super) fn canonical_id(&self, account: &str) -> &str {
        self.account(account).map_or("", |account| &account.canonical_id)
    }

    /// Whom the object that `call` writes will belong to, and its list.
    ///
    /// # Errors
    /// What is wrong with the list; `AccessControlListNotSupported` where none counts; `AccessDenied` for a public one where those
    /// are blocked, or if the caller may not give the object a list.
    pub(super) async fn access_of_new(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<ObjectAccess> {
        let requested = Requested::of_headers(&call.headers, &self.directory)?;
        let bucket_owner = self.canonical_id(&bucket.record.account);
        if !bucket.has_acls() {
            let harmless = match &requested {
                None => true,
                Some(Requested::Canned(name)) => matches!(name.as_str(), "private" | "bucket-owner-full-control"),
                Some(Requested::Grants(grants)) => *grants == [full_control(bucket_owner)],
            };
            return if harmless {
                Ok(ObjectAccess::default())
            } else {
                Err(ErrorCode::AccessControlListNotSupported.into())
            };
        }
        let writer = call.identity.as_ref().map_or(ANONYMOUS, |identity| &identity.account.id);
        let hands_over = matches!(&requested, Some(Requested::Canned(name)) if name == "bucket-owner-full-control");
        let to_bucket = bucket.ownership() == Ownership::BucketOwnerPreferred && hands_over;
        let owner = if to_bucket { bucket.record.account.as_str() } else { writer };
        let acl = match requested {
            Some(requested) => Some(requested.expand(self.canonical_id(owner), bucket_owner, Of::Object)?),
            None => None,
        };
        if let Some(grants) = &acl {
            Self::refuse_blocked(call, &call.operation(), bucket, Some(key), grants)?;
            // The owner's own full control, and the bucket owner's, are nobody's loss.
            let usual = [full_control(self.canonical_id(owner)), full_control(bucket_owner)];
            if !grants.iter().all(|grant| usual.contains(grant)) {
                self.authorize_acl_of_new(call, bucket, key, owner).await?;
            }
        }
        let private = [full_control(self.canonical_id(owner))];
        let owner = Some(owner.to_owned()).filter(|owner| *owner != bucket.record.account);
        Ok(ObjectAccess { owner, acl: acl.filter(|grants| *grants != private) })
    }

    /// Refuses a public list where such are blocked.
    fn refuse_blocked(
        call: &Call<'_>,
        action: &str,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
        grants: &[AclGrant],
    ) -> Result<()> {
        if !bucket.public_access().block_public_acls || !is_public(grants) {
            return Ok(());
        }
        let Some(identity) = call.identity.as_ref().filter(|caller| caller.account.id == bucket.record.account) else {
            return Err(ErrorCode::AccessDenied.into());
        };
        let resource = key.map_or_else(|| bucket.arn(), |key| bucket.arn_of(key));
        let message = format!(
            "User: {} is not authorized to perform: {action} on resource: \"{resource}\" because public ACLs are prevented by \
             the BlockPublicAcls setting in S3 Block Public Access.",
            identity.arn
        );
        Err(S3Error::new(ErrorCode::AccessDenied, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Subject;

    #[test]
    fn canned_lists() {
        let show = |name, owner, of| {
            let grants = canned(name, owner, "bucket-owner", of)?;
            Some(grants.iter().map(|grant| format!("{:?} {:?}", grant.grantee, grant.permission)).collect::<Vec<_>>())
        };
        let owner = "Account(\"writer\") FullControl";
        assert_eq!(show("private", "writer", Of::Object).unwrap(), [owner]);
        let beside = |name, of| show(name, "writer", of).unwrap()[1..].join(", ");
        for (name, of_object, of_bucket) in [
            ("public-read", "Group(AllUsers) Read", "Group(AllUsers) Read"),
            (
                "public-read-write",
                "Group(AllUsers) Read, Group(AllUsers) Write",
                "Group(AllUsers) Read, Group(AllUsers) Write",
            ),
            ("authenticated-read", "Group(AuthenticatedUsers) Read", "Group(AuthenticatedUsers) Read"),
            ("bucket-owner-read", "Account(\"bucket-owner\") Read", ""),
            ("bucket-owner-full-control", "Account(\"bucket-owner\") FullControl", ""),
        ] {
            assert_eq!(beside(name, Of::Object), of_object, "{name}");
            assert_eq!(beside(name, Of::Bucket), of_bucket, "{name}");
        }
        assert_eq!(beside("log-delivery-write", Of::Bucket), "Group(LogDelivery) Write, Group(LogDelivery) ReadAcp");
        assert_eq!(show("log-delivery-write", "writer", Of::Object), None);
        assert_eq!(show("Public-Read", "writer", Of::Object), None);
        assert_eq!(show("bucket-owner-full-control", "bucket-owner", Of::Object).unwrap().len(), 1);
    }

    #[test]
    fn what_a_list_grants() {
        use Permission::{FullControl, Read, ReadAcp, Write};
        let to = |id: &str| Grantee::Account(id.to_owned());
        let list = |grantee, permission| vec![AclGrant { grantee, permission }];
        let account = Arc::new(Account {
            id: "1".to_owned(),
            canonical_id: "alice".to_owned(),
            display_name: String::new(),
            email: String::new(),
        });
        let alice = Identity::new(&account, &Arc::new(Subject::root("1")), "AKIA");
        for (grants, permission, signed, anonymous) in [
            (list(to("alice"), Read), Read, Grant::Account, Grant::None),
            (list(to("alice"), Read), Write, Grant::None, Grant::None),
            (list(to("alice"), FullControl), ReadAcp, Grant::Account, Grant::None),
            (list(to("bob"), FullControl), Read, Grant::None, Grant::None),
            (list(Grantee::Group(Group::AllUsers), Read), Read, Grant::Everybody, Grant::Everybody),
            (list(Grantee::Group(Group::AuthenticatedUsers), Read), Read, Grant::Everybody, Grant::None),
            (list(Grantee::Group(Group::LogDelivery), Write), Write, Grant::None, Grant::None),
            (Vec::new(), Read, Grant::None, Grant::None),
        ] {
            assert_eq!(granted(&grants, permission, Some(&alice)), signed, "{grants:?}");
            assert_eq!(granted(&grants, permission, None), anonymous, "{grants:?}");
        }
    }
}
