//! A request's parameters, in AWS's query form: `UserName=alice&Tags.member.1.Key=team`.

use std::collections::BTreeMap;

use super::failure::{Failure, Result, constraint, invalid_input, missing, validation};
use crate::iam::store::records::Tag;
use crate::wire::percent::percent_decode;

/// Most tags of one user, role or policy. (AWS: "IAM and AWS STS quotas".)
const MOST_TAGS: usize = 50;
/// Longest key of a tag, in characters.
const MAX_TAG_KEY: usize = 128;
/// Most steps of a parameter's name; the deepest that an operation has are like `List.member.1.Inner.member.1`. What makes a tree
/// of the names goes down once for each step.
const MOST_STEPS: usize = 8;

/// The parameters.
#[derive(Debug, Default)]
pub(super) struct Params(BTreeMap<String, String>);

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
        Some(Self(params))
    }

    /// Those that are `members`, or parts of them, and those that every request has.
    pub fn only(mut self, members: &[&str]) -> Self {
        self.0.retain(|name, _| {
            let member = name.split('.').next().unwrap_or(name);
            matches!(member, "Action" | "Version") || members.contains(&member)
        });
        self
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter, perhaps empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.text(name).ok_or_else(|| missing(name))
    }

    /// The name of a user, a group, a role or a policy, of at most so many characters.
    pub fn name(&self, name: &str, most: usize) -> Result<&str> {
        let value = self.required(name)?;
        check_name(name, value, most)?;
        Ok(value)
    }

    /// The same, if it is there.
    pub fn optional_name(&self, name: &str, most: usize) -> Result<Option<&str>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        check_name(name, value, most)?;
        Ok(Some(value))
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
            return Err(constraint(path, name, "have length less than or equal to 512"));
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
        let Some(text) = self.text(name) else { return Ok(None) };
        let number: i64 = text.parse().map_err(|_| malformed(name, text))?;
        if number < least {
            return Err(constraint(text, name, &format!("have value greater than or equal to {least}")));
        }
        if number > most {
            return Err(constraint(text, name, &format!("have value less than or equal to {most}")));
        }
        Ok(Some(number))
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

    /// One of a closed set.
    pub fn choice(&self, name: &str, choices: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = choices.iter().find(|choice| **choice == text);
        found
            .map(|choice| Some(*choice))
            .ok_or_else(|| constraint(text, name, &format!("satisfy enum value set: [{}]", choices.join(", "))))
    }

    /// The members of a list.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.members(name).into_iter().filter_map(|prefix| self.given(&prefix)).collect()
    }

    /// What the members of a list of structures begin with.
    pub fn members(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}.member.");
        let from = self.0.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
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
        let mut tags: Vec<Tag> = Vec::new();
        let members = self.members(name);
        check_list_length(name, members.len())?;
        for (at, member) in (1..).zip(members) {
            let path = |part: &str| format!("{}.{at}.member.{part}", super::failure::lower_first(name));
            let key = self.given(&format!("{member}.Key")).ok_or_else(|| missing(&path("key")))?;
            let value = self.given(&format!("{member}.Value")).ok_or_else(|| missing(&path("value")))?;
            check_tag_key(&path("key"), key, refusal)?;
            if value.chars().count() > 256 {
                return Err(constraint(value, &path("value"), "have length less than or equal to 256"));
            }
            if !is_tag_text(value) {
                let pattern = r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*";
                return Err(constraint(value, &path("value"), pattern));
            }
            if tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(key)) {
                return Err(refusal("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
            }
            tags.push((key.to_owned(), value.to_owned()));
        }
        Ok(tags)
    }

    /// The keys of tags to remove, of which there must be a list.
    pub fn tag_keys(&self, name: &str) -> Result<Vec<&str>> {
        let keys = self.list(name);
        if keys.is_empty() && self.given(name).is_none() {
            return Err(missing(name));
        }
        check_list_length(name, keys.len())?;
        match keys.iter().find(|key| key.chars().count() > MAX_TAG_KEY) {
            Some(_) => Err(constraint("[...]", name, &format!("have length less than or equal to {MAX_TAG_KEY}"))),
            None => Ok(keys),
        }
    }
}

/// `tagListType` and `tagKeyListType` of AWS's models.
fn check_list_length(name: &str, length: usize) -> Result<()> {
    if length > MOST_TAGS {
        return Err(constraint("[...]", name, &format!("have length less than or equal to {MOST_TAGS}")));
    }
    Ok(())
}

fn too_many_tags() -> Failure {
    super::failure::limit_exceeded(format!("The number of tags has reached the maximum limit. Limit: {MOST_TAGS}"))
}

/// Whether there are more than may be.
pub(super) fn check_tag_number(tags: &[Tag]) -> Result<()> {
    if tags.len() > MOST_TAGS { Err(too_many_tags()) } else { Ok(()) }
}

/// Whether `text` has characters that the keys and values of tags may have.
pub(super) fn is_tag_text(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c))
}

/// Whether AWS keeps tags with this key to itself.
pub(super) fn is_reserved_tag_key(key: &str) -> bool {
    key.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("aws:"))
}

fn check_tag_key(path: &str, key: &str, refusal: fn(&'static str) -> Failure) -> Result<()> {
    if key.is_empty() {
        return Err(constraint(key, path, "have length greater than or equal to 1"));
    }
    if key.chars().count() > MAX_TAG_KEY {
        return Err(constraint(key, path, &format!("have length less than or equal to {MAX_TAG_KEY}")));
    }
    if !is_tag_text(key) {
        return Err(constraint(key, path, r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+"));
    }
    if is_reserved_tag_key(key) {
        return Err(refusal("Tag keys beginning with 'aws:' are reserved for system use."));
    }
    Ok(())
}

fn check_name(name: &str, value: &str, most: usize) -> Result<()> {
    if value.chars().count() > most {
        return Err(constraint(value, name, &format!("have length less than or equal to {most}")));
    }
    if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)) {
        return Err(validation(format!(
            "The specified value for {} is invalid. It must contain only alphanumeric characters and/or the following: \
             +=,.@_-",
            super::failure::lower_first(name)
        )));
    }
    Ok(())
}

fn malformed(name: &str, value: &str) -> Failure {
    Failure::new(
        http::StatusCode::BAD_REQUEST,
        "MalformedInput",
        format!("The value '{value}' is not valid for {}", super::failure::lower_first(name)),
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

    #[test]
    fn bad_values_get_awss_texts() {
        let refused = |text: &str, read: fn(&Params) -> Result<()>| {
            read(&Params::parse(text).unwrap()).unwrap_err().message.into_owned()
        };
        let name = |params: &Params| params.name("UserName", 4).map(drop);
        assert_eq!(
            refused("UserName=a+b", name),
            "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the \
             following: +=,.@_-"
        );
        assert!(refused("", name).starts_with("1 validation error detected: Value null at 'userName'"));
        assert!(refused("UserName=abcde", name).ends_with("Member must have length less than or equal to 4"));
        assert!(refused("Path=x", |params| params.path("Path").map(drop)).contains("begin and end with /"));
        assert!(refused("MaxItems=0", |params| params.number("MaxItems", 1, 9).map(drop)).contains("greater than or"));
        let tags = |params: &Params| params.tags("T").map(drop);
        let twice = "T.member.1.Key=a&T.member.1.Value=b&T.member.2.Key=A&T.member.2.Value=b";
        assert!(refused(twice, tags).starts_with("Duplicate tag keys"));
        assert!(refused("T.member.1.Key=aws:x&T.member.1.Value=", tags).contains("reserved"));
        let valueless = "T.member.1.Key=a&T.member.1.Value=b&T.member.2.Key=c";
        assert!(refused(valueless, tags).starts_with("1 validation error detected: Value null at 't.2.member.value'"));
        let pattern = r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]";
        for (odd, quantifier) in
            [("T.member.1.Key=a*&T.member.1.Value=", '+'), ("T.member.1.Key=a&T.member.1.Value=b%0A", '*')]
        {
            assert!(refused(odd, tags).ends_with(&format!("{pattern}{quantifier}")), "{odd}");
        }
        let many: Vec<String> = (1..=51).map(|at| format!("T.member.{at}.Key=k{at}&T.member.{at}.Value=")).collect();
        assert!(refused(&many.join("&"), tags).ends_with("Member must have length less than or equal to 50"));
        let keys = |params: &Params| params.tag_keys("T").map(drop);
        assert!(refused("", keys).starts_with("1 validation error detected: Value null at 't'"));
        assert!(refused(&format!("T.member.1={}", "k".repeat(129)), keys).ends_with("less than or equal to 128"));
        let many: Vec<String> = (1..=51).map(|at| format!("T.member.{at}=k{at}")).collect();
        assert!(refused(&many.join("&"), keys).ends_with("Member must have length less than or equal to 50"));
    }

    #[test]
    fn members_of_others_are_left_out() {
        let text = "Action=TagUser&UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=&TagsX=1&Version=v&User=a";
        let only = Params::parse(text).unwrap().only(&["Tags", "User"]);
        let kept: Vec<&str> = only.iter().map(|(name, _)| name).collect();
        assert_eq!(kept, ["Action", "Tags.member.1.Key", "Tags.member.1.Value", "User", "Version"]);
    }
}
