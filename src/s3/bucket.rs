//! Buckets: create, head, delete, list, location.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use serde::Deserialize;

use super::access::Creation;
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{insert, refuse_not_offered};
use super::list::{decode_token, encode_token, incorrect_token};
use super::render;
use super::request::{is_bucket_name, virtual_bucket};
use super::service::{S3, no_content};
use super::tags::{TagSet, Tagged};
use super::xml::{self, XmlWriter};
use crate::crypto::random;
use crate::iam::Permit;
use crate::store::commit::{self, BucketDeletion};
use crate::store::schema::{BucketRecord, ObjectLock, PublicAccessBlock, Versioning};
use crate::wire::{RequestBody, ResponseBody};

/// The header that names the region of a bucket, in which its clients ask again.
pub(super) const BUCKET_REGION: &str = "x-amz-bucket-region";
/// The region whose buckets have no location constraint, and where creating one's own bucket again is no error.
const CLASSIC_REGION: &str = "us-east-1";
/// What a location constraint may call eu-west-1, whose buckets are then said to be there by that name.
const IRELAND: &str = "EU";
/// Most buckets in one page of a listing.
const MAX_BUCKETS: u32 = 10_000;
/// The header that says in which namespace a new bucket's name is, and what names in accounts' own end with.
const NAMESPACE: &str = "x-amz-bucket-namespace";
const NAMESPACE_SUFFIX: &str = "-an";
/// Longest `CreateBucketConfiguration`, in bytes.
const MAX_CONFIGURATION: usize = 16 * 1024;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct CreateBucketConfiguration {
    location_constraint: Option<String>,
    location: Option<serde::de::IgnoredAny>,
    bucket: Option<serde::de::IgnoredAny>,
    tags: Option<TagSet>,
}

/// AWS's regions. (AWS Regions and Availability Zones user guide; those of its partitions in China, for the US government and
/// for Europe's sovereignty too.)
const REGIONS: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// Whether `name` is an AWS region's.
fn is_region(name: &str) -> bool {
    name == IRELAND || REGIONS.contains(&name)
}

/// Where a new bucket is, as it was asked for by `host`. Elsewhere than in us-east-1 AWS names its host (recorded on AWS,
/// `test_create_bucket_head_bucket`), if there are such under this host.
fn new_place(region: &str, host: Option<&str>, bases: &[String], name: &str) -> String {
    let below = format!("{name}.");
    match host {
        Some(host) if region != CLASSIC_REGION => {
            let is_named = host.get(..below.len()).is_some_and(|head| head.eq_ignore_ascii_case(&below));
            let named = if is_named { host.to_owned() } else { format!("{below}{host}") };
            match virtual_bucket(&named, bases) {
                Some(bucket) if bucket == name => format!("http://{named}/"),
                _ => format!("/{name}"),
            }
        }
        _ => format!("/{name}"),
    }
}

impl S3 {
    pub(super) async fn create_bucket(
        &self,
        call: &Call<'_>,
        name: &str,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        // Nobody's body is asked for; the caller's may have to say where, for its policies to judge.
        Self::refuse_unsigned(call)?;
        let document = self.read_document(call, &call.headers, body, MAX_CONFIGURATION).await?;
        let configuration = if document.is_empty() {
            Ok(CreateBucketConfiguration::default())
        } else {
            xml::read(&document, "CreateBucketConfiguration")
        };
        let asked = configuration.as_ref().ok();
        let creation = Creation {
            location: asked.and_then(|asked| asked.location_constraint.clone()),
            tags: asked.and_then(|asked| asked.tags.as_ref()).map(TagSet::pairs).unwrap_or_default(),
        };
        let permit = self.authorize_creation(call, call.row.action, name, &creation)?;
        self.make_bucket(call, name, permit, configuration?).await
    }

    async fn make_bucket(
        &self,
        call: &Call<'_>,
        name: &str,
        _permit: Permit,
        configuration: CreateBucketConfiguration,
    ) -> Result<Response<ResponseBody>> {
        if !is_bucket_name(name) {
            return Err(ErrorCode::InvalidBucketName.with("BucketName", name));
        }
        let account = call.identity()?.account.id.clone();
        self.check_namespace(call.headers.get(NAMESPACE), name, &account)?;
        refuse_not_offered(&call.headers)?;
        let locked =
            call.header("x-amz-bucket-object-lock-enabled").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let (ownership, acl) = self.access_of_new_bucket(call, name)?;
        if configuration.location.is_some() || configuration.bucket.is_some() {
            return Err(S3Error::new(
                ErrorCode::NotImplemented,
                "Directory buckets are not implemented by this server.",
            ));
        }
        self.check_location(configuration.location_constraint.as_deref())?;
        let tags = configuration.tags.unwrap_or_default().check(Tagged::NewBucket)?;
        let creation = Creation { location: None, tags };
        // (API reference, CreateBucket, "Permissions", and `Tags`.)
        for (action, is_asked) in [
            ("s3:PutBucketObjectLockConfiguration", locked),
            ("s3:PutBucketVersioning", locked),
            ("s3:TagResource", !creation.tags.is_empty()),
        ] {
            if is_asked {
                self.authorize_creation(call, action, name, &creation)?;
            }
        }
        let (id, now) = (random::bytes(&*self.entropy), self.clock.now().as_millisecond());
        let record = BucketRecord {
            public_access: Some(PublicAccessBlock::ALL),
            versioning: if locked { Versioning::Enabled } else { Versioning::Never },
            object_lock: locked.then(ObjectLock::default),
            tags: creation.tags,
            ownership: Some(ownership),
            acl,
            location: configuration.location_constraint.filter(|asked| *asked != self.settings.region),
            ..BucketRecord::new(id, account.clone(), now, self.settings.region.clone())
        };
        match commit::create_bucket(&*self.store, name, &record).await? {
            None => {}
            Some(existing) if existing.account != account => {
                return Err(ErrorCode::BucketAlreadyExists.with("BucketName", name));
            }
            // "In us-east-1 … if you re-create an existing bucket that you already own, S3 returns 200 OK" (CreateBucket)
            // One that would be given tags is not made again.
            Some(_) if self.settings.region == CLASSIC_REGION && record.tags.is_empty() => {}
            Some(_) => return Err(ErrorCode::BucketAlreadyOwnedByYou.with("BucketName", name)),
        }
        let mut response = render::empty(StatusCode::OK);
        let place = new_place(&self.settings.region, call.host.as_deref(), &self.settings.base_domains, name);
        insert(response.headers_mut(), LOCATION, &place);
        insert(response.headers_mut(), HeaderName::from_static("x-amz-bucket-arn"), &format!("arn:aws:s3:::{name}"));
        Ok(response)
    }

    /// Whether a bucket may be asked for here with this location constraint.
    fn check_location(&self, constraint: Option<&str>) -> Result<()> {
        let region = self.settings.region.as_str();
        let illegal = |asked: &str| {
            let message = format!(
                "The {asked} location constraint is incompatible for the region specific endpoint this request was sent to."
            );
            Err(S3Error::new(ErrorCode::IllegalLocationConstraintException, message))
        };
        match constraint {
            None if region == CLASSIC_REGION => Ok(()),
            None => illegal("unspecified"),
            // This region alone answers for all of them, and so says which there are not.
            Some(asked) if region == CLASSIC_REGION && (asked == CLASSIC_REGION || !is_region(asked)) => {
                Err(ErrorCode::InvalidLocationConstraint.with("LocationConstraint", asked))
            }
            Some(asked) if asked == region => Ok(()),
            Some(IRELAND) if region == "eu-west-1" => Ok(()),
            Some(asked) => illegal(asked),
        }
    }

    /// Whether the buckets of `region` can be listed here: those of this server's region, where all are.
    fn check_region(&self, region: &str) -> Result<()> {
        let message = match region.to_ascii_lowercase() {
            asked if asked == self.settings.region => return Ok(()),
            asked if is_region(&asked) && asked != "eu" => {
                "Requests with bucket-region specified must be made to the corresponding regional endpoint".to_owned()
            }
            _ => format!("Argument value {region} is not a valid AWS Region"),
        };
        Err(S3Error::new(ErrorCode::InvalidArgument, message).with("ArgumentName", "bucket-region"))
    }

    /// Whether `account` may give a bucket this name in the namespace that it asks for. Names with the suffix
    /// `-account-region-an` are of an account's own namespace, which is asked for by a header.
    /// (S3 user guide, "Namespaces for general purpose buckets".)
    fn check_namespace(&self, asked: Option<&HeaderValue>, name: &str, account: &str) -> Result<()> {
        let region = self.settings.region.as_str();
        let refuse =
            |message: String| Err(S3Error::new(ErrorCode::InvalidBucketNamespace, message).with("BucketName", name));
        match asked.map(HeaderValue::as_bytes) {
            None if name.ends_with(NAMESPACE_SUFFIX) => Err(ErrorCode::MissingNamespaceHeader.with("BucketName", name)),
            Some(b"global") if name.ends_with(NAMESPACE_SUFFIX) => {
                refuse(format!("Names that end with {NAMESPACE_SUFFIX} are not of the global namespace."))
            }
            None | Some(b"global") => Ok(()),
            Some(b"account-regional") if name.ends_with(&format!("-{account}-{region}{NAMESPACE_SUFFIX}")) => Ok(()),
            Some(b"account-regional") => refuse(format!(
                "The requested bucket is an account-regional namespace bucket, but the bucket name does not end with \
                 -{account}-{region}{NAMESPACE_SUFFIX}. Specify the targeted account and region in the bucket name."
            )),
            Some(other) => {
                let message = format!("The value of {NAMESPACE} must be global or account-regional");
                Err(S3Error::argument(NAMESPACE, String::from_utf8_lossy(other), message))
            }
        }
    }

    pub(super) fn head_bucket(bucket: &Bucket, _permit: Permit) -> Response<ResponseBody> {
        let mut response = render::empty(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        insert(headers, HeaderName::from_static(BUCKET_REGION), &bucket.record.region);
        insert(headers, HeaderName::from_static("x-amz-access-point-alias"), "false");
        insert(headers, HeaderName::from_static("x-amz-bucket-arn"), &bucket.arn());
        response
    }

    pub(super) fn bucket_location(bucket: &Bucket, _permit: Permit) -> Response<ResponseBody> {
        let region = bucket.record.location.as_ref().unwrap_or(&bucket.record.region);
        let text = if region == CLASSIC_REGION { "" } else { region };
        render::document(XmlWriter::document_with_text("LocationConstraint", text))
    }

    pub(super) async fn delete_bucket(&self, bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        match commit::delete_bucket(&*self.store, &bucket.name, &bucket.record).await? {
            BucketDeletion::Deleted => Ok(no_content()),
            BucketDeletion::NotEmpty if bucket.record.versioning.keeps_versions() => {
                let text = "The bucket you tried to delete is not empty. You must delete all versions in the bucket.";
                Err(S3Error::new(ErrorCode::BucketNotEmpty, text).with("BucketName", &bucket.name))
            }
            BucketDeletion::NotEmpty => Err(ErrorCode::BucketNotEmpty.with("BucketName", &bucket.name)),
            BucketDeletion::Busy => Err(ErrorCode::OperationAborted.into()),
        }
    }

    pub(super) async fn list_buckets(&self, call: &Call<'_>, _permit: Permit) -> Result<Response<ResponseBody>> {
        let limit = call.query.number("max-buckets")?.unwrap_or(MAX_BUCKETS);
        if !(1..=MAX_BUCKETS).contains(&limit) {
            let message = format!("Argument max-buckets must be an integer between 1 and {MAX_BUCKETS}");
            return Err(S3Error::argument("max-buckets", limit.to_string(), message));
        }
        let prefix = call.query.value("prefix").unwrap_or_default();
        if let Some(region) = call.query.value("bucket-region") {
            self.check_region(region)?;
        }
        let account = &call.identity()?.account;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut after = match call.query.non_empty("continuation-token") {
            None => String::new(),
            Some(token) => decode_token(token).ok_or_else(incorrect_token)?,
        };
        let mut page: Vec<(String, BucketRecord)> = Vec::new();
        // Buckets of all accounts share one name space; a page holds only the caller's.
        loop {
            let found = commit::read_buckets(&*self.store, &after, limit + 1).await?;
            let exhausted = found.len() <= limit;
            if let Some((name, _)) = found.last() {
                after.clone_from(name);
            }
            page.extend(
                found.into_iter().filter(|(name, record)| record.account == account.id && name.starts_with(prefix)),
            );
            if exhausted || page.len() > limit {
                break;
            }
        }
        let more = page.len() > limit;
        page.truncate(limit);
        Ok(render::document(XmlWriter::document("ListAllMyBucketsResult", |xml| {
            xml.element("Owner", |xml| {
                xml.text("ID", &account.canonical_id);
                xml.text("DisplayName", &account.display_name);
            });
            xml.element("Buckets", |xml| {
                for (name, record) in &page {
                    xml.element("Bucket", |xml| {
                        xml.text("Name", name);
                        xml.time("CreationDate", record.created);
                        xml.text("BucketRegion", &record.region);
                        xml.text("BucketArn", format_args!("arn:aws:s3:::{name}"));
                    });
                }
            });
            xml.optional("Prefix", call.query.value("prefix"));
            xml.optional("ContinuationToken", page.last().filter(|_| more).map(|(name, _)| encode_token(name)));
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_nonsense() {
        for region in ["eu-west-2", "us-gov-east-1", "ap-southeast-3", "EU"] {
            assert!(is_region(region), "{region}");
        }
        for other in ["nonsense", "mars-north-1", "eu-east-1", "eu-west", "eu-west-x", ""] {
            assert!(!is_region(other), "{other}");
        }
    }

    #[test]
    fn new_buckets_are_below_the_host_elsewhere_than_in_us_east_1() {
        let bases = ["localhost".to_owned()];
        let place = |region, host| new_place(region, host, &bases, "b");
        assert_eq!(place("us-east-1", Some("localhost:9000")), "/b");
        assert_eq!(place("eu-west-1", Some("localhost:9000")), "http://b.localhost:9000/");
        assert_eq!(place("eu-west-1", Some("b.localhost")), "http://b.localhost/");
        assert_eq!(place("eu-west-1", Some("127.0.0.1:9000")), "/b");
        assert_eq!(place("eu-west-1", None), "/b");
    }
}
