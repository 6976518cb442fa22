//! Tags: how they are written in headers and documents, and what may be one.
//! (AWS: "Categorizing your objects using tags", "Using cost allocation S3 bucket tags".)

use serde::Deserialize;

use super::call::Call;
use super::error::{ErrorCode, Result, S3Error};
use super::operation::Operation;
use super::xml::{self, XmlWriter};
use crate::wire::percent::percent_decode;

/// Keys and values, in the order in which a document gave them, or of the keys.
pub(super) type Tags = Vec<(String, String)>;

/// The header that gives a new object tags.
pub(super) const HEADER: &str = "x-amz-tagging";
/// The header that says whether a copy has the tags that it is given, or its source's.
pub(super) const DIRECTIVE: &str = "x-amz-tagging-directive";
/// Longest `Tagging` document, in bytes: 50 tags of the longest keys and values, each character perhaps an entity.
pub(super) const MAX_DOCUMENT: usize = 256 * 1024;
/// Longest key and value, in characters.
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// What is tagged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tagged {
    Object,
    Bucket,
    /// A bucket that is being made.
    NewBucket,
    /// A bucket, by its ARN.
    Resource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tagging {
    // Without one there are no tags, as with an empty one.
    #[serde(rename = "TagSet", default)]
    set: TagSet,
}

/// `TagSet`, or `Tags` of a new bucket.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TagSet {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    value: String,
}

impl TagSet {
    /// The tags as they stand there, well-formed or not.
    pub fn pairs(&self) -> Tags {
        self.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
    }

    /// The tags, if they may be tags of what is `tagged`.
    ///
    /// # Errors
    /// `InvalidTag`, `BadRequest`.
    pub fn check(self, tagged: Tagged) -> Result<Tags> {
        let tags: Tags = self.tags.into_iter().map(|Tag { key, value }| (key, value)).collect();
        check(&tags, tagged)?;
        for (index, (key, _)) in tags.iter().enumerate() {
            if tags[..index].iter().any(|(earlier, _)| earlier == key) {
                return Err(match tagged {
                    Tagged::Resource => S3Error::new(
                        ErrorCode::InvalidTag,
                        "There are duplicate tag keys in your request. Remove the duplicate tag keys and try again.",
                    ),
                    _ => S3Error::new(ErrorCode::InvalidTag, "Cannot provide multiple Tags with the same key")
                        .with("TagKey", key),
                });
            }
        }
        Ok(tags)
    }
}

/// Reads a `Tagging` document.
///
/// # Errors
/// `MalformedXML`, `InvalidTag`, `BadRequest`.
pub(super) fn read_document(document: &[u8], tagged: Tagged) -> Result<Tags> {
    let Tagging { set } = xml::read(document, "Tagging")?;
    set.check(tagged)
}

/// Reads a `TagResourceRequest`.
///
/// # Errors
/// `MalformedXML`, `InvalidTag`, `BadRequest`.
pub(super) fn read_resource_tags(document: &[u8]) -> Result<Tags> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TagResourceRequest {
        #[serde(rename = "Tags")]
        tags: TagSet,
    }
    let TagResourceRequest { tags } = xml::read(document, "TagResourceRequest")?;
    tags.check(Tagged::Resource)
}

/// The tags of a bucket that has `present` and is given `given`, which win.
///
/// # Errors
/// `BadRequest`: they are too many together.
pub(super) fn merge(present: &[(String, String)], given: &[(String, String)]) -> Result<Tags> {
    let mut merged = present.to_vec();
    for (key, value) in given {
        match merged.iter_mut().find(|(present, _)| present == key) {
            Some((_, present)) => present.clone_from(value),
            None => merged.push((key.clone(), value.clone())),
        }
    }
    check_count(merged.len(), Tagged::Resource)?;
    Ok(merged)
}

/// Writes one.
pub(super) fn document(tags: &[(String, String)]) -> String {
    XmlWriter::document("Tagging", |xml| write_set(xml, "TagSet", tags))
}

/// Writes the list `element` of tags.
pub(super) fn write_set(xml: &mut XmlWriter, element: &str, tags: &[(String, String)]) {
    xml.element(element, |xml| {
        for (key, value) in tags {
            xml.element("Tag", |xml| {
                xml.text("Key", key);
                xml.text("Value", value);
            });
        }
    });
}

/// Reads `x-amz-tagging`: a query string, whose parameters have no order. The tags are in the order of their keys.
///
/// # Errors
/// `InvalidArgument` for what is none, or names a key twice; `InvalidTag`, `BadRequest`.
pub(super) fn read_header(text: &str) -> Result<Tags> {
    let malformed = || {
        let message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag \
                       name duplicates.";
        S3Error::argument(HEADER, text, message)
    };
    let mut tags = Tags::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if value.contains('=') {
            return Err(malformed());
        }
        let decode = |text: &str| percent_decode(text, true).ok_or_else(malformed);
        let (key, value) = (decode(key)?, decode(value)?);
        if tags.iter().any(|(earlier, _)| *earlier == key) {
            return Err(malformed());
        }
        tags.push((key, value));
    }
    tags.sort();
    check(&tags, Tagged::Object)?;
    Ok(tags)
}

/// The tags that a write gives its object: in a header, or, in a form, as a `Tagging` document.
///
/// # Errors
/// As [`read_header`] and [`read_document`].
pub(super) fn of_write(call: &Call<'_>) -> Result<Tags> {
    match call.header(HEADER) {
        Some(text) if call.row.operation == Operation::PostObject => read_document(text.as_bytes(), Tagged::Object),
        Some(text) => read_header(text),
        None => Ok(Tags::new()),
    }
}

/// The tags that the write which is asked for gives its object, as far as they can be read: a copy without the directive REPLACE
/// has its source's, whatever its header says.
pub(super) fn that_take_effect(call: &Call<'_>) -> Tags {
    match call.row.operation {
        Operation::CopyObject if call.header(DIRECTIVE) != Some("REPLACE") => Tags::new(),
        _ => of_write(call).unwrap_or_default(),
    }
}

fn check_count(count: usize, tagged: Tagged) -> Result<()> {
    let (most, too_many) = match tagged {
        Tagged::Object => (10, "Object tags cannot be greater than 10"),
        Tagged::Bucket | Tagged::NewBucket | Tagged::Resource => (50, "Bucket tag count cannot be greater than 50"),
    };
    if count > most { Err(S3Error::new(ErrorCode::BadRequest, too_many)) } else { Ok(()) }
}

fn check(tags: &[(String, String)], tagged: Tagged) -> Result<()> {
    check_count(tags.len(), tagged)?;
    tags.iter().try_for_each(|(key, value)| check_tag(key, value, tagged))
}

/// Whether this may be a tag of what is `tagged`, or be looked for there.
///
/// # Errors
/// `InvalidTag`.
pub(super) fn check_tag(key: &str, value: &str, tagged: Tagged) -> Result<()> {
    let is_key = !key.is_empty() && key.chars().count() <= MAX_KEY && key.chars().all(is_allowed);
    let is_value = value.chars().count() <= MAX_VALUE && value.chars().all(is_allowed);
    if tagged == Tagged::Resource && !(is_key && is_value) {
        let message = "This request contains a tag key or value that isn't valid. Valid characters include the following: \
                       [a-zA-Z+-=._:/]. Tag keys can contain up to 128 characters. Tag values can contain up to 256 \
                       characters.";
        return Err(S3Error::new(ErrorCode::InvalidTag, message));
    }
    if !is_key {
        let error = S3Error::new(ErrorCode::InvalidTag, "The TagKey you have provided is invalid");
        return Err(error.with("TagKey", key));
    }
    if !is_value {
        let error = S3Error::new(ErrorCode::InvalidTag, "The TagValue you have provided is invalid");
        return Err(error.with("TagKey", key).with("TagValue", value));
    }
    if key.starts_with("aws:") {
        let of_the_system = |text| S3Error::new(ErrorCode::InvalidTag, text);
        return Err(match tagged {
            Tagged::Object => of_the_system("Your TagKey cannot be prefixed with aws:").with("TagKey", key),
            Tagged::Bucket => of_the_system("System tags cannot be added/updated by requester").with("TagKey", key),
            Tagged::NewBucket | Tagged::Resource => of_the_system(
                "User-defined tag keys can't start with \"aws:\". This prefix is reserved for system tags. Remove \
                 \"aws:\" from your tag keys and try again.",
            ),
        });
    }
    Ok(())
}

/// Letters, digits and spaces of any script, and a few signs: `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, which has no control characters.
fn is_allowed(character: char) -> bool {
    let is_space = character.is_whitespace() && !character.is_control();
    character.is_alphanumeric() || is_space || "+-=._:/@".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn headers_are_query_strings() {
        assert_eq!(
            read_header("a=1&b=&c&d%20e=f+g").unwrap(),
            tags(&[("a", "1"), ("b", ""), ("c", ""), ("d e", "f g")])
        );
        assert_eq!(read_header("wrongquery&&wrongagain").unwrap().len(), 2);
        for malformed in ["a=1&a=2", "key1=val1,key2=val2", "a=%ff"] {
            assert_eq!(read_header(malformed).unwrap_err().code, ErrorCode::InvalidArgument, "{malformed}");
        }
        for invalid in ["aws:a=1", "=1", "a%2Cb=1", "a=b%2Cc"] {
            assert_eq!(read_header(invalid).unwrap_err().code, ErrorCode::InvalidTag, "{invalid}");
        }
        let many: Vec<String> = (0..11).map(|n| format!("k{n}=v")).collect();
        assert_eq!(read_header(&many.join("&")).unwrap_err().message, "Object tags cannot be greater than 10");
        assert_eq!(read_header(&many[1..].join("&")).unwrap().len(), 10);
    }

    #[test]
    fn tags_are_of_one_line() {
        for space in [' ', '\u{a0}', '\u{2003}', '\u{2028}', '\u{3000}'] {
            assert!(check_tag(&format!("a{space}b"), &space.to_string(), Tagged::Object).is_ok(), "{space:?}");
        }
        for control in ['\t', '\n', '\u{b}', '\r', '\0', '\u{7f}', '\u{85}'] {
            for (key, value) in [(format!("a{control}b"), String::new()), ("a".to_owned(), control.to_string())] {
                let refused = check_tag(&key, &value, Tagged::Bucket).unwrap_err();
                assert_eq!(refused.code, ErrorCode::InvalidTag, "{key:?}={value:?}");
            }
        }
    }

    #[test]
    fn given_tags_win_and_stay_within_bounds() {
        let merged = merge(&tags(&[("a", "1"), ("b", "2")]), &tags(&[("c", "3"), ("a", "4")])).unwrap();
        assert_eq!(merged, tags(&[("a", "4"), ("b", "2"), ("c", "3")]));
        let many: Tags = (0..50).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(merge(&many, &tags(&[("0", "x")])).unwrap().len(), 50);
        assert_eq!(merge(&many, &tags(&[("x", "x")])).unwrap_err().code, ErrorCode::BadRequest);
        let document = "<TagResourceRequest><Tags><Tag><Key>a</Key><Value>1</Value></Tag></Tags></TagResourceRequest>";
        assert_eq!(read_resource_tags(document.as_bytes()).unwrap(), tags(&[("a", "1")]));
        assert_eq!(read_resource_tags(b"<TagResourceRequest/>").unwrap_err().code, ErrorCode::MalformedXml);
    }

    #[test]
    fn what_is_wrong_with_tags_of_a_resource_is_told_in_other_words() {
        let message = |tags: &str| {
            let document = format!("<TagResourceRequest><Tags>{tags}</Tags></TagResourceRequest>");
            let error = read_resource_tags(document.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.detail), (ErrorCode::InvalidTag, Vec::new()));
            error.message.into_owned()
        };
        let tag = |key: &str, value: &str| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        assert!(message(&tag("a", "1").repeat(2)).starts_with("There are duplicate tag keys in your request."));
        for invalid in [tag("", "1"), tag("a,b", "1"), tag("a", "b,c"), tag("a", &"v".repeat(257))] {
            assert!(message(&invalid).starts_with("This request contains a tag key or value that isn't valid."));
        }
        assert!(message(&tag("aws:a", "1")).starts_with("User-defined tag keys can't start with \"aws:\"."));
    }

    #[test]
    fn documents_come_back_as_they_went_in() {
        let given = tags(&[("b", "2"), ("a", ""), ("schlüssel", "x y")]);
        assert_eq!(read_document(document(&given).as_bytes(), Tagged::Object).unwrap(), given);
        for none in ["<Tagging><TagSet/></Tagging>", "<Tagging/>"] {
            assert_eq!(read_document(none.as_bytes(), Tagged::Bucket).unwrap(), tags(&[]), "{none}");
        }
        let error = |inner: &str, tagged| {
            let document = format!("<Tagging><TagSet>{inner}</TagSet></Tagging>");
            read_document(document.as_bytes(), tagged).unwrap_err()
        };
        let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>1</Value></Tag>");
        for malformed in [
            "<Tag><Key>a</Key></Tag>".to_owned(),
            tag("a").replace("</Tag>", "<Secret/></Tag>"),
            tag("a").replace("</Tag>", "<Value>2</Value></Tag>"),
            format!("{}<tag/>", tag("a")),
        ] {
            assert_eq!(error(&malformed, Tagged::Object).code, ErrorCode::MalformedXml, "{malformed}");
        }
        let twice = error(&[tag("a"), tag("a")].concat(), Tagged::Object);
        assert_eq!(
            (twice.message.as_ref(), &*twice.detail),
            ("Cannot provide multiple Tags with the same key", &[("TagKey", "a".to_owned())][..])
        );
        assert_eq!(error(&tag("aws:a"), Tagged::Bucket).message, "System tags cannot be added/updated by requester");
        let many: String = (0..51).map(|n| tag(&n.to_string())).collect();
        assert_eq!(error(&many, Tagged::Bucket).code, ErrorCode::BadRequest);
        assert_eq!(error(&tag(&"k".repeat(129)), Tagged::Bucket).message, "The TagKey you have provided is invalid");
    }
}
