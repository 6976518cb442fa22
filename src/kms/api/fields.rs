//! The members of a JSON request, read into types. What they may be is judged before, by `constraints`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::{Failure, serialization};
use crate::clock::Timestamp;
use crate::kms::error::KmsErrorKind;
use crate::kms::{EncryptionContext, KeyRef};
use crate::wire::validation::{NOT_NULL, fault, told};

/// A request's members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'v>(&'v Map<String, Value>);

impl<'v> Fields<'v> {
    /// The members of `document`, which must be an object.
    pub fn new(document: &'v Value) -> Result<Self, Failure> {
        document.as_object().map(Self).ok_or_else(|| serialization("The request is not a JSON object"))
    }

    /// A text, if it is there.
    pub fn text(self, name: &str) -> Result<Option<&'v str>, Failure> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(mistyped(name)),
        }
    }

    /// A text that must be there.
    pub fn required_text(self, name: &str) -> Result<&'v str, Failure> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// A number, if it is there.
    pub fn number(self, name: &str) -> Result<Option<i64>, Failure> {
        match self.present(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| mistyped(name)),
        }
    }

    /// A time, if it is there: seconds since the Unix epoch.
    pub fn timestamp(self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let Some(value) = self.present(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.is_finite()).ok_or_else(|| mistyped(name))?;
        let since = SignedDuration::try_from_secs_f64(seconds).map_err(|_| mistyped(name))?;
        Timestamp::from_duration(since).map(Some).map_err(|_| mistyped(name))
    }

    /// A truth value; absent means false.
    pub fn flag(self, name: &str) -> Result<bool, Failure> {
        match self.present(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| mistyped(name)),
        }
    }

    /// Bytes in base64 that must be there.
    pub fn required_blob(self, name: &str) -> Result<Vec<u8>, Failure> {
        STANDARD.decode(self.required_text(name)?).map_err(|_| mistyped(name))
    }

    /// The key that must be named.
    pub fn key(self, name: &str) -> Result<KeyRef, Failure> {
        self.required_text(name).map(KeyRef::parse)
    }

    /// The key that may be named.
    pub fn optional_key(self, name: &str) -> Result<Option<KeyRef>, Failure> {
        Ok(self.text(name)?.map(KeyRef::parse))
    }

    /// An encryption context.
    pub fn context(self, name: &str) -> Result<EncryptionContext, Failure> {
        let Some(value) = self.present(name) else {
            return Ok(EncryptionContext::new());
        };
        let pairs = value.as_object().ok_or_else(|| mistyped(name))?;
        pairs
            .iter()
            .map(|(key, value)| Ok((key.clone(), value.as_str().ok_or_else(|| mistyped(name))?.to_owned())))
            .collect()
    }

    /// An object, if it is there.
    pub fn object(self, name: &str) -> Result<Option<Self>, Failure> {
        match self.present(name) {
            None => Ok(None),
            Some(value) => value.as_object().map(|members| Some(Self(members))).ok_or_else(|| mistyped(name)),
        }
    }

    /// The objects of a list; absent means none.
    pub fn objects(self, name: &str) -> Result<Vec<Self>, Failure> {
        match self.present(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_object().map(Self).ok_or_else(|| mistyped(name))).collect()
            }
            Some(_) => Err(mistyped(name)),
        }
    }

    /// The texts of a list; absent means none.
    pub fn texts(self, name: &str) -> Result<Vec<&'v str>, Failure> {
        match self.present(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().ok_or_else(|| mistyped(name))).collect(),
            Some(_) => Err(mistyped(name)),
        }
    }

    /// Whether the member is there and not null.
    pub fn has(self, name: &str) -> bool {
        self.present(name).is_some()
    }

    fn present(self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

/// An exception of the service, with AWS's text.
pub(super) fn refuse(kind: KmsErrorKind, message: impl Into<String>) -> Failure {
    kind.with(message).into()
}

fn missing(name: &str) -> Failure {
    refuse(KmsErrorKind::Validation, told(&[fault(Some("null"), name, NOT_NULL)]))
}

fn mistyped(name: &str) -> Failure {
    serialization(format!("The value of {name} is not of the expected type"))
}
