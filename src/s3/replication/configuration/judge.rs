//! What AWS refuses of a replication configuration, save for what stands in the buckets.

use std::collections::HashSet;

use super::{
    And, BUCKET_ARN, Destination, Document, Encryption, Filter, Replication, Rule, Switch, Switched, Tag, Time,
    Translation,
};
use crate::policy::is_account_id;
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::headers::is_storage_class;
use crate::s3::tags::{Tagged, check_tag};

/// Most rules.
const MAX_RULES: usize = 1000;
/// Longest id of a rule.
const MAX_ID: usize = 255;
/// Longest prefix, in bytes.
const MAX_PREFIX: usize = 1024;
/// The one threshold of Replication Time Control, in minutes.
const THRESHOLD: u32 = 15;

fn invalid(message: &'static str) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}

fn malformed() -> S3Error {
    ErrorCode::MalformedXml.into()
}

impl Replication {
    pub(super) fn judge(
        Document { role, mut rules }: Document,
        mut id_of: impl FnMut(&Rule) -> String,
    ) -> Result<Self> {
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
                rule.id = id_of(rule);
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
}

/// `arn:aws:iam::ACCOUNT:role/NAME`
fn is_role(text: &str) -> bool {
    let account_and_role = text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/"));
    account_and_role.is_some_and(|(account, name)| is_account_id(account) && !name.is_empty())
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
}

impl Destination {
    fn judge(&self) -> Result<()> {
        if self.bucket.strip_prefix(BUCKET_ARN).is_none_or(|name| name.is_empty() || name.contains(['/', ':'])) {
            return Err(S3Error::argument("Bucket", &self.bucket, "Invalid bucket ARN."));
        }
        if self.account.as_ref().is_some_and(|account| !is_account_id(account)) {
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
}
