//! ARNs of identities, and the pieces they are made of. (IAM user guide, "IAM identifiers".)

/// `arn:aws:iam::ACCOUNT:user/PATH/NAME`.
pub fn user(account: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:user{path}{name}")
}

/// `arn:aws:iam::ACCOUNT:group/PATH/NAME`.
pub fn group(account: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:group{path}{name}")
}

/// `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
pub fn role(account: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role{path}{name}")
}

/// `arn:aws:iam::ACCOUNT:policy/PATH/NAME`.
pub fn policy(account: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:policy{path}{name}")
}

/// `arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH`.
pub fn provider(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/{name}")
}

/// `arn:aws:iam::ACCOUNT:instance-profile/PATH/NAME`.
pub fn instance_profile(account: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:instance-profile{path}{name}")
}

/// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
pub fn session(account: &str, role: &str, session: &str) -> String {
    format!("arn:aws:sts::{account}:assumed-role/{role}/{session}")
}

/// `arn:aws:sts::ACCOUNT:federated-user/NAME`.
pub fn federated(account: &str, name: &str) -> String {
    format!("arn:aws:sts::{account}:federated-user/{name}")
}

/// The account of an ARN, and what it names there: `user/PATH/NAME`.
pub fn split(arn: &str) -> Option<(&str, &str)> {
    let fields: Vec<&str> = arn.splitn(6, ':').collect();
    match fields[..] {
        ["arn", "aws", "iam" | "sts", "", account, resource] => Some((account, resource)),
        _ => None,
    }
}

/// What follows the last slash of an ARN.
pub fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// What a principal is called by those who know its account: a user's name, `ROLE/SESSION`.
pub fn display_name(arn: &str) -> &str {
    match split(arn) {
        Some((_, resource)) if resource.starts_with("assumed-role/") => &resource["assumed-role/".len()..],
        _ => name_of(arn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_come_apart_as_they_were_put_together() {
        let arn = role("111122223333", "/a/b/", "reader");
        assert_eq!(arn, "arn:aws:iam::111122223333:role/a/b/reader");
        assert_eq!(split(&arn), Some(("111122223333", "role/a/b/reader")));
        assert_eq!(name_of(&arn), "reader");
        assert_eq!(split("arn:aws:s3:::bucket"), None);
    }
}
