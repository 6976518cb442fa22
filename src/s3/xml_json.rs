//! XML as JSON, as CloudTrail shows the documents that requests bring: an element is a member of the one around it, and so are its
//! attributes; several of a name are an array; one that holds nothing but text is that text, or the number or truth value it is.
//! (CloudTrail's events of `PutBucketLifecycle`, `PutBucketPublicAccessBlock`, `PutBucketVersioning` and `PutBucketAcl` are of this
//! form, namespaces included.)

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::xml;

/// Deepest nesting that is shown.
const MAX_DEPTH: usize = 16;
/// The text of an element that has attributes.
const CONTENT: &str = "content";
/// Digits of what is shown as a number: longer ones are ids.
const MAX_DIGITS: usize = 9;

/// An element that has not ended.
struct Open {
    name: String,
    members: Map<String, Value>,
    text: String,
}

/// The root element's name and what it holds; `None` for what is not well-formed, too deep, or has a document type.
pub(super) fn read(document: &[u8]) -> Option<(String, Value)> {
    let text = xml::decoded(document)?;
    let mut reader = Reader::from_str(&text);
    let mut open: Vec<Open> = Vec::new();
    loop {
        let (element, is_whole) = match reader.read_event().ok()? {
            Event::Start(tag) if open.len() < MAX_DEPTH => (begin(&tag)?, false),
            Event::Empty(tag) => (begin(&tag)?, true),
            Event::End(_) => (open.pop()?, true),
            Event::Text(text) => {
                // Beside the root there may be space.
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text.xml10_content());
                }
                continue;
            }
            Event::CData(text) => {
                open.last_mut()?.text.push_str(&text.xml10_content());
                continue;
            }
            Event::GeneralRef(reference) => {
                let text = &mut open.last_mut()?.text;
                match reference.resolve_char_ref().ok()? {
                    Some(character) => text.push(character),
                    None => text.push_str(resolve_predefined_entity(&reference.xml10_content())?),
                }
                continue;
            }
            Event::Start(_) | Event::DocType(_) | Event::Eof => return None,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => continue,
        };
        if !is_whole {
            open.push(element);
            continue;
        }
        let (name, value) = element.end();
        match open.last_mut() {
            Some(around) => add(&mut around.members, name, value),
            None => return Some((name, value)),
        }
    }
}

fn begin(tag: &BytesStart<'_>) -> Option<Open> {
    let mut members = Map::new();
    for attribute in tag.attributes() {
        let attribute = attribute.ok()?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
        members.insert(attribute.key.as_ref().to_owned(), value.into_owned().into());
    }
    Some(Open { name: tag.name().as_ref().to_owned(), members, text: String::new() })
}

impl Open {
    fn end(self) -> (String, Value) {
        let Self { name, mut members, text } = self;
        if members.is_empty() {
            return (name, scalar(text));
        }
        // Between elements there is but space.
        if !text.trim().is_empty() {
            members.insert(CONTENT.to_owned(), scalar(text));
        }
        (name, members.into())
    }
}

/// Adds a member; of several of a name it makes an array.
fn add(members: &mut Map<String, Value>, name: String, value: Value) {
    match members.get_mut(&name) {
        None => drop(members.insert(name, value)),
        Some(Value::Array(several)) => several.push(value),
        Some(first) => *first = vec![first.take(), value].into(),
    }
}

/// The number or truth value that a text is, or the text.
fn scalar(text: String) -> Value {
    let is_number = text.len() <= MAX_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    match text.as_str() {
        "true" => true.into(),
        "false" => false.into(),
        "0" => 0.into(),
        digits if is_number && !digits.starts_with('0') => {
            digits.parse::<u32>().map_or(Value::String(text), Value::from)
        }
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(text: &str) -> Value {
        let (name, value) = read(text.as_bytes()).unwrap();
        json!({name: value})
    }

    /// A CloudTrail event of PutBucketLifecycle has it so, and one of PutBucketAcl.
    #[test]
    fn documents_are_shown_as_in_cloudtrail() {
        let document = r#"<?xml version="1.0"?>
            <LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>a &amp; b</ID>
            <Filter><Prefix/></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>
            </LifecycleConfiguration>"#;
        let rule = json!({"ID": "a & b", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 1}});
        let xmlns = "http://s3.amazonaws.com/doc/2006-03-01/";
        assert_eq!(shown(document), json!({"LifecycleConfiguration": {"xmlns": xmlns, "Rule": rule}}));
        let grantee = r#"<Grantee xmlns:xsi="x" xsi:type="Group"><URI>u</URI></Grantee>"#;
        let document = format!("<A><Grant>{grantee}</Grant><Grant>{grantee}</Grant><Grant/></A>");
        let grant = json!({"Grantee": {"xmlns:xsi": "x", "xsi:type": "Group", "URI": "u"}});
        assert_eq!(shown(&document), json!({"A": {"Grant": [grant.clone(), grant, ""]}}));
    }

    #[test]
    fn texts_are_numbers_truths_or_themselves() {
        for (text, value) in [
            ("true", json!(true)),
            ("0", json!(0)),
            ("42", json!(42)),
            ("007", json!("007")),
            ("111122223333", json!("111122223333")),
            ("", json!("")),
            (" a ", json!(" a ")),
            ("<![CDATA[<b>]]>&#33;", json!("<b>!")),
        ] {
            assert_eq!(shown(&format!("<A>{text}</A>")), json!({"A": value}), "{text}");
        }
        assert_eq!(shown("<A b=\"c\">d</A>"), json!({"A": {"b": "c", "content": "d"}}));
    }

    #[test]
    fn what_is_no_document_is_not_shown() {
        let deep = format!("{}{}", "<a>".repeat(17), "</a>".repeat(17));
        for none in ["", "text", "<a>", "<a></b>", "<!DOCTYPE a><a/>", "<a>&b;</a>", &deep] {
            assert_eq!(read(none.as_bytes()), None, "{none}");
        }
    }
}
