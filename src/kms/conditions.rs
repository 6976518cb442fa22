//! What a request brings to the conditions of policies, beside its caller and its key: where it came from, and its own
//! parameters. (Service authorization reference, "Condition keys for AWS KMS".)

use std::borrow::Cow;

use crate::policy::{Context, Found};

/// The values of condition keys that a request has by itself.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ConditionValues(Vec<Entry>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Entry {
    /// The IAM action that has it; `None`: every action of the request.
    action: Option<&'static str>,
    /// In lower case.
    key: Cow<'static, str>,
    value: Value,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Value {
    One(String),
    Many(Vec<String>),
}

impl ConditionValues {
    /// Gives `key`, in lower case, one value.
    pub fn insert(&mut self, action: Option<&'static str>, key: impl Into<Cow<'static, str>>, value: String) {
        self.0.push(Entry { action, key: key.into(), value: Value::One(value) });
    }

    /// Gives a multivalued key its values.
    pub fn insert_all(&mut self, action: Option<&'static str>, key: impl Into<Cow<'static, str>>, values: Vec<String>) {
        self.0.push(Entry { action, key: key.into(), value: Value::Many(values) });
    }

    /// The values of `key`, in lower case, as `action` has them.
    pub fn find(&self, action: &str, key: &str) -> Found<'_> {
        let is_asked = |entry: &&Entry| entry.key == key && entry.action.is_none_or(|only| only == action);
        match self.0.iter().find(is_asked).map(|entry| &entry.value) {
            None => Found::None,
            Some(Value::One(value)) => Found::One(value.as_str().into()),
            Some(Value::Many(values)) => Found::Many(values.iter().map(|value| value.as_str().into()).collect()),
        }
    }

    /// The values as `action` has them.
    pub fn of<'v>(&'v self, action: &'v str) -> OfAction<'v> {
        OfAction { values: self, action }
    }
}

/// The values that one action of a request has.
#[derive(Clone, Copy, Debug)]
pub struct OfAction<'v> {
    values: &'v ConditionValues,
    action: &'v str,
}

impl Context for OfAction<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        self.values.find(self.action, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_finds_its_own() {
        let mut values = ConditionValues::default();
        values.insert(None, "aws:sourceip", "192.0.2.1".to_owned());
        values.insert(Some("kms:ReEncryptFrom"), "kms:encryptionalgorithm", "A".to_owned());
        values.insert(Some("kms:ReEncryptTo"), "kms:encryptionalgorithm", "B".to_owned());
        values.insert_all(None, "aws:tagkeys", vec!["x".to_owned(), "y".to_owned()]);
        let of = |action, key| values.find(action, key);
        assert_eq!(of("kms:ReEncryptFrom", "kms:encryptionalgorithm"), Found::One("A".into()));
        assert_eq!(of("kms:ReEncryptTo", "kms:encryptionalgorithm"), Found::One("B".into()));
        assert_eq!(of("kms:Decrypt", "kms:encryptionalgorithm"), Found::None);
        assert_eq!(values.of("kms:Decrypt").find("aws:sourceip"), Found::One("192.0.2.1".into()));
        assert_eq!(of("kms:TagResource", "aws:tagkeys"), Found::Many(vec!["x".into(), "y".into()]));
    }
}
