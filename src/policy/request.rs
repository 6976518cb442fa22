//! What is judged: who asks for what, of whose resource, under which circumstances.

use std::borrow::Cow;

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Principal<'r> {
    /// Nobody signed.
    Anonymous,
    /// An account's root.
    Root {
        /// Its account's id.
        account: &'r str,
        /// `arn:aws:iam::ACCOUNT:root`.
        arn: &'r str,
    },
    /// A user.
    User {
        /// Its account's id.
        account: &'r str,
        /// `arn:aws:iam::ACCOUNT:user/PATH/NAME`.
        arn: &'r str,
        /// Its unique id: `AIDA...`.
        id: &'r str,
    },
    /// A session of a role.
    Session {
        /// Its account's id.
        account: &'r str,
        /// `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
        arn: &'r str,
        /// The role's own ARN.
        role: &'r str,
        /// The role's unique id and the session's name: `AROA...:SESSION`.
        id: &'r str,
    },
    /// An AWS service, such as `s3.amazonaws.com`.
    Service(&'r str),
    /// Somebody for whom an identity provider vouches: the provider's ARN.
    Federated(&'r str),
}

impl<'r> Principal<'r> {
    /// The account it belongs to.
    pub fn account(self) -> Option<&'r str> {
        match self {
            Self::Root { account, .. } | Self::User { account, .. } | Self::Session { account, .. } => Some(account),
            Self::Anonymous | Self::Service(_) | Self::Federated(_) => None,
        }
    }

    /// Its ARN; `anonymous` and services have none but their name.
    pub fn arn(self) -> &'r str {
        match self {
            Self::Root { arn, .. } | Self::User { arn, .. } | Self::Session { arn, .. } => arn,
            Self::Service(name) | Self::Federated(name) => name,
            Self::Anonymous => "anonymous",
        }
    }
}

/// A request.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// Who asks.
    pub principal: Principal<'r>,
    /// For what: `s3:GetObject`.
    pub action: &'r str,
    /// Of what: its ARN.
    pub resource: &'r str,
    /// The account that the resource belongs to.
    pub owner: &'r str,
    /// Under which circumstances.
    pub context: &'r dyn Context,
}

/// The circumstances of a request, by condition key.
pub trait Context: Sync {
    /// The values of `key`, which is in lower case.
    fn find(&self, key: &str) -> Found<'_>;
}

/// The values of a condition key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found<'c> {
    /// The request has none.
    None,
    /// One.
    One(Cow<'c, str>),
    /// A multivalued key's; possibly none.
    Many(Vec<Cow<'c, str>>),
}

impl<'c> Found<'c> {
    /// One value, if there is one.
    pub fn of<T: Into<Cow<'c, str>>>(value: Option<T>) -> Self {
        value.map_or(Self::None, |value| Self::One(value.into()))
    }

    /// The value of the tag whose key is `name`, as conditions name it: in lower case, as far as ASCII goes. Keys that differ in
    /// case alone are one to a condition, and all their values count.
    pub fn of_tag(tags: &'c [(String, String)], name: &str) -> Self {
        let named = tags.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        Self::of_values(named.map(|(_, value)| Cow::Borrowed(value.as_str())))
    }

    /// All that `values` yields.
    pub fn of_values(mut values: impl Iterator<Item = Cow<'c, str>>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(one), None) => Self::One(one),
            (Some(one), Some(two)) => Self::Many([one, two].into_iter().chain(values).collect()),
        }
    }
}

/// Circumstances that are a list of pairs, keys in lower case. A key that stands there twice has two values.
impl Context for [(&str, &str)] {
    fn find(&self, key: &str) -> Found<'_> {
        Found::of_values(self.iter().filter(|(name, _)| *name == key).map(|(_, value)| Cow::Borrowed(*value)))
    }
}

impl<C: Context + ?Sized> Context for &C {
    fn find(&self, key: &str) -> Found<'_> {
        (**self).find(key)
    }
}

/// No circumstances.
impl Context for () {
    fn find(&self, _: &str) -> Found<'_> {
        Found::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_as_conditions_name_them() {
        let tags = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let all = tags(&[("Team", "red"), ("\u{c4}mter", "1"), ("team", "blue")]);
        assert_eq!(Found::of_tag(&all, "team"), Found::Many(vec!["red".into(), "blue".into()]));
        // Conditions keep the case of all but ASCII.
        assert_eq!(Found::of_tag(&all, "\u{c4}mter"), Found::One("1".into()));
        assert_eq!(Found::of_tag(&all, "\u{e4}mter"), Found::None);
        assert_eq!(Found::of_tag(&[], "team"), Found::None);
    }
}
