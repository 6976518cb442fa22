//! Logging configurations: which bucket gets the logs, and under which keys.
//! (S3 API reference, PutBucketLogging; user guide, "Enabling Amazon S3 server access logging".)

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::s3::configuration::Asked;
use crate::s3::error::{ErrorCode, Result};
use crate::s3::xml::{self, XmlWriter};

const ROOT: &str = "BucketLoggingStatus";

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(rename = "LoggingEnabled")]
    enabled: Option<Enabled>,
}

#[derive(Debug, Deserialize)]
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
struct Grants {
    #[serde(rename = "Grant", default)]
    grants: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyFormat {
    simple_prefix: Option<IgnoredAny>,
    partitioned_prefix: Option<Partitioned>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Partitioned {
    partition_date_source: Option<String>,
}

/// Where a bucket's logs go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::s3) struct Logging {
    pub target: String,
    pub prefix: String,
    pub layout: Layout,
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

/// Judges a document; its canonical form, which is empty where logging is switched off.
///
/// # Errors
/// `MalformedXML`; `AccessControlListNotSupported` for grants, since buckets' ownership is enforced.
pub(in crate::s3) fn canonical(asked: &Asked<'_>) -> Result<String> {
    let Document { enabled } = xml::read(asked.document, ROOT)?;
    let Some(enabled) = enabled else { return Ok(String::new()) };
    if enabled.grants.as_ref().is_some_and(|grants| !grants.grants.is_empty()) {
        return Err(ErrorCode::AccessControlListNotSupported.into());
    }
    let logging = Logging::of(enabled)?;
    Ok(XmlWriter::fragment(|xml| logging.write(xml)))
}

impl Logging {
    /// Reads what [`canonical`] made.
    pub fn read(contents: &str) -> Result<Self> {
        let Document { enabled } = xml::read_fragment(contents, ROOT)?;
        Self::of(enabled.ok_or(ErrorCode::MalformedXml)?)
    }

    fn of(enabled: Enabled) -> Result<Self> {
        let malformed = || Err(ErrorCode::MalformedXml.into());
        let Enabled { bucket: target, prefix, key_format, .. } = enabled;
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
        Ok(Self { target, prefix, layout, said })
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.element("LoggingEnabled", |xml| {
            xml.text("TargetBucket", &self.target);
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
    use crate::s3::configuration::tests::bucket;

    fn put(contents: &str) -> Result<String> {
        let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{contents}</{ROOT}>");
        canonical(&Asked { bucket: &bucket("b"), id: "", document: document.as_bytes() })
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
        ] {
            assert_eq!(put(contents).unwrap_err().code, ErrorCode::MalformedXml, "{contents}");
        }
        let grants = enabled("<TargetGrants><Grant><Permission>READ</Permission></Grant></TargetGrants>");
        assert_eq!(put(&grants).unwrap_err().code, ErrorCode::AccessControlListNotSupported);
        assert_eq!(put(&enabled("<TargetGrants></TargetGrants>")).unwrap(), enabled(""));
    }
}
