//! Searching the log, newest events first, by the attributes that CloudTrail's `LookupEvents` has.

use std::fs;
use std::io;
use std::path::Path;

use memchr::memmem;
use serde_json::Value;

use super::chain::Line;
use super::segment::Segment;
use crate::clock::Timestamp;

/// Segments that one search reads at most, so that a page of a rare event takes no longer than this.
const MAX_SEGMENTS: usize = 8;

/// What an event can be looked up by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attribute {
    /// The access key that signed.
    AccessKeyId,
    /// The event's own id.
    EventId,
    /// The operation.
    EventName,
    /// The service.
    EventSource,
    /// `true` or `false`.
    ReadOnly,
    /// A resource's ARN, or the name at its end.
    ResourceName,
    /// A resource's type, such as `AWS::KMS::Key`.
    ResourceType,
    /// The user's, `root`, or a role's session.
    Username,
}

/// Every attribute and its name.
pub const ATTRIBUTES: &[(&str, Attribute)] = &[
    ("AccessKeyId", Attribute::AccessKeyId),
    ("EventId", Attribute::EventId),
    ("EventName", Attribute::EventName),
    ("EventSource", Attribute::EventSource),
    ("ReadOnly", Attribute::ReadOnly),
    ("ResourceName", Attribute::ResourceName),
    ("ResourceType", Attribute::ResourceType),
    ("Username", Attribute::Username),
];

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Each of these must be as said.
    pub attributes: Vec<(Attribute, String)>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only what belongs to this account.
    pub account: Option<String>,
    /// Only events about management.
    pub management: bool,
}

/// A page of what was found.
#[derive(Debug, Default)]
pub struct Page {
    /// The events, newest first, each with its text.
    pub events: Vec<(Value, String)>,
    /// Where the next page begins: before this line. `None`: there is none.
    pub next: Option<u64>,
}

/// Searches the log in `dir` for up to `limit` events, before line `before` if that is given. A page may be short, even
/// empty, and yet be followed by another.
///
/// # Errors
/// What the file system says.
pub fn search(dir: &Path, filter: &Filter, before: Option<u64>, limit: usize) -> io::Result<Page> {
    let before = before.unwrap_or(u64::MAX);
    let mut page = Page::default();
    let mut segments = Segment::list(dir)?;
    segments.retain(|segment| segment.first < before);
    let mut reached = before;
    for (read, segment) in segments.iter().rev().enumerate() {
        // No event in a segment is younger than the segment's last write.
        let written = Timestamp::try_from(fs::metadata(&segment.path)?.modified()?).unwrap_or(Timestamp::MAX);
        if filter.from.is_some_and(|from| written < from) {
            return Ok(page);
        }
        if read == MAX_SEGMENTS {
            page.next = Some(reached);
            return Ok(page);
        }
        let text = fs::read(&segment.path)?;
        for line in text.split(|byte| *byte == b'\n').rev().filter_map(Line::parse) {
            if line.sequence >= before {
                continue;
            }
            if page.events.len() == limit {
                page.next = Some(line.sequence + 1);
                return Ok(page);
            }
            if let Some(event) = filter.matching(line.event) {
                page.events.push((event, String::from_utf8_lossy(line.event).into_owned()));
            }
        }
        reached = segment.first;
    }
    Ok(page)
}

impl Filter {
    /// The event, if it is what is looked for.
    fn matching(&self, text: &[u8]) -> Option<Value> {
        // Most lines can be passed by without being read as JSON. What JSON escapes is looked for in vain here.
        let plain = |value: &String| value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        let absent = |(_, value): &(Attribute, String)| plain(value) && memmem::find(text, value.as_bytes()).is_none();
        if self.attributes.iter().filter(|(attribute, _)| !attribute.is_derived()).any(absent) {
            return None;
        }
        let event: Value = serde_json::from_slice(text).ok()?;
        self.matches(&event).then_some(event)
    }

    /// Whether `event` is what is looked for.
    pub fn matches(&self, event: &Value) -> bool {
        let time = || event["eventTime"].as_str()?.parse::<Timestamp>().ok();
        let in_time = match (self.from, self.until) {
            (None, None) => true,
            (from, until) => time()
                .is_some_and(|time| from.is_none_or(|from| time >= from) && until.is_none_or(|until| time <= until)),
        };
        in_time
            && (!self.management || event["managementEvent"] == true)
            && self.account.as_ref().is_none_or(|account| event["recipientAccountId"] == **account)
            && self.attributes.iter().all(|(attribute, value)| attribute.is_of(event, value))
    }
}

impl Attribute {
    /// Whether its value need not stand in the event's text.
    fn is_derived(self) -> bool {
        matches!(self, Self::Username | Self::ReadOnly | Self::ResourceType)
    }

    fn is_of(self, event: &Value, value: &str) -> bool {
        match self {
            Self::AccessKeyId => event["userIdentity"]["accessKeyId"] == value,
            Self::EventId => event["eventID"] == value,
            Self::EventName => event["eventName"] == value,
            Self::EventSource => event["eventSource"] == value,
            Self::ReadOnly => event["readOnly"] == (value == "true") && matches!(value, "true" | "false"),
            Self::ResourceName => resources(event).any(|(_, name)| is_named(name, value)),
            Self::ResourceType => resources(event).any(|(kind, _)| kind == value),
            Self::Username => username(event).as_deref() == Some(value),
        }
    }
}

/// What CloudTrail shows as the resources of events of IAM and STS, whose records have none or fewer: the types, and where the names
/// stand in the record.
const IN_PARAMETERS: &[(&str, &str)] = &[
    ("AWS::IAM::User", "/requestParameters/userName"),
    ("AWS::IAM::Role", "/requestParameters/roleName"),
    ("AWS::IAM::Group", "/requestParameters/groupName"),
    ("AWS::IAM::Policy", "/requestParameters/policyArn"),
    ("AWS::IAM::Policy", "/requestParameters/policyName"),
    ("AWS::IAM::AccessKey", "/requestParameters/accessKeyId"),
    ("AWS::IAM::AccessKey", "/responseElements/accessKey/accessKeyId"),
    ("AWS::IAM::AccessKey", "/responseElements/credentials/accessKeyId"),
    ("AWS::STS::AssumedRole", "/responseElements/assumedRoleUser/assumedRoleId"),
    ("AWS::STS::AssumedRole", "/responseElements/assumedRoleUser/arn"),
];

/// The resources that an event is about: their types, and their ARNs or, of some, their names.
pub fn resources(event: &Value) -> impl Iterator<Item = (&str, &str)> {
    let is_of_identities = matches!(event["eventSource"].as_str(), Some("iam.amazonaws.com" | "sts.amazonaws.com"));
    let named = IN_PARAMETERS.iter().filter(move |_| is_of_identities);
    let named = named.filter_map(|(kind, place)| Some((*kind, event.pointer(place)?.as_str()?)));
    let told = event["resources"].as_array().into_iter().flatten();
    told.filter_map(|resource| Some((resource["type"].as_str()?, resource["ARN"].as_str()?))).chain(named)
}

/// Whether `name` is the ARN, or what stands in it after the account, with or without the kind of resource.
fn is_named(arn: &str, name: &str) -> bool {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    arn == name || resource == name || resource.split_once('/').is_some_and(|(_, rest)| rest == name)
}

/// The name that CloudTrail shows beside an event: the user's, a role's session, or `root`.
pub fn username(event: &Value) -> Option<String> {
    let identity = &event["userIdentity"];
    match identity["type"].as_str()? {
        "Root" => Some("root".to_owned()),
        "AssumedRole" => identity["arn"].as_str()?.rsplit('/').next().map(str::to_owned),
        _ => identity["userName"].as_str().map(str::to_owned),
    }
}
