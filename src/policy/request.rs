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
}

/// Circumstances that are a list of pairs, keys in lower case. A key that stands there twice has two values.
impl Context for [(&str, &str)] {
    fn find(&self, key: &str) -> Found<'_> {
        let mut values = self.iter().filter(|(name, _)| *name == key).map(|(_, value)| Cow::Borrowed(*value));
        match (values.next(), values.next()) {
            (None, _) => Found::None,
            (Some(one), None) => Found::One(one),
            (Some(one), Some(two)) => Found::Many([one, two].into_iter().chain(values).collect()),
        }
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
