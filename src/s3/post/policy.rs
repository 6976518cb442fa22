//! The policy of a form: what its fields must be, and until when. (AWS: "Creating a POST policy".)

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::form::Fields;
use crate::clock::Timestamp;
use crate::s3::error::{ErrorCode, Result, S3Error};

/// Fields that no condition need name.
const EXEMPT: &[&str] = &["file", "policy", "x-amz-signature"];
/// The condition that no field answers, but where the form is sent.
const BUCKET: &str = "bucket";
/// What the names of further such fields begin with.
const EXEMPT_PREFIX: &str = "x-ignore-";

/// What a condition in an array may begin with.
const OPERATORS: &[&str] = &[EQUALS, STARTS_WITH, LENGTH];
const EQUALS: &str = "eq";
const STARTS_WITH: &str = "starts-with";
const LENGTH: &str = "content-length-range";

/// A policy, read.
#[derive(Debug)]
pub struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
    /// Bytes of the file, inclusive.
    length: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Condition {
    /// In lower case, without `$`.
    field: String,
    test: Test,
    /// As the refusal shows it.
    text: String,
}

#[derive(Debug)]
enum Test {
    Equals(String),
    StartsWith(String),
    /// It cannot be read, and so nothing meets it.
    Unreadable,
}

impl Policy {
    /// Reads base64 of a JSON document.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub fn parse(policy: &str) -> Result<Self> {
        let json = STANDARD.decode(policy.trim()).map_err(|_| invalid("Invalid Policy: Invalid Base64 encoding."))?;
        let document: Value = serde_json::from_slice(&json).map_err(|_| invalid("Invalid Policy: Invalid JSON."))?;
        let expiration =
            document.get("expiration").ok_or_else(|| invalid("Invalid Policy: Policy missing expiration."))?;
        let expiration = expiration.as_str().and_then(|text| text.parse().ok());
        let expiration = expiration.ok_or_else(|| invalid("Invalid Policy: Invalid 'expiration' value."))?;
        let conditions =
            document.get("conditions").ok_or_else(|| invalid("Invalid Policy: Policy missing conditions."))?;
        let conditions = conditions.as_array().ok_or_else(|| invalid("Invalid Policy: Invalid 'conditions' value."))?;
        let mut read = Self { expiration, conditions: Vec::new(), length: None };
        for condition in conditions {
            read.add(condition)?;
        }
        Ok(read)
    }

    /// How many bytes the file may have, at least and at most.
    pub fn length(&self) -> Option<(u64, u64)> {
        self.length
    }

    /// Holds the form against the policy, the file's length excepted.
    ///
    /// # Errors
    /// `AccessDenied`, naming the condition or the field.
    pub fn judge(&self, fields: &Fields, bucket: &str, now: Timestamp) -> Result<()> {
        let denied = |why: &str| S3Error::new(ErrorCode::AccessDenied, format!("Invalid according to Policy: {why}"));
        if now >= self.expiration {
            return Err(denied("Policy expired."));
        }
        for condition in &self.conditions {
            let holds = if condition.field == BUCKET {
                condition.holds(bucket)
            } else {
                // Of a field that comes several times, each value is used by somebody.
                let mut values = fields.values(&condition.field).peekable();
                values.peek().is_some() && values.all(|value| condition.holds(value))
            };
            if !holds {
                return Err(denied(&format!("Policy Condition failed: {}", condition.text)));
            }
        }
        // The bucket is in no field, and yet a policy that does not name it would serve all of its maker's.
        let covered = |name: &str| {
            EXEMPT.contains(&name)
                || name.starts_with(EXEMPT_PREFIX)
                || self.conditions.iter().any(|condition| condition.field == name)
        };
        match fields.names().chain([BUCKET]).find(|name| !covered(name)) {
            Some(extra) => Err(denied(&format!("Extra input fields: {extra}"))),
            None => Ok(()),
        }
    }

    /// Adds a condition: an object of one exact value, or an array of operator and operands.
    fn add(&mut self, condition: &Value) -> Result<()> {
        const NO_CONDITION: &str = "Invalid Policy: Invalid Condition.";
        if let Some(exact) = condition.as_object() {
            let Some((field, value)) = exact.iter().next().filter(|_| exact.len() == 1) else {
                return Err(invalid(
                    "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                ));
            };
            let no_text = || invalid("Invalid Policy: Invalid Simple-Condition: value must be a string.");
            let value = value.as_str().ok_or_else(no_text)?.to_owned();
            let text = shown(&[EQUALS.into(), format!("${field}").into(), value.as_str().into()]);
            let field = field.to_ascii_lowercase();
            self.conditions.push(Condition { field, test: Test::Equals(value), text });
            return Ok(());
        }
        let array = condition.as_array().ok_or_else(|| invalid(NO_CONDITION))?;
        let named = array.first().and_then(Value::as_str).ok_or_else(|| invalid(NO_CONDITION))?;
        let operator = named.to_ascii_lowercase();
        if !OPERATORS.contains(&operator.as_str()) {
            return Err(invalid(format!("Invalid Policy: Invalid Condition: unknown operation '{named}'.")));
        }
        let [_, first, second] = &array[..] else {
            return Err(invalid(format!("Invalid Policy: Invalid {named}: wrong number of arguments.")));
        };
        let text = shown(array);
        if operator == LENGTH {
            if [first, second].into_iter().any(|bound| bound.is_number() && !bound.is_u64()) {
                return Err(invalid(NO_CONDITION));
            }
            if let (Some(least), Some(most)) = (number(first), number(second)) {
                // Of several ranges, all hold.
                let (low, high) = self.length.unwrap_or((0, u64::MAX));
                self.length = Some((low.max(least), high.min(most)));
                return Ok(());
            }
        }
        let field = first.as_str().and_then(|field| field.strip_prefix('$')).map(str::to_ascii_lowercase);
        let condition = match (field, second.as_str().map(str::to_owned)) {
            (Some(field), Some(value)) if operator == EQUALS => Condition { field, test: Test::Equals(value), text },
            (Some(field), Some(value)) if operator == STARTS_WITH => {
                Condition { field, test: Test::StartsWith(value), text }
            }
            // AWS signs up to what it cannot read, and refuses each form by it.
            _ => Condition { field: String::new(), test: Test::Unreadable, text },
        };
        self.conditions.push(condition);
        Ok(())
    }
}

/// A condition as AWS shows it, whatever blanks its document has.
fn shown(condition: &[Value]) -> String {
    let elements: Vec<String> = condition.iter().map(Value::to_string).collect();
    format!("[{}]", elements.join(", "))
}

fn invalid(what: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::new(ErrorCode::InvalidPolicyDocument, what)
}

impl Condition {
    fn holds(&self, value: &str) -> bool {
        match &self.test {
            Test::Equals(expected) => value == expected,
            // A list of content types is good if each of them is.
            Test::StartsWith(prefix) if self.field == "content-type" => {
                value.split(',').all(|value| value.trim().starts_with(prefix))
            }
            Test::StartsWith(prefix) => value.starts_with(prefix),
            Test::Unreadable => false,
        }
    }
}

/// A number, which some clients write as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::from_millis;

    fn policy(conditions: &str) -> Result<Policy> {
        Policy::parse(
            &STANDARD.encode(format!(r#"{{"expiration":"2030-01-01T00:00:00.000Z","conditions":{conditions}}}"#)),
        )
    }

    fn judge(conditions: &str, fields: &[(&str, &str)]) -> Result<(), String> {
        let fields = Fields::of(fields);
        let own = conditions.strip_prefix('[').unwrap();
        let named = [r#"[{"bucket":"b"}"#, if own == "]" { "" } else { "," }, own].concat();
        let judged = policy(&named).unwrap().judge(&fields, "b", from_millis(0));
        judged.map_err(|error| error.message.into_owned())
    }

    #[test]
    fn each_kind_of_condition() {
        let key = |value| [("key", value)];
        assert_eq!(judge(r#"[{"bucket":"b"},{"Key":"k"}]"#, &key("k")), Ok(()));
        assert_eq!(judge(r#"[["eq","$key","k"]]"#, &key("k")), Ok(()));
        assert_eq!(judge(r#"[["Starts-With","$Key","u/"]]"#, &key("u/k")), Ok(()));
        assert_eq!(judge(r#"[["starts-with","$key",""]]"#, &key("")), Ok(()));
        let failed = |text: &str| Err(format!("Invalid according to Policy: Policy Condition failed: {text}"));
        assert_eq!(judge(r#"[{"key":"k"}]"#, &key("l")), failed(r#"["eq", "$key", "k"]"#));
        assert_eq!(judge(r#"[["starts-with","$key","u/"]]"#, &key("v/k")), failed(r#"["starts-with", "$key", "u/"]"#));
        assert_eq!(judge(r#"[{"bucket":"c"},{"key":"k"}]"#, &key("k")), failed(r#"["eq", "$bucket", "c"]"#));
        assert_eq!(judge(r#"[["starts-with","$bucket",""],{"key":"k"}]"#, &key("k")), Ok(()));
        assert_eq!(judge(r#"[{"key":"k"},{"acl":"private"}]"#, &key("k")), failed(r#"["eq", "$acl", "private"]"#));
    }

    #[test]
    fn conditions_that_cannot_be_read_are_not_met() {
        let failed = |text: &str| Err(format!("Invalid according to Policy: Policy Condition failed: {text}"));
        for (condition, text) in [
            (r#"["eq","key","k"]"#, r#"["eq", "key", "k"]"#),
            (r#"["eq","$key",1]"#, r#"["eq", "$key", 1]"#),
            (r#"["starts-with",1,"k"]"#, r#"["starts-with", 1, "k"]"#),
            (r#"["content-length-range","test","10"]"#, r#"["content-length-range", "test", "10"]"#),
        ] {
            assert_eq!(judge(&format!(r#"[{{"key":"k"}},{condition}]"#), &[("key", "k")]), failed(text));
        }
    }

    #[test]
    fn each_value_of_a_field_is_held_against_the_policy() {
        let rule = r#"[{"key":"k"},{"x-amz-meta-a":"1"}]"#;
        let failed = r#"Invalid according to Policy: Policy Condition failed: ["eq", "$x-amz-meta-a", "1"]"#;
        let once = [("key", "k"), ("x-amz-meta-a", "1")];
        assert_eq!(judge(rule, &once), Ok(()));
        assert_eq!(judge(rule, &[&once[..], &[("x-amz-meta-a", "1")]].concat()), Ok(()));
        assert_eq!(judge(rule, &[&once[..], &[("x-amz-meta-a", "2")]].concat()), Err(failed.to_owned()));
    }

    #[test]
    fn content_types_may_be_several() {
        let rule = r#"[["starts-with","$Content-Type","image/"]]"#;
        assert_eq!(judge(rule, &[("content-type", "image/png, image/gif")]), Ok(()));
        assert!(judge(rule, &[("content-type", "image/png,text/html")]).is_err());
    }

    #[test]
    fn every_field_must_be_covered() {
        let extra = |name: &str| Err(format!("Invalid according to Policy: Extra input fields: {name}"));
        let covered = r#"[["starts-with","$key",""]]"#;
        assert_eq!(
            judge(covered, &[("key", "k"), ("x-amz-server-side-encryption", "aws:kms")]),
            extra("x-amz-server-side-encryption")
        );
        assert_eq!(
            judge(covered, &[("key", "k"), ("x-ignore-me", "1"), ("policy", "p"), ("x-amz-signature", "s")]),
            Ok(())
        );
    }

    #[test]
    fn the_bucket_must_be_covered() {
        let judged = policy(r#"[{"key":"k"}]"#).unwrap().judge(&Fields::of(&[("key", "k")]), "b", from_millis(0));
        assert_eq!(judged.unwrap_err().message, "Invalid according to Policy: Extra input fields: bucket");
    }

    #[test]
    fn lengths_and_times() {
        assert_eq!(policy(r#"[["content-length-range",1,10]]"#).unwrap().length(), Some((1, 10)));
        assert_eq!(
            policy(r#"[["content-length-range","1","10"],["content-length-range",5,20]]"#).unwrap().length(),
            Some((5, 10))
        );
        assert_eq!(policy("[]").unwrap().length(), None);
        let expired = policy("[]").unwrap().judge(&Fields::of(&[]), "b", from_millis(1_893_456_000_000));
        assert_eq!(expired.unwrap_err().message, "Invalid according to Policy: Policy expired.");
    }

    #[test]
    fn what_is_no_policy() {
        for bad in [
            "[1]",
            "{}",
            r#"[["matches","$key","k"]]"#,
            r#"[["eq","$key"]]"#,
            r#"[{"key":1}]"#,
            r#"[["content-length-range",-1,10]]"#,
            r#"["key"]"#,
            "[{}]",
            r#"[{"key":"k","acl":"private"}]"#,
        ] {
            assert_eq!(policy(bad).unwrap_err().code, ErrorCode::InvalidPolicyDocument, "{bad}");
        }
        let message = |conditions| policy(conditions).unwrap_err().message;
        let one =
            "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.";
        assert_eq!(message(r#"[{"key":"k","acl":"private"}]"#), one);
        assert_eq!(
            message(r#"[["Matches","$key","k"]]"#),
            "Invalid Policy: Invalid Condition: unknown operation 'Matches'."
        );
        assert_eq!(message(r#"[["eq","$key"]]"#), "Invalid Policy: Invalid eq: wrong number of arguments.");
        for bad in ["%", "", "e30=", "bm90IGpzb24="] {
            assert_eq!(Policy::parse(bad).unwrap_err().code, ErrorCode::InvalidPolicyDocument, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_reader(text in ".*") {
            let _ = Policy::parse(&text);
            let _ = Policy::parse(&STANDARD.encode(&text));
            let _ = policy(&text);
        }

        #[test]
        fn a_policy_of_a_forms_own_values_holds(fields in prop::collection::hash_map("[a-z-]{1,12}", ".{0,20}", 0..8)) {
            let pairs: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).filter(|(k, _)| *k != "bucket").collect();
            let conditions: Vec<Value> = pairs.iter().map(|(k, v)| serde_json::json!({ *k: v })).collect();
            prop_assert_eq!(judge(&Value::Array(conditions).to_string(), &pairs), Ok(()));
        }
    }
}
