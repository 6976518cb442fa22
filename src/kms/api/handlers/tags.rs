//! Tags.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{key_not_alias, marker, paged};
use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{LocalKms, MAX_TAGS};

pub(super) async fn add(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    Ok(kms.tag(caller, &name, read(fields)?).await.map(|()| Value::Null)?)
}

pub(super) async fn remove(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let keys = fields.texts("TagKeys")?;
    Ok(kms.untag(caller, &name, &keys).await.map(|()| Value::Null)?)
}

pub(super) fn list(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = kms.metadata(caller, &key_not_alias(fields)?, "kms:ListResourceTags")?;
    // "Its value must be between 1 and 50, inclusive. … it defaults to 50." (ListResourceTags)
    let limit = fields.number("Limit")?.map_or(MAX_TAGS, |limit| usize::try_from(limit).unwrap_or(MAX_TAGS));
    // A marker is the last key of a page, in hexadecimal digits: keys may have characters that markers may not.
    let named = |marker: &str| {
        let name = hex::decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        name.filter(|name| (1..=128).contains(&name.chars().count()))
    };
    let after = named(marker(fields, |marker| named(marker).is_some())?).unwrap_or_default();
    let mut tags = key.tags;
    tags.sort();
    let mut tags: Vec<_> = tags.into_iter().filter(|(key, _)| *key > after).collect();
    let truncated = tags.len() > limit;
    tags.truncate(limit);
    let next = tags.last().filter(|_| truncated).map(|(key, _)| hex::encode(key));
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"TagKey": key, "TagValue": value})).collect();
    Ok(paged(json!({"Tags": tags}), next))
}

/// The tags of a request.
pub(super) fn read(fields: Fields<'_>) -> Result<Vec<(String, String)>, Failure> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for item in fields.objects("Tags")? {
        let (key, value) = (item.required_text("TagKey")?, item.required_text("TagValue")?);
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(refuse(KmsErrorKind::Tag, "Tags beginning with aws: are reserved"));
        }
        // Condition keys have no case: of two tags that differ in it alone, a policy would be content with either (`aws:RequestTag`).
        if tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(key)) {
            return Err(refuse(KmsErrorKind::Tag, "Duplicate tag keys"));
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    if tags.len() > MAX_TAGS {
        return Err(refuse(KmsErrorKind::Tag, "Too many tags"));
    }
    Ok(tags)
}
