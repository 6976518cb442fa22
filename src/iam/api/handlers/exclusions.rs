//! Policies that a simulation leaves out: `PolicyExclusionList` of SimulatePrincipalPolicy.

use crate::iam::api::Call;
use crate::iam::api::failure::{Failure, Result, invalid_input};
use crate::iam::arn;
use crate::policy::{Attached, Subject};

/// Most of them.
const MOST: usize = 256;
const TYPES: &[&str] = &["inline", "aws-managed", "user-managed", "permission-boundary", "scp", "rcp"];
const HOLDERS: &[&str] = &["user", "group", "role"];

/// What an entry leaves out.
#[derive(Debug, Eq, PartialEq)]
enum Exclusion {
    /// All policies of a type.
    Type(&'static str),
    /// Managed policies by their ARN, whose name may have wildcards.
    Arn(String),
    /// An inline policy of the users, groups or roles of this name, which may have wildcards.
    Inline { holder: &'static str, name: String, policy: String },
}

/// The policies of a simulation's source without those that the request leaves out.
pub(super) fn apply(call: &Call<'_>, subject: Subject) -> Result<Subject> {
    let exclusions = read(call)?;
    let is_kept = |attached: &Attached| !exclusions.iter().any(|exclusion| exclusion.names(&attached.id));
    let policies = subject.policies.iter().filter(|attached| is_kept(attached)).cloned().collect();
    let boundary = subject.boundary.clone().filter(|_| !exclusions.contains(&Exclusion::Type("permission-boundary")));
    Ok(Subject { policies, boundary, ..subject })
}

fn read(call: &Call<'_>) -> Result<Vec<Exclusion>> {
    const LIST: &str = "PolicyExclusionList";
    let params = call.params;
    let members = params.members(LIST);
    if members.len() > MOST {
        return Err(super::super::failure::constraint(LIST, "have length less than or equal to 256"));
    }
    let one = |member: String| {
        let part = |name: &str| format!("{member}.{name}");
        let kind = params.choice(&part("PolicyType"), TYPES)?;
        let policy = params.text(&part("PolicyArn"));
        let inline = |name: &str| part(&format!("InlinePolicyIdentifier.{name}"));
        let name = params.text(&inline("AttachmentName"));
        match (kind, policy, name) {
            (Some(kind), None, None) => Ok(Exclusion::Type(kind)),
            (None, Some(policy), None) => {
                check_arn(policy)?;
                Ok(Exclusion::Arn(policy.to_owned()))
            }
            (None, None, Some(name)) => {
                check_wildcards(name)?;
                let policy = params.required(&inline("PolicyName"))?.to_owned();
                let holder = params.choice(&inline("AttachmentType"), HOLDERS)?;
                let holder = holder.ok_or_else(|| super::super::failure::missing(&inline("AttachmentType")))?;
                Ok(Exclusion::Inline { holder, name: name.to_owned(), policy })
            }
            _ => Err(invalid_input(
                "A policy to exclude must have exactly one of PolicyType, PolicyArn and InlinePolicyIdentifier.",
            )),
        }
    };
    members.into_iter().map(one).collect()
}

/// Wildcards may stand in a policy's name alone.
fn check_arn(policy: &str) -> Result<()> {
    let split = arn::split(policy).and_then(|(account, resource)| {
        let name = resource.strip_prefix("policy/")?;
        (!account.contains(['*', '?']) && !name.is_empty()).then_some(name)
    });
    split.ok_or_else(|| invalid(policy)).and_then(check_wildcards)
}

/// "use at most one * …, and any number of ?" (API reference, PolicyIdentifier).
fn check_wildcards(name: &str) -> Result<()> {
    if name.matches('*').count() > 1 { Err(invalid(name)) } else { Ok(()) }
}

fn invalid(identifier: &str) -> Failure {
    invalid_input(format!("Invalid policy identifier: {identifier}"))
}

impl Exclusion {
    /// Whether it leaves out the policy that is known by `id`: a managed policy's ARN, or `user_NAME_POLICY`.
    fn names(&self, id: &str) -> bool {
        let is_of_aws = id.starts_with("arn:aws:iam::aws:");
        match self {
            Self::Type("inline") => !id.starts_with("arn:"),
            Self::Type("aws-managed") => is_of_aws,
            Self::Type("user-managed") => id.starts_with("arn:") && !is_of_aws,
            // The boundary is no attached policy, and there is no organization here.
            Self::Type(_) => false,
            Self::Arn(pattern) => id.starts_with("arn:") && matches(pattern, id),
            Self::Inline { holder, name, policy } => {
                let rest = id.strip_prefix(holder).and_then(|rest| rest.strip_prefix('_'));
                let held_by = rest.and_then(|rest| rest.strip_suffix(policy.as_str())?.strip_suffix('_'));
                held_by.is_some_and(|held_by| matches(&name.to_lowercase(), &held_by.to_lowercase()))
            }
        }
    }
}

/// Whether `text` is what `pattern` says, which has one `*` at most.
fn matches(pattern: &str, text: &str) -> bool {
    let is_like = |pattern: &[char], text: &[char]| {
        pattern.len() == text.len() && pattern.iter().zip(text).all(|(like, is)| like == is || *like == '?')
    };
    let text: Vec<char> = text.chars().collect();
    let Some((head, tail)) = pattern.split_once('*') else {
        return is_like(&pattern.chars().collect::<Vec<_>>(), &text);
    };
    let (head, tail): (Vec<char>, Vec<char>) = (head.chars().collect(), tail.chars().collect());
    text.len() >= head.len() + tail.len()
        && is_like(&head, &text[..head.len()])
        && is_like(&tail, &text[text.len() - tail.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_what_they_stand_for() {
        for (pattern, text) in [("a", "a"), ("a?c", "abc"), ("a*", "a"), ("a*c", "abbc"), ("*", ""), ("?*", "ab")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "b"), ("a?c", "ac"), ("ab*b", "ab"), ("a*", "ba"), ("?*", "")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_an_entry_leaves_out() {
        let (of_aws, own) = ("arn:aws:iam::aws:policy/ReadOnly", "arn:aws:iam::111122223333:policy/p/mine");
        let names = |exclusion: Exclusion| [of_aws, own, "user_al_p", "group_al_p"].map(|id| exclusion.names(id));
        assert_eq!(names(Exclusion::Type("inline")), [false, false, true, true]);
        assert_eq!(names(Exclusion::Type("aws-managed")), [true, false, false, false]);
        assert_eq!(names(Exclusion::Type("user-managed")), [false, true, false, false]);
        assert_eq!(names(Exclusion::Type("scp")), [false; 4]);
        assert_eq!(
            names(Exclusion::Arn("arn:aws:iam::111122223333:policy/p/m*".to_owned())),
            [false, true, false, false]
        );
        let inline = |name: &str| Exclusion::Inline { holder: "user", name: name.to_owned(), policy: "p".to_owned() };
        assert_eq!(names(inline("A?")), [false, false, true, false]);
        assert_eq!(names(inline("bob")), [false; 4]);
        assert!(check_arn(own).is_ok() && check_arn("arn:aws:iam::*:policy/x").is_err() && check_arn("x").is_err());
        assert!(check_wildcards("a*b?").is_ok() && check_wildcards("a*b*").is_err());
    }
}
