//! Members of AWS's models that operations here have no use for, and that change what is asked for: they are refused, never ignored.

use super::failure::{Failure, Result, invalid_input, invalid_parameter};
use super::operation::{Operation, Service};
use super::params::Params;

/// The operations, and the member that they do not serve.
const UNSERVED: &[(&[&str], &str)] = &[
    // There is no sign-in, and no Identity Center.
    (&["CreateRole", "UpdateRole"], "MaxSigninSessionDuration"),
    (&["CreateOpenIDConnectProvider"], "ContextProvider"),
    (&["CreateOpenIDConnectProvider"], "IdentityCenterInstanceArn"),
    (&["AssumeRole"], "ProvidedContexts"),
];
/// The operations that issue credentials.
const ISSUING: &[&str] = &["AssumeRole", "AssumeRoleWithWebIdentity", "GetFederationToken", "GetSessionToken"];

/// Refuses what `operation` is asked for and does not serve.
pub(super) fn check(operation: &Operation, params: &Params) -> Result<()> {
    if operation.name == "UpdateRole" {
        // It is never set: to clear it changes nothing.
        params.flag("ResetMaxSigninSessionDuration")?;
    }
    // Tokens are as long as what they hold.
    if ISSUING.contains(&operation.name) && params.number("MinimumSessionTokenSize", 0, 4096)?.unwrap_or(0) > 0 {
        return Err(refusal(operation, "MinimumSessionTokenSize"));
    }
    let is_given = |member: &str| {
        params
            .iter()
            .any(|(name, _)| name.strip_prefix(member).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let mut of_operation = UNSERVED.iter().filter(|(operations, _)| operations.contains(&operation.name));
    match of_operation.find(|(_, member)| is_given(member)) {
        Some((_, member)) => Err(refusal(operation, member)),
        None => Ok(()),
    }
}

fn refusal(operation: &Operation, member: &str) -> Failure {
    let message = format!("{member} of {} is not supported here.", operation.name);
    match operation.service {
        Service::Iam => invalid_input(message),
        Service::Sts => invalid_parameter(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(operation: &str, form: &str) -> Option<&'static str> {
        let operation = Operation::by_name(operation).unwrap();
        check(operation, &Params::parse(form).unwrap()).err().map(|failure| failure.code)
    }

    #[test]
    fn what_is_not_served_is_refused() {
        for (operation, form, expected) in [
            ("CreateRole", "MaxSigninSessionDuration=3600", Some("InvalidInput")),
            ("UpdateRole", "MaxSigninSessionDuration=3600", Some("InvalidInput")),
            ("UpdateRole", "ResetMaxSigninSessionDuration=true&MaxSessionDuration=3600", None),
            ("CreateOpenIDConnectProvider", "ContextProvider.SubjectSourceKey=sub", Some("InvalidInput")),
            ("CreateOpenIDConnectProvider", "Url=x", None),
            ("AssumeRole", "ProvidedContexts.member.1.ProviderArn=a", Some("InvalidParameterValue")),
            ("AssumeRole", "MinimumSessionTokenSize=0", None),
            ("GetSessionToken", "MinimumSessionTokenSize=2000", Some("InvalidParameterValue")),
            ("GetSessionToken", "MinimumSessionTokenSize=5000", Some("ValidationError")),
            ("GetUser", "ProvidedContexts.member.1.ProviderArn=a", None),
        ] {
            assert_eq!(code(operation, form), expected, "{operation} {form}");
        }
    }

    #[test]
    fn every_row_is_about_operations_that_there_are() {
        for name in UNSERVED.iter().flat_map(|(operations, _)| *operations).chain(ISSUING) {
            assert!(Operation::by_name(name).is_some(), "{name}");
        }
        let rows = UNSERVED.iter().flat_map(|(operations, member)| operations.iter().map(move |name| (name, member)));
        let issuing = ISSUING.iter().map(|name| (name, &"MinimumSessionTokenSize"));
        for (name, member) in rows.chain(issuing) {
            assert!(Operation::by_name(name).unwrap().members.contains(member), "{name} {member}");
        }
    }
}
