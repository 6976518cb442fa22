//! Reads a configuration from TOML, so that whatever is refused is refused with its place in the file.
//!
//! A serde deserializer of our own over TOML's spanned values: serde then reports unknown keys and wrong types as data
//! rather than as text, and each error takes the place of the key or value that it passes.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How alike (Jaro-Winkler, 0 to 1) a known key must be to be offered for an unknown one.
const ALIKE: f64 = 0.8;

/// What was refused, and where.
#[derive(Debug)]
pub(super) struct Refusal {
    span: Option<Range<usize>>,
    key: Option<String>,
    problem: String,
}

impl Refusal {
    fn new(problem: String) -> Self {
        Self { span: None, key: None, problem }
    }

    /// The line of the place, from 1.
    pub(super) fn line(&self, text: &str) -> usize {
        let start = self.span.as_ref().map_or(0, |span| span.start);
        text.get(..start).map_or(0, |before| before.matches('\n').count()) + 1
    }

    fn at(mut self, span: Range<usize>) -> Self {
        self.span.get_or_insert(span);
        self
    }

    fn named(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::new(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}, found {}", wanted(&expected.to_string()), kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        let (last, others) = known.split_last().unwrap_or((&"nothing", &[]));
        let others = others.join(", ");
        let or = if others.is_empty() { "" } else { " or " };
        Self::new(format!("expected {others}{or}{last}"))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let nearest = known
            .iter()
            .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness >= ALIKE);
        Self::new(match nearest {
            Some((_, candidate)) => format!("unknown key '{key}'; did you mean '{candidate}'?"),
            None => format!("unknown key '{key}'; known here: {}", known.join(", ")),
        })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(format!("missing key '{key}'"))
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(format!("the key '{key}' is given twice"))
    }
}

/// What is expected, in an operator's words: serde names types of Rust.
fn wanted(expected: &str) -> String {
    match expected {
        "u16" => format!("an integer from 0 to {}", u16::MAX),
        "u32" => format!("an integer from 0 to {}", u32::MAX),
        "u64" => format!("an integer from 0 to {}", i64::MAX),
        "a sequence" => "an array".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// What a value is, without showing text: it may be a secret.
fn kind(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(_) => "a string".to_owned(),
        Unexpected::Unsigned(number) => format!("the integer {number}"),
        Unexpected::Signed(number) => format!("the integer {number}"),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Reads `text` as a `T`.
pub(super) fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Refusal> {
    let document = DeTable::parse(text).map_err(|error| Refusal {
        span: error.span(),
        key: None,
        problem: error.message().replace('\n', ", "),
    })?;
    let span = document.span();
    T::deserialize(Value(Spanned::new(span, DeValue::Table(document.into_inner()))))
}

struct Value<'de>(Spanned<DeValue<'de>>);

impl<'de> de::Deserializer<'de> for Value<'de> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let span = self.0.span();
        let read = match self.0.into_inner() {
            DeValue::String(text) => visitor.visit_str(&text),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(Refusal::new("the integer is too large".to_owned())),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Refusal::new("not a number".to_owned())),
            },
            DeValue::Boolean(flag) => visitor.visit_bool(flag),
            DeValue::Datetime(at) => visitor.visit_string(at.to_string()),
            DeValue::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            DeValue::Table(table) => visitor.visit_map(Entries { entries: table.into_iter(), value: None }),
        };
        read.map_err(|refusal| refusal.at(span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let span = self.0.span();
        match self.0.into_inner() {
            DeValue::String(text) => visitor.visit_enum(text.as_ref().into_deserializer()),
            other => Err(Refusal::new(format!("expected a string, found {}", other.type_str()))),
        }
        .map_err(|refusal: Refusal| refusal.at(span))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<I>(I);

impl<'de, I: Iterator<Item = Spanned<DeValue<'de>>>> de::SeqAccess<'de> for Items<I> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let Some(item) = self.0.next() else {
            return Ok(None);
        };
        let span = item.span();
        seed.deserialize(Value(item)).map(Some).map_err(|refusal| refusal.at(span))
    }
}

type Entry<'de> = (Spanned<std::borrow::Cow<'de, str>>, Spanned<DeValue<'de>>);

struct Entries<'de, I> {
    entries: I,
    value: Option<Entry<'de>>,
}

impl<'de, I: Iterator<Item = Entry<'de>>> de::MapAccess<'de> for Entries<'de, I> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        let key: &str = entry.0.get_ref();
        let read = seed.deserialize(key.into_deserializer()).map_err(|refusal: Refusal| refusal.at(entry.0.span()));
        self.value = Some(entry);
        read.map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let (key, value) = self.value.take().ok_or_else(|| Refusal::new("a value without a key".to_owned()))?;
        let span = value.span();
        // Refusals inside a table, or tables in an array, are about a key of that, and have its place already.
        let is_table = |value: &DeValue<'_>| matches!(value, DeValue::Table(_));
        let nested = match value.get_ref() {
            DeValue::Array(items) => items.iter().any(|item| is_table(item.get_ref())),
            other => is_table(other),
        };
        seed.deserialize(Value(value)).map_err(|refusal| {
            let refusal = refusal.at(span);
            if nested || refusal.key.is_some() { refusal } else { refusal.named(key.get_ref()) }
        })
    }
}
