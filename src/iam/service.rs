//! What AWS's own services may do: what a resource's policy lets them, or its access control list.

use super::{Denied, Explanation, Permit};
use crate::policy::{Context, Grant, Policies, Policy, Principal, Request, decide};

/// Whether `service`, such as `logging.s3.amazonaws.com`, may do `action` to `resource`, which belongs to the account `owner`,
/// by the resource's own policy and by what its access control list gives to the service.
///
/// # Errors
/// [`Denied`], if the policy denies it or neither allows it.
pub fn authorize_service(
    service: &str,
    action: &'static str,
    (resource, owner): (&str, &str),
    (policy, acl): (Option<&Policy>, Grant),
    context: &dyn Context,
) -> Result<Permit, Denied> {
    let principal = Principal::Service(service);
    let policies = Policies { resource: policy, acl, ..Policies::default() };
    let decision = decide(&policies, &Request { principal, action, resource, owner, context });
    let explanation = Explanation::of(decision, action);
    if decision.is_allowed() {
        return Ok(Permit(Some(explanation)));
    }
    let (principal, resource, explanation) = (service.to_owned(), resource.to_owned(), Box::new(explanation));
    Err(Denied { principal, action, resource, reason: None, explanation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Kind;

    #[test]
    fn a_service_may_what_the_policy_says_of_it_alone() {
        let text = r#"{"Statement": {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*"}}"#;
        let policy = Policy::parse(text, Kind::Bucket("arn:aws:s3:::b")).unwrap();
        let ask = |service, action| {
            authorize_service(service, action, ("arn:aws:s3:::b/k", "1"), (Some(&policy), Grant::None), &())
        };
        assert!(ask("logging.s3.amazonaws.com", "s3:PutObject").is_ok());
        assert!(ask("logging.s3.amazonaws.com", "s3:GetObject").is_err());
        assert!(ask("ec2.amazonaws.com", "s3:PutObject").is_err());
    }

    #[test]
    fn a_list_lets_it_in_unless_the_policy_denies() {
        let text = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::b/shut/*"}}"#;
        let policy = Policy::parse(text, Kind::Bucket("arn:aws:s3:::b")).unwrap();
        let ask = |resource, policy, acl| {
            authorize_service("logging.s3.amazonaws.com", "s3:PutObject", (resource, "1"), (policy, acl), &()).is_ok()
        };
        assert!(ask("arn:aws:s3:::b/k", None, Grant::Everybody));
        assert!(ask("arn:aws:s3:::b/k", Some(&policy), Grant::Everybody));
        assert!(!ask("arn:aws:s3:::b/shut/k", Some(&policy), Grant::Everybody));
        assert!(!ask("arn:aws:s3:::b/k", None, Grant::None));
    }
}
