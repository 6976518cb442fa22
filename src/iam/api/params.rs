//! A request's parameters, in AWS's query form: `UserName=alice&Tags.member.1.Key=team`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::failure::{Failure, Result, check_faults, invalid_input, limit_exceeded, validation};
use super::operation::{Operation, Service};
use crate::iam::store::records::Tag;
use crate::wire::percent::percent_decode;
use crate::wire::validation::{NOT_NULL, fault, lower_first, told};

/// Most tags of one user, role or policy. (AWS: "IAM and AWS STS quotas".)
const MOST_TAGS: usize = 50;
/// Longest key and longest value of a tag, in characters.
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;
const TAG_KEY_PATTERN: &str = r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+";
const TAG_VALUE_PATTERN: &str = r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*";
/// Most steps of a parameter's name; the deepest that an operation has are like `List.member.1.Inner.member.1`. What makes a tree
/// of the names goes down once for each step.
const MOST_STEPS: usize = 8;

/// The parameters.
#[derive(Debug, Default)]
pub(super) struct Params {
    values: BTreeMap<String, String>,
    /// What they are asked for, once that is known.
    operation: Option<&'static Operation>,
}

/// Which keys of tags are the same. (IAM user guide, "Tags for AWS Identity and Access Management resources": those of users and
/// roles have no case, those of all else have one.)
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TagCase {
    Ignored,
    Kept,
}

impl TagCase {
    /// Whether these are one key.
    pub fn is_same(self, one: &str, other: &str) -> bool {
        match self {
            Self::Ignored => one.eq_ignore_ascii_case(other),
            Self::Kept => one == other,
        }
    }

    const fn duplicates(self) -> &'static str {
        match self {
            Self::Ignored => "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            Self::Kept => "Duplicate tag keys found.",
        }
    }
}

impl Params {
    /// Reads a form or a query; `None` if it is neither, or has names deeper than any operation's.
    pub fn parse(text: &str) -> Option<Self> {
        let mut params = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decode(name, true)?;
            if name.split('.').count() > MOST_STEPS {
                return None;
            }
            params.insert(name, percent_decode(value, true)?);
        }
        Some(Self { values: params, operation: None })
    }

    /// Those that are members of `operation`, or parts of them, and those that every request has.
    pub fn of(mut self, operation: Option<&'static Operation>) -> Self {
        let members = operation.map_or(&[][..], |operation| operation.members);
        self.values.retain(|name, _| {
            let member = name.split('.').next().unwrap_or(name);
            matches!(member, "Action" | "Version") || members.contains(&member)
        });
        self.operation = operation;
        self
    }

    /// Which keys of tags are the same to the operation.
    pub fn tag_case(&self) -> TagCase {
        let name = self.operation.map_or("", |operation| operation.name);
        let has_case = ["Policy", "OpenIDConnectProvider", "InstanceProfile"].iter().any(|kind| name.ends_with(kind));
        if has_case { TagCase::Kept } else { TagCase::Ignored }
    }

    /// What a member breaks: STS repeats the value, IAM does not.
    fn fault(&self, value: &str, member: &str, rule: &str) -> String {
        fault(Some(value).filter(|_| self.is_of_sts()), member, rule)
    }

    fn is_of_sts(&self) -> bool {
        self.operation.is_some_and(|operation| operation.service == Service::Sts)
    }

    /// The refusal of a member that breaks a rule.
    pub fn constraint(&self, value: &str, member: &str, rule: &str) -> Failure {
        validation(told(&[self.fault(&format!("'{value}'"), member, rule)]))
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// A parameter, perhaps empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.text(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Failure {
        validation(told(&[self.fault("null", name, NOT_NULL)]))
    }

    /// The name of a user, a group, a role or a policy, of at most so many characters.
    pub fn name(&self, name: &str, most: usize) -> Result<&str> {
        let value = self.required(name)?;
        self.check_name(name, value, most)?;
        Ok(value)
    }

    /// The same, if it is there.
    pub fn optional_name(&self, name: &str, most: usize) -> Result<Option<&str>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        self.check_name(name, value, most)?;
        Ok(Some(value))
    }

    fn check_name(&self, name: &str, value: &str, most: usize) -> Result<()> {
        if value.chars().count() > most {
            return Err(self.constraint(value, name, &format!("have length less than or equal to {most}")));
        }
        if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)) {
            return Err(validation(format!(
                "The specified value for {} is invalid. It must contain only alphanumeric characters and/or the following: \
                 +=,.@_-",
                lower_first(name)
            )));
        }
        Ok(())
    }

    /// A path; `/` if there is none.
    pub fn path(&self, name: &str) -> Result<&str> {
        let Some(path) = self.text(name) else { return Ok("/") };
        let well_formed = path == "/"
            || (path.len() > 2
                && path.starts_with('/')
                && path.ends_with('/')
                && path.bytes().all(|b| b.is_ascii_graphic()));
        if path.len() > 512 {
            return Err(self.constraint(path, name, "have length less than or equal to 512"));
        }
        if !well_formed {
            return Err(validation(
                "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
                 characters and/or / characters.",
            ));
        }
        Ok(path)
    }

    /// A whole number within these bounds, if it is there.
    pub fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>> {
        check_faults(self.number_fault(name, least, most)?.as_slice())?;
        self.whole_number(name)
    }

    /// What a number breaks.
    pub fn number_fault(&self, name: &str, least: i64, most: i64) -> Result<Option<String>> {
        let rule = match self.whole_number(name)? {
            Some(number) if number < least => format!("have value greater than or equal to {least}"),
            Some(number) if number > most => format!("have value less than or equal to {most}"),
            _ => return Ok(None),
        };
        let value = format!("'{}'", self.text(name).unwrap_or_default());
        Ok(Some(self.fault(&value, name, &rule)))
    }

    fn whole_number(&self, name: &str) -> Result<Option<i64>> {
        self.text(name).map(|text| text.parse().map_err(|_| malformed(name, text))).transpose()
    }

    /// `true` or `false`; absence is `None`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.text(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => Err(malformed(name, text)),
        }
    }

    /// One of a closed set, which IAM does not name. (Recorded on AWS: `LocalStack`'s `test_invalid_update_parameters`.)
    pub fn choice(&self, name: &str, choices: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = choices.iter().find(|choice| **choice == text);
        found.map(|choice| Some(*choice)).ok_or_else(|| self.constraint(text, name, "satisfy enum value set"))
    }

    /// The members of a list.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.members(name).into_iter().filter_map(|prefix| self.given(&prefix)).collect()
    }

    /// What the members of a list of structures begin with.
    pub fn members(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}.member.");
        let from = self.values.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        let mut numbers: Vec<u32> = from
            .filter_map(|(key, _)| key[prefix.len()..].split('.').next().and_then(|number| number.parse().ok()))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| format!("{prefix}{number}")).collect()
    }

    /// A list of tags, as IAM takes them.
    pub fn tags(&self, name: &str) -> Result<Vec<Tag>> {
        self.tags_without(name, invalid_input)
    }

    /// A list of tags; `refusal` is what keys that are there twice, or are AWS's, are refused with.
    pub fn tags_without(&self, name: &str, refusal: fn(&'static str) -> Failure) -> Result<Vec<Tag>> {
        check_faults(&self.tag_faults(name))?;
        let (case, mut tags) = (self.tag_case(), Vec::<Tag>::new());
        for member in self.members(name) {
            let part = |part: &str| self.given(&format!("{member}.{part}")).unwrap_or_default();
            let (key, value) = (part("Key"), part("Value"));
            if is_reserved_tag_key(key) {
                return Err(refusal("Tag keys beginning with 'aws:' are reserved for system use."));
            }
            if tags.iter().any(|(other, _)| case.is_same(other, key)) {
                return Err(refusal(case.duplicates()));
            }
            tags.push((key.to_owned(), value.to_owned()));
        }
        Ok(tags)
    }

    /// What a list of tags breaks. (`tagListType` of AWS's models.)
    pub fn tag_faults(&self, name: &str) -> Vec<String> {
        let members = self.members(name);
        if members.len() > MOST_TAGS {
            return vec![self.fault("'[...]'", name, &format!("have length less than or equal to {MOST_TAGS}"))];
        }
        let mut faults = Vec::new();
        for (at, member) in (1..).zip(members) {
            for (part, lengths, pattern) in
                [("Key", 1..=MAX_TAG_KEY, TAG_KEY_PATTERN), ("Value", 0..=MAX_TAG_VALUE, TAG_VALUE_PATTERN)]
            {
                let path = format!("{}.{at}.member.{}", lower_first(name), lower_first(part));
                let Some(text) = self.given(&format!("{member}.{part}")) else {
                    faults.push(self.fault("null", &path, NOT_NULL));
                    continue;
                };
                let (length, value) = (text.chars().count(), format!("'{text}'"));
                if length < *lengths.start() {
                    let rule = format!("have length greater than or equal to {}", lengths.start());
                    faults.push(self.fault(&value, &path, &rule));
                } else if length > *lengths.end() {
                    let rule = format!("have length less than or equal to {}", lengths.end());
                    faults.push(self.fault(&value, &path, &rule));
                }
                if !is_tag_text(text) {
                    faults.push(self.fault(&value, &path, pattern));
                }
            }
        }
        faults
    }

    /// The keys of tags to remove, of which there must be a list.
    pub fn tag_keys(&self, name: &str) -> Result<Vec<&str>> {
        let keys = self.list(name);
        if keys.is_empty() && self.given(name).is_none() {
            return Err(self.missing(name));
        }
        check_faults(&self.tag_key_faults(name))?;
        Ok(keys)
    }

    /// What such a list breaks. (`tagKeyListType` of AWS's models.)
    pub fn tag_key_faults(&self, name: &str) -> Vec<String> {
        let keys = self.list(name);
        let mut faults = Vec::new();
        if keys.len() > MOST_TAGS {
            faults.push(self.fault("'[...]'", name, &format!("have length less than or equal to {MOST_TAGS}")));
        }
        let is_key = |key: &str| (1..=MAX_TAG_KEY).contains(&key.chars().count()) && is_tag_text(key);
        if !keys.into_iter().all(is_key) {
            let rule = format!(
                "satisfy constraint: [Member must have length less than or equal to {MAX_TAG_KEY}, Member must have length \
                 greater than or equal to 1, Member must {TAG_KEY_PATTERN}, Member must {NOT_NULL}]"
            );
            faults.push(self.fault("'[...]'", name, &rule));
        }
        faults
    }

    /// What a list breaks whose members have so many characters.
    pub fn list_fault(&self, name: &str, characters: &RangeInclusive<usize>) -> Option<String> {
        if self.list(name).iter().all(|member| characters.contains(&member.chars().count())) {
            return None;
        }
        let rule = format!(
            "satisfy constraint: [Member must have length less than or equal to {}, Member must have length greater than or \
             equal to {}]",
            characters.end(),
            characters.start()
        );
        Some(self.fault("'[...]'", name, &rule))
    }
}

/// Whether there are more than may be.
pub(super) fn check_tag_number(tags: &[Tag]) -> Result<()> {
    let message = || format!("The number of tags has reached the maximum limit. Limit: {MOST_TAGS}");
    if tags.len() > MOST_TAGS { Err(limit_exceeded(message())) } else { Ok(()) }
}

/// Whether `text` has characters that the keys and values of tags may have.
pub(super) fn is_tag_text(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c))
}

/// Whether AWS keeps tags with this key to itself.
pub(super) fn is_reserved_tag_key(key: &str) -> bool {
    key.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("aws:"))
}

fn malformed(name: &str, value: &str) -> Failure {
    Failure::new(
        http::StatusCode::BAD_REQUEST,
        "MalformedInput",
        format!("The value '{value}' is not valid for {}", lower_first(name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let text = "Action=TagUser&UserName=al%40b&Tags.member.2.Key=b&Tags.member.2.Value=&Tags.member.1.Key=a&Tags.member.1.Value=x+y&L.member.10=j&L.member.2=b";
        let params = Params::parse(text).unwrap();
        assert_eq!(params.name("UserName", 64).unwrap(), "al@b");
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(params.tags("Tags").unwrap(), [tag("a", "x y"), tag("b", "")]);
        assert_eq!(params.list("L"), ["b", "j"]);
        assert!(Params::parse("a=%zz").is_none());
        assert!(Params::parse(&format!("a{}=x", ".a".repeat(7))).is_some());
        assert!(Params::parse(&format!("a{}=x", ".a".repeat(8))).is_none());
        assert!(Params::parse(&format!("a{}=x", "%2Ea".repeat(8))).is_none());
    }

    fn of(operation: &str, text: &str) -> Params {
        let operation = Operation::by_name(operation).unwrap();
        Params { operation: Some(operation), ..Params::parse(text).unwrap() }
    }

    fn refused(text: &str, read: fn(&Params) -> Result<()>) -> String {
        read(&of("TagUser", text)).unwrap_err().message.into_owned()
    }

    #[test]
    fn bad_values_get_awss_texts() {
        let name = |params: &Params| params.name("UserName", 4).map(drop);
        assert_eq!(
            refused("UserName=a+b", name),
            "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the \
             following: +=,.@_-"
        );
        assert!(refused("", name).starts_with("1 validation error detected: Value at 'userName' failed to"));
        assert!(refused("UserName=abcde", name).ends_with("Member must have length less than or equal to 4"));
        assert!(refused("Path=x", |params| params.path("Path").map(drop)).contains("begin and end with /"));
        assert!(refused("MaxItems=0", |params| params.number("MaxItems", 1, 9).map(drop)).contains("greater than or"));
        let tags = |params: &Params| params.tags("T").map(drop);
        let twice = "T.member.1.Key=a&T.member.1.Value=b&T.member.2.Key=A&T.member.2.Value=b";
        assert!(refused(twice, tags).starts_with("Duplicate tag keys"));
        assert!(refused("T.member.1.Key=aws:x&T.member.1.Value=", tags).contains("reserved"));
        let valueless = "T.member.1.Key=a&T.member.1.Value=b&T.member.2.Key=c";
        assert!(
            refused(valueless, tags).starts_with("1 validation error detected: Value at 't.2.member.value' failed")
        );
        let pattern = r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]";
        for (odd, quantifier) in
            [("T.member.1.Key=a*&T.member.1.Value=", '+'), ("T.member.1.Key=a&T.member.1.Value=b%0A", '*')]
        {
            assert!(refused(odd, tags).ends_with(&format!("{pattern}{quantifier}")), "{odd}");
        }
        let many: Vec<String> = (1..=51).map(|at| format!("T.member.{at}.Key=k{at}&T.member.{at}.Value=")).collect();
        assert!(refused(&many.join("&"), tags).ends_with("Member must have length less than or equal to 50"));
        let keys = |params: &Params| params.tag_keys("T").map(drop);
        assert!(refused("", keys).starts_with("1 validation error detected: Value at 't' failed to"));
        // Recorded on AWS: LocalStack's test_role_tag_errors.
        for bad in ["k".repeat(129), String::new(), "k*".to_owned()] {
            assert_eq!(
                refused(&format!("T.member.1=k&T.member.2={bad}"), keys),
                r"1 validation error detected: Value at 't' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+, Member must not be null]"
            );
        }
        let many: Vec<String> = (1..=51).map(|at| format!("T.member.{at}=k{at}")).collect();
        assert!(refused(&many.join("&"), keys).ends_with("Member must have length less than or equal to 50"));
    }

    #[test]
    fn all_that_tags_break_is_told_and_by_sts_with_the_values() {
        let tags = "Tags.member.1.Key=a*&Tags.member.1.Value=b&Tags.member.2.Key=c";
        let told = |operation: &str| of(operation, tags).tags("Tags").unwrap_err().message.into_owned();
        let failed = "failed to satisfy constraint: Member must";
        assert_eq!(
            told("TagRole"),
            format!(
                "2 validation errors detected: Value at 'tags.1.member.key' {failed} {TAG_KEY_PATTERN}; Value at 'tags.2.member.value' {failed} not be null"
            )
        );
        assert_eq!(
            told("AssumeRole"),
            format!(
                "2 validation errors detected: Value 'a*' at 'tags.1.member.key' {failed} {TAG_KEY_PATTERN}; Value null at 'tags.2.member.value' {failed} not be null"
            )
        );
    }

    #[test]
    fn keys_of_tags_have_a_case_but_those_of_users_roles_and_sessions() {
        let form = |other: &str| {
            format!("Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.2.Key={other}&Tags.member.2.Value=2")
        };
        let told = |operation: &str, other: &str| {
            let read = of(operation, &form(other)).tags("Tags");
            read.map(|tags| tags.len()).map_err(|failure| failure.message.into_owned())
        };
        let ignored = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
        for operation in ["CreateUser", "TagUser", "CreateRole", "TagRole", "AssumeRole", "GetFederationToken"] {
            assert_eq!(told(operation, "A"), Err(ignored.to_owned()), "{operation}");
            assert_eq!(told(operation, "a"), Err(ignored.to_owned()), "{operation}");
        }
        for operation in [
            "CreatePolicy",
            "TagPolicy",
            "CreateOpenIDConnectProvider",
            "TagOpenIDConnectProvider",
            "CreateInstanceProfile",
            "TagInstanceProfile",
        ] {
            assert_eq!(told(operation, "A"), Ok(2), "{operation}");
            assert_eq!(told(operation, "a"), Err("Duplicate tag keys found.".to_owned()), "{operation}");
        }
    }

    #[test]
    fn members_of_others_are_left_out() {
        let text = "Action=TagUser&UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=&TagsX=1&Version=v&User=a";
        let kept = |operation| {
            let params = Params::parse(text).unwrap().of(operation);
            params.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        let of_operation = ["Action", "Tags.member.1.Key", "Tags.member.1.Value", "UserName", "Version"];
        assert_eq!(kept(Operation::by_name("TagUser")), of_operation);
        assert_eq!(kept(None), ["Action", "Version"]);
    }
}
