//! The commands, and what each asks of the IAM API.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Common;

/// A request to the IAM API.
pub(super) struct Request {
    pub action: &'static str,
    pub params: Vec<(&'static str, String)>,
    /// A parameter whose value the answers before have: its name, and where it stands there.
    pub found: Option<(&'static str, &'static [&'static str])>,
}

/// How the last answer is shown to people.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Nothing,
    /// One text of it.
    Member(&'static [&'static str]),
    /// A fresh access key, as the AWS credentials file has it.
    Key,
    /// A member, as JSON.
    Object(&'static str),
    /// A policy document.
    Document(&'static [&'static str]),
    /// A list: title and member of each column; an empty name is the entry itself.
    Table(&'static str, &'static [(&'static str, &'static str)]),
    /// The policies of a user, group or role, inline and attached.
    Policies,
}

#[derive(Subcommand)]
pub(in crate::cli) enum IamCommand {
    /// Users.
    #[command(subcommand)]
    User(UserCommand),
    /// Access keys of users.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Groups of users.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Roles.
    #[command(subcommand)]
    Role(RoleCommand),
    /// Policies, managed and inline.
    #[command(subcommand)]
    Policy(PolicyCommand),
}

#[derive(Subcommand)]
pub(in crate::cli) enum UserCommand {
    /// List the users of the account.
    List(#[command(flatten)] Common),
    /// Make a user, who may do nothing yet.
    Create(#[command(flatten)] Named),
    /// Show a user.
    Show(#[command(flatten)] Named),
    /// Delete a user who has no keys, groups or policies any more.
    Delete(#[command(flatten)] Named),
}

#[derive(Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make an access key of a user, and print it: the secret is not shown again.
    Create(#[command(flatten)] Named),
    /// List a user's access keys.
    List(#[command(flatten)] Named),
    /// Let a key sign again.
    Enable(#[command(flatten)] OfUser),
    /// Let a key not sign.
    Disable(#[command(flatten)] OfUser),
    /// Delete a key.
    Delete(#[command(flatten)] OfUser),
}

#[derive(Subcommand)]
pub(in crate::cli) enum GroupCommand {
    /// List the groups of the account.
    List(#[command(flatten)] Common),
    /// Make a group.
    Create(#[command(flatten)] Named),
    /// List the members of a group.
    Show(#[command(flatten)] Named),
    /// Delete a group without members and policies.
    Delete(#[command(flatten)] Named),
    /// Add a user to a group.
    Add(#[command(flatten)] Member),
    /// Remove a user from a group.
    Remove(#[command(flatten)] Member),
}

#[derive(Subcommand)]
pub(in crate::cli) enum RoleCommand {
    /// List the roles of the account.
    List(#[command(flatten)] Common),
    /// Make a role, which may do nothing yet.
    Create {
        /// The role's name.
        name: String,
        /// The file with the policy that says who may assume it (`-`: standard input).
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Show a role.
    Show(#[command(flatten)] Named),
    /// Delete a role that has no policies any more.
    Delete(#[command(flatten)] Named),
}

#[derive(Subcommand)]
pub(in crate::cli) enum PolicyCommand {
    /// List managed policies, or all that a user, group or role has: inline and attached.
    List {
        #[command(flatten)]
        of: Option<Holder>,
        #[command(flatten)]
        common: Common,
    },
    /// Make a managed policy, and print its ARN.
    Create {
        /// The policy's name.
        name: String,
        /// The file with the document (`-`: standard input).
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Show the document of a managed policy, or of an inline one of a user, group or role.
    Show {
        /// The managed policy's ARN, or the inline one's name.
        policy: String,
        #[command(flatten)]
        of: Option<Holder>,
        /// Which version of a managed policy; without it, its default version.
        #[arg(long, conflicts_with_all = ["user", "group", "role"])]
        version: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a managed policy that is attached to nothing, or an inline one of a user, group or role.
    Delete {
        /// The managed policy's ARN, or the inline one's name.
        policy: String,
        #[command(flatten)]
        of: Option<Holder>,
        #[command(flatten)]
        common: Common,
    },
    /// Attach a managed policy.
    Attach(#[command(flatten)] Attachment),
    /// Detach a managed policy.
    Detach(#[command(flatten)] Attachment),
    /// Give a user, group or role an inline policy.
    #[command(mut_group("holder", |group| group.required(true)))]
    Put {
        #[command(flatten)]
        to: Holder,
        /// The policy's name.
        name: String,
        /// The file with the document (`-`: standard input).
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
pub(in crate::cli) struct Named {
    /// The name.
    name: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(in crate::cli) struct OfUser {
    /// The user's name.
    user: String,
    /// The id of the access key.
    key: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(in crate::cli) struct Member {
    /// The group's name.
    group: String,
    /// The user's name.
    user: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
#[command(mut_group("holder", |group| group.required(true)))]
pub(in crate::cli) struct Attachment {
    /// The policy's ARN, or the name of one that AWS manages.
    policy: String,
    #[command(flatten)]
    to: Holder,
    #[command(flatten)]
    common: Common,
}

/// Whose policies are meant. A command that cannot do without says that the group is required.
#[derive(Args, Clone)]
#[group(id = "holder", multiple = false)]
pub(in crate::cli) struct Holder {
    /// A user.
    #[arg(long)]
    user: Option<String>,
    /// A group.
    #[arg(long)]
    group: Option<String>,
    /// A role.
    #[arg(long)]
    role: Option<String>,
}

/// The operation of the three, and the parameter that names whom.
type Chosen = (&'static str, (&'static str, String));

impl Holder {
    fn choose(self, [user, group, role]: [&'static str; 3]) -> Chosen {
        match (self.user, self.group, self.role) {
            (Some(name), ..) => (user, ("UserName", name)),
            (None, Some(name), _) => (group, ("GroupName", name)),
            // One of them is there: the command line says so.
            (None, None, name) => (role, ("RoleName", name.unwrap_or_default())),
        }
    }
}

type Asked = (Vec<Request>, Answer, Common);

#[expect(clippy::unnecessary_wraps, reason = "it stands where a file may have had to be read")]
fn ask(action: &'static str, params: Vec<(&'static str, String)>, answer: Answer, common: Common) -> io::Result<Asked> {
    Ok((vec![Request { action, params, found: None }], answer, common))
}

impl IamCommand {
    /// What is asked of the server, one after the other, and how the last answer is shown.
    pub(super) fn requests(self) -> io::Result<Asked> {
        match self {
            Self::User(command) => command.requests(),
            Self::Key(command) => command.requests(),
            Self::Group(command) => command.requests(),
            Self::Role(command) => command.requests(),
            Self::Policy(command) => command.requests(),
        }
    }
}

impl UserCommand {
    fn requests(self) -> io::Result<Asked> {
        const COLUMNS: &[(&str, &str)] = &[("USER", "UserName"), ("ARN", "Arn"), ("SINCE", "CreateDate")];
        let by_name = |action, named: Named, answer| ask(action, vec![("UserName", named.name)], answer, named.common);
        match self {
            Self::List(common) => ask("ListUsers", Vec::new(), Answer::Table("Users", COLUMNS), common),
            Self::Create(named) => by_name("CreateUser", named, Answer::Member(&["User", "Arn"])),
            Self::Show(named) => by_name("GetUser", named, Answer::Object("User")),
            Self::Delete(named) => by_name("DeleteUser", named, Answer::Nothing),
        }
    }
}

impl KeyCommand {
    fn requests(self) -> io::Result<Asked> {
        const COLUMNS: &[(&str, &str)] = &[("KEY", "AccessKeyId"), ("STATUS", "Status"), ("SINCE", "CreateDate")];
        let update = |of: OfUser, status: &str| {
            let params = vec![("UserName", of.user), ("AccessKeyId", of.key), ("Status", status.to_owned())];
            ask("UpdateAccessKey", params, Answer::Nothing, of.common)
        };
        match self {
            Self::Create(named) => ask("CreateAccessKey", vec![("UserName", named.name)], Answer::Key, named.common),
            Self::List(named) => {
                let table = Answer::Table("AccessKeyMetadata", COLUMNS);
                ask("ListAccessKeys", vec![("UserName", named.name)], table, named.common)
            }
            Self::Enable(of) => update(of, "Active"),
            Self::Disable(of) => update(of, "Inactive"),
            Self::Delete(of) => {
                let params = vec![("UserName", of.user), ("AccessKeyId", of.key)];
                ask("DeleteAccessKey", params, Answer::Nothing, of.common)
            }
        }
    }
}

impl GroupCommand {
    fn requests(self) -> io::Result<Asked> {
        const COLUMNS: &[(&str, &str)] = &[("GROUP", "GroupName"), ("ARN", "Arn"), ("SINCE", "CreateDate")];
        const MEMBERS: &[(&str, &str)] = &[("USER", "UserName"), ("ARN", "Arn")];
        let by_name = |action, named: Named, answer| ask(action, vec![("GroupName", named.name)], answer, named.common);
        let member = |action, member: Member| {
            let params = vec![("GroupName", member.group), ("UserName", member.user)];
            ask(action, params, Answer::Nothing, member.common)
        };
        match self {
            Self::List(common) => ask("ListGroups", Vec::new(), Answer::Table("Groups", COLUMNS), common),
            Self::Create(named) => by_name("CreateGroup", named, Answer::Member(&["Group", "Arn"])),
            Self::Show(named) => by_name("GetGroup", named, Answer::Table("Users", MEMBERS)),
            Self::Delete(named) => by_name("DeleteGroup", named, Answer::Nothing),
            Self::Add(of) => member("AddUserToGroup", of),
            Self::Remove(of) => member("RemoveUserFromGroup", of),
        }
    }
}

impl RoleCommand {
    fn requests(self) -> io::Result<Asked> {
        const COLUMNS: &[(&str, &str)] = &[("ROLE", "RoleName"), ("ARN", "Arn"), ("SINCE", "CreateDate")];
        let by_name = |action, named: Named, answer| ask(action, vec![("RoleName", named.name)], answer, named.common);
        match self {
            Self::List(common) => ask("ListRoles", Vec::new(), Answer::Table("Roles", COLUMNS), common),
            Self::Create { name, trust, common } => {
                let params = vec![("RoleName", name), ("AssumeRolePolicyDocument", read(&trust)?)];
                ask("CreateRole", params, Answer::Member(&["Role", "Arn"]), common)
            }
            Self::Show(named) => by_name("GetRole", named, Answer::Object("Role")),
            Self::Delete(named) => by_name("DeleteRole", named, Answer::Nothing),
        }
    }
}

impl PolicyCommand {
    fn requests(self) -> io::Result<Asked> {
        const COLUMNS: &[(&str, &str)] = &[
            ("POLICY", "PolicyName"),
            ("ARN", "Arn"),
            ("VERSION", "DefaultVersionId"),
            ("ATTACHED", "AttachmentCount"),
        ];
        let attachment = |actions, attachment: Attachment| {
            let (action, to) = attachment.to.choose(actions);
            let params = vec![to, ("PolicyArn", policy_arn(attachment.policy))];
            ask(action, params, Answer::Nothing, attachment.common)
        };
        match self {
            Self::List { of, common } => {
                let Some(of) = of else {
                    return ask("ListPolicies", Vec::new(), Answer::Table("Policies", COLUMNS), common);
                };
                let both = [
                    ["ListUserPolicies", "ListGroupPolicies", "ListRolePolicies"],
                    ["ListAttachedUserPolicies", "ListAttachedGroupPolicies", "ListAttachedRolePolicies"],
                ];
                let request = |(action, of)| Request { action, params: vec![of], found: None };
                let both = both.map(|actions| request(of.clone().choose(actions))).into();
                Ok((both, Answer::Policies, common))
            }
            Self::Create { name, file, common } => {
                let params = vec![("PolicyName", name), ("PolicyDocument", read(&file)?)];
                ask("CreatePolicy", params, Answer::Member(&["Policy", "Arn"]), common)
            }
            Self::Show { policy, of, version, common } => {
                if let Some(of) = of {
                    let (action, of) = of.choose(["GetUserPolicy", "GetGroupPolicy", "GetRolePolicy"]);
                    let params = vec![of, ("PolicyName", policy)];
                    return ask(action, params, Answer::Document(&["PolicyDocument"]), common);
                }
                let arn = ("PolicyArn", policy_arn(policy));
                let answer = Answer::Document(&["PolicyVersion", "Document"]);
                if let Some(version) = version {
                    return ask("GetPolicyVersion", vec![arn, ("VersionId", version)], answer, common);
                }
                let found = Some(("VersionId", &["Policy", "DefaultVersionId"][..]));
                let first = Request { action: "GetPolicy", params: vec![arn.clone()], found: None };
                let then = Request { action: "GetPolicyVersion", params: vec![arn], found };
                Ok((vec![first, then], answer, common))
            }
            Self::Delete { policy, of, common } => {
                let Some(of) = of else {
                    return ask("DeletePolicy", vec![("PolicyArn", policy)], Answer::Nothing, common);
                };
                let (action, of) = of.choose(["DeleteUserPolicy", "DeleteGroupPolicy", "DeleteRolePolicy"]);
                ask(action, vec![of, ("PolicyName", policy)], Answer::Nothing, common)
            }
            Self::Attach(to) => attachment(["AttachUserPolicy", "AttachGroupPolicy", "AttachRolePolicy"], to),
            Self::Detach(from) => attachment(["DetachUserPolicy", "DetachGroupPolicy", "DetachRolePolicy"], from),
            Self::Put { to, name, file, common } => {
                let (action, to) = to.choose(["PutUserPolicy", "PutGroupPolicy", "PutRolePolicy"]);
                let params = vec![to, ("PolicyName", name), ("PolicyDocument", read(&file)?)];
                ask(action, params, Answer::Nothing, common)
            }
        }
    }
}

/// A bare name is one of AWS's policies.
fn policy_arn(policy: String) -> String {
    if policy.starts_with("arn:") { policy } else { format!("arn:aws:iam::aws:policy/{policy}") }
}

fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: PolicyCommand,
    }

    #[test]
    fn whose_policies_are_meant_is_said_once_and_where_it_must_be() {
        let actions = |line: &str| -> Option<Vec<&'static str>> {
            let line = <Line as clap::Parser>::try_parse_from(format!("policy {line}").split(' ')).ok()?;
            let (requests, ..) = line.command.requests().unwrap();
            Some(requests.iter().map(|request| request.action).collect())
        };
        for (line, asked) in [
            ("list", Some(&["ListPolicies"][..])),
            ("list --user u", Some(&["ListUserPolicies", "ListAttachedUserPolicies"])),
            ("list --user u --role r", None),
            ("show p", Some(&["GetPolicy", "GetPolicyVersion"])),
            ("show p --group g", Some(&["GetGroupPolicy"])),
            ("show p --group g --version v1", None),
            ("delete p", Some(&["DeletePolicy"])),
            ("delete p --role r", Some(&["DeleteRolePolicy"])),
            ("attach p --group g", Some(&["AttachGroupPolicy"])),
            ("attach p", None),
            ("detach p --role r", Some(&["DetachRolePolicy"])),
            ("detach p --role r --user u", None),
            ("put --user u name file --role r", None),
            ("put name file", None),
        ] {
            assert_eq!(actions(line).as_deref(), asked, "{line}");
        }
    }

    #[test]
    fn a_bare_name_is_one_of_awss() {
        assert_eq!(policy_arn("AdministratorAccess".to_owned()), "arn:aws:iam::aws:policy/AdministratorAccess");
        assert_eq!(policy_arn("arn:aws:iam::1:policy/x".to_owned()), "arn:aws:iam::1:policy/x");
    }
}
