//! XML: a small streaming writer, and a bounded reader for the documents that clients send.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::DeserializeOwned;

use super::error::{ErrorCode, Result};

/// The namespace of S3's documents.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// Deepest nesting that is read.
const MAX_DEPTH: usize = 16;

/// A document being written.
#[derive(Debug)]
pub struct XmlWriter(String);

impl XmlWriter {
    /// A document whose root element is `root`, in S3's namespace; `write` fills it.
    pub fn document(root: &str, write: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self::prolog();
        xml.element_with(root, &format!(" xmlns=\"{NAMESPACE}\""), write);
        xml.0
    }

    /// A document without a namespace: errors have none.
    pub fn bare_document(root: &str, write: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self::prolog();
        xml.element(root, write);
        xml.0
    }

    /// A document whose root element holds nothing but text.
    pub fn document_with_text(root: &str, text: &str) -> String {
        Self::document(root, |xml| {
            let _ = Escaped(&mut xml.0).write_str(text);
        })
    }

    /// A document whose root element holds `contents`, made by [`Self::fragment`].
    pub fn document_around(root: &str, contents: &str) -> String {
        Self::document(root, |xml| xml.0.push_str(contents))
    }

    /// Elements without a root.
    pub fn fragment(write: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self(String::new());
        write(&mut xml);
        xml.0
    }

    /// An element that holds `contents`, made by [`Self::fragment`].
    pub fn element_around(&mut self, name: &str, contents: &str) {
        self.element(name, |xml| xml.0.push_str(contents));
    }

    /// An element that `write` fills.
    pub fn element(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.element_with(name, "", write);
    }

    /// An element holding text.
    pub fn text(&mut self, name: &str, text: impl Display) {
        self.element(name, |xml| {
            // Writing to a string cannot fail, and no text of ours does.
            let _ = write!(Escaped(&mut xml.0), "{text}");
        });
    }

    /// An element holding text, if there is any.
    pub fn optional(&mut self, name: &str, text: Option<impl Display>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn prolog() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned())
    }

    /// An element with attributes, written as they are: ` name="value"`.
    pub(super) fn element_with(&mut self, name: &str, attributes: &str, write: impl FnOnce(&mut Self)) {
        for piece in ["<", name, attributes, ">"] {
            self.0.push_str(piece);
        }
        write(self);
        for piece in ["</", name, ">"] {
            self.0.push_str(piece);
        }
    }
}

/// Escapes the text that is written to it.
struct Escaped<'x>(&'x mut String);

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let mut plain = 0;
        for (at, character) in text.char_indices().filter(|(_, character)| is_escaped(*character)) {
            self.0.push_str(&text[plain..at]);
            plain = at + character.len_utf8();
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // A bare CR would reach the client as LF; control characters are no XML 1.0 at all, and a client that
                // may meet them asks for encoding-type=url. As AWS does, they are written as references.
                '\r' => self.0.push_str("&#13;"),
                control => write!(self.0, "&#x{:x};", u32::from(control))?,
            }
        }
        self.0.push_str(&text[plain..]);
        Ok(())
    }
}

/// Whether a character is written in another way than as it is.
fn is_escaped(character: char) -> bool {
    matches!(character, '&' | '<' | '>' | '"' | '\r') || is_no_xml(character)
}

/// Whether a character may stand in no XML 1.0 document. (XML 1.0, section 2.2.)
fn is_no_xml(character: char) -> bool {
    (character < ' ' && character != '\t' && character != '\n') || matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// Reads a document whose root element is `root`. Unknown elements are ignored.
///
/// # Errors
/// `MalformedXML` for what is not well-formed, too deep, of another root, or not of `T`'s shape.
pub fn read<T: DeserializeOwned>(document: &[u8], root: &str) -> Result<T> {
    let text = std::str::from_utf8(document).map_err(|_| ErrorCode::MalformedXml)?;
    check_shape(text, root)?;
    quick_xml::de::from_str(text).map_err(|e| super::error::S3Error::from(ErrorCode::MalformedXml).because(e))
}

/// Reads a document of which AWS takes no more than it knows. `T` denies unknown fields, and so unknown elements; what
/// stands in attributes (namespaces, of which AWS reads none) it is not shown, save where one says of which type its element is.
///
/// # Errors
/// As [`read`].
pub fn read_strict<T: DeserializeOwned>(document: &[u8], root: &str) -> Result<T> {
    let text = std::str::from_utf8(document).map_err(|_| ErrorCode::MalformedXml)?;
    check_shape(text, root)?;
    let text = without_attributes(text).ok_or(ErrorCode::MalformedXml)?;
    quick_xml::de::from_str(&text).map_err(|e| super::error::S3Error::from(ErrorCode::MalformedXml).because(e))
}

/// The document with its elements' names alone in their tags.
fn without_attributes(text: &str) -> Option<Cow<'_, str>> {
    let mut reader = Reader::from_str(text);
    let (mut bare, mut copied, mut begin) = (String::new(), 0, 0);
    loop {
        let event = reader.read_event().ok()?;
        let end = usize::try_from(reader.buffer_position()).ok()?;
        match &event {
            // The kind of a grantee, which is read.
            Event::Start(tag) | Event::Empty(tag)
                if tag.attributes().flatten().any(|attribute| attribute.key.local_name().as_ref() == "type") => {}
            Event::Start(tag) | Event::Empty(tag) if tag.attributes().next().is_some() => {
                let closed = if matches!(event, Event::Empty(_)) { "/>" } else { ">" };
                for piece in [text.get(copied..begin)?, "<", tag.name().as_ref(), closed] {
                    bare.push_str(piece);
                }
                copied = end;
            }
            Event::Eof if copied == 0 => return Some(Cow::Borrowed(text)),
            Event::Eof => {
                bare.push_str(text.get(copied..)?);
                return Some(Cow::Owned(bare));
            }
            _ => {}
        }
        begin = end;
    }
}

/// Reads what [`XmlWriter::fragment`] wrote for the inside of `root`.
///
/// # Errors
/// As [`read`].
pub fn read_fragment<T: DeserializeOwned>(contents: &str, root: &str) -> Result<T> {
    read(format!("<{root}>{contents}</{root}>").as_bytes(), root)
}

/// Refuses document types (entities), deep nesting and another root before anything is built of the document.
fn check_shape(text: &str, root: &str) -> Result<()> {
    let mut reader = Reader::from_str(text);
    let (mut depth, mut seen_root) = (0usize, false);
    loop {
        let event = reader.read_event().map_err(|_| ErrorCode::MalformedXml)?;
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                if depth == 0 {
                    if seen_root || start.local_name().as_ref() != root {
                        return Err(ErrorCode::MalformedXml.into());
                    }
                    seen_root = true;
                }
                if matches!(event, Event::Start(_)) {
                    depth += 1;
                }
                if depth > MAX_DEPTH {
                    return Err(ErrorCode::MalformedXml.into());
                }
            }
            Event::End(_) => depth = depth.checked_sub(1).ok_or(ErrorCode::MalformedXml)?,
            Event::Eof if seen_root && depth == 0 => return Ok(()),
            Event::DocType(_) | Event::Eof => return Err(ErrorCode::MalformedXml.into()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Eq, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Delete {
        #[serde(default)]
        quiet: bool,
        #[serde(rename = "Object", default)]
        objects: Vec<Object>,
    }

    #[derive(Debug, Eq, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Object {
        key: String,
    }

    #[test]
    fn documents_are_escaped() {
        let xml = XmlWriter::document("A", |xml| {
            xml.text("B", "<&\">\r\u{1}é");
            xml.optional("C", None::<&str>);
        });
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <B>&lt;&amp;&quot;&gt;&#13;&#x1;é</B></A>"
        );
    }

    #[test]
    fn documents_are_read_whatever_their_namespace_and_order() {
        let document = br#"<?xml version="1.0"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Object><Key>a&amp;b</Key><Other/></Object><Quiet>true</Quiet><Object><Key>c</Key></Object></Delete>"#;
        let delete: Delete = read(document, "Delete").unwrap();
        let keys: Vec<_> = delete.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!((delete.quiet, keys), (true, vec!["a&b", "c"]));
    }

    #[derive(Debug, Eq, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Strict {
        quiet: Option<bool>,
        #[serde(rename = "Object")]
        objects: Vec<StrictObject>,
    }

    #[derive(Debug, Eq, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct StrictObject {
        key: String,
    }

    #[test]
    fn strict_documents_have_known_elements_alone() {
        let read = |document: &str| read_strict::<Strict>(document.as_bytes(), "Delete").map_err(|error| error.code);
        let one = || Ok(Strict { quiet: None, objects: vec![StrictObject { key: "a<b".to_owned() }] });
        for good in [
            "<Delete><Object><Key>a&lt;b</Key></Object></Delete>",
            "<?xml version=\"1.0\"?>\n<Delete xmlns=\"urn:x\">\n  <Object>\n <Key>a&lt;b</Key> </Object>\n</Delete>\n",
            "<Delete xmlns:i='u' i:a='>'><!-- c --><Object xmlns='y'><Key z=''>a<![CDATA[<]]>b</Key></Object></Delete>",
            "<d:Delete xmlns:d='u'><d:Object><d:Key>a&lt;b</d:Key></d:Object></d:Delete>",
        ] {
            assert_eq!(read(good), one(), "{good}");
        }
        for bad in [
            "<Delete><Object><Key>a</Key></Object><Foo/></Delete>",
            "<Delete xmlns='u'><Object><Key>a</Key><Foo>1</Foo></Object></Delete>",
            "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
            "<Delete><Quiet>true</Quiet><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>",
            "<Delete><Object/></Delete>",
            "<Delete><Quiet>true</Quiet></Delete>",
        ] {
            assert_eq!(read(bad), Err(ErrorCode::MalformedXml), "{bad}");
        }
    }

    #[test]
    fn bad_documents_are_malformed() {
        let deep = format!("<Delete>{}{}</Delete>", "<a>".repeat(40), "</a>".repeat(40));
        for bad in ["", "<Delete>", "<Other/>", "<Delete/><Delete/>", "<!DOCTYPE x []><Delete/>", "\u{1}", &deep] {
            assert_eq!(read::<Delete>(bad.as_bytes(), "Delete").unwrap_err().code, ErrorCode::MalformedXml, "{bad}");
        }
    }
}
