//! A record of a server access log: one request, one line of fields, in AWS's order.
//! (S3 user guide, "Amazon S3 server access log format".)

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::s3::operation::{Operation, Row};
use crate::s3::request::TargetKind;
use crate::s3::sub_resource::SubResource;
use crate::wire::percent::percent_encode;

/// What is known of a request when its answer is decided. Absent texts are shown as `-`.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The canonical id of the bucket's owner.
    pub owner: Option<String>,
    pub bucket: String,
    pub received: Timestamp,
    pub client: String,
    /// A canonical id, or an ARN.
    pub requester: Option<String>,
    pub request_id: String,
    pub operation: String,
    pub key: Option<String>,
    /// Method, target and version.
    pub request: String,
    pub status: Option<u16>,
    pub error_code: Option<&'static str>,
    pub object_size: Option<u64>,
    pub referer: Option<String>,
    pub user_agent: Option<String>,
    pub version: Option<String>,
    pub host_id: String,
    pub signature: Option<&'static str>,
    pub cipher_suite: Option<String>,
    pub authentication: Option<&'static str>,
    pub host: Option<String>,
    pub tls: Option<&'static str>,
    pub acl_required: bool,
}

/// What is known of a request when its answer has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub bytes: u64,
    pub total: Duration,
    pub turn_around: Duration,
}

impl Line {
    /// The line, with its end.
    pub fn render(&self, sent: Option<&Sent>) -> String {
        let plain =
            |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("-").replace([' ', '\n'], "%20");
        let quoted = |text: Option<&str>| format!("\"{}\"", text.unwrap_or("-").replace('"', "%22"));
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let millis = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut line = String::with_capacity(768);
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} - {} -",
            plain(self.owner.as_deref()),
            self.bucket,
            self.received.strftime("[%d/%b/%Y:%H:%M:%S +0000]"),
            self.client,
            plain(self.requester.as_deref()),
            self.request_id,
            self.operation,
            plain(self.key.as_deref().map(percent_encode).as_deref()),
            quoted(Some(&self.request)),
            number(self.status.map(u64::from)),
            plain(self.error_code),
            number(sent.map(|sent| sent.bytes).filter(|bytes| *bytes > 0)),
            number(self.object_size),
            number(sent.map(|sent| millis(sent.total))),
            number(
                sent.filter(|_| self.key.is_some() && self.error_code.is_none()).map(|sent| millis(sent.turn_around))
            ),
            quoted(self.referer.as_deref()),
            quoted(self.user_agent.as_deref()),
            plain(self.version.as_deref()),
            self.host_id,
            plain(self.signature),
            plain(self.cipher_suite.as_deref()),
            plain(self.authentication),
            plain(self.host.as_deref()),
            plain(self.tls),
            if self.acl_required { "Yes" } else { "-" },
        );
        line.push('\n');
        line
    }
}

/// The operation as access logs name it: `REST.GET.OBJECT`.
pub(super) fn operation_name(row: &Row) -> String {
    let verb = match row.operation {
        Operation::CopyObject | Operation::UploadPartCopy => "COPY",
        _ => row.method.as_str(),
    };
    format!("REST.{verb}.{}", resource(row))
}

/// What the operation is about, by the name that refusals have for it too: `CORS` of `GetBucketCors`.
fn resource(row: &Row) -> &'static str {
    let named = row.sub_resources().next().and_then(SubResource::find);
    match (named, row.operation, row.target) {
        (Some(named), ..) => named.resource_type(row.target),
        // Its path is a bucket's, and its form says which object it is about.
        (None, Operation::PostObject, _) | (None, _, TargetKind::Object) => "OBJECT",
        (None, _, TargetKind::ResourceTags) => "TAGGING",
        _ => "BUCKET",
    }
}

/// A cipher suite by OpenSSL's name, as access logs show it: those of TLS 1.3 have but one.
pub(super) fn openssl_name(iana: &str) -> String {
    let Some((exchange, cipher)) = iana.trim_start_matches("TLS_").split_once("_WITH_") else { return iana.to_owned() };
    let cipher = cipher.replace("AES_", "AES").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305");
    format!("{exchange}_{cipher}").replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;
    use crate::s3::operation::TABLE;

    #[test]
    fn a_line_has_every_field_in_its_place() {
        let line = Line {
            owner: Some("79a5".to_owned()),
            bucket: "vault".to_owned(),
            received: from_millis(1_549_411_238_000),
            client: "192.0.2.3".to_owned(),
            requester: Some("79a5".to_owned()),
            request_id: "3E57427F3EXAMPLE".to_owned(),
            operation: "REST.GET.OBJECT".to_owned(),
            key: Some("a b/é\n".to_owned()),
            request: "GET /vault/a%20b HTTP/1.1".to_owned(),
            status: Some(200),
            object_size: Some(4096),
            user_agent: Some("say \"hi\"".to_owned()),
            host_id: "HOST".to_owned(),
            signature: Some("SigV4"),
            cipher_suite: Some("TLS_AES_128_GCM_SHA256".to_owned()),
            authentication: Some("AuthHeader"),
            host: Some("vault.s3.us-west-1.amazonaws.com".to_owned()),
            tls: Some("TLSv1.3"),
            ..Line::default()
        };
        let sent = Sent { bytes: 113, total: Duration::from_millis(70), turn_around: Duration::from_micros(10_900) };
        assert_eq!(
            line.render(Some(&sent)),
            "79a5 vault [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a5 3E57427F3EXAMPLE REST.GET.OBJECT a%20b/%C3%A9%0A \
             \"GET /vault/a%20b HTTP/1.1\" 200 - 113 4096 70 10 \"-\" \"say %22hi%22\" - HOST SigV4 TLS_AES_128_GCM_SHA256 \
             AuthHeader vault.s3.us-west-1.amazonaws.com TLSv1.3 - - -\n"
        );
        let empty = Line { bucket: "b".to_owned(), ..Line::default() }.render(None);
        assert!(empty.starts_with("- b [01/Jan/1970:00:00:00 +0000]  - "), "{empty}");
    }

    #[test]
    fn operations_have_the_names_of_the_user_guide() {
        let named = |operation: Operation| operation_name(operation.row());
        let cases = [
            (Operation::GetObject, "REST.GET.OBJECT"),
            (Operation::HeadObject, "REST.HEAD.OBJECT"),
            (Operation::CopyObject, "REST.COPY.OBJECT"),
            (Operation::UploadPart, "REST.PUT.PART"),
            (Operation::CreateMultipartUpload, "REST.POST.UPLOADS"),
            (Operation::CompleteMultipartUpload, "REST.POST.UPLOAD"),
            (Operation::ListObjectsV2, "REST.GET.BUCKET"),
            (Operation::HeadBucket, "REST.HEAD.BUCKET"),
            (Operation::GetBucketLocation, "REST.GET.LOCATION"),
            (Operation::GetBucketVersioning, "REST.GET.VERSIONING"),
            (Operation::GetBucketLogging, "REST.GET.LOGGING_STATUS"),
            (Operation::GetBucketPolicy, "REST.GET.BUCKETPOLICY"),
            (Operation::GetBucketAcl, "REST.GET.ACL"),
            (Operation::PutObjectAcl, "REST.PUT.ACL"),
            (Operation::GetObjectLockConfiguration, "REST.GET.OBJECT_LOCK_CONFIGURATION"),
            (Operation::PutObjectRetention, "REST.PUT.OBJECT_LOCK_RETENTION"),
            (Operation::PutObjectLegalHold, "REST.PUT.OBJECT_LOCK_LEGALHOLD"),
            (Operation::GetObjectAttributes, "REST.GET.OBJECT_ATTRIBUTES"),
            (Operation::CreateBucket, "REST.PUT.BUCKET"),
            (Operation::UploadPartCopy, "REST.COPY.PART"),
            (Operation::AbortMultipartUpload, "REST.DELETE.UPLOAD"),
            (Operation::ListObjectVersions, "REST.GET.BUCKETVERSIONS"),
            (Operation::DeleteBucketPolicy, "REST.DELETE.BUCKETPOLICY"),
            (Operation::PostObject, "REST.POST.OBJECT"),
            (Operation::GetBucketRequestPayment, "REST.GET.REQUEST_PAYMENT"),
            (Operation::GetBucketCors, "REST.GET.CORS"),
            (Operation::GetObjectTagging, "REST.GET.OBJECT_TAGGING"),
            (Operation::PutPublicAccessBlock, "REST.PUT.PUBLIC_ACCESS_BLOCK"),
            (Operation::DeleteObjects, "REST.POST.MULTI_OBJECT_DELETE"),
            (Operation::ListBucketMetricsConfigurations, "REST.GET.METRICS"),
        ];
        for (operation, name) in cases {
            assert_eq!(named(operation), name);
        }
        assert!(
            TABLE.iter().all(|row| operation_name(row).bytes().all(|b| b.is_ascii_uppercase() || b"._".contains(&b)))
        );
    }

    #[test]
    fn cipher_suites_have_openssls_names() {
        let cases = [
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
            ("TLS13_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
        ];
        for (iana, openssl) in cases {
            assert_eq!(openssl_name(iana), openssl);
        }
    }
}
