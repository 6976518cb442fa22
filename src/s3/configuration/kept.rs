//! Configurations that are judged as AWS judges them, kept and given back, and change nothing here: there is one storage, at
//! one place, and nobody is billed.

use serde::Deserialize;

use super::super::error::{ErrorCode, Result, S3Error};
use super::super::tags::{Tagged, check_tag};
use super::super::xml::{self, XmlWriter};
use super::PutDocument;

/// Days before which an object may not be archived, by tier, and after which it must have been.
/// (S3 API reference, Tiering.)
const TIERS: &[(&str, u32)] = &[("ARCHIVE_ACCESS", 90), ("DEEP_ARCHIVE_ACCESS", 180)];
const MAX_DAYS: u32 = 730;

fn malformed() -> S3Error {
    ErrorCode::MalformedXml.into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    #[serde(rename = "Status")]
    status: Option<String>,
}

/// `AccelerateConfiguration`. (S3 API reference, PutBucketAccelerateConfiguration.)
pub(super) fn accelerate(asked: &PutDocument<'_>) -> Result<String> {
    if asked.bucket.name.contains('.') {
        return Err(S3Error::new(
            ErrorCode::InvalidRequest,
            "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names",
        ));
    }
    status(asked, "AccelerateConfiguration", &["Enabled", "Suspended"])
}

/// `AbacStatus`. (S3 API reference, PutBucketAbac.)
pub(super) fn abac(asked: &PutDocument<'_>) -> Result<String> {
    status(asked, "AbacStatus", &["Enabled", "Disabled"])
}

fn status(asked: &PutDocument<'_>, root: &str, words: &[&str]) -> Result<String> {
    let Status { status } = xml::read(asked.document, root)?;
    let status = status.filter(|status| words.contains(&status.as_str())).ok_or_else(malformed)?;
    Ok(XmlWriter::fragment(|xml| xml.text("Status", status)))
}

/// `RequestPaymentConfiguration`. (S3 API reference, PutBucketRequestPayment.)
pub(super) fn request_payment(asked: &PutDocument<'_>) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        #[serde(rename = "Payer")]
        payer: String,
    }
    let Document { payer } = xml::read(asked.document, "RequestPaymentConfiguration")?;
    if !["BucketOwner", "Requester"].contains(&payer.as_str()) {
        return Err(malformed());
    }
    Ok(XmlWriter::fragment(|xml| xml.text("Payer", payer)))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    value: String,
}

/// Which objects a configuration is about: one condition, or several together.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Filter {
    prefix: Option<String>,
    tag: Option<Tag>,
    access_point_arn: Option<String>,
    and: Option<And>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct And {
    prefix: Option<String>,
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
    access_point_arn: Option<String>,
}

impl Tag {
    fn check(&self) -> Result<()> {
        check_tag(&self.key, &self.value, Tagged::Object)
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.element("Tag", |xml| {
            xml.text("Key", &self.key);
            xml.text("Value", &self.value);
        });
    }
}

impl Filter {
    fn check(&self, takes_access_points: bool) -> Result<()> {
        let Self { prefix, tag, access_point_arn, and } = self;
        let alone = [prefix.is_some(), tag.is_some(), access_point_arn.is_some(), and.is_some()];
        if alone.into_iter().filter(|given| *given).count() != 1 {
            return Err(malformed());
        }
        let mut tags = tag.iter().chain(and.iter().flat_map(|and| &and.tags));
        tags.try_for_each(Tag::check)?;
        let mut point = access_point_arn.is_some();
        if let Some(And { prefix, tags, access_point_arn }) = and {
            point |= access_point_arn.is_some();
            let conditions = usize::from(prefix.is_some()) + tags.len() + usize::from(access_point_arn.is_some());
            let twice = tags.iter().enumerate().any(|(at, tag)| tags[..at].iter().any(|other| other.key == tag.key));
            if conditions < 2 || twice {
                return Err(malformed());
            }
        }
        if point && !takes_access_points { Err(malformed()) } else { Ok(()) }
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.element("Filter", |xml| {
            xml.optional("Prefix", self.prefix.as_deref());
            if let Some(tag) = &self.tag {
                tag.write(xml);
            }
            xml.optional("AccessPointArn", self.access_point_arn.as_deref());
            if let Some(and) = &self.and {
                xml.element("And", |xml| {
                    xml.optional("Prefix", and.prefix.as_deref());
                    for tag in &and.tags {
                        tag.write(xml);
                    }
                    xml.optional("AccessPointArn", and.access_point_arn.as_deref());
                });
            }
        });
    }
}

/// Holds the id inside the document to that of the request. Of analytics and tiering, another one is `MalformedXML`. (Recorded on
/// AWS, `test_s3_analytics_configurations` and `test_s3_intelligent_tier_config`.)
fn check_id(asked: &PutDocument<'_>, id: &str, refusal: ErrorCode) -> Result<()> {
    if id == asked.id { Ok(()) } else { Err(refusal.into()) }
}

/// `MetricsConfiguration`. (S3 API reference, PutBucketMetricsConfiguration.)
pub(super) fn metrics(asked: &PutDocument<'_>) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Document {
        id: String,
        filter: Option<Filter>,
    }
    let Document { id, filter } = xml::read(asked.document, "MetricsConfiguration")?;
    filter.iter().try_for_each(|filter| filter.check(true))?;
    check_id(asked, &id, ErrorCode::IdMismatch)?;
    Ok(XmlWriter::fragment(|xml| {
        xml.text("Id", &id);
        if let Some(filter) = &filter {
            filter.write(xml);
        }
    }))
}

/// `AnalyticsConfiguration`. (S3 API reference, PutBucketAnalyticsConfiguration.)
pub(super) fn analytics(asked: &PutDocument<'_>) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Document {
        id: String,
        filter: Option<Filter>,
        storage_class_analysis: Analysis,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Analysis {
        data_export: Option<Export>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Export {
        output_schema_version: String,
        destination: Destination,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Destination {
        #[serde(rename = "S3BucketDestination")]
        bucket: BucketDestination,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct BucketDestination {
        format: String,
        bucket_account_id: Option<String>,
        bucket: String,
        prefix: Option<String>,
    }
    let Document { id, filter, storage_class_analysis } = xml::read(asked.document, "AnalyticsConfiguration")?;
    filter.iter().try_for_each(|filter| filter.check(false))?;
    let export = storage_class_analysis.data_export;
    if let Some(Export { output_schema_version, destination: Destination { bucket } }) = &export {
        if output_schema_version != "V_1" || bucket.format != "CSV" {
            return Err(malformed());
        }
        if !bucket.bucket.starts_with("arn:aws:s3:::") {
            return Err(S3Error::new(ErrorCode::InvalidS3DestinationBucket, "Invalid bucket ARN."));
        }
    }
    check_id(asked, &id, ErrorCode::MalformedXml)?;
    Ok(XmlWriter::fragment(|xml| {
        xml.text("Id", &id);
        if let Some(filter) = &filter {
            filter.write(xml);
        }
        xml.element("StorageClassAnalysis", |xml| {
            let Some(Export { output_schema_version, destination: Destination { bucket } }) = &export else { return };
            xml.element("DataExport", |xml| {
                xml.text("OutputSchemaVersion", output_schema_version);
                xml.element("Destination", |xml| {
                    xml.element("S3BucketDestination", |xml| {
                        xml.text("Format", &bucket.format);
                        xml.optional("BucketAccountId", bucket.bucket_account_id.as_deref());
                        xml.text("Bucket", &bucket.bucket);
                        xml.optional("Prefix", bucket.prefix.as_deref());
                    });
                });
            });
        });
    }))
}

/// `IntelligentTieringConfiguration`. (S3 API reference, PutBucketIntelligentTieringConfiguration.)
pub(super) fn intelligent_tiering(asked: &PutDocument<'_>) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Document {
        id: String,
        filter: Option<Filter>,
        status: String,
        #[serde(rename = "Tiering", default)]
        tierings: Vec<Tiering>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Tiering {
        days: u32,
        access_tier: String,
    }
    let Document { id, filter, status, tierings } = xml::read(asked.document, "IntelligentTieringConfiguration")?;
    filter.iter().try_for_each(|filter| filter.check(false))?;
    if !["Enabled", "Disabled"].contains(&status.as_str()) || tierings.is_empty() {
        return Err(malformed());
    }
    for (at, tiering) in tierings.iter().enumerate() {
        let (tier, least) = TIERS.iter().find(|(tier, _)| *tier == tiering.access_tier).ok_or_else(malformed)?;
        if tierings[..at].iter().any(|earlier| earlier.access_tier == *tier) {
            return Err(malformed());
        }
        if !(*least..=MAX_DAYS).contains(&tiering.days) {
            let message =
                format!("'Days' in the Tiering action for the {tier} tier must be between {least} and {MAX_DAYS}");
            return Err(S3Error::argument("Days", tiering.days.to_string(), message));
        }
    }
    check_id(asked, &id, ErrorCode::MalformedXml)?;
    Ok(XmlWriter::fragment(|xml| {
        xml.text("Id", &id);
        if let Some(filter) = &filter {
            filter.write(xml);
        }
        xml.text("Status", &status);
        for tiering in &tierings {
            xml.element("Tiering", |xml| {
                xml.text("Days", tiering.days);
                xml.text("AccessTier", &tiering.access_tier);
            });
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::bucket;
    use super::*;

    type Parse = fn(&PutDocument<'_>) -> Result<String>;

    fn parse(parse: Parse, root: &str, contents: &str) -> Result<String> {
        let bucket = bucket("b");
        let document = format!("<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{contents}</{root}>");
        parse(&PutDocument { bucket: &bucket, id: "i", document: document.as_bytes() })
    }

    /// Each comes back as it went in.
    #[test]
    fn canonical_forms_are_canonical() {
        let filter = "<Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>";
        let export = "<StorageClassAnalysis><DataExport><OutputSchemaVersion>V_1</OutputSchemaVersion><Destination>\
            <S3BucketDestination><Format>CSV</Format><Bucket>arn:aws:s3:::d</Bucket><Prefix>x</Prefix>\
            </S3BucketDestination></Destination></DataExport></StorageClassAnalysis>";
        let tierings =
            "<Status>Enabled</Status><Tiering><Days>90</Days><AccessTier>ARCHIVE_ACCESS</AccessTier></Tiering>";
        let cases: [(Parse, &str, String); 8] = [
            (accelerate, "AccelerateConfiguration", "<Status>Suspended</Status>".to_owned()),
            (abac, "AbacStatus", "<Status>Enabled</Status>".to_owned()),
            (request_payment, "RequestPaymentConfiguration", "<Payer>Requester</Payer>".to_owned()),
            (metrics, "MetricsConfiguration", "<Id>i</Id>".to_owned()),
            (metrics, "MetricsConfiguration", format!("<Id>i</Id>{filter}")),
            (analytics, "AnalyticsConfiguration", format!("<Id>i</Id>{filter}{export}")),
            (analytics, "AnalyticsConfiguration", "<Id>i</Id><StorageClassAnalysis></StorageClassAnalysis>".to_owned()),
            (intelligent_tiering, "IntelligentTieringConfiguration", format!("<Id>i</Id>{filter}{tierings}")),
        ];
        for (function, root, contents) in cases {
            assert_eq!(parse(function, root, &contents).unwrap(), contents);
        }
    }

    #[test]
    fn what_aws_refuses_is_refused() {
        let code = |function: Parse, root: &str, contents: &str| parse(function, root, contents).unwrap_err().code;
        assert_eq!(code(accelerate, "AccelerateConfiguration", "<Status>On</Status>"), ErrorCode::MalformedXml);
        assert_eq!(code(accelerate, "AccelerateConfiguration", ""), ErrorCode::MalformedXml);
        assert_eq!(code(request_payment, "RequestPaymentConfiguration", "<Payer>Me</Payer>"), ErrorCode::MalformedXml);
        assert_eq!(code(metrics, "MetricsConfiguration", "<Id>other</Id>"), ErrorCode::IdMismatch);
        let other = "<Id>other</Id><StorageClassAnalysis></StorageClassAnalysis>";
        assert_eq!(code(analytics, "AnalyticsConfiguration", other), ErrorCode::MalformedXml);
        for filter in [
            "<Filter></Filter>",
            "<Filter><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></Filter>",
            "<Filter><And><Prefix>a</Prefix></And></Filter>",
        ] {
            let contents = format!("<Id>i</Id>{filter}");
            assert_eq!(code(metrics, "MetricsConfiguration", &contents), ErrorCode::MalformedXml, "{filter}");
        }
        let tiering = |days: u32, tier: &str| {
            let tiering = format!("<Tiering><Days>{days}</Days><AccessTier>{tier}</AccessTier></Tiering>");
            code(
                intelligent_tiering,
                "IntelligentTieringConfiguration",
                &format!("<Id>i</Id><Status>Enabled</Status>{tiering}"),
            )
        };
        assert_eq!(tiering(89, "ARCHIVE_ACCESS"), ErrorCode::InvalidArgument);
        assert_eq!(tiering(731, "DEEP_ARCHIVE_ACCESS"), ErrorCode::InvalidArgument);
        assert_eq!(tiering(90, "COLD"), ErrorCode::MalformedXml);
        let dotted = bucket("a.b");
        let document = b"<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>";
        let refused = accelerate(&PutDocument { bucket: &dotted, id: "", document }).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
    }
}
