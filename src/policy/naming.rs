//! Principals as policies are kept: users and roles by their unique ids. So whoever is made later under the name of one that
//! is gone is another, to whom no policy gives anything; and a policy shows whom it names by ARN for as long as they are there,
//! and by the bare id after.
//! (IAM user guide, "AWS JSON policy elements: Principal": "transforms to the unique principal ID when the policy is saved".)

use std::ops::Range;

use super::document::{Kind, MalformedPolicy};

/// Everybody whom a policy may name.
pub trait Registry: Send + Sync {
    /// Whether there is the account with this id.
    fn has_account(&self, id: &str) -> bool;
    /// Whether there is the identity provider with this ARN.
    fn has_provider(&self, arn: &str) -> bool;
    /// The unique id of the user, the role or the role's session with this ARN: `AIDA...`, `AROA...`, `AROA...:SESSION`.
    fn id_of(&self, arn: &str) -> Option<String>;
    /// The ARN of the user, the role or the role's session with this unique id.
    fn arn_of(&self, id: &str) -> Option<String>;
}

/// Identity providers that every account has. (IAM user guide, "Principal": OIDC federated principals.)
const WELL_KNOWN_PROVIDERS: &[&str] =
    &["accounts.google.com", "cognito-identity.amazonaws.com", "graph.facebook.com", "www.amazon.com"];

/// A principal in a document's text: where, of which kind (`AWS`, or nothing of a bare text), and who.
struct Place {
    at: Range<usize>,
    kind: String,
    name: String,
}

/// What becomes of a principal when a policy is put.
enum Admitted {
    AsItIs,
    As(String),
    /// There is no such principal.
    Unknown,
}

/// Whether `name` has the form of a user's or role's unique id, or of a role's session's.
pub(super) fn is_id(name: &str) -> bool {
    let (id, session) = name.split_once(':').map_or((name, None), |(id, session)| (id, Some(session)));
    let kind = id.get(..4);
    let well_formed = id.len() > 4 && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    well_formed
        && match session {
            None => matches!(kind, Some("AIDA" | "AROA")),
            Some(session) => kind == Some("AROA") && !session.is_empty() && !session.contains('*'),
        }
}

/// The text of a policy of `kind` as it is to be kept, for one that is a policy.
///
/// # Errors
/// [`MalformedPolicy`], in the words of the policy's service, if it names somebody who is not there.
pub fn admit(text: &str, kind: Kind<'_>, registry: &dyn Registry) -> Result<String, MalformedPolicy> {
    replace(text, |place| match admit_one(place, kind, registry) {
        Admitted::AsItIs => Ok(None),
        Admitted::As(id) => Ok(Some(id)),
        Admitted::Unknown => Err(MalformedPolicy(unknown(place, kind))),
    })
}

/// The text of a kept policy as it is shown.
pub fn show(text: &str, registry: &dyn Registry) -> String {
    let shown = replace::<MalformedPolicy>(text, |place| {
        Ok(Some(&place.name).filter(|name| place.kind == "AWS" && is_id(name)).and_then(|id| registry.arn_of(id)))
    });
    shown.unwrap_or_else(|_| text.to_owned())
}

fn admit_one(place: &Place, kind: Kind<'_>, registry: &dyn Registry) -> Admitted {
    let known = |holds: bool| if holds { Admitted::AsItIs } else { Admitted::Unknown };
    let name = place.name.as_str();
    match place.kind.as_str() {
        "AWS" => admit_aws(name, registry),
        "Service" => known(is_service(name)),
        "Federated" => {
            known(kind == Kind::Trust && (WELL_KNOWN_PROVIDERS.contains(&name) || registry.has_provider(name)))
        }
        // Whose it is is found out where canonical ids are known.
        "CanonicalUser" => known(matches!(kind, Kind::Bucket(_))),
        _ => known(name == "*"),
    }
}

fn admit_aws(name: &str, registry: &dyn Registry) -> Admitted {
    let known = |holds: bool| if holds { Admitted::AsItIs } else { Admitted::Unknown };
    if name == "*" || is_id(name) {
        return known(name == "*" || registry.arn_of(name).is_some());
    }
    let fields: Vec<&str> = name.splitn(6, ':').collect();
    match fields[..] {
        [account] | ["arn", "aws", "iam", "", account, "root"] => known(registry.has_account(account)),
        ["arn", "aws", "sts", "", account, federated] if federated.starts_with("federated-user/") => {
            known(registry.has_account(account) && federated.len() > "federated-user/".len())
        }
        _ => registry.id_of(name).map_or(Admitted::Unknown, Admitted::As),
    }
}

/// Whether `name` has the form of a service's.
fn is_service(name: &str) -> bool {
    let of_aws = name.strip_suffix(".amazonaws.com").or_else(|| name.strip_suffix(".amazonaws.com.cn"));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    of_aws.is_some_and(|labels| labels.split('.').all(label))
}

fn unknown(place: &Place, kind: Kind<'_>) -> String {
    match kind {
        Kind::Key => "Policy contains a statement with one or more invalid principals.".to_owned(),
        Kind::Trust if place.kind == "Federated" && !place.name.starts_with("arn:") => {
            "Federated principals must be valid domain names or SAML metadata ARNs".to_owned()
        }
        Kind::Trust => {
            let kind = if place.kind == "AWS" { place.kind.clone() } else { place.kind.to_uppercase() };
            format!("Invalid principal in policy: \"{kind}\":\"{}\"", place.name)
        }
        Kind::Bucket(_) | Kind::Identity => "Invalid principal in policy".to_owned(),
    }
}

/// `text` with principals replaced as `by` says; all else, white space too, stays as it is.
fn replace<E>(text: &str, by: impl Fn(&Place) -> Result<Option<String>, E>) -> Result<String, E> {
    let mut scan = Scan { text, at: 0, path: Vec::new(), found: Vec::new() };
    // A text that is no JSON has no principals: it was refused before, or will be.
    let _ = scan.value();
    let (mut new, mut done) = (String::with_capacity(text.len()), 0);
    for place in &scan.found {
        if let Some(name) = by(place)? {
            new.push_str(&text[done..place.at.start]);
            new.push_str(&serde_json::Value::String(name).to_string());
            done = place.at.end;
        }
    }
    new.push_str(&text[done..]);
    Ok(new)
}

/// Walks over JSON that is known to be well-formed, and so not nested too deep.
struct Scan<'t> {
    text: &'t str,
    at: usize,
    /// The members that lead to where it is.
    path: Vec<String>,
    found: Vec<Place>,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.text.as_bytes().get(self.at).copied()
    }

    fn value(&mut self) -> Option<()> {
        match self.next()? {
            b'{' => self.items(b'}', |scan| {
                let (_, name) = scan.string()?;
                (scan.next()? == b':').then(|| scan.at += 1)?;
                scan.path.push(name);
                scan.value()?;
                scan.path.pop();
                Some(())
            }),
            b'[' => self.items(b']', Self::value),
            b'"' => {
                let (at, name) = self.string()?;
                let kind = match &self.path[..] {
                    [statement, element] if is_principal(statement, element) => String::new(),
                    [statement, element, kind] if is_principal(statement, element) => kind.clone(),
                    _ => return Some(()),
                };
                self.found.push(Place { at, kind, name });
                Some(())
            }
            _ => {
                let rest = &self.text[self.at..];
                self.at += rest.find([',', '}', ']']).unwrap_or(rest.len());
                Some(())
            }
        }
    }

    /// What stands between an opening brace or bracket and its end.
    fn items(&mut self, end: u8, item: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        loop {
            match self.next()? {
                b',' => self.at += 1,
                byte if byte == end => {
                    self.at += 1;
                    return Some(());
                }
                _ => item(self)?,
            }
        }
    }

    /// A string: where it stands, and what it says.
    fn string(&mut self) -> Option<(Range<usize>, String)> {
        (self.next()? == b'"').then_some(())?;
        let (start, mut escaped) = (self.at, false);
        let length = self.text.as_bytes()[start + 1..].iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        })?;
        self.at = start + length + 2;
        Some((start..self.at, serde_json::from_str(&self.text[start..self.at]).ok()?))
    }
}

fn is_principal(statement: &str, element: &str) -> bool {
    statement == "Statement" && matches!(element, "Principal" | "NotPrincipal")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Registry for Known {
        fn has_account(&self, id: &str) -> bool {
            id == "111122223333"
        }
        fn has_provider(&self, arn: &str) -> bool {
            arn == "arn:aws:iam::111122223333:oidc-provider/issuer.example.com"
        }
        fn id_of(&self, arn: &str) -> Option<String> {
            let id = match arn {
                "arn:aws:iam::111122223333:user/a" => "AIDAEXAMPLE",
                "arn:aws:iam::111122223333:role/r" => "AROAEXAMPLE",
                "arn:aws:sts::111122223333:assumed-role/r/s" => "AROAEXAMPLE:s",
                _ => return None,
            };
            Some(id.to_owned())
        }
        fn arn_of(&self, id: &str) -> Option<String> {
            let arn = match id {
                "AIDAEXAMPLE" => "arn:aws:iam::111122223333:user/a",
                "AROAEXAMPLE" => "arn:aws:iam::111122223333:role/r",
                "AROAEXAMPLE:s" => "arn:aws:sts::111122223333:assumed-role/r/s",
                _ => return None,
            };
            Some(arn.to_owned())
        }
    }

    const BUCKET: Kind<'_> = Kind::Bucket("arn:aws:s3:::b");

    #[test]
    fn only_principals_are_replaced_and_come_back_as_they_were() {
        let text = r#"{"Version": "2012-10-17", "Id": "arn:aws:iam::111122223333:user/a",
            "Statement": [{"Sid": "a \" b", "Principal": {"AWS": ["arn:aws:iam::111122223333:user/a" , "111122223333"]}, "n": [1, {"x": null}],
             "Condition": {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/a"}}},
            {"NotPrincipal": {"AWS": "arn:aws:iam::111122223333:role\/r", "Service": "s3.amazonaws.com"}}, {"Principal": "*"}],
            "Principal": {"AWS": "arn:aws:iam::111122223333:user/a"}}"#;
        let kept = admit(text, BUCKET, &Known).unwrap();
        let wanted = text
            .replacen(r#"["arn:aws:iam::111122223333:user/a" ,"#, r#"["AIDAEXAMPLE" ,"#, 1)
            .replace(r"arn:aws:iam::111122223333:role\/r", "AROAEXAMPLE");
        assert_eq!(kept, wanted);
        assert_eq!(show(&kept, &Known), text.replace(r"role\/r", "role/r"));
        assert_eq!(admit(&kept, BUCKET, &Known).unwrap(), kept, "ids are taken as well");
        let gone = kept.replace("AIDAEXAMPLE", "AIDAGONE");
        assert_eq!(
            show(&gone, &Known),
            show(&kept, &Known).replacen(r#"["arn:aws:iam::111122223333:user/a""#, r#"["AIDAGONE""#, 1)
        );
        assert!(admit(&gone, BUCKET, &Known).is_err());
        for broken in ["", "{", r#"{"Statement": {"Principal": {"AWS": "x"#, "[[[", "\"", "nonsense"] {
            assert_eq!(show(broken, &Known), broken);
        }
    }

    #[test]
    fn who_is_not_there_is_refused_in_each_services_words() {
        let ask = |kind, of: &str, name: &str| {
            let text = serde_json::json!({"Statement": {"Principal": {of: name}}}).to_string();
            admit(&text, kind, &Known).map_err(|error| error.0)
        };
        for name in [
            "*",
            "111122223333",
            "arn:aws:iam::111122223333:root",
            "arn:aws:sts::111122223333:federated-user/f",
            "AROAEXAMPLE:s",
        ] {
            assert!(ask(BUCKET, "AWS", name).is_ok(), "{name}");
        }
        for (of, name) in [
            ("AWS", "999999999999"),
            ("AWS", "arn:aws:iam::999999999999:root"),
            ("AWS", "arn:aws:iam::111122223333:user/nobody"),
            ("AWS", "arn:aws:iam::111122223333:group/g"),
            ("AWS", "arn:aws:iam::111122223333:policy/p"),
            ("AWS", "arn:aws:iam::111122223333:foo"),
            ("AWS", "AIDAGONE"),
            ("Service", "foo"),
            ("Service", "*"),
            ("Service", "S3.amazonaws.com"),
            ("Service", ".amazonaws.com"),
            ("Federated", "foo"),
            ("Federated", "accounts.google.com"),
        ] {
            assert_eq!(ask(BUCKET, of, name).unwrap_err(), "Invalid principal in policy", "{name}");
        }
        let key = "Policy contains a statement with one or more invalid principals.";
        assert_eq!(ask(Kind::Key, "CanonicalUser", "c").unwrap_err(), key);
        assert!(ask(BUCKET, "CanonicalUser", "c").is_ok());
        assert!(ask(Kind::Trust, "Federated", "accounts.google.com").is_ok());
        assert!(ask(Kind::Trust, "Federated", "arn:aws:iam::111122223333:oidc-provider/issuer.example.com").is_ok());
        for (of, name, text) in [
            (
                "AWS",
                "arn:aws:iam::111122223333:user/nobody",
                r#"Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/nobody""#,
            ),
            ("Service", "foo", r#"Invalid principal in policy: "SERVICE":"foo""#),
            ("Federated", "foo", "Federated principals must be valid domain names or SAML metadata ARNs"),
            (
                "Federated",
                "arn:aws:iam::111122223333:oidc-provider/none",
                r#"Invalid principal in policy: "FEDERATED":"arn:aws:iam::111122223333:oidc-provider/none""#,
            ),
            ("CanonicalUser", "c", r#"Invalid principal in policy: "CANONICALUSER":"c""#),
        ] {
            assert_eq!(ask(Kind::Trust, of, name).unwrap_err(), text);
        }
    }
}
