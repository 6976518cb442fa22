//! The replication configuration of a bucket: how a document is judged, and what its rules ask for.
//! (S3 API reference, PutBucketReplication; user guide, "Replication configuration file elements".)

use std::collections::HashSet;

use serde::Deserialize;

use super::super::error::{ErrorCode, Result, S3Error};
use super::super::headers::is_storage_class;
use super::super::tags::{Tagged, check_tag};
use super::super::xml::{self, XmlWriter};
use crate::sse::SseKind;
use crate::store::schema::{DestinationState, ReplicationState};

/// The root element.
pub(in crate::s3) const ROOT: &str = "ReplicationConfiguration";
/// Most rules.
const MAX_RULES: usize = 1000;
/// Longest id of a rule.
const MAX_ID: usize = 255;
/// Longest prefix, in bytes.
const MAX_PREFIX: usize = 1024;
/// What ARNs of buckets begin with.
pub(in crate::s3) const BUCKET_ARN: &str = "arn:aws:s3:::";
/// The one threshold of Replication Time Control, in minutes.
const THRESHOLD: u32 = 15;

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

/// What rules look at of a version.
#[derive(Clone, Copy, Debug)]
pub(in crate::s3) struct Candidate<'c> {
    pub key: &'c str,
    pub tags: &'c [(String, String)],
    /// How it is encrypted; `None` for a delete marker.
    pub encryption: Option<SseKind>,
    pub provenance: Provenance,
}

/// How a version came to its bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::s3) enum Provenance {
    /// It was written there.
    Written,
    /// By replication.
    Replica,
    /// By replication; and somebody else changes it now.
    ChangedReplica,
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}

fn malformed() -> S3Error {
    ErrorCode::MalformedXml.into()
}

impl Replication {
    /// Reads a document as AWS judges it, save for what stands in the buckets. Rules without an id get one of `fresh_id`.
    pub fn parse(document: &[u8], fresh_id: impl FnMut() -> String) -> Result<Self> {
        Self::judge(xml::read(document, ROOT)?, fresh_id)
    }

    /// Reads what [`Self::canonical`] wrote.
    pub fn read(contents: &str) -> Result<Self> {
        let Document { role, rules } = xml::read_fragment(contents, ROOT)?;
        Ok(Self { role, rules })
    }

    fn judge(Document { role, mut rules }: Document, mut fresh_id: impl FnMut() -> String) -> Result<Self> {
        if rules.is_empty() {
            return Err(malformed());
        }
        if rules.len() > MAX_RULES {
            return Err(invalid("The number of replication rules must not exceed the allowed limit of 1000 rules."));
        }
        if !is_role(&role) {
            return Err(S3Error::argument("Role", role, "Invalid Role specified in replication configuration"));
        }
        let (mut ids, mut priorities, mut prefixes) = (HashSet::new(), HashSet::new(), Vec::<String>::new());
        let v2 = rules.iter().any(|rule| rule.filter.is_some());
        for rule in &mut rules {
            rule.judge(v2)?;
            if rule.id.is_empty() {
                rule.id = fresh_id();
            }
            if !ids.insert(rule.id.clone()) {
                let message = "Rule Id must be unique. Found same Id for more than one rule";
                return Err(S3Error::argument("ID", &rule.id, message));
            }
            if let Some(priority) = rule.priority.filter(|priority| !priorities.insert(*priority)) {
                return Err(S3Error::new(ErrorCode::InvalidRequest, format!("Found duplicate priority {priority}")));
            }
            if !v2 && let Some(prefix) = &rule.prefix {
                if let Some(other) =
                    prefixes.iter().find(|o| o.starts_with(prefix.as_str()) || prefix.starts_with(o.as_str()))
                {
                    let message = format!("Found overlapping prefixes '{other}' and '{prefix}'");
                    return Err(S3Error::new(ErrorCode::InvalidRequest, message));
                }
                prefixes.push(prefix.clone());
            }
        }
        Ok(Self { role, rules })
    }

    /// The canonical form, inside its root element.
    pub fn canonical(&self) -> String {
        XmlWriter::fragment(|xml| {
            xml.text("Role", &self.role);
            self.rules.iter().for_each(|rule| rule.write(xml));
        })
    }

    /// The rules by which a version is replicated: of each destination, the applicable one of the highest priority.
    pub fn applicable(&self, candidate: &Candidate<'_>) -> Vec<&Rule> {
        let mut chosen: Vec<&Rule> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.selects(candidate)) {
            match chosen.iter_mut().find(|other| other.destination.bucket == rule.destination.bucket) {
                Some(other) if rule.priority > other.priority => *other = rule,
                Some(_) => {}
                None => chosen.push(rule),
            }
        }
        chosen.retain(|rule| rule.applies(candidate));
        chosen
    }

    /// The rule by which a change of a version goes to a destination that the version went to by the rule `by`: that one, if it
    /// still says so, or one that does now. Which tags a filter wants is asked when a version is written, and not again.
    pub fn following(&self, destination: &str, by: &str, candidate: &Candidate<'_>) -> Option<&Rule> {
        let stays = |rule: &&Rule| {
            let covers = match (&rule.filter, &rule.prefix) {
                (Some(filter), _) => filter.covers(candidate.key),
                (None, prefix) => prefix.as_ref().is_none_or(|prefix| candidate.key.starts_with(prefix)),
            };
            rule.status == Switch::Enabled && covers && rule.applies(candidate)
        };
        let to = |rule: &&Rule| rule.destination.bucket == destination;
        let same = self.rule(by).filter(to).filter(stays);
        same.or_else(|| self.applicable(candidate).into_iter().find(to))
    }

    /// The rules by which a change of a version is to be carried on, one for each destination: to where the version went, and,
    /// of a replica, to where the bucket's rules want changes of replicas. Of what was written before there was a rule, none.
    pub fn followers(&self, candidate: &Candidate<'_>, state: Option<&ReplicationState>) -> Vec<&Rule> {
        let Some(state) = state else { return Vec::new() };
        let provenance = if state.is_replica { Provenance::ChangedReplica } else { Provenance::Written };
        let candidate = Candidate { provenance, ..*candidate };
        let went = |to: &DestinationState| self.following(&to.bucket, &to.rule, &candidate);
        let mut rules: Vec<&Rule> = state.destinations.iter().filter_map(went).collect();
        if state.is_replica {
            for rule in self.applicable(&candidate) {
                if state.destination(&rule.destination.bucket).is_none() {
                    rules.push(rule);
                }
            }
        }
        rules
    }

    /// The rule with this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }
}

/// `arn:aws:iam::ACCOUNT:role/NAME`
fn is_role(text: &str) -> bool {
    let account_and_role = text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/"));
    account_and_role.is_some_and(|(account, name)| {
        account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty()
    })
}

impl Rule {
    fn judge(&self, v2: bool) -> Result<()> {
        if self.id.len() > MAX_ID {
            return Err(S3Error::argument("ID", &self.id, "The ID of a rule must have at most 255 characters"));
        }
        if self.filter.is_some() == self.prefix.is_some() || v2 != self.filter.is_some() {
            return Err(malformed());
        }
        if let Some(filter) = &self.filter {
            filter.judge()?;
            if self.priority.is_none() {
                return Err(invalid(
                    "Priority must be specified for this version of Cross Region Replication configuration schema. Please \
                     refer to S3 Developer Guide for more information.",
                ));
            }
            let Some(markers) = &self.delete_marker_replication else {
                return Err(invalid(
                    "DeleteMarkerReplication must be specified for this version of Cross Region Replication configuration \
                     schema. Please refer to S3 Developer Guide for more information.",
                ));
            };
            if markers.status == Some(Switch::Enabled) && filter.has_tags() {
                return Err(invalid(
                    "Delete marker replication is not supported if any Tag filter is specified. Please refer to S3 \
                     Developer Guide for more information.",
                ));
            }
        } else {
            // What came with V2 is not allowed in V1.
            let criteria = self.source_selection_criteria.as_ref();
            let modifications = criteria.is_some_and(|criteria| criteria.replica_modifications.is_some());
            if self.priority.is_some() || self.delete_marker_replication.is_some() || modifications {
                return Err(malformed());
            }
        }
        if self.prefix.as_ref().is_some_and(|prefix| prefix.len() > MAX_PREFIX) {
            return Err(invalid("The maximum size of a prefix is 1024."));
        }
        let opted_in =
            self.source_selection_criteria.as_ref().and_then(|criteria| criteria.sse_kms_encrypted_objects.as_ref());
        let encryption = self.destination.encryption_configuration.as_ref();
        match (opted_in, encryption) {
            (Some(Switched { status: Switch::Enabled }), None) => {
                return Err(invalid("ReplicaKmsKeyID must be specified if SseKmsEncryptedObjects tag is present."));
            }
            (Some(Switched { status: Switch::Enabled }), Some(Encryption { key, multi_region })) => {
                let follows = multi_region.as_ref().is_some_and(|switched| switched.status == Switch::Enabled);
                if key.as_ref().is_none_or(String::is_empty) && !follows {
                    return Err(invalid("ReplicaKmsKeyID must be specified if SseKmsEncryptedObjects tag is present."));
                }
            }
            (None, Some(_)) => {
                return Err(invalid("SseKmsEncryptedObjects must be specified if EncryptionConfiguration is present."));
            }
            _ => {}
        }
        self.destination.judge()
    }

    /// Whether its filter is for the version.
    fn selects(&self, candidate: &Candidate<'_>) -> bool {
        self.status == Switch::Enabled
            && match (&self.filter, &self.prefix) {
                (Some(filter), _) => filter.selects(candidate),
                (None, prefix) => prefix.as_ref().is_none_or(|prefix| candidate.key.starts_with(prefix)),
            }
    }

    /// Whether it replicates such a version that it selects.
    fn applies(&self, candidate: &Candidate<'_>) -> bool {
        let criteria = self.source_selection_criteria.as_ref();
        let on = |switched: Option<&Switched>| switched.is_some_and(|switched| switched.status == Switch::Enabled);
        match candidate.provenance {
            Provenance::Written => {}
            Provenance::ChangedReplica if self.wants_modifications() => {}
            Provenance::Replica | Provenance::ChangedReplica => return false,
        }
        match candidate.encryption {
            None => self.replicates_markers(),
            // What a customer's key protects is tried, and fails: only its owner has the key.
            Some(SseKind::S3 | SseKind::Customer) => true,
            Some(SseKind::Kms | SseKind::Dsse) => {
                on(criteria.and_then(|criteria| criteria.sse_kms_encrypted_objects.as_ref()))
            }
        }
    }

    /// Whether it asks that what is changed of replicas be changed at its destination. (S3 user guide, "Replicating metadata
    /// changes with replica modification sync".)
    fn wants_modifications(&self) -> bool {
        let criteria = self.source_selection_criteria.as_ref();
        let asked = criteria.and_then(|criteria| criteria.replica_modifications.as_ref());
        asked.is_some_and(|switched| switched.status == Switch::Enabled)
    }

    /// V1 rules replicate delete markers, V2 rules where they say so.
    fn replicates_markers(&self) -> bool {
        match &self.delete_marker_replication {
            Some(switched) => switched.status == Some(Switch::Enabled),
            None => self.filter.is_none(),
        }
    }

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
    fn judge(&self) -> Result<()> {
        let given = [self.prefix.is_some(), self.tag.is_some(), self.and.is_some(), self.not.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(malformed());
        }
        self.tags().try_for_each(|tag| check_tag(&tag.key, &tag.value, Tagged::Object))?;
        if let Some(And { prefix, tags, not }) = &self.and {
            let twice = tags.iter().enumerate().any(|(at, tag)| tags[..at].iter().any(|other| other.key == tag.key));
            if usize::from(prefix.is_some()) + tags.len() + usize::from(not.is_some()) < 2 || twice {
                return Err(malformed());
            }
        }
        let and = self.and.as_ref();
        let prefix = self.prefix.as_ref().or(and.and_then(|and| and.prefix.as_ref()));
        if prefix.is_some_and(|prefix| prefix.len() > MAX_PREFIX) {
            return Err(invalid("The maximum size of a prefix is 1024."));
        }
        for not in self.not.iter().chain(and.and_then(|and| and.not.as_ref())) {
            let given = [not.prefix.is_some(), not.tag.is_some(), not.or.is_some()];
            if given.into_iter().filter(|given| *given).count() != 1 {
                return Err(malformed());
            }
        }
        let tags = self.tag.iter().chain(and.iter().flat_map(|and| &and.tags));
        if tags
            .into_iter()
            .any(|tag| tag.key.is_empty() || tag.key.chars().count() > 128 || tag.value.chars().count() > 256)
        {
            return Err(ErrorCode::InvalidTag.into());
        }
        Ok(())
    }

    fn has_tags(&self) -> bool {
        self.tags().next().is_some()
    }

    /// All tags that it names.
    fn tags(&self) -> impl Iterator<Item = &Tag> {
        let and = self.and.as_ref();
        let nots = self.not.iter().chain(and.and_then(|and| and.not.as_ref()));
        let of_nots = nots.flat_map(|not| not.tag.iter().chain(not.or.iter().flat_map(|or| &or.tags)));
        self.tag.iter().chain(and.into_iter().flat_map(|and| &and.tags)).chain(of_nots)
    }

    /// Whether it is for the key, whatever it wants of tags.
    fn covers(&self, key: &str) -> bool {
        let begins = |prefix: &String| key.starts_with(prefix);
        let and = self.and.as_ref();
        let mut nots = self.not.iter().chain(and.and_then(|and| and.not.as_ref()));
        let mut prefixes = self.prefix.iter().chain(and.and_then(|and| and.prefix.as_ref()));
        prefixes.all(begins)
            && !nots.any(|not| not.prefix.iter().chain(not.or.iter().flat_map(|or| &or.prefixes)).any(begins))
    }

    fn selects(&self, candidate: &Candidate<'_>) -> bool {
        let begins = |prefix: &String| candidate.key.starts_with(prefix);
        let (and, not) = (self.and.as_ref(), self.not.as_ref());
        self.prefix.as_ref().is_none_or(begins)
            && self.tag.as_ref().is_none_or(|tag| tag.is_on(candidate))
            && not.is_none_or(|not| !not.covers(candidate))
            && and.is_none_or(|and| {
                and.prefix.as_ref().is_none_or(begins)
                    && and.tags.iter().all(|tag| tag.is_on(candidate))
                    && and.not.as_ref().is_none_or(|not| !not.covers(candidate))
            })
    }

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
    fn covers(&self, candidate: &Candidate<'_>) -> bool {
        let begins = |prefix: &String| candidate.key.starts_with(prefix);
        self.prefix.as_ref().is_some_and(begins)
            || self.tag.as_ref().is_some_and(|tag| tag.is_on(candidate))
            || self
                .or
                .as_ref()
                .is_some_and(|or| or.prefixes.iter().any(begins) || or.tags.iter().any(|tag| tag.is_on(candidate)))
    }

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
    fn is_on(&self, candidate: &Candidate<'_>) -> bool {
        candidate.tags.iter().any(|(key, value)| *key == self.key && *value == self.value)
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.element("Tag", |xml| {
            xml.text("Key", &self.key);
            xml.text("Value", &self.value);
        });
    }
}

impl Destination {
    fn judge(&self) -> Result<()> {
        if self.bucket.strip_prefix(BUCKET_ARN).is_none_or(|name| name.is_empty() || name.contains(['/', ':'])) {
            return Err(S3Error::argument("Bucket", &self.bucket, "Invalid bucket ARN."));
        }
        if self
            .account
            .as_ref()
            .is_some_and(|account| account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(S3Error::argument("Account", self.account.clone().unwrap_or_default(), "Invalid account ID."));
        }
        if self.storage_class.as_deref().is_some_and(|class| !is_storage_class(class)) {
            return Err(malformed());
        }
        if let Some(Translation { owner }) = &self.access_control_translation {
            if owner != "Destination" {
                return Err(malformed());
            }
            if self.account.is_none() {
                return Err(invalid("Account ID must be specified if AccessControlTranslation is present."));
            }
        }
        if let Some(Time { status, time }) = &self.replication_time {
            if time.minutes != THRESHOLD {
                return Err(invalid("ReplicationTime must be 15 minutes."));
            }
            if *status == Switch::Enabled && self.metrics.as_ref().is_none_or(|m| m.status != Switch::Enabled) {
                return Err(invalid(
                    "Replication destination must contain both ReplicationTime and Metrics or neither.",
                ));
            }
        }
        if self.metrics.as_ref().and_then(|m| m.event_threshold.as_ref()).is_some_and(|m| m.minutes != THRESHOLD) {
            return Err(invalid("EventThreshold must be 15 minutes."));
        }
        Ok(())
    }

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

    /// After how many minutes a replication is late, where that is to be told.
    pub fn threshold(&self) -> Option<u32> {
        let metrics = self.metrics.as_ref().filter(|metrics| metrics.status == Switch::Enabled)?;
        metrics.event_threshold.as_ref().map(|threshold| threshold.minutes)
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
