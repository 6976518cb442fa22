//! Principals in documents: whom a statement is about.
//! (IAM user guide, "AWS JSON policy elements: Principal".)

use serde_json::Value;

use super::naming::is_id;
use super::request::Principal;

/// The `Principal` or `NotPrincipal` of a statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Principals {
    /// Identity policies have none: they are about whom they are attached to.
    Unsaid,
    /// `Principal`.
    These(Vec<NamedPrincipal>),
    /// `NotPrincipal`.
    AllBut(Vec<NamedPrincipal>),
}

/// One principal of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamedPrincipal {
    /// `*`: everybody, anonymous requests too.
    Everybody,
    /// An account, by its id or its root's ARN: whomever the account itself lets.
    Account(String),
    /// A user, a role or a session, as policies had them before they were kept by unique ids.
    Arn(String),
    /// A user, a role or a session: `AIDA...`, `AROA...`, `AROA...:SESSION`.
    Id(String),
    /// An AWS service.
    Service(String),
    /// An account by its canonical id.
    CanonicalUser(String),
    /// An identity provider.
    Federated(String),
}

/// How a principal is named by a statement.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Match {
    /// Not at all.
    None,
    /// As one of its account: whom of them, the account decides.
    Account,
    /// As everybody: boundary and session policies bound what that gives.
    World,
    /// As a session of its role: boundary and session policies bound what that gives.
    Role,
    /// By itself.
    Direct,
}

impl Principals {
    /// How `principal` is named by a statement that allows, or denies; `bounded`: it has a permissions boundary.
    ///
    /// Of a denial whoever is named, as a whole, is excepted: with a user its account, with a role's session the role and the
    /// account too. So the name of an account excepts its root alone. Who has a boundary is never excepted. An allowance for all
    /// but some is not taken any more; from one that was kept, all of whom something is named are left out.
    /// (IAM user guide, "AWS JSON policy elements: NotPrincipal".)
    pub(super) fn names(&self, principal: Principal<'_>, allows: bool, bounded: bool) -> Match {
        match self {
            Self::Unsaid => Match::Direct,
            Self::These(named) => named.iter().map(|named| named.names(principal)).max().unwrap_or(Match::None),
            Self::AllBut(named) => {
                let excepted = if allows {
                    named.iter().any(|named| named.names(principal) != Match::None)
                } else {
                    !bounded && except(named, principal)
                };
                if excepted { Match::None } else { Match::World }
            }
        }
    }

    /// Puts accounts in the place of canonical ids; an error if one of them is no account's.
    pub(super) fn resolve(&mut self, account: impl Fn(&str) -> Option<String>) -> Result<(), ()> {
        let (Self::These(named) | Self::AllBut(named)) = self else { return Ok(()) };
        let mut resolved = Ok(());
        for named in named {
            if let NamedPrincipal::CanonicalUser(id) = named {
                match account(id) {
                    Some(id) => *named = NamedPrincipal::Account(id),
                    None => resolved = Err(()),
                }
            }
        }
        resolved
    }

    /// Whether it names anybody but fixed principals.
    pub(super) fn is_everybody(&self) -> bool {
        match self {
            Self::Unsaid => false,
            Self::These(named) => named.contains(&NamedPrincipal::Everybody),
            Self::AllBut(_) => true,
        }
    }
}

/// Whether a denial of all but `named` excepts `principal`.
fn except(named: &[NamedPrincipal], principal: Principal<'_>) -> bool {
    let has = |wanted: &dyn Fn(&NamedPrincipal) -> bool| named.iter().any(wanted);
    if has(&|named| *named == NamedPrincipal::Everybody) {
        return true;
    }
    let account = principal.account();
    let has_account = || has(&|named| matches!(named, NamedPrincipal::Account(id) if Some(id.as_str()) == account));
    let has_one = |arn: &str, unique: &str| {
        has(&|named| match named {
            NamedPrincipal::Arn(name) => name == arn,
            NamedPrincipal::Id(id) => id == unique,
            _ => false,
        })
    };
    match principal {
        Principal::Anonymous => false,
        Principal::Service(_) | Principal::Federated(_) => has(&|named| named.names(principal) == Match::Direct),
        Principal::Root { .. } => has_account(),
        Principal::User { arn, id, .. } => has_account() && has_one(arn, id),
        // A session that a root asked for has the root in the place of the role.
        Principal::Session { arn, role, id, .. } => {
            has_account() && has_one(arn, id) && (has_one(role, role_of(id)) || role.ends_with(":root"))
        }
    }
}

/// The unique id of the role, of its session's.
fn role_of(session: &str) -> &str {
    session.split(':').next().unwrap_or(session)
}

impl NamedPrincipal {
    fn names(&self, principal: Principal<'_>) -> Match {
        let of_account = |holds: bool| if holds { Match::Account } else { Match::None };
        let direct = |holds: bool| if holds { Match::Direct } else { Match::None };
        match self {
            Self::Everybody => Match::World,
            Self::Account(id) => match principal {
                Principal::Root { account, .. } => direct(account == id),
                _ => of_account(principal.account() == Some(id)),
            },
            Self::Arn(arn) => match principal {
                Principal::Session { arn: session, .. } if session == arn => Match::Direct,
                Principal::Session { role, .. } if role == arn => Match::Role,
                _ => direct(principal.arn() == arn),
            },
            Self::Id(unique) => match principal {
                Principal::User { id, .. } | Principal::Session { id, .. } if id == unique => Match::Direct,
                Principal::Session { id, .. } if role_of(id) == unique => Match::Role,
                _ => Match::None,
            },
            Self::Service(name) => direct(matches!(principal, Principal::Service(service) if service == name)),
            Self::Federated(provider) => direct(matches!(principal, Principal::Federated(arn) if arn == provider)),
            // A canonical id stands for its account once that is known: `Policy::resolve`.
            Self::CanonicalUser(_) => Match::None,
        }
    }

    fn of_aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everybody);
        }
        if is_id(text) {
            return Some(Self::Id(text.to_owned()));
        }
        if is_account_id(text) {
            return Some(Self::Account(text.to_owned()));
        }
        let fields: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", "aws", service @ ("iam" | "sts"), "", account, name] = fields[..] else { return None };
        if !is_account_id(account) || name.is_empty() || name.contains('*') {
            return None;
        }
        let is_root = service == "iam" && name == "root";
        Some(if is_root { Self::Account(account.to_owned()) } else { Self::Arn(text.to_owned()) })
    }
}

/// Reads the value of `Principal`; `None` if it is no principal.
pub(super) fn read(value: &Value) -> Option<Vec<NamedPrincipal>> {
    if let Value::String(text) = value {
        return (text == "*").then(|| vec![NamedPrincipal::Everybody]);
    }
    let mut named = Vec::new();
    for (kind, value) in value.as_object()? {
        let one = std::slice::from_ref(value);
        for text in value.as_array().map_or(one, Vec::as_slice) {
            let text = text.as_str()?;
            named.push(match kind.as_str() {
                "AWS" => NamedPrincipal::of_aws(text)?,
                "Service" => NamedPrincipal::Service(text.to_owned()),
                "CanonicalUser" => NamedPrincipal::CanonicalUser(text.to_owned()),
                "Federated" => NamedPrincipal::Federated(text.to_owned()),
                _ => return None,
            });
        }
    }
    (!named.is_empty()).then_some(named)
}

/// Whether `text` is an account's id: twelve digits.
pub fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
