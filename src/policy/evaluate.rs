//! The decision. (IAM user guide, "Policy evaluation logic".)
//!
//! 1. An explicit denial in any policy wins.
//! 2. Within one account, either the resource's policy or the identity's must allow; across accounts, both.
//! 3. A permissions boundary and a session's policies bound what identity policies give, and what the resource's policy gives
//!    to everybody or to a role; not what it gives to a user or a session by its own name.
//! 4. A resource's policy that names an account hands the decision to that account: its root may, and of its users those
//!    whom an identity policy lets.
//!
//! An access control list gives as a policy would; it denies nothing. So does having begun an upload.

use super::document::{Listed, Policy, Statement};
use super::principal::Match;
use super::request::{Principal, Request};
use super::subject::Attached;

/// The policies that a request is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'s, 'p> {
    /// The resource's own.
    pub resource: Option<&'p Policy>,
    /// Whether the resource's policy is somebody else's than the resource's owner, as a bucket's is over an object of another
    /// account: what it allows does not count then, what it denies does.
    pub resource_only_denies: bool,
    /// What is given to the principal beside policies: by the resource's access control list, or as an upload's initiator.
    pub acl: Grant,
    /// Whether nothing is allowed that the resource's own policy does not allow, as for KMS keys.
    pub resource_must_allow: bool,
    /// Those attached to the identity and its groups.
    pub identity: List<'s, 'p>,
    /// The permissions boundary.
    pub boundary: Option<&'p Policy>,
    /// The session's.
    pub session: Option<List<'s, 'p>>,
}

/// Several policies, as whoever asks has them at hand.
#[derive(Clone, Copy, Debug)]
pub enum List<'s, 'p> {
    /// By themselves.
    Plain(&'s [&'p Policy]),
    /// With the names that they are attached by.
    Attached(&'p [Attached]),
}

impl Default for List<'_, '_> {
    fn default() -> Self {
        Self::Plain(&[])
    }
}

impl<'s, 'p: 's> List<'s, 'p> {
    fn iter(self) -> impl Iterator<Item = &'p Policy> + 's {
        let (plain, attached) = match self {
            Self::Plain(plain) => (plain, &[][..]),
            Self::Attached(attached) => (&[][..], attached),
        };
        plain.iter().copied().chain(attached.iter().map(|attached| &*attached.policy))
    }
}

/// What an access control list gives to a principal, or its being an upload's initiator.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Grant {
    /// Nothing.
    #[default]
    None,
    /// The permission, to its account: whom of its users, the account decides.
    Account,
    /// The permission, to it as to everybody.
    Everybody,
    /// The permission, to it by itself, as it began the upload. (S3 user guide, "Multipart upload API and permissions".)
    Initiator,
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

/// What an allowance rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grounds<'p> {
    /// A statement.
    Statement(Source, &'p Statement),
    /// The resource's access control list.
    AccessControlList,
    /// The upload's initiator asks.
    Initiation,
    /// The owner account's root asks.
    Ownership,
}

/// What was decided, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision<'p> {
    /// Allowed.
    Allowed(Grounds<'p>),
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
            Self::Allowed(Grounds::Statement(_, statement)) | Self::Denied(_, statement) => Some(statement),
            Self::Allowed(_) | Self::NotAllowed(_) => None,
        }
    }

    /// Whose policies decided; of what nothing allows, whose allowance is missing.
    pub fn source(self) -> Option<Source> {
        match self {
            Self::Allowed(Grounds::Statement(source, _)) | Self::Denied(source, _) | Self::NotAllowed(source) => {
                Some(source)
            }
            Self::Allowed(_) => None,
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
    if let Some((source, statement)) = denial(policies, request) {
        return Decision::Denied(source, statement);
    }
    let given = by_resource(policies, request);
    let same_account = request.principal.account() == Some(request.owner);
    match (request.principal, given) {
        // Nobody has policies of their own to need: the resource's decides.
        (
            Principal::Anonymous | Principal::Service(_) | Principal::Federated(_) | Principal::Root { .. },
            Some((grounds, _)),
        ) => Decision::Allowed(grounds),
        (Principal::Root { .. }, None) if same_account && !policies.resource_must_allow => {
            Decision::Allowed(Grounds::Ownership)
        }
        (Principal::User { .. } | Principal::Session { .. }, Some((grounds, Match::Direct))) if same_account => {
            Decision::Allowed(grounds)
        }
        (Principal::User { .. } | Principal::Session { .. }, given) => {
            decide_identity(policies, request, given, same_account)
        }
        _ => Decision::NotAllowed(Source::Resource),
    }
}

/// The first statement that denies.
fn denial<'p>(policies: &Policies<'_, 'p>, request: &Request<'_>) -> Option<(Source, &'p Statement)> {
    let lists = [
        (Source::Resource, List::Plain(policies.resource.as_slice())),
        (Source::Boundary, List::Plain(policies.boundary.as_slice())),
        (Source::Identity, policies.identity),
        (Source::Session, policies.session.unwrap_or_default()),
    ];
    let bounded = policies.boundary.is_some();
    lists.into_iter().find_map(|(source, list)| {
        let statement = list.iter().find_map(|policy| find(policy, false, request, bounded))?;
        Some((source, statement))
    })
}

/// What the resource itself gives: by its policy or beside it, whichever gives more.
fn by_resource<'p>(policies: &Policies<'_, 'p>, request: &Request<'_>) -> Option<(Grounds<'p>, Match)> {
    let policy = policies.resource.filter(|_| !policies.resource_only_denies);
    let by_policy = policy.and_then(|policy| best_allow(policy, request));
    let by_policy = by_policy.map(|(statement, found)| (Grounds::Statement(Source::Resource, statement), found));
    let by_acl = match policies.acl {
        Grant::None => None,
        Grant::Account => Some((Grounds::AccessControlList, Match::Account)),
        Grant::Everybody => Some((Grounds::AccessControlList, Match::World)),
        Grant::Initiator => Some((Grounds::Initiation, Match::Direct)),
    };
    match (by_policy, by_acl) {
        (Some(policy), Some(acl)) => Some(if acl.1 > policy.1 { acl } else { policy }),
        (policy, acl) => policy.or(acl),
    }
}

/// Judges a user or a session whom the resource does not let in by name.
fn decide_identity<'p>(
    policies: &Policies<'_, 'p>,
    request: &Request<'_>,
    given: Option<(Grounds<'p>, Match)>,
    same_account: bool,
) -> Decision<'p> {
    if given.is_none() && (policies.resource_must_allow || !same_account) {
        return Decision::NotAllowed(Source::Resource);
    }
    let by_identity = policies.identity.iter().find_map(|policy| find_allowance(policy, request));
    let grounds = match (by_identity, given) {
        (Some(statement), _) => Grounds::Statement(Source::Identity, statement),
        (None, Some((grounds, found))) if same_account && found >= Match::World => grounds,
        _ => return Decision::NotAllowed(Source::Identity),
    };
    if policies.boundary.is_some_and(|boundary| find_allowance(boundary, request).is_none()) {
        return Decision::NotAllowed(Source::Boundary);
    }
    if policies.session.is_some_and(|session| !session.iter().any(|policy| find_allowance(policy, request).is_some())) {
        return Decision::NotAllowed(Source::Session);
    }
    Decision::Allowed(grounds)
}

/// The allowing statement that names the principal most directly.
fn best_allow<'p>(policy: &'p Policy, request: &Request<'_>) -> Option<(&'p Statement, Match)> {
    let mut best = None;
    for statement in policy.statements().iter().filter(|statement| statement.allows) {
        match statement.applies(request, false) {
            Match::None => {}
            Match::Direct => return Some((statement, Match::Direct)),
            found => best = best.filter(|(_, best)| *best >= found).or(Some((statement, found))),
        }
    }
    best
}

/// The first statement of `policy` that allows; no boundary changes whom that is about.
fn find_allowance<'p>(policy: &'p Policy, request: &Request<'_>) -> Option<&'p Statement> {
    find(policy, true, request, false)
}

/// The first statement of `policy` with this effect that applies.
fn find<'p>(policy: &'p Policy, allows: bool, request: &Request<'_>, bounded: bool) -> Option<&'p Statement> {
    let mut of_effect = policy.statements().iter().filter(|statement| statement.allows == allows);
    of_effect.find(|statement| statement.applies(request, bounded) != Match::None)
}

impl Statement {
    /// Whether it lets happen what it is about, or denies it.
    pub fn is_allowance(&self) -> bool {
        self.allows
    }

    /// Whether it is about the request: principal (which may have a permissions boundary), action, resource and conditions.
    pub fn concerns(&self, request: &Request<'_>, bounded: bool) -> bool {
        self.applies(request, bounded) != Match::None
    }

    /// How the principal is named, if the statement is about the request at all.
    fn applies(&self, request: &Request<'_>, bounded: bool) -> Match {
        let context = request.context;
        let action = self.actions.holds(|pattern| pattern.matches(request.action, context));
        let resource = || {
            let resources = self.resources.as_ref();
            resources.is_none_or(|listed| {
                // What all but something unknown is, nobody knows: that allows nothing.
                let is_known =
                    !listed.negated || !self.allows || listed.patterns.iter().all(|one| one.is_known(context));
                is_known && listed.holds(|pattern| pattern.matches(request.resource, context))
            })
        };
        if !action || !resource() {
            return Match::None;
        }
        let found = self.principals.names(request.principal, self.allows, bounded);
        if found == Match::None || !self.conditions.iter().all(|condition| condition.holds(context)) {
            return Match::None;
        }
        found
    }
}

impl Listed {
    fn holds(&self, matches: impl Fn(&super::pattern::Pattern) -> bool) -> bool {
        self.patterns.iter().any(matches) != self.negated
    }
}
