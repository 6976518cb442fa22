//! Which protocol a request speaks: the first row that fits.
//!
//! | request | protocol |
//! |---|---|
//! | path below `/_/v1/`, unless the host is a bucket's | the operators' API |
//! | path `/_` or below `/_/`, unless the host is a bucket's | internal: health, metrics |
//! | host `kms.REGION.amazonaws.com` | KMS |
//! | host `cloudtrail.REGION.amazonaws.com` | CloudTrail |
//! | host `sts.` or `iam.` of amazonaws.com | query |
//! | `POST /` with `X-Amz-Target` of CloudTrail | CloudTrail |
//! | `POST /` with any other `X-Amz-Target` | KMS |
//! | `POST /` signed for `kms` or `cloudtrail` | that |
//! | `POST /` with a form (`Action=...`) and no query, unless the host is a bucket's | query |
//! | `GET /` or `POST /` with `Action` and `Version` in its query | query |
//! | all else | S3 |

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, Method, Request};

const X_AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// A protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Route {
    /// The operators' API: JSON.
    Admin,
    /// Looking up events: AWS JSON 1.1.
    CloudTrail,
    /// Health and metrics.
    Internal,
    /// The KMS API: AWS JSON 1.1.
    Kms,
    /// STS and IAM: the AWS query protocol.
    Query,
    /// S3: REST and XML.
    S3,
}

impl Route {
    /// Whether it is one of AWS's JSON and query protocols. There `x-amzn-RequestId` names a request, by a UUID, and S3's two
    /// headers are not there.
    pub(super) fn is_rpc(self) -> bool {
        matches!(self, Self::CloudTrail | Self::Kms | Self::Query)
    }

    /// The protocol that `request` speaks; `is_bucket` says whether a host is one of a bucket or its website, below which
    /// every path is a key.
    pub(super) fn of<B>(request: &Request<B>, is_bucket: impl Fn(&str) -> bool) -> Self {
        let (path, host) = (request.uri().path(), host(request));
        let is_internal = path == "/_" || path.starts_with("/_/");
        if is_internal && !is_bucket(host) {
            return if path.starts_with("/_/v1/") { Self::Admin } else { Self::Internal };
        }
        match service(host) {
            Some("cloudtrail") => return Self::CloudTrail,
            Some("kms") => return Self::Kms,
            Some("sts" | "iam") => return Self::Query,
            _ => {}
        }
        // A presigned `GetCallerIdentity`, as other services take it for a proof of who somebody is.
        let may_be_query = matches!(*request.method(), Method::GET | Method::POST) && path == "/";
        if may_be_query && request.uri().query().is_some_and(is_query) {
            return Self::Query;
        }
        if request.method() != Method::POST || path != "/" {
            return Self::S3;
        }
        if let Some(target) = request.headers().get(X_AMZ_TARGET) {
            let cloudtrail = target.to_str().is_ok_and(|target| target.contains("CloudTrail_"));
            return if cloudtrail { Self::CloudTrail } else { Self::Kms };
        }
        // Without a target there is no operation, which that service is to say in its own form.
        match signed_for(request) {
            Some("cloudtrail") => return Self::CloudTrail,
            Some("kms") => return Self::Kms,
            _ => {}
        }
        match request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
            // Some clients say so of whatever they send: a deletion of many objects is a `POST /?delete` at a bucket's host.
            Some(form) if form.starts_with("application/x-www-form-urlencoded") => {
                if request.uri().query().is_none() && !is_bucket(host) { Self::Query } else { Self::S3 }
            }
            _ => Self::S3,
        }
    }
}

/// Whether a query asks for an operation of the query protocol.
fn is_query(query: &str) -> bool {
    let has = |name: &str| query.split('&').any(|pair| pair.starts_with(name));
    has("Action=") && has("Version=20")
}

/// The service in the credential scope of a request that is signed in its `Authorization` header
/// (`Credential=KEY/DATE/REGION/SERVICE/aws4_request`).
fn signed_for<B>(request: &Request<B>) -> Option<&str> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = header.strip_prefix("AWS4-")?.split_once("Credential=")?;
    credential.split([',', ' ']).next()?.split('/').nth_back(1)
}

/// The name that a request's host has, without its port and the dot that may end it.
fn host<B>(request: &Request<B>) -> &str {
    let header = || request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = request.uri().authority().map_or_else(header, http::uri::Authority::as_str);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name)
}

/// The service that AWS serves under `host`: `kms` of `kms.us-east-1.amazonaws.com`, and the like. Buckets are named in
/// front of S3's own label (`kms.s3.amazonaws.com`), so that none can pass for a service.
fn service(host: &str) -> Option<&str> {
    let (service, domain) = host.split_once('.')?;
    let region = if domain == "amazonaws.com" { "" } else { domain.strip_suffix(".amazonaws.com")? };
    let bucket = region.contains('.') || region == "s3" || region.starts_with("s3-");
    (matches!(service, "cloudtrail" | "kms" | "sts" | "iam") && !bucket).then_some(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, uri: &str, headers: &[(&str, &str)]) -> Route {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Route::of(&request.body(()).unwrap(), |host| host.ends_with(".localhost"))
    }

    #[test]
    fn each_row_of_the_table() {
        let target = [("x-amz-target", "TrentService.CreateKey")];
        let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        assert_eq!(route("GET", "/_/health/live", &[]), Route::Internal);
        assert_eq!(route("PUT", "/_", &[]), Route::Internal);
        assert_eq!(route("GET", "/_/v1/jobs", &target), Route::Admin);
        assert_eq!(route("PUT", "/_/bucket", &target), Route::Internal);
        assert_eq!(route("POST", "/", &[("host", "kms.eu-west-1.amazonaws.com:443")]), Route::Kms);
        assert_eq!(route("POST", "/", &[("host", "kms.eu-west-1.amazonaws.com.")]), Route::Kms);
        assert_eq!(route("POST", "https://sts.amazonaws.com/", &[]), Route::Query);
        assert_eq!(route("GET", "/", &[("host", "iam.amazonaws.com")]), Route::Query);
        assert_eq!(route("POST", "/", &target), Route::Kms);
        let look_up = [("x-amz-target", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents")];
        assert_eq!(route("POST", "/", &look_up), Route::CloudTrail);
        assert_eq!(route("POST", "https://cloudtrail.us-east-1.amazonaws.com/", &[]), Route::CloudTrail);
        assert_eq!(route("POST", "/", &form), Route::Query);
        let signed = |service: &str| {
            let scope = format!("AKIDEXAMPLE/20260101/us-east-1/{service}/aws4_request");
            let header = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=00");
            route("POST", "/", &[("authorization", &header), form[0]])
        };
        assert_eq!((signed("kms"), signed("cloudtrail")), (Route::Kms, Route::CloudTrail));
        assert_eq!((signed("sts"), signed("iam"), signed("s3")), (Route::Query, Route::Query, Route::Query));
        assert_eq!(route("POST", "/", &[("authorization", "AWS4-HMAC-SHA256 Credential=kms")]), Route::S3);
        for method in ["GET", "POST"] {
            assert_eq!(route(method, "/?Action=GetCallerIdentity&Version=2011-06-15", &[]), Route::Query);
            assert_eq!(route(method, "/bucket?Action=GetCallerIdentity&Version=2011-06-15", &[]), Route::S3);
        }
    }

    #[test]
    fn all_paths_of_a_buckets_host_are_keys() {
        for host in
            ["bucket.localhost:9000", "bucket.s3-website.localhost", "bucket.localhost.:9000", "bucket.localhost."]
        {
            let host = ("host", host);
            for path in ["/_", "/_/key", "/_/v1/jobs", "/_/metrics", "/_/health/ready"] {
                assert_eq!(route("GET", path, &[host]), Route::S3, "{path} at {host:?}");
                assert_eq!(route("GET", &format!("https://{}{path}", host.1), &[]), Route::S3, "{path} at {host:?}");
            }
            let form = ("content-type", "application/x-www-form-urlencoded");
            assert_eq!(route("POST", "/?delete", &[host, form]), Route::S3);
            assert_eq!(route("POST", "/", &[host, form]), Route::S3);
        }
        assert_eq!(route("GET", "/_/metrics", &[("host", "localhost:9000")]), Route::Internal);
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(route("POST", "/?delete", &[("host", "localhost:9000"), form]), Route::S3);
    }

    #[test]
    fn all_else_is_s3() {
        let target = [("x-amz-target", "TrentService.CreateKey")];
        assert_eq!(route("PUT", "/bucket/key", &target), Route::S3);
        assert_eq!(route("POST", "/bucket?delete", &target), Route::S3);
        assert_eq!(route("GET", "/_bucket", &[]), Route::S3);
        assert_eq!(route("GET", "/key", &[("host", "kms.s3.amazonaws.com")]), Route::S3);
        assert_eq!(route("GET", "/key", &[("host", "kms.s3-us-west-2.amazonaws.com")]), Route::S3);
        assert_eq!(route("GET", "/key", &[("host", "kms.notamazonaws.com")]), Route::S3);
        assert_eq!(route("GET", "/key", &[("host", "kms.s3.us-east-1.amazonaws.com")]), Route::S3);
        assert_eq!(route("GET", "/", &[("host", "s3.amazonaws.com")]), Route::S3);
        assert_eq!(route("POST", "/", &[("content-type", "multipart/form-data; boundary=x")]), Route::S3);
    }
}
