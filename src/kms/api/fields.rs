//! The members of a JSON request, read into types with the answers that AWS's own validation gives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::{Failure, serialization};
use crate::clock::Timestamp;
use crate::kms::error::KmsErrorKind;
use crate::kms::{EncryptionContext, KeyRef};

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

    /// A text that must be there, of 1 to `most` characters.
    pub fn required_text(self, name: &str, most: usize) -> Result<&'v str, Failure> {
        let text = self.text(name)?.ok_or_else(|| missing(name))?;
        check_length(name, text, text.chars().count(), 1, most)?;
        Ok(text)
    }

    /// A number, if it is there.
    pub fn number(self, name: &str) -> Result<Option<i64>, Failure> {
        match self.present(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| mistyped(name)),
        }
    }

    /// A number within bounds, if it is there.
    pub fn bounded(self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Failure> {
        let number = self.number(name)?;
        match number {
            Some(number) if number < least => Err(invalid(
                name,
                &number.to_string(),
                &format!("Member must have value greater than or equal to {least}"),
            )),
            Some(number) if number > most => {
                Err(invalid(name, &number.to_string(), &format!("Member must have value less than or equal to {most}")))
            }
            number => Ok(number),
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

    /// Bytes in base64 that must be there, 1 to `most` of them.
    pub fn required_blob(self, name: &str, most: usize) -> Result<Vec<u8>, Failure> {
        let text = self.text(name)?.ok_or_else(|| missing(name))?;
        let blob = STANDARD.decode(text).map_err(|_| mistyped(name))?;
        // AWS does not repeat sensitive members.
        let bound = if blob.is_empty() {
            "greater than or equal to 1"
        } else if blob.len() > most {
            return Err(too_long(name, most));
        } else {
            return Ok(blob);
        };
        Err(refuse(
            KmsErrorKind::Validation,
            format!(
                "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must have length {bound}",
                lower_first(name)
            ),
        ))
    }

    /// The key that must be named.
    pub fn key(self, name: &str) -> Result<KeyRef, Failure> {
        self.required_text(name, 2048).map(KeyRef::parse)
    }

    /// The key that may be named.
    pub fn optional_key(self, name: &str) -> Result<Option<KeyRef>, Failure> {
        if self.text(name)?.is_none() { Ok(None) } else { self.key(name).map(Some) }
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

    /// The texts of a list, each of 1 to `most` characters; absent means none.
    pub fn bounded_texts(self, name: &str, most: usize) -> Result<Vec<&'v str>, Failure> {
        let texts = self.texts(name)?;
        if texts.iter().all(|text| (1..=most).contains(&text.chars().count())) {
            return Ok(texts);
        }
        let constraint = format!(
            "Member must satisfy constraint: [Member must have length less than or equal to {most}, Member must have \
             length greater than or equal to 1]"
        );
        Err(invalid(name, &format!("[{}]", texts.join(", ")), &constraint))
    }

    /// A text of `least` to `most` characters that must be there, in an item of a list that is called `item` in refusals.
    pub fn text_of_item(self, item: &str, name: &str, (least, most): (usize, usize)) -> Result<&'v str, Failure> {
        let path = format!("{item}.member.{}", lower_first(name));
        let text = self.text(name)?.ok_or_else(|| missing(&path))?;
        check_length(&path, text, text.chars().count(), least, most)?;
        Ok(text)
    }

    /// The grant tokens of a request, ten at most.
    pub fn grant_tokens(self) -> Result<Vec<&'v str>, Failure> {
        let tokens = self.bounded_texts("GrantTokens", 8192)?;
        if tokens.len() > 10 {
            return Err(too_long("GrantTokens", 10));
        }
        Ok(tokens)
    }

    /// A member that must be there, of whatever type.
    pub fn required(self, name: &str) -> Result<(), Failure> {
        self.present(name).map(drop).ok_or_else(|| missing(name))
    }

    /// A member that must be one of `allowed`, if it is there.
    pub fn choice(self, name: &str, allowed: &[&str]) -> Result<Option<&'v str>, Failure> {
        match self.text(name)? {
            Some(text) if !allowed.contains(&text) => {
                Err(invalid(name, text, &format!("Member must satisfy enum value set: [{}]", allowed.join(", "))))
            }
            text => Ok(text),
        }
    }

    /// A member that must be there and one of `allowed`.
    pub fn required_choice(self, name: &str, allowed: &[&str]) -> Result<&'v str, Failure> {
        self.choice(name, allowed)?.ok_or_else(|| missing(name))
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

/// `ValidationException` for a text whose length is out of bounds.
pub(super) fn check_length(name: &str, value: &str, length: usize, least: usize, most: usize) -> Result<(), Failure> {
    if length < least {
        return Err(invalid(name, value, &format!("Member must have length greater than or equal to {least}")));
    }
    if length > most {
        return Err(invalid(name, value, &format!("Member must have length less than or equal to {most}")));
    }
    Ok(())
}

/// `ValidationException` as AWS's validation words it.
pub(super) fn invalid(name: &str, value: &str, constraint: &str) -> Failure {
    refuse(
        KmsErrorKind::Validation,
        format!(
            "1 validation error detected: Value '{value}' at '{}' failed to satisfy constraint: {constraint}",
            lower_first(name)
        ),
    )
}

fn too_long(name: &str, most: usize) -> Failure {
    refuse(
        KmsErrorKind::Validation,
        format!(
            "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must have length less than or \
         equal to {most}",
            lower_first(name)
        ),
    )
}

fn missing(name: &str) -> Failure {
    refuse(
        KmsErrorKind::Validation,
        format!(
            "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null",
            lower_first(name)
        ),
    )
}

fn mistyped(name: &str) -> Failure {
    serialization(format!("The value of {name} is not of the expected type"))
}

/// A member's name as AWS's validation and CloudTrail show it: with a lower-case first letter.
pub(super) fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refusals_are_worded_as_aws_words_them() {
        let document = json!({"NumberOfBytes": 0, "Plaintext": STANDARD.encode([0; 4097]), "KeyId": ""});
        let fields = Fields::new(&document).unwrap();
        assert_eq!(
            fields.bounded("NumberOfBytes", 1, 1024).unwrap_err().message,
            "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have \
             value greater than or equal to 1"
        );
        assert_eq!(
            fields.required_blob("Plaintext", 4096).unwrap_err().message,
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length \
             less than or equal to 4096"
        );
        assert_eq!(
            fields.key("TargetKeyId").unwrap_err().message,
            "1 validation error detected: Value null at 'targetKeyId' failed to satisfy constraint: Member must not be null"
        );
        assert_eq!(
            fields.key("KeyId").unwrap_err().message,
            "1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length \
             greater than or equal to 1"
        );
    }
}
