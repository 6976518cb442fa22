//! The replication configuration of a bucket: the shape of its document, read and written.
//! (S3 API reference, PutBucketReplication; user guide, "Replication configuration file elements".)
//!
//! What AWS refuses of a document is in `judge`, what the rules ask for in `select`.

mod judge;
mod select;

use serde::Deserialize;

use super::super::error::Result;
use super::super::xml::{self, XmlWriter};

pub(in crate::s3) use select::{Candidate, Provenance};

/// The root element.
pub(in crate::s3) const ROOT: &str = "ReplicationConfiguration";
/// What ARNs of buckets begin with.
pub(in crate::s3) const BUCKET_ARN: &str = "arn:aws:s3:::";

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "Role")]
    role: String,
    #[serde(rename = "Rule", default)]
    rules: Vec<Rule>,
}

/// A bucket's replication configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::s3) struct Replication {
    /// The ARN of the role on whose behalf it is done.
    pub role: String,
    /// The rules, in their order.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(in crate::s3) struct Rule {
    #[serde(rename = "ID", default)]
    pub id: String,
    pub priority: Option<u32>,
    prefix: Option<String>,
    filter: Option<Filter>,
    status: Switch,
    source_selection_criteria: Option<Criteria>,
    existing_object_replication: Option<Switched>,
    pub destination: Destination,
    delete_marker_replication: Option<MaybeSwitched>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
enum Switch {
    Enabled,
    Disabled,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Switched {
    status: Switch,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MaybeSwitched {
    status: Option<Switch>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Filter {
    prefix: Option<String>,
    tag: Option<Tag>,
    and: Option<And>,
    not: Option<Not>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct And {
    prefix: Option<String>,
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
    not: Option<Not>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Not {
    prefix: Option<String>,
    tag: Option<Tag>,
    or: Option<Or>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Or {
    #[serde(rename = "Prefix", default)]
    prefixes: Vec<String>,
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Criteria {
    sse_kms_encrypted_objects: Option<Switched>,
    replica_modifications: Option<Switched>,
}

/// Where replicas go, and how they are there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(in crate::s3) struct Destination {
    /// The bucket's ARN.
    pub bucket: String,
    /// The account that owns it.
    pub account: Option<String>,
    /// The replicas' storage class; by default the source's.
    pub storage_class: Option<String>,
    access_control_translation: Option<Translation>,
    encryption_configuration: Option<Encryption>,
    replication_time: Option<Time>,
    metrics: Option<Metrics>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Translation {
    owner: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
struct Encryption {
    #[serde(rename = "ReplicaKmsKeyID")]
    key: Option<String>,
    #[serde(rename = "UseSourceMultiRegionKey")]
    multi_region: Option<Switched>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Time {
    status: Switch,
    time: Minutes,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Metrics {
    status: Switch,
    event_threshold: Option<Minutes>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Minutes {
    minutes: u32,
}

impl Replication {
    /// Reads a document as AWS judges it, save for what stands in the buckets. Rules without an id get that of `id_of`.
    pub fn parse(document: &[u8], id_of: impl FnMut(&Rule) -> String) -> Result<Self> {
        Self::judge(xml::read(document, ROOT)?, id_of)
    }

    /// Reads what [`Self::canonical`] wrote.
    pub fn read(contents: &str) -> Result<Self> {
        let Document { role, rules } = xml::read_fragment(contents, ROOT)?;
        Ok(Self { role, rules })
    }

    /// The canonical form, inside its root element.
    pub fn canonical(&self) -> String {
        XmlWriter::fragment(|xml| {
            xml.text("Role", &self.role);
            self.rules.iter().for_each(|rule| rule.write(xml));
        })
    }

    /// The rule that is as `rule` save for its id.
    pub fn same_rule(&self, rule: &Rule) -> Option<&Rule> {
        self.rules.iter().find(|other| Rule { id: other.id.clone(), ..rule.clone() } == **other)
    }

    /// The rule with this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The rule with this id, if it still is for the destination; else one that is by now, rather one that is measured.
    pub fn rule_to(&self, destination: &str, id: &str) -> Option<&Rule> {
        let to = |rule: &&Rule| rule.destination.bucket == destination;
        let any = || self.rules.iter().filter(to).max_by_key(|rule| rule.destination.measures());
        self.rule(id).filter(to).or_else(any)
    }
}

impl Rule {
    /// Whether versions that were there before the rule are replicated too.
    pub fn wants_existing(&self) -> bool {
        self.existing_object_replication.as_ref().is_some_and(|switched| switched.status == Switch::Enabled)
    }

    fn write(&self, xml: &mut XmlWriter) {
        let status = |xml: &mut XmlWriter, name: &str, switched: Option<&Switched>| {
            if let Some(Switched { status }) = switched {
                xml.element(name, |xml| xml.text("Status", status.as_str()));
            }
        };
        xml.element("Rule", |xml| {
            xml.text("ID", &self.id);
            xml.optional("Priority", self.priority);
            xml.optional("Prefix", self.prefix.as_deref());
            if let Some(filter) = &self.filter {
                xml.element("Filter", |xml| filter.write(xml));
            }
            xml.text("Status", self.status.as_str());
            if let Some(criteria) = &self.source_selection_criteria {
                xml.element("SourceSelectionCriteria", |xml| {
                    status(xml, "SseKmsEncryptedObjects", criteria.sse_kms_encrypted_objects.as_ref());
                    status(xml, "ReplicaModifications", criteria.replica_modifications.as_ref());
                });
            }
            status(xml, "ExistingObjectReplication", self.existing_object_replication.as_ref());
            self.destination.write(xml);
            if let Some(MaybeSwitched { status }) = &self.delete_marker_replication {
                xml.element("DeleteMarkerReplication", |xml| xml.optional("Status", status.map(Switch::as_str)));
            }
        });
    }
}

impl Switch {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
        }
    }
}

impl Filter {
    fn write(&self, xml: &mut XmlWriter) {
        xml.optional("Prefix", self.prefix.as_deref());
        self.tag.iter().for_each(|tag| tag.write(xml));
        if let Some(and) = &self.and {
            xml.element("And", |xml| {
                xml.optional("Prefix", and.prefix.as_deref());
                and.tags.iter().for_each(|tag| tag.write(xml));
                and.not.iter().for_each(|not| not.write(xml));
            });
        }
        self.not.iter().for_each(|not| not.write(xml));
    }
}

impl Not {
    fn write(&self, xml: &mut XmlWriter) {
        xml.element("Not", |xml| {
            xml.optional("Prefix", self.prefix.as_deref());
            self.tag.iter().for_each(|tag| tag.write(xml));
            if let Some(or) = &self.or {
                xml.element("Or", |xml| {
                    or.prefixes.iter().for_each(|prefix| xml.text("Prefix", prefix));
                    or.tags.iter().for_each(|tag| tag.write(xml));
                });
            }
        });
    }
}

impl Tag {
    fn write(&self, xml: &mut XmlWriter) {
        xml.element("Tag", |xml| {
            xml.text("Key", &self.key);
            xml.text("Value", &self.value);
        });
    }
}

impl Destination {
    /// The name in the bucket's ARN.
    pub fn bucket_name(&self) -> &str {
        self.bucket.strip_prefix(BUCKET_ARN).unwrap_or_default()
    }

    /// Whether replicas belong to the destination's owner, where they could belong to the source's.
    pub fn hands_over(&self) -> bool {
        self.access_control_translation.is_some()
    }

    /// The KMS key of replicas of SSE-KMS and DSSE-KMS objects.
    pub fn replica_key(&self) -> Option<&str> {
        self.encryption_configuration.as_ref()?.key.as_deref().filter(|key| !key.is_empty())
    }

    /// Whether how replications go is measured, and told of.
    pub fn measures(&self) -> bool {
        self.metrics.as_ref().is_some_and(|metrics| metrics.status == Switch::Enabled)
    }

    /// After how many minutes a replication is late, where that is to be told: as the metrics say, or Replication Time Control.
    pub fn threshold(&self) -> Option<u32> {
        let metrics = self.metrics.as_ref().filter(|metrics| metrics.status == Switch::Enabled)?;
        let controlled = self.replication_time.as_ref().filter(|time| time.status == Switch::Enabled);
        let threshold = metrics.event_threshold.as_ref().or(controlled.map(|controlled| &controlled.time));
        threshold.map(|threshold| threshold.minutes)
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.element("Destination", |xml| {
            xml.text("Bucket", &self.bucket);
            xml.optional("Account", self.account.as_deref());
            xml.optional("StorageClass", self.storage_class.as_deref());
            if let Some(Translation { owner }) = &self.access_control_translation {
                xml.element("AccessControlTranslation", |xml| xml.text("Owner", owner));
            }
            if let Some(Encryption { key, multi_region }) = &self.encryption_configuration {
                xml.element("EncryptionConfiguration", |xml| {
                    xml.optional("ReplicaKmsKeyID", key.as_deref());
                    if let Some(Switched { status }) = multi_region {
                        xml.element("UseSourceMultiRegionKey", |xml| xml.text("Status", status.as_str()));
                    }
                });
            }
            if let Some(Time { status, time }) = &self.replication_time {
                xml.element("ReplicationTime", |xml| {
                    xml.text("Status", status.as_str());
                    xml.element("Time", |xml| xml.text("Minutes", time.minutes));
                });
            }
            if let Some(Metrics { status, event_threshold }) = &self.metrics {
                xml.element("Metrics", |xml| {
                    xml.text("Status", status.as_str());
                    if let Some(threshold) = event_threshold {
                        xml.element("EventThreshold", |xml| xml.text("Minutes", threshold.minutes));
                    }
                });
            }
        });
    }
}

#[cfg(test)]
mod tests;
