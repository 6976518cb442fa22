//! The document of a life-cycle configuration: read with AWS's checks and texts, and written as it came.
//! (API reference, PutBucketLifecycleConfiguration; S3 user guide, "Lifecycle configuration elements".)

use std::collections::HashSet;

use serde::Deserialize;

use super::transitions::{self, TransitionElement};
use crate::clock::{Timestamp, from_millis, iso8601_seconds};
use crate::jobs::lifecycle::{Calendar, Expiration, Filter, Form, Noncurrent, Rule, Rules};
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::tags::{Tagged, check_tag};
use crate::s3::xml::{self, XmlWriter};

/// The root element.
const ROOT: &str = "LifecycleConfiguration";
/// What is kept beside the rules where small objects of some storage classes may transition.
const VARIES: &str = "VariesByStorageClass";
/// Most rules of a configuration.
const MAX_RULES: usize = 1000;
/// Longest id of a rule, in characters.
const MAX_ID: usize = 255;
/// Most noncurrent versions that a rule can keep.
const MAX_KEPT: i64 = 100;
/// Longest prefix, in bytes.
const MAX_PREFIX: usize = 1024;
/// Bounds of object sizes that a filter may name, in bytes.
const MAX_SIZE: i64 = 1_099_511_627_776_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "Rule", default)]
    rules: Vec<RuleElement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RuleElement {
    #[serde(rename = "ID")]
    id: Option<String>,
    prefix: Option<String>,
    filter: Option<FilterElement>,
    status: Option<String>,
    expiration: Option<ExpirationElement>,
    #[serde(rename = "Transition", default)]
    transitions: Vec<TransitionElement>,
    noncurrent_version_expiration: Option<NoncurrentElement>,
    #[serde(rename = "NoncurrentVersionTransition", default)]
    noncurrent_transitions: Vec<TransitionElement>,
    abort_incomplete_multipart_upload: Option<AbortElement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct FilterElement {
    prefix: Option<String>,
    #[serde(default)]
    tag: Vec<TagElement>,
    object_size_greater_than: Option<i64>,
    object_size_less_than: Option<i64>,
    and: Option<AndElement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AndElement {
    prefix: Option<String>,
    #[serde(rename = "Tag", default)]
    tags: Vec<TagElement>,
    object_size_greater_than: Option<i64>,
    object_size_less_than: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TagElement {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ExpirationElement {
    days: Option<i64>,
    date: Option<String>,
    expired_object_delete_marker: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NoncurrentElement {
    noncurrent_days: Option<i64>,
    newer_noncurrent_versions: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AbortElement {
    days_after_initiation: Option<i64>,
}

/// Reads a configuration; `new_id` names the rules that have no id. Everything is checked but what other rules say is
/// said once per configuration.
///
/// # Errors
/// `MalformedXML`, `InvalidArgument`, `InvalidRequest` and `InvalidTag` in AWS's words.
pub(super) fn read(document: &[u8], varies_by_storage_class: bool, new_id: impl Fn() -> String) -> Result<Rules> {
    let Document { rules } = xml::read(document, ROOT)?;
    let rules = judge(rules, varies_by_storage_class, new_id)?;
    rules.rules.iter().try_for_each(|rule| check_filter(&rule.filter))?;
    Ok(rules)
}

/// Judges rules, save for what earlier versions of this server did not check of filters: what they kept must be read.
fn judge(rules: Vec<RuleElement>, varies_by_storage_class: bool, new_id: impl Fn() -> String) -> Result<Rules> {
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(ErrorCode::MalformedXml.into());
    }
    let mut ids = HashSet::new();
    let mut read = Vec::with_capacity(rules.len());
    for element in rules {
        let rule = read_rule(element, &new_id)?;
        if !ids.insert(rule.id.clone()) {
            let message = "Rule ID must be unique. Found same ID for more than one rule";
            return Err(S3Error::argument("ID", rule.id, message));
        }
        read.push(rule);
    }
    check_versions(&read)?;
    Ok(Rules { rules: read, varies_by_storage_class })
}

fn read_rule(element: RuleElement, new_id: &impl Fn() -> String) -> Result<Rule> {
    let id = element.id.filter(|id| !id.is_empty()).unwrap_or_else(new_id);
    if id.chars().count() > MAX_ID {
        return Err(S3Error::argument("ID", id, "ID length should not exceed allowed limit of 255"));
    }
    let enabled = match element.status.as_deref() {
        Some("Enabled") => true,
        Some("Disabled") => false,
        _ => return Err(ErrorCode::MalformedXml.into()),
    };
    let filter = match (element.prefix, element.filter) {
        (Some(prefix), None) => Filter { form: Form::BasePrefix, prefix: Some(prefix), ..Filter::default() },
        (None, Some(filter)) => read_filter(filter)?,
        (Some(_), Some(_)) => return Err(base_prefix_in_second_version()),
        (None, None) => return Err(ErrorCode::MalformedXml.into()),
    };
    let transitions = transitions::read(&element.transitions, &filter)?;
    let noncurrent_transitions = transitions::read_noncurrent(&element.noncurrent_transitions, &filter)?;
    let expiration = element.expiration.map(|expiration| read_expiration(&expiration)).transpose()?;
    let noncurrent = element.noncurrent_version_expiration;
    let noncurrent = noncurrent.map(|noncurrent| read_noncurrent(&noncurrent, filter.form)).transpose()?;
    let abort_after = element
        .abort_incomplete_multipart_upload
        .map(|abort| positive("DaysAfterInitiation", "AbortIncompleteMultipartUpload", abort.days_after_initiation));
    let abort_after = abort_after.transpose()?;
    let acts_at_ends = expiration.is_some() || noncurrent.is_some() || abort_after.is_some();
    if !acts_at_ends && transitions.is_empty() && noncurrent_transitions.is_empty() {
        return Err(S3Error::new(ErrorCode::InvalidRequest, "At least one action needs to be specified in a rule"));
    }
    if matches!(expiration, Some(Expiration::LoneMarkers(_))) {
        check_filter_of_keys(&filter, "ExpiredObjectDeleteMarker")?;
    }
    if abort_after.is_some() {
        check_filter_of_keys(&filter, "AbortIncompleteMultipartUpload")?;
    }
    let rule = Rule { id, enabled, filter, expiration, noncurrent, abort_after, transitions, noncurrent_transitions };
    transitions::check_ends(&rule)?;
    Ok(rule)
}

fn read_filter(element: FilterElement) -> Result<Filter> {
    let FilterElement { prefix, tag, object_size_greater_than, object_size_less_than, and } = element;
    let sizes = [object_size_greater_than, object_size_less_than];
    let conditions =
        usize::from(prefix.is_some()) + tag.len() + sizes.iter().flatten().count() + usize::from(and.is_some());
    // "A Filter must have exactly one of Prefix, Tag, ObjectSizeGreaterThan, ObjectSizeLessThan, or And specified" or none.
    if conditions > 1 {
        return Err(ErrorCode::MalformedXml.into());
    }
    let (form, prefix, tags, [larger, smaller]) = match and {
        None => (Form::Plain, prefix, tag, sizes),
        Some(AndElement { prefix, tags, object_size_greater_than, object_size_less_than }) => {
            let sizes = [object_size_greater_than, object_size_less_than];
            if usize::from(prefix.is_some()) + tags.len() + sizes.iter().flatten().count() < 2 {
                return Err(ErrorCode::MalformedXml.into());
            }
            (Form::And, prefix, tags, sizes)
        }
    };
    let mut keys = HashSet::new();
    if !tags.iter().all(|tag| keys.insert(tag.key.as_str())) {
        return Err(S3Error::new(ErrorCode::InvalidRequest, "Duplicate Tag Keys are not allowed."));
    }
    let bound = |name: &'static str, least: i64, bound: Option<i64>| match bound {
        None => Ok(None),
        Some(bytes) if (least..=MAX_SIZE).contains(&bytes) => Ok(u64::try_from(bytes).ok()),
        Some(_) => {
            let message = format!("'{name}' should be between {least} and {MAX_SIZE}.");
            Err(S3Error::new(ErrorCode::InvalidRequest, message))
        }
    };
    let larger_than = bound("ObjectSizeGreaterThan", 0, larger)?;
    let smaller_than = bound("ObjectSizeLessThan", 1, smaller)?;
    if let (Some(larger), Some(smaller)) = (larger_than, smaller_than)
        && smaller <= larger
    {
        let message = "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.";
        return Err(S3Error::new(ErrorCode::InvalidRequest, message));
    }
    let tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    Ok(Filter { form, prefix, tags, larger_than, smaller_than })
}

/// Refuses what no key begins with, and tags that nothing can have.
fn check_filter(filter: &Filter) -> Result<()> {
    if filter.prefix.as_ref().is_some_and(|prefix| prefix.len() > MAX_PREFIX) {
        return Err(S3Error::new(ErrorCode::InvalidRequest, "The maximum size of a prefix is 1024."));
    }
    filter.tags.iter().try_for_each(|(key, value)| check_tag(key, value, Tagged::Object))
}

fn read_expiration(element: &ExpirationElement) -> Result<Expiration> {
    match (element.days, &element.date, element.expired_object_delete_marker) {
        (Some(days), None, None) => Ok(Expiration::Days(positive("Days", "Expiration", Some(days))?)),
        (None, Some(date), None) => Ok(Expiration::Date(midnight(date)?)),
        (None, None, Some(remove)) => Ok(Expiration::LoneMarkers(remove)),
        _ => Err(ErrorCode::MalformedXml.into()),
    }
}

fn read_noncurrent(element: &NoncurrentElement, form: Form) -> Result<Noncurrent> {
    const ACTION: &str = "NoncurrentVersionExpiration";
    let days = positive("NoncurrentDays", ACTION, element.noncurrent_days)?;
    let Some(kept) = element.newer_noncurrent_versions else { return Ok(Noncurrent { days, keep: None }) };
    Ok(Noncurrent { days, keep: Some(read_kept_versions(kept, ACTION, form)?) })
}

/// How many of the newest noncurrent versions `action` leaves alone.
pub(super) fn read_kept_versions(kept: i64, action: &str, form: Form) -> Result<u32> {
    // "If you don't provide a Filter element, Amazon S3 generates an InvalidRequest error when you specify the number of
    // versions to retain." (S3 user guide, "Lifecycle configuration elements".)
    if form == Form::BasePrefix {
        let message = "'NewerNoncurrentVersions' can only be specified in a rule with a Filter element.";
        return Err(S3Error::new(ErrorCode::InvalidRequest, message));
    }
    let keep = positive("NewerNoncurrentVersions", action, Some(kept))?;
    if kept > MAX_KEPT {
        let message = format!("'NewerNoncurrentVersions' for {action} action must not be greater than {MAX_KEPT}");
        return Err(S3Error::argument("NewerNoncurrentVersions", kept.to_string(), message));
    }
    Ok(keep)
}

fn positive(name: &'static str, action: &str, number: Option<i64>) -> Result<u32> {
    let number = number.ok_or(ErrorCode::MalformedXml)?;
    if number > i64::from(i32::MAX) {
        return Err(ErrorCode::MalformedXml.into());
    }
    if let Ok(number @ 1..) = u32::try_from(number) {
        return Ok(number);
    }
    let message = format!("'{name}' for {action} action must be a positive integer");
    Err(S3Error::argument(name, number.to_string(), message))
}

/// A date in ISO 8601, in milliseconds since the Unix epoch.
pub(super) fn midnight(text: &str) -> Result<i64> {
    // The basic form, without hyphens, is none of XML's.
    if text.get(4..5) != Some("-") {
        return Err(ErrorCode::MalformedXml.into());
    }
    let date: Timestamp = match text.parse() {
        Ok(date) => date,
        Err(_) => format!("{text}T00:00:00Z").parse().map_err(|_| ErrorCode::MalformedXml)?,
    };
    let millis = date.as_millisecond();
    if millis != Calendar::default().midnight_before(millis) || date.subsec_nanosecond() != 0 {
        return Err(S3Error::argument("Date", text, "'Date' must be at midnight GMT"));
    }
    Ok(millis)
}

/// Delete markers and uploads have neither tags nor a size.
fn check_filter_of_keys(filter: &Filter, action: &str) -> Result<()> {
    let told =
        |what: &str| Err(S3Error::new(ErrorCode::InvalidRequest, format!("{action} cannot be specified with {what}.")));
    if !filter.tags.is_empty() {
        return told("Tags");
    }
    if filter.is_of_keys() { Ok(()) } else { told("Object Size") }
}

/// An action, and whether a rule has it.
type Action = (&'static str, fn(&Rule) -> bool);

/// The actions of rules.
const ACTIONS: [Action; 5] = [
    ("Transition", |rule| !rule.transitions.is_empty()),
    ("Expiration", |rule| rule.expiration.is_some()),
    ("NoncurrentVersionTransition", |rule| !rule.noncurrent_transitions.is_empty()),
    ("NoncurrentVersionExpiration", |rule| rule.noncurrent.is_some()),
    ("AbortIncompleteMultipartUpload", |rule| rule.abort_after.is_some()),
];

/// The two versions of the configuration, with and without `Filter`, do not mix; and in the first one, prefixes of one
/// action must not overlap.
fn check_versions(rules: &[Rule]) -> Result<()> {
    let is_first = |rule: &Rule| rule.filter.form == Form::BasePrefix;
    if !rules.iter().any(is_first) {
        return Ok(());
    }
    if rules.first().is_some_and(|rule| !is_first(rule)) {
        return Err(base_prefix_in_second_version());
    }
    if !rules.iter().all(is_first) {
        return Err(S3Error::new(ErrorCode::InvalidRequest, "Filter element can only be used in Lifecycle V2."));
    }
    for (action, has) in ACTIONS {
        let mut prefixes: Vec<&str> =
            rules.iter().filter(|rule| has(rule)).filter_map(|rule| rule.filter.prefix.as_deref()).collect();
        // In order, whatever begins with a prefix stands behind it.
        prefixes.sort_unstable();
        let overlap = prefixes.windows(2).find_map(|pair| match pair {
            [shorter, longer] if longer.starts_with(shorter) => Some((longer, shorter)),
            _ => None,
        });
        if let Some((longer, shorter)) = overlap {
            let message =
                format!("Found overlapping prefixes '{longer}' and '{shorter}' for same action type '{action}'");
            return Err(S3Error::new(ErrorCode::InvalidRequest, message));
        }
    }
    Ok(())
}

fn base_prefix_in_second_version() -> S3Error {
    let message = "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.";
    S3Error::new(ErrorCode::InvalidRequest, message)
}

/// The document that shows `rules`.
pub(super) fn write(rules: &Rules) -> String {
    XmlWriter::document(ROOT, |xml| write_rules(xml, rules))
}

/// What is kept of `rules`: the inside of their document, and what came beside it.
pub(super) fn canonical(rules: &Rules) -> String {
    XmlWriter::fragment(|xml| {
        write_rules(xml, rules);
        if rules.varies_by_storage_class {
            xml.text(VARIES, true);
        }
    })
}

/// Reads what [`canonical`] wrote.
///
/// # Errors
/// `InternalError`: it is damaged.
pub(super) fn read_kept(contents: &str) -> Result<Rules> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Kept {
        #[serde(rename = "Rule", default)]
        rules: Vec<RuleElement>,
        #[serde(rename = "VariesByStorageClass", default)]
        varies: bool,
    }
    let Kept { rules, varies } = xml::read_fragment(contents, ROOT).map_err(S3Error::internal)?;
    // Whatever was kept has ids.
    judge(rules, varies, String::new).map_err(S3Error::internal)
}

fn write_rules(xml: &mut XmlWriter, rules: &Rules) {
    for rule in &rules.rules {
        xml.element("Rule", |xml| write_rule(xml, rule));
    }
}

fn write_rule(xml: &mut XmlWriter, rule: &Rule) {
    xml.text("ID", &rule.id);
    let filter = &rule.filter;
    match filter.form {
        Form::BasePrefix => xml.text("Prefix", filter.prefix.as_deref().unwrap_or_default()),
        Form::Plain => xml.element("Filter", |xml| write_conditions(xml, filter)),
        Form::And => xml.element("Filter", |xml| xml.element("And", |xml| write_conditions(xml, filter))),
    }
    xml.text("Status", if rule.enabled { "Enabled" } else { "Disabled" });
    if let Some(expiration) = rule.expiration {
        xml.element("Expiration", |xml| match expiration {
            Expiration::Days(days) => xml.text("Days", days),
            Expiration::Date(date) => xml.text("Date", iso8601_seconds(from_millis(date))),
            Expiration::LoneMarkers(remove) => xml.text("ExpiredObjectDeleteMarker", remove),
        });
    }
    if let Some(Noncurrent { days, keep }) = rule.noncurrent {
        xml.element("NoncurrentVersionExpiration", |xml| {
            xml.text("NoncurrentDays", days);
            xml.optional("NewerNoncurrentVersions", keep);
        });
    }
    transitions::write(xml, rule);
    if let Some(days) = rule.abort_after {
        xml.element("AbortIncompleteMultipartUpload", |xml| xml.text("DaysAfterInitiation", days));
    }
}

/// As errors tell of the filter of a rule.
pub(super) fn describe(filter: &Filter) -> String {
    let prefix = filter.prefix.as_deref();
    if filter.form == Form::BasePrefix {
        return format!("prefix '{}'", prefix.unwrap_or_default());
    }
    let conditions: Vec<String> = prefix
        .map(|prefix| format!("prefix={prefix}"))
        .into_iter()
        .chain(filter.tags.iter().map(|(key, value)| format!("tag: key={key}, value={value}")))
        .chain(filter.larger_than.map(|bytes| format!("objectsizegreaterthan={bytes}")))
        .chain(filter.smaller_than.map(|bytes| format!("objectsizelessthan={bytes}")))
        .collect();
    format!("filter '({})'", conditions.join(" and "))
}

fn write_conditions(xml: &mut XmlWriter, filter: &Filter) {
    xml.optional("Prefix", filter.prefix.as_deref());
    for (key, value) in &filter.tags {
        xml.element("Tag", |xml| {
            xml.text("Key", key);
            xml.text("Value", value);
        });
    }
    xml.optional("ObjectSizeGreaterThan", filter.larger_than);
    xml.optional("ObjectSizeLessThan", filter.smaller_than);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rules: &str) -> Result<Rules> {
        let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</{ROOT}>");
        read(document.as_bytes(), false, || "made".to_owned())
    }

    fn rule(rest: &str) -> String {
        format!("<Rule><ID>r</ID>{rest}</Rule>")
    }

    /// A rule that expires objects after a day.
    fn one_day(id: &str, filter: &str) -> String {
        format!("<Rule><ID>{id}</ID>{filter}<Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>")
    }

    #[track_caller]
    fn refused(rules: &str, code: ErrorCode, message: &str) {
        let error = parse(rules).unwrap_err();
        assert_eq!((error.code, error.message.as_ref()), (code, message), "{rules}");
    }

    #[test]
    fn a_configuration_comes_back_as_it_went_in() {
        let rules = [
            "<Rule><ID>and</ID><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>\
             <Tag><Key>l</Key><Value></Value></Tag><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan>\
             <ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter><Status>Enabled</Status>\
             <Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays>\
             <NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule>",
            "<Rule><ID>empty</ID><Filter></Filter><Status>Disabled</Status>\
             <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>\
             </Rule>",
            "<Rule><ID>tag</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status>\
             <Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule>",
            "<Rule><ID>size</ID><Filter><ObjectSizeLessThan>1</ObjectSizeLessThan></Filter><Status>Enabled</Status>\
             <Expiration><Days>1</Days></Expiration></Rule>",
        ];
        let rules = rules.concat();
        assert!(write(&parse(&rules).unwrap()).contains(&rules));
        for varies in [false, true] {
            let parsed = Rules { varies_by_storage_class: varies, ..parse(&rules).unwrap() };
            assert_eq!(read_kept(&canonical(&parsed)).unwrap(), parsed);
        }
        let first_version = one_day("r", "<Prefix></Prefix>");
        assert!(write(&parse(&first_version).unwrap()).contains(&first_version));
    }

    #[test]
    fn rules_without_an_id_get_one() {
        let parsed = parse(&one_day("", "<Filter/>")).unwrap();
        assert_eq!(parsed.rules[0].id, "made");
    }

    #[test]
    fn bad_shapes_are_malformed() {
        let action = "<Status>Enabled</Status><Expiration><Days>1</Days></Expiration>";
        let enabled = |rest: &str| rule(&format!("<Filter/><Status>Enabled</Status>{rest}"));
        let many: String = (0..=MAX_RULES).map(|n| one_day(&n.to_string(), "<Filter/>")).collect();
        for bad in [
            String::new(),
            many,
            rule(action),
            rule("<Filter/><Status>enabled</Status><Expiration><Days>1</Days></Expiration>"),
            rule("<Filter/><Expiration><Days>1</Days></Expiration>"),
            rule(&format!("<Filter><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></Filter>{action}")),
            rule(&format!("<Filter><And><Prefix>a</Prefix></And></Filter>{action}")),
            enabled("<Expiration/>"),
            enabled("<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>"),
            enabled(
                "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            ),
            enabled("<Expiration><Days>x</Days></Expiration>"),
            enabled("<Expiration><Days>2147483648</Days></Expiration>"),
            enabled("<Expiration><Date>20300101</Date></Expiration>"),
            enabled("<NoncurrentVersionExpiration/>"),
            enabled("<AbortIncompleteMultipartUpload/>"),
            enabled("<Transition><Days>1</Days></Transition>"),
            enabled("<Transition><StorageClass>GLACIER</StorageClass></Transition>"),
            rule(&format!(
                "<Filter/>{action}<NoncurrentVersionExpiraton><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiraton>"
            )),
            rule(&format!("<Filter><Prefx>a</Prefx></Filter>{action}")),
            rule(&format!("<Filter/>{action}<Expiration><Days>2</Days></Expiration>")),
            rule(&format!("<Filter>all</Filter>{action}")),
            format!("{}<VariesByStorageClass>true</VariesByStorageClass>", one_day("r", "<Filter/>")),
        ] {
            assert_eq!(parse(&bad).unwrap_err().code, ErrorCode::MalformedXml, "{bad}");
        }
    }

    #[test]
    fn numbers_must_be_positive() {
        for number in ["0", "-1"] {
            for (name, action) in [
                ("Days", "Expiration"),
                ("NoncurrentDays", "NoncurrentVersionExpiration"),
                ("DaysAfterInitiation", "AbortIncompleteMultipartUpload"),
            ] {
                let rule =
                    rule(&format!("<Filter/><Status>Enabled</Status><{action}><{name}>{number}</{name}></{action}>"));
                let message = format!("'{name}' for {action} action must be a positive integer");
                refused(&rule, ErrorCode::InvalidArgument, &message);
            }
        }
        let kept = |filter: &str, kept: &str| {
            rule(&format!(
                "{filter}<Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
                 <NewerNoncurrentVersions>{kept}</NewerNoncurrentVersions></NoncurrentVersionExpiration>"
            ))
        };
        assert!(parse(&kept("<Filter/>", "100")).is_ok());
        assert_eq!(parse(&kept("<Filter/>", "0")).unwrap_err().code, ErrorCode::InvalidArgument);
        assert_eq!(parse(&kept("<Filter/>", "101")).unwrap_err().code, ErrorCode::InvalidArgument);
        assert_eq!(parse(&kept("<Prefix/>", "1")).unwrap_err().code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn dates_must_be_midnights() {
        let date = |date: &str| {
            rule(&format!("<Filter/><Status>Enabled</Status><Expiration><Date>{date}</Date></Expiration>"))
        };
        for good in ["2030-01-01", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000Z", "2030-01-01T02:00:00+02:00"] {
            assert!(parse(&date(good)).is_ok(), "{good}");
        }
        for bad in ["2030-01-01T00:00:01Z", "2030-01-01T00:00:00+02:00", "2030-01-01T00:00:00.0001Z"] {
            refused(&date(bad), ErrorCode::InvalidArgument, "'Date' must be at midnight GMT");
        }
    }

    #[test]
    fn ids_are_unique_and_short() {
        let twice = [one_day("a", "<Filter/>"), one_day("a", "<Filter/>")].concat();
        refused(&twice, ErrorCode::InvalidArgument, "Rule ID must be unique. Found same ID for more than one rule");
        assert!(parse(&one_day(&"é".repeat(255), "<Filter/>")).is_ok());
        refused(
            &one_day(&"a".repeat(256), "<Filter/>"),
            ErrorCode::InvalidArgument,
            "ID length should not exceed allowed limit of 255",
        );
    }

    #[test]
    fn what_has_no_tags_and_no_size_is_not_filtered_by_them() {
        let tag = "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>";
        let size = "<Filter><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></Filter>";
        let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
        let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
        for (filter, what) in [(tag, "Tags"), (size, "Object Size")] {
            for (action, name) in [(abort, "AbortIncompleteMultipartUpload"), (marker, "ExpiredObjectDeleteMarker")] {
                let rule = rule(&format!("{filter}<Status>Enabled</Status>{action}"));
                refused(&rule, ErrorCode::InvalidRequest, &format!("{name} cannot be specified with {what}."));
            }
        }
    }

    #[test]
    fn sizes_have_bounds() {
        let sizes = |more: &str, less: &str| {
            let and = format!(
                "<Filter><And><ObjectSizeGreaterThan>{more}</ObjectSizeGreaterThan>\
                 <ObjectSizeLessThan>{less}</ObjectSizeLessThan></And></Filter>"
            );
            one_day("r", &and)
        };
        assert!(parse(&sizes("0", "1")).is_ok());
        let message = "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.";
        refused(&sizes("5", "5"), ErrorCode::InvalidRequest, message);
        let message = "'ObjectSizeLessThan' should be between 1 and 1099511627776000.";
        refused(&sizes("0", "0"), ErrorCode::InvalidRequest, message);
        let message = "'ObjectSizeGreaterThan' should be between 0 and 1099511627776000.";
        refused(&sizes("-1", "1"), ErrorCode::InvalidRequest, message);
    }

    #[test]
    fn duplicate_tags_are_refused() {
        let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
        let rule = one_day("r", &format!("<Filter><And>{tag}{tag}</And></Filter>"));
        refused(&rule, ErrorCode::InvalidRequest, "Duplicate Tag Keys are not allowed.");
    }

    #[test]
    fn the_two_versions_do_not_mix() {
        let (first, second) = (one_day("a", "<Prefix>a</Prefix>"), one_day("b", "<Filter/>"));
        let message = "Filter element can only be used in Lifecycle V2.";
        refused(&[&*first, &second].concat(), ErrorCode::InvalidRequest, message);
        let message = "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.";
        refused(&[&*second, &first].concat(), ErrorCode::InvalidRequest, message);
        refused(&one_day("a", "<Prefix/><Filter/>"), ErrorCode::InvalidRequest, message);
        let overlapping = [one_day("a", "<Prefix>di</Prefix>"), one_day("b", "<Prefix>dir/</Prefix>")].concat();
        let message = "Found overlapping prefixes 'dir/' and 'di' for same action type 'Expiration'";
        refused(&overlapping, ErrorCode::InvalidRequest, message);
    }

    #[test]
    fn a_rule_acts() {
        let message = "At least one action needs to be specified in a rule";
        refused(&rule("<Filter/><Status>Enabled</Status>"), ErrorCode::InvalidRequest, message);
    }

    #[test]
    fn filters_name_what_there_can_be() {
        let tag = |key: &str, value: &str| {
            let tag = format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
            parse(&one_day("r", &format!("<Filter>{tag}</Filter>"))).map(drop).map_err(|error| error.code)
        };
        assert_eq!(tag(&"k".repeat(128), &"v".repeat(256)), Ok(()));
        let long = "v".repeat(257);
        for (key, value) in [("", "v"), (&*"k".repeat(129), "v"), ("aws:k", "v"), ("k", &long), ("k<", "v")] {
            let key = key.replace('<', "&lt;");
            assert_eq!(tag(&key, value), Err(ErrorCode::InvalidTag), "{key}");
        }
        let below = |length: usize| {
            let prefix = "p".repeat(length);
            [format!("<Filter><Prefix>{prefix}</Prefix></Filter>"), format!("<Prefix>{prefix}</Prefix>")]
        };
        for (fits, too_long) in below(1024).iter().zip(&below(1025)) {
            assert!(parse(&one_day("r", fits)).is_ok());
            refused(&one_day("r", too_long), ErrorCode::InvalidRequest, "The maximum size of a prefix is 1024.");
        }
        // What was kept before this was checked is still read.
        let kept = one_day("r", &format!("<Filter><Prefix>{}</Prefix></Filter>", "p".repeat(1025)));
        assert!(read_kept(&kept).is_ok());
    }
}
