//! Conditions: an operator, a key, and the values it is held against.
//! (IAM user guide, "IAM JSON policy elements: Condition operators".)
//!
//! A condition on a key that the request does not have fails, unless its operator is negated (`StringNotEquals` and its
//! kin) or ends in `IfExists`. Several values are alternatives; of a negated operator, none of them may match.

use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use super::date::date;
use super::pattern::{Pattern, Syntax};
use super::request::{Context, Found};
use crate::clock::Timestamp;

/// One condition of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    key: String,
    /// The key as it was written.
    name: Box<str>,
    test: Test,
    negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quantifier {
    /// The key has one value.
    Single,
    /// `ForAnyValue:`
    Any,
    /// `ForAllValues:`
    All,
}

/// What a value is held against.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Text(Vec<Pattern>),
    Arn(Vec<Pattern>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<Timestamp>),
    Bool(Vec<bool>),
    Binary(Vec<Vec<u8>>),
    Address(Vec<IpNet>),
    /// Whether the key may be absent, and whether it may be there.
    Null(Vec<bool>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Equal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Why a condition is not one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// No such operator.
    Operator,
    /// A value that the operator cannot take.
    Value,
}

impl Condition {
    /// The condition `operator` on `key`; `variables` as the document's version has it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn new(operator: &str, key: &str, values: &[String], variables: bool) -> Result<Self, Malformed> {
        let (quantifier, rest) = match operator.split_once(':') {
            None => (Quantifier::Single, operator),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(_) => return Err(Malformed::Operator),
        };
        let (name, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |name| (name, true));
        let (test, negated) = test(name, values, variables)?;
        if matches!(test, Test::Null(_)) && if_exists {
            return Err(Malformed::Operator);
        }
        Ok(Self { key: key.to_ascii_lowercase(), name: key.into(), test, negated, if_exists, quantifier })
    }

    /// The condition key, in lower case.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Every key that it asks for, in lower case: its own, and those whose values stand in what that is held against.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.key()).chain(self.patterns().iter().flat_map(Pattern::variables))
    }

    /// The same as they are written, and whether a request must have them.
    pub fn context_keys(&self) -> impl Iterator<Item = (&str, bool)> {
        std::iter::once((&*self.name, true)).chain(self.patterns().iter().flat_map(Pattern::context_keys))
    }

    /// How much there is to judge.
    pub fn extent(&self) -> usize {
        let values = match &self.test {
            Test::Text(patterns) | Test::Arn(patterns) => patterns.iter().map(Pattern::extent).sum(),
            Test::Number(_, values) => values.len(),
            Test::Date(_, values) => values.len(),
            Test::Bool(values) | Test::Null(values) => values.len(),
            Test::Binary(values) => values.len(),
            Test::Address(values) => values.len(),
        };
        1 + values
    }

    fn patterns(&self) -> &[Pattern] {
        match &self.test {
            Test::Text(patterns) | Test::Arn(patterns) => patterns,
            _ => &[],
        }
    }

    /// Whether it holds.
    pub fn holds(&self, context: &dyn Context) -> bool {
        let found = match context.find(&self.key) {
            // A key whose set of values is empty counts as absent.
            Found::Many(values) if values.is_empty() => Found::None,
            found => found,
        };
        if let Test::Null(absent) = &self.test {
            return absent.contains(&matches!(found, Found::None));
        }
        let test = |value: &Cow<'_, str>| self.test.matches(value, context) != self.negated;
        match (self.quantifier, found) {
            (Quantifier::All, Found::None) => true,
            (_, Found::None) => self.if_exists || (self.negated && self.quantifier == Quantifier::Single),
            (_, Found::One(value)) => test(&value),
            (Quantifier::All, Found::Many(values)) => values.iter().all(test),
            (Quantifier::Any, Found::Many(values)) => values.iter().any(test),
            // A single-valued operator on many values: any may match, of a negated one none.
            (Quantifier::Single, Found::Many(values)) => {
                if self.negated {
                    values.iter().all(test)
                } else {
                    values.iter().any(test)
                }
            }
        }
    }

    /// Whether it lets only fixed values pass: what S3 asks of a policy that is not public.
    pub(super) fn fixes_values(&self) -> bool {
        self.demands()
            && match &self.test {
                Test::Text(patterns) | Test::Arn(patterns) => {
                    patterns.iter().all(|pattern| pattern.literal().is_some())
                }
                // RFC1918 and the like are fixed; S3 takes ranges wider than a /8 (IPv4) or /32 (IPv6) for public.
                Test::Address(networks) => networks.iter().all(|network| match network {
                    IpNet::V4(network) => network.prefix_len() >= 8,
                    IpNet::V6(network) => network.prefix_len() >= 32,
                }),
                _ => false,
            }
    }

    /// Whether it lets only ARNs of fixed accounts pass.
    pub(super) fn fixes_accounts(&self) -> bool {
        let (Test::Text(patterns) | Test::Arn(patterns)) = &self.test else { return false };
        self.demands() && patterns.iter().all(Pattern::fixes_account)
    }

    /// Whether it fails where its key is absent, and lets no other values pass than those it names.
    fn demands(&self) -> bool {
        !self.negated && !self.if_exists && self.quantifier != Quantifier::All
    }
}

impl Test {
    fn matches(&self, value: &str, context: &dyn Context) -> bool {
        match self {
            Self::Text(patterns) => patterns.iter().any(|pattern| pattern.matches(value, context)),
            Self::Arn(patterns) => patterns.iter().any(|pattern| pattern.matches_arn(value, context)),
            Self::Number(order, numbers) => {
                number(value).is_some_and(|value| numbers.iter().any(|number| order.holds(&value, number)))
            }
            Self::Date(order, dates) => {
                date(value).is_some_and(|value| dates.iter().any(|date| order.holds(&value, date)))
            }
            Self::Bool(bools) => boolean(value).is_some_and(|value| bools.contains(&value)),
            Self::Binary(blobs) => STANDARD.decode(value).is_ok_and(|value| blobs.contains(&value)),
            Self::Address(networks) => {
                let address = value.parse::<IpAddr>().map(|address| address.to_canonical());
                address.is_ok_and(|address| networks.iter().any(|network| network.contains(&address)))
            }
            Self::Null(_) => false,
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, bound: &T) -> bool {
        match self {
            Self::Equal => value == bound,
            Self::Less => value < bound,
            Self::LessEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterEqual => value >= bound,
        }
    }
}

/// The test that `name` stands for, and whether it is negated.
fn test(name: &str, values: &[String], variables: bool) -> Result<(Test, bool), Malformed> {
    let text = |wildcards, fold| {
        let syntax = Syntax { wildcards, variables, fold };
        Test::Text(values.iter().map(|value| Pattern::new(value, syntax)).collect())
    };
    let arn = || {
        let syntax = Syntax { wildcards: true, variables, fold: false };
        Test::Arn(values.iter().map(|value| Pattern::new(value, syntax)).collect())
    };
    let numbers = |order| Ok(Test::Number(order, all(values, number)?));
    let dates = |order| Ok(Test::Date(order, all(values, date)?));
    let address = || all(values, network).map(Test::Address);
    Ok(match name {
        "StringEquals" => (text(false, false), false),
        "StringNotEquals" => (text(false, false), true),
        "StringEqualsIgnoreCase" => (text(false, true), false),
        "StringNotEqualsIgnoreCase" => (text(false, true), true),
        "StringLike" => (text(true, false), false),
        "StringNotLike" => (text(true, false), true),
        "ArnEquals" | "ArnLike" => (arn(), false),
        "ArnNotEquals" | "ArnNotLike" => (arn(), true),
        "NumericEquals" => (numbers(Order::Equal)?, false),
        "NumericNotEquals" => (numbers(Order::Equal)?, true),
        "NumericLessThan" => (numbers(Order::Less)?, false),
        "NumericLessThanEquals" => (numbers(Order::LessEqual)?, false),
        "NumericGreaterThan" => (numbers(Order::Greater)?, false),
        "NumericGreaterThanEquals" => (numbers(Order::GreaterEqual)?, false),
        "DateEquals" => (dates(Order::Equal)?, false),
        "DateNotEquals" => (dates(Order::Equal)?, true),
        "DateLessThan" => (dates(Order::Less)?, false),
        "DateLessThanEquals" => (dates(Order::LessEqual)?, false),
        "DateGreaterThan" => (dates(Order::Greater)?, false),
        "DateGreaterThanEquals" => (dates(Order::GreaterEqual)?, false),
        "Bool" => (Test::Bool(all(values, boolean)?), false),
        "BinaryEquals" => (Test::Binary(all(values, |value| STANDARD.decode(value).ok())?), false),
        "IpAddress" => (address()?, false),
        "NotIpAddress" => (address()?, true),
        "Null" => (Test::Null(all(values, boolean)?), false),
        _ => return Err(Malformed::Operator),
    })
}

fn all<T>(values: &[String], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Malformed> {
    values.iter().map(|value| read(value).ok_or(Malformed::Value)).collect()
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// An integer or a decimal number.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A network, or an address that is one by itself.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
