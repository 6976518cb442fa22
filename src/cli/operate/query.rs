//! The query protocol from the client's side: a form out, and the XML that comes back as JSON.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

use crate::wire::percent::percent_encode;

/// The form of a request.
pub(super) fn form(action: &str, version: &str, params: &[(&str, &str)]) -> String {
    let encoded = |text: &str| percent_encode(text).replace('/', "%2F");
    let mut form = format!("Action={action}&Version={version}");
    for (name, value) in params {
        form.push('&');
        form.push_str(&encoded(name));
        form.push('=');
        form.push_str(&encoded(value));
    }
    form
}

/// The document as a tree: elements of `member`s are lists, of `entry`s maps, elements of elements objects, the rest texts.
/// `None` if it is no XML.
pub(super) fn tree(document: &str) -> Option<Value> {
    let mut reader = Reader::from_str(document);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                open.push(Element { name, ..Element::default() });
            }
            Event::Empty(start) => {
                let name = start.local_name().as_ref().to_owned();
                open.last_mut()?.children.push((name, Value::String(String::new())));
            }
            Event::End(_) => {
                let closed = open.pop()?;
                let name = closed.name.clone();
                open.last_mut()?.children.push((name, closed.value()));
            }
            Event::Text(text) => open.last_mut()?.text.push_str(text.as_ref()),
            Event::GeneralRef(reference) => {
                let character = match reference.as_ref() {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => reference.resolve_char_ref().ok().flatten()?,
                };
                open.last_mut()?.text.push(character);
            }
            Event::Eof => return (open.len() == 1).then(|| open.pop().map(Element::value))?,
            _ => {}
        }
    }
}

#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<(String, Value)>,
}

impl Element {
    fn value(self) -> Value {
        match self.children.first().map(|(name, _)| name.as_str()) {
            None => Value::String(self.text),
            Some("member") => self.children.into_iter().map(|(_, value)| value).collect(),
            Some("entry") => {
                let pair =
                    |(_, mut entry): (String, Value)| Some((entry["key"].as_str()?.to_owned(), entry["value"].take()));
                Value::Object(self.children.into_iter().filter_map(pair).collect())
            }
            Some(_) => Value::Object(self.children.into_iter().collect::<Map<_, _>>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_become_trees() {
        let xml = "<R xmlns=\"x\">\n<U><Name>a&amp;b</Name><Tags><member><K>1</K></member></Tags><E/></U>\
                   <M><entry><key>k</key><value>2</value></entry></M></R>";
        let expected = json!({"R": {"U": {"Name": "a&b", "Tags": [{"K": "1"}], "E": ""}, "M": {"k": "2"}}});
        assert_eq!(tree(xml).unwrap(), expected);
        assert!(tree("<a>").is_none());
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form("A", "1", &[("Path", "/a b/")]), "Action=A&Version=1&Path=%2Fa%20b%2F");
    }
}
