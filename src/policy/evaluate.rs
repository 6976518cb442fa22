//! The decision. (IAM user guide, "Policy evaluation logic".)
//!
//! An explicit deny in any policy wins. Then, within one account, either the resource's policy or the identity's must
//! allow; across accounts, both. A boundary and a session's policies bound what identity policies give, and nothing that
//! the resource's policy gives to the principal by its own name.

use super::document::{Listed, Policy, Statement};
use super::principal::Match;
use super::request::{Principal, Request};

/// The policies that a request is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'s, 'p> {
    /// The resource's own.
    pub resource: Option<&'p Policy>,
    /// Whether nothing is allowed that the resource's own policy does not allow, as for KMS keys.
    pub resource_must_allow: bool,
    /// Those attached to the identity and its groups.
    pub identity: &'s [&'p Policy],
    /// The permissions boundary.
    pub boundary: Option<&'p Policy>,
    /// The session's.
    pub session: Option<&'s [&'p Policy]>,
}

/// Which policies decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The resource's own policy.
    Resource,
    /// An identity's policy.
    Identity,
    /// The permissions boundary.
    Boundary,
    /// The session's policies.
    Session,
}

impl Source {
    /// As AWS words it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource-based policy",
            Self::Identity => "identity-based policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
        }
    }
}

/// What was decided, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision<'p> {
    /// Allowed: by a statement, or because the principal is the owner account's root.
    Allowed(Option<&'p Statement>),
    /// Denied by a statement.
    Denied(Source, &'p Statement),
    /// Allowed by nothing: what is missing.
    NotAllowed(Source),
}

impl<'p> Decision<'p> {
    /// Whether the request may go on.
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The statement that decided, if one did.
    pub fn statement(self) -> Option<&'p Statement> {
        match self {
            Self::Allowed(statement) => statement,
            Self::Denied(_, statement) => Some(statement),
            Self::NotAllowed(_) => None,
        }
    }

    /// Why the request may not, as AWS ends its sentence: `with an explicit deny in a resource-based policy`.
    pub fn reason(self, action: &str) -> Option<String> {
        match self {
            Self::Allowed(_) => None,
            Self::Denied(source, _) => {
                let article = if source == Source::Identity { "an" } else { "a" };
                Some(format!("with an explicit deny in {article} {}", source.as_str()))
            }
            Self::NotAllowed(source) => Some(format!("because no {} allows the {action} action", source.as_str())),
        }
    }
}

/// Judges `request` by `policies`.
pub fn decide<'p>(policies: &Policies<'_, 'p>, request: &Request<'_>) -> Decision<'p> {
    let all = [
        (Source::Resource, policies.resource.as_slice()),
        (Source::Identity, &[]),
        (Source::Boundary, policies.boundary.as_slice()),
    ];
    for (source, list) in all {
        if let Some(statement) = list.iter().find_map(|policy| find(policy, false, request)) {
            return Decision::Denied(source, statement.0);
        }
    }
    for (source, list) in [(Source::Identity, Some(policies.identity)), (Source::Session, policies.session)] {
        let denied = list.unwrap_or_default().iter().find_map(|policy| find(policy, false, request));
        if let Some((statement, _)) = denied {
            return Decision::Denied(source, statement);
        }
    }

    let by_resource = policies.resource.and_then(|policy| best_allow(policy, request));
    let same_account = request.principal.account() == Some(request.owner);
    if let (true, Some((statement, Match::Direct))) =
        (same_account || request.principal.account().is_none(), by_resource)
    {
        return Decision::Allowed(Some(statement));
    }
    match request.principal {
        // Nobody has policies of their own to need: the resource's decides.
        Principal::Anonymous | Principal::Service(_) | Principal::Federated(_) => by_resource
            .map_or(Decision::NotAllowed(Source::Resource), |(statement, _)| Decision::Allowed(Some(statement))),
        // An account's root needs no policy of its own account's.
        Principal::Root { .. } => match by_resource {
            Some((statement, _)) => Decision::Allowed(Some(statement)),
            None if same_account && !policies.resource_must_allow => Decision::Allowed(None),
            None => Decision::NotAllowed(Source::Resource),
        },
        Principal::User { .. } | Principal::Session { .. } => {
            decide_identity(policies, request, by_resource, same_account)
        }
    }
}

fn decide_identity<'p>(
    policies: &Policies<'_, 'p>,
    request: &Request<'_>,
    by_resource: Option<(&'p Statement, Match)>,
    same_account: bool,
) -> Decision<'p> {
    if by_resource.is_none() && (policies.resource_must_allow || !same_account) {
        return Decision::NotAllowed(Source::Resource);
    }
    let by_identity = policies.identity.iter().find_map(|policy| find(policy, true, request));
    let allowed = match (by_identity, by_resource) {
        (Some((statement, _)), _) => statement,
        // In one account the resource's policy is enough, unless it only hands the decision to the account, as a key's does.
        (None, Some((statement, found)))
            if same_account && (found >= Match::World || !policies.resource_must_allow) =>
        {
            statement
        }
        _ => return Decision::NotAllowed(Source::Identity),
    };
    if policies.boundary.is_some_and(|boundary| find(boundary, true, request).is_none()) {
        return Decision::NotAllowed(Source::Boundary);
    }
    if policies.session.is_some_and(|session| !session.iter().any(|policy| find(policy, true, request).is_some())) {
        return Decision::NotAllowed(Source::Session);
    }
    Decision::Allowed(Some(allowed))
}

/// The allowing statement that names the principal most directly.
fn best_allow<'p>(policy: &'p Policy, request: &Request<'_>) -> Option<(&'p Statement, Match)> {
    let mut best = None;
    for statement in policy.statements().iter().filter(|statement| statement.allows) {
        match statement.applies(request) {
            Match::None => {}
            Match::Direct => return Some((statement, Match::Direct)),
            found => best = best.filter(|(_, best)| *best >= found).or(Some((statement, found))),
        }
    }
    best
}

/// The first statement of `policy` with this effect that applies.
fn find<'p>(policy: &'p Policy, allows: bool, request: &Request<'_>) -> Option<(&'p Statement, Match)> {
    let of_effect = policy.statements().iter().filter(|statement| statement.allows == allows);
    of_effect.map(|statement| (statement, statement.applies(request))).find(|(_, found)| *found != Match::None)
}

impl Statement {
    /// Whether it lets happen what it is about, or denies it.
    pub fn is_allowance(&self) -> bool {
        self.allows
    }

    /// Whether it is about the request: principal, action, resource and conditions.
    pub fn concerns(&self, request: &Request<'_>) -> bool {
        self.applies(request) != Match::None
    }

    /// How the principal is named, if the statement is about the request at all.
    fn applies(&self, request: &Request<'_>) -> Match {
        let context = request.context;
        let action = self.actions.holds(|pattern| pattern.matches(request.action, context));
        let resource = || {
            let resources = self.resources.as_ref();
            resources.is_none_or(|listed| listed.holds(|pattern| pattern.matches(request.resource, context)))
        };
        if !action || !resource() {
            return Match::None;
        }
        let found = self.principals.names(request.principal);
        if found == Match::None || !self.conditions.iter().all(|condition| condition.holds(context)) {
            return Match::None;
        }
        found
    }

    /// Whether it opens the resource to the world: it allows everybody, and no condition fixes who that is.
    /// (S3 user guide, "The meaning of 'public'".)
    fn is_public(&self) -> bool {
        const FIXING: &[&str] = &[
            "aws:principalarn",
            "aws:principalaccount",
            "aws:principalorgid",
            "aws:principalorgpaths",
            "aws:sourcearn",
            "aws:sourceaccount",
            "aws:sourceorgid",
            "aws:sourceip",
            "aws:sourcevpc",
            "aws:sourcevpce",
            "aws:sourceowner",
            "aws:userid",
            "s3:dataaccesspointaccount",
            "s3:dataaccesspointarn",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
        ];
        let is_fixed =
            self.conditions.iter().any(|condition| FIXING.contains(&condition.key()) && condition.fixes_values());
        self.allows && self.principals.is_everybody() && !is_fixed
    }
}

impl Policy {
    /// Whether the policy is public.
    pub fn is_public(&self) -> bool {
        self.statements().iter().any(Statement::is_public)
    }
}

impl Listed {
    fn holds(&self, matches: impl Fn(&super::pattern::Pattern) -> bool) -> bool {
        self.patterns.iter().any(matches) != self.negated
    }
}
