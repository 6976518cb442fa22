//! Lists as clients give them: `x-amz-acl`, `x-amz-grant-*`, and the `AccessControlPolicy` document.

use http::HeaderMap;
use serde::Deserialize;

use super::{CANNED, EC2, NOBODY, Of, canned};
use crate::iam::Directory;
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::headers::text;
use crate::s3::xml;
use crate::store::schema::{AclGrant, Grantee, Group, Permission};

/// The headers that grant, and what. (API reference, PutObjectAcl.)
const GRANTING: &[(&str, Permission)] = &[
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];
/// Most grants of a list. (S3 user guide, "Sample ACL".)
const MAX_GRANTS: usize = 100;
/// The groups, by their URIs.
pub(super) const GROUPS: &[(&str, Group)] = &[
    ("http://acs.amazonaws.com/groups/global/AllUsers", Group::AllUsers),
    ("http://acs.amazonaws.com/groups/global/AuthenticatedUsers", Group::AuthenticatedUsers),
    ("http://acs.amazonaws.com/groups/s3/LogDelivery", Group::LogDelivery),
];

/// The names of permissions in documents.
pub(super) const PERMISSIONS: &[(&str, Permission)] = &[
    ("READ", Permission::Read),
    ("WRITE", Permission::Write),
    ("READ_ACP", Permission::ReadAcp),
    ("WRITE_ACP", Permission::WriteAcp),
    ("FULL_CONTROL", Permission::FullControl),
];

/// A list that a request's headers ask for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::s3) enum Requested {
    /// One of those that S3 has ready.
    Canned(String),
    /// Grant by grant.
    Grants(Vec<AclGrant>),
}

impl Requested {
    /// What `headers` ask for, if they ask for a list.
    ///
    /// # Errors
    /// `InvalidRequest` for both kinds at once; `InvalidArgument`; `UnresolvableGrantByEmailAddress`.
    pub fn of_headers(headers: &HeaderMap, directory: &Directory) -> Result<Option<Self>> {
        let granting =
            GRANTING.iter().filter_map(|(name, permission)| Some((*name, *permission, text(headers, *name)?)));
        let granting: Vec<_> = granting.collect();
        if let Some(name) = text(headers, "x-amz-acl") {
            if !granting.is_empty() {
                return Err(S3Error::new(
                    ErrorCode::InvalidRequest,
                    "Specifying both Canned ACLs and Header Grants is not allowed",
                ));
            }
            if !CANNED.iter().any(|(known, ..)| *known == name) {
                return Err(S3Error::argument("x-amz-acl", name, ""));
            }
            return Ok(Some(Self::Canned(name.to_owned())));
        }
        if granting.is_empty() {
            return Ok(None);
        }
        let mut grants = Vec::new();
        for (name, permission, value) in granting {
            for item in value.split(',') {
                let malformed = || S3Error::argument(name, value, "Argument format not recognized");
                let (kind, grantee) = item.trim().split_once('=').ok_or_else(malformed)?;
                let grantee = grantee.trim();
                let grantee = grantee.strip_prefix('"').map_or(Some(grantee), |quoted| quoted.strip_suffix('"'));
                let grantee = grantee.ok_or_else(malformed)?;
                let grantee = match kind.trim() {
                    "id" => by_id(grantee, "id", directory)?,
                    "uri" => by_uri(grantee, "uri")?,
                    kind if kind.eq_ignore_ascii_case("emailAddress") => by_email(grantee, directory)?,
                    _ => return Err(malformed()),
                };
                grants.push(AclGrant { grantee, permission });
            }
        }
        check_count(&grants)?;
        Ok(Some(Self::Grants(grants)))
    }

    /// The list that it comes to, of what belongs to `owner` in a bucket of `bucket_owner` (canonical ids).
    ///
    /// # Errors
    /// `InvalidArgument` for a canned list that is not of this kind.
    pub fn expand(self, owner: &str, bucket_owner: &str, of: Of) -> Result<Vec<AclGrant>> {
        match self {
            Self::Grants(grants) => Ok(grants),
            Self::Canned(name) => {
                canned(&name, owner, bucket_owner, of).ok_or_else(|| S3Error::argument("x-amz-acl", name, ""))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AccessControlPolicy {
    owner: Option<Owner>,
    access_control_list: Option<Grants>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "DisplayName")]
    _display_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grants {
    #[serde(rename = "Grant", default)]
    grants: Vec<Granting>,
}

/// A grant as a document has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(in crate::s3) struct Granting {
    grantee: GranteeElement,
    permission: String,
}

impl Granting {
    /// The grant.
    ///
    /// # Errors
    /// `malformed` for what is none; `InvalidArgument`, `UnresolvableGrantByEmailAddress` for a grantee that there is not.
    pub fn resolve(self, malformed: ErrorCode, directory: &Directory) -> Result<AclGrant> {
        let Self { grantee: GranteeElement { kind, id, uri, email, .. }, permission } = self;
        let grantee = match (kind.as_deref(), id, uri, email) {
            (Some("CanonicalUser"), Some(id), _, _) => by_id(&id, "CanonicalUser/ID", directory)?,
            (Some("Group"), _, Some(uri), _) => by_uri(&uri, "Group/URI")?,
            (Some("AmazonCustomerByEmail"), _, _, Some(email)) => by_email(&email, directory)?,
            _ => return Err(malformed.into()),
        };
        let permission = PERMISSIONS.iter().find(|(name, _)| *name == permission).ok_or(malformed)?.1;
        Ok(AclGrant { grantee, permission })
    }

    /// The grant that was resolved before it was kept.
    pub fn kept(self) -> Option<AclGrant> {
        let permission = PERMISSIONS.iter().find(|(name, _)| *name == self.permission)?.1;
        let grantee = match (self.grantee.id, self.grantee.uri) {
            (Some(id), _) => Grantee::Account(id),
            (None, Some(uri)) => Grantee::Group(GROUPS.iter().find(|(known, _)| *known == uri)?.1),
            (None, None) => return None,
        };
        Some(AclGrant { grantee, permission })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GranteeElement {
    #[serde(rename = "@type")]
    kind: Option<String>,
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "URI")]
    uri: Option<String>,
    #[serde(rename = "EmailAddress")]
    email: Option<String>,
    /// Given beside an id, which is what is looked at.
    #[serde(rename = "DisplayName")]
    _display_name: Option<String>,
}

/// Reads an `AccessControlPolicy` of what belongs to `owner` (a canonical id).
///
/// # Errors
/// `MalformedACLError`; `AccessDenied` for another owner, `InvalidArgument` for one that there is not; as of headers.
pub(super) fn read_document(document: &[u8], owner: &str, directory: &Directory) -> Result<Vec<AclGrant>> {
    let malformed = || S3Error::from(ErrorCode::MalformedAcl);
    let policy: AccessControlPolicy =
        xml::read(document, "AccessControlPolicy").map_err(|error| malformed().because(error))?;
    let (Some(named), Some(list)) = (policy.owner, policy.access_control_list) else { return Err(malformed()) };
    let named = named.id.ok_or_else(malformed)?;
    // A list cannot hand its object to somebody else. (Nobody's id: recorded on AWS, `test_s3_bucket_acl_exceptions`.)
    if named != owner {
        by_id(&named, "CanonicalUser/ID", directory)?;
        return Err(ErrorCode::AccessDenied.into());
    }
    let mut grants = Vec::new();
    for granting in list.grants {
        grants.push(granting.resolve(ErrorCode::MalformedAcl, directory)?);
    }
    check_count(&grants)?;
    Ok(grants)
}

pub(in crate::s3) fn check_count(grants: &[AclGrant]) -> Result<()> {
    if grants.len() <= MAX_GRANTS { Ok(()) } else { Err(ErrorCode::MalformedAcl.into()) }
}

fn by_id(id: &str, argument: &'static str, directory: &Directory) -> Result<Grantee> {
    let known = directory.account_by_canonical_id(id).is_some() || id == NOBODY.canonical_id || id == EC2;
    if known { Ok(Grantee::Account(id.to_owned())) } else { Err(S3Error::argument(argument, id, "Invalid id")) }
}

fn by_uri(uri: &str, argument: &'static str) -> Result<Grantee> {
    let group = GROUPS.iter().find(|(known, _)| *known == uri);
    group.map(|(_, group)| Grantee::Group(*group)).ok_or_else(|| S3Error::argument(argument, uri, "Invalid group uri"))
}

fn by_email(email: &str, directory: &Directory) -> Result<Grantee> {
    let account = directory.account_by_email(email);
    account
        .map(|account| Grantee::Account(account.canonical_id.clone()))
        .ok_or_else(|| ErrorCode::UnresolvableGrantByEmailAddress.with("Email", email))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretBytes;
    use crate::iam::Account;

    fn directory() -> Directory {
        let mut directory = Directory::default();
        let account = Account {
            id: "111122223333".to_owned(),
            canonical_id: "cafe".to_owned(),
            display_name: "a".to_owned(),
            email: "a@example.com".to_owned(),
        };
        directory.add_root(account, "AKIA".to_owned(), SecretBytes::new(b"s".to_vec()));
        directory
    }

    fn of_headers(pairs: &[(&'static str, &str)]) -> Result<Option<Requested>, (ErrorCode, String)> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Requested::of_headers(&headers, &directory()).map_err(|error| (error.code, error.message.into_owned()))
    }

    fn refused(pairs: &[(&'static str, &str)]) -> (ErrorCode, String) {
        of_headers(pairs).unwrap_err()
    }

    #[test]
    fn lists_in_headers() {
        let cafe = |permission| AclGrant { grantee: Grantee::Account("cafe".to_owned()), permission };
        let group = |group, permission| AclGrant { grantee: Grantee::Group(group), permission };
        assert_eq!(of_headers(&[]), Ok(None));
        assert_eq!(of_headers(&[("x-amz-acl", "private")]), Ok(Some(Requested::Canned("private".to_owned()))));
        let all = r#"id="cafe", uri="http://acs.amazonaws.com/groups/global/AllUsers""#;
        assert_eq!(
            of_headers(&[("x-amz-grant-full-control", "emailAddress=A@example.com"), ("x-amz-grant-read", all)]),
            Ok(Some(Requested::Grants(vec![
                cafe(Permission::Read),
                group(Group::AllUsers, Permission::Read),
                cafe(Permission::FullControl)
            ])))
        );
        let invalid = |text: &str| (ErrorCode::InvalidArgument, text.to_owned());
        assert_eq!(refused(&[("x-amz-acl", "open")]), invalid(""));
        for malformed in ["cafe", "id=\"cafe", "user=cafe", ","] {
            assert_eq!(refused(&[("x-amz-grant-read", malformed)]), invalid("Argument format not recognized"));
        }
        assert_eq!(refused(&[("x-amz-grant-read", "id=dead")]), invalid("Invalid id"));
        assert_eq!(refused(&[("x-amz-grant-read", "uri=http://example.com")]), invalid("Invalid group uri"));
        assert_eq!(
            refused(&[("x-amz-grant-read", "emailAddress=b@example.com")]).0,
            ErrorCode::UnresolvableGrantByEmailAddress
        );
        assert_eq!(refused(&[("x-amz-grant-read", "emailAddress=")]).0, ErrorCode::UnresolvableGrantByEmailAddress);
        assert_eq!(refused(&[("x-amz-acl", "private"), ("x-amz-grant-read", "id=cafe")]).0, ErrorCode::InvalidRequest);
    }

    #[test]
    fn lists_in_documents() {
        const XSI: &str = r#"xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance""#;
        let read = |text: &str| read_document(text.as_bytes(), "cafe", &directory()).map_err(|error| error.code);
        let grant = |grantee: &str, permission: &str| {
            format!("<Grant><Grantee {XSI} {grantee}</Grantee><Permission>{permission}</Permission></Grant>")
        };
        let list = |owner: &str, grants: &str| {
            format!(
                "<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>{owner}</ID></Owner>\
                 <AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
            )
        };
        let user = "xsi:type=\"CanonicalUser\"><ID>cafe</ID><DisplayName>a</DisplayName>";
        let group = "xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/s3/LogDelivery</URI>";
        let email = "xsi:type=\"AmazonCustomerByEmail\"><EmailAddress>a@example.com</EmailAddress>";
        let all = [grant(user, "FULL_CONTROL"), grant(group, "WRITE"), grant(email, "READ_ACP")].concat();
        let cafe = |permission| AclGrant { grantee: Grantee::Account("cafe".to_owned()), permission };
        let log = AclGrant { grantee: Grantee::Group(Group::LogDelivery), permission: Permission::Write };
        assert_eq!(read(&list("cafe", &all)), Ok(vec![cafe(Permission::FullControl), log, cafe(Permission::ReadAcp)]));
        assert_eq!(read(&list("cafe", "")), Ok(Vec::new()));
        assert_eq!(read(&list("dead", &all)), Err(ErrorCode::InvalidArgument));
        assert_eq!(read(&list(&NOBODY.canonical_id, &all)), Err(ErrorCode::AccessDenied));
        for malformed in [
            "<AccessControlPolicy/>".to_owned(),
            "<Other/>".to_owned(),
            list("cafe", &grant(user, "EVERYTHING")),
            list("cafe", &grant("><ID>cafe</ID>", "READ")),
            list("cafe", &grant("xsi:type=\"Group\"><ID>cafe</ID>", "READ")),
            list("cafe", &grant(user, "READ").repeat(101)),
            list("cafe", &grant(&format!("{user}<Until>2030</Until>"), "READ")),
            list("cafe", &format!("{all}<Deny/>")),
            list("cafe", &all).replace("</Owner>", "</Owner><Private/>"),
        ] {
            assert_eq!(read(&malformed), Err(ErrorCode::MalformedAcl), "{malformed}");
        }
        let unknown = user.replace("cafe", "dead");
        assert_eq!(read(&list("cafe", &grant(&unknown, "READ"))), Err(ErrorCode::InvalidArgument));
    }
}
