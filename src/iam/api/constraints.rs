//! What AWS's front end asks of parameters before an operation sees them: lengths and patterns, as botocore's models have them.
//! Names and paths have texts of IAM's own, which `params` gives; here it is only seen that they are not empty.

use std::ops::RangeInclusive;

use super::failure::{Result, check_faults};
use super::operation::{Operation, Service};
use super::params::Params;
use super::sts::{assume, federation};
use crate::wire::validation::fault;

/// A row of the table.
struct Rule {
    service: Service,
    members: &'static [&'static str],
    /// Characters, at least and at most.
    lengths: (usize, usize),
    pattern: Option<Pattern>,
    /// Whether refusals repeat the value: IAM repeats none, and STS none that is secret.
    is_shown: bool,
}

/// A pattern as AWS words it, and what it takes.
struct Pattern(&'static str, fn(&str) -> bool);

macro_rules! rules {
    ($($service:ident [$($member:ident)*] $least:literal..=$most:expr, $shown:ident $(, $pattern:literal $takes:expr)?;)*) => {
        const RULES: &[Rule] = &[
            $(Rule {
                service: Service::$service,
                members: &[$(stringify!($member)),*],
                lengths: ($least, $most),
                pattern: rules!(@pattern $($pattern $takes)?),
                is_shown: rules!(@$shown),
            },)*
        ];
    };
    (@pattern) => { None };
    (@pattern $pattern:literal $takes:expr) => { Some(Pattern($pattern, $takes)) };
    (@shown) => { true };
    (@hidden) => { false };
}

rules! {
    Iam [AccessKeyId] 16..=128, hidden, r"[\w]+" |text| text.bytes().all(is_word);
    Iam [GroupName InstanceProfileName NewGroupName NewPath NewUserName Path PolicyName RoleName UserName] 1..=usize::MAX, hidden;
    Iam [Description] 0..=1000, hidden;
    Iam [Marker] 1..=320, hidden, r"[\u0020-\u00FF]+" |text| text.chars().all(|c| matches!(c, ' '..='\u{ff}'));
    Iam [OpenIDConnectProviderArn PermissionsBoundary PolicyArn PolicySourceArn] 20..=2048, hidden;
    Iam [PathPrefix] 1..=512, hidden, r"\u002F[\u0021-\u007F]*"
        |text| text.starts_with('/') && text.bytes().all(|b| matches!(b, b'!'..=0x7f));
    Iam [AssumeRolePolicyDocument PolicyDocument] 1..=131_072, hidden, r"[\u0009\u000A\u000D\u0020-\u00FF]+" is_document;
    Iam [ClientID Url] 1..=255, hidden;
    Iam [VersionId] 1..=usize::MAX, hidden, r"v[1-9][0-9]*(\.[A-Za-z0-9-]*)?" is_version;
    Sts [AccessKeyId] 16..=128, shown, r"[\w]*" |text| text.bytes().all(is_word);
    Sts [ExternalId] 2..=1224, shown, r"[\w+=,.@:\/-]*" |text| text.bytes().all(|b| is_word(b) || b"+=,.@:/-".contains(&b));
    Sts [Name] 2..=32, shown, r"[\w+=,.@-]*" is_name;
    Sts [Policy] 1..=2048, shown, r"[\u0009\u000A\u000D\u0020-\u00FF]+" is_document;
    Sts [ProviderId] 4..=2048, shown;
    Sts [RoleArn] 20..=2048, shown;
    Sts [RoleSessionName] 2..=64, shown, r"[\w+=,.@-]*" is_name;
    Sts [SerialNumber] 9..=256, shown, r"[\w+=/:,.@-]*" |text| text.bytes().all(|b| is_word(b) || b"+=/:,.@-".contains(&b));
    Sts [SourceIdentity] 2..=64, shown, r"[\w+=,.@-]*" is_name;
    Sts [TokenCode] 6..=6, hidden, r"[\d]*" |text| text.bytes().all(|b| b.is_ascii_digit());
    Sts [WebIdentityToken] 4..=20_000, hidden;
}

/// The operations that take a user's name as it is when a user is made. Others take longer ones than there are.
/// (AWS: API reference, `userNameType` and `existingUserNameType`.)
const OF_USERS: &[&str] = &[
    "AttachUserPolicy",
    "CreateUser",
    "DeleteLoginProfile",
    "DeleteUserPermissionsBoundary",
    "DetachUserPolicy",
    "GetLoginProfile",
    "ListAttachedUserPolicies",
    "ListSSHPublicKeys",
    "ListServiceSpecificCredentials",
    "PutUserPermissionsBoundary",
];
const USER_NAME: Rule =
    Rule { service: Service::Iam, members: &["UserName"], lengths: (0, 64), pattern: None, is_shown: false };

/// The operations that take the description of a role, which not all characters may stand in. (AWS: API reference,
/// `roleDescriptionType`.)
const OF_ROLES: &[&str] = &["CreateRole", "UpdateRole", "UpdateRoleDescription"];
const ROLE_DESCRIPTION: Rule = Rule {
    service: Service::Iam,
    members: &["Description"],
    lengths: (0, usize::MAX),
    pattern: Some(Pattern(r"[\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*", |text| {
        text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{a1}'..='\u{ff}'))
    })),
    is_shown: false,
};

/// Lists of IAM's, and how many characters their members have.
const LISTS: &[(&str, RangeInclusive<usize>)] =
    &[("ActionNames", 3..=128), ("ClientIDList", 1..=255), ("ResourceArns", 1..=2048), ("ThumbprintList", 40..=40)];

/// Whole numbers, at least and at most, of these operations; of all of IAM's that have them, if none are named.
const NUMBERS: &[(&str, &[&str], i64, i64)] = &[
    ("MaxItems", &[], 1, 1000),
    ("MaxSessionDuration", &[], 3600, 43_200),
    ("DurationSeconds", &["AssumeRole", "AssumeRoleWithWebIdentity"], assume::LEAST, assume::MOST),
    ("DurationSeconds", &["GetFederationToken", "GetSessionToken"], federation::LEAST, federation::MOST),
];

/// What authorisation goes by, and the most characters that any of it has: policies are not held against longer texts.
const JUDGED: &[&str] = &[
    "AccessKeyId",
    "GroupName",
    "InstanceProfileName",
    "Name",
    "NewGroupName",
    "NewPath",
    "NewUserName",
    "OpenIDConnectProviderArn",
    "Path",
    "PathPrefix",
    "PermissionsBoundary",
    "PolicyArn",
    "PolicyName",
    "PolicySourceArn",
    "RoleName",
    "Url",
    "UserName",
];
const MAX_JUDGED: usize = 2048;

/// Refuses what is too long to be judged. Whatever else is wrong with it, nobody is told before they are authorised.
pub(super) fn check_judged(params: &Params) -> Result<()> {
    let is_long = |member: &&&str| params.given(member).is_some_and(|value| value.chars().count() > MAX_JUDGED);
    match JUDGED.iter().find(is_long) {
        Some(member) => {
            Err(params.constraint("...", member, &format!("have length less than or equal to {MAX_JUDGED}")))
        }
        None => Ok(()),
    }
}

/// Refuses parameters that do not hold to the table, all of them at once.
pub(super) fn check(operation: &Operation, params: &Params) -> Result<()> {
    let service = operation.service;
    // Lists first, as recorded on AWS: LocalStack's test_create_open_id_connect_provider_validation_errors.
    let mut faults: Vec<String> =
        LISTS.iter().filter_map(|(member, characters)| params.list_fault(member, characters)).collect();
    let of_users = Some(&USER_NAME).filter(|_| OF_USERS.contains(&operation.name));
    let of_roles = Some(&ROLE_DESCRIPTION).filter(|_| OF_ROLES.contains(&operation.name));
    for rule in RULES.iter().filter(|rule| rule.service == service).chain(of_users).chain(of_roles) {
        let given = rule.members.iter().filter_map(|member| Some((*member, params.given(member)?)));
        faults.extend(given.flat_map(|(member, value)| rule.faults(member, value)));
    }
    let is_asked = |of: &[&str]| if of.is_empty() { service == Service::Iam } else { of.contains(&operation.name) };
    for (member, _, least, most) in NUMBERS.iter().filter(|(_, of, ..)| is_asked(of)) {
        faults.extend(params.number_fault(member, *least, *most)?);
    }
    faults.extend(params.tag_faults("Tags"));
    faults.extend(params.tag_key_faults("TagKeys"));
    check_faults(&faults)
}

impl Rule {
    fn faults(&self, member: &str, value: &str) -> Vec<String> {
        let ((least, most), length) = (self.lengths, value.chars().count());
        let shown = self.is_shown.then(|| format!("'{value}'"));
        let fault = |constraint: String| fault(shown.as_deref(), member, &constraint);
        let mut faults = Vec::new();
        if length < least {
            faults.push(fault(format!("have length greater than or equal to {least}")));
        }
        if length > most {
            faults.push(fault(format!("have length less than or equal to {most}")));
        }
        if let Some(Pattern(pattern, takes)) = &self.pattern
            && !(value.is_empty() && least > 0)
            && !takes(value)
        {
            faults.push(fault(format!("satisfy regular expression pattern: {pattern}")));
        }
        faults
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `text` has the characters that sessions and source identities may have.
pub(super) fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| is_word(byte) || b"+=,.@-".contains(&byte))
}

fn is_document(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}'))
}

fn is_version(text: &str) -> bool {
    let (number, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = number.strip_prefix('v').unwrap_or_default();
    !digits.is_empty()
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(service: Service, form: &str) -> String {
        let any = if service == Service::Iam { "GetUser" } else { "AssumeRole" };
        told_of(any, form)
    }

    fn told_of(operation: &str, form: &str) -> String {
        check(Operation::by_name(operation).unwrap(), &Params::parse(form).unwrap())
            .err()
            .map(|failure| failure.message.into_owned())
            .unwrap_or_default()
    }

    #[test]
    fn what_is_judged_is_not_longer_than_anything_is() {
        let judged = |form: &str| check_judged(&Params::parse(form).unwrap()).map_err(|failure| failure.message);
        let text = "x".repeat(2049);
        for member in JUDGED {
            let refusal = judged(&format!("{member}={text}")).unwrap_err();
            assert!(refusal.ends_with("Member must have length less than or equal to 2048"), "{member}");
            assert!(judged(&format!("{member}={}", &text[1..])).is_ok(), "{member}");
        }
        assert!(judged(&format!("PolicyDocument={text}")).is_ok());
    }

    #[test]
    fn what_breaks_a_rule_is_refused_as_aws_refuses_it() {
        let at = "failed to satisfy constraint: Member must";
        assert_eq!(
            told(Service::Sts, "RoleSessionName=Session1:2"),
            format!(
                r"1 validation error detected: Value 'Session1:2' at 'roleSessionName' {at} satisfy regular expression pattern: [\w+=,.@-]*"
            )
        );
        assert_eq!(
            told(Service::Iam, "PolicyArn=x"),
            format!("1 validation error detected: Value at 'policyArn' {at} have length greater than or equal to 20")
        );
        assert_eq!(
            told(Service::Iam, "UserName="),
            format!("1 validation error detected: Value at 'userName' {at} have length greater than or equal to 1")
        );
        assert_eq!(
            told(Service::Sts, "TokenCode=12345x7"),
            format!(
                r"2 validation errors detected: Value at 'tokenCode' {at} have length less than or equal to 6; Value at 'tokenCode' {at} satisfy regular expression pattern: [\d]*"
            )
        );
        let name = "x".repeat(65);
        let long =
            format!("1 validation error detected: Value at 'userName' {at} have length less than or equal to 64");
        for operation in OF_USERS {
            assert!(Operation::by_name(operation).unwrap().members.contains(&"UserName"), "{operation}");
            assert_eq!(told_of(operation, &format!("UserName={name}")), long, "{operation}");
            assert_eq!(told_of(operation, &format!("UserName={}", &name[1..])), "", "{operation}");
        }
        assert_eq!(told_of("GetUser", &format!("UserName={name}")), "");
        for taken in
            ["VersionId=v12", "VersionId=v1.a-b", "PathPrefix=/", "AccessKeyId=AKIAIOSFODNN7EXAMPLE", "Marker=a"]
        {
            assert_eq!(told(Service::Iam, taken), "");
        }
        for refused in [
            "MaxItems=0",
            "MaxItems=1001",
            "VersionId=v0",
            "VersionId=1",
            "PathPrefix=x",
            "AccessKeyId=AKIA",
            "PolicyDocument=%E2%82%AC",
            "MaxSessionDuration=3599",
            "TagKeys.member.1=a*",
            "Tags.member.1.Key=",
        ] {
            assert!(told(Service::Iam, refused).contains(at), "{refused}");
        }
        // Recorded on AWS: LocalStack's test_federation_token_policy_too_long.
        let policy = "x".repeat(2049);
        assert_eq!(
            told(Service::Sts, &format!("Policy={policy}")),
            format!(
                "1 validation error detected: Value '{policy}' at 'policy' {at} have length less than or equal to 2048"
            )
        );
        for (operation, seconds, is_refused) in [
            ("AssumeRole", 43_200, false),
            ("AssumeRole", 43_201, true),
            ("GetSessionToken", 129_600, false),
            ("GetFederationToken", 899, true),
        ] {
            let told = told_of(operation, &format!("DurationSeconds={seconds}"));
            assert_eq!(told.contains("at 'durationSeconds'"), is_refused, "{operation} {seconds}");
        }
        for (operation, is_refused) in [("CreateRole", true), ("UpdateRoleDescription", true), ("CreatePolicy", false)]
        {
            assert_eq!(told_of(operation, "Description=%E2%82%AC").contains(at), is_refused, "{operation}");
        }
    }

    #[test]
    fn all_that_a_request_breaks_is_told_at_once() {
        let at = "failed to satisfy constraint: Member must";
        let lengths = |most, least| {
            format!(
                "satisfy constraint: [Member must have length less than or equal to {most}, Member must have length greater than or equal to {least}]"
            )
        };
        // Recorded on AWS: LocalStack's test_create_open_id_connect_provider_validation_errors.
        let (url, client) = ("x".repeat(256), "x".repeat(256));
        assert_eq!(
            told_of(
                "CreateOpenIDConnectProvider",
                &format!("Url={url}&ClientIDList.member.1={client}&ThumbprintList.member.1=x")
            ),
            format!(
                "3 validation errors detected: Value at 'clientIDList' {at} {}; Value at 'thumbprintList' {at} {}; Value at 'url' {at} have length less than or equal to 255",
                lengths(255, 1),
                lengths(40, 40)
            )
        );
        let told = told_of("CreateRole", "RoleName=&MaxSessionDuration=1&Tags.member.1.Key=*&Tags.member.1.Value=*");
        assert!(told.starts_with("4 validation errors detected: Value at 'roleName'"), "{told}");
        let told = told_of("AssumeRole", "RoleArn=x&RoleSessionName=a*&DurationSeconds=1");
        assert!(told.starts_with("3 validation errors detected: Value 'x' at 'roleArn'"), "{told}");
        assert!(told.ends_with("have value greater than or equal to 900"), "{told}");
    }
}
