//! XML: a small streaming writer, and a bounded reader for the documents that clients send.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use quick_xml::Reader;
use quick_xml::events::attributes::AttrError;
use quick_xml::events::{BytesStart, Event};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{ErrorCode, Result};
use crate::clock::{from_millis, iso8601};

/// The namespace of S3's documents.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// What some editors begin a file of UTF-8 with.
const BYTE_ORDER_MARK: char = '\u{feff}';
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
        let document = Self::document(root, |xml| {
            let _ = Escaped(&mut xml.0).write_str(text);
        });
        // Without any it is one tag, as from AWS. (Recorded there, `test_response_structure_get_bucket_location`.)
        match document.strip_suffix(&format!("></{root}>")) {
            Some(start) if text.is_empty() => format!("{start}/>"),
            _ => document,
        }
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

    /// An element holding a time, given in milliseconds since the Unix epoch and shown to the second:
    /// `2006-02-03T16:45:09.000Z`.
    pub fn time(&mut self, name: &str, millis: i64) {
        self.text(name, iso8601(from_millis(millis.saturating_sub(millis.rem_euclid(1000)))));
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

/// An element that says all by being there: nothing is in it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Reads a document whose root element is `root`.
///
/// AWS takes no element that its schema does not know, as what is passed by in silence may be what mattered. So the shape of
/// what a client sends, and of all that is in it, denies unknown fields. What other servers answer may hold more than is read.
///
/// # Errors
/// `MalformedXML` for what is not well-formed, too deep, of another root, or not of `T`'s shape.
pub fn read<T: DeserializeOwned>(document: &[u8], root: &str) -> Result<T> {
    let text = decoded(document).ok_or(ErrorCode::MalformedXml)?;
    let bare = without_attributes(&text, root).ok_or(ErrorCode::MalformedXml)?;
    quick_xml::de::from_str(&bare).map_err(|e| super::error::S3Error::from(ErrorCode::MalformedXml).because(e))
}

/// A document's text, without a byte order mark. It is in UTF-8, or in UTF-16 where a mark or the first character says so.
/// (XML 1.0, section 4.3.3 and appendix F.)
pub(super) fn decoded(document: &[u8]) -> Option<Cow<'_, str>> {
    let (unit, encoded): (fn([u8; 2]) -> u16, _) = match document {
        [0xfe, 0xff, encoded @ ..] => (u16::from_be_bytes, encoded),
        [0xff, 0xfe, encoded @ ..] => (u16::from_le_bytes, encoded),
        [0, b'<', ..] => (u16::from_be_bytes, document),
        [b'<', 0, ..] => (u16::from_le_bytes, document),
        _ => {
            let text = std::str::from_utf8(document).ok()?;
            return Some(Cow::Borrowed(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)));
        }
    };
    let (units, []) = encoded.as_chunks::<2>() else { return None };
    let text: Result<String, _> = char::decode_utf16(units.iter().copied().map(unit)).collect();
    Some(Cow::Owned(text.ok()?))
}

/// Reads what [`XmlWriter::fragment`] wrote for the inside of `root`.
///
/// # Errors
/// As [`read`].
pub fn read_fragment<T: DeserializeOwned>(contents: &str, root: &str) -> Result<T> {
    read(format!("<{root}>{contents}</{root}>").as_bytes(), root)
}

/// The document with its elements' names alone in their tags, so that no shape is shown what AWS does not read: namespaces, and
/// whatever else stands in attributes, save the type of a grantee.
///
/// `None` for document types (entities), deep nesting, another root, or text beside it: nothing is built of such a document.
fn without_attributes<'t>(text: &'t str, root: &str) -> Option<Cow<'t, str>> {
    let mut reader = Reader::from_str(text);
    let (mut depth, mut seen_root) = (0usize, false);
    let (mut bare, mut copied, mut begin) = (String::new(), 0, 0);
    loop {
        let event = reader.read_event().ok()?;
        let end = usize::try_from(reader.buffer_position()).ok()?;
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                if depth == 0 && (seen_root || tag.local_name().as_ref() != root) {
                    return None;
                }
                seen_root = true;
                let is_empty = matches!(event, Event::Empty(_));
                depth += usize::from(!is_empty);
                if depth > MAX_DEPTH {
                    return None;
                }
                if !tag.attributes_raw().trim_ascii().is_empty() {
                    for piece in [text.get(copied..begin)?, "<", tag.name().as_ref()] {
                        bare.push_str(piece);
                    }
                    if let Some(kind) = type_of(tag).ok()? {
                        for piece in [" type=\"", &kind, "\""] {
                            bare.push_str(piece);
                        }
                    }
                    bare.push_str(if is_empty { "/>" } else { ">" });
                    copied = end;
                }
            }
            Event::End(_) => depth = depth.checked_sub(1)?,
            Event::Text(outside) if depth == 0 && !outside.trim_ascii().is_empty() => return None,
            Event::CData(_) | Event::GeneralRef(_) if depth == 0 => return None,
            Event::DocType(_) => return None,
            Event::Eof if !seen_root || depth > 0 => return None,
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

/// The type that a grantee says it is of, as it stands there.
fn type_of(tag: &BytesStart<'_>) -> Result<Option<String>, AttrError> {
    let mut kind = None;
    for attribute in tag.attributes() {
        let attribute = attribute?;
        if tag.local_name().as_ref() == "Grantee" && attribute.key.local_name().as_ref() == "type" {
            kind = Some(attribute.value.into_owned()).filter(|kind| !kind.contains('"'));
        }
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Eq, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Delete {
        quiet: Option<bool>,
        #[serde(rename = "Object")]
        objects: Vec<Object>,
    }

    #[derive(Debug, Eq, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Object {
        key: String,
    }

    #[test]
    fn times_are_shown_to_the_second_however_far() {
        let time = |millis| XmlWriter::fragment(|xml| xml.time("T", millis));
        assert_eq!(time(1_999), "<T>1970-01-01T00:00:01.000Z</T>");
        assert_eq!(time(-1), "<T>1969-12-31T23:59:59.000Z</T>");
        for far in [i64::MIN, i64::MAX] {
            assert!(time(far).ends_with("</T>"));
        }
    }

    #[test]
    fn a_root_without_text_is_one_tag() {
        let root = |text| XmlWriter::document_with_text("A", text);
        assert!(root("").ends_with(&format!("<A xmlns=\"{NAMESPACE}\"/>")), "{}", root(""));
        assert!(root("b").ends_with(">b</A>"));
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
            <Object><Key>a&amp;b</Key></Object><Quiet>true</Quiet><Object><Key>c</Key></Object></Delete>"#;
        let delete: Delete = read(document, "Delete").unwrap();
        let keys: Vec<_> = delete.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!((delete.quiet, keys), (Some(true), vec!["a&b", "c"]));
    }

    #[test]
    fn documents_are_in_utf_8_or_in_utf_16() {
        let text =
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?><Delete><Object><Key>schlüssel 🔑</Key></Object></Delete>";
        let encoded = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let read = |document: &[u8]| read::<Delete>(document, "Delete").map_err(|error| error.code);
        let one = || Ok(Delete { quiet: None, objects: vec![Object { key: "schlüssel 🔑".to_owned() }] });
        let marked = format!("{BYTE_ORDER_MARK}{text}");
        let bare = text.split_once("?>").unwrap().1;
        for text in [text, &marked, bare] {
            for bytes in [u16::to_be_bytes, u16::to_le_bytes] {
                assert_eq!(read(&encoded(text, bytes)), one(), "{text}");
            }
        }
        let malformed = Err(ErrorCode::MalformedXml);
        let document = encoded(&marked, u16::to_le_bytes);
        assert_eq!(read(&document[..document.len() - 1]), malformed);
        assert_eq!(read(&[&document[..], b">"].concat()), malformed);
        // Half of a pair, and characters in an encoding that nobody need read.
        let half = [&encoded("<Delete><Object><Key>", u16::to_be_bytes)[..], &[0xd8, 0x3d], &[0, b'<']].concat();
        assert_eq!(read(&half), malformed);
        assert_eq!(
            read(b"<?xml version='1.0' encoding='ISO-8859-1'?><Delete><Object><Key>\xe9</Key></Object></Delete>"),
            malformed
        );
    }

    #[test]
    fn documents_have_known_elements_alone() {
        let read = |document: &str| read::<Delete>(document.as_bytes(), "Delete").map_err(|error| error.code);
        let one = || Ok(Delete { quiet: None, objects: vec![Object { key: "a<b".to_owned() }] });
        for good in [
            "<Delete><Object><Key>a&lt;b</Key></Object></Delete>",
            "\u{feff}<?xml version=\"1.0\"?>\n<Delete xmlns=\"urn:x\">\n  <Object>\n <Key>a&lt;b</Key> </Object>\n</Delete>\n",
            "<Delete xmlns:i='u' i:a='>'><!-- c --><Object xmlns='y'><Key z=''>a<![CDATA[<]]>b</Key></Object></Delete>",
            "<d:Delete xmlns:d='u'><d:Object><d:Key>a&lt;b</d:Key></d:Object></d:Delete>",
            "<Delete ><Object\n><Key i:type='Grantee' xmlns:i='u'>a&#60;b</Key></Object></Delete><!-- end --><?pi?>",
        ] {
            assert_eq!(read(good), one(), "{good}");
        }
        for bad in [
            "<Delete><Object><Key>a</Key></Object><Foo/></Delete>",
            "<Delete xmlns='u'><Object><Key>a</Key><Foo>1</Foo></Object></Delete>",
            "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
            "<Delete><Object><Key>a<Foo/></Key></Object></Delete>",
            "<Delete><Object>text<Key>a</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key></Object><![CDATA[text]]></Delete>",
            "<Delete><Quiet>true</Quiet><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>",
            "<Delete><Object/></Delete>",
            "<Delete><Quiet>true</Quiet></Delete>",
            "<Delete><Object><Key>a</Key></Object></Delete>text",
            "<Delete><Object><Key>a</Key></Object></Delete>&amp;",
            "text<Delete><Object><Key>a</Key></Object></Delete>",
            "<Delete a><Object><Key>a</Key></Object></Delete>",
            "<Delete a='1' a='1'><Object><Key>a</Key></Object></Delete>",
        ] {
            assert_eq!(read(bad), Err(ErrorCode::MalformedXml), "{bad}");
        }
    }

    #[test]
    fn nothing_is_in_what_is_empty() {
        let read = |document: &str| read::<Empty>(document.as_bytes(), "E").map(drop).map_err(|error| error.code);
        for good in ["<E/>", "<E></E>", "<E xmlns='u'>\n<!-- c --></E>"] {
            assert_eq!(read(good), Ok(()), "{good}");
        }
        for bad in ["<E><Foo/></E>", "<E>text</E>"] {
            assert_eq!(read(bad), Err(ErrorCode::MalformedXml), "{bad}");
        }
    }

    #[test]
    fn a_grantee_keeps_its_type_alone() {
        #[derive(Debug, Deserialize, Eq, PartialEq)]
        #[serde(deny_unknown_fields)]
        struct Grant {
            #[serde(rename = "Grantee")]
            grantee: Grantee,
        }
        #[derive(Debug, Deserialize, Eq, PartialEq)]
        #[serde(deny_unknown_fields)]
        struct Grantee {
            #[serde(rename = "@type")]
            kind: Option<String>,
        }
        let read = |attributes: &str| {
            let document = format!("<Grant><Grantee {attributes}/></Grant>");
            read::<Grant>(document.as_bytes(), "Grant").map(|grant| grant.grantee.kind).map_err(|error| error.code)
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("xmlns:xsi='u' xsi:type='a&amp;b' other='c'"), Ok(Some("a&b".to_owned())));
        assert_eq!(read("type=\"Group\""), Ok(Some("Group".to_owned())));
        assert_eq!(read("type='a\" other=\"b'"), Ok(None));
        assert_eq!(read("type"), Err(ErrorCode::MalformedXml));
    }

    #[test]
    fn bad_documents_are_malformed() {
        let deep = format!("<Delete>{}{}</Delete>", "<a>".repeat(40), "</a>".repeat(40));
        for bad in ["", "<Delete>", "<Other/>", "<Delete/><Delete/>", "<!DOCTYPE x []><Delete/>", "\u{1}", &deep] {
            assert_eq!(read::<Delete>(bad.as_bytes(), "Delete").unwrap_err().code, ErrorCode::MalformedXml, "{bad}");
        }
    }
}
