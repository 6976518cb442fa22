//! Logging configurations: which bucket gets the logs, and under which keys.
//! (S3 API reference, PutBucketLogging; user guide, "Enabling Amazon S3 server access logging".)

use serde::Deserialize;

use crate::s3::acl::{Granting, check_count};
use crate::s3::error::{ErrorCode, Result};
use crate::s3::xml::{self, Empty, XmlWriter};
use crate::store::schema::AclGrant;

/// The root element.
pub(in crate::s3) const ROOT: &str = "BucketLoggingStatus";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "LoggingEnabled")]
    enabled: Option<Enabled>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Enabled {
    #[serde(rename = "TargetBucket")]
    bucket: String,
    #[serde(rename = "TargetPrefix")]
    prefix: String,
    #[serde(rename = "TargetGrants")]
    grants: Option<Grants>,
    #[serde(rename = "TargetObjectKeyFormat")]
    key_format: Option<KeyFormat>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grants {
    #[serde(rename = "Grant", default)]
    grants: Vec<Granting>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyFormat {
    simple_prefix: Option<Empty>,
    partitioned_prefix: Option<Partitioned>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Partitioned {
    partition_date_source: Option<String>,
}

/// Where a bucket's logs go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::s3) struct Logging {
    pub target: String,
    pub prefix: String,
    pub layout: Layout,
    /// What whom is granted of the log objects, beside their owner.
    pub grants: Vec<AclGrant>,
    /// Whether the layout was said.
    said: bool,
}

/// The keys of log objects.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::s3) enum Layout {
    /// The prefix, and the time of delivery.
    Simple,
    /// By account, region, bucket and day.
    Partitioned(Day),
}

/// Which day a log object is put under.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::s3) enum Day {
    /// That of its requests: an object tells of one day's.
    Event,
    /// That of its delivery.
    Delivery,
}

/// What a document asks for: logging, without grants, and what is to be granted; `None` where logging is switched off.
///
/// # Errors
/// `MalformedXML`.
pub(super) fn parse(document: &[u8]) -> Result<Option<(Logging, Vec<Granting>)>> {
    let Document { enabled } = xml::read(document, ROOT)?;
    let Some(mut enabled) = enabled else { return Ok(None) };
    let asked = enabled.grants.take().map(|grants| grants.grants).unwrap_or_default();
    Ok(Some((Logging::of(enabled)?, asked)))
}

/// The grants that are asked for, each as `resolve` understands it.
///
/// # Errors
/// `MalformedXML` for too many; what `resolve` refuses with.
pub(super) fn resolve_grants(
    asked: Vec<Granting>,
    resolve: impl Fn(Granting) -> Result<AclGrant>,
) -> Result<Vec<AclGrant>> {
    let grants = asked.into_iter().map(resolve).collect::<Result<Vec<_>>>()?;
    // Of every permission of lists, not those of `BucketLogsPermission` alone. (Recorded on AWS,
    // `test_put_bucket_logging_accept_wrong_grants`.)
    if check_count(&grants).is_err() {
        return Err(ErrorCode::MalformedXml.into());
    }
    Ok(grants)
}

impl Logging {
    /// Reads what [`Self::canonical`] made.
    pub fn read(contents: &str) -> Result<Self> {
        let Document { enabled } = xml::read_fragment(contents, ROOT)?;
        Self::of(enabled.ok_or(ErrorCode::MalformedXml)?)
    }

    fn of(enabled: Enabled) -> Result<Self> {
        let malformed = || Err(ErrorCode::MalformedXml.into());
        let Enabled { bucket: target, prefix, grants, key_format } = enabled;
        let grants = grants.map(|grants| grants.grants).unwrap_or_default();
        let grants = grants.into_iter().filter_map(Granting::kept).collect();
        if target.is_empty() {
            return malformed();
        }
        let said = key_format.is_some();
        let layout = match key_format {
            None | Some(KeyFormat { simple_prefix: Some(_), partitioned_prefix: None }) => Layout::Simple,
            Some(KeyFormat {
                simple_prefix: None,
                partitioned_prefix: Some(Partitioned { partition_date_source }),
            }) => match partition_date_source.as_deref() {
                Some("EventTime") => Layout::Partitioned(Day::Event),
                None | Some("DeliveryTime") => Layout::Partitioned(Day::Delivery),
                Some(_) => return malformed(),
            },
            Some(_) => return malformed(),
        };
        Ok(Self { target, prefix, layout, grants, said })
    }

    /// The canonical form, with `grants` as they are written.
    pub(super) fn canonical(&self, grants: &str) -> String {
        XmlWriter::fragment(|xml| self.write(grants, xml))
    }

    fn write(&self, grants: &str, xml: &mut XmlWriter) {
        xml.element("LoggingEnabled", |xml| {
            xml.text("TargetBucket", &self.target);
            if !grants.is_empty() {
                xml.element_around("TargetGrants", grants);
            }
            xml.text("TargetPrefix", &self.prefix);
            if !self.said {
                return;
            }
            xml.element("TargetObjectKeyFormat", |xml| match self.layout {
                Layout::Simple => xml.element("SimplePrefix", |_| ()),
                Layout::Partitioned(day) => xml.element("PartitionedPrefix", |xml| {
                    xml.text("PartitionDateSource", if day == Day::Event { "EventTime" } else { "DeliveryTime" });
                }),
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The canonical form of what a document asks for, without its grants.
    fn put(contents: &str) -> Result<String> {
        let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{contents}</{ROOT}>");
        Ok(parse(document.as_bytes())?.map_or_else(String::new, |(logging, _)| logging.canonical("")))
    }

    fn enabled(more: &str) -> String {
        format!("<LoggingEnabled><TargetBucket>t</TargetBucket><TargetPrefix>p/</TargetPrefix>{more}</LoggingEnabled>")
    }

    fn layout(contents: &str) -> String {
        enabled(&format!("<TargetObjectKeyFormat>{contents}</TargetObjectKeyFormat>"))
    }

    #[test]
    fn configurations_come_back_as_they_went_in() {
        let by = |day: &str| {
            layout(&format!("<PartitionedPrefix><PartitionDateSource>{day}</PartitionDateSource></PartitionedPrefix>"))
        };
        for contents in [String::new(), enabled(""), layout("<SimplePrefix></SimplePrefix>"), by("EventTime")] {
            assert_eq!(put(&contents).unwrap(), contents);
        }
        assert_eq!(put(&layout("<PartitionedPrefix/>")).unwrap(), by("DeliveryTime"));
        let read = Logging::read(&by("EventTime")).unwrap();
        assert_eq!((read.target.as_str(), read.prefix.as_str()), ("t", "p/"));
        assert_eq!(read.layout, Layout::Partitioned(Day::Event));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let bad_day = "<PartitionedPrefix><PartitionDateSource>Now</PartitionDateSource></PartitionedPrefix>";
        for contents in [
            "<LoggingEnabled><TargetBucket>t</TargetBucket></LoggingEnabled>",
            "<LoggingEnabled><TargetPrefix>p</TargetPrefix></LoggingEnabled>",
            &layout(""),
            &layout("<SimplePrefix/><PartitionedPrefix/>"),
            &layout(bad_day),
            &layout("<SimplePrefix>p</SimplePrefix>"),
            &layout("<SimplePrefix><Day/></SimplePrefix>"),
            &enabled("<TargetAccount>1</TargetAccount>"),
            &enabled(
                "<TargetGrants><Grant><Grantee><Name/></Grantee><Permission>READ</Permission></Grant></TargetGrants>",
            ),
        ] {
            assert_eq!(put(contents).unwrap_err().code, ErrorCode::MalformedXml, "{contents}");
        }
        let grants = enabled("<TargetGrants><Grant><Permission>READ</Permission></Grant></TargetGrants>");
        assert_eq!(put(&grants).unwrap_err().code, ErrorCode::MalformedXml);
        assert_eq!(put(&enabled("<TargetGrants></TargetGrants>")).unwrap(), enabled(""));
    }

    #[test]
    fn grants_are_kept_as_they_were_understood() {
        let group = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
        let grants = |permission: &str| {
            format!(
                "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
                 <URI>{group}</URI></Grantee><Permission>{permission}</Permission></Grant>"
            )
        };
        let asked = |permission: &str| {
            let granted = enabled(&format!("<TargetGrants>{}</TargetGrants>", grants(permission)));
            let document = format!("<{ROOT}>{granted}</{ROOT}>");
            let resolve = |granting: Granting| granting.kept().ok_or_else(|| ErrorCode::MalformedXml.into());
            let (_, asked) = parse(document.as_bytes()).unwrap().unwrap();
            resolve_grants(asked, resolve)
        };
        let granted = asked("READ").unwrap();
        let logging = Logging::read(&enabled("")).unwrap();
        let kept = Logging::read(&logging.canonical(&grants("READ"))).unwrap();
        assert_eq!((kept.grants.clone(), granted.len()), (granted, 1));
        for permission in ["WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"] {
            assert_eq!(asked(permission).unwrap().len(), 1, "{permission}");
        }
    }
}
