//! The evaluator once more: slow, obvious, and sharing no code with the one that is used. It reads the document's JSON anew
//! for each request, allocates as it likes, and takes documents for well-formed. `tests/fuzz` holds it against the real one too.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::policy::{Grant, Principal};

/// What a request is judged by.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    pub resource: Option<Value>,
    pub resource_only_denies: bool,
    pub resource_must_allow: bool,
    pub acl: Grant,
    pub identity: Vec<Value>,
    pub boundary: Option<Value>,
    pub session: Option<Vec<Value>>,
}

/// A request; condition keys in lower case.
pub struct Asked<'r> {
    pub principal: Principal<'r>,
    pub action: &'r str,
    pub resource: &'r str,
    pub owner: &'r str,
    pub context: &'r BTreeMap<String, Vec<String>>,
}

/// How a statement names the principal.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Named {
    Not,
    ByAccount,
    WithinBounds,
    ByItself,
}

/// `allow`, `deny` (a statement denies it) or `none` (nothing allows it).
pub fn decide(documents: &Documents, asked: &Asked<'_>) -> &'static str {
    let bounded = documents.boundary.is_some();
    let denies = |document: &Value| strongest(document, "Deny", asked, bounded) != Named::Not;
    let allows = |document: &Value| strongest(document, "Allow", asked, bounded) != Named::Not;
    let sessions = documents.session.clone().unwrap_or_default();
    let everything = documents.resource.iter().chain(&documents.identity).chain(&documents.boundary).chain(&sessions);
    if everything.clone().any(denies) {
        return "deny";
    }
    let by_policy = match &documents.resource {
        Some(document) if !documents.resource_only_denies => strongest(document, "Allow", asked, bounded),
        _ => Named::Not,
    };
    let by_acl = match documents.acl {
        Grant::None => Named::Not,
        Grant::Account => Named::ByAccount,
        Grant::Everybody => Named::WithinBounds,
        Grant::Initiator => Named::ByItself,
    };
    let by_resource = by_policy.max(by_acl);
    let same_account = asked.principal.account() == Some(asked.owner);
    let allowed = match asked.principal {
        Principal::Anonymous | Principal::Service(_) | Principal::Federated(_) => by_resource != Named::Not,
        Principal::Root { .. } => by_resource != Named::Not || (same_account && !documents.resource_must_allow),
        Principal::User { .. } | Principal::Session { .. } => {
            let by_identity = documents.identity.iter().any(allows);
            let within = documents.boundary.as_ref().is_none_or(allows)
                && documents.session.as_ref().is_none_or(|session| session.iter().any(allows));
            if same_account {
                let by_itself = by_resource == Named::ByItself;
                let by_identity = by_identity && (by_resource != Named::Not || !documents.resource_must_allow);
                by_itself || ((by_identity || by_resource == Named::WithinBounds) && within)
            } else {
                by_resource != Named::Not && by_identity && within
            }
        }
    };
    if allowed { "allow" } else { "none" }
}

/// How the document's statements of this effect name the principal, at their strongest.
fn strongest(document: &Value, effect: &str, asked: &Asked<'_>, bounded: bool) -> Named {
    let variables = document["Version"] == "2012-10-17";
    let statements = list(&document["Statement"]);
    let of_effect = statements.iter().filter(|statement| statement["Effect"] == effect);
    of_effect.map(|statement| names(statement, variables, asked, bounded)).max().unwrap_or(Named::Not)
}

fn names(statement: &Value, variables: bool, asked: &Asked<'_>, bounded: bool) -> Named {
    let any = |element: &str, text: &str, fold: bool| {
        list(&statement[element]).iter().any(|pattern| {
            let pattern = self::text(pattern);
            let matches = if fold { like_in_any_case } else { like };
            matches(&pattern, text, true, variables, asked.context)
        })
    };
    let action = if statement.get("Action").is_some() {
        any("Action", asked.action, true)
    } else {
        !any("NotAction", asked.action, true)
    };
    let resource = match (statement.get("Resource"), statement.get("NotResource")) {
        (Some(_), _) => any("Resource", asked.resource, false),
        (_, Some(excepted)) => {
            let are_known = list(excepted)
                .iter()
                .all(|pattern| expand(&self::text(pattern), true, variables, asked.context).is_some());
            let may = statement["Effect"] == "Deny" || are_known;
            may && !any("NotResource", asked.resource, false)
        }
        _ => true,
    };
    if !action || !resource || !conditions(&statement["Condition"], variables, asked.context) {
        return Named::Not;
    }
    match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(principal), _) => named(principal, asked.principal),
        (_, Some(excepted)) => {
            let is_excepted = if statement["Effect"] == "Deny" {
                !bounded && layers(asked.principal).iter().all(|layer| is_listed(excepted, layer))
            } else {
                named(excepted, asked.principal) != Named::Not
            };
            if is_excepted { Named::Not } else { Named::WithinBounds }
        }
        _ => Named::ByItself,
    }
}

/// What must be listed for a denial of all but some to except the principal: all that it consists of.
fn layers(principal: Principal<'_>) -> Vec<String> {
    let root = |account: &str| format!("arn:aws:iam::{account}:root");
    match principal {
        Principal::Anonymous => vec!["anonymous".to_owned()],
        Principal::Service(name) | Principal::Federated(name) => vec![name.to_owned()],
        Principal::Root { account, .. } => vec![root(account)],
        Principal::User { account, arn, id } => vec![root(account), format!("{arn}|{id}")],
        Principal::Session { account, arn, role, id } => {
            vec![root(account), format!("{role}|{}", id.split_once(':').unwrap().0), format!("{arn}|{id}")]
        }
    }
}

/// Layers that go by two names have a bar between them.
fn is_listed(element: &Value, layer: &str) -> bool {
    if let Some((arn, id)) = layer.split_once('|') {
        return is_listed(element, arn) || is_listed(element, id);
    }
    let of_kind = |(kind, names): (&String, &Value)| {
        list(names).iter().any(|name| match (kind.as_str(), name.as_str().unwrap()) {
            ("AWS", "*") => true,
            ("AWS", account) if account.starts_with(|c: char| c.is_ascii_digit()) => {
                layer == format!("arn:aws:iam::{account}:root")
            }
            (_, name) => name == layer,
        })
    };
    element == "*" || element.as_object().unwrap().iter().any(of_kind)
}

fn named(element: &Value, principal: Principal<'_>) -> Named {
    if element == "*" {
        return Named::WithinBounds;
    }
    let mut best = Named::Not;
    for (kind, names) in element.as_object().unwrap() {
        for name in list(names) {
            let name = name.as_str().unwrap().to_owned();
            best = best.max(match kind.as_str() {
                "AWS" if name == "*" => Named::WithinBounds,
                "AWS" => of_aws(&name, principal),
                "Service" if principal == Principal::Service(&name) => Named::ByItself,
                "Federated" if principal == Principal::Federated(&name) => Named::ByItself,
                _ => Named::Not,
            });
        }
    }
    best
}

fn of_aws(name: &str, principal: Principal<'_>) -> Named {
    if name.starts_with("AIDA") || name.starts_with("AROA") {
        let id = match principal {
            Principal::User { id, .. } | Principal::Session { id, .. } => id,
            _ => "",
        };
        return if id == name {
            Named::ByItself
        } else if id.starts_with(&format!("{name}:")) {
            Named::WithinBounds
        } else {
            Named::Not
        };
    }
    let account = name.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root"));
    if let Some(account) = account.or(Some(name).filter(|name| !name.contains(':'))) {
        return match principal {
            Principal::Root { account: own, .. } if own == account => Named::ByItself,
            _ if principal.account() == Some(account) => Named::ByAccount,
            _ => Named::Not,
        };
    }
    match principal {
        Principal::User { arn, .. } | Principal::Root { arn, .. } if arn == name => Named::ByItself,
        Principal::Session { arn, .. } if arn == name => Named::ByItself,
        Principal::Session { role, .. } if role == name => Named::WithinBounds,
        _ => Named::Not,
    }
}

fn conditions(block: &Value, variables: bool, context: &BTreeMap<String, Vec<String>>) -> bool {
    let Some(block) = block.as_object() else { return true };
    block.iter().all(|(operator, keys)| {
        keys.as_object().unwrap().iter().all(|(key, wanted)| {
            let wanted: Vec<String> = list(wanted).iter().map(text).collect();
            let found = context.get(&key.to_ascii_lowercase()).cloned().unwrap_or_default();
            holds(operator, &found, &wanted, variables, context)
        })
    })
}

/// Whether the condition `operator` on a key of the values `found` holds.
pub fn holds(
    operator: &str,
    found: &[String],
    wanted: &[String],
    variables: bool,
    context: &BTreeMap<String, Vec<String>>,
) -> bool {
    let (set, operator) = operator.split_once(':').unwrap_or(("", operator));
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    if operator == "Null" {
        return wanted.iter().any(|wanted| found.is_empty() == wanted.eq_ignore_ascii_case("true"));
    }
    // `ArnNotLike`, `NotIpAddress`: what they are the negation of.
    let negated = operator.contains("Not");
    let positive = operator.replace("Not", "");
    let one = |value: &String| {
        let any = wanted.iter().any(|wanted| compare(&positive, value, wanted, variables, context));
        any != negated
    };
    match set {
        "ForAllValues" => found.iter().all(one),
        "ForAnyValue" => {
            if found.is_empty() {
                if_exists
            } else {
                found.iter().any(one)
            }
        }
        _ if found.is_empty() => if_exists || negated,
        _ if negated => found.iter().all(one),
        _ => found.iter().any(one),
    }
}

fn compare(
    operator: &str,
    value: &str,
    wanted: &str,
    variables: bool,
    context: &BTreeMap<String, Vec<String>>,
) -> bool {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match operator {
        "StringEquals" => like(wanted, value, false, variables, context),
        "StringEqualsIgnoreCase" => like_in_any_case(wanted, value, false, variables, context),
        "StringLike" => like(wanted, value, true, variables, context),
        "ArnEquals" | "ArnLike" => {
            let Some(wanted) = expand(wanted, true, variables, context) else { return false };
            let wanted: Vec<Vec<Symbol>> = fields(&wanted, |symbol| *symbol == Symbol::Char(':'));
            let characters: Vec<char> = value.chars().collect();
            let value: Vec<Vec<char>> = fields(&characters, |character| *character == ':');
            wanted.len() == value.len() && wanted.iter().zip(&value).all(|(wanted, value)| glob(wanted, value))
        }
        "Bool" => {
            let value = value.to_ascii_lowercase();
            ["true", "false"].contains(&value.as_str()) && value == wanted.to_ascii_lowercase()
        }
        "BinaryEquals" => value == wanted,
        "IpAddress" => within(value, wanted),
        _ => {
            let order = match operator {
                _ if operator.starts_with("Numeric") => {
                    number(value).and_then(|value| value.partial_cmp(&number(wanted)?))
                }
                _ => date(value).map(|value| value.cmp(&date(wanted).unwrap())),
            };
            let Some(order) = order else { return false };
            match operator.trim_start_matches("Numeric").trim_start_matches("Date") {
                "Equals" => order.is_eq(),
                "LessThan" => order.is_lt(),
                "LessThanEquals" => order.is_le(),
                "GreaterThan" => order.is_gt(),
                "GreaterThanEquals" => order.is_ge(),
                _ => panic!("{operator}"),
            }
        }
    }
}

fn within(address: &str, network: &str) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let (base, length) = network.split_once('/').unwrap_or((network, ""));
    // Octets of a network are decimal, whatever zeros they begin with.
    let octets: Option<Vec<u8>> = base.split('.').map(|octet| octet.parse().ok()).collect();
    let base = match octets.as_deref() {
        Some(&[a, b, c, d]) => IpAddr::from([a, b, c, d]),
        _ => base.parse().unwrap(),
    };
    let ((size, address), (base_size, base)) = (bits(address), bits(base));
    let length: u32 = length.parse().unwrap_or(base_size);
    size == base_size && (length == 0 || address >> (size - length) == base >> (size - length))
}

/// A date, written out in full and read again.
fn date(text: &str) -> Option<Timestamp> {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if let (Ok(seconds), false) = (text.parse(), text.len() == 4 && is_number(text)) {
        return Timestamp::from_second(seconds).ok();
    }
    let (day, rest) = text.split_once(['T', 't']).unwrap_or((text, ""));
    let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone);
    let day: Vec<&str> = day.split('-').collect();
    let year = |year: &str| (is_number(year) && year.len() <= 4).then(|| format!("{year:0>4}"));
    let two = |text: &str| (is_number(text) && text.len() <= 2).then(|| format!("{text:0>2}"));
    let days = match day[..] {
        [of, nth] if nth.len() == 3 && is_number(nth) => {
            let (year, nth) = (year(of)?, nth.parse::<i64>().unwrap());
            let first: Timestamp = format!("{year}-01-01T00:00:00Z").parse().ok()?;
            let day = Timestamp::from_second(first.as_second() + (nth - 1) * 86_400).ok()?.to_string();
            day.starts_with(&year).then(|| day[..10].to_owned())?
        }
        [of] => format!("{}-01-01", year(of)?),
        [of, month] => format!("{}-{}-01", year(of)?, two(month)?),
        [of, month, day] => format!("{}-{}-{}", year(of)?, two(month)?, two(day)?),
        _ => return None,
    };
    let (time, decimals) = match time.split_once(['.', ',']) {
        Some((time, decimals)) => (time, Some(decimals)),
        None => (time, None),
    };
    let mut clock: Vec<String> =
        if time.is_empty() { Vec::new() } else { time.split(':').map(two).collect::<Option<_>>()? };
    match (clock.len(), decimals) {
        (3, Some(decimals)) if is_number(decimals) && decimals.len() <= 9 => {
            clock[2] = format!("{}.{decimals}", clock[2]);
        }
        (0..=3, None) => clock.resize(3, "00".to_owned()),
        _ => return None,
    }
    // A leap second, or midnight by another name, is none here.
    if clock[0].as_str() > "23" || clock[2].as_str() >= "60" {
        return None;
    }
    let zone = match zone.chars().collect::<Vec<_>>()[..] {
        [] | ['Z' | 'z'] => "Z".to_owned(),
        ['+' | '-', a, b] if is_number(&format!("{a}{b}")) => format!("{zone}:00"),
        ['+' | '-', a, b, ':', c, d] if is_number(&format!("{a}{b}{c}{d}")) => zone.to_owned(),
        _ => return None,
    };
    if zone.len() > 1 && &zone[1..3] > "23" {
        return None;
    }
    format!("{days}T{}{zone}", clock.join(":")).parse().ok()
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Symbol {
    Char(char),
    One,
    Many,
}

fn like(pattern: &str, text: &str, wildcards: bool, variables: bool, context: &BTreeMap<String, Vec<String>>) -> bool {
    let text: Vec<char> = text.chars().collect();
    expand(pattern, wildcards, variables, context).is_some_and(|pattern| glob(&pattern, &text))
}

/// The same whatever the case of pattern, text, and the values of variables.
fn like_in_any_case(
    pattern: &str,
    text: &str,
    wildcards: bool,
    variables: bool,
    context: &BTreeMap<String, Vec<String>>,
) -> bool {
    let lower = |text: &str| text.to_ascii_lowercase();
    let context = context.iter().map(|(key, values)| (key.clone(), values.iter().map(|value| lower(value)).collect()));
    like(&lower(pattern), &lower(text), wildcards, variables, &context.collect())
}

/// The pattern with its variables put in; `None` if one has no value.
fn expand(
    pattern: &str,
    wildcards: bool,
    variables: bool,
    context: &BTreeMap<String, Vec<String>>,
) -> Option<Vec<Symbol>> {
    let mut symbols = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        if let Some((inner, after)) = rest.strip_prefix("${").filter(|_| variables).and_then(|r| r.split_once('}')) {
            let (key, default) = match inner.split_once(',') {
                None => (inner, None),
                Some((key, default)) => (key, Some(default.trim())),
            };
            let well_formed = default
                .is_none_or(|default| default.len() >= 2 && default.starts_with('\'') && default.ends_with('\''));
            if well_formed {
                if ["*", "?", "$"].contains(&inner) {
                    symbols.extend(inner.chars().map(Symbol::Char));
                } else {
                    let value = match context.get(&key.trim().to_ascii_lowercase()).map(Vec::as_slice) {
                        Some([one]) => one.clone(),
                        _ => default?.trim_matches('\'').to_owned(),
                    };
                    symbols.extend(value.chars().map(Symbol::Char));
                }
                rest = after;
                continue;
            }
        }
        let first = rest.chars().next()?;
        symbols.push(match first {
            '*' if wildcards => Symbol::Many,
            '?' if wildcards => Symbol::One,
            other => Symbol::Char(other),
        });
        rest = &rest[first.len_utf8()..];
    }
    Some(symbols)
}

/// Matching as its definition says, whatever it costs.
fn glob(pattern: &[Symbol], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((Symbol::Many, after)), _) => glob(after, text) || (!text.is_empty() && glob(pattern, &text[1..])),
        (Some((Symbol::One, pattern)), Some((_, text))) => glob(pattern, text),
        (Some((Symbol::Char(a), pattern)), Some((b, text))) => a == b && glob(pattern, text),
        _ => false,
    }
}

/// The six fields of an ARN; the last takes all the rest.
fn fields<T: Clone>(items: &[T], is_colon: impl Fn(&T) -> bool) -> Vec<Vec<T>> {
    items.splitn(6, is_colon).map(<[T]>::to_vec).collect()
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
